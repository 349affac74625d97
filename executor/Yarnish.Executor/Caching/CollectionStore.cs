using System.Buffers;
using Microsoft.Extensions.Logging;
using Yarnish.Blocks;
using Yarnish.Protocol;
using Yarnish.Serialization;

namespace Yarnish.Executor;

/// <summary>
/// Persisted partitions of one executor: in memory as objects or as compressed frames, and on disk. Memory is bounded; the partition used longest ago makes room, but never
/// one of the same collection (a collection larger than the memory would otherwise push itself out and hit nothing). Thread-safe.
/// </summary>
internal sealed class CollectionStore(BlockDirectory directory, ExecutorId executor, long memoryBytes, ILogger logger) : IDisposable
{
    private readonly Lock gate = new();
    private readonly Dictionary<(int Collection, int Partition), LinkedListNode<Held>> inMemory = [];
    private readonly LinkedList<Held> recent = new();
    private readonly Dictionary<(int Collection, int Partition), long> onDisk = [];
    private long used;

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

    /// <summary>Path of a partition on disk; null when it is not there.</summary>
    public string? FindOnDisk(int collection, int partition)
    {
        lock (gate)
        {
            return onDisk.ContainsKey((collection, partition)) ? directory.CachePath(executor, collection, partition) : null;
        }
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
            victim.ToDisk?.Invoke();
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

    /// <summary>Holds a partition whose memory was reserved. One that is there already stays, and the memory is given back.</summary>
    public bool Keep(int collection, int partition, object content, long bytes, Action? toDisk)
    {
        lock (gate)
        {
            if (inMemory.ContainsKey((collection, partition)))
            {
                used -= bytes;
                return false;
            }
            inMemory[(collection, partition)] = recent.AddFirst(new Held(collection, partition, content, bytes, toDisk));
            return true;
        }
    }

    /// <summary>Opens the file of a partition for writing.</summary>
    public FrameFile CreateFile(int collection, int partition)
    {
        var path = directory.CachePath(executor, collection, partition);
        directory.EnsureDirectory(Path.GetDirectoryName(path)!);
        return new FrameFile(path);
    }

    /// <summary>A file is complete.</summary>
    public void KeepOnDisk(int collection, int partition, FrameFile file)
    {
        var length = file.Length;
        file.Commit();
        lock (gate)
        {
            onDisk[(collection, partition)] = length;
        }
    }

    /// <summary>Forgets a file that turned out to be missing or damaged.</summary>
    public void DropFile(int collection, int partition, Exception cause)
    {
        logger.LogWarning("Persisted partition {Partition} of collection {Collection} on disk is unusable and will be computed again: {Problem}", partition, collection, cause.Message);
        lock (gate)
        {
            onDisk.Remove((collection, partition));
        }
        Delete(directory.CachePath(executor, collection, partition));
    }

    /// <summary>Forgets a collection.</summary>
    public void Drop(int collection)
    {
        List<string> files = [];
        lock (gate)
        {
            foreach (var key in inMemory.Keys.Where(key => key.Collection == collection).ToArray())
            {
                Remove(key.Collection, key.Partition);
            }
            foreach (var key in onDisk.Keys.Where(key => key.Collection == collection).ToArray())
            {
                onDisk.Remove(key);
                files.Add(directory.CachePath(executor, key.Collection, key.Partition));
            }
        }
        files.ForEach(Delete);
    }

    /// <summary>Removes the files: nobody else reads them.</summary>
    public void Dispose()
    {
        try
        {
            Directory.Delete(Path.GetDirectoryName(directory.CachePath(executor, 0, 0))!, recursive: true);
        }
        catch (IOException)
        {
            // Never written, or already removed with the application's directory.
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

    private static void Delete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (IOException)
        {
        }
    }

    private sealed record Held(int Collection, int Partition, object Content, long Bytes, Action? ToDisk);
}

/// <summary>The view one attempt has of the store: notes what it stored, for its report.</summary>
internal sealed class AttemptCache(CollectionStore store) : ICollectionCache
{
    private const int FrameTarget = 256 * 1024;

    private List<CachedPartition>? stored;

    /// <summary>What this attempt stored; null when nothing.</summary>
    public IReadOnlyList<CachedPartition>? Stored => stored;

    /// <inheritdoc/>
    public IEnumerable<T> GetOrCompute<T>(int collection, int partition, StorageLevel level, IRowFormat<T> rows, Func<IEnumerable<T>> compute)
    {
        switch (store.FindInMemory(collection, partition))
        {
            case List<T> objects:
                return Enumerate(objects);
            case List<byte[]> frames:
                return ReadFrames(frames, rows);
            default:
                break;
        }
        if (store.FindOnDisk(collection, partition) is { } path && ReadFile(path, collection, partition, rows) is { } fromDisk)
        {
            return fromDisk;
        }
        return (level & (StorageLevel.Memory | StorageLevel.Serialized)) switch
        {
            StorageLevel.Memory => StoreObjects(collection, partition, level, rows, compute()),
            StorageLevel.None when (level & StorageLevel.Disk) == 0 => compute(),
            StorageLevel.None => StoreOnDisk(collection, partition, rows, [], compute().GetEnumerator()),
            _ => StoreFrames(collection, partition, level, rows, compute()),
        };
    }

    private IEnumerable<T> StoreObjects<T>(int collection, int partition, StorageLevel level, IRowFormat<T> rows, IEnumerable<T> computed)
    {
        var list = new List<T>();
        var sizes = new RowSizes<T>(rows);
        var reserved = 0L;
        var source = computed.GetEnumerator();
        var handedOn = false;
        try
        {
            while (source.MoveNext())
            {
                list.Add(source.Current);
                sizes.Add(source.Current);
                if (sizes.Total > reserved)
                {
                    // In steps, so that the lock is rarely taken.
                    var step = Math.Max(256 * 1024, sizes.Total - reserved);
                    if (!store.TryReserve(collection, step))
                    {
                        store.Release(reserved);
                        reserved = 0;
                        handedOn = true;
                        return (level & StorageLevel.Disk) != 0
                            ? StoreOnDisk(collection, partition, rows, list, source)
                            : Concatenate(list, source);
                    }
                    reserved += step;
                }
            }
            store.Release(reserved - sizes.Total);
            reserved = sizes.Total;
            Action? toDisk = (level & StorageLevel.Disk) == 0 ? null : () => WriteFile(collection, partition, rows, list);
            if (store.Keep(collection, partition, list, reserved, toDisk))
            {
                (stored ??= []).Add(new CachedPartition(collection, partition, reserved, 0));
            }
            reserved = 0;
            return Enumerate(list);
        }
        finally
        {
            if (reserved > 0)
            {
                store.Release(reserved);
            }
            if (!handedOn)
            {
                source.Dispose();
            }
        }
    }

    private IEnumerable<T> StoreFrames<T>(int collection, int partition, StorageLevel level, IRowFormat<T> rows, IEnumerable<T> computed)
    {
        var frames = new List<byte[]>();
        var buffer = new ArrayBufferWriter<byte>();
        var reserved = 0L;
        var source = computed.GetEnumerator();
        var handedOn = false;
        try
        {
            var more = true;
            while (more)
            {
                more = source.MoveNext();
                if (more)
                {
                    rows.Write(buffer, source.Current);
                }
                if (buffer.WrittenCount < FrameTarget && (more || buffer.WrittenCount == 0))
                {
                    continue;
                }
                var frame = Encode(buffer.WrittenSpan);
                buffer.ResetWrittenCount();
                frames.Add(frame);
                if (store.TryReserve(collection, frame.Length))
                {
                    reserved += frame.Length;
                    continue;
                }
                store.Release(reserved);
                reserved = 0;
                handedOn = true;
                return (level & StorageLevel.Disk) != 0
                    ? StoreOnDisk(collection, partition, rows, [], source, frames)
                    : Concatenate(ReadFrames(frames, rows), source);
            }
            Action? toDisk = (level & StorageLevel.Disk) == 0 ? null : () => WriteFile(collection, partition, frames);
            if (store.Keep(collection, partition, frames, reserved, toDisk))
            {
                (stored ??= []).Add(new CachedPartition(collection, partition, reserved, 0));
            }
            reserved = 0;
            return ReadFrames(frames, rows);
        }
        finally
        {
            if (reserved > 0)
            {
                store.Release(reserved);
            }
            if (!handedOn)
            {
                source.Dispose();
            }
        }
    }

    // Takes over the source: writes what was read already, then the rest; reads back from the file.
    private IEnumerable<T> StoreOnDisk<T>(int collection, int partition, IRowFormat<T> rows, List<T> before, IEnumerator<T> source, List<byte[]>? frames = null)
    {
        using (source)
        using (var file = store.CreateFile(collection, partition))
        {
            foreach (var frame in frames ?? [])
            {
                file.AppendEncoded(frame);
            }
            WriteRows(file, rows, Concatenate(before, source));
            var length = file.Length;
            store.KeepOnDisk(collection, partition, file);
            (stored ??= []).Add(new CachedPartition(collection, partition, 0, length));
        }
        return ReadFile(store.FindOnDisk(collection, partition)!, collection, partition, rows)
            ?? throw new IOException($"Persisted partition {partition} of collection {collection} cannot be read back from disk.");
    }

    private void WriteFile<T>(int collection, int partition, IRowFormat<T> rows, List<T> list)
    {
        using var file = store.CreateFile(collection, partition);
        WriteRows(file, rows, list);
        store.KeepOnDisk(collection, partition, file);
    }

    private void WriteFile(int collection, int partition, List<byte[]> frames)
    {
        using var file = store.CreateFile(collection, partition);
        foreach (var frame in frames)
        {
            file.AppendEncoded(frame);
        }
        store.KeepOnDisk(collection, partition, file);
    }

    private static void WriteRows<T>(FrameFile file, IRowFormat<T> rows, IEnumerable<T> source)
    {
        var buffer = new ArrayBufferWriter<byte>();
        foreach (var row in source)
        {
            rows.Write(buffer, row);
            if (buffer.WrittenCount >= FrameTarget)
            {
                file.AppendFrame(buffer.WrittenSpan);
                buffer.ResetWrittenCount();
            }
        }
        if (buffer.WrittenCount > 0)
        {
            file.AppendFrame(buffer.WrittenSpan);
        }
    }

    // Verified before the first row is handed out: a damaged file is computed again, not half used.
    private IEnumerable<T>? ReadFile<T>(string path, int collection, int partition, IRowFormat<T> rows)
    {
        try
        {
            using var file = File.OpenHandle(path);
            using var reader = new FrameReader(file, $"persisted partition {partition} of collection {collection}");
            reader.Start(0, RandomAccess.GetLength(file));
            while (reader.TryRead(out _))
            {
            }
        }
        catch (IOException error)
        {
            store.DropFile(collection, partition, error);
            return null;
        }
        return Stream(path, collection, partition, rows);
    }

    private static IEnumerable<T> Stream<T>(string path, int collection, int partition, IRowFormat<T> rows)
    {
        using var file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
        using var reader = new FrameReader(file, $"persisted partition {partition} of collection {collection}");
        reader.Start(0, RandomAccess.GetLength(file));
        while (reader.TryRead(out var content))
        {
            foreach (var row in rows.Read(content))
            {
                yield return row;
            }
        }
    }

    private static IEnumerable<T> ReadFrames<T>(List<byte[]> frames, IRowFormat<T> rows)
    {
        foreach (var frame in frames)
        {
            BlockFrame.TryReadHeader(frame, frame.Length, out _, out var rawLength);
            var raw = new byte[rawLength];
            if (!BlockFrame.TryDecode(frame, raw, out _))
            {
                throw new InvalidDataException("A persisted partition in memory does not decompress.");
            }
            foreach (var row in rows.Read(raw))
            {
                yield return row;
            }
        }
    }

    // Hides the list: a caller that casts and changes it would change what others read.
    private static IEnumerable<T> Enumerate<T>(List<T> list)
    {
        foreach (var row in list)
        {
            yield return row;
        }
    }

    private static IEnumerable<T> Concatenate<T>(IEnumerable<T> before, IEnumerator<T> rest)
    {
        using (rest)
        {
            foreach (var row in before)
            {
                yield return row;
            }
            while (rest.MoveNext())
            {
                yield return rest.Current;
            }
        }
    }

    private static byte[] Encode(ReadOnlySpan<byte> raw)
    {
        var scratch = ArrayPool<byte>.Shared.Rent(BlockFrame.MaximumLength(raw.Length));
        var length = BlockFrame.Encode(raw, scratch);
        var frame = scratch.AsSpan(0, length).ToArray();
        ArrayPool<byte>.Shared.Return(scratch);
        return frame;
    }
}
