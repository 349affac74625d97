using Microsoft.Extensions.Logging;
using Yarnish.Protocol;

namespace Yarnish.Executor;

/// <summary>What user code can know about the task attempt it runs in.</summary>
public sealed class TaskContext
{
    [ThreadStatic]
    private static TaskContext? current;

    /// <summary>The context of the attempt that runs on this thread; null outside tasks, such as in the driver.</summary>
    public static TaskContext? Current => current;

    /// <summary>The stage.</summary>
    public required StageId StageId { get; init; }

    /// <summary>Counts the tries of the stage from 0.</summary>
    public required int StageAttempt { get; init; }

    /// <summary>The partition this attempt computes.</summary>
    public required int Partition { get; init; }

    /// <summary>Counts the tries of this partition in this stage attempt from 0.</summary>
    public required int AttemptNumber { get; init; }

    /// <summary>Unique id of the attempt.</summary>
    public required TaskAttemptId AttemptId { get; init; }

    /// <summary>The executor.</summary>
    public required ExecutorId ExecutorId { get; init; }

    /// <summary>Cancelled when the attempt shall stop: pass it on, or look at it in long loops.</summary>
    public required CancellationToken Cancellation { get; init; }

    /// <summary>Writes to the executor's log, tagged with the task.</summary>
    public required ILogger Logger { get; init; }

    /// <summary>Makes this the current context of the calling thread; null ends it.</summary>
    internal static void SetCurrent(TaskContext? context) => current = context;
}
