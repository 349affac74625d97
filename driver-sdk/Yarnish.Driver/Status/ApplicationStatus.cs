using System.Collections.Immutable;
using Yarnish.Dataflow;
using Yarnish.Protocol;

namespace Yarnish.Status;

/// <summary>
/// The status of an application: a pure fold over <see cref="StatusEvent"/>s, without clock or I/O. Whether they come from the running driver or from an event log, the same
/// events give the same status. Its memory is bounded: figures are spreads, task attempts are remembered for a while, jobs and stages that ended long ago live on in the totals.
/// Events may be missing, repeated or out of order: what cannot be made sense of is counted, never refused.
/// </summary>
internal sealed class ApplicationStatus
{
    /// <summary>Jobs, stage attempts and executors that have ended and are still shown.</summary>
    public const int MaximumEnded = 1000;

    /// <summary>Named accumulators and persisted collections shown.</summary>
    public const int MaximumNamed = 1000;

    /// <summary>Running attempts of one stage that are told one by one.</summary>
    private const int MaximumRunning = 200_000;

    private const int MaximumAdvice = 20;

    private readonly SortedDictionary<int, StatusJob> jobs = [];
    private readonly Queue<int> endedJobs = new();
    private readonly SortedDictionary<(int Stage, int Attempt), StatusStage> stages = [];
    private readonly Queue<(int Stage, int Attempt)> endedStages = new();
    private readonly Dictionary<ExecutorId, StatusExecutor> executors = [];
    private readonly List<ExecutorId> executorsInOrder = [];
    private readonly Queue<ExecutorId> endedExecutors = new();
    private readonly Dictionary<NodeId, DateTimeOffset> excludedNodes = [];
    private readonly SortedDictionary<int, StatusCollection> collections = [];
    private readonly SortedDictionary<int, AccumulatorInfo> accumulators = [];
    private readonly long[] jobCounts = new long[Enum.GetValues<JobState>().Length];
    private readonly long[] stageCounts = new long[Enum.GetValues<StageOutcome>().Length];
    private readonly long[] totals = new long[TaskFigure.All.Length];
    private StatusEvent.ApplicationStarted? started;
    private StatusEvent.ApplicationEnded? ended;
    private EnvironmentInfo environment = new(ImmutableSortedDictionary<string, string>.Empty, ImmutableSortedDictionary<string, string>.Empty);
    private StatusStage? latestStage;
    private DateTimeOffset last;
    private long tasksSucceeded;
    private long tasksFailed;
    private long tasksStopped;
    private long tasksLost;
    private long tasksNotDetailed;
    private long executorsReleased;
    private long executorsLost;
    private long forgotten;
    private long eventsLost;

    /// <summary>Whose status it is; null before the first event.</summary>
    public ApplicationId? Id => started?.Id;

    /// <summary>When the last event was.</summary>
    public DateTimeOffset LastEventAt => last;

    /// <summary>Takes in one event.</summary>
    public void Apply(StatusEvent happened)
    {
        last = happened.At > last ? happened.At : last;
        switch (happened)
        {
            case StatusEvent.TasksEnded tasks:
                foreach (ref readonly var task in tasks.Tasks.AsSpan())
                {
                    OnEnded(task, tasks.At);
                }
                break;
            case StatusEvent.TasksSent sent:
                OnSent(sent);
                break;
            case StatusEvent.StageStarted stage:
                stages.TryAdd((stage.Id.Value, stage.Attempt), new StatusStage(stage));
                break;
            case StatusEvent.StageEnded stage:
                OnStageEnded(stage);
                break;
            case StatusEvent.JobStarted job:
                jobs.TryAdd(job.Id.Value, new StatusJob(job));
                break;
            case StatusEvent.JobEnded job:
                OnJobEnded(job);
                break;
            case StatusEvent.TasksCounted counted:
                OnCounted(counted);
                break;
            case StatusEvent.ExecutorAdded executor:
                OnExecutorAdded(executor);
                break;
            case StatusEvent.ExecutorRemoved executor:
                OnExecutorRemoved(executor);
                break;
            case StatusEvent.ExecutorExcluded excluded when executors.TryGetValue(excluded.Id, out var executor):
                executor.ExcludedUntil = excluded.Until;
                break;
            case StatusEvent.NodeExcluded excluded:
                excludedNodes[excluded.Id] = excluded.Until;
                break;
            case StatusEvent.CollectionPersisted persisted:
                if (collections.Count < MaximumNamed)
                {
                    collections.TryAdd(persisted.Id, new StatusCollection(persisted));
                }
                break;
            case StatusEvent.CollectionUnpersisted unpersisted:
                collections.Remove(unpersisted.Id);
                break;
            case StatusEvent.PartitionsHeld held:
                foreach (var partition in held.Partitions)
                {
                    if (!collections.TryGetValue(partition.Collection, out var collection))
                    {
                        continue;
                    }
                    if (partition is { MemoryBytes: 0, DiskBytes: 0 })
                    {
                        collection.Remove(held.ExecutorId, partition.Partition);
                    }
                    else
                    {
                        collection.Add(held.ExecutorId, partition);
                    }
                }
                break;
            case StatusEvent.AccumulatorChanged changed:
                if (accumulators.Count < MaximumNamed || accumulators.ContainsKey(changed.Id))
                {
                    accumulators[changed.Id] = new AccumulatorInfo(changed.Id, changed.Name, changed.Value);
                }
                break;
            case StatusEvent.EnvironmentKnown known:
                environment = new EnvironmentInfo(known.Runtime, known.Settings);
                break;
            case StatusEvent.ApplicationStarted application:
                started ??= application;
                break;
            case StatusEvent.ApplicationEnded application:
                ended ??= application;
                break;
            case StatusEvent.EventsLost lost:
                eventsLost += lost.Count;
                break;
        }
    }

    /// <summary>The application at a glance.</summary>
    /// <exception cref="InvalidOperationException">Nothing is known yet.</exception>
    public ApplicationDetail ToDetail()
    {
        var application = started ?? throw new InvalidOperationException("The status has no first event.");
        return new ApplicationDetail
        {
            Id = application.Id,
            Name = application.Name,
            User = application.User,
            Driver = application.Driver,
            Version = application.Version,
            Address = application.Address,
            State = ended is null ? "running" : ended.Succeeded ? "succeeded" : "failed",
            StartedAt = application.At,
            EndedAt = ended?.At,
            LastEventAt = last,
            Message = ended?.Message ?? "",
            Jobs = Counts(
                ("running", jobs.Values.LongCount(static job => job.Ended is null)), ("succeeded", jobCounts[(int)JobState.Succeeded]),
                ("failed", jobCounts[(int)JobState.Failed]), ("cancelled", jobCounts[(int)JobState.Cancelled])),
            Stages = Counts(
                ("running", stages.Values.LongCount(static stage => stage.State == "running")), ("succeeded", stageCounts[(int)StageOutcome.Succeeded]),
                ("repeated", stageCounts[(int)StageOutcome.Repeated]), ("failed", stageCounts[(int)StageOutcome.Failed]), ("cancelled", stageCounts[(int)StageOutcome.Cancelled])),
            Tasks = Counts(
                ("running", stages.Values.Sum(static stage => (long)stage.Running.Count)), ("succeeded", tasksSucceeded), ("failed", tasksFailed), ("stopped", tasksStopped), ("lost", tasksLost)),
            Executors = Counts(("active", executors.Values.LongCount(static executor => executor.Removed is null)), ("released", executorsReleased), ("lost", executorsLost)),
            Totals = TaskFigure.ToMetrics(totals),
            Advice = [.. Stages().Where(static stage => stage.Verdict.Kind is not (StageVerdictKind.Healthy or StageVerdictKind.TooEarly))
                .Take(MaximumAdvice).Select(static stage => new StageAdvice(stage.Id, stage.Attempt, stage.Verdict))],
            Forgotten = forgotten,
            TasksNotDetailed = tasksNotDetailed,
            EventsLost = eventsLost,
        };
    }

    /// <summary>Jobs, newest first.</summary>
    public IEnumerable<JobInfo> Jobs() => jobs.Values.Reverse().Select(job => job.ToInfo(AttemptsOf));

    /// <summary>One job; null when it is not known (any more).</summary>
    public JobInfo? Job(int id) => jobs.TryGetValue(id, out var job) ? job.ToInfo(AttemptsOf) : null;

    /// <summary>Stage attempts, newest first.</summary>
    public IEnumerable<StageInfo> Stages() => stages.Values.Reverse().Select(static stage => stage.ToInfo());

    /// <summary>The attempts of one stage, last first.</summary>
    public IEnumerable<StageInfo> Stages(int id) => AttemptsOf(id).Reverse().Select(static stage => stage.ToInfo());

    /// <summary>One stage attempt; null when it is not known (any more).</summary>
    public StatusStage? Stage(int id, int attempt) => stages.GetValueOrDefault((id, attempt));

    /// <summary>Executors in the order in which they came.</summary>
    public IEnumerable<ExecutorInfo> Executors() => executorsInOrder.Select(id => executors[id]).Select(executor => executor.ToInfo(
        last, excludedNodes.GetValueOrDefault(executor.NodeId), collections.Values.Select(collection => collection.HeldBy(executor.Id))));

    /// <summary>Persisted collections by number.</summary>
    public IEnumerable<CollectionInfo> Collections() => collections.Values.Select(static collection => collection.ToInfo());

    /// <summary>Named accumulators by number.</summary>
    public IEnumerable<AccumulatorInfo> Accumulators() => accumulators.Values;

    /// <summary>What it runs with.</summary>
    public EnvironmentInfo Environment => environment;

    private static ImmutableSortedDictionary<string, long> Counts(params ReadOnlySpan<(string State, long Count)> counts)
    {
        var result = ImmutableSortedDictionary.CreateBuilder<string, long>(StringComparer.Ordinal);
        foreach (var (state, count) in counts)
        {
            result.Add(state, count);
        }
        return result.ToImmutable();
    }

    private IEnumerable<StatusStage> AttemptsOf(int stage)
    {
        for (var attempt = 0; attempt < int.MaxValue && stages.TryGetValue((stage, attempt), out var found); attempt++)
        {
            yield return found;
        }
    }

    private void OnSent(StatusEvent.TasksSent sent)
    {
        if (!stages.TryGetValue((sent.StageId.Value, sent.StageAttempt), out var stage) || stage.State != "running")
        {
            return;
        }
        var executor = executors.GetValueOrDefault(sent.ExecutorId);
        for (var i = 0; i < sent.Tasks.Count; i++)
        {
            if (stage.Running.Count < MaximumRunning && stage.Sent(sent.Tasks[i], sent.ExecutorId, sent.At) && executor is not null)
            {
                executor.Running++;
            }
        }
    }

    private void OnEnded(in EndedTask task, DateTimeOffset at)
    {
        var executor = executors.GetValueOrDefault(task.ExecutorId);
        if (StageOf(task) is { } stage)
        {
            if (stage.Running.Remove(task.Attempt.Value) && executor is not null)
            {
                executor.Running--;
            }
            stage.Ended(task, at);
        }
        switch (StatusStage.GroupOf(task))
        {
            case StatusStage.EndGroup.Succeeded:
                tasksSucceeded++;
                Add(totals, task.Metrics);
                executor?.Succeed(task.Metrics);
                break;
            case StatusStage.EndGroup.Failed:
                tasksFailed++;
                executor?.Fail();
                break;
            case StatusStage.EndGroup.Stopped:
                tasksStopped++;
                break;
            default:
                tasksLost++;
                break;
        }
        if (task.Cached is { } cached)
        {
            foreach (var partition in cached)
            {
                if (collections.TryGetValue(partition.Collection, out var collection))
                {
                    collection.Add(task.ExecutorId, partition);
                }
            }
        }
    }

    /// <summary>Tasks of one batch are mostly of one stage.</summary>
    private StatusStage? StageOf(in EndedTask task)
    {
        if (latestStage is null || latestStage.Id != task.StageId || latestStage.Attempt != task.StageAttempt)
        {
            latestStage = stages.GetValueOrDefault((task.StageId.Value, task.StageAttempt));
        }
        return latestStage;
    }

    private void OnCounted(StatusEvent.TasksCounted counted)
    {
        tasksSucceeded += counted.Succeeded;
        tasksFailed += counted.Failed;
        tasksStopped += counted.Stopped;
        tasksLost += counted.Lost;
        tasksNotDetailed += counted.Succeeded + counted.Failed + counted.Stopped + counted.Lost;
        stages.GetValueOrDefault((counted.StageId.Value, counted.StageAttempt))?.Counted(counted);
    }

    private void OnStageEnded(StatusEvent.StageEnded happened)
    {
        var key = (happened.Id.Value, happened.Attempt);
        if (!stages.TryGetValue(key, out var stage) || stage.State != "running")
        {
            return;
        }
        stageCounts[(int)happened.Outcome]++;
        foreach (var running in stage.Running.Values)
        {
            if (executors.TryGetValue(running.Executor, out var executor))
            {
                executor.Running--;
            }
        }
        stage.End(happened);
        endedStages.Enqueue(key);
        if (endedStages.Count > MaximumEnded)
        {
            stages.Remove(endedStages.Dequeue());
            latestStage = null;
            forgotten++;
        }
    }

    private void OnJobEnded(StatusEvent.JobEnded happened)
    {
        if (!jobs.TryGetValue(happened.Id.Value, out var job))
        {
            // Empty and invalid jobs end without having started.
            jobs.Add(happened.Id.Value, job = new StatusJob(new StatusEvent.JobStarted(happened.At, happened.Id, "", "", [])));
        }
        if (job.Ended is not null)
        {
            return;
        }
        jobCounts[(int)happened.Outcome]++;
        job.End(happened, AttemptsOf);
        endedJobs.Enqueue(happened.Id.Value);
        if (endedJobs.Count > MaximumEnded)
        {
            jobs.Remove(endedJobs.Dequeue());
            forgotten++;
        }
    }

    private void OnExecutorAdded(StatusEvent.ExecutorAdded added)
    {
        if (!executors.TryGetValue(added.Id, out var executor))
        {
            executors.Add(added.Id, new StatusExecutor(added));
            executorsInOrder.Add(added.Id);
        }
        else if (executor.Removed is null)
        {
            executor.Added = added with { At = executor.Added.At };
        }
    }

    private void OnExecutorRemoved(StatusEvent.ExecutorRemoved removed)
    {
        if (!executors.TryGetValue(removed.Id, out var executor) || executor.Removed is not null)
        {
            return;
        }
        executor.Removed = removed;
        if (removed.Cause is ContainerExitCause.Released or ContainerExitCause.ApplicationEnded)
        {
            executorsReleased++;
        }
        else
        {
            executorsLost++;
        }
        foreach (var collection in collections.Values)
        {
            collection.Leave(removed.Id, removed.Cause == ContainerExitCause.NodeLost);
        }
        endedExecutors.Enqueue(removed.Id);
        if (endedExecutors.Count > MaximumEnded)
        {
            var oldest = endedExecutors.Dequeue();
            executors.Remove(oldest);
            executorsInOrder.Remove(oldest);
            forgotten++;
        }
    }

    internal static void Add(long[] sums, TaskMetrics metrics)
    {
        for (var i = 0; i < sums.Length; i++)
        {
            sums[i] += TaskFigure.All[i].Read(metrics);
        }
    }
}
