namespace Yarnish.Transport;

/// <summary>A task message is larger than the data path carries. The message names the limit and the cure.</summary>
public sealed class MessageTooLargeException : Exception
{
    internal MessageTooLargeException(string what, long bytes, long limit)
        : base($"A {what} of {bytes:N0} bytes is larger than the {limit:N0} bytes one message may have. Hand large values to tasks by a broadcast or a file, not inside"
            + " the task or its lambda; return large results from tasks as collections that stay distributed, or save them.")
    {
        Bytes = bytes;
        Limit = limit;
    }

    /// <summary>Size of the message.</summary>
    public long Bytes { get; }

    /// <summary>Largest size accepted.</summary>
    public long Limit { get; }
}

/// <summary>The bytes that arrived are not a message of the data path. The receiver drops and counts them.</summary>
internal sealed class WireFormatException(string message, Exception? inner = null) : Exception(message, inner);
