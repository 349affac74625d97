using System.Collections.Immutable;

namespace Yarnish.Protocol;

/// <summary>A message from the driver to one executor (or all), on the data path: RabbitMQ.Client on a fleet, a channel when embedded.</summary>
public abstract record DriverMessage
{
    private protected DriverMessage()
    {
    }
}

/// <summary>
/// Tasks for one executor, all of one stage attempt. Far below 96 KiB; a lone task leaves at once.
/// </summary>
/// <param name="ApplicationId">The application; a receiver of another drops the message.</param>
/// <param name="DriverEpoch">Epoch of the driver; lower ones are dropped.</param>
/// <param name="StageId">The stage.</param>
/// <param name="StageAttempt">Counts the tries of the stage from 0.</param>
/// <param name="CodeHash">SHA-256 (lower-case hexadecimal) of what the stage runs: sent before by <see cref="CodeBlock"/>, cached by the executor.</param>
/// <param name="Tasks">The tasks.</param>
public sealed record TaskBatch(
    ApplicationId ApplicationId, int DriverEpoch, StageId StageId, int StageAttempt, string CodeHash, IReadOnlyList<TaskAssignment> Tasks) : DriverMessage
{
    /// <summary>The shuffles these tasks read, each with the epoch of its locations in the registry.</summary>
    public IReadOnlyList<ShuffleInput> Shuffles { get; init; } = [];

    /// <summary>W3C trace context of the stage span; empty when the stage is not traced.</summary>
    public string TraceParent { get; init; } = "";

    /// <summary>For attempts that try again what failed: the span of the try before. Only where the stage is traced.</summary>
    public IReadOnlyList<AttemptLink> Links { get; init; } = [];

    /// <summary>Persisted partitions that these tasks read and that are files of other nodes: to be fetched rather than computed again. Several nodes of one partition in order of preference.</summary>
    public IReadOnlyList<PartitionAt> Elsewhere { get; init; } = [];

    /// <summary>Every attempt up to this one is settled at the driver: its kept result may be forgotten. 0 says nothing.</summary>
    public long SettledUpTo { get; init; }
}

/// <summary>One task of a batch.</summary>
/// <param name="AttemptId">The attempt.</param>
/// <param name="Partition">Index of the partition to compute.</param>
/// <param name="AttemptNumber">Counts the tries of this partition in this stage attempt from 0.</param>
/// <param name="Input">Bytes that only this partition needs, such as its slice of a parallelized collection or its file split; often empty.</param>
public readonly record struct TaskAssignment(TaskAttemptId AttemptId, int Partition, int AttemptNumber, ReadOnlyMemory<byte> Input);

/// <summary>The span that the span of an attempt shall link to.</summary>
/// <param name="AttemptId">The attempt.</param>
/// <param name="TraceParent">W3C trace context of the try before.</param>
public readonly record struct AttemptLink(TaskAttemptId AttemptId, string TraceParent);

/// <summary>A shuffle that a stage reads.</summary>
/// <param name="ShuffleId">The shuffle.</param>
/// <param name="Epoch">Epoch of its packed locations; grows when map output was lost and written again.</param>
public readonly record struct ShuffleInput(ShuffleId ShuffleId, int Epoch);

/// <summary>What a stage runs, by hash. Sent to an executor before the first task that names it.</summary>
/// <param name="ApplicationId">The application.</param>
/// <param name="CodeHash">SHA-256 of <paramref name="Content"/>, lower-case hexadecimal.</param>
/// <param name="Content">The serialized stage program.</param>
public sealed record CodeBlock(ApplicationId ApplicationId, string CodeHash, ReadOnlyMemory<byte> Content) : DriverMessage;

/// <summary>Stop these attempts; each still reports its end.</summary>
/// <param name="Attempts">The attempts.</param>
/// <param name="Reason">For people.</param>
public sealed record CancelTasks(IReadOnlyList<TaskAttemptId> Attempts, string Reason) : DriverMessage;

/// <summary>Forget these blocks: shuffles no job can read any more and collections that are no longer persisted.</summary>
/// <param name="Shuffles">Shuffles to delete.</param>
/// <param name="Collections">Persisted collections to delete, by their number.</param>
public sealed record DropBlocks(IReadOnlyList<ShuffleId> Shuffles, IReadOnlyList<int> Collections) : DriverMessage
{
    /// <summary>Broadcasts to forget, by their number: the value in memory and the pieces on the node. One that is used again is fetched again.</summary>
    public IReadOnlyList<int> Broadcasts { get; init; } = [];
}

/// <summary>Answers a hello or beat: the driver is there. An executor that hears nothing for its driver timeout ends itself.</summary>
/// <param name="DriverEpoch">Epoch of the driver.</param>
public sealed record DriverAlive(int DriverEpoch) : DriverMessage;

/// <summary>Say <see cref="ExecutorHello"/> again on the connection you have: the driver does not know (any more) what you hold.</summary>
/// <param name="DriverEpoch">Epoch of the driver.</param>
public sealed record SayHello(int DriverEpoch) : DriverMessage;

/// <summary>End yourself: finish nothing, report nothing more.</summary>
/// <param name="Reason">For people.</param>
public sealed record ShutdownExecutor(string Reason) : DriverMessage;

/// <summary>The locations of a shuffle are (again) in the registry: answers <see cref="LocationsWanted"/>.</summary>
/// <param name="ShuffleId">The shuffle.</param>
/// <param name="Epoch">The epoch that is there.</param>
public sealed record LocationsPublished(ShuffleId ShuffleId, int Epoch) : DriverMessage;

/// <summary>Answers <see cref="BlockWanted"/>: the block is on the asker's node now, or the registry names who holds it.</summary>
/// <param name="Block">Name of the block.</param>
/// <param name="Problem">Why it cannot be had, for people; empty when it can.</param>
public sealed record BlockGiven(string Block, string Problem) : DriverMessage;

/// <summary>All tasks of a barrier stage have come: these go on. Answers <see cref="BarrierArrived"/>.</summary>
/// <param name="Attempts">Attempts that wait on the receiving executor.</param>
/// <param name="Round">Which barrier, from 0.</param>
/// <param name="Messages">What each task said, by partition.</param>
public sealed record BarrierReleased(IReadOnlyList<TaskAttemptId> Attempts, int Round, IReadOnlyList<string> Messages) : DriverMessage;

/// <summary>A message from an executor to its driver, on the data path.</summary>
/// <param name="From">The executor and the epoch of its connection.</param>
public abstract record ExecutorMessage(ExecutorAddress From);

/// <summary>
/// First on each connection. The driver sends again what it believes to be running there and that is in neither list.
/// </summary>
/// <param name="From">The executor and its new epoch.</param>
/// <param name="NodeId">The node it is on.</param>
/// <param name="NodeUrl">Base URL of the block server of the node; empty when embedded.</param>
/// <param name="Slots">How many tasks it runs at once.</param>
/// <param name="Running">Attempts it holds, running or waiting for a slot.</param>
/// <param name="Finished">Attempts whose reports it still keeps; they follow at once.</param>
public sealed record ExecutorHello(
    ExecutorAddress From, NodeId NodeId, string NodeUrl, int Slots, IReadOnlyList<TaskAttemptId> Running, IReadOnlyList<TaskAttemptId> Finished) : ExecutorMessage(From)
{
    /// <summary>Process id, for people.</summary>
    public int ProcessId { get; init; }

    /// <summary>Host name, for locality and for people.</summary>
    public string Host { get; init; } = "";
}

/// <summary>Every 2 seconds: proof of life.</summary>
/// <param name="From">The executor.</param>
/// <param name="Sequence">Grows by one.</param>
/// <param name="Running">Attempts that occupy a slot now.</param>
/// <param name="Queued">Attempts waiting for a slot.</param>
/// <param name="MemoryBytes">Resident memory of the process.</param>
public sealed record ExecutorBeat(ExecutorAddress From, long Sequence, IReadOnlyList<TaskAttemptId> Running, int Queued, long MemoryBytes) : ExecutorMessage(From);

/// <summary>Ends of tasks, coalesced.</summary>
/// <param name="From">The executor.</param>
/// <param name="Reports">The ends.</param>
public sealed record TaskReports(ExecutorAddress From, IReadOnlyList<TaskReport> Reports) : ExecutorMessage(From);

/// <summary>How one attempt ended, and what it leaves.</summary>
/// <param name="AttemptId">The attempt.</param>
/// <param name="End">How.</param>
/// <param name="Metrics">What it did and used.</param>
/// <param name="Result">The result when it is small; empty for map tasks and when <see cref="ResultBlock"/> is set.</param>
public sealed record TaskReport(TaskAttemptId AttemptId, TaskEnd End, TaskMetrics Metrics, ReadOnlyMemory<byte> Result)
{
    /// <summary>Block that holds the result when it is large (fetched from the node of the executor); null when inline.</summary>
    public string? ResultBlock { get; init; }

    /// <summary>W3C trace context of the attempt's span when it did not succeed, so that the next try can link to it; empty else.</summary>
    public string TraceParent { get; init; } = "";

    /// <summary>What a map task wrote; null for other tasks.</summary>
    public MapOutput? MapOutput { get; init; }

    /// <summary>Changes of accumulators by their number; applied once per partition.</summary>
    public ImmutableSortedDictionary<int, ReadOnlyMemory<byte>>? Accumulators { get; init; }

    /// <summary>Persisted partitions this attempt stored: collection number and partition.</summary>
    public IReadOnlyList<CachedPartition>? Cached { get; init; }
}

/// <summary>What an executor and its node hold of a persisted partition now.</summary>
/// <param name="Collection">Number of the persisted collection.</param>
/// <param name="Partition">The partition.</param>
/// <param name="MemoryBytes">Bytes in the memory of the executor; 0 when it is not there.</param>
/// <param name="DiskBytes">Bytes of the file on its node, which the node's agent serves; 0 when there is none.</param>
public readonly record struct CachedPartition(int Collection, int Partition, long MemoryBytes, long DiskBytes)
{
    /// <summary>Whether another node shall have a copy of the file.</summary>
    public bool Replicate { get; init; }
}

/// <summary>Where the output of one map task is and how large each reducer's part of it is.</summary>
/// <param name="ShuffleId">The shuffle.</param>
/// <param name="MapPartition">The map task.</param>
/// <param name="AttemptId">The attempt that wrote it; names its files.</param>
/// <param name="NodeId">The node that holds it.</param>
/// <param name="NodeUrl">Base URL of that node's block server; empty when embedded.</param>
/// <param name="SizeClasses">How large each reducer's part is, see <see cref="Protocol.SizeClasses.Pack"/>; class 0 means the part is empty.</param>
public sealed record MapOutput(ShuffleId ShuffleId, int MapPartition, TaskAttemptId AttemptId, NodeId NodeId, string NodeUrl, ReadOnlyMemory<byte> SizeClasses);

/// <summary>A reducer did not find the locations of a shuffle in the registry: please publish them again.</summary>
/// <param name="From">The executor.</param>
/// <param name="ShuffleId">The shuffle.</param>
/// <param name="Epoch">The epoch it looked for.</param>
public sealed record LocationsWanted(ExecutorAddress From, ShuffleId ShuffleId, int Epoch) : ExecutorMessage(From);

/// <summary>Nobody could give the executor a named block whose origin is the driver, such as a piece of a broadcast: please put it onto its node.</summary>
/// <param name="From">The executor.</param>
/// <param name="Block">Name of the block.</param>
public sealed record BlockWanted(ExecutorAddress From, string Block) : ExecutorMessage(From);

/// <summary>A task of a barrier stage waits for the others. Said again until <see cref="BarrierReleased"/> comes; saying it twice does no harm.</summary>
/// <param name="From">The executor.</param>
/// <param name="AttemptId">The attempt.</param>
/// <param name="Round">How many barriers it has passed.</param>
/// <param name="Message">What it has to say to the others; may be empty.</param>
public sealed record BarrierArrived(ExecutorAddress From, TaskAttemptId AttemptId, int Round, string Message) : ExecutorMessage(From);

/// <summary>The executor ends by its own will.</summary>
/// <param name="From">The executor.</param>
/// <param name="Reason">For people.</param>
public sealed record ExecutorGoodbye(ExecutorAddress From, string Reason) : ExecutorMessage(From);
