using Yarnish.Protocol;

namespace Yarnish.Dataflow;

/// <summary>Persisted partitions: where they are, second copies, and bringing them to safety before an executor or a node goes.</summary>
internal sealed partial class JobMachine
{
    /// <summary>Copies looked at in one <c>Apply</c>.</summary>
    private const int CopyLookLimit = 256;

    /// <summary>Places named in one message of tasks; what is beyond is computed.</summary>
    private const int ElsewhereLimit = 1000;

    /// <summary>Collections that are no longer persisted and whose late reports are recognized.</summary>
    private const int UnpersistedLimit = 4096;

    /// <summary>What a partition of any size may cost to fetch, and what the network brings at least: 100 bytes in a microsecond.</summary>
    private const long SmallPartition = 1 << 20;
    private const long FetchBytesPerMicrosecond = 100;

    private readonly PartitionCopies _copies = new();
    private readonly List<HeldExecutor> _copying = [];
    private readonly HashSet<int> _unpersisted = [];
    private readonly Queue<int> _unpersistedOrder = new();

    /// <summary>A copy found no executor it could go to: looked for again when there are others.</summary>
    private bool _copiesOwed;

    private void RememberStored(HeldExecutor executor, TaskReport? report)
    {
        if (report?.Cached is not { Count: > 0 } cached || executor.Gone)
        {
            return;
        }
        foreach (var partition in cached)
        {
            if (!_unpersisted.Contains(partition.Collection))
            {
                _holders.Add(partition, executor, report.Metrics.RunMicroseconds);
                Consider(partition.Collection, partition.Partition);
            }
        }
        executor.StoredSinceAsked |= executor.Draining;
    }

    private void OnCollectionUnpersisted(CollectionUnpersisted unpersisted)
    {
        _holders.RemoveCollection(unpersisted.Collection);
        _copies.RemoveCollection(unpersisted.Collection);
        if (_unpersisted.Add(unpersisted.Collection))
        {
            _unpersistedOrder.Enqueue(unpersisted.Collection);
            while (_unpersistedOrder.Count > UnpersistedLimit)
            {
                _unpersisted.Remove(_unpersistedOrder.Dequeue());
            }
        }
    }

    private void OnPartitionsTold(PartitionsTold told)
    {
        if (_nodes.TryGetValue(told.NodeId, out var node))
        {
            _executorsById.TryGetValue(told.Address.ExecutorId, out var executor);
            foreach (var held in told.Partitions)
            {
                _holders.Set(held, executor, node);
                if (executor is not null && _copies.Find(held.Collection, held.Partition, executor) is { } copy)
                {
                    // One that was tried often enough is not wanted anew for that.
                    EndTry((held.Collection, held.Partition), copy, done: held.DiskBytes > 0);
                }
                else
                {
                    Consider(held.Collection, held.Partition);
                }
            }
            if (executor is not null && told.AllWritten)
            {
                executor.Written = true;
            }
        }
        foreach (var lost in told.Lost)
        {
            if (_nodes.TryGetValue(lost.NodeId, out var liar))
            {
                _holders.RemoveFile(lost.Collection, lost.Partition, liar);
                Consider(lost.Collection, lost.Partition);
            }
        }
    }

    /// <summary>A task goes where its persisted partition is not: it is told who has it, when fetching is likely cheaper than computing.</summary>
    private void TellElsewhere(SendTasks batch, StageDefinition definition, int partition, HeldExecutor executor)
    {
        var persisted = PersistedOf(definition, partition);
        for (var i = persisted.Count - 1; i >= 0 && (batch.Elsewhere?.Count ?? 0) < ElsewhereLimit; i--)
        {
            var (collection, part) = persisted[i];
            var holders = _holders.Find(collection, part);
            if (holders.First == executor || holders.Second == executor || holders.IsOn(executor.Node))
            {
                if (definition.PersistedParts is null)
                {
                    // What it was made of is not read.
                    return;
                }
                continue;
            }
            if (holders.FirstFile is { } first && holders.DiskBytes <= SmallPartition + (holders.RunMicroseconds * FetchBytesPerMicrosecond))
            {
                (batch.Elsewhere ??= []).Add(new PartitionOn(collection, part, first.Id));
                if (holders.SecondFile is { } second)
                {
                    batch.Elsewhere.Add(new PartitionOn(collection, part, second.Id));
                }
            }
        }
    }

    /// <summary>The partitions of persisted collections that a task reads or fills, the nearest to the result last.</summary>
    private static IReadOnlyList<(int Collection, int Partition)> PersistedOf(StageDefinition definition, int partition)
    {
        if (definition.Persisted.Count == 0)
        {
            return [];
        }
        if (definition.PersistedParts is { } parts)
        {
            return parts(partition);
        }
        var same = new (int, int)[definition.Persisted.Count];
        for (var i = 0; i < same.Length; i++)
        {
            same[i] = (definition.Persisted[i], partition);
        }
        return same;
    }

    // ── Copies.

    /// <summary>Wants a copy where one is missing.</summary>
    private void Consider(int collection, int partition)
    {
        if (NeedsCopy(collection, partition))
        {
            _copies.Want(collection, partition);
        }
    }

    private bool NeedsCopy(int collection, int partition)
    {
        var holders = _holders.Find(collection, partition);
        if (holders.FirstFile is null)
        {
            // Nothing to copy from.
            return false;
        }
        var staying = Stays(holders.FirstFile) + Stays(holders.SecondFile);
        return _holders.IsReplicated(collection) ? staying < 2 : staying == 0 && !Remains(holders.First) && !Remains(holders.Second);

        static int Stays(Node? node) => node is { Draining: false } ? 1 : 0;

        static bool Remains(HeldExecutor? executor) => executor is { Draining: false };
    }

    /// <summary>Gives waiting copies to the executors with the fewest, on nodes that lack them.</summary>
    private void PlaceCopies()
    {
        if (_copies.Count == 0 || _linkInterrupted)
        {
            return;
        }
        for (var looked = 0; looked < CopyLookLimit && _copies.TryTake(out var key, out var copy); looked++)
        {
            if (!NeedsCopy(key.Collection, key.Partition))
            {
                _copies.End(key, again: false);
                continue;
            }
            var holders = _holders.Find(key.Collection, key.Partition);
            HeldExecutor? target = null;
            var busy = false;
            foreach (var executor in _executors)
            {
                if (!executor.Usable || executor.Node.Draining || holders.IsOn(executor.Node))
                {
                    continue;
                }
                if (executor.Copies >= _options.CopiesPerExecutor)
                {
                    busy = true;
                }
                else if (target is null || executor.Copies < target.Copies)
                {
                    target = executor;
                }
            }
            if (target is null && busy)
            {
                _copies.PutBack(key);
                break;
            }
            if (target is null)
            {
                _copiesOwed = true;
                _copies.End(key, again: false);
                continue;
            }
            copy.Target = target;
            copy.Until = _now + (2 * _options.LeaveTimeout.Ticks);
            target.Copies++;
            if (target.OpenCopies is not { } open)
            {
                target.OpenCopies = open = new SendCopies(target.Address);
                _copying.Add(target);
                Emit(open);
            }
            // Another source with each try, where there are two.
            var from = copy.Tries % 2 == 1 && holders.SecondFile is { } second ? second : holders.FirstFile!;
            open.Partitions.Add(new PartitionOn(key.Collection, key.Partition, from.Id));
        }
        foreach (var executor in _copying)
        {
            executor.OpenCopies = null;
        }
        _copying.Clear();
    }

    private void EndTry((int Collection, int Partition) key, PartitionCopies.Copy copy, bool done) => _copies.End(key, again: !done && ++copy.Tries < _options.CopyTries);

    private void ExpireCopies()
    {
        if (_copies.Count == 0)
        {
            return;
        }
        foreach (var (key, copy) in _copies.UnderWay.Where(pair => pair.Value.Until <= _now).ToArray())
        {
            EndTry(key, copy, done: false);
        }
    }

    /// <summary>What an executor that is gone was copying waits again.</summary>
    private void GiveUpCopies(HeldExecutor executor)
    {
        if (executor.Copies > 0)
        {
            foreach (var (key, _) in _copies.UnderWay.Where(pair => pair.Value.Target == executor).ToArray())
            {
                _copies.End(key, again: true);
            }
        }
    }

    private void LoseFiles(Node node)
    {
        foreach (var (collection, partition) in _holders.RemoveNode(node))
        {
            Consider(collection, partition);
        }
    }

    /// <summary>There are other executors than before: copies that found no place are looked for again.</summary>
    private void OweNoCopies()
    {
        if (!_copiesOwed)
        {
            return;
        }
        _copiesOwed = false;
        foreach (var collection in _holders.Collections)
        {
            for (var partition = 0; partition < collection.Partitions.Length; partition++)
            {
                Consider(collection.Number, partition);
            }
        }
    }

    // ── Leaving.

    private void OnNodeDraining(NodeDraining draining)
    {
        if (!_nodes.TryGetValue(draining.NodeId, out var node))
        {
            if (!draining.Active)
            {
                return;
            }
            // Its first executor may say hello after this.
            _nodes.Add(draining.NodeId, node = new Node(draining.NodeId));
        }
        if (node.Draining == draining.Active)
        {
            return;
        }
        node.Draining = draining.Active;
        foreach (var executor in node.Executors)
        {
            if (draining.Active)
            {
                BeginLeaving(executor, "its node is drained");
            }
            else
            {
                executor.Draining = false;
            }
        }
        if (draining.Active)
        {
            foreach (var (collection, partition) in _holders.FilesOf(node))
            {
                Consider(collection, partition);
            }
        }
        else
        {
            OweNoCopies();
        }
        _offerAll = true;
    }

    /// <summary>From here an executor gets no tasks, and what it alone has in memory is written to the disk of its node.</summary>
    private void BeginLeaving(HeldExecutor executor, string reason)
    {
        if (executor.Draining)
        {
            return;
        }
        executor.Draining = true;
        executor.LeaveReason = reason;
        AskToWrite(executor);
        _offerAll = true;
    }

    private void AskToWrite(HeldExecutor executor)
    {
        executor.LeaveUntil = _now + _options.LeaveTimeout.Ticks;
        executor.Written = executor.CachedPartitions == 0;
        if (!executor.Written)
        {
            Emit(new WriteOut(executor.Address));
        }
    }

    /// <summary>Releases an executor that drains as soon as it runs nothing and its partitions are safe, or have had their time.</summary>
    private void LetGo(HeldExecutor executor)
    {
        if (executor.InFlight > 0 || _linkInterrupted)
        {
            return;
        }
        if (executor.StoredSinceAsked)
        {
            executor.StoredSinceAsked = false;
            AskToWrite(executor);
        }
        if (_now >= executor.LeaveUntil || (executor.Written && !(executor.Node.Draining && IsCopiedFrom(executor.Node))))
        {
            Emit(new ReleaseExecutor(executor.Id, executor.LeaveReason));
            Lose(executor, ContainerExitCause.Released, "released", []);
        }
    }

    private bool IsCopiedFrom(Node node) => node.CachedFiles > 0 && _copies.All.Any(key => _holders.Find(key.Collection, key.Partition).IsOn(node));
}
