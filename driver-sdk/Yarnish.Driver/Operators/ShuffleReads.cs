using System.Runtime.InteropServices;
using Yarnish.Executor;
using Yarnish.Protocol;
using Yarnish.Serialization;

namespace Yarnish.Operators;

/// <summary>The rows of a shuffle as they come.</summary>
internal sealed class ShuffleReadOperator<T>(ShuffleId shuffle) : Operator<T>, IStopsItself
{
    private readonly ShuffleId shuffle = shuffle;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition) => ShuffleRows.Read<T>(inputs, shuffle, partition);
}

/// <summary>Merges what map tasks combined: one pair per key.</summary>
internal sealed class MergeOperator<TKey, TCombined>(ShuffleId shuffle, Func<TCombined, TCombined, TCombined> merge) : Operator<KeyValuePair<TKey, TCombined>>, IStopsItself
    where TKey : notnull
{
    private readonly ShuffleId shuffle = shuffle;
    private readonly Func<TCombined, TCombined, TCombined> merge = merge;

    public override IEnumerable<KeyValuePair<TKey, TCombined>> Open(OperatorInputs inputs, int partition)
    {
        var merged = new Dictionary<TKey, TCombined>(StableEquality<TKey>.Default);
        foreach (var block in inputs.ReadShuffle<KeyValuePair<TKey, TCombined>>(shuffle, partition, inOrder: false))
        {
            foreach (ref readonly var pair in block.Rows.Span)
            {
                ref var slot = ref CollectionsMarshal.GetValueRefOrAddDefault(merged, pair.Key, out var exists);
                slot = exists ? merge(slot!, pair.Value) : pair.Value;
            }
        }
        foreach (var pair in merged)
        {
            yield return pair;
        }
    }
}

/// <summary>All values of each key.</summary>
internal sealed class GroupOperator<TKey, TValue>(ShuffleId shuffle) : Operator<KeyValuePair<TKey, TValue[]>>, IStopsItself
    where TKey : notnull
{
    private readonly ShuffleId shuffle = shuffle;

    public override IEnumerable<KeyValuePair<TKey, TValue[]>> Open(OperatorInputs inputs, int partition)
    {
        foreach (var group in ShuffleRows.Group(ShuffleRows.Side<KeyValuePair<TKey, TValue>>(inputs, shuffle, 0, partition)))
        {
            yield return group;
        }
    }
}

/// <summary>
/// Both sides' values of each key, in partitions that agree: each side is either a shuffle or an input that is partitioned the same way already.
/// </summary>
internal sealed class CoGroupOperator<TKey, TLeft, TRight>(ShuffleId? left, ShuffleId? right) : Operator<KeyValuePair<TKey, (TLeft[] Left, TRight[] Right)>>, IStopsItself
    where TKey : notnull
{
    private readonly ShuffleId? left = left;
    private readonly ShuffleId? right = right;

    public override IEnumerable<KeyValuePair<TKey, (TLeft[] Left, TRight[] Right)>> Open(OperatorInputs inputs, int partition)
    {
        var lefts = ShuffleRows.Group<TKey, TLeft>(ShuffleRows.Side<KeyValuePair<TKey, TLeft>>(inputs, left, 0, partition));
        var rights = ShuffleRows.Group<TKey, TRight>(ShuffleRows.Side<KeyValuePair<TKey, TRight>>(inputs, right, left is null ? 1 : 0, partition));
        foreach (var (key, values) in lefts)
        {
            yield return new(key, (values, rights.Take(key)));
        }
        foreach (var (key, values) in rights)
        {
            yield return new(key, ([], values));
        }
    }
}

/// <summary>An inner join: the right side is held in a table, the left side streams past it.</summary>
internal sealed class JoinOperator<TKey, TLeft, TRight>(ShuffleId? left, ShuffleId? right) : Operator<KeyValuePair<TKey, (TLeft Left, TRight Right)>>, IStopsItself
    where TKey : notnull
{
    private readonly ShuffleId? left = left;
    private readonly ShuffleId? right = right;

    public override IEnumerable<KeyValuePair<TKey, (TLeft Left, TRight Right)>> Open(OperatorInputs inputs, int partition)
    {
        var table = new JoinTable<TKey, TRight>(ShuffleRows.Side<KeyValuePair<TKey, TRight>>(inputs, right, left is null ? 1 : 0, partition));
        if (table.IsEmpty)
        {
            yield break;
        }
        foreach (var pairs in ShuffleRows.Side<KeyValuePair<TKey, TLeft>>(inputs, left, 0, partition))
        {
            foreach (var (key, value) in ShuffleRows.Segment(pairs))
            {
                for (var match = table.Find(key); match >= 0; match = table.Next(match))
                {
                    yield return new(key, (value, table[match]));
                }
            }
        }
    }
}

/// <summary>Pairs the two sides of each key; a side that is empty counts as one default value where it is to be kept.</summary>
internal sealed class OuterJoinOperator<TKey, TLeft, TRight>(bool keepsLeft, bool keepsRight) : Operator<KeyValuePair<TKey, (TLeft? Left, TRight? Right)>>
{
    private readonly bool keepsLeft = keepsLeft;
    private readonly bool keepsRight = keepsRight;

    public override IEnumerable<KeyValuePair<TKey, (TLeft? Left, TRight? Right)>> Open(OperatorInputs inputs, int partition)
    {
        foreach (var (key, (lefts, rights)) in inputs.Open<KeyValuePair<TKey, (TLeft[] Left, TRight[] Right)>>(0, partition))
        {
            if ((rights.Length == 0 && !keepsLeft) || (lefts.Length == 0 && !keepsRight))
            {
                continue;
            }
            for (var i = 0; i < Math.Max(1, lefts.Length); i++)
            {
                for (var j = 0; j < Math.Max(1, rights.Length); j++)
                {
                    yield return new(key, (lefts.Length == 0 ? default : lefts[i], rights.Length == 0 ? default : rights[j]));
                }
            }
        }
    }
}

/// <summary>The rows of one range in order. Equal rows keep the order they had in the input.</summary>
internal sealed class SortOperator<T>(ShuffleId shuffle, RowOrder<T> order) : Operator<T>, IStopsItself
{
    private readonly ShuffleId shuffle = shuffle;
    private readonly RowOrder<T> order = order;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition)
    {
        var rows = new List<T>();
        foreach (var block in inputs.ReadShuffle<T>(shuffle, partition, inOrder: true))
        {
            rows.AddRange(block.Rows.Span);
        }
        T[] input = [.. rows];
        rows = null;
        var sorted = RowSort.Sort(input, order);
        for (var i = 0; i < sorted.Length; i++)
        {
            yield return input[sorted[i]];
        }
    }
}

/// <summary>Reading rows out of shuffle blocks.</summary>
internal static class ShuffleRows
{
    private const int BatchRows = 256;

    /// <summary>Rows in the order in which blocks arrive: the fastest.</summary>
    public static IEnumerable<T> Read<T>(OperatorInputs inputs, ShuffleId shuffle, int reducer) => Rows(inputs.ReadShuffle<T>(shuffle, reducer, inOrder: false));

    /// <summary>Rows in the order of the map tasks that wrote them, whatever order blocks arrive in: the same every time. Holds what comes from other nodes in memory.</summary>
    public static IEnumerable<T> ReadInOrder<T>(OperatorInputs inputs, ShuffleId shuffle, int reducer) => Rows(inputs.ReadShuffle<T>(shuffle, reducer, inOrder: true));

    /// <summary>One side of a join, some rows at a time: a shuffle, or an input of the operator that is partitioned the right way already. Rows are valid until the next are asked for.</summary>
    public static IEnumerable<ReadOnlyMemory<T>> Side<T>(OperatorInputs inputs, ShuffleId? shuffle, int input, int partition) =>
        shuffle is { } id ? inputs.ReadShuffle<T>(id, partition, inOrder: true).Select(static block => block.Rows) : Batches(inputs.Open<T>(input, partition));

    /// <summary>Rows some at a time, in the same array.</summary>
    public static IEnumerable<ReadOnlyMemory<T>> Batches<T>(IEnumerable<T> rows)
    {
        var batch = new T[BatchRows];
        var count = 0;
        foreach (var row in rows)
        {
            batch[count++] = row;
            if (count == BatchRows)
            {
                yield return batch;
                count = 0;
            }
        }
        if (count > 0)
        {
            yield return batch.AsMemory(0, count);
        }
    }

    /// <summary>Values by key, keys in the order in which they came first.</summary>
    public static Groups<TKey, TValue> Group<TKey, TValue>(IEnumerable<ReadOnlyMemory<KeyValuePair<TKey, TValue>>> pairs)
        where TKey : notnull => new(pairs);

    /// <summary>Rows in their array: what can be read between two yields.</summary>
    public static ArraySegment<T> Segment<T>(ReadOnlyMemory<T> rows) => MemoryMarshal.TryGetArray(rows, out var segment) ? segment : rows.ToArray();

    private static IEnumerable<T> Rows<T>(IEnumerable<ShuffleRowBlock<T>> blocks)
    {
        foreach (var block in blocks)
        {
            var rows = Segment(block.Rows);
            for (var i = 0; i < rows.Count; i++)
            {
                yield return rows[i];
            }
        }
    }
}
