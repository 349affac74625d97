using System.Diagnostics;
using Yarnish.Dataflow;
using Yarnish.Protocol;

namespace Yarnish.Tracing;

/// <summary>
/// The driver's spans. The application is a small trace of its own, under which containers are asked for and started; each job is one trace: job → stage → the executors'
/// task attempts, which get the stage's context in the body of their messages. Jobs link to the application, reduce stages to the map stages they read, a repeated stage attempt to the
/// one before. Attributes are listed in research/transport.md 4.3 of the design. Used by the driver loop only, but for <see cref="StartJob"/>.
/// </summary>
internal sealed class DriverTraces : IDisposable
{
    /// <summary>Name of the source, for whoever collects.</summary>
    public const string SourceName = "Yarnish.Driver";

    /// <summary>Failed attempts remembered so that their next try can link to them.</summary>
    private const int MaximumLinks = 4096;

    private static readonly ActivitySource Source = new(SourceName);

    /// <summary>Whether anybody collects already.</summary>
    public static bool HasListeners => Source.HasListeners();

    private readonly Activity? application;
    private readonly Dictionary<StageId, Activity> stages = [];
    private readonly Dictionary<StageId, ActivityContext> lastAttempt = [];
    private readonly Dictionary<ShuffleId, ActivityContext> writers = [];
    private readonly Dictionary<(StageId, int Partition), string> failed = [];

    public DriverTraces(ApplicationId id, string name) =>
        application = StartRoot($"application {name}", default, [], activity => activity.SetTag("yarnish.application.id", id.Value).SetTag("yarnish.application.name", name));

    /// <summary>Context of the application's span, for asks; empty when not traced.</summary>
    public string ApplicationParent => ContextOf(application);

    /// <summary>Starts the trace of a job, linked to the application and to what the caller is doing. Null when nobody collects.</summary>
    public Activity? StartJob(string name)
    {
        if (!Source.HasListeners())
        {
            return null;
        }
        var links = new List<ActivityLink>(2);
        if (application is not null)
        {
            links.Add(new ActivityLink(application.Context));
        }
        if (Activity.Current is { } caller)
        {
            links.Add(new ActivityLink(caller.Context));
        }
        return StartRoot($"job {name}", default, links, activity => activity.SetTag("yarnish.application.id", application?.GetTagItem("yarnish.application.id")));
    }

    /// <summary>Tells the span of a job its number.</summary>
    public static void Number(Activity? job, JobId id) => job?.SetTag("yarnish.job.id", id.Value);

    /// <summary>Ends the trace of a job.</summary>
    /// <param name="job">Its span.</param>
    /// <param name="error">Why it did not succeed; null when it did.</param>
    public static void EndJob(Activity? job, string? error) => End(job, error);

    /// <summary>A stage attempt starts.</summary>
    public void StartStage(StageStarted started, Activity? job)
    {
        if (job is null)
        {
            return;
        }
        var links = new List<ActivityLink>();
        foreach (var input in started.Stage.Inputs)
        {
            if (writers.TryGetValue(input, out var writer))
            {
                links.Add(new ActivityLink(writer));
            }
        }
        if (lastAttempt.TryGetValue(started.StageId, out var before))
        {
            links.Add(new ActivityLink(before));
        }
        var stage = StartRoot($"stage {started.Stage.Name}", job.Context, links, activity => activity
            .SetTag("yarnish.job.id", started.JobId.Value)
            .SetTag("yarnish.stage.id", started.StageId.Value)
            .SetTag("yarnish.stage.attempt", started.StageAttempt)
            .SetTag("yarnish.stage.tasks", started.Tasks));
        if (stage is null)
        {
            return;
        }
        stages[started.StageId] = stage;
        lastAttempt[started.StageId] = stage.Context;
        if (started.Stage.Output is { } output)
        {
            writers[output.Shuffle] = stage.Context;
        }
    }

    /// <summary>Whether a stage that runs has a span.</summary>
    public bool IsTraced(StageId stage) => stages.ContainsKey(stage);

    /// <summary>Context for the tasks of a stage; empty when it is not traced.</summary>
    public string ParentOf(StageId stage) => stages.Count > 0 && stages.TryGetValue(stage, out var activity) && activity.Recorded ? ContextOf(activity) : "";

    /// <summary>The spans of the tries before, for those tasks that try again.</summary>
    public IReadOnlyList<AttemptLink> LinksOf(SendTasks send)
    {
        if (failed.Count == 0)
        {
            return [];
        }
        var links = new List<AttemptLink>();
        foreach (var task in send.Tasks)
        {
            if (failed.Remove((send.StageId, task.Partition), out var before))
            {
                links.Add(new AttemptLink(task.AttemptId, before));
            }
        }
        return links;
    }

    /// <summary>Attempts ended: remembers those that failed; those whose executor was lost get their span here, since nobody else can end it.</summary>
    public void Settle(TasksSettled settled)
    {
        if (stages.Count == 0)
        {
            return;
        }
        foreach (var task in settled.Tasks)
        {
            if (task.End is TaskSucceeded || !stages.TryGetValue(task.StageId, out var stage))
            {
                continue;
            }
            var context = task.Report?.TraceParent ?? "";
            if (task.End is TaskExecutorLost lost)
            {
                var span = Start("task", stage.Context, [], task.SentAt);
                span?.SetTag("yarnish.task.attempt.id", task.AttemptId.Value)
                    .SetTag("yarnish.task.partition", task.Partition)
                    .SetTag("yarnish.task.attempt", task.AttemptNumber)
                    .SetTag("yarnish.executor.id", task.ExecutorId.Value)
                    .SetTag("yarnish.task.counts_as_failure", task.End.CountsAsFailure);
                context = ContextOf(span);
                End(span, $"executor lost: {lost.Message}");
            }
            if (context.Length > 0 && failed.Count < MaximumLinks)
            {
                failed[(task.StageId, task.Partition)] = context;
            }
        }
    }

    /// <summary>A stage attempt ended.</summary>
    /// <param name="ended">How.</param>
    /// <param name="status">Its figures; null when they are not known any more.</param>
    public void EndStage(StageEnded ended, StageStatus? status)
    {
        if (!stages.Remove(ended.StageId, out var stage))
        {
            return;
        }
        if (status is not null)
        {
            stage.SetTag("yarnish.stage.failed_tasks", status.Failed)
                .SetTag("yarnish.task.run.median_us", status.RunMicroseconds.Median)
                .SetTag("yarnish.task.run.max_us", status.RunMicroseconds.Maximum)
                .SetTag("yarnish.input.bytes", status.Sum.InputBytes)
                .SetTag("yarnish.shuffle.read.bytes", status.Sum.ShuffleReadLocalBytes + status.Sum.ShuffleReadRemoteBytes)
                .SetTag("yarnish.shuffle.write.bytes", status.Sum.ShuffleWriteBytes)
                .SetTag("yarnish.spill.bytes", status.Sum.SpillBytes)
                .SetTag("yarnish.gc.us", status.Sum.GarbageCollectionMicroseconds);
        }
        stage.SetTag("yarnish.stage.outcome", ended.Outcome.ToString());
        End(stage, ended.Outcome is StageOutcome.Succeeded ? null : ended.Message);
        if (ended.Outcome is not StageOutcome.Repeated)
        {
            lastAttempt.Remove(ended.StageId);
            foreach (var key in failed.Keys.Where(key => key.Item1 == ended.StageId).ToList())
            {
                failed.Remove(key);
            }
        }
    }

    /// <summary>No job reads this shuffle any more.</summary>
    public void Forget(ShuffleId shuffle) => writers.Remove(shuffle);

    /// <summary>Ends what is open.</summary>
    public void Dispose()
    {
        foreach (var stage in stages.Values)
        {
            End(stage, "the session ended");
        }
        stages.Clear();
        End(application, null);
    }

    private static void End(Activity? activity, string? error)
    {
        if (activity is null)
        {
            return;
        }
        activity.SetStatus(error is null ? ActivityStatusCode.Ok : ActivityStatusCode.Error, error);
        activity.Stop();
    }

    private static string ContextOf(Activity? activity) => activity is { IdFormat: ActivityIdFormat.W3C, Id: { } id } ? id : "";

    /// <summary>Starts a span under a parent, or as a root, whatever the current one is; and leaves the current one as it was.</summary>
    private static Activity? StartRoot(string name, ActivityContext parent, IReadOnlyList<ActivityLink> links, Action<Activity> describe)
    {
        var activity = Start(name, parent, links, default);
        if (activity is not null)
        {
            describe(activity);
        }
        return activity;
    }

    private static Activity? Start(string name, ActivityContext parent, IReadOnlyList<ActivityLink> links, DateTimeOffset startedAt)
    {
        if (!Source.HasListeners())
        {
            return null;
        }
        var current = Activity.Current;
        Activity.Current = null;
        try
        {
            return Source.StartActivity(name, ActivityKind.Internal, parent, tags: null, links, startedAt);
        }
        finally
        {
            Activity.Current = current;
        }
    }
}
