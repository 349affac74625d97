using Yarnish.Protocol;

namespace Yarnish.Dataflow;

/// <summary>Slots: which executor gets which task next. Everything assignable to one executor leaves in one message, a lone task leaves at once.</summary>
internal sealed partial class JobMachine
{
    /// <summary>Tasks in a queue that may not run on the executor at hand are passed over; this many at most.</summary>
    private const int PassOverLimit = 32;

    /// <summary>Work worth this much waits at an executor beyond its slots, so that it never idles for a round trip.</summary>
    private const long WindowMicroseconds = 20_000;

    private readonly List<HeldExecutor> _offers = [];
    private readonly List<HeldExecutor> _opened = [];
    private readonly List<int> _passedOver = [];
    private bool _offerAll;
    private int _pending;
    private long _nearWake = Never;
    private long _speculateAt = Never;

    private enum Reach
    {
        /// <summary>Only tasks that want to be on this executor or its node, up to its window.</summary>
        Near,

        /// <summary>Any task, up to its slots.</summary>
        Slots,

        /// <summary>Any task, up to its window.</summary>
        Window,
    }

    // ── What waits.

    private void Enqueue(Stage stage, int partition, bool first)
    {
        if ((stage.Marks[partition] & TaskMarks.Pending) != 0)
        {
            return;
        }
        stage.Marks[partition] |= TaskMarks.Pending;
        stage.Pending++;
        _pending++;
        if ((stage.Marks[partition] & TaskMarks.Suspect) != 0)
        {
            Push(stage.Suspects, partition, first);
        }
        else if (!EnqueueNear(stage, partition, first))
        {
            Push(stage.Anywhere, partition, first);
        }
        stage.Pool.Add(stage);
        _offerAll = true;
    }

    private static void Push(PartitionQueue queue, int partition, bool first)
    {
        if (first)
        {
            queue.PushFront(partition);
        }
        else
        {
            queue.PushBack(partition);
        }
    }

    private bool EnqueueNear(Stage stage, int partition, bool first)
    {
        var near = false;
        var definition = stage.Definition;
        var persisted = PersistedOf(definition, partition);
        for (var i = persisted.Count - 1; i >= 0 && !near; i--)
        {
            var holders = _holders.Find(persisted[i].Collection, persisted[i].Partition);
            near = NearExecutor(holders.First) | NearExecutor(holders.Second);
            if (!near)
            {
                near = NearNode(holders.FirstFile) | NearNode(holders.SecondFile);
            }
        }
        if (!near && definition.PreferredNodes is { } preferred)
        {
            foreach (var id in preferred[partition])
            {
                near |= _nodes.TryGetValue(id, out var node) && NearNode(node);
            }
        }
        if (!near && stage.InputNodes?[partition] is { } inputNode)
        {
            near = NearNode(inputNode);
        }
        if (near)
        {
            Push(stage.Near, partition, first);
        }
        return near;

        bool NearExecutor(HeldExecutor? executor)
        {
            if (executor is not { Usable: true })
            {
                return false;
            }
            stage.NearExecutor ??= [];
            if (!stage.NearExecutor.TryGetValue(executor, out var queue))
            {
                stage.NearExecutor.Add(executor, queue = new PartitionQueue());
            }
            Push(queue, partition, first);
            return true;
        }

        bool NearNode(Node? node)
        {
            if (node is null || !node.Executors.Exists(static executor => executor.Usable))
            {
                return false;
            }
            stage.NearNode ??= [];
            if (!stage.NearNode.TryGetValue(node, out var queue))
            {
                stage.NearNode.Add(node, queue = new PartitionQueue());
            }
            Push(queue, partition, first);
            return true;
        }
    }

    private void Unqueue(Stage stage, int partition)
    {
        stage.Marks[partition] &= ~TaskMarks.Pending;
        stage.Pending--;
        _pending--;
        if (stage.Pending == 0 && stage.Slow.Count == 0)
        {
            stage.Pool.Remove(stage);
        }
    }

    // ── Who gets it.

    private void QueueOffer(HeldExecutor executor)
    {
        if (!executor.OfferQueued)
        {
            executor.OfferQueued = true;
            _offers.Add(executor);
        }
    }

    private void Dispatch()
    {
        if (!_linkInterrupted && _pools.Count > 0)
        {
            if (_offerAll)
            {
                OfferAll();
            }
            else
            {
                foreach (var executor in _offers)
                {
                    Offer(executor, Reach.Window, int.MaxValue);
                }
            }
            _offerAll = false;
        }
        foreach (var executor in _offers)
        {
            executor.OfferQueued = false;
        }
        _offers.Clear();
        foreach (var executor in _opened)
        {
            executor.OpenBatch = null;
        }
        _opened.Clear();
    }

    /// <summary>First what is near, then the free slots of everybody, one task at a time, then the windows.</summary>
    private void OfferAll()
    {
        StartBarriers();
        foreach (var executor in _executors)
        {
            Offer(executor, Reach.Near, int.MaxValue);
        }
        for (var given = true; given;)
        {
            given = false;
            foreach (var executor in _executors)
            {
                given |= Offer(executor, Reach.Slots, 1) > 0;
            }
        }
        for (var given = true; given;)
        {
            given = false;
            foreach (var executor in _executors)
            {
                given |= Offer(executor, Reach.Window, executor.Slots) > 0;
            }
        }
    }

    private int Offer(HeldExecutor executor, Reach reach, int most)
    {
        if (!executor.Usable)
        {
            return 0;
        }
        var given = 0;
        while (given < most)
        {
            var before = given;
            if (_pools.Count == 1)
            {
                given += OfferPool(executor, _pools[0], reach, most - given, out _);
                break;
            }
            // Shares change with every task: choose the pool anew for each.
            _pools.Sort(Pool.Compare);
            foreach (var pool in _pools)
            {
                if (OfferPool(executor, pool, reach, 1, out var held) > 0)
                {
                    given++;
                    break;
                }
                if (held)
                {
                    break;
                }
            }
            if (given == before)
            {
                break;
            }
        }
        return given;
    }

    private int OfferPool(HeldExecutor executor, Pool pool, Reach reach, int most, out bool held)
    {
        var given = 0;
        held = false;
        for (var i = 0; i < pool.Runnable.Count && given < most;)
        {
            var stage = pool.Runnable[i];
            if (stage == _heldFor)
            {
                held = true;
                break;
            }
            if (!stage.Definition.Barrier)
            {
                var limit = reach == Reach.Slots ? executor.Slots : WindowOf(executor, stage);
                while (given < most && executor.InFlight < limit)
                {
                    var partition = Take(stage, executor, reach, out var marks);
                    if (partition < 0)
                    {
                        break;
                    }
                    Send(stage, partition, executor, marks);
                    given++;
                }
            }
            if (stage.Pending == 0 && stage.Slow.Count == 0)
            {
                pool.Remove(stage);
            }
            else
            {
                i++;
            }
        }
        return given;
    }

    /// <summary>
    /// How many tasks may be in flight to an executor when the next is one of this stage. Long tasks only get free slots, so that stragglers and repeats stay cheap; short ones
    /// get what keeps the executor busy for a round trip. See research: Little's law, window 2 × slots … 512.
    /// </summary>
    private int WindowOf(HeldExecutor executor, Stage stage)
    {
        var free = executor.Slots - executor.LongInFlight;
        if (IsLong(stage) || free <= 0)
        {
            return executor.Slots;
        }
        if (stage.MeanMicroseconds < 0)
        {
            // They may be long: none waits behind another, not even where its input is, while somebody has nothing to do.
            return executor.Slots + (_executors.Exists(static other => other.Usable && other.InFlight == 0) ? 0 : free);
        }
        var useful = executor.Slots + free + (free * WindowMicroseconds / Math.Max(1, stage.MeanMicroseconds));
        return (int)Math.Min(useful, Math.Min(executor.Window, Math.Max(_options.WindowLimit, executor.Slots)));
    }

    private bool IsLong(Stage stage) => stage.MeanMicroseconds * TimeSpan.TicksPerMicrosecond > _options.LongTask.Ticks;

    /// <summary>After reports: an executor that has drained half its window in one round trip gets a larger one.</summary>
    private void Widen(HeldExecutor executor)
    {
        if (_pending > 0 && executor.InFlight <= executor.Window / 2)
        {
            executor.Window = Math.Min(executor.Window * 2, Math.Max(_options.WindowLimit, executor.Slots * 2));
        }
    }

    private int Take(Stage stage, HeldExecutor executor, Reach reach, out AttemptMarks marks)
    {
        marks = AttemptMarks.None;
        if (stage.FailedOn.Count > 0 && IsAvoided(stage, executor))
        {
            return -1;
        }
        var partition = -1;
        if (stage.Suspects.Count > 0 && executor.Suspects == 0)
        {
            partition = TakeFrom(stage.Suspects, stage, executor);
            if (partition >= 0)
            {
                return partition;
            }
        }
        if (stage.NearExecutor is { } near && near.TryGetValue(executor, out var mine))
        {
            partition = TakeFrom(mine, stage, executor);
        }
        if (partition < 0 && stage.NearNode is { } nearNode && nearNode.TryGetValue(executor.Node, out var ours))
        {
            partition = TakeFrom(ours, stage, executor);
        }
        if (partition >= 0)
        {
            stage.LastNearSent = _now;
            return partition;
        }
        if (reach == Reach.Near)
        {
            return -1;
        }
        partition = TakeFrom(stage.Anywhere, stage, executor);
        if (partition < 0 && stage.Near.Count > 0 && stage.Pending > 0)
        {
            partition = TakeFar(stage, executor);
        }
        if (partition < 0 && stage.Slow.Count > 0 && executor.InFlight < executor.Slots)
        {
            partition = TakeSlow(stage, executor);
            marks = AttemptMarks.Speculative;
        }
        return partition;
    }

    private int TakeFrom(PartitionQueue queue, Stage stage, HeldExecutor executor)
    {
        var found = -1;
        while (queue.Count > 0)
        {
            var partition = queue.PopFront();
            if ((stage.Marks[partition] & TaskMarks.Pending) == 0)
            {
                continue;
            }
            if (stage.Failures[partition] == 0 || MayRun(stage, partition, executor))
            {
                found = partition;
                break;
            }
            _passedOver.Add(partition);
            if (_passedOver.Count >= PassOverLimit)
            {
                break;
            }
        }
        for (var i = _passedOver.Count - 1; i >= 0; i--)
        {
            queue.PushFront(_passedOver[i]);
        }
        _passedOver.Clear();
        return found;
    }

    /// <summary>A task that would rather run elsewhere: after a short wait, or when its place has more to do than the wait is worth.</summary>
    private int TakeFar(Stage stage, HeldExecutor executor)
    {
        var due = stage.LastNearSent + _options.LocalityWait.Ticks;
        if (_now < due && !IsBusyElsewhere(stage))
        {
            _nearWake = Math.Min(_nearWake, due);
            return -1;
        }
        return TakeFrom(stage.Near, stage, executor);
    }

    private bool IsBusyElsewhere(Stage stage)
    {
        // Stale entries are dropped on the way.
        while (stage.Near.Count > 0)
        {
            var partition = stage.Near.PopFront();
            if ((stage.Marks[partition] & TaskMarks.Pending) != 0)
            {
                stage.Near.PushFront(partition);
                break;
            }
        }
        if (stage.MeanMicroseconds < 0)
        {
            return false;
        }
        long slots = 0;
        foreach (var executor in _executors)
        {
            if (executor.Usable && (stage.NearExecutor?.ContainsKey(executor) == true || stage.NearNode?.ContainsKey(executor.Node) == true))
            {
                slots += executor.Slots;
            }
        }
        return slots == 0 || stage.Near.Count * stage.MeanMicroseconds / slots > _options.LocalityWait.Ticks / TimeSpan.TicksPerMicrosecond;
    }

    // ── Where it failed before: avoided while there is another place.

    private bool MayRun(Stage stage, int partition, HeldExecutor executor)
    {
        if (!_options.Exclusion || !Failed(executor))
        {
            return true;
        }
        foreach (var other in _executors)
        {
            // One that the whole stage avoids is no alternative: each would wait for the other.
            if (other.Usable && !Failed(other) && !IsAvoided(stage, other))
            {
                return false;
            }
        }
        return true;

        // On this executor once, or on its node twice.
        bool Failed(HeldExecutor candidate) =>
            stage.FailedOn.Contains((candidate, partition))
            || stage.FailedOn.FindAll(failure => failure.Partition == partition && failure.Executor.Node == candidate.Node).Count >= 2;
    }

    private bool IsAvoided(Stage stage, HeldExecutor executor)
    {
        if (!_options.Exclusion || !Bad(executor))
        {
            return false;
        }
        foreach (var other in _executors)
        {
            if (other.Usable && !Bad(other))
            {
                return true;
            }
        }
        return false;

        bool Bad(HeldExecutor candidate)
        {
            var failures = 0;
            foreach (var failure in stage.FailedOn)
            {
                failures += failure.Executor == candidate ? 1 : 0;
            }
            return failures >= _options.ExclusionFailures;
        }
    }

    // ── Sending.

    private void Send(Stage stage, int partition, HeldExecutor executor, AttemptMarks marks)
    {
        if ((marks & AttemptMarks.Speculative) == 0)
        {
            stage.Marks[partition] &= ~TaskMarks.Pending;
            stage.Pending--;
            _pending--;
        }
        if (IsLong(stage))
        {
            marks |= AttemptMarks.Long;
            executor.LongInFlight++;
        }
        if ((stage.Marks[partition] & TaskMarks.Suspect) != 0)
        {
            marks |= AttemptMarks.Suspect;
            executor.Suspects++;
        }
        var number = stage.Tries[partition]++;
        var slot = _attempts.Add(stage, executor, partition, number, marks, _now);
        stage.Live[partition]++;
        stage.InFlight++;
        if (stage.Output is { } shuffle)
        {
            shuffle.Writers++;
        }
        stage.Pool.Running++;
        executor.InFlight++;
        var batch = executor.OpenBatch;
        if (batch is null || batch.StageId != stage.Id || batch.StageAttempt != stage.Attempt || (batch.Tasks.Count >= _options.BatchLimit && !stage.Definition.Barrier))
        {
            if (batch is null)
            {
                _opened.Add(executor);
            }
            batch = new SendTasks(executor.Address, stage.Id, stage.Attempt, stage.Definition, stage.InputEpochs) { SettledUpTo = _attempts.SettledUpTo };
            executor.OpenBatch = batch;
            Emit(batch);
        }
        batch.Tasks.Add(new TaskToSend(new TaskAttemptId(_attempts[slot].Id), partition, number, (marks & AttemptMarks.Speculative) != 0));
        if (stage.Definition.Persisted.Count > 0)
        {
            TellElsewhere(batch, stage.Definition, partition, executor);
        }
    }

    // ── Slow tasks.

    /// <summary>When most of a stage is done, tasks that take several times the median get a second copy elsewhere; the first result wins.</summary>
    private void LookForSlowTasks()
    {
        _speculateAt = _active.Count > 0 ? _now + _options.SpeculationMinimum.Ticks : Never;
        foreach (var stage in _active)
        {
            if (stage.Definition.Barrier || stage.Figures is not { } figures || stage.InFlight == 0
                || (long)stage.Done * 100 < (long)stage.Wanted * _options.SpeculationQuantilePercent)
            {
                continue;
            }
            var threshold = Math.Max(
                _options.SpeculationMinimum.Ticks,
                figures.Wall.Percentile(50) * TimeSpan.TicksPerMicrosecond * _options.SpeculationMultiplierPercent / 100);
            for (var slot = stage.FirstAttemptSlot; slot >= 0; slot = _attempts[slot].NextInStage)
            {
                ref var attempt = ref _attempts[slot];
                if (attempt.StageAttempt == stage.Attempt && (attempt.Marks & (AttemptMarks.Superseded | AttemptMarks.Speculative)) == 0
                    && stage.Live[attempt.Partition] == 1 && (stage.Marks[attempt.Partition] & TaskMarks.SlowCopied) == 0 && _now - attempt.SentAt > threshold)
                {
                    stage.Marks[attempt.Partition] |= TaskMarks.SlowCopied;
                    stage.Slow.PushBack(attempt.Partition);
                    stage.Pool.Add(stage);
                    _offerAll = true;
                }
            }
        }
    }

    private int TakeSlow(Stage stage, HeldExecutor executor)
    {
        for (var left = stage.Slow.Count; left > 0; left--)
        {
            var partition = stage.Slow.PopFront();
            if (stage.IsDone(partition) || stage.Live[partition] != 1)
            {
                // Done, or on its way again by itself: it may be slow once more.
                stage.Marks[partition] &= ~TaskMarks.SlowCopied;
                continue;
            }
            if (!RunsOn(stage, partition, executor) && MayRun(stage, partition, executor))
            {
                return partition;
            }
            stage.Slow.PushBack(partition);
        }
        return -1;
    }

    private bool RunsOn(Stage stage, int partition, HeldExecutor executor)
    {
        for (var slot = executor.FirstAttempt; slot >= 0; slot = _attempts[slot].NextOnExecutor)
        {
            if (_attempts[slot].Stage == stage && _attempts[slot].Partition == partition)
            {
                return true;
            }
        }
        return false;
    }
}
