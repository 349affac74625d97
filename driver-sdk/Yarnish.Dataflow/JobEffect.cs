using System.Collections.Immutable;
using Yarnish.Protocol;

namespace Yarnish.Dataflow;

/// <summary>Everything <see cref="JobMachine"/> asks its shell to do: a closed set, carried out in order.</summary>
internal abstract record JobEffect
{
    private protected JobEffect()
    {
    }
}

/// <summary>Send these tasks, all of one stage attempt, in one message.</summary>
/// <param name="To">The executor and epoch.</param>
/// <param name="StageId">The stage.</param>
/// <param name="StageAttempt">Counts its tries from 0.</param>
/// <param name="Stage">Its definition, from a job that runs now: <see cref="StageDefinition.Code"/> can be looked up.</param>
/// <param name="Inputs">The shuffles it reads, with the epoch of their locations; published before.</param>
internal sealed record SendTasks(
    ExecutorAddress To, StageId StageId, int StageAttempt, StageDefinition Stage, ImmutableArray<ShuffleInput> Inputs) : JobEffect
{
    /// <summary>The tasks; 1 to <see cref="JobMachineOptions.BatchLimit"/>, more only for a barrier stage. Complete when <see cref="JobMachine.Apply"/> has returned.</summary>
    public List<TaskToSend> Tasks { get; } = [];

    /// <summary>Persisted partitions that these tasks read and the executor does not have, but other nodes. Null when there are none.</summary>
    public List<PartitionOn>? Elsewhere { get; set; }

    /// <summary>Every attempt up to this number is settled: executors may forget their reports.</summary>
    public long SettledUpTo { get; init; }
}

/// <summary>A persisted partition that is a file of a node.</summary>
/// <param name="Collection">The collection.</param>
/// <param name="Partition">The partition.</param>
/// <param name="NodeId">The node.</param>
internal readonly record struct PartitionOn(int Collection, int Partition, NodeId NodeId);

/// <summary>Ask an executor to copy persisted partitions to its node; <see cref="PartitionsTold"/> answers.</summary>
/// <param name="To">The executor and epoch.</param>
internal sealed record SendCopies(ExecutorAddress To) : JobEffect
{
    /// <summary>What to copy, and from where. Complete when <see cref="JobMachine.Apply"/> has returned.</summary>
    public List<PartitionOn> Partitions { get; } = [];
}

/// <summary>Ask an executor that is about to leave to write what it has in memory only to the disk of its node; <see cref="PartitionsTold.AllWritten"/> answers.</summary>
/// <param name="To">The executor and epoch.</param>
internal sealed record WriteOut(ExecutorAddress To) : JobEffect;

/// <summary>One task of a <see cref="SendTasks"/>.</summary>
/// <param name="AttemptId">The attempt.</param>
/// <param name="Partition">The partition.</param>
/// <param name="AttemptNumber">Counts the tries of the partition in this stage from 0.</param>
/// <param name="Speculative">True for the second try of a slow task.</param>
internal readonly record struct TaskToSend(TaskAttemptId AttemptId, int Partition, int AttemptNumber, bool Speculative = false);

/// <summary>Tell an executor to stop attempts. They still report, and the machine waits for that.</summary>
/// <param name="To">The executor and epoch.</param>
/// <param name="Attempts">The attempts.</param>
/// <param name="Reason">For people.</param>
internal sealed record StopTasks(ExecutorAddress To, List<TaskAttemptId> Attempts, string Reason) : JobEffect;

/// <summary>All tasks of a barrier stage have come to a barrier: these go on.</summary>
/// <param name="To">The executor and epoch.</param>
/// <param name="Attempts">Attempts that wait there. Complete when <see cref="JobMachine.Apply"/> has returned.</param>
/// <param name="Round">Which barrier, from 0.</param>
/// <param name="Messages">What each task said, by partition.</param>
internal sealed record ReleaseBarrier(ExecutorAddress To, List<TaskAttemptId> Attempts, int Round, ImmutableArray<string> Messages) : JobEffect;

/// <summary>Write the locations of a shuffle into the registry, before any later <see cref="SendTasks"/> goes out.</summary>
/// <param name="ShuffleId">The shuffle.</param>
/// <param name="Epoch">Grows from 1 each time the locations change.</param>
/// <param name="Outputs">One output per map partition, in their order.</param>
internal sealed record PublishLocations(ShuffleId ShuffleId, int Epoch, ImmutableArray<MapOutput> Outputs) : JobEffect
{
    /// <summary>How many reducers the shuffle has.</summary>
    public required int Reducers { get; init; }

    /// <summary>Who missed them and waits for <c>LocationsPublished</c>; null when nobody asked.</summary>
    public ExecutorAddress? AnswerTo { get; init; }
}

/// <summary>
/// A large result is a block on a node: fetch it and answer with <see cref="ResultFetched"/> or <see cref="ResultLost"/>. The partition is not done before that.
/// </summary>
/// <param name="JobId">The job.</param>
/// <param name="Partition">The partition.</param>
/// <param name="Report">The report that names the block.</param>
/// <param name="ExecutorId">Whose node holds it.</param>
/// <param name="NodeId">That node.</param>
internal sealed record FetchResult(JobId JobId, int Partition, TaskReport Report, ExecutorId ExecutorId, NodeId NodeId) : JobEffect;

/// <summary>The first result of a partition of the result stage: hand it to the caller. Once per partition and job, before <see cref="JobSucceeded"/>.</summary>
/// <param name="JobId">The job.</param>
/// <param name="Partition">The partition.</param>
/// <param name="Report">The report that carries the result.</param>
internal sealed record PartitionResult(JobId JobId, int Partition, TaskReport Report) : JobEffect;

/// <summary>A job was taken in: nothing to do but to tell. Before all other effects that concern it; an empty or invalid job ends without.</summary>
/// <param name="JobId">The job.</param>
/// <param name="Job">Its definition.</param>
/// <param name="Stages">The numbers of its stages, in the order of its definition; those it shares with other jobs had numbers before.</param>
internal sealed record JobStarted(JobId JobId, JobDefinition Job, ImmutableArray<StageId> Stages) : JobEffect;

/// <summary>A stage attempt starts: tasks of it will be sent.</summary>
/// <param name="StageId">The stage.</param>
/// <param name="StageAttempt">The attempt, from 0.</param>
/// <param name="JobId">The job it is computed for; others may share it.</param>
/// <param name="Stage">Its definition.</param>
/// <param name="Tasks">How many partitions it has to compute.</param>
internal sealed record StageStarted(StageId StageId, int StageAttempt, JobId JobId, StageDefinition Stage, int Tasks) : JobEffect;

/// <summary>A stage attempt ended. Stages that were skipped neither start nor end.</summary>
/// <param name="StageId">The stage.</param>
/// <param name="StageAttempt">The attempt.</param>
/// <param name="Outcome">How.</param>
/// <param name="Message">For people; empty when it succeeded.</param>
internal sealed record StageEnded(StageId StageId, int StageAttempt, StageOutcome Outcome, string Message) : JobEffect;

/// <summary>How a stage attempt ended.</summary>
public enum StageOutcome
{
    /// <summary>All its partitions are there.</summary>
    Succeeded,

    /// <summary>Its input was lost; it is tried again when the input is there.</summary>
    Repeated,

    /// <summary>It was given up, and with it its jobs.</summary>
    Failed,

    /// <summary>No job wants it any more.</summary>
    Cancelled,
}

/// <summary>Attempts that ended, those with a large result when it is here or lost, for accumulators, traces and the event log: at most one such effect per event, nothing to do but to tell.</summary>
internal sealed record TasksSettled : JobEffect
{
    /// <summary>The attempts, in the order in which they ended.</summary>
    public List<SettledTask> Tasks { get; } = [];
}

/// <summary>One ended attempt.</summary>
/// <param name="AttemptId">The attempt.</param>
/// <param name="StageId">Its stage.</param>
/// <param name="StageAttempt">Its stage attempt.</param>
/// <param name="Partition">Its partition.</param>
/// <param name="AttemptNumber">Which try of the partition it was, from 0.</param>
/// <param name="ExecutorId">Where it ran.</param>
/// <param name="SentAt">When it was sent.</param>
/// <param name="End">How it ended.</param>
/// <param name="Report">The executor's report; null when the driver ended it (executor lost).</param>
/// <param name="Counts">
/// True for the first success of the partition in its stage, whatever was repeated: apply the accumulators of a map task. Those of a result task belong to its <see cref="PartitionResult"/>: a large
/// result counts when it has been fetched.
/// </param>
internal readonly record struct SettledTask(
    TaskAttemptId AttemptId, StageId StageId, int StageAttempt, int Partition, int AttemptNumber, ExecutorId ExecutorId, DateTimeOffset SentAt, TaskEnd End,
    TaskReport? Report, bool Counts);

/// <summary>A job has all its results.</summary>
/// <param name="JobId">The job.</param>
internal sealed record JobSucceeded(JobId JobId) : JobEffect;

/// <summary>A job failed.</summary>
/// <param name="JobId">The job.</param>
/// <param name="Failure">Why.</param>
internal sealed record JobFailed(JobId JobId, JobFailure Failure) : JobEffect;

/// <summary>A job was cancelled on request.</summary>
/// <param name="JobId">The job.</param>
/// <param name="Reason">For people.</param>
internal sealed record JobCancelled(JobId JobId, string Reason) : JobEffect;

/// <summary>No job and no owner needs this shuffle any more: delete its files and its locations.</summary>
/// <param name="ShuffleId">The shuffle.</param>
internal sealed record DropShuffle(ShuffleId ShuffleId) : JobEffect;

/// <summary>How many live executors the application wants: absolute, as <see cref="Ask.Desired"/>.</summary>
/// <param name="Count">The number.</param>
/// <param name="PreferredNodes">Nodes that hold what waiting tasks read; often empty.</param>
internal sealed record ExecutorsWanted(int Count, ImmutableArray<NodeId> PreferredNodes) : JobEffect;

/// <summary>Give this executor back: it idled, or it was given up. The wanted number no longer counts it.</summary>
/// <param name="ExecutorId">The executor.</param>
/// <param name="Reason">For people.</param>
internal sealed record ReleaseExecutor(ExecutorId ExecutorId, string Reason) : JobEffect;

/// <summary>Ask an executor to say hello again: the machine does not know what it holds.</summary>
/// <param name="To">The executor and epoch.</param>
internal sealed record HelloWanted(ExecutorAddress To) : JobEffect;

/// <summary>Tasks failed on this executor too often: it gets none until then.</summary>
/// <param name="ExecutorId">The executor.</param>
/// <param name="Until">When it is tried again.</param>
internal sealed record ExcludeExecutor(ExecutorId ExecutorId, DateTimeOffset Until) : JobEffect;

/// <summary>Executors of this node failed too often: want nothing on it until then.</summary>
/// <param name="NodeId">The node.</param>
/// <param name="Until">When it is tried again.</param>
internal sealed record ExcludeNode(NodeId NodeId, DateTimeOffset Until) : JobEffect;

/// <summary>The exclusion of this node is over.</summary>
/// <param name="NodeId">The node.</param>
internal sealed record ReadmitNode(NodeId NodeId) : JobEffect;
