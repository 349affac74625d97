namespace Yarnish.Serialization;

/// <summary>A function, or what it captures, cannot travel to executors. The message has the path to the culprit and the cure.</summary>
public sealed class ClosureException : YarnishException
{
    /// <summary>With a message for people.</summary>
    public ClosureException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}
