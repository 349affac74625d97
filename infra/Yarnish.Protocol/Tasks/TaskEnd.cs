namespace Yarnish.Protocol;

/// <summary>
/// How a task attempt ended: a closed set, carried unchanged from executor to scheduler to status page. Decisions are taken from the type and its ids;
/// texts are for people. After Spark's <c>TaskEndReason</c>.
/// </summary>
public abstract record TaskEnd
{
    private protected TaskEnd()
    {
    }

    /// <summary>Whether this end counts towards the number of failures after which a stage is given up.</summary>
    public virtual bool CountsAsFailure => false;
}

/// <summary>It did its work.</summary>
public sealed record TaskSucceeded : TaskEnd
{
    /// <summary>The only value.</summary>
    public static TaskSucceeded Instance { get; } = new();
}

/// <summary>User code (or ours) threw. Counts.</summary>
/// <param name="Error">What was thrown.</param>
public sealed record TaskFailed(RemoteError Error) : TaskEnd
{
    /// <inheritdoc/>
    public override bool CountsAsFailure => true;
}

/// <summary>A shuffle block could not be read: the map output, not this task, is at fault. Does not count.</summary>
/// <param name="ShuffleId">The shuffle.</param>
/// <param name="MapPartition">The map task whose output is missing or corrupt.</param>
/// <param name="MapAttempt">The attempt that wrote it.</param>
/// <param name="NodeId">Where it should have been.</param>
/// <param name="Message">For people.</param>
public sealed record FetchFailed(ShuffleId ShuffleId, int MapPartition, TaskAttemptId MapAttempt, NodeId NodeId, string Message) : TaskEnd;

/// <summary>It was told to stop. Does not count.</summary>
/// <param name="Reason">For people.</param>
public sealed record TaskKilled(string Reason) : TaskEnd;

/// <summary>It succeeded, but its result block is gone. Counts: a result that is always lost must end the job.</summary>
/// <param name="Message">For people.</param>
public sealed record TaskResultLost(string Message) : TaskEnd
{
    /// <inheritdoc/>
    public override bool CountsAsFailure => true;
}

/// <summary>Another attempt of the same partition committed first. Does not count.</summary>
public sealed record TaskCommitDenied : TaskEnd
{
    /// <summary>The only value.</summary>
    public static TaskCommitDenied Instance { get; } = new();
}

/// <summary>The executor does not hold the code the task names (it was evicted or never came). The driver sends code and task again. Does not count.</summary>
/// <param name="CodeHash">The missing code.</param>
public sealed record TaskCodeMissing(string CodeHash) : TaskEnd;

/// <summary>Its executor was lost while it ran.</summary>
/// <param name="ExecutorId">The executor.</param>
/// <param name="Cause">How the executor ended.</param>
/// <param name="CausedByTask">True when the attempt was running, and the executor ended by itself rather than by its node, an operator or preemption: a suspect. Counts then.</param>
/// <param name="Message">For people.</param>
public sealed record TaskExecutorLost(ExecutorId ExecutorId, ContainerExitCause Cause, bool CausedByTask, string Message) : TaskEnd
{
    /// <inheritdoc/>
    public override bool CountsAsFailure => CausedByTask;
}

/// <summary>A completed map task whose output was lost and which therefore runs again. Does not count.</summary>
public sealed record TaskResubmitted : TaskEnd
{
    /// <summary>The only value.</summary>
    public static TaskResubmitted Instance { get; } = new();
}

/// <summary>An exception as it crosses processes: names and texts, never the object.</summary>
/// <param name="Type">Full name of its type.</param>
/// <param name="Message">Its message.</param>
/// <param name="StackTrace">Its stack, user frames included.</param>
public sealed record RemoteError(string Type, string Message, string StackTrace)
{
    /// <summary>The inner exception, if any; at most 8 deep.</summary>
    public RemoteError? Inner { get; init; }

    /// <summary>Describes an exception.</summary>
    public static RemoteError From(Exception error, int depth = 0) =>
        new(error.GetType().FullName ?? error.GetType().Name, error.Message, error.StackTrace ?? "")
        {
            Inner = error.InnerException is { } inner && depth < 8 ? From(inner, depth + 1) : null,
        };
}
