using System.Text;
using Yarnish.Protocol;

namespace Yarnish.Jobs;

/// <summary>Words for failures: what, where, why, cure, the frames of the user's own code first.</summary>
internal static class FailureText
{
    private const int MaximumFrames = 8;
    private const int MaximumForeignFrames = 2;

    private static readonly string[] RuntimeNamespaces = ["Yarnish.", "System.", "Microsoft.", "Newtonsoft.", "MessagePack."];

    /// <summary>A task that failed for good.</summary>
    /// <param name="job">Number and name of the job.</param>
    /// <param name="stage">Number and name of the stage.</param>
    /// <param name="partition">The partition.</param>
    /// <param name="attempts">How often it was tried.</param>
    /// <param name="executor">Where the last try ran; null when nowhere.</param>
    /// <param name="end">How the last try ended.</param>
    /// <param name="application">For the command that shows the executor's log; null when embedded.</param>
    /// <param name="step">The transformation whose function threw, and where it was called; null when it is not known.</param>
    public static string OfTask(string job, string stage, int partition, int attempts, ExecutorId? executor, TaskEnd end, ApplicationId? application, string? step = null)
    {
        var text = new StringBuilder();
        text.Append($"Job {job} failed: {stage}, partition {partition} failed {(attempts == 1 ? "once" : $"{attempts} times")}");
        if (application is not null && executor is { } last)
        {
            text.Append($", last on executor {last}");
        }
        text.Append('.');
        if (step is not null)
        {
            text.Append("\n  in:   the function of ").Append(step);
        }
        AppendWhy(text, end);
        text.Append("\n  cure: ").Append(CureOf(end));
        if (application is not null)
        {
            text.Append($"; the executor's own words: yarnish app logs {application}");
        }
        return text.ToString();
    }

    /// <summary>A job that failed outside its tasks.</summary>
    public static string OfJob(string job, string why, string cure) => $"Job {job} failed.\n  why:  {Indent(why)}\n  cure: {cure}";

    /// <summary>Why a task ended as it did, in one sentence.</summary>
    public static string Describe(TaskEnd end) => end switch
    {
        TaskFailed failed => $"{failed.Error.Type}: {failed.Error.Message}",
        FetchFailed fetch => $"output of map task {fetch.MapPartition} of shuffle {fetch.ShuffleId} could not be read from node {fetch.NodeId}: {fetch.Message}",
        TaskKilled killed => $"stopped: {killed.Reason}",
        TaskResultLost lost => $"its result was lost: {lost.Message}",
        TaskExecutorLost lost => $"executor {lost.ExecutorId} was lost ({lost.Cause}): {lost.Message}",
        TaskCodeMissing missing => $"the executor does not hold code {missing.CodeHash}",
        TaskCommitDenied => "another attempt was first",
        TaskResubmitted => "its output was lost",
        _ => end.GetType().Name,
    };

    private static void AppendWhy(StringBuilder text, TaskEnd end)
    {
        text.Append("\n  why:  ");
        if (end is not TaskFailed failed)
        {
            text.Append(Indent(Describe(end)));
            return;
        }
        for (var error = failed.Error; error is not null; error = error.Inner)
        {
            if (!ReferenceEquals(error, failed.Error))
            {
                text.Append("\n        caused by ");
            }
            text.Append(Indent($"{error.Type}: {error.Message}"));
            // What is wrong with a file is in the message; where Yarnish read it helps nobody.
            foreach (var frame in UserFramesFirst(error.StackTrace, error.Type.StartsWith("System.IO.", StringComparison.Ordinal) ? 0 : MaximumForeignFrames))
            {
                text.Append("\n          ").Append(frame);
            }
        }
    }

    /// <summary>The frames of user code; of the rest only how many there are. The uppermost ones when none is the user's.</summary>
    private static List<string> UserFramesFirst(string stack, int foreign)
    {
        var frames = stack.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        var shown = frames.Where(IsUserFrame).Take(MaximumFrames).ToList();
        if (shown.Count == 0)
        {
            shown = [.. frames.Take(foreign)];
        }
        if (frames.Length > shown.Count)
        {
            shown.Add($"(and {frames.Length - shown.Count} more frames, see YarnishJobException.RemoteError)");
        }
        return shown;
    }

    private static bool IsUserFrame(string frame)
    {
        var method = frame.StartsWith("at ", StringComparison.Ordinal) ? frame[3..] : frame;
        return frame.StartsWith("at ", StringComparison.Ordinal) && !RuntimeNamespaces.Any(prefix => method.StartsWith(prefix, StringComparison.Ordinal));
    }

    private static string CureOf(TaskEnd end) => end switch
    {
        TaskFailed => "correct the function or its input; a failure that passes by itself may be tried more often with Yarnish:MaximumTaskFailures",
        TaskExecutorLost { Cause: ContainerExitCause.OutOfMemory } => "give executors more memory (Yarnish:ExecutorMemory) or the work more partitions",
        TaskExecutorLost => "a task that ends its process fails its job: look for Environment.Exit, stack overflow or native crashes in the function",
        TaskResultLost => "keep results smaller, or write them to files",
        _ => "run the job again",
    };

    private static string Indent(string text) => text.ReplaceLineEndings("\n").Replace("\n", "\n        ", StringComparison.Ordinal);
}
