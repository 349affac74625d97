namespace Yarnish.Serialization;

/// <summary>A type cannot be a row. The message names the member at fault and what to do.</summary>
public sealed class RowTypeException : YarnishException
{
    /// <summary>With a message for people.</summary>
    public RowTypeException(string message)
        : base(message)
    {
    }

    /// <summary>The type that was to be a row; null when an object inside one was at fault.</summary>
    public Type? RowType { get; init; }
}
