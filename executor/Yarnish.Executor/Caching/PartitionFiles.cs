using System.Buffers;
using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;
using Yarnish.Blocks;
using Yarnish.Serialization;

namespace Yarnish.Executor;

/// <summary>
/// Persisted partitions as files of this node. Each is a named block: its agent serves it to other nodes, every executor of the node reads it, and it outlives the executor
/// that wrote it. Thread-safe.
/// </summary>
internal sealed class PartitionFiles(BlockDirectory directory, ILogger logger)
{
    private const int FrameTarget = 256 * 1024;

    private readonly ConcurrentDictionary<int, bool> dropped = new();

    /// <summary>Bytes of a partition's file; null when there is none on this node.</summary>
    public long? Length(int collection, int partition) => directory.LengthOfNamed(BlockId.OfPartition(collection, partition));

    /// <summary>Whether the collection is no longer persisted: what is still being stored of it is thrown away.</summary>
    public bool IsDropped(int collection) => dropped.ContainsKey(collection);

    /// <summary>Writes rows and makes them the partition's file; its length.</summary>
    /// <exception cref="PartitionNotWrittenException">The disk is full or broken. What the rows' source throws is thrown as it is.</exception>
    public long Write<T>(int collection, int partition, IRowFormat<T> rows, IEnumerable<T> source, IReadOnlyList<byte[]>? framesBefore = null)
    {
        using var file = Disk(() => directory.CreateNamed(BlockId.OfPartition(collection, partition)));
        foreach (var frame in framesBefore ?? [])
        {
            Disk(() => file.AppendEncoded(frame));
        }
        var buffer = new ArrayBufferWriter<byte>();
        foreach (var row in source)
        {
            rows.Write(buffer, row);
            if (buffer.WrittenCount >= FrameTarget)
            {
                Disk(() => file.AppendFrame(buffer.WrittenSpan));
                buffer.ResetWrittenCount();
            }
        }
        if (buffer.WrittenCount > 0)
        {
            Disk(() => file.AppendFrame(buffer.WrittenSpan));
        }
        var length = file.Length;
        Disk(file.Commit);
        RemoveIfDropped(collection);
        return length;
    }

    /// <summary>
    /// The rows of a partition's file, verified before the first is handed out: a damaged file is not half used, but removed and computed again. Null when there is none.
    /// </summary>
    public IEnumerable<T>? Read<T>(int collection, int partition, IRowFormat<T> rows)
    {
        var what = $"persisted partition {partition} of collection {collection}";
        try
        {
            if (Length(collection, partition) is null)
            {
                return null;
            }
            // Kept open from the check to the last row: the file may be replaced or deleted meanwhile.
            var file = directory.OpenNamed(BlockId.OfPartition(collection, partition));
            try
            {
                using var reader = new FrameReader(file, what);
                reader.Start(0, RandomAccess.GetLength(file));
                while (reader.TryRead(out _))
                {
                }
            }
            catch
            {
                file.Dispose();
                throw;
            }
            return Rows(file);
        }
        catch (BlockMissingException)
        {
            return null;
        }
        catch (IOException error)
        {
            logger.LogWarning("The file of {What} is unusable and will be written again: {Problem}", what, error.Message);
            Delete(collection, partition);
            return null;
        }

        IEnumerable<T> Rows(Microsoft.Win32.SafeHandles.SafeFileHandle file)
        {
            using (file)
            using (var reader = new FrameReader(file, what))
            {
                reader.Start(0, RandomAccess.GetLength(file));
                while (reader.TryRead(out var content))
                {
                    foreach (var row in rows.Read(content))
                    {
                        yield return row;
                    }
                }
            }
        }
    }

    /// <summary>A collection that was dropped while a file of it came to be leaves none.</summary>
    public void RemoveIfDropped(int collection)
    {
        if (IsDropped(collection))
        {
            DeleteAll(collection);
        }
    }

    /// <summary>The collection is no longer persisted: nothing of it is written any more.</summary>
    public void Drop(int collection) => dropped[collection] = true;

    /// <summary>Deletes the files of a collection.</summary>
    public void DeleteAll(int collection)
    {
        try
        {
            directory.DeleteNamed(BlockId.PrefixOf(collection));
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // Another executor of this node deletes the same; what stays goes with the application's directory.
            logger.LogDebug(error, "Files of collection {Collection} are not all deleted", collection);
        }
    }

    private void Delete(int collection, int partition)
    {
        try
        {
            directory.DeleteNamed(BlockId.OfPartition(collection, partition));
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            logger.LogDebug(error, "A file of collection {Collection} is not deleted", collection);
        }
    }

    private static void Disk(Action action) => Disk(() =>
    {
        action();
        return true;
    });

    private static T Disk<T>(Func<T> action)
    {
        try
        {
            return action();
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new PartitionNotWrittenException(error);
        }
    }
}

/// <summary>The disk of this node did not take a persisted partition: it is then not held there, which fails nothing.</summary>
internal sealed class PartitionNotWrittenException(Exception inner) : Exception(inner.Message, inner);
