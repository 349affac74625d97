using Yarnish.Protocol;

namespace Yarnish.Dataflow;

/// <summary>
/// Where the partitions of persisted collections are: which executors have them in memory, which nodes as a file. At most two of each are remembered, the latest ones.
/// </summary>
internal sealed class CollectionHolders
{
    private readonly SortedDictionary<int, Collection> _collections = [];

    public int Count => _collections.Count;

    /// <summary>All collections, by number.</summary>
    public IEnumerable<Collection> Collections => _collections.Values;

    /// <summary>Where a partition is; nothing when nobody has it.</summary>
    public Holders Find(int collection, int partition) =>
        _collections.TryGetValue(collection, out var found) && (uint)partition < (uint)found.Partitions.Length ? found.Partitions[partition] : default;

    /// <summary>Whether two nodes shall have it.</summary>
    public bool IsReplicated(int collection) => _collections.TryGetValue(collection, out var found) && found.Replicated;

    /// <summary>A task stored it: what it says is added to what is known.</summary>
    /// <param name="stored">What the executor and its node hold.</param>
    /// <param name="executor">The executor.</param>
    /// <param name="runMicroseconds">How long the task ran: computing it again takes no longer.</param>
    public void Add(CachedPartition stored, HeldExecutor executor, long runMicroseconds)
    {
        if (stored.Partition < 0 || !Has(stored))
        {
            return;
        }
        ref var holders = ref At(stored.Collection, stored.Partition);
        // The longest: a later one may only have fetched it.
        holders.RunMicroseconds = Math.Max(holders.RunMicroseconds, runMicroseconds);
        _collections[stored.Collection].Replicated |= stored.Replicate;
        if (stored.MemoryBytes > 0)
        {
            AddMemory(ref holders, executor, stored.MemoryBytes);
        }
        if (stored.DiskBytes > 0)
        {
            AddFile(ref holders, executor.Node, stored.DiskBytes);
        }
    }

    /// <summary>What an executor and its node hold of it now, nothing included. The executor is null when it is not ours any more; its node still has the file.</summary>
    public void Set(CachedPartition held, HeldExecutor? executor, Node node)
    {
        // Late words on a collection nobody knows (any more) are no reason to remember it.
        if (held.Partition < 0 || !_collections.ContainsKey(held.Collection))
        {
            return;
        }
        ref var holders = ref At(held.Collection, held.Partition);
        if (executor is not null)
        {
            if (held.MemoryBytes > 0)
            {
                AddMemory(ref holders, executor, held.MemoryBytes);
            }
            else
            {
                RemoveMemory(ref holders, executor);
            }
        }
        if (held.DiskBytes > 0)
        {
            AddFile(ref holders, node, held.DiskBytes);
        }
        else
        {
            RemoveFile(ref holders, node);
        }
    }

    /// <summary>A node turned out not to have the file.</summary>
    public void RemoveFile(int collection, int partition, Node node)
    {
        if (_collections.TryGetValue(collection, out var found) && (uint)partition < (uint)found.Partitions.Length)
        {
            RemoveFile(ref found.Partitions[partition], node);
        }
    }

    /// <summary>An executor is gone; the files stay with its node.</summary>
    public void RemoveExecutor(HeldExecutor executor)
    {
        if (executor.CachedPartitions == 0)
        {
            return;
        }
        foreach (var collection in _collections.Values)
        {
            foreach (ref var holders in collection.Partitions.AsSpan())
            {
                RemoveMemory(ref holders, executor);
            }
        }
    }

    /// <summary>A node is gone. Gives what it had a file of.</summary>
    public List<(int Collection, int Partition)> RemoveNode(Node node)
    {
        var had = FilesOf(node);
        foreach (var (collection, partition) in had)
        {
            RemoveFile(ref _collections[collection].Partitions[partition], node);
        }
        return had;
    }

    /// <summary>What a node has a file of.</summary>
    public List<(int Collection, int Partition)> FilesOf(Node node)
    {
        var files = new List<(int, int)>();
        if (node.CachedFiles > 0)
        {
            foreach (var collection in _collections.Values)
            {
                for (var i = 0; i < collection.Partitions.Length; i++)
                {
                    if (collection.Partitions[i].IsOn(node))
                    {
                        files.Add((collection.Number, i));
                    }
                }
            }
        }
        return files;
    }

    /// <summary>Nobody persists it any more.</summary>
    public void RemoveCollection(int collection)
    {
        if (_collections.Remove(collection, out var found))
        {
            foreach (ref var holders in found.Partitions.AsSpan())
            {
                while (holders.First is { } executor)
                {
                    RemoveMemory(ref holders, executor);
                }
                while (holders.FirstFile is { } node)
                {
                    RemoveFile(ref holders, node);
                }
            }
        }
    }

    private static bool Has(CachedPartition held) => held.MemoryBytes > 0 || held.DiskBytes > 0;

    private ref Holders At(int collection, int partition)
    {
        if (!_collections.TryGetValue(collection, out var found))
        {
            _collections.Add(collection, found = new Collection(collection));
        }
        if (found.Partitions.Length <= partition)
        {
            var larger = found.Partitions;
            Array.Resize(ref larger, Math.Max(partition + 1, Math.Max(4, larger.Length * 2)));
            found.Partitions = larger;
        }
        return ref found.Partitions[partition];
    }

    private static void AddMemory(ref Holders holders, HeldExecutor executor, long bytes)
    {
        holders.MemoryBytes = bytes;
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

    private static void RemoveMemory(ref Holders holders, HeldExecutor executor)
    {
        if (holders.First == executor)
        {
            holders.First = holders.Second;
        }
        else if (holders.Second != executor)
        {
            return;
        }
        holders.Second = null;
        executor.CachedPartitions--;
    }

    private static void AddFile(ref Holders holders, Node node, long bytes)
    {
        holders.DiskBytes = bytes;
        if (holders.IsOn(node))
        {
            return;
        }
        if (holders.SecondFile is { } forgotten)
        {
            forgotten.CachedFiles--;
        }
        holders.SecondFile = holders.FirstFile;
        holders.FirstFile = node;
        node.CachedFiles++;
    }

    private static void RemoveFile(ref Holders holders, Node node)
    {
        if (holders.FirstFile == node)
        {
            holders.FirstFile = holders.SecondFile;
        }
        else if (holders.SecondFile != node)
        {
            return;
        }
        holders.SecondFile = null;
        node.CachedFiles--;
    }

    /// <summary>One persisted collection.</summary>
    internal sealed class Collection(int number)
    {
        public int Number { get; } = number;

        /// <summary>Two nodes shall have each partition.</summary>
        public bool Replicated { get; set; }

        public Holders[] Partitions { get; set; } = [];

        /// <summary>For people.</summary>
        public CollectionStatus Status
        {
            get
            {
                int inMemory = 0, onDisk = 0, twice = 0;
                long memory = 0, disk = 0;
                foreach (ref readonly var holders in Partitions.AsSpan())
                {
                    if (holders.First is not null)
                    {
                        inMemory++;
                        memory += holders.MemoryBytes;
                    }
                    if (holders.FirstFile is not null)
                    {
                        onDisk++;
                        twice += holders.SecondFile is null ? 0 : 1;
                        disk += holders.DiskBytes;
                    }
                }
                return new CollectionStatus(Number, inMemory, onDisk, twice, memory, disk);
            }
        }
    }

    /// <summary>Where one partition is.</summary>
    internal struct Holders
    {
        /// <summary>The executors that have it in memory, the latest first.</summary>
        public HeldExecutor? First;
        public HeldExecutor? Second;

        /// <summary>The nodes that have it as a file, the latest first.</summary>
        public Node? FirstFile;
        public Node? SecondFile;

        public long MemoryBytes;
        public long DiskBytes;
        public long RunMicroseconds;

        public readonly bool IsOn(Node node) => FirstFile == node || SecondFile == node;
    }
}
