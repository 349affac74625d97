using System.Diagnostics;
using Yarnish.Hosting;
using Yarnish.Protocol;

namespace Yarnish.Executor;

/// <summary>A part of a task's time that becomes a child span: a shuffle fetched or written.</summary>
internal readonly record struct TaskPhase(string Name, DateTimeOffset Start, TimeSpan Duration, params (string Key, object Value)[] Tags);

/// <summary>Turns attempts into spans. Names and attributes: docs of the room.</summary>
internal static class TaskSpan
{
    /// <summary>The source of every span of an executor.</summary>
    public static readonly ActivitySource Source = new("Yarnish.Executor");

    /// <summary>Starts a live span when somebody listens and the attempt is sampled, or tries again what failed; else null.</summary>
    public static Activity? Start(Attempt attempt)
    {
        if (attempt.Trace is not { } trace || !Source.HasListeners())
        {
            return null;
        }
        var before = LinkOf(attempt);
        return trace.SampleAtStart(attempt.Id.Value) || before is not null
            ? Source.StartActivity("task", ActivityKind.Consumer, trace.Parent, links: before)
            : null;
    }

    /// <summary>
    /// Ends the live span, or makes one now for an attempt that turns out to be worth it. Returns the span's context as text when the attempt did not succeed, for the next try
    /// to link to; else empty.
    /// </summary>
    public static string End(
        Activity? live, Attempt attempt, TaskEnd end, TaskMetrics metrics, ExecutorId executor, DateTimeOffset started, DateTimeOffset ended, List<TaskPhase>? phases)
    {
        if (attempt.Trace is not { } trace || !Source.HasListeners())
        {
            live?.Dispose();
            return "";
        }
        var succeeded = end is TaskSucceeded;
        var kept = trace.KeepAtEnd(succeeded, metrics.RunMicroseconds);
        using var activity = live ?? (kept ? Source.StartActivity("task", ActivityKind.Consumer, trace.Parent, startTime: started) : null);
        if (activity is null)
        {
            return "";
        }
        if (activity.IsAllDataRequested)
        {
            Describe(activity, attempt, end, metrics, executor);
            foreach (var phase in phases ?? [])
            {
                using var child = Source.StartActivity(phase.Name, ActivityKind.Internal, activity.Context, startTime: phase.Start);
                if (child is not null)
                {
                    foreach (var (key, value) in phase.Tags)
                    {
                        child.SetTag(key, value);
                    }
                    child.SetEndTime((phase.Start + phase.Duration).UtcDateTime);
                }
            }
        }
        activity.SetEndTime(ended.UtcDateTime);
        return succeeded ? "" : TraceContext.Format(activity);
    }

    private static IEnumerable<ActivityLink>? LinkOf(Attempt attempt)
    {
        foreach (var link in attempt.Batch.Links)
        {
            if (link.AttemptId == attempt.Id && TraceContext.TryParse(link.TraceParent, out var before))
            {
                return [new ActivityLink(before)];
            }
        }
        return null;
    }

    private static void Describe(Activity activity, Attempt attempt, TaskEnd end, TaskMetrics metrics, ExecutorId executor)
    {
        activity.SetTag("yarnish.stage.id", attempt.Batch.StageId.Value);
        activity.SetTag("yarnish.stage.attempt", attempt.Batch.StageAttempt);
        activity.SetTag("yarnish.task.partition", attempt.Task.Partition);
        activity.SetTag("yarnish.task.attempt", attempt.Task.AttemptNumber);
        activity.SetTag("yarnish.task.attempt_id", attempt.Id.Value);
        activity.SetTag("yarnish.executor.id", executor.Value);
        activity.SetTag("yarnish.task.queue_us", metrics.QueueMicroseconds);
        activity.SetTag("yarnish.task.outcome", end switch
        {
            TaskSucceeded => "succeeded",
            TaskKilled => "killed",
            FetchFailed => "fetch_failed",
            TaskCodeMissing => "code_missing",
            _ => "failed",
        });
        switch (end)
        {
            case TaskFailed { Error: var error }:
                activity.SetStatus(ActivityStatusCode.Error, error.Message);
                activity.AddEvent(new ActivityEvent("exception", tags: new ActivityTagsCollection
                {
                    ["exception.type"] = error.Type,
                    ["exception.message"] = error.Message,
                    ["exception.stacktrace"] = error.StackTrace,
                }));
                break;
            case FetchFailed { Message: var message }:
                activity.SetStatus(ActivityStatusCode.Error, message);
                break;
            case TaskKilled { Reason: var reason }:
                activity.SetTag("yarnish.task.kill_reason", reason);
                break;
            default:
                break;
        }
    }
}
