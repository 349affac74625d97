using System.Buffers;
using System.Buffers.Binary;
using Yarnish.Executor;
using Yarnish.Serialization;

namespace Yarnish.Operators;

/// <summary>All rows.</summary>
internal sealed class CollectAction<T> : ResultAction<T>
{
    public override void Run(IEnumerable<T> rows, TaskRuntime task, IBufferWriter<byte> result)
    {
        var format = RowFormats.For<T>();
        foreach (var row in rows)
        {
            format.Write(result, row);
        }
    }
}

/// <summary>The first rows of the partition.</summary>
internal sealed class TakeAction<T>(int count) : ResultAction<T>
{
    private readonly int count = count;

    public override void Run(IEnumerable<T> rows, TaskRuntime task, IBufferWriter<byte> result)
    {
        var format = RowFormats.For<T>();
        foreach (var row in rows.Take(count))
        {
            format.Write(result, row);
        }
    }
}

/// <summary>The smallest rows of the partition by an order, in order; equal rows in the order of the input.</summary>
internal sealed class TakeOrderedAction<T>(int count, IComparer<T> order) : ResultAction<T>
{
    private readonly int count = count;
    private readonly IComparer<T> order = order;

    public override void Run(IEnumerable<T> rows, TaskRuntime task, IBufferWriter<byte> result)
    {
        // A heap with the worst of the best on top; the position breaks ties so that it keeps the order of the input.
        var best = new PriorityQueue<T, (T Row, long Position)>(Comparer<(T Row, long Position)>.Create((left, right) =>
            order.Compare(right.Row, left.Row) is var rows and not 0 ? rows : right.Position.CompareTo(left.Position)));
        var position = 0L;
        foreach (var row in rows)
        {
            if (best.Count < count)
            {
                best.Enqueue(row, (row, position));
            }
            else if (best.TryPeek(out _, out var worst) && order.Compare(row, worst.Row) < 0)
            {
                best.EnqueueDequeue(row, (row, position));
            }
            position++;
        }
        var sorted = new T[best.Count];
        for (var i = sorted.Length - 1; i >= 0; i--)
        {
            sorted[i] = best.Dequeue();
        }
        var format = RowFormats.For<T>();
        foreach (var row in sorted)
        {
            format.Write(result, row);
        }
    }
}

/// <summary>How many rows: 8 bytes, little-endian.</summary>
internal sealed class CountAction<T> : ResultAction<T>
{
    public override void Run(IEnumerable<T> rows, TaskRuntime task, IBufferWriter<byte> result)
    {
        var count = 0L;
        foreach (var _ in rows)
        {
            count++;
        }
        BinaryPrimitives.WriteInt64LittleEndian(result.GetSpan(sizeof(long)), count);
        result.Advance(sizeof(long));
    }
}

/// <summary>Folds the rows of the partition; no row, no result.</summary>
internal sealed class ReduceAction<T>(Func<T, T, T> function) : ResultAction<T>
{
    private readonly Func<T, T, T> function = function;

    public override void Run(IEnumerable<T> rows, TaskRuntime task, IBufferWriter<byte> result)
    {
        using var row = rows.GetEnumerator();
        if (!row.MoveNext())
        {
            return;
        }
        var folded = row.Current;
        while (row.MoveNext())
        {
            folded = function(folded, row.Current);
        }
        RowFormats.For<T>().Write(result, folded);
    }
}

/// <summary>Folds the rows of the partition into an accumulator that starts from a seed.</summary>
internal sealed class AggregateAction<T, TAccumulate>(TAccumulate seed, Func<TAccumulate, T, TAccumulate> function) : ResultAction<T>
{
    // The seed is kept as bytes: a task must never change the seed of the next one.
    private readonly byte[] seed = Rows.OneToBytes(seed);
    private readonly Func<TAccumulate, T, TAccumulate> function = function;

    public override void Run(IEnumerable<T> rows, TaskRuntime task, IBufferWriter<byte> result)
    {
        var accumulated = Rows.FromBytes<TAccumulate>(seed);
        foreach (var row in rows)
        {
            accumulated = function(accumulated, row);
        }
        RowFormats.For<TAccumulate>().Write(result, accumulated);
    }
}

/// <summary>Hands the rows to user code for its effects.</summary>
internal sealed class ForEachPartitionAction<T>(Action<IEnumerable<T>>? action, Func<IEnumerable<T>, Task>? asyncAction) : ResultAction<T>
{
    private readonly Action<IEnumerable<T>>? action = action;
    private readonly Func<IEnumerable<T>, Task>? asyncAction = asyncAction;

    public override void Run(IEnumerable<T> rows, TaskRuntime task, IBufferWriter<byte> result)
    {
        action?.Invoke(rows);
        // The slot's thread is the task's own; nothing else runs on it, so waiting blocks nobody.
        asyncAction?.Invoke(rows).GetAwaiter().GetResult();
    }
}

/// <summary>
/// An even sample of the partition and its size: the count (8 bytes, little-endian), then the rows. Reservoir sampling (Vitter's algorithm R) with a generator seeded by
/// the partition, so that a task that runs again samples the same rows.
/// </summary>
internal sealed class SampleAction<T>(int size) : ResultAction<T>
{
    private readonly int size = size;

    public override void Run(IEnumerable<T> rows, TaskRuntime task, IBufferWriter<byte> result)
    {
        var random = new Random(task.Context.Partition + 1);
        var sample = new List<T>();
        var count = 0L;
        foreach (var row in rows)
        {
            count++;
            if (sample.Count < size)
            {
                sample.Add(row);
            }
            else if (random.NextInt64(count) is var slot && slot < size)
            {
                sample[(int)slot] = row;
            }
        }
        BinaryPrimitives.WriteInt64LittleEndian(result.GetSpan(sizeof(long)), count);
        result.Advance(sizeof(long));
        var format = RowFormats.For<T>();
        foreach (var row in sample)
        {
            format.Write(result, row);
        }
    }

    public static (long Count, T[] Rows) Read(ReadOnlyMemory<byte> result) =>
        (BinaryPrimitives.ReadInt64LittleEndian(result.Span), [.. RowFormats.For<T>().Read(result[sizeof(long)..])]);
}
