using Yarnish.Protocol;

namespace Yarnish.Dataflow;

/// <summary>Why a job failed: the reason decides, the rest is for the message.</summary>
internal sealed record JobFailure(JobFailureReason Reason, string Message)
{
    /// <summary>The stage that failed; null when none did.</summary>
    public StageId? StageId { get; init; }

    /// <summary>Name of that stage.</summary>
    public string StageName { get; init; } = "";

    /// <summary>The partition that failed; null when no single one did.</summary>
    public int? Partition { get; init; }

    /// <summary>How often the partition, or the stage, was tried.</summary>
    public int Attempts { get; init; }

    /// <summary>The executor of the last try.</summary>
    public ExecutorId? ExecutorId { get; init; }

    /// <summary>How the last try ended.</summary>
    public TaskEnd? LastEnd { get; init; }

    /// <summary>The caller's own error, for <see cref="JobFailureReason.ResultHandlerFailed"/>.</summary>
    public RemoteError? Error { get; init; }
}

/// <summary>Why jobs fail.</summary>
internal enum JobFailureReason
{
    /// <summary>One partition failed as often as is allowed.</summary>
    TaskFailed,

    /// <summary>A stage lost its input as often in a row as is allowed.</summary>
    StageFailed,

    /// <summary>The caller's own code threw on a result.</summary>
    ResultHandlerFailed,

    /// <summary>Input that cannot be computed again alike was lost after results had been handed out: checkpoint or sort before the step that is not repeatable.</summary>
    NotRepeatable,

    /// <summary>Every executor it may run on is excluded, and none came in time.</summary>
    NowhereToRun,

    /// <summary>The results are larger than the job allows.</summary>
    ResultsTooLarge,

    /// <summary>The definition makes no sense: a mistake of the program that built it.</summary>
    InvalidJob,
}
