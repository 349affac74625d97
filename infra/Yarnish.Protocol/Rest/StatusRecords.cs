using System.Collections.Immutable;

namespace Yarnish.Protocol;

/// <summary><c>GET /api/v1/applications/{id}</c> of a driver: the application at a glance.</summary>
public sealed record ApplicationDetail
{
    /// <summary>Id.</summary>
    public required ApplicationId Id { get; init; }

    /// <summary>Name, for people.</summary>
    public required string Name { get; init; }

    /// <summary>Who runs it.</summary>
    public required string User { get; init; }

    /// <summary>Host and process of the driver.</summary>
    public required string Driver { get; init; }

    /// <summary>Version of Yarnish.</summary>
    public required string Version { get; init; }

    /// <summary>URL of the resource manager; empty when embedded.</summary>
    public required string Address { get; init; }

    /// <summary><c>running</c>, <c>succeeded</c> or <c>failed</c>. A log that was cut off says <c>running</c>: how it went on is not known.</summary>
    public required string State { get; init; }

    /// <summary>When it started.</summary>
    public required DateTimeOffset StartedAt { get; init; }

    /// <summary>When it ended; null while it runs.</summary>
    public required DateTimeOffset? EndedAt { get; init; }

    /// <summary>When anything was last heard of it.</summary>
    public required DateTimeOffset LastEventAt { get; init; }

    /// <summary>Why it failed, for people; empty else.</summary>
    public required string Message { get; init; }

    /// <summary>Jobs by state, over the whole life.</summary>
    public required ImmutableSortedDictionary<string, long> Jobs { get; init; }

    /// <summary>Stage attempts by state, over the whole life.</summary>
    public required ImmutableSortedDictionary<string, long> Stages { get; init; }

    /// <summary>Task attempts by state, over the whole life.</summary>
    public required ImmutableSortedDictionary<string, long> Tasks { get; init; }

    /// <summary>Executors by state, over the whole life: <c>active</c>, <c>released</c>, <c>lost</c>.</summary>
    public required ImmutableSortedDictionary<string, long> Executors { get; init; }

    /// <summary>Sums over all task attempts that succeeded.</summary>
    public required TaskMetrics Totals { get; init; }

    /// <summary>Verdicts on the stages that were not healthy, newest first; at most 20.</summary>
    public required ImmutableArray<StageAdvice> Advice { get; init; }

    /// <summary>Jobs and stage attempts that ended long ago and are only counted in the totals.</summary>
    public required long Forgotten { get; init; }

    /// <summary>Task attempts that were counted but not looked at one by one, because the driver had more urgent things to do.</summary>
    public required long TasksNotDetailed { get; init; }

    /// <summary>Events that were lost: when not 0 the rest may not add up.</summary>
    public required long EventsLost { get; init; }
}

/// <summary>The verdict on one stage attempt, where it is told apart from the stage.</summary>
/// <param name="StageId">The stage.</param>
/// <param name="Attempt">The attempt.</param>
/// <param name="Verdict">The verdict.</param>
public sealed record StageAdvice(StageId StageId, int Attempt, StageVerdict Verdict);

/// <summary>What is to be said of a stage, computed from its figures.</summary>
/// <param name="Kind">The kind, for programs.</param>
/// <param name="Text">One line for people: what, with numbers, and what to do.</param>
public sealed record StageVerdict(StageVerdictKind Kind, string Text);

/// <summary>What can be wrong with a stage; the first that applies is told.</summary>
public enum StageVerdictKind
{
    /// <summary>Nothing is.</summary>
    Healthy,

    /// <summary>Too little of it has run to tell.</summary>
    TooEarly,

    /// <summary>It was given up.</summary>
    Failed,

    /// <summary>Malformed rows of its sources were left out, as the program wanted.</summary>
    MalformedRows,

    /// <summary>One task took far longer than the others.</summary>
    Skew,

    /// <summary>Memory was short: rows went to disk and back.</summary>
    Spill,

    /// <summary>The executors spent their time in garbage collection.</summary>
    GarbageCollection,

    /// <summary>Tasks waited for shuffle blocks.</summary>
    FetchWait,

    /// <summary>Tasks failed and ran again.</summary>
    Retries,

    /// <summary>So many tasks, so little in each: sending them costs more than running them.</summary>
    TinyTasks,

    /// <summary>Tasks were longer on their way than at work.</summary>
    SchedulerDelay,

    /// <summary>One task read or wrote far more than the others, though it did not take longer.</summary>
    InputImbalance,
}

/// <summary><c>GET …/jobs</c>: one job.</summary>
public sealed record JobInfo
{
    /// <summary>Its number.</summary>
    public required JobId Id { get; init; }

    /// <summary>The action and where it was called, such as <c>CountAsync at Program.cs:12</c>.</summary>
    public required string Name { get; init; }

    /// <summary>The pool it shares slots from; empty is the default one.</summary>
    public required string Pool { get; init; }

    /// <summary><c>running</c>, <c>succeeded</c>, <c>failed</c> or <c>cancelled</c>.</summary>
    public required string State { get; init; }

    /// <summary>When it was submitted.</summary>
    public required DateTimeOffset StartedAt { get; init; }

    /// <summary>When it ended; null while it runs.</summary>
    public required DateTimeOffset? EndedAt { get; init; }

    /// <summary>Why it failed or was cancelled, for people; empty else.</summary>
    public required string Message { get; init; }

    /// <summary>Its stages, parents first, those that were not needed included.</summary>
    public required ImmutableArray<JobStageInfo> Stages { get; init; }

    /// <summary>Task attempts of its stages that failed.</summary>
    public required long TasksFailed { get; init; }

    /// <summary>Partitions to compute, those of stages that were not needed left out.</summary>
    public required long Tasks { get; init; }

    /// <summary>Partitions computed.</summary>
    public required long TasksDone { get; init; }
}

/// <summary>One stage as a job sees it.</summary>
/// <param name="StageId">The stage; several jobs may share it.</param>
/// <param name="Name">The last transformation and where it was called.</param>
/// <param name="State"><c>waiting</c>, <c>running</c>, <c>succeeded</c>, <c>failed</c>, <c>repeated</c>, <c>cancelled</c>, or <c>skipped</c> when its output was there already.</param>
/// <param name="Attempts">How often it was started.</param>
/// <param name="Tasks">Partitions of its last attempt.</param>
/// <param name="Done">Partitions of it that are computed.</param>
/// <param name="Reads">Shuffles it reads.</param>
/// <param name="Writes">The shuffle it writes; null for the stage that computes the result.</param>
public sealed record JobStageInfo(StageId StageId, string Name, string State, int Attempts, int Tasks, int Done, ImmutableArray<int> Reads, int? Writes);

/// <summary><c>GET …/stages</c>: one attempt of one stage.</summary>
public sealed record StageInfo
{
    /// <summary>The stage.</summary>
    public required StageId Id { get; init; }

    /// <summary>The attempt, from 0.</summary>
    public required int Attempt { get; init; }

    /// <summary>The job it is computed for; others may share it.</summary>
    public required JobId JobId { get; init; }

    /// <summary>The last transformation and where it was called.</summary>
    public required string Name { get; init; }

    /// <summary><c>running</c>, <c>succeeded</c>, <c>repeated</c> (its input was lost), <c>failed</c> or <c>cancelled</c>.</summary>
    public required string State { get; init; }

    /// <summary>When it started.</summary>
    public required DateTimeOffset StartedAt { get; init; }

    /// <summary>When it ended; null while it runs.</summary>
    public required DateTimeOffset? EndedAt { get; init; }

    /// <summary>Why it did not succeed, for people; empty else.</summary>
    public required string Message { get; init; }

    /// <summary>Partitions to compute.</summary>
    public required int Tasks { get; init; }

    /// <summary>Partitions computed.</summary>
    public required int Done { get; init; }

    /// <summary>Attempts sent to executors that have not ended.</summary>
    public required int Running { get; init; }

    /// <summary>Attempts that succeeded.</summary>
    public required long Succeeded { get; init; }

    /// <summary>Attempts that failed.</summary>
    public required long Failed { get; init; }

    /// <summary>Attempts that were stopped, such as those that came second.</summary>
    public required long Stopped { get; init; }

    /// <summary>Attempts that ended with their executor, or whose input was lost: not their fault.</summary>
    public required long Lost { get; init; }

    /// <summary>Second tries of slow tasks.</summary>
    public required long Speculative { get; init; }

    /// <summary>Attempts among the above that were counted but not looked at one by one.</summary>
    public required long NotDetailed { get; init; }

    /// <summary>Sums over the attempts that succeeded.</summary>
    public required TaskMetrics Totals { get; init; }

    /// <summary>What is to be said of it.</summary>
    public required StageVerdict Verdict { get; init; }
}

/// <summary><c>GET …/stages/{id}/{attempt}/taskSummary</c>: how each figure is spread over the task attempts that succeeded.</summary>
public sealed record TaskSummary
{
    /// <summary>The stage.</summary>
    public required StageId StageId { get; init; }

    /// <summary>The attempt.</summary>
    public required int Attempt { get; init; }

    /// <summary>How many task attempts are in it.</summary>
    public required long Tasks { get; init; }

    /// <summary>The figures that are not 0 everywhere, in the order of <see cref="TaskMetrics"/>, after <c>wallMicroseconds</c> and <c>schedulerDelayMicroseconds</c>.</summary>
    public required ImmutableArray<MetricSpread> Metrics { get; init; }
}

/// <summary>How one figure is spread over tasks; each value at most 13 % off, sum, minimum and maximum exact.</summary>
/// <param name="Name">The figure, such as <c>runMicroseconds</c>; the name ends in its unit.</param>
/// <param name="Sum">Over all tasks.</param>
/// <param name="Minimum">Smallest.</param>
/// <param name="LowerQuartile">A quarter is not above.</param>
/// <param name="Median">Half are not above.</param>
/// <param name="UpperQuartile">Three quarters are not above.</param>
/// <param name="Maximum">Largest.</param>
public sealed record MetricSpread(string Name, long Sum, long Minimum, long LowerQuartile, long Median, long UpperQuartile, long Maximum);

/// <summary><c>GET …/stages/{id}/{attempt}/taskList?offset=0&amp;length=100&amp;state=failed</c>: task attempts that are remembered one by one.</summary>
public sealed record TaskList
{
    /// <summary>The stage.</summary>
    public required StageId StageId { get; init; }

    /// <summary>The attempt.</summary>
    public required int Attempt { get; init; }

    /// <summary>Task attempts there were.</summary>
    public required long Total { get; init; }

    /// <summary>Task attempts that are remembered and fit the question: those that run, the last that failed, the slowest, and the latest.</summary>
    public required int Kept { get; init; }

    /// <summary>Number of the first one here.</summary>
    public required int Offset { get; init; }

    /// <summary>The attempts, in the order of their ids.</summary>
    public required ImmutableArray<TaskInfo> Tasks { get; init; }
}

/// <summary>One task attempt.</summary>
public sealed record TaskInfo
{
    /// <summary>The attempt.</summary>
    public required TaskAttemptId AttemptId { get; init; }

    /// <summary>The partition it computes.</summary>
    public required int Partition { get; init; }

    /// <summary>Which try of the partition it is, from 0.</summary>
    public required int Attempt { get; init; }

    /// <summary>Where it runs.</summary>
    public required ExecutorId ExecutorId { get; init; }

    /// <summary><c>running</c>, or how it ended: <c>succeeded</c>, <c>failed</c>, <c>fetchFailed</c>, <c>stopped</c>, <c>resultLost</c>, <c>commitDenied</c>, <c>codeMissing</c>, <c>executorLost</c>, <c>resubmitted</c>.</summary>
    public required string State { get; init; }

    /// <summary>True for the second try of a slow task; not known of those that have ended.</summary>
    public required bool Speculative { get; init; }

    /// <summary>When the driver sent it.</summary>
    public required DateTimeOffset SentAt { get; init; }

    /// <summary>From there to its end at the driver; 0 while it runs.</summary>
    public required long WallMicroseconds { get; init; }

    /// <summary>Why it did not succeed, for people; empty else.</summary>
    public required string Error { get; init; }

    /// <summary>What it did and used.</summary>
    public required TaskMetrics Metrics { get; init; }
}

/// <summary><c>GET …/executors</c>: one executor.</summary>
public sealed record ExecutorInfo
{
    /// <summary>Id; on a cluster that of its container.</summary>
    public required ExecutorId Id { get; init; }

    /// <summary>Its node.</summary>
    public required NodeId NodeId { get; init; }

    /// <summary>Host name.</summary>
    public required string Host { get; init; }

    /// <summary>Process id.</summary>
    public required int ProcessId { get; init; }

    /// <summary>How many tasks it runs at once.</summary>
    public required int Slots { get; init; }

    /// <summary>Base URL of its node's agent; empty when embedded.</summary>
    public required string NodeUrl { get; init; }

    /// <summary><c>active</c>, <c>excluded</c> (tasks failed there too often), <c>released</c> or <c>lost</c>.</summary>
    public required string State { get; init; }

    /// <summary>When it said hello.</summary>
    public required DateTimeOffset AddedAt { get; init; }

    /// <summary>When it was gone; null while it is there.</summary>
    public required DateTimeOffset? RemovedAt { get; init; }

    /// <summary>How it ended, see <see cref="ContainerExitCause"/>, in camel case; empty while it is there.</summary>
    public required string Cause { get; init; }

    /// <summary>How it ended, for people.</summary>
    public required string Message { get; init; }

    /// <summary>Task attempts sent to it that have not ended.</summary>
    public required int Running { get; init; }

    /// <summary>Task attempts that succeeded there.</summary>
    public required long Succeeded { get; init; }

    /// <summary>Task attempts that failed there.</summary>
    public required long Failed { get; init; }

    /// <summary>Sums over the attempts that succeeded there.</summary>
    public required TaskMetrics Totals { get; init; }

    /// <summary>Persisted partitions it holds.</summary>
    public required int CachedPartitions { get; init; }

    /// <summary>Bytes of them in memory.</summary>
    public required long CachedMemoryBytes { get; init; }

    /// <summary>Bytes of them on disk.</summary>
    public required long CachedDiskBytes { get; init; }
}

/// <summary><c>GET …/collections</c>: one persisted collection.</summary>
public sealed record CollectionInfo
{
    /// <summary>Its number.</summary>
    public required int Id { get; init; }

    /// <summary>The transformation that made it and where it was called.</summary>
    public required string Name { get; init; }

    /// <summary>Where its partitions may be held.</summary>
    public required string Level { get; init; }

    /// <summary>How many partitions it has.</summary>
    public required int Partitions { get; init; }

    /// <summary>Partitions that some executor holds.</summary>
    public required int CachedPartitions { get; init; }

    /// <summary>Bytes in the memory of executors, every copy counted.</summary>
    public required long MemoryBytes { get; init; }

    /// <summary>Bytes on their disks, every copy counted.</summary>
    public required long DiskBytes { get; init; }
}

/// <summary><c>GET …/environment</c>: what it runs with; secrets are hidden.</summary>
/// <param name="Runtime">Versions, machine, command line.</param>
/// <param name="Settings">Every setting of the session.</param>
public sealed record EnvironmentInfo(ImmutableSortedDictionary<string, string> Runtime, ImmutableSortedDictionary<string, string> Settings);

/// <summary><c>GET …/accumulators</c>: one named accumulator.</summary>
/// <param name="Id">Its number.</param>
/// <param name="Name">Its name.</param>
/// <param name="Value">Its value when it last changed, for people.</param>
public sealed record AccumulatorInfo(int Id, string Name, string Value);
