using System.Collections.Immutable;
using Yarnish.Protocol;

namespace Yarnish.Dataflow;

/// <summary>Executors: how they join, prove to be alive, and are lost; one way for every loss, whoever saw it first.</summary>
internal sealed partial class JobMachine
{
    /// <summary>How many executors are remembered after they left, so that a late hello is answered with the door.</summary>
    private const int GoneLimit = 4096;

    /// <summary>Something sent this long ago must be known to the executor's beats.</summary>
    private static readonly long SettleTicks = TimeSpan.FromSeconds(5).Ticks;

    private static readonly long ScanTicks = TimeSpan.FromSeconds(1).Ticks;

    /// <summary>In the order in which they joined.</summary>
    private readonly List<HeldExecutor> _executors = [];

    private readonly Dictionary<ExecutorId, HeldExecutor> _executorsById = [];
    private readonly SortedDictionary<NodeId, Node> _nodes = [];
    private readonly HashSet<ExecutorId> _gone = [];
    private readonly Queue<ExecutorId> _goneOrder = [];

    /// <summary>Executors that failed a stage too often: the ground for excluding them and their nodes.</summary>
    private readonly List<(ExecutorId Executor, NodeId Node, int Partitions, long Until)> _misdeeds = [];

    private bool _linkInterrupted;
    private long _scanAt = Never;
    private int _executorsSeen;
    private int _executorsLost;
    private int _lastWanted = -1;
    private ImmutableArray<NodeId> _lastPreferred = [];
    private (int Wanted, int Started, long Until) _preferredFor;
    private long _nowhereSince;

    private void OnExecutorJoined(ExecutorJoined joined)
    {
        var (address, nodeId, slots, running, finished) = joined;
        if (_gone.Contains(address.ExecutorId))
        {
            Emit(new ReleaseExecutor(address.ExecutorId, "it was given up before it said hello again"));
            return;
        }
        long expectedUpTo;
        if (!_executorsById.TryGetValue(address.ExecutorId, out var executor))
        {
            if (!_nodes.TryGetValue(nodeId, out var node))
            {
                node = new Node(nodeId);
                _nodes.Add(nodeId, node);
            }
            executor = new HeldExecutor(address.ExecutorId, node) { IdleSince = _now };
            node.Executors.Add(executor);
            _executors.Add(executor);
            _executorsById.Add(executor.Id, executor);
            _executorsSeen++;
            _scanAt = Math.Min(_scanAt, _now + ScanTicks);
            expectedUpTo = 0;
        }
        else if (address.Epoch > executor.Epoch)
        {
            // What was sent to the old connection and did not arrive never will.
            expectedUpTo = _attempts.LastId;
        }
        else if (address.Epoch == executor.Epoch && executor.HelloUpTo >= 0)
        {
            expectedUpTo = executor.HelloUpTo;
        }
        else
        {
            // A hello of the past, or one said twice: what it tells may no longer be true.
            return;
        }
        executor.LastSeen = _now;
        executor.Slots = Math.Max(1, slots);
        if (executor.Node.Draining)
        {
            BeginLeaving(executor, "its node is drained");
        }
        OweNoCopies();
        executor.HelloUpTo = -1;
        executor.BeatsShort = 0;
        executor.Connected = true;
        if (address.Epoch != executor.Epoch)
        {
            executor.Epoch = address.Epoch;
            executor.Window = executor.Slots * 2;
        }
        Reconcile(executor, expectedUpTo, running, finished);
        _offerAll = true;
    }

    /// <summary>Compares what an executor holds with what the machine believes: what did not arrive waits again, what nobody wants is stopped.</summary>
    private void Reconcile(HeldExecutor executor, long expectedUpTo, IReadOnlyList<TaskAttemptId> running, IReadOnlyList<TaskAttemptId> finished)
    {
        var held = new HashSet<long>(running.Count + finished.Count);
        StopTasks? stop = null;
        foreach (var id in running)
        {
            held.Add(id.Value);
            var slot = _attempts.Find(id.Value);
            if (slot < 0 || _attempts[slot].Executor != executor || (_attempts[slot].Marks & AttemptMarks.Superseded) != 0)
            {
                if (stop is null)
                {
                    stop = new StopTasks(executor.Address, [], "nobody wants it any more");
                    Emit(stop);
                }
                stop.Attempts.Add(id);
            }
        }
        foreach (var id in finished)
        {
            held.Add(id.Value);
        }
        var next = executor.FirstAttempt;
        while (next >= 0)
        {
            var slot = next;
            next = _attempts[slot].NextOnExecutor;
            if (_attempts[slot].Id <= expectedUpTo && _options.Planted != PlantedJobBug.UnreadHello && !held.Contains(_attempts[slot].Id))
            {
                Return(slot, "it did not reach the executor");
            }
        }
    }

    /// <summary>An attempt that never ran waits again.</summary>
    private void Return(int slot, string why)
    {
        var attempt = _attempts[slot];
        RemoveAttempt(slot);
        OnEnd(attempt, new TaskExecutorLost(attempt.Executor.Id, ContainerExitCause.Unknown, CausedByTask: false, why), null, neverRan: true);
    }

    private void OnExecutorAlive(ExecutorAlive alive)
    {
        var (address, running, queued) = alive;
        if (!_executorsById.TryGetValue(address.ExecutorId, out var executor))
        {
            Emit(_gone.Contains(address.ExecutorId) ? new ReleaseExecutor(address.ExecutorId, "it was given up before") : new HelloWanted(address));
            return;
        }
        if (address.Epoch < executor.Epoch)
        {
            return;
        }
        executor.LastSeen = _now;
        if (address.Epoch > executor.Epoch)
        {
            // Its hello is on the way, or was lost.
            Emit(new HelloWanted(address));
            return;
        }
        if (!executor.Connected)
        {
            AskForHello(executor);
            return;
        }
        var old = 0;
        for (var slot = executor.FirstAttempt; slot >= 0 && _attempts[slot].SentAt <= _now - SettleTicks; slot = _attempts[slot].NextOnExecutor)
        {
            old++;
        }
        executor.BeatsShort = old > running.Count + queued ? executor.BeatsShort + 1 : 0;
        if (executor.BeatsShort >= 2)
        {
            // It holds fewer than were sent long ago: a message was lost. Let it say which.
            AskForHello(executor);
        }
    }

    private void AskForHello(HeldExecutor executor)
    {
        executor.BeatsShort = 0;
        executor.HelloUpTo = _attempts.LastId;
        Emit(new HelloWanted(executor.Address));
    }

    private void OnBatchReturned(BatchReturned returned)
    {
        _executorsById.TryGetValue(returned.Address.ExecutorId, out var executor);
        foreach (var id in returned.Attempts)
        {
            var slot = _attempts.Find(id.Value);
            if (slot >= 0 && _attempts[slot].Executor == executor && _attempts[slot].Epoch == returned.Address.Epoch)
            {
                Return(slot, "its message found no queue");
            }
        }
        if (executor is not null && executor.Epoch == returned.Address.Epoch)
        {
            // Nothing more until it has said hello: by itself on a new connection, or because it is asked.
            executor.Connected = false;
            executor.Window = executor.Slots * 2;
            if (!returned.QueueGone && !_linkInterrupted)
            {
                AskForHello(executor);
            }
            _offerAll = true;
        }
    }

    private void OnExecutorDraining(ExecutorDraining draining)
    {
        if (_executorsById.TryGetValue(draining.ExecutorId, out var executor))
        {
            BeginLeaving(executor, "it shall leave");
        }
    }

    private void OnExecutorLost(ExecutorLost lost)
    {
        if (_executorsById.TryGetValue(lost.ExecutorId, out var executor))
        {
            _executorsLost++;
            Lose(executor, lost.Cause, lost.Message, lost.Running);
        }
        else
        {
            RememberGone(lost.ExecutorId);
        }
    }

    private void OnNodeWasLost(NodeWasLost lost)
    {
        var message = $"node {lost.NodeId} was lost: {lost.Message}";
        if (_nodes.Remove(lost.NodeId, out var node))
        {
            foreach (var executor in node.Executors.ToArray())
            {
                _executorsLost++;
                Lose(executor, ContainerExitCause.NodeLost, message, []);
            }
            LoseFiles(node);
        }
        // Whatever its executors still report has gone down with it.
        ForgetLate(late => late.Stage.Output is not null && late.Executor.Node.Id == lost.NodeId);
        foreach (var shuffle in _shuffles.Values)
        {
            if (ForgetOutputsOn(shuffle, lost.NodeId))
            {
                _shrunk.Add(shuffle);
            }
        }
        foreach (var shuffle in _shrunk)
        {
            AfterLoss(shuffle, null, null, message);
        }
        _shrunk.Clear();
    }

    private readonly List<Shuffle> _shrunk = [];

    /// <summary>
    /// The only way an executor leaves. Its map output stays with its node. What it ran waits again; that counts only against attempts that were running when it ended by
    /// itself, not against those that queued behind them.
    /// </summary>
    private void Lose(HeldExecutor executor, ContainerExitCause cause, string message, IReadOnlyList<TaskAttemptId>? running)
    {
        executor.Gone = true;
        _executors.Remove(executor);
        _executorsById.Remove(executor.Id);
        executor.Node.Executors.Remove(executor);
        RememberGone(executor.Id);
        _holders.RemoveExecutor(executor);
        GiveUpCopies(executor);
        if (_executors.Count == 0)
        {
            _scanAt = Never;
        }

        HashSet<long>? suspects = null;
        if (ExecutorEnds.ByItself(cause))
        {
            suspects = [];
            if (running is not null)
            {
                foreach (var id in running)
                {
                    suspects.Add(id.Value);
                }
            }
            else
            {
                // Executors run in the order of arrival: the oldest attempts had the slots.
                for (var slot = executor.FirstAttempt; slot >= 0 && suspects.Count < executor.Slots; slot = _attempts[slot].NextOnExecutor)
                {
                    suspects.Add(_attempts[slot].Id);
                }
            }
        }
        if (suspects?.Count > 1)
        {
            Narrow(executor, suspects);
        }
        while (executor.FirstAttempt >= 0)
        {
            // The last first: each goes to the front of the queue, so that they keep their order.
            var slot = executor.LastAttempt;
            var attempt = _attempts[slot];
            RemoveAttempt(slot);
            RememberLate(attempt);
            OnEnd(attempt, new TaskExecutorLost(executor.Id, cause, suspects?.Contains(attempt.Id) ?? false, message), null);
        }
        _offerAll = true;
    }

    /// <summary>
    /// Of several that ran beside each other only one did it. All are suspected the first time; from then on a suspect never runs beside another one, so that the next time tells
    /// which: those that were suspected before, the others only stood by.
    /// </summary>
    private void Narrow(HeldExecutor executor, HashSet<long> suspects)
    {
        var before = new List<long>();
        for (var slot = executor.FirstAttempt; slot >= 0; slot = _attempts[slot].NextOnExecutor)
        {
            if ((_attempts[slot].Marks & AttemptMarks.Suspect) != 0 && suspects.Contains(_attempts[slot].Id))
            {
                before.Add(_attempts[slot].Id);
            }
        }
        if (before.Count > 0)
        {
            suspects.IntersectWith(before);
        }
    }

    private void RememberGone(ExecutorId id)
    {
        if (_gone.Add(id))
        {
            _goneOrder.Enqueue(id);
            while (_goneOrder.Count > GoneLimit)
            {
                _gone.Remove(_goneOrder.Dequeue());
            }
        }
    }

    private void OnLinkRestored(LinkRestored restored)
    {
        _linkInterrupted = false;
        foreach (var executor in _executors)
        {
            // Nobody could be heard: nobody is late.
            executor.LastSeen = _now;
            if (restored.MessagesMayBeLost)
            {
                AskForHello(executor);
            }
        }
        _offerAll = true;
    }

    // ── Time.

    private void OnTime()
    {
        Resubmit();
        if (_now >= _speculateAt)
        {
            LookForSlowTasks();
        }
        if (_now >= _scanAt)
        {
            Scan();
        }
        if (_now >= _nearWake)
        {
            _nearWake = Never;
            _offerAll = true;
        }
    }

    /// <summary>Once a second: who is silent, who idles, whose exclusion is over, who waits in vain.</summary>
    private void Scan()
    {
        _scanAt = _executors.Count > 0 || _pending > 0 ? _now + ScanTicks : Never;
        foreach (var executor in _executors.ToArray())
        {
            var silent = _now - executor.LastSeen;
            if (!_linkInterrupted && silent >= _options.ExecutorTimeout.Ticks)
            {
                var message = $"nothing was heard of it for {TimeSpan.FromTicks(silent).TotalSeconds:F0} s";
                Emit(new ReleaseExecutor(executor.Id, message));
                _executorsLost++;
                Lose(executor, ContainerExitCause.Unknown, message, null);
            }
            else if (executor.Draining)
            {
                LetGo(executor);
            }
            else if (_allocation is { } allocation && executor.InFlight == 0 && _options.Allocation is { } allocationOptions
                && _now - executor.IdleSince >= (executor.CachedPartitions > 0 ? allocationOptions.IdleWithCache : allocationOptions.Idle).Ticks
                && allocation.MayRelease(CountAvailable()) && _options.Planted != PlantedJobBug.IdleForEver)
            {
                BeginLeaving(executor, $"it idled for {TimeSpan.FromTicks(_now - executor.IdleSince).TotalSeconds:F0} s");
                LetGo(executor);
            }
            else if (executor.ExcludedUntil != 0 && executor.ExcludedUntil <= _now)
            {
                executor.ExcludedUntil = 0;
                _offerAll = true;
            }
        }
        foreach (var node in _nodes.Values)
        {
            if (node.ExcludedUntil != 0 && node.ExcludedUntil <= _now)
            {
                node.ExcludedUntil = 0;
                Emit(new ReadmitNode(node.Id));
                _offerAll = true;
            }
        }
        ExpireCopies();
        _misdeeds.RemoveAll(misdeed => misdeed.Until <= _now);
        GiveUpWaiting();
    }

    /// <summary>Fails what waits although every executor there is stays excluded, and barrier stages that never get their slots together.</summary>
    private void GiveUpWaiting()
    {
        var nowhere = _pending > 0 && _executors.Count > 0 && _executors.TrueForAll(static executor => executor.ExcludedUntil != 0 || executor.Node.ExcludedUntil != 0);
        _nowhereSince = !nowhere ? 0 : _nowhereSince == 0 ? _now : _nowhereSince;
        var timeout = _options.NowhereToRunTimeout;
        foreach (var stage in _active.ToArray())
        {
            if (stage.Dropped || stage.Pending == 0)
            {
                continue;
            }
            if (nowhere && _now - _nowhereSince >= timeout.Ticks)
            {
                FailStage(stage, new JobFailure(
                    JobFailureReason.NowhereToRun,
                    $"{stage.Pending} tasks of stage {stage.Id} '{stage.Definition.Name}' waited {timeout.TotalSeconds:F0} s although {_executors.Count} executors are there: all of them are "
                    + "excluded because tasks failed on them. Look at those failures, or start the application again."));
            }
            else if (stage.Definition.Barrier && stage.BarrierSince != 0 && _now - stage.BarrierSince >= timeout.Ticks)
            {
                FailStage(stage, new JobFailure(
                    JobFailureReason.NowhereToRun,
                    $"Barrier stage {stage.Id} '{stage.Definition.Name}' needs {stage.Pending} free slots at the same time and did not get them within {timeout.TotalSeconds:F0} s. "
                    + "Use fewer partitions, or more executors."));
            }
        }
    }

    // ── Exclusion, after Spark's HealthTracker: only stages that succeeded after all prove that it was the executor and not the code.

    private void CountExclusions(Stage stage)
    {
        if (!_options.Exclusion || stage.FailedOn.Count == 0)
        {
            return;
        }
        var until = _now + _options.ExclusionTime.Ticks;
        foreach (var group in stage.FailedOn.GroupBy(static failure => failure.Executor))
        {
            _misdeeds.Add((group.Key.Id, group.Key.Node.Id, group.Count(), until));
        }
        foreach (var executor in _executors)
        {
            if (executor.ExcludedUntil == 0 && FailuresOn(executor.Id) >= _options.ExclusionFailures && stage.FailedOn.Exists(failure => failure.Executor == executor))
            {
                executor.ExcludedUntil = until;
                Emit(new ExcludeExecutor(executor.Id, new DateTimeOffset(until, TimeSpan.Zero)));
                var node = executor.Node;
                var bad = _misdeeds.Where(misdeed => misdeed.Node == node.Id).Select(static misdeed => misdeed.Executor).Distinct()
                    .Count(id => FailuresOn(id) >= _options.ExclusionFailures);
                if (node.ExcludedUntil == 0 && bad >= 2)
                {
                    node.ExcludedUntil = until;
                    Emit(new ExcludeNode(node.Id, new DateTimeOffset(until, TimeSpan.Zero)));
                }
                _offerAll = true;
            }
        }
        stage.FailedOn.Clear();

        int FailuresOn(ExecutorId id) => _misdeeds.Where(misdeed => misdeed.Executor == id).Sum(static misdeed => misdeed.Partitions);
    }

    // ── How many executors.

    private int CountAvailable()
    {
        var available = 0;
        foreach (var executor in _executors)
        {
            if (executor is { Draining: false, ExcludedUntil: 0, Node.ExcludedUntil: 0 })
            {
                available++;
            }
        }
        return available;
    }

    private void Allocate()
    {
        if (_allocation is { } allocation && _options.Allocation is { } options)
        {
            var available = CountAvailable();
            // Those that get no tasks still are containers the resource manager counts as live.
            if (_options.Planted == PlantedJobBug.AsksForEver && _pending + _attempts.Count == 0)
            {
                return;
            }
            var wanted = allocation.Update(_now, _pending, _attempts.Count, Math.Max(1, options.SlotsPerExecutor), available) + _executors.Count - available;
            var preferred = PreferredNodes(wanted);
            if (wanted != _lastWanted || !preferred.AsSpan().SequenceEqual(_lastPreferred.AsSpan()))
            {
                _lastWanted = wanted;
                _lastPreferred = preferred;
                Emit(new ExecutorsWanted(wanted, preferred));
            }
        }
    }

    /// <summary>Nodes named in an ask, and tasks of a stage looked at for that.</summary>
    private const int PreferredLimit = 16;
    private const int PreferredLookLimit = 256;

    /// <summary>Where executors that are still to come would be nearest to what waits: nobody, when none are to come.</summary>
    private ImmutableArray<NodeId> PreferredNodes(int wanted)
    {
        if (wanted <= _executors.Count || _pending == 0)
        {
            _preferredFor = default;
            return [];
        }
        if (_preferredFor.Wanted == wanted && _preferredFor.Started == _stagesStarted && _now < _preferredFor.Until)
        {
            return _lastPreferred;
        }
        // What waits changes with every event; where it would like to be does not.
        _preferredFor = (wanted, _stagesStarted, _now + ScanTicks);
        var weights = new SortedDictionary<NodeId, int>();
        foreach (var stage in _active)
        {
            for (int partition = 0, looked = 0; partition < stage.Partitions && looked < PreferredLookLimit && looked < stage.Pending; partition++)
            {
                if ((stage.Marks[partition] & TaskMarks.Pending) != 0)
                {
                    looked++;
                    Weigh(stage, partition);
                }
            }
        }
        return [.. weights.OrderByDescending(static pair => pair.Value).ThenBy(static pair => pair.Key).Select(static pair => pair.Key).Take(PreferredLimit)];

        void Weigh(Stage stage, int partition)
        {
            var persisted = PersistedOf(stage.Definition, partition);
            for (var i = persisted.Count - 1; i >= 0; i--)
            {
                var holders = _holders.Find(persisted[i].Collection, persisted[i].Partition);
                if (holders.FirstFile is { } first)
                {
                    Add(first.Id);
                    Add(holders.SecondFile?.Id);
                    return;
                }
            }
            if (stage.Definition.PreferredNodes is { } preferred && preferred[partition].Count > 0)
            {
                foreach (var id in preferred[partition])
                {
                    Add(id);
                }
                return;
            }
            foreach (var node in stage.HeavyNodes)
            {
                Add(node.Id);
            }
        }

        void Add(NodeId? id)
        {
            if (id is { } node && !(_nodes.TryGetValue(node, out var known) && (known.Draining || known.ExcludedUntil != 0)))
            {
                weights[node] = weights.GetValueOrDefault(node) + 1;
            }
        }
    }
}
