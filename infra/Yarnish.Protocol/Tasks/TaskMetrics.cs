namespace Yarnish.Protocol;

/// <summary>What one task attempt did and used. Times in microseconds, sizes in bytes.</summary>
public sealed record TaskMetrics
{
    /// <summary>Nothing measured.</summary>
    public static TaskMetrics Empty { get; } = new();

    /// <summary>From the first instruction of the attempt to the last.</summary>
    public long RunMicroseconds { get; init; }

    /// <summary>Spent waiting in the executor before a slot was free.</summary>
    public long QueueMicroseconds { get; init; }

    /// <summary>Spent turning code and input into objects.</summary>
    public long DeserializeMicroseconds { get; init; }

    /// <summary>Garbage collection pauses of the process while the attempt ran.</summary>
    public long GarbageCollectionMicroseconds { get; init; }

    /// <summary>Rows read from sources.</summary>
    public long InputRows { get; init; }

    /// <summary>Bytes read from sources.</summary>
    public long InputBytes { get; init; }

    /// <summary>Rows written to sinks.</summary>
    public long OutputRows { get; init; }

    /// <summary>Bytes written to sinks.</summary>
    public long OutputBytes { get; init; }

    /// <summary>Size of the result.</summary>
    public long ResultBytes { get; init; }

    /// <summary>Rows written to a shuffle.</summary>
    public long ShuffleWriteRows { get; init; }

    /// <summary>Bytes written to a shuffle, compressed.</summary>
    public long ShuffleWriteBytes { get; init; }

    /// <summary>Spent writing shuffle files.</summary>
    public long ShuffleWriteMicroseconds { get; init; }

    /// <summary>Rows read from shuffles.</summary>
    public long ShuffleReadRows { get; init; }

    /// <summary>Bytes read from shuffles on the same node, compressed.</summary>
    public long ShuffleReadLocalBytes { get; init; }

    /// <summary>Bytes read from shuffles over the network, compressed.</summary>
    public long ShuffleReadRemoteBytes { get; init; }

    /// <summary>Spent waiting for shuffle blocks.</summary>
    public long ShuffleFetchWaitMicroseconds { get; init; }

    /// <summary>Bytes spilled to disk because memory was short.</summary>
    public long SpillBytes { get; init; }

    /// <summary>Malformed rows of sources that were left out, as the program wanted.</summary>
    public long SkippedRows { get; init; }
}
