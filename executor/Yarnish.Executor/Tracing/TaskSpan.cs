using System.Diagnostics;
using Yarnish.Protocol;

namespace Yarnish.Executor;

/// <summary>A part of a task's time that becomes a child span: a shuffle fetched or written.</summary>
internal readonly record struct TaskPhase(string Name, DateTimeOffset Start, TimeSpan Duration, params (string Key, object Value)[] Tags);

/// <summary>Turns attempts into spans. Names and attributes: docs of the room.</summary>
internal static class TaskSpan
{
    /// <summary>The source of every span of an executor.</summary>
    public static readonly ActivitySource Source = new("Yarnish.Executor");

    /// <summary>Starts a live span when somebody listens and the attempt is sampled; else null.</summary>
    public static Activity? Start(Attempt attempt) =>
        attempt.Trace is { } trace && Source.HasListeners() && trace.SampleAtStart(attempt.Id.Value)
            ? Source.StartActivity("task", ActivityKind.Consumer, trace.Parent)
            : null;

    /// <summary>Ends the live span, or makes one now for an attempt that turns out to be worth it.</summary>
    public static void End(Activity? live, Attempt attempt, TaskReport report, ExecutorId executor, DateTimeOffset start, DateTimeOffset end, List<TaskPhase>? phases)
    {
        if (attempt.Trace is not { } trace || !Source.HasListeners())
        {
            live?.Dispose();
            return;
        }
        var succeeded = report.End is TaskSucceeded;
        var kept = trace.KeepAtEnd(succeeded, report.Metrics.RunMicroseconds);
        var activity = live ?? (kept ? Source.StartActivity("task", ActivityKind.Consumer, trace.Parent, startTime: start) : null);
        if (activity is null)
        {
            return;
        }
        if (activity.IsAllDataRequested)
        {
            Describe(activity, attempt, report, executor);
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
        activity.SetEndTime(end.UtcDateTime);
        activity.Dispose();
    }

    private static void Describe(Activity activity, Attempt attempt, TaskReport report, ExecutorId executor)
    {
        activity.SetTag("yarnish.stage.id", attempt.Batch.StageId.Value);
        activity.SetTag("yarnish.stage.attempt", attempt.Batch.StageAttempt);
        activity.SetTag("yarnish.task.partition", attempt.Task.Partition);
        activity.SetTag("yarnish.task.attempt", attempt.Task.AttemptNumber);
        activity.SetTag("yarnish.task.attempt_id", attempt.Id.Value);
        activity.SetTag("yarnish.executor.id", executor.Value);
        activity.SetTag("yarnish.task.queue_us", report.Metrics.QueueMicroseconds);
        activity.SetTag("yarnish.task.outcome", report.End switch
        {
            TaskSucceeded => "succeeded",
            TaskKilled => "killed",
            FetchFailed => "fetch_failed",
            TaskCodeMissing => "code_missing",
            _ => "failed",
        });
        switch (report.End)
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
