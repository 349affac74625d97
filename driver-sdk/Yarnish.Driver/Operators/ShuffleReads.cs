using System.Runtime.InteropServices;
using Yarnish.Protocol;
using Yarnish.Serialization;

namespace Yarnish.Operators;

/// <summary>The rows of a shuffle as they come.</summary>
internal sealed class ShuffleReadOperator<T>(ShuffleId shuffle) : Operator<T>
{
    private readonly ShuffleId shuffle = shuffle;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition) => ShuffleRows.Read<T>(inputs, shuffle, partition);
}

/// <summary>Merges what map tasks combined: one pair per key.</summary>
internal sealed class MergeOperator<TKey, TCombined>(ShuffleId shuffle, Func<TCombined, TCombined, TCombined> merge) : Operator<KeyValuePair<TKey, TCombined>>
    where TKey : notnull
{
    private readonly ShuffleId shuffle = shuffle;
    private readonly Func<TCombined, TCombined, TCombined> merge = merge;

    public override IEnumerable<KeyValuePair<TKey, TCombined>> Open(OperatorInputs inputs, int partition)
    {
        var merged = new Dictionary<TKey, TCombined>(StableEquality<TKey>.Default);
        foreach (var pair in ShuffleRows.Read<KeyValuePair<TKey, TCombined>>(inputs, shuffle, partition))
        {
            ref var slot = ref CollectionsMarshal.GetValueRefOrAddDefault(merged, pair.Key, out var exists);
            slot = exists ? merge(slot!, pair.Value) : pair.Value;
        }
        foreach (var pair in merged)
        {
            yield return pair;
        }
    }
}

/// <summary>All values of each key.</summary>
internal sealed class GroupOperator<TKey, TValue>(ShuffleId shuffle) : Operator<KeyValuePair<TKey, TValue[]>>
    where TKey : notnull
{
    private readonly ShuffleId shuffle = shuffle;

    public override IEnumerable<KeyValuePair<TKey, TValue[]>> Open(OperatorInputs inputs, int partition)
    {
        foreach (var (key, values) in ShuffleRows.Group<TKey, TValue>(ShuffleRows.ReadInOrder<KeyValuePair<TKey, TValue>>(inputs, shuffle, partition)))
        {
            yield return new(key, [.. values]);
        }
    }
}

/// <summary>
/// Both sides' values of each key, in partitions that agree: each side is either a shuffle or an input that is partitioned the same way already.
/// </summary>
internal sealed class CoGroupOperator<TKey, TLeft, TRight>(ShuffleId? left, ShuffleId? right) : Operator<KeyValuePair<TKey, (TLeft[] Left, TRight[] Right)>>
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
            yield return new(key, ([.. values], rights.Remove(key, out var others) ? [.. others] : []));
        }
        foreach (var (key, values) in rights)
        {
            yield return new(key, ([], [.. values]));
        }
    }
}

/// <summary>An inner join: the right side is held in a table, the left side streams past it.</summary>
internal sealed class JoinOperator<TKey, TLeft, TRight>(ShuffleId? left, ShuffleId? right) : Operator<KeyValuePair<TKey, (TLeft Left, TRight Right)>>
    where TKey : notnull
{
    private readonly ShuffleId? left = left;
    private readonly ShuffleId? right = right;

    public override IEnumerable<KeyValuePair<TKey, (TLeft Left, TRight Right)>> Open(OperatorInputs inputs, int partition)
    {
        var table = ShuffleRows.Group<TKey, TRight>(ShuffleRows.Side<KeyValuePair<TKey, TRight>>(inputs, right, left is null ? 1 : 0, partition));
        if (table.Count == 0)
        {
            yield break;
        }
        foreach (var pair in ShuffleRows.Side<KeyValuePair<TKey, TLeft>>(inputs, left, 0, partition))
        {
            if (table.TryGetValue(pair.Key, out var matches))
            {
                foreach (var match in matches)
                {
                    yield return new(pair.Key, (pair.Value, match));
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
internal sealed class SortOperator<T>(ShuffleId shuffle, IComparer<T> order) : Operator<T>
{
    private readonly ShuffleId shuffle = shuffle;
    private readonly IComparer<T> order = order;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition) =>
        // LINQ's sort is stable, and the rows come in the order of map tasks.
        ShuffleRows.ReadInOrder<T>(inputs, shuffle, partition).Order(order);
}

/// <summary>Reading rows out of shuffle blocks.</summary>
internal static class ShuffleRows
{
    /// <summary>Rows in the order in which blocks arrive: the fastest.</summary>
    public static IEnumerable<T> Read<T>(OperatorInputs inputs, ShuffleId shuffle, int reducer)
    {
        var format = RowFormats.For<T>();
        var counters = inputs.Task.Counters;
        foreach (var block in inputs.ReadShuffle(shuffle, reducer))
        {
            var rows = 0;
            foreach (var row in format.Read(block.Content))
            {
                rows++;
                yield return row;
            }
            counters.ShuffleReadRows += rows;
        }
    }

    /// <summary>Rows in the order of the map tasks that wrote them, whatever order blocks arrive in: the same every time. Holds the whole part in memory.</summary>
    public static IEnumerable<T> ReadInOrder<T>(OperatorInputs inputs, ShuffleId shuffle, int reducer)
    {
        var format = RowFormats.For<T>();
        var parts = new SortedDictionary<int, List<T>>();
        foreach (var block in inputs.ReadShuffle(shuffle, reducer))
        {
            // A map task's part may come in several blocks, those of other tasks between them; its own are in order.
            if (!parts.TryGetValue(block.MapPartition, out var rows))
            {
                parts.Add(block.MapPartition, rows = []);
            }
            var before = rows.Count;
            rows.AddRange(format.Read(block.Content));
            inputs.Task.Counters.ShuffleReadRows += rows.Count - before;
        }
        return parts.Values.SelectMany(rows => rows);
    }

    /// <summary>One side of a join: a shuffle, or an input of the operator that is partitioned the right way already.</summary>
    public static IEnumerable<T> Side<T>(OperatorInputs inputs, ShuffleId? shuffle, int input, int partition) =>
        shuffle is { } id ? ReadInOrder<T>(inputs, id, partition) : inputs.Open<T>(input, partition);

    /// <summary>Values by key, keys in the order in which they came first.</summary>
    public static Dictionary<TKey, List<TValue>> Group<TKey, TValue>(IEnumerable<KeyValuePair<TKey, TValue>> pairs)
        where TKey : notnull
    {
        var groups = new Dictionary<TKey, List<TValue>>(StableEquality<TKey>.Default);
        foreach (var pair in pairs)
        {
            ref var values = ref CollectionsMarshal.GetValueRefOrAddDefault(groups, pair.Key, out _);
            (values ??= []).Add(pair.Value);
        }
        return groups;
    }
}
