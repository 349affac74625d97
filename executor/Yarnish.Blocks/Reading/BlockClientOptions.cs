namespace Yarnish.Blocks;

/// <summary>How blocks are fetched from other nodes.</summary>
public sealed record BlockClientOptions
{
    /// <summary>Compressed bytes one reading task may hold at once. Default 48 MiB.</summary>
    public long BytesInFlight { get; init; } = 48 * 1024 * 1024;

    /// <summary>Requests one reading task has open at once. Default 5.</summary>
    public int Requests { get; init; } = 5;

    /// <summary>Items in one request. Default 128.</summary>
    public int ItemsPerRequest { get; init; } = 128;

    /// <summary>Tries again after a failed connection or answer, in a row, without progress. Default 3.</summary>
    public int Retries { get; init; } = 3;

    /// <summary>Pause before the first retry; four times longer before each further one. Default 100 ms.</summary>
    public TimeSpan FirstBackoff { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>A server that sends nothing for so long has failed. Default 15 s.</summary>
    public TimeSpan IdleTimeout { get; init; } = TimeSpan.FromSeconds(15);
}
