namespace Yarnish.Dataflow;

/// <summary>Which executors hold which partitions of persisted collections: at most two are remembered for each, the latest ones.</summary>
internal sealed class CollectionHolders
{
    private readonly SortedDictionary<int, Holders[]> _collections = [];

    public int Count => _collections.Count;

    public void Add(int collection, int partition, HeldExecutor executor)
    {
        if (partition < 0)
        {
            return;
        }
        if (!_collections.TryGetValue(collection, out var partitions) || partitions.Length <= partition)
        {
            Array.Resize(ref partitions, Math.Max(partition + 1, (partitions?.Length ?? 4) * 2));
            _collections[collection] = partitions;
        }
        ref var holders = ref partitions[partition];
        if (holders.First == executor || holders.Second == executor)
        {
            return;
        }
        if (holders.Second is { } forgotten)
        {
            forgotten.CachedPartitions--;
        }
        holders.Second = holders.First;
        holders.First = executor;
        executor.CachedPartitions++;
    }

    public (HeldExecutor? First, HeldExecutor? Second) Find(int collection, int partition) =>
        _collections.TryGetValue(collection, out var partitions) && (uint)partition < (uint)partitions.Length
            ? (partitions[partition].First, partitions[partition].Second)
            : default;

    public void Remove(int collection, int partition, HeldExecutor executor)
    {
        if (_collections.TryGetValue(collection, out var partitions) && (uint)partition < (uint)partitions.Length)
        {
            Remove(ref partitions[partition], executor);
        }
    }

    public void RemoveExecutor(HeldExecutor executor)
    {
        if (executor.CachedPartitions == 0)
        {
            return;
        }
        foreach (var (_, partitions) in _collections)
        {
            for (var i = 0; i < partitions.Length; i++)
            {
                Remove(ref partitions[i], executor);
            }
        }
    }

    public void RemoveCollection(int collection)
    {
        if (_collections.Remove(collection, out var partitions))
        {
            foreach (var holders in partitions)
            {
                if (holders.First is { } first)
                {
                    first.CachedPartitions--;
                }
                if (holders.Second is { } second)
                {
                    second.CachedPartitions--;
                }
            }
        }
    }

    private static void Remove(ref Holders holders, HeldExecutor executor)
    {
        if (holders.First == executor)
        {
            holders.First = holders.Second;
            holders.Second = null;
            executor.CachedPartitions--;
        }
        else if (holders.Second == executor)
        {
            holders.Second = null;
            executor.CachedPartitions--;
        }
    }

    private struct Holders
    {
        public HeldExecutor? First;
        public HeldExecutor? Second;
    }
}
