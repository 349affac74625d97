namespace Yarnish.Serialization;

/// <summary>A type cannot be a key: two equal keys of different executors could not be told to be equal. The message names the member at fault and what to do.</summary>
public sealed class KeyTypeException : YarnishException
{
    /// <summary>With a message for people.</summary>
    public KeyTypeException(string message)
        : base(message)
    {
    }

    /// <summary>The type that was to be a key.</summary>
    public required Type KeyType { get; init; }
}
