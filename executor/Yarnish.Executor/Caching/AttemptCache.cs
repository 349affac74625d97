using System.Buffers;
using Microsoft.Extensions.Logging;
using Yarnish.Blocks;
using Yarnish.Protocol;
using Yarnish.Serialization;

namespace Yarnish.Executor;

/// <summary>The view one attempt has of the persisted partitions: notes what it stored, for its report.</summary>
/// <param name="store">What this executor and its node hold.</param>
/// <param name="fetch">Copies a partition from another node to this one; false when it cannot be had. Null when nothing is elsewhere.</param>
/// <param name="logger">The log.</param>
internal sealed class AttemptCache(CollectionStore store, Func<int, int, bool>? fetch, ILogger logger) : ICollectionCache
{
    private const int FrameTarget = 256 * 1024;

    private List<CachedPartition>? stored;

    /// <summary>What this attempt stored; null when nothing.</summary>
    public IReadOnlyList<CachedPartition>? Stored => stored;

    /// <inheritdoc/>
    public bool Holds(int collection, int partition) => store.Holds(collection, partition);

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
        var place = new Place<T>(collection, partition, level, rows, compute);
        if (store.Files.Read(collection, partition, rows) is { } here)
        {
            return FromFile(place, here);
        }
        if (fetch?.Invoke(collection, partition) == true && store.Files.Read(collection, partition, rows) is { } fetched)
        {
            return FromFile(place, fetched);
        }
        return place switch
        {
            { InMemory: true, Serialized: true } => StoreFrames(place, compute(), onDisk: false),
            { InMemory: true } => StoreObjects(place, compute(), onDisk: false),
            { OnDisk: true } => StoreOnDisk(place, [], compute().GetEnumerator()),
            _ => compute(),
        };
    }

    // A partition that is a file of this node already: into memory as well, when that is its level and it fits.
    private IEnumerable<T> FromFile<T>(Place<T> place, IEnumerable<T> read)
    {
        if (place.InMemory)
        {
            return place.Serialized ? StoreFrames(place, read, onDisk: true) : StoreObjects(place, read, onDisk: true);
        }
        if (store.Meet(place.Collection, place.Partition))
        {
            Note(place, 0);
        }
        return read;
    }

    private IEnumerable<T> StoreObjects<T>(Place<T> place, IEnumerable<T> computed, bool onDisk)
    {
        var list = new List<T>();
        var sizes = new RowSizes<T>(place.Rows);
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
                    if (!store.TryReserve(place.Collection, step))
                    {
                        store.Release(reserved);
                        reserved = 0;
                        handedOn = true;
                        return place.OnDisk && !onDisk ? StoreOnDisk(place, list, source) : Concatenate(list, source);
                    }
                    reserved += step;
                }
            }
            store.Release(reserved - sizes.Total);
            reserved = sizes.Total;
            Keep(place, list, reserved, onDisk, () => store.Files.Write(place.Collection, place.Partition, place.Rows, list));
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

    private IEnumerable<T> StoreFrames<T>(Place<T> place, IEnumerable<T> computed, bool onDisk)
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
                    place.Rows.Write(buffer, source.Current);
                }
                if (buffer.WrittenCount < FrameTarget && (more || buffer.WrittenCount == 0))
                {
                    continue;
                }
                var frame = Encode(buffer.WrittenSpan);
                buffer.ResetWrittenCount();
                frames.Add(frame);
                if (store.TryReserve(place.Collection, frame.Length))
                {
                    reserved += frame.Length;
                    continue;
                }
                store.Release(reserved);
                reserved = 0;
                handedOn = true;
                return place.OnDisk && !onDisk ? StoreOnDisk(place, [], source, frames) : Concatenate(ReadFrames(frames, place.Rows), source);
            }
            Keep(place, frames, reserved, onDisk, () => store.Files.Write(place.Collection, place.Partition, place.Rows, [], frames));
            reserved = 0;
            return ReadFrames(frames, place.Rows);
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

    private void Keep<T>(Place<T> place, object content, long bytes, bool onDisk, Action write)
    {
        if (!store.Keep(place.Collection, place.Partition, content, bytes, place.OnDisk, write))
        {
            return;
        }
        if (place.Replicated && !onDisk)
        {
            // The copy for another node is made of a file of this one.
            try
            {
                write();
            }
            catch (PartitionNotWrittenException error)
            {
                logger.LogWarning("Persisted partition {Partition} of collection {Collection} stays without a second copy: {Problem}", place.Partition, place.Collection, error.Message);
            }
        }
        Note(place, bytes);
    }

    private void Note<T>(Place<T> place, long memoryBytes) =>
        (stored ??= []).Add(new CachedPartition(place.Collection, place.Partition, memoryBytes, store.Files.Length(place.Collection, place.Partition) ?? 0) { Replicate = place.Replicated });

    // Takes over the source: writes what was read already, then the rest; reads back from the file. A disk that is full costs the partition its place, not the task its result.
    private IEnumerable<T> StoreOnDisk<T>(Place<T> place, List<T> before, IEnumerator<T> source, List<byte[]>? frames = null)
    {
        using (source)
        {
            try
            {
                store.Files.Write(place.Collection, place.Partition, place.Rows, Concatenate(before, source), frames);
                store.Meet(place.Collection, place.Partition);
            }
            catch (PartitionNotWrittenException error)
            {
                logger.LogWarning(
                    "Persisted partition {Partition} of collection {Collection} cannot be written to disk and is not kept: {Problem}", place.Partition, place.Collection, error.Message);
                return place.Compute();
            }
        }
        if (store.Files.Read(place.Collection, place.Partition, place.Rows) is not { } read)
        {
            // Dropped meanwhile, or damaged at once.
            return place.Compute();
        }
        Note(place, 0);
        return read;
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

    /// <summary>A partition, where it may be held, and how it comes to be.</summary>
    private sealed record Place<T>(int Collection, int Partition, StorageLevel Level, IRowFormat<T> Rows, Func<IEnumerable<T>> Compute)
    {
        public bool InMemory => (Level & StorageLevel.Memory) != 0;

        public bool Serialized => (Level & StorageLevel.Serialized) != 0;

        public bool OnDisk => (Level & StorageLevel.Disk) != 0;

        public bool Replicated => (Level & StorageLevel.Replicated) != 0;
    }
}
