using System.Runtime.CompilerServices;
using Yarnish.Jobs;
using Yarnish.Lineage;
using Yarnish.Operators;
using Yarnish.Protocol;
using Yarnish.Serialization;

namespace Yarnish;

/// <content>Where pairs are put, and operators of several sides that are put alike.</content>
public static partial class RddPairs
{
    /// <summary>
    /// The same pairs, each in the partition that a partitioner assigns to its key. Later operators by key on it, or joins with collections whose partitioner is equal, shuffle nothing: persist
    /// it when several of them follow. No shuffle when the collection is partitioned so already. The order of the rows is not fixed.
    /// </summary>
    /// <param name="source">The pairs.</param>
    /// <param name="partitioner">A <see cref="HashPartitioner{TKey}"/>, a <see cref="RangePartitioner{TKey}"/>, or your own.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public static Rdd<KeyValuePair<TKey, TValue>> PartitionBy<TKey, TValue>(
        this Rdd<KeyValuePair<TKey, TValue>> source, KeyPartitioner<TKey> partitioner, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where TKey : notnull
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(partitioner);
        var callSite = SourceLocation.Of(file, line);
        RequirePartitioner(source.Runner, partitioner, nameof(PartitionBy), callSite);
        return partitioner.Equals(source.Partitioner)
            ? source
            : source.Shuffled(source.ShuffleBy(partitioner), static from => new ShuffleReadOperator<KeyValuePair<TKey, TValue>>(from.Shuffle), nameof(PartitionBy), callSite, partitioner);
    }

    /// <summary>
    /// The same pairs, each in the partition of its key, and each partition sorted by the keys: one shuffle does both. Pairs of equal keys keep the order of the input. A partition is sorted in memory.
    /// With a <see cref="RangePartitioner{TKey}"/> the whole collection is in order.
    /// </summary>
    /// <param name="source">The pairs.</param>
    /// <param name="partitioner">Decides the partition of each key.</param>
    /// <param name="comparer">The order; null for the default of the type, strings by ordinal. It must travel.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public static Rdd<KeyValuePair<TKey, TValue>> RepartitionAndSortWithinPartitions<TKey, TValue>(
        this Rdd<KeyValuePair<TKey, TValue>> source, KeyPartitioner<TKey> partitioner, IComparer<TKey>? comparer = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where TKey : notnull
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(partitioner);
        var callSite = SourceLocation.Of(file, line);
        RequirePartitioner(source.Runner, partitioner, nameof(RepartitionAndSortWithinPartitions), callSite);
        var order = new KeyOrder<KeyValuePair<TKey, TValue>, TKey>(static pair => pair.Key, comparer, descending: false);
        return source.Shuffled(
            source.ShuffleBy(partitioner), from => new SortOperator<KeyValuePair<TKey, TValue>>(from.Shuffle, order),
            nameof(RepartitionAndSortWithinPartitions), callSite, partitioner, unordered: false);
    }

    /// <summary>Samples the keys, by a job, for bounds that part the pairs into ranges of about equal size.</summary>
    /// <param name="source">The pairs.</param>
    /// <param name="partitions">How many ranges; fewer come out when there are not enough different keys.</param>
    /// <param name="comparer">The order of the keys; null for the default of the type, strings by ordinal. It must travel.</param>
    /// <param name="cancellation">Cancels the job.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public static async Task<RangePartitioner<TKey>> RangePartitionerAsync<TKey, TValue>(
        this Rdd<KeyValuePair<TKey, TValue>> source, int partitions, IComparer<TKey>? comparer = null,
        CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where TKey : notnull
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(partitions, 1);
        var order = new KeyOrder<TKey, TKey>(static key => key, comparer, descending: false);
        var name = $"{nameof(RangePartitionerAsync)} at {SourceLocation.Of(file, line)}";
        return new RangePartitioner<TKey>(await OrderedRdd<TKey>.SampleBoundsAsync(source.Keys(file, line), order, partitions, name, cancellation).ConfigureAwait(false), comparer);
    }

    /// <summary>
    /// Puts several sides where the same partitioner wants them; a side that is there already is read in place. When nobody asks for a number of partitions, what is there decides: of the sides
    /// that are partitioned by key, the one with the most partitions stays where it is.
    /// </summary>
    private static Rdd<KeyValuePair<TKey, TResult>> CoPartitioned<TKey, TResult>(
        JoinSide<TKey>[] sides, Func<ShuffleId?[], Operator<KeyValuePair<TKey, TResult>>> read, int? partitions, string label, string callSite)
        where TKey : notnull
    {
        var runner = sides[0].Runner;
        if (sides.Any(side => !ReferenceEquals(side.Runner, runner)))
        {
            throw new InvalidOperationException(Rdd<TResult>.OtherSession);
        }
        StableHash.Require<TKey>(label, callSite);
        if (partitions is { } wanted)
        {
            ArgumentOutOfRangeException.ThrowIfLessThan(wanted, 1, nameof(partitions));
        }
        var known = partitions is null ? sides.Select(side => side.Partitioner).OfType<KeyPartitioner<TKey>>().MaxBy(side => side.Partitions) : null;
        var partitioner = known ?? new HashPartitioner<TKey>(partitions ?? Math.Max(runner.DefaultPartitions, 1));
        var shuffles = Array.ConvertAll(sides, side => partitioner.Equals(side.Partitioner) ? null : side.ShuffleBy(partitioner));
        var parents = sides.Where((_, i) => shuffles[i] is null).Select(side => side.Node).ToArray();
        return new Rdd<KeyValuePair<TKey, TResult>>(runner, new LineageNode
        {
            Operator = read(Array.ConvertAll(shuffles, shuffle => shuffle?.Shuffle)),
            Partitions = partitioner.Partitions,
            Label = label,
            CallSite = callSite,
            Parents = parents,
            Shuffles = [.. shuffles.OfType<ShuffleDependency>()],
            Unordered = parents.Any(parent => parent.Unordered),
        }, partitioner);
    }

    private static ShuffleDependency ShuffleBy<TKey, TValue>(this Rdd<KeyValuePair<TKey, TValue>> source, KeyPartitioner<TKey> partitioner)
    {
        _ = RowFormats.For<KeyValuePair<TKey, TValue>>();
        return new ShuffleDependency(source.Runner, source.Node, partitioner.Partitions, new PairWrite<TKey, TValue>(CustomPartitioner<TKey>.Watch(partitioner)));
    }

    /// <summary>Refuses, where it is given, a partitioner that makes no sense or cannot travel.</summary>
    private static void RequirePartitioner<TKey>(IJobRunner runner, KeyPartitioner<TKey> partitioner, string operation, string callSite)
    {
        if (partitioner.Partitions < 1)
        {
            throw new ArgumentException($"{operation} at {callSite}: {partitioner.GetType().Name} has {partitioner.Partitions} partitions; it must have at least 1.", nameof(partitioner));
        }
        SourceLocation.RequireTravels(runner, partitioner.PartitionOf, operation, callSite);
    }

    /// <summary>One side of an operator that reads several, its values' type left out.</summary>
    private sealed record JoinSide<TKey>(IJobRunner Runner, LineageNode Node, object? Partitioner, Func<KeyPartitioner<TKey>, ShuffleDependency> ShuffleBy)
    {
        public static JoinSide<TKey> Of<TValue>(Rdd<KeyValuePair<TKey, TValue>> side)
        {
            ArgumentNullException.ThrowIfNull(side);
            return new(side.Runner, side.Node, side.Partitioner, partitioner => side.ShuffleBy(partitioner));
        }
    }
}
