using System.Runtime.CompilerServices;
using Yarnish.Blocks;
using Yarnish.Serialization;

namespace Yarnish.Executor;

/// <summary>
/// Collects the rows of a map task by reducer, as they are. When memory for them cannot be had, all go to the file writer, and those that follow too. Used by one thread until it is kept,
/// then others read its rows.
/// </summary>
internal sealed class SharedRowWriter<T>(SharedShuffles store, ShuffleRowWriter<T> files, IRowFormat<T> format, int reducers) : ShuffleRowWriter<T>, ISharedWriter
{
    private const int FirstChunk = 16;

    /// <summary>Memory is reserved in such steps, so that the lock is rarely taken.</summary>
    private const int ReservationStep = 256 * 1024;

    // Below the size from which arrays are collected with the oldest generation only.
    private static readonly int LargestChunk = Math.Clamp(64 * 1024 / Unsafe.SizeOf<T>(), FirstChunk, 4096);

    private readonly Func<T, bool>? isExact = RowSharing<T>.IsExact;
    private readonly RowSizes<T> sizes = new(format);
    private Part[] parts = new Part[reducers];
    private long reserved;
    private bool inFile;
    private bool isKept;

    /// <inheritdoc/>
    public long KeptRows { get; private set; }

    /// <inheritdoc/>
    public long KeptBytes => inFile ? 0 : sizes.Total;

    /// <inheritdoc/>
    public override void Write(int reducer, T row)
    {
        if (inFile || (isExact is not null && !isExact(row)))
        {
            // What is not exactly of its type cannot travel: the file's format says so.
            Spill();
            files.Write(reducer, row);
            return;
        }
        sizes.Add(row);
        if (sizes.Total > reserved && !TryReserve())
        {
            Spill();
            files.Write(reducer, row);
            return;
        }
        parts[reducer].Add(row);
        KeptRows++;
    }

    /// <inheritdoc/>
    public long PartBytes(int reducer) => parts[reducer].Count is > 0 and var rows ? Math.Max(1, (long)((double)sizes.Total * rows / KeptRows)) : 0;

    /// <inheritdoc/>
    public bool Keep(MapOutputId id)
    {
        if (inFile)
        {
            return false;
        }
        store.Release(reserved - sizes.Total);
        reserved = 0;
        isKept = true;
        store.Keep(id, new SharedRows<T>(Array.ConvertAll(parts, static part => part.ToChunks()), sizes.Total));
        return true;
    }

    /// <inheritdoc/>
    public void Abandon()
    {
        if (!isKept)
        {
            store.Release(reserved);
            reserved = 0;
            parts = [];
        }
    }

    private bool TryReserve()
    {
        var step = Math.Max(ReservationStep, sizes.Total - reserved);
        if (!store.TryReserve(step))
        {
            return false;
        }
        reserved += step;
        return true;
    }

    private void Spill()
    {
        if (inFile)
        {
            return;
        }
        inFile = true;
        for (var reducer = 0; reducer < parts.Length; reducer++)
        {
            foreach (var rows in parts[reducer].ToChunks())
            {
                foreach (var row in rows.Span)
                {
                    files.Write(reducer, row);
                }
            }
            parts[reducer] = default;
        }
        KeptRows = 0;
        store.Release(reserved);
        reserved = 0;
    }

    private struct Part
    {
        private T[]? current;
        private int used;
        private List<T[]>? full;

        public long Count { get; private set; }

        public void Add(T row)
        {
            if (current is not { } rows || used == rows.Length)
            {
                rows = Grow();
            }
            rows[used++] = row;
            Count++;
        }

        public readonly ReadOnlyMemory<T>[] ToChunks() => current is null ? [] : [.. (full ?? []).Select(static rows => (ReadOnlyMemory<T>)rows), current.AsMemory(0, used)];

        private T[] Grow()
        {
            if (current is not null)
            {
                (full ??= []).Add(current);
            }
            used = 0;
            return current = new T[current is null ? FirstChunk : Math.Min(LargestChunk, 2 * current.Length)];
        }
    }
}

/// <summary>What a map task left in memory.</summary>
/// <param name="Parts">Of each reducer, in the order in which they were written.</param>
/// <param name="Bytes">About how many bytes the rows have.</param>
internal sealed record SharedRows<T>(ReadOnlyMemory<T>[][] Parts, long Bytes) : ISharedRows;
