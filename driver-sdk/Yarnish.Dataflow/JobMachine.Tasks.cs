using Yarnish.Protocol;

namespace Yarnish.Dataflow;

/// <summary>Tasks: how attempts end, and what their ends mean. Every report is judged by its attempt; one that is unknown, late or repeated changes nothing it should not.</summary>
internal sealed partial class JobMachine
{
    /// <summary>Ends that do not count may still not go on for ever.</summary>
    private const int RetryLimit = 64;

    /// <summary>How many attempts of lost executors are remembered, in case their reports come after all.</summary>
    private const int LateLimit = 4096;

    private readonly Dictionary<long, Attempt> _late = [];
    private readonly Queue<long> _lateOrder = [];

    /// <summary>Attempts whose result is a block that the shell fetches: they have ended when it is here, or lost.</summary>
    private readonly SortedDictionary<long, (Attempt Attempt, TaskReport Report)> _fetching = [];

    private long _tasksSucceeded;
    private long _tasksFailed;
    private long _reportsDropped;
    private long _shuffleBytesWritten;
    private long _shuffleBytesRead;

    private void OnTasksEnded(TasksEnded ended)
    {
        _executorsById.TryGetValue(ended.Address.ExecutorId, out var executor);
        if (executor is not null)
        {
            executor.LastSeen = _now;
        }
        foreach (var report in ended.Reports)
        {
            var slot = _attempts.Find(report.AttemptId.Value);
            if (slot >= 0 && _attempts[slot].Executor == executor)
            {
                var attempt = _attempts[slot];
                RemoveAttempt(slot);
                OnEnd(attempt, report.End, report);
            }
            else if (slot < 0 && _late.Remove(report.AttemptId.Value, out var late) && late.Executor.Id == ended.Address.ExecutorId && report.End is TaskSucceeded)
            {
                // Its executor was given up, but the work is done all the same.
                OnEnd(late, report.End, report);
            }
            else
            {
                _reportsDropped++;
            }
        }
        if (executor is not null)
        {
            Widen(executor);
            QueueOffer(executor);
            _offerAll |= _barrierWaits;
        }
    }

    /// <summary>Takes an attempt out of flight.</summary>
    private void RemoveAttempt(int slot)
    {
        ref var attempt = ref _attempts[slot];
        var (stage, executor) = (attempt.Stage, attempt.Executor);
        if (--executor.InFlight == 0)
        {
            executor.IdleSince = _now;
        }
        if ((attempt.Marks & AttemptMarks.Long) != 0)
        {
            executor.LongInFlight--;
        }
        if ((attempt.Marks & AttemptMarks.Suspect) != 0)
        {
            executor.Suspects--;
        }
        stage.InFlight--;
        stage.Pool.Running--;
        if ((attempt.Marks & AttemptMarks.Superseded) == 0)
        {
            NoLongerLive(stage, attempt.StageAttempt, attempt.Partition);
        }
        _attempts.Remove(slot);
        if (stage.Output is { } shuffle && --shuffle.Writers == 0 && shuffle.Released)
        {
            DropIfUnused(shuffle);
        }
    }

    private static void NoLongerLive(Stage stage, int stageAttempt, int partition)
    {
        if (stageAttempt == stage.Attempt && stage.Live.Length > 0)
        {
            stage.Live[partition]--;
        }
    }

    private void OnEnd(in Attempt attempt, TaskEnd end, TaskReport? report, bool neverRan = false)
    {
        var stage = attempt.Stage;
        var place = Settle(attempt, end, report);
        RememberStored(attempt.Executor, report);
        var wanted = ((attempt.Marks & AttemptMarks.Superseded) == 0 || _options.Planted == PlantedJobBug.ResultTwice) && !stage.Dropped;
        if (end is TaskSucceeded && report is not null)
        {
            _tasksSucceeded++;
            attempt.Executor.Succeeded++;
            _shuffleBytesWritten += report.Metrics.ShuffleWriteBytes;
            _shuffleBytesRead += report.Metrics.ShuffleReadLocalBytes + report.Metrics.ShuffleReadRemoteBytes;
            if (!wanted)
            {
                _reportsDropped++;
            }
            else if (OnSucceeded(attempt, report))
            {
                Count(place);
            }
            else if (_fetching.ContainsKey(attempt.Id))
            {
                _settled!.Tasks.RemoveAt(place);
            }
            return;
        }
        if (end.CountsAsFailure)
        {
            _tasksFailed++;
            attempt.Executor.Failed++;
            stage.FailedTasks++;
        }
        if (wanted)
        {
            if (end is FetchFailed fetch)
            {
                OnFetchFailed(attempt, fetch);
            }
            else
            {
                OnFailed(attempt, end, neverRan);
            }
        }
    }

    /// <summary>Tells of an end: before the results it brings, so that who applies accumulators does so before the caller sees the result. Gives its place in what is told.</summary>
    private int Settle(in Attempt attempt, TaskEnd end, TaskReport? report)
    {
        if (_settled is null)
        {
            _settled = new TasksSettled();
            Emit(_settled);
        }
        _settled.Tasks.Add(new SettledTask(
            new TaskAttemptId(attempt.Id), attempt.Stage.Id, attempt.StageAttempt, attempt.Partition, attempt.Number, attempt.Executor.Id,
            new DateTimeOffset(attempt.SentAt, TimeSpan.Zero), end, report, Counts: false));
        return _settled.Tasks.Count - 1;
    }

    /// <summary>It was the first success of its partition.</summary>
    private void Count(int place) => _settled!.Tasks[place] = _settled.Tasks[place] with { Counts = true };

    /// <summary>Returns whether this is the first success of the partition ever.</summary>
    private bool OnSucceeded(in Attempt attempt, TaskReport report)
    {
        var (stage, partition) = (attempt.Stage, attempt.Partition);
        if (stage.IsDone(partition) && (_options.Planted != PlantedJobBug.ResultTwice || stage.Output is not null))
        {
            _reportsDropped++;
            return false;
        }
        if (stage.Output is { } shuffle)
        {
            if (report.MapOutput is not { } output || output.ShuffleId != shuffle.Id || output.MapPartition != partition || output.AttemptId.Value != attempt.Id)
            {
                OnFailed(attempt, new TaskFailed(new RemoteError("Yarnish.Dataflow.WrongMapOutput", $"The report of a map task of shuffle {shuffle.Id} does not say where its output is.", "")));
                return false;
            }
            shuffle.Outputs[partition] = output;
            shuffle.Available++;
        }
        else
        {
            var job = stage.Users[0].Job;
            if (report.ResultBlock is not null)
            {
                _fetching.Add(attempt.Id, (attempt, report));
                if (attempt.StageAttempt == stage.Attempt && stage.Live.Length > 0)
                {
                    stage.Live[partition]++;
                }
                Emit(new FetchResult(job.Id, partition, report, attempt.Executor.Id, attempt.Executor.Node.Id));
                return false;
            }
            job.ResultBytes += Math.Max(report.Metrics.ResultBytes, report.Result.Length);
            if (job.ResultBytes > job.Definition.ResultLimitBytes)
            {
                FailJob(job, new JobFailure(
                    JobFailureReason.ResultsTooLarge,
                    $"The results of {stage.ResultsDone + 1} of {stage.Wanted} tasks together have {job.ResultBytes:N0} bytes; {job.Definition.ResultLimitBytes:N0} are allowed. "
                    + "Stream or save the result instead of collecting it, or raise the limit.")
                {
                    StageId = stage.Id,
                    StageName = stage.Definition.Name,
                });
                return false;
            }
            stage.Marks[partition] |= TaskMarks.ResultDone;
            stage.ResultsDone++;
            Emit(new PartitionResult(job.Id, partition, report));
        }
        var first = (stage.Marks[partition] & TaskMarks.Counted) == 0 || _options.Planted == PlantedJobBug.CountedTwice;
        stage.Marks[partition] |= TaskMarks.Counted;
        NoteFigures(stage, report.Metrics, (_now - attempt.SentAt) / TimeSpan.TicksPerMicrosecond);
        if ((stage.Marks[partition] & TaskMarks.Pending) != 0)
        {
            // An attempt from before the stage was repeated was faster.
            Unqueue(stage, partition);
        }
        stage.Marks[partition] &= ~TaskMarks.Suspect;
        if (stage.AllDone)
        {
            CompleteStage(stage);
        }
        else if (stage.Definition.Barrier && FailIfNobodyElseComes(stage))
        {
            return first;
        }
        else if (stage.InFlight > 0 && (stage.Attempt > 0 || stage.Live[partition] > 0))
        {
            StopAttempts(stage, "another attempt was faster", partition);
        }
        return first;
    }

    private static void NoteFigures(Stage stage, TaskMetrics metrics, long wallMicroseconds)
    {
        (stage.Figures ??= new StageFigures()).Add(metrics, wallMicroseconds);
        var run = Math.Max(0, metrics.RunMicroseconds);
        stage.MeanMicroseconds = stage.MeanMicroseconds < 0 ? run : stage.MeanMicroseconds + ((run - stage.MeanMicroseconds) / 8);
    }

    /// <summary>Anything but a success or a lost input.</summary>
    private void OnFailed(in Attempt attempt, TaskEnd end, bool neverRan = false)
    {
        var (stage, partition) = (attempt.Stage, attempt.Partition);
        if (stage.State != StageState.Running || attempt.StageAttempt != stage.Attempt || stage.IsDone(partition))
        {
            // The partition is done, or the attempt that follows takes care of it.
            return;
        }
        if (stage.Definition.Barrier && (!neverRan || stage.Meeting?.MayStartAfresh(partition) == false))
        {
            RepeatBarrier(stage, attempt.Executor, partition, end);
            return;
        }
        if (end.CountsAsFailure)
        {
            stage.Failures[partition]++;
            if (end is TaskExecutorLost)
            {
                stage.Marks[partition] |= TaskMarks.Suspect;
            }
            if (!stage.FailedOn.Contains((attempt.Executor, partition)))
            {
                stage.FailedOn.Add((attempt.Executor, partition));
            }
            if (stage.Failures[partition] >= _options.TaskFailureLimit)
            {
                GiveUp(stage, attempt.Executor, partition, stage.Failures[partition], end);
                return;
            }
        }
        else if (!neverRan && ++stage.Retries[partition] >= RetryLimit)
        {
            GiveUp(stage, attempt.Executor, partition, stage.Retries[partition], end);
            return;
        }
        if (stage.Live[partition] == 0 && (_options.Planted != PlantedJobBug.ForgottenAttempt || end is not TaskExecutorLost))
        {
            Enqueue(stage, partition, first: true);
        }
    }

    private void GiveUp(Stage stage, HeldExecutor executor, int partition, int times, TaskEnd end) =>
        FailStage(stage, new JobFailure(
            JobFailureReason.TaskFailed,
            $"Task {partition} of stage {stage.Id} '{stage.Definition.Name}' failed {times} times; the last time on executor {executor.Id}: {Describe(end)}")
        {
            Partition = partition,
            Attempts = times,
            ExecutorId = executor.Id,
            LastEnd = end,
        });

    private void OnFetchFailed(in Attempt attempt, FetchFailed fetch)
    {
        var stage = attempt.Stage;
        if (attempt.StageAttempt != stage.Attempt || stage.State is not (StageState.Running or StageState.Repeating))
        {
            // An attempt from before: what it misses was dealt with when its stage was repeated.
            return;
        }
        var shuffle = Array.Find(stage.Inputs, input => input.Id == fetch.ShuffleId);
        if (shuffle is null || (uint)fetch.MapPartition >= (uint)shuffle.Maps)
        {
            OnFailed(attempt, new TaskFailed(new RemoteError("Yarnish.Dataflow.WrongFetchFailure", $"A task could not fetch shuffle {fetch.ShuffleId}, which its stage does not read.", "")));
            return;
        }
        var message = $"map output {fetch.MapPartition} of shuffle {fetch.ShuffleId} could not be fetched from node {fetch.NodeId}: {fetch.Message}";
        if (shuffle.Outputs[fetch.MapPartition] is { } output && output.AttemptId == fetch.MapAttempt)
        {
            var repeatedly = stage.FetchFailures.Exists(known => known.Shuffle == shuffle.Id && known.Node == fetch.NodeId && known.MapPartition != fetch.MapPartition)
                || (stage.FailedAttempts > 0 && stage.FetchFailures.Exists(known => known.Node == fetch.NodeId));
            stage.FetchFailures.Add((shuffle.Id, fetch.NodeId, fetch.MapPartition));
            ForgetOutput(shuffle, fetch.MapPartition);
            if (repeatedly)
            {
                // Not one bad block but a bad node: finding its outputs one by one would use up all stage attempts.
                ForgetOutputsOn(shuffle, fetch.NodeId);
            }
            AfterLoss(shuffle, stage, fetch, message);
        }
        else if (stage.State == StageState.Running)
        {
            // It looked for an output that has been replaced since: its locations were stale. Running again is all it needs.
            OnFailed(attempt, fetch);
        }
    }

    private bool ForgetOutputsOn(Shuffle shuffle, NodeId node)
    {
        var forgotten = false;
        for (var map = 0; map < shuffle.Maps; map++)
        {
            if (shuffle.Outputs[map] is { } output && output.NodeId == node)
            {
                ForgetOutput(shuffle, map);
                forgotten = true;
            }
        }
        return forgotten;
    }

    /// <summary>Stops attempts whose outcome nobody wants any more. They keep their slots until they report.</summary>
    /// <param name="stage">Their stage.</param>
    /// <param name="why">For people.</param>
    /// <param name="except">A partition, to stop only its attempts; -1 for all.</param>
    private void StopAttempts(Stage stage, string why, int except)
    {
        Dictionary<HeldExecutor, StopTasks>? messages = null;
        for (var slot = stage.FirstAttemptSlot; slot >= 0; slot = _attempts[slot].NextInStage)
        {
            ref var attempt = ref _attempts[slot];
            if ((attempt.Marks & AttemptMarks.Superseded) != 0 || (except >= 0 && attempt.Partition != except))
            {
                continue;
            }
            attempt.Marks |= AttemptMarks.Superseded;
            NoLongerLive(stage, attempt.StageAttempt, attempt.Partition);
            if (attempt.Executor.Gone)
            {
                continue;
            }
            messages ??= [];
            if (!messages.TryGetValue(attempt.Executor, out var message))
            {
                message = new StopTasks(attempt.Executor.Address, [], why);
                messages.Add(attempt.Executor, message);
                Emit(message);
            }
            message.Attempts.Add(new TaskAttemptId(attempt.Id));
        }
        if (except < 0 && _late.Count > 0)
        {
            ForgetLate(late => late.Stage == stage);
        }
    }

    private void OnResultFetched(ResultFetched fetched)
    {
        if (_fetching.Remove(fetched.AttemptId.Value, out var fetching))
        {
            var attempt = fetching.Attempt;
            var report = fetched.Report with { ResultBlock = null };
            NoLongerLive(attempt.Stage, attempt.StageAttempt, attempt.Partition);
            var place = Settle(attempt, TaskSucceeded.Instance, report);
            if (!attempt.Stage.Dropped && OnSucceeded(attempt, report))
            {
                Count(place);
            }
        }
    }

    private void OnResultLost(ResultLost lost)
    {
        if (_fetching.Remove(lost.AttemptId.Value, out var fetching))
        {
            var attempt = fetching.Attempt;
            var end = new TaskResultLost(lost.Message);
            NoLongerLive(attempt.Stage, attempt.StageAttempt, attempt.Partition);
            Settle(attempt, end, fetching.Report with { End = end, Accumulators = null });
            if (!attempt.Stage.Dropped)
            {
                attempt.Stage.FailedTasks++;
                _tasksFailed++;
                OnFailed(attempt, end);
            }
        }
    }

    // ── Attempts of executors that were given up.

    private void RememberLate(in Attempt attempt)
    {
        if ((attempt.Marks & AttemptMarks.Superseded) == 0 && !attempt.Stage.Dropped && attempt.StageAttempt == attempt.Stage.Attempt)
        {
            _late.Add(attempt.Id, attempt);
            _lateOrder.Enqueue(attempt.Id);
            while (_lateOrder.Count > LateLimit)
            {
                _late.Remove(_lateOrder.Dequeue());
            }
        }
    }

    private void ForgetLate()
    {
        ForgetLate(static late => late.Stage.Dropped);
        if (_fetching.Count > 0)
        {
            foreach (var (id, fetching) in _fetching.Where(static pair => pair.Value.Attempt.Stage.Dropped).ToArray())
            {
                _fetching.Remove(id);
                Settle(fetching.Attempt, TaskSucceeded.Instance, fetching.Report);
            }
        }
    }

    private void ForgetLate(Predicate<Attempt> which)
    {
        for (var left = _lateOrder.Count; left > 0; left--)
        {
            var id = _lateOrder.Dequeue();
            if (_late.TryGetValue(id, out var late))
            {
                if (which(late))
                {
                    _late.Remove(id);
                }
                else
                {
                    _lateOrder.Enqueue(id);
                }
            }
        }
    }

    /// <summary>An end in words.</summary>
    private static string Describe(TaskEnd end) => end switch
    {
        TaskFailed failed => $"{failed.Error.Type}: {failed.Error.Message}",
        FetchFailed fetch => $"map output {fetch.MapPartition} of shuffle {fetch.ShuffleId} could not be fetched from {fetch.NodeId}: {fetch.Message}",
        TaskKilled killed => $"it was stopped: {killed.Reason}",
        TaskResultLost lost => $"its result was lost: {lost.Message}",
        TaskCodeMissing missing => $"the executor does not hold its code {missing.CodeHash}",
        TaskExecutorLost lost => $"executor {lost.ExecutorId} was lost ({lost.Cause}): {lost.Message}",
        TaskCommitDenied => "another attempt committed first",
        _ => end.GetType().Name,
    };
}
