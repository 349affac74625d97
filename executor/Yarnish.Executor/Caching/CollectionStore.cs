using Microsoft.Extensions.Logging;
using Yarnish.Protocol;

namespace Yarnish.Executor;

/// <summary>
/// Persisted partitions in the memory of one executor: as objects or as compressed frames. Memory is bounded; the partition used longest ago makes room, but never
/// one of the same collection (a collection larger than the memory would otherwise push itself out and hit nothing). Notes what changed, for the driver. Thread-safe.
/// </summary>
internal sealed class CollectionStore(PartitionFiles files, long memoryBytes, ILogger logger)
{
    private readonly Lock gate = new();
    private readonly Dictionary<(int Collection, int Partition), LinkedListNode<Held>> inMemory = [];
    private readonly LinkedList<Held> recent = new();
    private readonly HashSet<(int Collection, int Partition)> known = [];
    private readonly HashSet<(int Collection, int Partition)> changed = [];
    private long used;

    /// <summary>The partitions that are files of this node.</summary>
    public PartitionFiles Files => files;

    /// <summary>Memory that partitions take, or are about to.</summary>
    public long UsedBytes
    {
        get
        {
            lock (gate)
            {
                return used;
            }
        }
    }

    /// <summary>What is held in memory of a partition; null when nothing.</summary>
    public object? FindInMemory(int collection, int partition)
    {
        lock (gate)
        {
            if (!inMemory.TryGetValue((collection, partition), out var node))
            {
                return null;
            }
            recent.Remove(node);
            recent.AddFirst(node);
            return node.Value.Content;
        }
    }

    /// <summary>Whether a partition is here, in memory or as a file of this node.</summary>
    public bool Holds(int collection, int partition)
    {
        lock (gate)
        {
            if (inMemory.ContainsKey((collection, partition)))
            {
                return true;
            }
        }
        return files.Length(collection, partition) is not null;
    }

    /// <summary>
    /// Asks for memory for a partition of a collection; makes room by pushing out others (to disk when their level says so). False when there is not enough.
    /// </summary>
    public bool TryReserve(int collection, long bytes)
    {
        List<Held>? victims = null;
        lock (gate)
        {
            if (bytes > memoryBytes)
            {
                return false;
            }
            var evictable = 0L;
            if (used + bytes > memoryBytes)
            {
                for (var node = recent.Last; node is not null && used - evictable + bytes > memoryBytes; node = node.Previous)
                {
                    if (node.Value.Collection != collection)
                    {
                        evictable += node.Value.Bytes;
                        (victims ??= []).Add(node.Value);
                    }
                }
                if (used - evictable + bytes > memoryBytes)
                {
                    return false;
                }
            }
            foreach (var victim in victims ?? [])
            {
                Remove(victim.Collection, victim.Partition);
            }
            used += bytes;
        }
        foreach (var victim in victims ?? [])
        {
            if (victim.ToDisk)
            {
                Write(victim);
            }
            Note(victim.Collection, victim.Partition);
        }
        return true;
    }

    /// <summary>Gives reserved memory back.</summary>
    public void Release(long bytes)
    {
        lock (gate)
        {
            used -= bytes;
        }
    }

    /// <summary>
    /// Holds a partition whose memory was reserved. False when it is there already or its collection was dropped: the memory is then given back.
    /// </summary>
    /// <param name="collection">The collection.</param>
    /// <param name="partition">The partition.</param>
    /// <param name="content">Rows or frames.</param>
    /// <param name="bytes">What was reserved.</param>
    /// <param name="toDisk">Whether it goes to disk when it is pushed out.</param>
    /// <param name="write">Writes it as a file of this node.</param>
    public bool Keep(int collection, int partition, object content, long bytes, bool toDisk, Action write)
    {
        lock (gate)
        {
            // Looked at inside: a drop that comes later finds it.
            if (inMemory.ContainsKey((collection, partition)) || files.IsDropped(collection))
            {
                used -= bytes;
                return false;
            }
            inMemory[(collection, partition)] = recent.AddFirst(new Held(collection, partition, content, bytes, toDisk, write));
            known.Add((collection, partition));
            return true;
        }
    }

    /// <summary>True the first time this executor meets a partition: its driver may not know that it is here.</summary>
    public bool Meet(int collection, int partition)
    {
        lock (gate)
        {
            return known.Add((collection, partition));
        }
    }

    /// <summary>What is held of a partition has changed: the driver shall hear of it.</summary>
    public void Note(int collection, int partition)
    {
        lock (gate)
        {
            changed.Add((collection, partition));
        }
    }

    /// <summary>Everything is told again: what was told on an earlier connection may be lost.</summary>
    public void NoteAll()
    {
        lock (gate)
        {
            changed.UnionWith(known);
        }
    }

    /// <summary>What is held now of partitions that changed, at most so many; empty when nothing changed.</summary>
    public List<CachedPartition> TakeChanges(int most)
    {
        List<CachedPartition> taken = [];
        lock (gate)
        {
            foreach (var key in changed.Take(most))
            {
                taken.Add(new CachedPartition(key.Collection, key.Partition, inMemory.TryGetValue(key, out var node) ? node.Value.Bytes : 0, 0));
            }
            foreach (var partition in taken)
            {
                changed.Remove((partition.Collection, partition.Partition));
            }
        }
        for (var i = 0; i < taken.Count; i++)
        {
            taken[i] = taken[i] with { DiskBytes = files.Length(taken[i].Collection, taken[i].Partition) ?? 0 };
        }
        return taken;
    }

    /// <summary>Writes what is in memory only as files of this node, the last used first, until there is nothing left or it is enough. This executor is about to leave.</summary>
    public void WriteAll(CancellationToken enough)
    {
        List<Held> held;
        lock (gate)
        {
            held = [.. recent];
        }
        foreach (var partition in held)
        {
            if (enough.IsCancellationRequested)
            {
                return;
            }
            Write(partition);
            Note(partition.Collection, partition.Partition);
        }
    }

    /// <summary>Forgets a collection; its files are deleted by <see cref="PartitionFiles.DeleteAll"/>, which takes its time.</summary>
    public void Drop(int collection)
    {
        files.Drop(collection);
        lock (gate)
        {
            foreach (var key in inMemory.Keys.Where(key => key.Collection == collection).ToArray())
            {
                Remove(key.Collection, key.Partition);
            }
            known.RemoveWhere(key => key.Collection == collection);
            changed.RemoveWhere(key => key.Collection == collection);
        }
    }

    private void Remove(int collection, int partition)
    {
        if (inMemory.Remove((collection, partition), out var node))
        {
            recent.Remove(node);
            used -= node.Value.Bytes;
        }
    }

    private void Write(Held partition)
    {
        if (files.Length(partition.Collection, partition.Partition) is not null)
        {
            return;
        }
        try
        {
            partition.Write();
        }
        catch (PartitionNotWrittenException error)
        {
            logger.LogWarning(
                "Persisted partition {Partition} of collection {Collection} cannot be written to disk and will be computed again: {Problem}", partition.Partition, partition.Collection, error.Message);
        }
    }

    private sealed record Held(int Collection, int Partition, object Content, long Bytes, bool ToDisk, Action Write);
}
