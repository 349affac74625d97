using System.Runtime.InteropServices;
using Yarnish.Executor;
using Yarnish.Serialization;

namespace Yarnish.Operators;

/// <summary>How a map task turns its rows into the parts of its reducers.</summary>
internal abstract class ShuffleWrite
{
    /// <summary>Computes the partition and writes it.</summary>
    public abstract void Run(StageGraph graph, TaskRuntime task, IShuffleWriter writer);
}

/// <summary>Pairs, each to the reducer of its key.</summary>
internal sealed class PairWrite<TKey, TValue>(KeyPartitioner<TKey> partitioner) : ShuffleWrite
{
    private readonly KeyPartitioner<TKey> partitioner = partitioner;

    public override void Run(StageGraph graph, TaskRuntime task, IShuffleWriter writer)
    {
        var rows = writer.RowsOf(RowFormats.For<KeyValuePair<TKey, TValue>>());
        foreach (var pair in graph.Open<KeyValuePair<TKey, TValue>>(task))
        {
            NullKey.Refuse(pair.Key);
            rows.Write(partitioner.PartitionOf(pair.Key), pair);
        }
    }
}

/// <summary>
/// Combines the values of equal keys before writing, as Spark's map-side combine. The table is bounded: when it holds <see cref="CombinedRows.MaximumKeys"/> keys it is written out
/// and begun anew, which costs rows but never memory; the reducer merges anyway.
/// </summary>
internal sealed class CombineWrite<TKey, TValue, TCombined>(
    KeyPartitioner<TKey> partitioner, Func<TValue, TCombined> create, Func<TCombined, TValue, TCombined> merge) : ShuffleWrite
    where TKey : notnull
{
    private readonly KeyPartitioner<TKey> partitioner = partitioner;
    private readonly Func<TValue, TCombined> create = create;
    private readonly Func<TCombined, TValue, TCombined> merge = merge;

    public override void Run(StageGraph graph, TaskRuntime task, IShuffleWriter writer)
    {
        var rows = writer.RowsOf(RowFormats.For<KeyValuePair<TKey, TCombined>>());
        var combined = new Dictionary<TKey, TCombined>(StableEquality<TKey>.Default);
        foreach (var pair in graph.Open<KeyValuePair<TKey, TValue>>(task))
        {
            NullKey.Refuse(pair.Key);
            ref var slot = ref CollectionsMarshal.GetValueRefOrAddDefault(combined, pair.Key, out var exists);
            slot = exists ? merge(slot!, pair.Value) : create(pair.Value);
            if (combined.Count >= CombinedRows.MaximumKeys)
            {
                CombinedRows.Flush(combined, partitioner, rows);
            }
        }
        CombinedRows.Flush(combined, partitioner, rows);
    }
}

/// <summary>Counts rows by a key: <see cref="CombineWrite{TKey,TValue,TCombined}"/> without a pair per row, for it is the commonest of all.</summary>
internal sealed class CountWrite<T, TKey>(KeyPartitioner<TKey> partitioner, Func<T, TKey> key) : ShuffleWrite
    where TKey : notnull
{
    private readonly KeyPartitioner<TKey> partitioner = partitioner;
    private readonly Func<T, TKey> key = key;

    public override void Run(StageGraph graph, TaskRuntime task, IShuffleWriter writer)
    {
        var rows = writer.RowsOf(RowFormats.For<KeyValuePair<TKey, long>>());
        var counts = new Dictionary<TKey, long>(StableEquality<TKey>.Default);
        foreach (var row in graph.Open<T>(task))
        {
            var counted = key(row);
            NullKey.Refuse(counted);
            CollectionsMarshal.GetValueRefOrAddDefault(counts, counted, out _)++;
            if (counts.Count >= CombinedRows.MaximumKeys)
            {
                CombinedRows.Flush(counts, partitioner, rows);
            }
        }
        CombinedRows.Flush(counts, partitioner, rows);
    }
}

/// <summary>The table of what map tasks combine, on its way out.</summary>
internal static class CombinedRows
{
    /// <summary>Keys held at most before they are written out: at some 100 bytes each, about 100 MB.</summary>
    public const int MaximumKeys = 1_000_000;

    /// <summary>Writes every pair to the reducer of its key and empties the table.</summary>
    public static void Flush<TKey, TCombined>(Dictionary<TKey, TCombined> combined, KeyPartitioner<TKey> partitioner, ShuffleRowWriter<KeyValuePair<TKey, TCombined>> rows)
        where TKey : notnull
    {
        foreach (var pair in combined)
        {
            rows.Write(partitioner.PartitionOf(pair.Key), pair);
        }
        combined.Clear();
    }
}

/// <summary>Rows dealt out one by one, beginning at a reducer that differs from task to task, so that small partitions do not all fill the first reducers.</summary>
internal sealed class RoundRobinWrite<T>(int reducers) : ShuffleWrite
{
    private readonly int reducers = reducers;

    public override void Run(StageGraph graph, TaskRuntime task, IShuffleWriter writer)
    {
        var rows = writer.RowsOf(RowFormats.For<T>());
        // A fixed odd multiplier spreads consecutive partitions over all reducers; no randomness, so a task that runs again deals the same way.
        var next = (int)((uint)task.Context.Partition * 2654435761u % (uint)reducers);
        foreach (var row in graph.Open<T>(task))
        {
            rows.Write(next, row);
            next = next + 1 == reducers ? 0 : next + 1;
        }
    }
}

/// <summary>Rows dealt out by ranges of an order: reducer i gets what lies between bound i-1 (exclusive) and bound i (inclusive).</summary>
internal sealed class RangeWrite<T>(T[] bounds, IComparer<T> order) : ShuffleWrite
{
    private readonly T[] bounds = bounds;
    private readonly IComparer<T> order = order;

    public override void Run(StageGraph graph, TaskRuntime task, IShuffleWriter writer)
    {
        var rows = writer.RowsOf(RowFormats.For<T>());
        foreach (var row in graph.Open<T>(task))
        {
            rows.Write(FirstBoundNotBelow(row), row);
        }
    }

    private int FirstBoundNotBelow(T row)
    {
        int low = 0, high = bounds.Length;
        while (low < high)
        {
            var middle = (low + high) >>> 1;
            if (order.Compare(bounds[middle], row) < 0)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }
        return low;
    }
}

/// <summary>Stands in for a write that is not settled yet; running it would be a defect of the planner.</summary>
internal sealed class UnsettledWrite : ShuffleWrite
{
    public override void Run(StageGraph graph, TaskRuntime task, IShuffleWriter writer) => throw new InvalidOperationException("A shuffle was planned before its ranges were sampled.");
}
