using Yarnish.Protocol;

namespace Yarnish.Executor;

/// <summary>Who an executor is and what bounds it. The process reads it from its environment; the embedded session sets it.</summary>
public sealed record ExecutorOptions
{
    /// <summary>The application it works for; messages of another are dropped.</summary>
    public required ApplicationId ApplicationId { get; init; }

    /// <summary>Its own id.</summary>
    public required ExecutorId ExecutorId { get; init; }

    /// <summary>The node it is on: blocks of this node are read from files.</summary>
    public required NodeId NodeId { get; init; }

    /// <summary>Base URL of the node's block server; empty when embedded (every block is then read from files).</summary>
    public string NodeUrl { get; init; } = "";

    /// <summary>Directory of the application's blocks on this node.</summary>
    public required string BlockDirectory { get; init; }

    /// <summary>Token for the block servers of other nodes; empty when the cluster has no secret.</summary>
    public string ApplicationToken { get; init; } = "";

    /// <summary>How many tasks run at once, at least 1. Default: the number of processors.</summary>
    public int Slots { get; init; } = Environment.ProcessorCount;

    /// <summary>Memory of the container in bytes: half may hold persisted partitions, three tenths shuffle buffers, a fifth values of broadcasts. Default: what the runtime sees.</summary>
    public long MemoryBytes { get; init; } = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;

    /// <summary>
    /// True when this is the only executor of the application, and in the driver's process: rows that cannot be changed then cross a shuffle as they are, in up to a fifth of the memory, taken from shuffle buffers. Default false.
    /// </summary>
    public bool SharesRows { get; init; }

    /// <summary>Tasks that may wait for a slot; more are refused as killed, which counts as no failure. Default 4,096: far above the driver's window of 512.</summary>
    public int QueueCapacity { get; init; } = 4096;

    /// <summary>Results up to this many bytes ride in the report, larger ones become a block. Default 256 KiB.</summary>
    public int InlineResultBytes { get; init; } = 256 * 1024;

    /// <summary>Reports kept for a driver that has not settled them; beyond this the oldest that the broker confirmed are forgotten. Default 16,384.</summary>
    public int KeptReports { get; init; } = 16 * 1024;

    /// <summary>Bytes of inline results kept; beyond this results become blocks whatever their size. Default 64 MiB.</summary>
    public long KeptResultBytes { get; init; } = 64 * 1024 * 1024;

    /// <summary>Between two beats. Default 2 s.</summary>
    public TimeSpan BeatInterval { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>A connected executor that hears nothing from its driver for so long ends itself. Default 30 s.</summary>
    public TimeSpan DriverTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>An executor without connection to the broker for so long ends itself. Default 2 minutes: a broker may restart.</summary>
    public TimeSpan LinkTimeout { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>How long a reducer waits for the driver to publish locations that the registry lacks. Default 15 s.</summary>
    public TimeSpan LocationsTimeout { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>How long a task waits for the driver to give a piece of a broadcast that no other executor can give. Default 60 s.</summary>
    public TimeSpan OriginTimeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Host name, for locality and for people.</summary>
    public string Host { get; init; } = Environment.MachineName;

    /// <summary>File for the <see cref="PostMortemPage"/>; empty (default) for none.</summary>
    public string PostMortem { get; init; } = "";

    /// <summary>Throws when a value cannot work.</summary>
    internal void Check()
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(Slots, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(QueueCapacity, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(MemoryBytes, 1);
        ArgumentException.ThrowIfNullOrEmpty(BlockDirectory);
    }
}

/// <summary>How an executor ended.</summary>
/// <param name="ExitCode">0 when it was told to; 10 when it lost its driver or the broker; 1 when it failed.</param>
/// <param name="Reason">For people.</param>
public readonly record struct ExecutorEnd(int ExitCode, string Reason);
