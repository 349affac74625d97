using System.Runtime.CompilerServices;
using Yarnish.Lineage;
using Yarnish.Operators;
using Yarnish.Serialization;

namespace Yarnish;

/// <content>More ways to bring the values of a key together.</content>
public static partial class RddPairs
{
    /// <summary>
    /// One combined value per key, the most general way: made from the first value, further values merged in, and what tasks have combined merged behind the shuffle. <c>ReduceByKey</c> and
    /// <c>AggregateByKey</c> are special cases of it.
    /// </summary>
    /// <param name="source">The pairs.</param>
    /// <param name="create">Makes a combined value from one value.</param>
    /// <param name="merge">Adds a value; may change and return its first argument.</param>
    /// <param name="mergeCombined">Joins two combined values; may change and return its first argument.</param>
    /// <param name="partitions">Of the result; null chooses.</param>
    /// <param name="mapSideCombine">
    /// True (default) combines before the shuffle too. False sends every value over: right when combining does not make things smaller; then values are merged in the order of the input.
    /// </param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public static Rdd<KeyValuePair<TKey, TCombined>> CombineByKey<TKey, TValue, TCombined>(
        this Rdd<KeyValuePair<TKey, TValue>> source, Func<TValue, TCombined> create, Func<TCombined, TValue, TCombined> merge, Func<TCombined, TCombined, TCombined> mergeCombined,
        int? partitions = null, bool mapSideCombine = true, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where TKey : notnull
    {
        ArgumentNullException.ThrowIfNull(source);
        var callSite = SourceLocation.Of(file, line);
        SourceLocation.RequireTravels(source.Runner, create, nameof(CombineByKey), callSite);
        SourceLocation.RequireTravels(source.Runner, merge, nameof(CombineByKey), callSite);
        SourceLocation.RequireTravels(source.Runner, mergeCombined, nameof(CombineByKey), callSite);
        if (mapSideCombine)
        {
            return source.Combine(create, merge, mergeCombined, partitions, nameof(CombineByKey), callSite);
        }
        var partitioner = source.PartitionerFor<TKey>(partitions, nameof(CombineByKey), callSite);
        return partitioner.Equals(source.Partitioner)
            ? source.Derive(new CombineInPlaceOperator<TKey, TValue, TCombined>(create, merge), nameof(CombineByKey), callSite, partitioner)
            : source.Shuffled(
                source.ShuffleBy(partitioner), from => new CombineReadOperator<TKey, TValue, TCombined>(from.Shuffle, create, merge), nameof(CombineByKey), callSite, partitioner, unordered: false);
    }

    /// <summary>One value per key, folded from all its values, starting from a seed. The seed starts the fold once in every task that has values of the key: let it be neutral.</summary>
    public static Rdd<KeyValuePair<TKey, TValue>> FoldByKey<TKey, TValue>(
        this Rdd<KeyValuePair<TKey, TValue>> source, TValue seed, Func<TValue, TValue, TValue> function, int? partitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where TKey : notnull
    {
        ArgumentNullException.ThrowIfNull(source);
        var callSite = SourceLocation.Of(file, line);
        SourceLocation.RequireTravels(source.Runner, function, nameof(FoldByKey), callSite);
        var bytes = Rows.OneToBytes(seed);
        return source.Combine(value => function(Rows.FromBytes<TValue>(bytes), value), function, function, partitions, nameof(FoldByKey), callSite);
    }

    /// <summary>
    /// About how many different values each key has, by a HyperLogLog sketch per key: a few hundred bytes however many values there are, see <see cref="Rdd{T}.CountApproxDistinctAsync"/>.
    /// </summary>
    /// <param name="source">The pairs; values need value equality.</param>
    /// <param name="relativeError">Standard error of the counts as a share of them, from 0.0021 to 0.4. Default 0.05: 512 bytes per key. Half of it takes four times the memory.</param>
    /// <param name="partitions">Of the result; null chooses.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public static Rdd<KeyValuePair<TKey, long>> CountApproxDistinctByKey<TKey, TValue>(
        this Rdd<KeyValuePair<TKey, TValue>> source, double relativeError = 0.05, int? partitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where TKey : notnull
    {
        ArgumentNullException.ThrowIfNull(source);
        var callSite = SourceLocation.Of(file, line);
        var precision = HyperLogLog.PrecisionFor(relativeError);
        StableHash.Require<TValue>(nameof(CountApproxDistinctByKey), callSite);
        return source
            .Combine(
                value => HyperLogLog.Add(HyperLogLog.Empty(precision), StableHash.Of(value)), static (sketch, value) => HyperLogLog.Add(sketch, StableHash.Of(value)), HyperLogLog.Merge,
                partitions, nameof(CountApproxDistinctByKey), callSite)
            .SelectValues(HyperLogLog.Estimate, file, line);
    }

    /// <summary>The pairs whose key does not occur in the other collection. Every pair stays, also those whose keys repeat, in the order of the input within each key.</summary>
    public static Rdd<KeyValuePair<TKey, TValue>> SubtractByKey<TKey, TValue, TOther>(
        this Rdd<KeyValuePair<TKey, TValue>> source, Rdd<KeyValuePair<TKey, TOther>> other, int? partitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where TKey : notnull
    {
        ArgumentNullException.ThrowIfNull(other);
        // Of the other side only the keys need cross.
        var keys = other.SelectValues(static _ => (byte)0, file, line);
        return CoPartitioned<TKey, TValue>(
            [JoinSide<TKey>.Of(source), JoinSide<TKey>.Of(keys)], static shuffles => new SubtractOperator<TKey, TValue>(shuffles[0], shuffles[1]), partitions, nameof(SubtractByKey), SourceLocation.Of(file, line));
    }

    /// <summary>All three sides' values of each key that occurs on any of them.</summary>
    public static Rdd<KeyValuePair<TKey, (TFirst[] First, TSecond[] Second, TThird[] Third)>> CoGroup<TKey, TFirst, TSecond, TThird>(
        this Rdd<KeyValuePair<TKey, TFirst>> first, Rdd<KeyValuePair<TKey, TSecond>> second, Rdd<KeyValuePair<TKey, TThird>> third,
        int? partitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where TKey : notnull =>
        CoPartitioned<TKey, (TFirst[], TSecond[], TThird[])>(
            [JoinSide<TKey>.Of(first), JoinSide<TKey>.Of(second), JoinSide<TKey>.Of(third)],
            static shuffles => new CoGroupOperator<TKey, TFirst, TSecond, TThird>(shuffles), partitions, nameof(CoGroup), SourceLocation.Of(file, line));

    /// <summary>All four sides' values of each key that occurs on any of them.</summary>
    public static Rdd<KeyValuePair<TKey, (TFirst[] First, TSecond[] Second, TThird[] Third, TFourth[] Fourth)>> CoGroup<TKey, TFirst, TSecond, TThird, TFourth>(
        this Rdd<KeyValuePair<TKey, TFirst>> first, Rdd<KeyValuePair<TKey, TSecond>> second, Rdd<KeyValuePair<TKey, TThird>> third, Rdd<KeyValuePair<TKey, TFourth>> fourth,
        int? partitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where TKey : notnull =>
        CoPartitioned<TKey, (TFirst[], TSecond[], TThird[], TFourth[])>(
            [JoinSide<TKey>.Of(first), JoinSide<TKey>.Of(second), JoinSide<TKey>.Of(third), JoinSide<TKey>.Of(fourth)],
            static shuffles => new CoGroupOperator<TKey, TFirst, TSecond, TThird, TFourth>(shuffles), partitions, nameof(CoGroup), SourceLocation.Of(file, line));

    /// <summary>Each pair with any number of values in place of its own, under the same key; what is known about the partitioning stays true.</summary>
    public static Rdd<KeyValuePair<TKey, TResult>> SelectManyValues<TKey, TValue, TResult>(
        this Rdd<KeyValuePair<TKey, TValue>> source, Func<TValue, IEnumerable<TResult>> selector, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        ArgumentNullException.ThrowIfNull(source);
        SourceLocation.RequireTravels(source.Runner, selector, nameof(SelectManyValues), SourceLocation.Of(file, line));
        return source.Derive(new SelectManyValuesOperator<TKey, TValue, TResult>(selector), nameof(SelectManyValues), SourceLocation.Of(file, line), source.Partitioner);
    }
}
