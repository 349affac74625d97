namespace Yarnish.Dataflow;

/// <summary>Copies of persisted partitions that are wanted on a further node: waiting, or under way. Each is tried a few times.</summary>
internal sealed class PartitionCopies
{
    private readonly SortedDictionary<(int Collection, int Partition), Copy> _copies = [];
    private readonly Queue<(int Collection, int Partition)> _waiting = new();

    /// <summary>Wanted, in whatever state.</summary>
    public int Count => _copies.Count;

    /// <summary>Those that are being copied, by partition.</summary>
    public IEnumerable<KeyValuePair<(int Collection, int Partition), Copy>> UnderWay => _copies.Where(static pair => pair.Value.Target is not null);

    /// <summary>All of them, by partition.</summary>
    public IEnumerable<(int Collection, int Partition)> All => _copies.Keys;

    /// <summary>A copy is wanted; nothing happens when it is already.</summary>
    public void Want(int collection, int partition)
    {
        if (_copies.TryAdd((collection, partition), new Copy()))
        {
            _waiting.Enqueue((collection, partition));
        }
    }

    /// <summary>The next that waits.</summary>
    public bool TryTake(out (int Collection, int Partition) key, out Copy copy)
    {
        while (_waiting.TryDequeue(out key))
        {
            if (_copies.TryGetValue(key, out copy!) && copy.Target is null)
            {
                return true;
            }
        }
        copy = null!;
        return false;
    }

    /// <summary>It was taken and must wait on.</summary>
    public void PutBack((int Collection, int Partition) key) => _waiting.Enqueue(key);

    /// <summary>The copy under way to an executor; null when there is none.</summary>
    public Copy? Find(int collection, int partition, HeldExecutor target) =>
        _copies.TryGetValue((collection, partition), out var copy) && copy.Target == target ? copy : null;

    /// <summary>A try is over. Waits for the next when it is wanted.</summary>
    public void End((int Collection, int Partition) key, bool again)
    {
        if (!_copies.TryGetValue(key, out var copy))
        {
            return;
        }
        if (copy.Target is { } target)
        {
            target.Copies--;
            copy.Target = null;
        }
        if (again)
        {
            _waiting.Enqueue(key);
        }
        else
        {
            _copies.Remove(key);
        }
    }

    /// <summary>Forgets a collection.</summary>
    public void RemoveCollection(int collection)
    {
        foreach (var key in _copies.Keys.Where(key => key.Collection == collection).ToArray())
        {
            End(key, again: false);
        }
    }

    /// <summary>One wanted copy.</summary>
    internal sealed class Copy
    {
        /// <summary>Who is copying it; null while it waits.</summary>
        public HeldExecutor? Target { get; set; }

        /// <summary>When it is no longer waited for.</summary>
        public long Until { get; set; }

        public int Tries { get; set; }
    }
}
