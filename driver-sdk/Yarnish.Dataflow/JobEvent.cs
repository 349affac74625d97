using Yarnish.Protocol;

namespace Yarnish.Dataflow;

/// <summary>Everything that can happen to <see cref="JobMachine"/>: a closed set. Any of them may come late, twice, or out of order.</summary>
internal abstract record JobEvent
{
    private protected JobEvent()
    {
    }
}

/// <summary>An action wants a job run.</summary>
/// <param name="JobId">Chosen by the shell, ascending.</param>
/// <param name="Job">The job.</param>
internal sealed record JobSubmitted(JobId JobId, JobDefinition Job) : JobEvent;

/// <summary>Nobody wants this job any more. Answered by <see cref="JobCancelled"/>; nothing happens when it has ended.</summary>
/// <param name="JobId">The job.</param>
/// <param name="Reason">For people.</param>
internal sealed record JobCancelRequested(JobId JobId, string Reason) : JobEvent;

/// <summary>The caller's own code threw on a result.</summary>
/// <param name="JobId">The job.</param>
/// <param name="Partition">The partition whose result it was.</param>
/// <param name="Error">What it threw.</param>
internal sealed record ResultHandlerFailed(JobId JobId, int Partition, RemoteError Error) : JobEvent;

/// <summary>The block asked for by <see cref="FetchResult"/> is here.</summary>
/// <param name="AttemptId">The attempt that left it.</param>
/// <param name="Report">Its report, with the result in it.</param>
internal sealed record ResultFetched(TaskAttemptId AttemptId, TaskReport Report) : JobEvent;

/// <summary>The block asked for by <see cref="FetchResult"/> cannot be had: the task counts as failed and runs again.</summary>
/// <param name="AttemptId">The attempt that left it.</param>
/// <param name="Message">For people.</param>
internal sealed record ResultLost(TaskAttemptId AttemptId, string Message) : JobEvent;

/// <summary>An executor said hello: a new one, a known one on a new connection, or a known one that was asked by <see cref="HelloWanted"/>.</summary>
/// <param name="Address">The executor and the epoch of its connection.</param>
/// <param name="NodeId">The node it is on.</param>
/// <param name="Slots">How many tasks it runs at once.</param>
/// <param name="Running">Attempts it holds, running or queued.</param>
/// <param name="Finished">Attempts whose reports follow.</param>
internal sealed record ExecutorJoined(
    ExecutorAddress Address, NodeId NodeId, int Slots, IReadOnlyList<TaskAttemptId> Running, IReadOnlyList<TaskAttemptId> Finished) : JobEvent
{
    /// <summary>From a protocol message.</summary>
    public static ExecutorJoined From(ExecutorHello hello) => new(hello.From, hello.NodeId, hello.Slots, hello.Running, hello.Finished);
}

/// <summary>An executor's beat: proof of life.</summary>
/// <param name="Address">The executor and epoch.</param>
/// <param name="Running">Attempts that occupy a slot.</param>
/// <param name="Queued">How many more it holds.</param>
internal sealed record ExecutorAlive(ExecutorAddress Address, IReadOnlyList<TaskAttemptId> Running, int Queued) : JobEvent;

/// <summary>An executor is gone, whoever saw it first: its container completed, it said goodbye, or the driver gave it up. Repeated ones do nothing.</summary>
/// <param name="ExecutorId">The executor.</param>
/// <param name="Cause">How it ended. The machine tells by it whether the executor ended by itself, see <see cref="ExecutorEnds"/>.</param>
/// <param name="Message">For people.</param>
internal sealed record ExecutorLost(ExecutorId ExecutorId, ContainerExitCause Cause, string Message) : JobEvent
{
    /// <summary>
    /// What occupied a slot when it ended, when somebody knows: the suspects. Null when nobody does: then the longest sent, as many as it had slots, are suspected.
    /// </summary>
    public IReadOnlyList<TaskAttemptId>? Running { get; init; }
}

/// <summary>A node is gone, and with it all its executors and the map output it held.</summary>
/// <param name="NodeId">The node.</param>
/// <param name="Message">For people.</param>
internal sealed record NodeWasLost(NodeId NodeId, string Message) : JobEvent;

/// <summary>An executor shall leave: it finishes what it has and gets nothing more, its persisted partitions go to the disk of its node, then it is released.</summary>
/// <param name="ExecutorId">The executor.</param>
internal sealed record ExecutorDraining(ExecutorId ExecutorId) : JobEvent;

/// <summary>A node is being emptied, or no longer. Its executors leave as <see cref="ExecutorDraining"/> says; persisted partitions that only it has are copied to other nodes first.</summary>
/// <param name="NodeId">The node.</param>
/// <param name="Active">False when it stays after all.</param>
internal sealed record NodeDraining(NodeId NodeId, bool Active) : JobEvent;

/// <summary>A batch did not reach its executor: these attempts did not run and will not.</summary>
/// <param name="Address">Where it was sent.</param>
/// <param name="Attempts">Its attempts.</param>
/// <param name="QueueGone">True when the broker had no queue for the address: that epoch is over. False when it was never sent, such as while the link is down.</param>
internal sealed record BatchReturned(ExecutorAddress Address, IReadOnlyList<TaskAttemptId> Attempts, bool QueueGone) : JobEvent;

/// <summary>Reports of an executor.</summary>
/// <param name="Address">The executor and epoch.</param>
/// <param name="Reports">The ends.</param>
internal sealed record TasksEnded(ExecutorAddress Address, IReadOnlyList<TaskReport> Reports) : JobEvent;

/// <summary>A task of a barrier stage waits for the others. Said again until <see cref="ReleaseBarrier"/> has come.</summary>
/// <param name="Address">Its executor.</param>
/// <param name="AttemptId">The attempt.</param>
/// <param name="Round">How many barriers it has passed.</param>
/// <param name="Message">What it has to say to the others; may be empty.</param>
internal sealed record BarrierReached(ExecutorAddress Address, TaskAttemptId AttemptId, int Round, string Message) : JobEvent;

/// <summary>The link to the broker is down, or the broker blocks publishers: nothing is sent and nobody is declared lost until <see cref="LinkRestored"/>.</summary>
/// <param name="Reason">For people.</param>
internal sealed record LinkInterrupted(string Reason) : JobEvent;

/// <summary>The link works again.</summary>
/// <param name="MessagesMayBeLost">True after a new connection: executors are asked what they hold. False when the broker merely stopped blocking.</param>
internal sealed record LinkRestored(bool MessagesMayBeLost) : JobEvent;

/// <summary>A reducer missed the locations of a shuffle in the registry.</summary>
/// <param name="Address">Who asks.</param>
/// <param name="ShuffleId">The shuffle.</param>
/// <param name="Epoch">The epoch it looked for.</param>
internal sealed record LocationsMissing(ExecutorAddress Address, ShuffleId ShuffleId, int Epoch) : JobEvent;

/// <summary>No collection can read this shuffle any more. It is dropped as soon as no job needs it.</summary>
/// <param name="ShuffleId">The shuffle.</param>
internal sealed record ShuffleReleased(ShuffleId ShuffleId) : JobEvent;

/// <summary>A collection is no longer persisted: where its partitions were does not matter any more.</summary>
/// <param name="Collection">Its number.</param>
internal sealed record CollectionUnpersisted(int Collection) : JobEvent;

/// <summary>What an executor and its node hold of persisted partitions now, without a task having said so: copied, written out, pushed out of memory, found missing.</summary>
/// <param name="Address">The executor; need not be ours any more.</param>
/// <param name="NodeId">Its node.</param>
/// <param name="Partitions">Absolute; nothing is held where both sizes are 0.</param>
internal sealed record PartitionsTold(ExecutorAddress Address, NodeId NodeId, IReadOnlyList<CachedPartition> Partitions) : JobEvent
{
    /// <summary>Files that other nodes turned out not to have.</summary>
    public IReadOnlyList<PartitionAt> Lost { get; init; } = [];

    /// <summary>Answers <see cref="WriteOut"/>: nothing is in memory only any more.</summary>
    public bool AllWritten { get; init; }

    /// <summary>From a protocol message.</summary>
    public static PartitionsTold From(PartitionsHeld held) => new(held.From, held.NodeId, held.Partitions) { Lost = held.Lost, AllWritten = held.AllWritten };
}

/// <summary>Time has passed. Sent when <see cref="JobMachine.NextWake"/> is reached; more often does no harm.</summary>
internal sealed record TimePassed : JobEvent
{
    /// <summary>The only value.</summary>
    public static TimePassed Instance { get; } = new();
}
