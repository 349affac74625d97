using System.Runtime.InteropServices;
using Yarnish.Protocol;
using Yarnish.Serialization;

namespace Yarnish.Operators;

/// <summary>Combines the values of each key of a partition that holds all of them already: no shuffle.</summary>
internal sealed class CombineInPlaceOperator<TKey, TValue, TCombined>(Func<TValue, TCombined> create, Func<TCombined, TValue, TCombined> merge) : Operator<KeyValuePair<TKey, TCombined>>
    where TKey : notnull
{
    private readonly Func<TValue, TCombined> create = create;
    private readonly Func<TCombined, TValue, TCombined> merge = merge;

    public override IEnumerable<KeyValuePair<TKey, TCombined>> Open(OperatorInputs inputs, int partition) =>
        Combining.Combine(inputs.Open<KeyValuePair<TKey, TValue>>(0, partition), create, merge);
}

/// <summary>Combines values that crossed a shuffle one by one, in the order of the input.</summary>
internal sealed class CombineReadOperator<TKey, TValue, TCombined>(ShuffleId shuffle, Func<TValue, TCombined> create, Func<TCombined, TValue, TCombined> merge) : Operator<KeyValuePair<TKey, TCombined>>
    where TKey : notnull
{
    private readonly ShuffleId shuffle = shuffle;
    private readonly Func<TValue, TCombined> create = create;
    private readonly Func<TCombined, TValue, TCombined> merge = merge;

    public override IEnumerable<KeyValuePair<TKey, TCombined>> Open(OperatorInputs inputs, int partition) =>
        Combining.Combine(ShuffleRows.ReadInOrder<KeyValuePair<TKey, TValue>>(inputs, shuffle, partition), create, merge);
}

/// <summary>All values of each key of a partition that holds all of them already.</summary>
internal sealed class GroupInPlaceOperator<TKey, TValue> : Operator<KeyValuePair<TKey, TValue[]>>
    where TKey : notnull
{
    public override IEnumerable<KeyValuePair<TKey, TValue[]>> Open(OperatorInputs inputs, int partition)
    {
        foreach (var group in ShuffleRows.Group(ShuffleRows.Side<KeyValuePair<TKey, TValue>>(inputs, null, 0, partition)))
        {
            yield return group;
        }
    }
}

/// <summary>Pairs whose key the other side does not have: its keys are held in a set, the pairs stream past it.</summary>
internal sealed class SubtractOperator<TKey, TValue>(ShuffleId? left, ShuffleId? right) : Operator<KeyValuePair<TKey, TValue>>
    where TKey : notnull
{
    private readonly ShuffleId? left = left;
    private readonly ShuffleId? right = right;

    public override IEnumerable<KeyValuePair<TKey, TValue>> Open(OperatorInputs inputs, int partition)
    {
        var keys = new HashSet<TKey>(StableEquality<TKey>.Default);
        foreach (var pairs in ShuffleRows.Side<KeyValuePair<TKey, byte>>(inputs, right, left is null ? 1 : 0, partition))
        {
            foreach (ref readonly var pair in pairs.Span)
            {
                keys.Add(pair.Key);
            }
        }
        foreach (var pairs in ShuffleRows.Side<KeyValuePair<TKey, TValue>>(inputs, left, 0, partition))
        {
            foreach (var pair in ShuffleRows.Segment(pairs))
            {
                if (!keys.Contains(pair.Key))
                {
                    yield return pair;
                }
            }
        }
    }
}

/// <summary>Three sides' values of each key, see <see cref="CoGroupOperator{TKey, TLeft, TRight}"/>.</summary>
internal sealed class CoGroupOperator<TKey, TFirst, TSecond, TThird>(ShuffleId?[] shuffles) : Operator<KeyValuePair<TKey, (TFirst[] First, TSecond[] Second, TThird[] Third)>>
    where TKey : notnull
{
    private readonly ShuffleId?[] shuffles = shuffles;

    public override IEnumerable<KeyValuePair<TKey, (TFirst[] First, TSecond[] Second, TThird[] Third)>> Open(OperatorInputs inputs, int partition)
    {
        var first = Combining.Group<TKey, TFirst>(inputs, shuffles, 0, partition);
        var second = Combining.Group<TKey, TSecond>(inputs, shuffles, 1, partition);
        var third = Combining.Group<TKey, TThird>(inputs, shuffles, 2, partition);
        foreach (var (key, values) in first)
        {
            yield return new(key, (values, second.Take(key), third.Take(key)));
        }
        foreach (var (key, values) in second)
        {
            yield return new(key, ([], values, third.Take(key)));
        }
        foreach (var (key, values) in third)
        {
            yield return new(key, ([], [], values));
        }
    }
}

/// <summary>Four sides' values of each key, see <see cref="CoGroupOperator{TKey, TLeft, TRight}"/>.</summary>
internal sealed class CoGroupOperator<TKey, TFirst, TSecond, TThird, TFourth>(ShuffleId?[] shuffles)
    : Operator<KeyValuePair<TKey, (TFirst[] First, TSecond[] Second, TThird[] Third, TFourth[] Fourth)>>
    where TKey : notnull
{
    private readonly ShuffleId?[] shuffles = shuffles;

    public override IEnumerable<KeyValuePair<TKey, (TFirst[] First, TSecond[] Second, TThird[] Third, TFourth[] Fourth)>> Open(OperatorInputs inputs, int partition)
    {
        var first = Combining.Group<TKey, TFirst>(inputs, shuffles, 0, partition);
        var second = Combining.Group<TKey, TSecond>(inputs, shuffles, 1, partition);
        var third = Combining.Group<TKey, TThird>(inputs, shuffles, 2, partition);
        var fourth = Combining.Group<TKey, TFourth>(inputs, shuffles, 3, partition);
        foreach (var (key, values) in first)
        {
            yield return new(key, (values, second.Take(key), third.Take(key), fourth.Take(key)));
        }
        foreach (var (key, values) in second)
        {
            yield return new(key, ([], values, third.Take(key), fourth.Take(key)));
        }
        foreach (var (key, values) in third)
        {
            yield return new(key, ([], [], values, fourth.Take(key)));
        }
        foreach (var (key, values) in fourth)
        {
            yield return new(key, ([], [], [], values));
        }
    }
}

/// <summary>Each pair becomes any number of pairs with the same key.</summary>
internal sealed class SelectManyValuesOperator<TKey, TValue, TResult>(Func<TValue, IEnumerable<TResult>> function) : Operator<KeyValuePair<TKey, TResult>>
{
    private readonly Func<TValue, IEnumerable<TResult>> function = function;

    public override IEnumerable<KeyValuePair<TKey, TResult>> Open(OperatorInputs inputs, int partition)
    {
        foreach (var pair in inputs.Open<KeyValuePair<TKey, TValue>>(0, partition))
        {
            foreach (var value in function(pair.Value))
            {
                yield return new(pair.Key, value);
            }
        }
    }
}

/// <summary>The values of one key.</summary>
internal sealed class ValuesOfKeyOperator<TKey, TValue>(byte[] key) : Operator<TValue>
{
    private readonly byte[] key = key;

    public override IEnumerable<TValue> Open(OperatorInputs inputs, int partition)
    {
        var wanted = Rows.FromBytes<TKey>(key);
        var equality = StableEquality<TKey>.Default;
        foreach (var pair in inputs.Open<KeyValuePair<TKey, TValue>>(0, partition))
        {
            if (equality.Equals(pair.Key, wanted))
            {
                yield return pair.Value;
            }
        }
    }
}

/// <summary>What these operators share.</summary>
internal static class Combining
{
    /// <summary>One combined value per key, keys in the order in which they came first.</summary>
    public static Dictionary<TKey, TCombined> Combine<TKey, TValue, TCombined>(IEnumerable<KeyValuePair<TKey, TValue>> pairs, Func<TValue, TCombined> create, Func<TCombined, TValue, TCombined> merge)
        where TKey : notnull
    {
        var combined = new Dictionary<TKey, TCombined>(StableEquality<TKey>.Default);
        foreach (var pair in pairs)
        {
            ref var slot = ref CollectionsMarshal.GetValueRefOrAddDefault(combined, pair.Key, out var exists);
            slot = exists ? merge(slot!, pair.Value) : create(pair.Value);
        }
        return combined;
    }

    /// <summary>The values by key of one of several sides; those that crossed no shuffle are the operator's inputs, in their order.</summary>
    public static Groups<TKey, TValue> Group<TKey, TValue>(OperatorInputs inputs, ShuffleId?[] shuffles, int side, int partition)
        where TKey : notnull
    {
        var input = shuffles.AsSpan(0, side).Count((ShuffleId?)null);
        return ShuffleRows.Group(ShuffleRows.Side<KeyValuePair<TKey, TValue>>(inputs, shuffles[side], input, partition));
    }
}
