namespace Yarnish.Blocks;

/// <summary>
/// Indexes read lately, bounded by bytes: R reducers on one node would otherwise read each index R times. An index never changes once it is there,
/// and a stale one does no harm: opening its data file then fails.
/// </summary>
internal sealed class ShuffleIndexCache(long capacityBytes = 32 * 1024 * 1024)
{
    private readonly Lock gate = new();
    private readonly Dictionary<string, LinkedListNode<(string Path, ShuffleIndex Index)>> byPath = new(StringComparer.Ordinal);
    private readonly LinkedList<(string Path, ShuffleIndex Index)> recent = new();
    private long bytes;

    /// <summary>The index at a path, read when it is not held. Throws like <see cref="ShuffleIndex.Read"/>.</summary>
    public ShuffleIndex Get(string path, MapOutputId expected)
    {
        lock (gate)
        {
            if (byPath.TryGetValue(path, out var node))
            {
                recent.Remove(node);
                recent.AddFirst(node);
                return node.Value.Index;
            }
        }
        var index = ShuffleIndex.Read(path, expected);
        lock (gate)
        {
            if (!byPath.ContainsKey(path))
            {
                byPath[path] = recent.AddFirst((path, index));
                bytes += index.MemoryBytes;
                while (bytes > capacityBytes && recent.Last is { } last && last.Value.Path != path)
                {
                    Remove(last);
                }
            }
        }
        return index;
    }

    /// <summary>Forgets an index, so that the next reader looks at the file.</summary>
    public void Forget(string path)
    {
        lock (gate)
        {
            if (byPath.TryGetValue(path, out var node))
            {
                Remove(node);
            }
        }
    }

    private void Remove(LinkedListNode<(string Path, ShuffleIndex Index)> node)
    {
        recent.Remove(node);
        byPath.Remove(node.Value.Path);
        bytes -= node.Value.Index.MemoryBytes;
    }
}
