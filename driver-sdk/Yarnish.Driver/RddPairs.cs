using System.Runtime.CompilerServices;
using Yarnish.Lineage;
using Yarnish.Operators;
using Yarnish.Serialization;

namespace Yarnish;

/// <summary>What collections of keys and values can do besides.</summary>
public static partial class RddPairs
{
    /// <summary>One value per key, folded from all its values by an associative function; folded before and after the shuffle.</summary>
    public static Rdd<KeyValuePair<TKey, TValue>> ReduceByKey<TKey, TValue>(
        this Rdd<KeyValuePair<TKey, TValue>> source, Func<TValue, TValue, TValue> function, int? partitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where TKey : notnull
    {
        SourceLocation.RequireTravels(source.Runner, function, nameof(ReduceByKey), SourceLocation.Of(file, line));
        return source.Combine(static value => value, function, function, partitions, nameof(ReduceByKey), SourceLocation.Of(file, line));
    }

    /// <summary>One accumulator per key: each task starts one from the seed, adds its values, and accumulators of a key are combined behind the shuffle.</summary>
    public static Rdd<KeyValuePair<TKey, TAccumulate>> AggregateByKey<TKey, TValue, TAccumulate>(
        this Rdd<KeyValuePair<TKey, TValue>> source, TAccumulate seed, Func<TAccumulate, TValue, TAccumulate> function, Func<TAccumulate, TAccumulate, TAccumulate> combine,
        int? partitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where TKey : notnull
    {
        var callSite = SourceLocation.Of(file, line);
        SourceLocation.RequireTravels(source.Runner, function, nameof(AggregateByKey), callSite);
        SourceLocation.RequireTravels(source.Runner, combine, nameof(AggregateByKey), callSite);
        var bytes = Rows.OneToBytes(seed);
        return source.Combine(value => function(Rows.FromBytes<TAccumulate>(bytes), value), function, combine, partitions, nameof(AggregateByKey), callSite);
    }

    /// <summary>All values of each key, in the order of the input.</summary>
    public static Rdd<KeyValuePair<TKey, TValue[]>> GroupByKey<TKey, TValue>(
        this Rdd<KeyValuePair<TKey, TValue>> source, int? partitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where TKey : notnull
    {
        ArgumentNullException.ThrowIfNull(source);
        var callSite = SourceLocation.Of(file, line);
        var partitioner = source.PartitionerFor<TKey>(partitions, nameof(GroupByKey), callSite);
        return partitioner.Equals(source.Partitioner)
            ? source.Derive(new GroupInPlaceOperator<TKey, TValue>(), nameof(GroupByKey), callSite, partitioner)
            : source.Shuffled(source.ShuffleBy(partitioner), from => new GroupOperator<TKey, TValue>(from.Shuffle), nameof(GroupByKey), callSite, partitioner, unordered: false);
    }

    /// <summary>Pairs of values that share a key. The right side's values are held in memory, partition by partition: let it be the smaller one. A side that is partitioned the right way already is not shuffled.</summary>
    public static Rdd<KeyValuePair<TKey, (TLeft Left, TRight Right)>> Join<TKey, TLeft, TRight>(
        this Rdd<KeyValuePair<TKey, TLeft>> left, Rdd<KeyValuePair<TKey, TRight>> right, int? partitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where TKey : notnull =>
        CoPartitioned<TKey, (TLeft, TRight)>(
            [JoinSide<TKey>.Of(left), JoinSide<TKey>.Of(right)], static shuffles => new JoinOperator<TKey, TLeft, TRight>(shuffles[0], shuffles[1]), partitions, nameof(Join), SourceLocation.Of(file, line));

    /// <summary>Both sides' values of each key that occurs on either side.</summary>
    public static Rdd<KeyValuePair<TKey, (TLeft[] Left, TRight[] Right)>> CoGroup<TKey, TLeft, TRight>(
        this Rdd<KeyValuePair<TKey, TLeft>> left, Rdd<KeyValuePair<TKey, TRight>> right, int? partitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where TKey : notnull =>
        CoPartitioned<TKey, (TLeft[], TRight[])>(
            [JoinSide<TKey>.Of(left), JoinSide<TKey>.Of(right)], static shuffles => new CoGroupOperator<TKey, TLeft, TRight>(shuffles[0], shuffles[1]), partitions, nameof(CoGroup), SourceLocation.Of(file, line));

    /// <summary>Pairs of values that share a key; a left value without a partner is paired with the default of the right type.</summary>
    public static Rdd<KeyValuePair<TKey, (TLeft Left, TRight? Right)>> LeftJoin<TKey, TLeft, TRight>(
        this Rdd<KeyValuePair<TKey, TLeft>> left, Rdd<KeyValuePair<TKey, TRight>> right, int? partitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where TKey : notnull => Outer(left, right, keepsLeft: true, keepsRight: false, partitions, nameof(LeftJoin), file, line).SelectValues(static pair => (pair.Left!, pair.Right), file, line);

    /// <summary>Pairs of values that share a key; a right value without a partner is paired with the default of the left type.</summary>
    public static Rdd<KeyValuePair<TKey, (TLeft? Left, TRight Right)>> RightJoin<TKey, TLeft, TRight>(
        this Rdd<KeyValuePair<TKey, TLeft>> left, Rdd<KeyValuePair<TKey, TRight>> right, int? partitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where TKey : notnull => Outer(left, right, keepsLeft: false, keepsRight: true, partitions, nameof(RightJoin), file, line).SelectValues(static pair => (pair.Left, pair.Right!), file, line);

    /// <summary>Pairs of values that share a key; a value without a partner is paired with the default of the other type.</summary>
    public static Rdd<KeyValuePair<TKey, (TLeft? Left, TRight? Right)>> FullJoin<TKey, TLeft, TRight>(
        this Rdd<KeyValuePair<TKey, TLeft>> left, Rdd<KeyValuePair<TKey, TRight>> right, int? partitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where TKey : notnull => Outer(left, right, keepsLeft: true, keepsRight: true, partitions, nameof(FullJoin), file, line);

    private static Rdd<KeyValuePair<TKey, (TLeft? Left, TRight? Right)>> Outer<TKey, TLeft, TRight>(
        Rdd<KeyValuePair<TKey, TLeft>> left, Rdd<KeyValuePair<TKey, TRight>> right, bool keepsLeft, bool keepsRight, int? partitions, string label, string file, int line)
        where TKey : notnull
    {
        var both = left.CoGroup(right, partitions, file, line);
        return both.Derive(
            new OuterJoinOperator<TKey, TLeft, TRight>(keepsLeft, keepsRight), label, SourceLocation.Of(file, line), both.Partitioner);
    }

    /// <summary>The same pairs with another value each; what is known about the partitioning stays true.</summary>
    public static Rdd<KeyValuePair<TKey, TResult>> SelectValues<TKey, TValue, TResult>(
        this Rdd<KeyValuePair<TKey, TValue>> source, Func<TValue, TResult> selector, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        ArgumentNullException.ThrowIfNull(source);
        SourceLocation.RequireTravels(source.Runner, selector, nameof(SelectValues), SourceLocation.Of(file, line));
        return source.Derive(
            new SelectOperator<KeyValuePair<TKey, TValue>, KeyValuePair<TKey, TResult>>(pair => new(pair.Key, selector(pair.Value))),
            nameof(SelectValues), SourceLocation.Of(file, line), source.Partitioner);
    }

    /// <summary>The keys, one per pair.</summary>
    public static Rdd<TKey> Keys<TKey, TValue>(this Rdd<KeyValuePair<TKey, TValue>> source, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        ArgumentNullException.ThrowIfNull(source);
        return source.Derive(new SelectOperator<KeyValuePair<TKey, TValue>, TKey>(static pair => pair.Key), nameof(Keys), SourceLocation.Of(file, line));
    }

    /// <summary>The values, one per pair.</summary>
    public static Rdd<TValue> Values<TKey, TValue>(this Rdd<KeyValuePair<TKey, TValue>> source, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        ArgumentNullException.ThrowIfNull(source);
        return source.Derive(new SelectOperator<KeyValuePair<TKey, TValue>, TValue>(static pair => pair.Value), nameof(Values), SourceLocation.Of(file, line));
    }

    private static Rdd<KeyValuePair<TKey, TCombined>> Combine<TKey, TValue, TCombined>(
        this Rdd<KeyValuePair<TKey, TValue>> source, Func<TValue, TCombined> create, Func<TCombined, TValue, TCombined> merge, Func<TCombined, TCombined, TCombined> mergeCombined,
        int? partitions, string label, string callSite)
        where TKey : notnull
    {
        _ = RowFormats.For<KeyValuePair<TKey, TCombined>>();
        var partitioner = source.PartitionerFor<TKey>(partitions, label, callSite);
        if (partitioner.Equals(source.Partitioner))
        {
            return source.Derive(new CombineInPlaceOperator<TKey, TValue, TCombined>(create, merge), label, callSite, partitioner);
        }
        var shuffle = new ShuffleDependency(source.Runner, source.Node, partitioner.Partitions, new CombineWrite<TKey, TValue, TCombined>(partitioner, create, merge));
        return source.Shuffled(shuffle, from => new MergeOperator<TKey, TCombined>(from.Shuffle, mergeCombined), label, callSite, partitioner);
    }
}
