using Yarnish.Protocol;

namespace Yarnish.Dataflow;

/// <summary>Barrier stages: all tasks at once or none, meetings of all of them, one failure repeats the whole stage.</summary>
internal sealed partial class JobMachine
{
    /// <summary>Some barrier stage waits for slots.</summary>
    private bool _barrierWaits;

    /// <summary>The first barrier stage that would have slots enough if they were free: what comes after it in the order of pools and jobs gets none until it has started.</summary>
    private Stage? _heldFor;

    // ── Starting.

    /// <summary>Starts what finds its slots. Whoever is next in line and does not find them free, though there are enough, holds back those behind.</summary>
    private void StartBarriers()
    {
        _barrierWaits = false;
        _heldFor = null;
        if (!_active.Exists(static stage => stage is { Definition.Barrier: true, Pending: > 0 }))
        {
            return;
        }
        _pools.Sort(Pool.Compare);
        foreach (var pool in _pools)
        {
            for (var i = 0; i < pool.Runnable.Count; i++)
            {
                if (pool.Runnable[i] is { Definition.Barrier: true, Pending: > 0 } stage)
                {
                    StartBarrier(stage);
                }
            }
        }
    }

    private void StartBarrier(Stage stage)
    {
        var (free, all) = (0, 0);
        foreach (var executor in _executors)
        {
            if (executor.Usable)
            {
                free += Math.Max(0, executor.Slots - executor.InFlight);
                all += executor.Slots;
            }
        }
        if (free < stage.Pending && (_options.Planted != PlantedJobBug.HalfBarrier || free == 0))
        {
            _barrierWaits = true;
            if (all >= stage.Pending)
            {
                stage.BarrierSince = 0;
                _heldFor ??= stage;
                return;
            }
            stage.BarrierSince = stage.BarrierSince == 0 ? _now : stage.BarrierSince;
            _scanAt = Math.Min(_scanAt, _now + ScanTicks);
            return;
        }
        stage.BarrierSince = 0;
        for (; stage.Pending > 0 && free > 0; free = _options.Planted == PlantedJobBug.HalfBarrier ? 0 : free)
        {
            foreach (var executor in _executors)
            {
                if (stage.Pending > 0 && executor.Usable && executor.InFlight < executor.Slots)
                {
                    // Whatever runs in a barrier stage runs everywhere: nothing is avoided.
                    Send(stage, PopPending(stage), executor, AttemptMarks.None);
                }
            }
        }
    }

    private static int PopPending(Stage stage)
    {
        while (true)
        {
            var partition = stage.Anywhere.Count > 0 ? stage.Anywhere.PopFront() : stage.Near.PopFront();
            if ((stage.Marks[partition] & TaskMarks.Pending) != 0)
            {
                return partition;
            }
        }
    }

    /// <summary>Fails a stage that can never have its slots. True when it did.</summary>
    private bool FailIfTooWide(Stage stage)
    {
        if (!stage.Definition.Barrier || _options.SlotLimit is not { } limit || stage.Wanted <= limit)
        {
            return false;
        }
        FailStage(stage, new JobFailure(
            JobFailureReason.NowhereToRun,
            $"Barrier stage {stage.Id} '{stage.Definition.Name}' runs all its {stage.Wanted} tasks at the same time, and this application can have {limit} slots at most. "
            + "Use fewer partitions (Coalesce or Repartition before Barrier), or allow more executors or cores."));
        return true;
    }

    // ── Meeting.

    private void OnBarrierReached(BarrierReached reached)
    {
        var slot = _attempts.Find(reached.AttemptId.Value);
        if (slot < 0 || !_executorsById.TryGetValue(reached.Address.ExecutorId, out var executor) || _attempts[slot].Executor != executor)
        {
            return;
        }
        var attempt = _attempts[slot];
        var stage = attempt.Stage;
        if ((attempt.Marks & AttemptMarks.Superseded) != 0 || attempt.StageAttempt != stage.Attempt || stage is not { State: StageState.Running, Definition.Barrier: true })
        {
            return;
        }
        var meeting = stage.Meeting ??= new BarrierMeeting(stage.Partitions);
        if (reached.Round == meeting.Round - 1 && _options.Planted != PlantedJobBug.ReleasedOnce)
        {
            // It came, and was told; the answer was lost.
            Emit(new ReleaseBarrier(reached.Address, [reached.AttemptId], reached.Round, meeting.Last));
            return;
        }
        if (reached.Round != meeting.Round)
        {
            return;
        }
        meeting.Arrive(attempt.Partition, reached.Message, _options.Planted == PlantedJobBug.ArrivedTwice);
        if (FailIfNobodyElseComes(stage) || !meeting.Complete)
        {
            return;
        }
        meeting.Release();
        var releases = new List<ReleaseBarrier>();
        for (var next = stage.FirstAttemptSlot; next >= 0; next = _attempts[next].NextInStage)
        {
            ref var participant = ref _attempts[next];
            if ((participant.Marks & AttemptMarks.Superseded) != 0 || participant.StageAttempt != stage.Attempt)
            {
                continue;
            }
            var address = participant.Executor.Address;
            var release = releases.Find(known => known.To == address);
            if (release is null)
            {
                release = new ReleaseBarrier(address, [], meeting.Round - 1, meeting.Last);
                releases.Add(release);
                Emit(release);
            }
            release.Attempts.Add(new TaskAttemptId(participant.Id));
        }
    }

    /// <summary>A task that has ended comes to no barrier any more: who waits for it would wait for ever. True when the stage was failed for it.</summary>
    private bool FailIfNobodyElseComes(Stage stage)
    {
        if (stage.Meeting is not { Arrived: > 0 } meeting || stage.Done == 0)
        {
            return false;
        }
        var ended = Enumerable.Range(0, stage.Partitions).First(stage.IsDone);
        var message = $"The task of partition {ended} ended without coming to barrier {meeting.Round}, where {meeting.Arrived} of {stage.Partitions} tasks wait: all tasks of a barrier stage must call "
            + "Barrier or AllGather equally often. (A persisted partition is not computed again: persist behind a shuffle.)";
        FailStage(stage, new JobFailure(JobFailureReason.TaskFailed, message)
        {
            Partition = ended,
            Attempts = 1,
            LastEnd = new TaskFailed(new RemoteError("Yarnish.BarrierException", message, "")),
        });
        return true;
    }

    // ── Repeating.

    /// <summary>One failure repeats the whole stage; ends that are nobody's fault do so without counting, within bounds.</summary>
    private void RepeatBarrier(Stage stage, HeldExecutor executor, int partition, TaskEnd end)
    {
        var message = $"task {partition} of the barrier stage failed on executor {executor.Id}: {Describe(end)}";
        if (stage.Meeting is { Arrived: > 0 } meeting)
        {
            message += $" (at barrier {meeting.Round} these had not come: {meeting.Missing()})";
        }
        RepeatBarrier(stage, end.CountsAsFailure || ++stage.UncountedRepeats >= RetryLimit, end, message, partition, executor.Id);
    }

    private void RepeatBarrier(Stage stage, bool counts, TaskEnd? end, string message, int? partition = null, ExecutorId? executor = null)
    {
        if (stage.ResultsDone > 0)
        {
            FailStage(stage, new JobFailure(JobFailureReason.NotRepeatable, $"Results of barrier stage {stage.Id} '{stage.Definition.Name}' were handed out already when {message}.")
            {
                Partition = partition,
                ExecutorId = executor,
                LastEnd = end,
            });
            return;
        }
        RepeatWhole(stage, counts, end, message, partition, executor);
    }

    /// <summary>Stops what runs of a barrier stage, forgets what it wrote, and submits all of it again in a moment.</summary>
    private void RepeatWhole(Stage stage, bool counts, TaskEnd? end, string message, int? partition = null, ExecutorId? executor = null)
    {
        StopAttempts(stage, message, except: -1);
        Repeat(stage, counts, end, message, partition, executor);
        ForgetAllOutputs(stage);
    }

    /// <summary>Half of what a barrier stage wrote is worth nothing: its other tasks must meet the missing ones.</summary>
    private void ForgetAllOutputs(Stage stage)
    {
        if (stage.Output is { } shuffle)
        {
            for (var map = 0; map < shuffle.Maps; map++)
            {
                if (shuffle.Outputs[map] is not null)
                {
                    ForgetOutput(shuffle, map);
                }
            }
        }
    }
}
