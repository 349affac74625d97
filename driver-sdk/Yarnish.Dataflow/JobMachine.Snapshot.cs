namespace Yarnish.Dataflow;

/// <summary>What readers get to see.</summary>
internal sealed partial class JobMachine
{
    private const int JobsRemembered = 100;
    private const int StagesRemembered = 200;

    private readonly LinkedList<JobStatus> _endedJobs = [];
    private readonly LinkedList<StageStatus> _endedStages = [];

    /// <summary>The counts over the life of the application, without the rest.</summary>
    public JobTotals Totals => new()
    {
        JobsSucceeded = _jobsSucceeded,
        JobsFailed = _jobsFailed,
        StagesSucceeded = _stagesSucceeded,
        TasksRunning = _attempts.Count,
        TasksPending = _pending,
        TasksSucceeded = _tasksSucceeded,
        TasksFailed = _tasksFailed,
        ReportsDropped = _reportsDropped,
        ExecutorsSeen = _executorsSeen,
        ExecutorsLost = _executorsLost,
        ShuffleBytesWritten = _shuffleBytesWritten,
        ShuffleBytesRead = _shuffleBytesRead,
    };

    /// <summary>The state of all jobs, as it is between two events.</summary>
    public JobSnapshot Snapshot()
    {
        // A stage that several jobs share is told once.
        var stages = _jobs.Values.SelectMany(static job => job.Stages).Distinct().OrderBy(static stage => stage.Id).Select(StatusOf);
        return new JobSnapshot
        {
            At = TimeOf(_now),
            Jobs = [.. _jobs.Values.Select(job => StatusOf(job, JobState.Running, null, "")), .. _endedJobs],
            Stages = [.. stages, .. _endedStages],
            Executors = [.. _executors.Select(StatusOf)],
            Collections = [.. _holders.Collections.Select(static collection => collection.Status)],
            Totals = Totals,
        };
    }

    private void Remember(Job job, JobState state, string message)
    {
        _endedJobs.AddFirst(StatusOf(job, state, TimeOf(_now), message));
        if (_endedJobs.Count > JobsRemembered)
        {
            _endedJobs.RemoveLast();
        }
    }

    private void Remember(Stage stage)
    {
        if (stage.Attempt >= 0)
        {
            stage.EndedAt = stage.EndedAt == 0 ? _now : stage.EndedAt;
            _endedStages.AddFirst(StatusOf(stage));
            if (_endedStages.Count > StagesRemembered)
            {
                _endedStages.RemoveLast();
            }
        }
    }

    private static JobStatus StatusOf(Job job, JobState state, DateTimeOffset? endedAt, string message)
    {
        var (skipped, tasks, done) = (0, 0, 0);
        foreach (var stage in job.Stages)
        {
            if (stage.Attempt < 0 && stage.State is (StageState.Done or StageState.Idle))
            {
                skipped++;
            }
            else
            {
                tasks += stage.Wanted;
                done += stage.Done;
            }
        }
        return new JobStatus(
            job.Id, job.Definition.Name, state, TimeOf(job.SubmittedAt), endedAt, [.. job.Stages.Select(static stage => stage.Id)], skipped, tasks, done, message)
        {
            Pool = job.Definition.Pool,
            Group = job.Definition.Group,
            Description = job.Definition.Description,
        };
    }

    private static StageStatus StatusOf(Stage stage)
    {
        var status = new StageStatus(
            stage.Id, stage.Attempt, stage.Definition.Name, stage.State, stage.Wanted, stage.Done, stage.InFlight, stage.FailedTasks,
            stage.Attempt < 0 ? null : TimeOf(stage.StartedAt), stage.EndedAt == 0 ? null : TimeOf(stage.EndedAt));
        return stage.Figures is not { } figures
            ? status
            : status with
            {
                Sum = figures.Sum,
                RunMicroseconds = figures.Run.ToDistribution(),
                ShuffleReadBytes = figures.ShuffleRead?.ToDistribution() ?? default,
                ShuffleWriteBytes = figures.ShuffleWrite?.ToDistribution() ?? default,
                InputBytes = figures.Input?.ToDistribution() ?? default,
            };
    }

    private static ExecutorStatus StatusOf(HeldExecutor executor) =>
        new(
            executor.Id, executor.Epoch, executor.Node.Id, executor.Slots, executor.InFlight, executor.Succeeded, executor.Failed, executor.CachedPartitions,
            executor.Draining ? ExecutorState.Draining
            : executor.ExcludedUntil != 0 || executor.Node.ExcludedUntil != 0 ? ExecutorState.Excluded
            : executor.Connected ? ExecutorState.Active
            : ExecutorState.Disconnected,
            executor.LastSeen == 0 ? default : TimeOf(executor.LastSeen));

    private static DateTimeOffset TimeOf(long ticks) => new(ticks, TimeSpan.Zero);
}
