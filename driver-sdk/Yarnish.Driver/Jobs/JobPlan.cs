using Yarnish.Blocks;
using Yarnish.Executor;
using Yarnish.Lineage;
using Yarnish.Protocol;

namespace Yarnish.Jobs;

/// <summary>
/// What an action asks the session to run: stages cut at shuffles, parents before children, the last one computes the result. A collection builds it,
/// an <see cref="IJobRunner"/> runs it.
/// </summary>
internal sealed class JobPlan
{
    /// <summary>For people: the action and where it was called, such as <c>CountAsync at Program.cs:12</c>.</summary>
    public required string Name { get; init; }

    /// <summary>All stages the result depends on, parents first; the last is the result stage.</summary>
    public required IReadOnlyList<StagePlan> Stages { get; init; }

    /// <summary>Partitions of the result stage to compute; null means all.</summary>
    public IReadOnlyList<int>? Partitions { get; init; }

    /// <summary>
    /// Takes the result of each partition, once each, in the order in which they end, never two at a time. An exception fails the job.
    /// </summary>
    public required Action<int, ReadOnlyMemory<byte>> OnResult { get; init; }
}

/// <summary>One stage of a plan: the same program over a number of partitions.</summary>
internal sealed class StagePlan
{
    /// <summary>For people: the operators it runs, and where they were called.</summary>
    public required string Name { get; init; }

    /// <summary>How many partitions it has.</summary>
    public required int Partitions { get; init; }

    /// <summary>What each task runs.</summary>
    public required StageProgram Program { get; init; }

    /// <summary>The shuffle it writes and for how many reducers; null for the result stage. Plans of later jobs name the same shuffle again: it is not computed twice.</summary>
    public (ShuffleId Shuffle, int Reducers)? Output { get; init; }

    /// <summary>The shuffles it reads.</summary>
    public IReadOnlyList<ShuffleId> Inputs { get; init; } = [];

    /// <summary>The bytes that only one partition needs; null when none does.</summary>
    public Func<int, ReadOnlyMemory<byte>>? PartitionInput { get; init; }

    /// <summary>Persisted collections its tasks read or fill; an executor that holds the same partition of one is preferred.</summary>
    public IReadOnlyList<PersistedCollection> Persisted { get; init; } = [];

    /// <summary>The steps it runs, inputs before readers: for people, such as to name the one that failed.</summary>
    public IReadOnlyList<LineageNode> Steps { get; init; } = [];

    /// <summary>True when all its tasks must run at the same time, because they wait for each other.</summary>
    public bool Barrier { get; init; }

    /// <summary>Which partitions of them a task reads or fills, when they are not those of its own index; null when they are.</summary>
    public Func<int, IReadOnlyList<(int Collection, int Partition)>>? PersistedParts { get; init; }

    /// <summary>True when a task run twice may write other rows (round-robin over unordered input): its consumers then run again too.</summary>
    public bool Indeterminate { get; init; }
}

/// <summary>A collection that is to be kept once it is computed.</summary>
/// <param name="Id">Its number.</param>
/// <param name="Name">For people: the transformation and where it was called.</param>
/// <param name="Level">Where its partitions may be held.</param>
/// <param name="Partitions">How many it has.</param>
internal sealed record PersistedCollection(int Id, string Name, StorageLevel Level, int Partitions);

/// <summary>Runs plans: the session's driver loop.</summary>
internal interface IJobRunner
{
    /// <summary>A shuffle number no one else has.</summary>
    ShuffleId NextShuffle();

    /// <summary>A number for a persisted collection.</summary>
    int NextCollection();

    /// <summary>How many partitions a shuffle or a parallelized collection gets when nobody says: twice the slots, at least 2.</summary>
    int DefaultPartitions { get; }

    /// <summary>Whether functions must be able to travel: true on a cluster and when <c>Isolated</c>.</summary>
    bool ChecksClosures { get; }

    /// <summary>Runs a plan to its end.</summary>
    /// <exception cref="YarnishJobException">The job failed.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    Task RunAsync(JobPlan plan, CancellationToken cancellation);

    /// <summary>Reads a named block from the node of an executor, also of one that has gone.</summary>
    Task<byte[]> ReadBlockAsync(ExecutorId executor, BlockId block, CancellationToken cancellation);

    /// <summary>Forgets the blocks of a persisted collection everywhere.</summary>
    void Unpersist(int collection);

    /// <summary>Removes a directory of the driver's when the session ends; nothing happens when it is not there.</summary>
    void RemoveAtEnd(string directory);

    /// <summary>No collection can read this shuffle any more (its owner was collected): its files may go.</summary>
    void Release(ShuffleId shuffle);
}
