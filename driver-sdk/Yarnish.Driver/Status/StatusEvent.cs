using System.Collections.Immutable;
using Yarnish.Dataflow;
using Yarnish.Protocol;

namespace Yarnish.Status;

/// <summary>
/// What happened to an application, as its status and its event log are told: a closed set. Made by the driver loop; the same events, live or read back from a log, give
/// the same <see cref="ApplicationStatus"/>.
/// </summary>
/// <param name="At">When.</param>
internal abstract record StatusEvent(DateTimeOffset At)
{
    /// <summary>The first event.</summary>
    public sealed record ApplicationStarted(DateTimeOffset At, ApplicationId Id, string Name, string User, string Driver, string Version, string Address) : StatusEvent(At);

    /// <summary>What it runs with; secrets are hidden already.</summary>
    public sealed record EnvironmentKnown(DateTimeOffset At, ImmutableSortedDictionary<string, string> Runtime, ImmutableSortedDictionary<string, string> Settings) : StatusEvent(At);

    /// <summary>The last event.</summary>
    public sealed record ApplicationEnded(DateTimeOffset At, bool Succeeded, string Message) : StatusEvent(At);

    /// <summary>An executor said hello for the first time, or again on a new connection.</summary>
    public sealed record ExecutorAdded(DateTimeOffset At, ExecutorId Id, NodeId NodeId, string Host, int ProcessId, int Slots, string NodeUrl) : StatusEvent(At);

    /// <summary>An executor is gone.</summary>
    public sealed record ExecutorRemoved(DateTimeOffset At, ExecutorId Id, ContainerExitCause Cause, string Message) : StatusEvent(At);

    /// <summary>An executor gets no tasks for a while.</summary>
    public sealed record ExecutorExcluded(DateTimeOffset At, ExecutorId Id, DateTimeOffset Until) : StatusEvent(At);

    /// <summary>A node gets no tasks for a while.</summary>
    public sealed record NodeExcluded(DateTimeOffset At, NodeId Id, DateTimeOffset Until) : StatusEvent(At);

    /// <summary>A job was submitted.</summary>
    public sealed record JobStarted(DateTimeOffset At, JobId Id, string Name, string Pool, ImmutableArray<PlannedStage> Stages) : StatusEvent(At);

    /// <summary>A job ended.</summary>
    public sealed record JobEnded(DateTimeOffset At, JobId Id, JobState Outcome, string Message) : StatusEvent(At);

    /// <summary>A stage attempt started.</summary>
    public sealed record StageStarted(DateTimeOffset At, StageId Id, int Attempt, JobId JobId, string Name, int Tasks, int Partitions) : StatusEvent(At);

    /// <summary>A stage attempt ended.</summary>
    public sealed record StageEnded(DateTimeOffset At, StageId Id, int Attempt, StageOutcome Outcome, string Message) : StatusEvent(At);

    /// <summary>Task attempts were sent to an executor.</summary>
    public sealed record TasksSent(DateTimeOffset At, StageId StageId, int StageAttempt, ExecutorId ExecutorId, IReadOnlyList<TaskToSend> Tasks) : StatusEvent(At);

    /// <summary>Task attempts ended.</summary>
    public sealed record TasksEnded(DateTimeOffset At, EndedTask[] Tasks) : StatusEvent(At);

    /// <summary>Task attempts ended that were only counted, because more came than could be looked at.</summary>
    public sealed record TasksCounted(DateTimeOffset At, StageId StageId, int StageAttempt, long Succeeded, long Failed, long Stopped, long Lost) : StatusEvent(At);

    /// <summary>A collection is to be persisted.</summary>
    public sealed record CollectionPersisted(DateTimeOffset At, int Id, string Name, string Level, int Partitions) : StatusEvent(At);

    /// <summary>A collection is no longer persisted.</summary>
    public sealed record CollectionUnpersisted(DateTimeOffset At, int Id) : StatusEvent(At);

    /// <summary>What an executor and its node hold of persisted partitions now; nothing where both sizes are 0.</summary>
    public sealed record PartitionsHeld(DateTimeOffset At, ExecutorId ExecutorId, IReadOnlyList<CachedPartition> Partitions) : StatusEvent(At);

    /// <summary>A named accumulator has a value.</summary>
    public sealed record AccumulatorChanged(DateTimeOffset At, int Id, string Name, string Value) : StatusEvent(At);

    /// <summary>Events were lost on their way here.</summary>
    public sealed record EventsLost(DateTimeOffset At, long Count) : StatusEvent(At);
}

/// <summary>A stage of a job as it was planned.</summary>
/// <param name="Id">Its number; several jobs may share it.</param>
/// <param name="Name">For people.</param>
/// <param name="Tasks">Its partitions.</param>
/// <param name="Reads">Shuffles it reads.</param>
/// <param name="Writes">The shuffle it writes; null for the result stage.</param>
internal sealed record PlannedStage(StageId Id, string Name, int Tasks, ImmutableArray<int> Reads, int? Writes);

/// <summary>How a task attempt ended, without the rest of <see cref="TaskEnd"/>.</summary>
internal enum TaskEndKind : byte
{
    Succeeded,
    Failed,
    FetchFailed,
    Stopped,
    ResultLost,
    CommitDenied,
    CodeMissing,
    ExecutorLost,
    Resubmitted,
}

/// <summary>One task attempt that ended.</summary>
/// <param name="Attempt">The attempt.</param>
/// <param name="StageId">Its stage.</param>
/// <param name="StageAttempt">The stage's attempt.</param>
/// <param name="Partition">The partition.</param>
/// <param name="Number">Which try of the partition, from 0.</param>
/// <param name="ExecutorId">Where it ran.</param>
/// <param name="WallMicroseconds">From its sending to its end, as the driver saw it.</param>
/// <param name="Kind">How it ended.</param>
/// <param name="CountsAsFailure">Whether that counts against the task.</param>
/// <param name="Error">For people; empty when it succeeded.</param>
/// <param name="Metrics">What it did and used.</param>
/// <param name="Cached">Persisted partitions it stored; null when none.</param>
internal readonly record struct EndedTask(
    TaskAttemptId Attempt, StageId StageId, int StageAttempt, int Partition, int Number, ExecutorId ExecutorId, long WallMicroseconds, TaskEndKind Kind, bool CountsAsFailure, string Error,
    TaskMetrics Metrics, IReadOnlyList<CachedPartition>? Cached)
{
    /// <summary>What is kept of an error.</summary>
    private const int MaximumError = 600;

    /// <summary>From what the job machine tells.</summary>
    public static EndedTask From(in SettledTask task, DateTimeOffset now)
    {
        var kind = KindOf(task.End);
        var error = kind == TaskEndKind.Succeeded ? "" : Jobs.FailureText.Describe(task.End);
        return new EndedTask(
            task.AttemptId, task.StageId, task.StageAttempt, task.Partition, task.AttemptNumber, task.ExecutorId, Math.Max(0, (now - task.SentAt).Ticks / TimeSpan.TicksPerMicrosecond),
            kind, task.End.CountsAsFailure, error.Length <= MaximumError ? error : string.Concat(error.AsSpan(0, MaximumError), "…"), task.Report?.Metrics ?? TaskMetrics.Empty,
            task.Report?.Cached);
    }

    internal static TaskEndKind KindOf(TaskEnd end) => end switch
    {
        TaskSucceeded => TaskEndKind.Succeeded,
        TaskFailed => TaskEndKind.Failed,
        FetchFailed => TaskEndKind.FetchFailed,
        TaskKilled => TaskEndKind.Stopped,
        TaskResultLost => TaskEndKind.ResultLost,
        TaskCommitDenied => TaskEndKind.CommitDenied,
        TaskCodeMissing => TaskEndKind.CodeMissing,
        TaskExecutorLost => TaskEndKind.ExecutorLost,
        TaskResubmitted => TaskEndKind.Resubmitted,
        // A new kind counts as what needs looking at; a test wants it to be named here.
        _ => TaskEndKind.Failed,
    };
}
