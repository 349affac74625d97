using Yarnish.Protocol;

namespace Yarnish;

/// <summary>
/// A job failed. <see cref="Exception.Message"/> says what failed, where (stage, partition, call site), why (the remote exception) and what to do.
/// </summary>
public sealed class YarnishJobException : YarnishException
{
    /// <summary>With a message for people.</summary>
    public YarnishJobException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }

    /// <summary>The job.</summary>
    public JobId JobId { get; init; }

    /// <summary>The stage that failed; null when the job failed before or outside its stages.</summary>
    public StageId? StageId { get; init; }

    /// <summary>The partition that failed; null when no single one did.</summary>
    public int? Partition { get; init; }

    /// <summary>How often that partition was tried.</summary>
    public int Attempts { get; init; }

    /// <summary>The executor of the last try; null when none.</summary>
    public ExecutorId? ExecutorId { get; init; }

    /// <summary>How the last try ended; null when the job did not fail in a task.</summary>
    public TaskEnd? LastEnd { get; init; }

    /// <summary>The exception of user code, when that was the reason.</summary>
    public RemoteError? RemoteError => (LastEnd as TaskFailed)?.Error;
}
