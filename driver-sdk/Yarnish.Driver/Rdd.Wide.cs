using System.Runtime.CompilerServices;
using Yarnish.Lineage;
using Yarnish.Operators;
using Yarnish.Serialization;

namespace Yarnish;

public partial class Rdd<T>
{
    /// <summary>How often each key occurs. Counted before anything is sent, so only one small pair per key and task crosses the shuffle.</summary>
    /// <param name="keySelector">The key of a row; needs value equality.</param>
    /// <param name="partitions">Of the result; null chooses.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public Rdd<KeyValuePair<TKey, long>> CountBy<TKey>(
        Func<T, TKey> keySelector, int? partitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where TKey : notnull
    {
        var callSite = SourceLocation.Of(file, line);
        SourceLocation.RequireTravels(Runner, keySelector, nameof(CountBy), callSite);
        var partitioner = NewPartitioner<TKey>(partitions, nameof(CountBy), callSite);
        var shuffle = new ShuffleDependency(Runner, Node, partitioner.Partitions, new CountWrite<T, TKey>(partitioner, keySelector));
        return Shuffled(shuffle, from => new MergeOperator<TKey, long>(from.Shuffle, static (left, right) => left + right), nameof(CountBy), callSite, partitioner);
    }

    /// <summary>All rows of each key, together. When a sum or a count is what you want, <c>CountBy</c> or <c>ReduceByKey</c> moves far less.</summary>
    public Rdd<KeyValuePair<TKey, T[]>> GroupBy<TKey>(
        Func<T, TKey> keySelector, int? partitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where TKey : notnull => KeyBy(keySelector, file, line).GroupByKey(partitions, file, line);

    /// <summary>Each row once.</summary>
    public Rdd<T> Distinct(int? partitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        var callSite = SourceLocation.Of(file, line);
        var partitioner = NewPartitioner<Wrapped<T>>(partitions, nameof(Distinct), callSite);
        var pairs = Derive(new SelectOperator<T, KeyValuePair<Wrapped<T>, byte>>(static row => new(new Wrapped<T>(row), 0)), nameof(Distinct), callSite);
        var shuffle = new ShuffleDependency(Runner, pairs.Node, partitioner.Partitions,
            new CombineWrite<Wrapped<T>, byte, byte>(partitioner, static value => value, static (left, _) => left));
        var merged = Shuffled(shuffle, from => new MergeOperator<Wrapped<T>, byte>(from.Shuffle, static (left, _) => left), nameof(Distinct), callSite);
        return merged.Derive(new SelectOperator<KeyValuePair<Wrapped<T>, byte>, T>(static pair => pair.Key.Row), nameof(Distinct), callSite);
    }

    /// <summary>One row of each key: the first in the order of the input, as LINQ's <c>DistinctBy</c> gives it. Keys are told apart before anything is sent.</summary>
    /// <param name="keySelector">The key of a row; needs value equality.</param>
    /// <param name="partitions">Of the result; null chooses.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public Rdd<T> DistinctBy<TKey>(Func<T, TKey> keySelector, int? partitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where TKey : notnull
    {
        var callSite = SourceLocation.Of(file, line);
        var pairs = KeyBy(keySelector, file, line);
        var partitioner = NewPartitioner<TKey>(partitions, nameof(DistinctBy), callSite);
        _ = RowFormats.For<KeyValuePair<TKey, T>>();
        var shuffle = new ShuffleDependency(Runner, pairs.Node, partitioner.Partitions, new CombineWrite<TKey, T, T>(partitioner, static row => row, static (first, _) => first));
        // Read in the order of the map tasks, so that the first one stays the first.
        return pairs.Shuffled(shuffle, from => new CombineReadOperator<TKey, T, T>(from.Shuffle, static row => row, static (first, _) => first), nameof(DistinctBy), callSite, partitioner, unordered: false)
            .Values(file, line);
    }

    /// <summary>Each row that occurs in both, once.</summary>
    public Rdd<T> Intersect(Rdd<T> other, int? partitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        Sides(other, static (left, right) => left > 0 && right > 0, partitions, nameof(Intersect), file, line);

    /// <summary>Each row that occurs here but not in the other, once.</summary>
    public Rdd<T> Except(Rdd<T> other, int? partitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        Sides(other, static (left, right) => left > 0 && right == 0, partitions, nameof(Except), file, line);

    // Only whether a row occurs on a side crosses the shuffle, not how often.
    private Rdd<T> Sides(Rdd<T> other, Func<int, int, bool> keep, int? partitions, string label, string file, int line)
    {
        ArgumentNullException.ThrowIfNull(other);
        RequireSameSession(other.Runner);
        var callSite = SourceLocation.Of(file, line);
        return Marked(this).Union(Marked(other, other: true), file, line)
            .ReduceByKey(static (left, right) => (byte)(left | right), partitions, file, line)
            .Derive(new WhereOperator<KeyValuePair<Wrapped<T>, byte>>(pair => keep(pair.Value & 1, pair.Value & 2)), label, callSite)
            .Derive(new SelectOperator<KeyValuePair<Wrapped<T>, byte>, T>(static pair => pair.Key.Row), label, callSite);

        Rdd<KeyValuePair<Wrapped<T>, byte>> Marked(Rdd<T> rows, bool other = false)
        {
            var mark = (byte)(other ? 2 : 1);
            return rows.Derive(new SelectOperator<T, KeyValuePair<Wrapped<T>, byte>>(row => new(new Wrapped<T>(row), mark)), label, callSite);
        }
    }

    /// <summary>Rows of both collections that share a key, paired.</summary>
    /// <param name="inner">The other side; of each key its rows are held in memory, so let it be the smaller one.</param>
    /// <param name="outerKeySelector">Key of a row of this side.</param>
    /// <param name="innerKeySelector">Key of a row of the other side.</param>
    /// <param name="resultSelector">What becomes of a pair.</param>
    /// <param name="partitions">Of the result; null chooses.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public Rdd<TResult> Join<TInner, TKey, TResult>(
        Rdd<TInner> inner, Func<T, TKey> outerKeySelector, Func<TInner, TKey> innerKeySelector, Func<T, TInner, TResult> resultSelector,
        int? partitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where TKey : notnull
    {
        ArgumentNullException.ThrowIfNull(inner);
        var callSite = SourceLocation.Of(file, line);
        SourceLocation.RequireTravels(Runner, resultSelector, nameof(Join), callSite);
        return KeyBy(outerKeySelector, file, line)
            .Join(inner.KeyBy(innerKeySelector, file, line), partitions, file, line)
            .Derive(new SelectOperator<KeyValuePair<TKey, (T Left, TInner Right)>, TResult>(pair => resultSelector(pair.Value.Left, pair.Value.Right)), nameof(Join), callSite);
    }

    /// <summary>The same rows dealt out evenly over a number of partitions, by a shuffle.</summary>
    /// <remarks>Which row lands where depends on the order of the input. When the input has no fixed order and a part is lost, everything behind it is computed again.</remarks>
    public Rdd<T> Repartition(int partitions, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(partitions, 1);
        _ = RowFormats.For<T>();
        var shuffle = new ShuffleDependency(Runner, Node, partitions, new RoundRobinWrite<T>(partitions)) { Indeterminate = true };
        return Shuffled(shuffle, from => new ShuffleReadOperator<T>(from.Shuffle), nameof(Repartition), SourceLocation.Of(file, line));
    }

    /// <summary>The rows in ascending order of a key, over all partitions: the first partition holds the smallest. Strings compare by ordinal unless a comparer is given.</summary>
    public OrderedRdd<T> OrderBy<TKey>(
        Func<T, TKey> keySelector, IComparer<TKey>? comparer = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        Ordered(keySelector, comparer, descending: false, nameof(OrderBy), SourceLocation.Of(file, line));

    /// <summary>The rows in descending order of a key, see <see cref="OrderBy"/>.</summary>
    public OrderedRdd<T> OrderByDescending<TKey>(
        Func<T, TKey> keySelector, IComparer<TKey>? comparer = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        Ordered(keySelector, comparer, descending: true, nameof(OrderByDescending), SourceLocation.Of(file, line));

    private OrderedRdd<T> Ordered<TKey>(Func<T, TKey> keySelector, IComparer<TKey>? comparer, bool descending, string label, string callSite)
    {
        SourceLocation.RequireTravels(Runner, keySelector, label, callSite);
        return new OrderedRdd<T>(this, new KeyOrder<T, TKey>(keySelector, comparer, descending), label, callSite);
    }

    /// <summary>Where an operator by key puts its result: when nobody asks for a number, rows that are partitioned by their key already stay where they are.</summary>
    internal KeyPartitioner<TKey> PartitionerFor<TKey>(int? partitions, string operation, string callSite) =>
        partitions is null && Partitioner is KeyPartitioner<TKey> known ? known : NewPartitioner<TKey>(partitions, operation, callSite);

    internal HashPartitioner<TKey> NewPartitioner<TKey>(int? partitions, string operation, string callSite)
    {
        if (partitions is { } wanted)
        {
            ArgumentOutOfRangeException.ThrowIfLessThan(wanted, 1, nameof(partitions));
        }
        StableHash.Require<TKey>(operation, callSite);
        return new HashPartitioner<TKey>(partitions ?? Math.Max(Runner.DefaultPartitions, 1));
    }
}

/// <summary>A row as a key: lets null rows be keys too.</summary>
internal readonly record struct Wrapped<T>(T Row);
