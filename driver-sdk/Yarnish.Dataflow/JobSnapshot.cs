using System.Collections.Immutable;
using Yarnish.Protocol;

namespace Yarnish.Dataflow;

/// <summary>The state of all jobs at one moment, for progress bars, status pages and the application's heartbeat. Built on demand, never changes.</summary>
public sealed record JobSnapshot
{
    /// <summary>When it was taken.</summary>
    public required DateTimeOffset At { get; init; }

    /// <summary>Jobs that run, in the order of their ids, then the last ones that ended, newest first (at most 100).</summary>
    public required ImmutableArray<JobStatus> Jobs { get; init; }

    /// <summary>Stages of the running jobs, in the order of their ids, then the last ones that ended, newest first (at most 200).</summary>
    public required ImmutableArray<StageStatus> Stages { get; init; }

    /// <summary>Executors that are held, in the order in which they joined.</summary>
    public required ImmutableArray<ExecutorStatus> Executors { get; init; }

    /// <summary>Persisted collections of which anything is held, in the order of their numbers.</summary>
    public ImmutableArray<CollectionStatus> Collections { get; init; } = [];

    /// <summary>Counts over the life of the application.</summary>
    public required JobTotals Totals { get; init; }
}

/// <summary>One persisted collection.</summary>
/// <param name="Collection">Its number.</param>
/// <param name="InMemory">Partitions that an executor has in memory.</param>
/// <param name="OnDisk">Partitions that are files of a node, whether or not they are in memory, too.</param>
/// <param name="Replicated">Partitions that two nodes have.</param>
/// <param name="MemoryBytes">Bytes in memory, each partition counted once.</param>
/// <param name="DiskBytes">Bytes on disk, each partition counted once.</param>
public sealed record CollectionStatus(int Collection, int InMemory, int OnDisk, int Replicated, long MemoryBytes, long DiskBytes);

/// <summary>One job.</summary>
/// <param name="JobId">The job.</param>
/// <param name="Name">For people.</param>
/// <param name="State">Its state.</param>
/// <param name="SubmittedAt">When it was submitted.</param>
/// <param name="EndedAt">When it ended; null while it runs.</param>
/// <param name="Stages">Its stages, parents first; skipped ones included.</param>
/// <param name="StagesSkipped">How many of them were not needed because their output existed.</param>
/// <param name="Tasks">Tasks of its stages, skipped ones left out.</param>
/// <param name="TasksDone">Tasks done.</param>
/// <param name="Message">Why it failed; empty else.</param>
public sealed record JobStatus(
    JobId JobId, string Name, JobState State, DateTimeOffset SubmittedAt, DateTimeOffset? EndedAt, ImmutableArray<StageId> Stages, int StagesSkipped, int Tasks,
    int TasksDone, string Message)
{
    /// <summary>The pool it shares slots from.</summary>
    public string Pool { get; init; } = "";

    /// <summary>The group it was submitted in; empty when in none.</summary>
    public string Group { get; init; } = "";

    /// <summary>What the program says it does; may be empty.</summary>
    public string Description { get; init; } = "";
}

/// <summary>States of a job.</summary>
public enum JobState
{
    /// <summary>It runs or waits for slots.</summary>
    Running,

    /// <summary>It has all results.</summary>
    Succeeded,

    /// <summary>It failed.</summary>
    Failed,

    /// <summary>It was cancelled.</summary>
    Cancelled,
}

/// <summary>One stage.</summary>
/// <param name="StageId">The stage.</param>
/// <param name="Attempt">Its current attempt, from 0; -1 when none started.</param>
/// <param name="Name">For people.</param>
/// <param name="State">Its state.</param>
/// <param name="Tasks">Partitions to compute.</param>
/// <param name="Done">Partitions computed.</param>
/// <param name="Running">Attempts in flight.</param>
/// <param name="Failed">Attempts that failed, over all stage attempts.</param>
/// <param name="StartedAt">When its first attempt started.</param>
/// <param name="EndedAt">When it ended.</param>
public sealed record StageStatus(
    StageId StageId, int Attempt, string Name, StageState State, int Tasks, int Done, int Running, int Failed, DateTimeOffset? StartedAt, DateTimeOffset? EndedAt)
{
    /// <summary>Sums over its successful attempts.</summary>
    public TaskMetrics Sum { get; init; } = TaskMetrics.Empty;

    /// <summary>Run time of its successful attempts, in microseconds.</summary>
    public Distribution RunMicroseconds { get; init; }

    /// <summary>Bytes each read from shuffles.</summary>
    public Distribution ShuffleReadBytes { get; init; }

    /// <summary>Bytes each wrote to a shuffle.</summary>
    public Distribution ShuffleWriteBytes { get; init; }

    /// <summary>Bytes each read from sources.</summary>
    public Distribution InputBytes { get; init; }
}

/// <summary>States of a stage; the drawing is in the README.</summary>
public enum StageState
{
    /// <summary>Not asked for, or its output was lost and nobody asked yet.</summary>
    Idle,

    /// <summary>Waits for its parents.</summary>
    Waiting,

    /// <summary>Its tasks are pending or run.</summary>
    Running,

    /// <summary>Its input was lost; it is submitted again shortly.</summary>
    Repeating,

    /// <summary>Its output is complete.</summary>
    Done,
}

/// <summary>How a figure is spread over tasks; each value at most 13 % off, the extremes exact.</summary>
/// <param name="Minimum">Smallest.</param>
/// <param name="LowerQuartile">A quarter is below.</param>
/// <param name="Median">Half are below.</param>
/// <param name="UpperQuartile">Three quarters are below.</param>
/// <param name="Maximum">Largest.</param>
public readonly record struct Distribution(long Minimum, long LowerQuartile, long Median, long UpperQuartile, long Maximum);

/// <summary>One executor.</summary>
/// <param name="ExecutorId">The executor.</param>
/// <param name="Epoch">Epoch of its connection.</param>
/// <param name="NodeId">Its node.</param>
/// <param name="Slots">Its slots.</param>
/// <param name="InFlight">Attempts sent and not ended.</param>
/// <param name="Succeeded">Attempts that succeeded on it.</param>
/// <param name="Failed">Attempts that failed on it.</param>
/// <param name="CachedPartitions">Persisted partitions in its memory.</param>
/// <param name="State">Whether it gets tasks.</param>
/// <param name="LastSeen">When it was last heard of.</param>
public sealed record ExecutorStatus(
    ExecutorId ExecutorId, int Epoch, NodeId NodeId, int Slots, int InFlight, long Succeeded, long Failed, int CachedPartitions, ExecutorState State,
    DateTimeOffset LastSeen);

/// <summary>States of an executor.</summary>
public enum ExecutorState
{
    /// <summary>It gets tasks.</summary>
    Active,

    /// <summary>Its connection is gone; it must say hello again before it gets tasks.</summary>
    Disconnected,

    /// <summary>It finishes what it has and leaves.</summary>
    Draining,

    /// <summary>Tasks failed on it too often; it gets none for a while.</summary>
    Excluded,
}

/// <summary>Counts over the life of an application.</summary>
public sealed record JobTotals
{
    /// <summary>Jobs that succeeded.</summary>
    public int JobsSucceeded { get; init; }

    /// <summary>Jobs that failed or were cancelled.</summary>
    public int JobsFailed { get; init; }

    /// <summary>Stage attempts that succeeded.</summary>
    public int StagesSucceeded { get; init; }

    /// <summary>Attempts in flight.</summary>
    public int TasksRunning { get; init; }

    /// <summary>Tasks of running stages that wait for a slot.</summary>
    public int TasksPending { get; init; }

    /// <summary>Attempts that succeeded.</summary>
    public long TasksSucceeded { get; init; }

    /// <summary>Attempts that failed.</summary>
    public long TasksFailed { get; init; }

    /// <summary>Reports that came too late or twice and were dropped.</summary>
    public long ReportsDropped { get; init; }

    /// <summary>Executors that ever joined.</summary>
    public int ExecutorsSeen { get; init; }

    /// <summary>Executors lost without being released.</summary>
    public int ExecutorsLost { get; init; }

    /// <summary>Bytes written to shuffles.</summary>
    public long ShuffleBytesWritten { get; init; }

    /// <summary>Bytes read from shuffles.</summary>
    public long ShuffleBytesRead { get; init; }
}
