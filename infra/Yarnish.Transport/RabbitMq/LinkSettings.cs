namespace Yarnish.Transport;

/// <summary>The bounds of a link. The defaults come from measurements in the notes of this room's README.</summary>
internal sealed record LinkSettings
{
    public static LinkSettings Default { get; } = new();

    /// <summary>Messages published and not confirmed at most; a power of two.</summary>
    public int WindowMessages { get; init; } = 1024;

    /// <summary>Bytes published and not confirmed at most.</summary>
    public long WindowBytes { get; init; } = 64 << 20;

    /// <summary>Largest message.</summary>
    public int MaximumMessageBytes { get; init; } = WireWriter.DefaultMaximumBytes;

    /// <summary>Messages of executors that the driver has not read yet, at most.</summary>
    public ushort DriverPrefetch { get; init; } = 300;

    /// <summary>Messages of the driver that an executor has not read yet, at most.</summary>
    public ushort ExecutorPrefetch { get; init; } = 64;

    /// <summary>Shortest wait between two tries to connect.</summary>
    public TimeSpan RetryFrom { get; init; } = TimeSpan.FromSeconds(0.2);

    /// <summary>Longest wait between two tries to connect.</summary>
    public TimeSpan RetryTo { get; init; } = TimeSpan.FromSeconds(5);
}
