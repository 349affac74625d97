using System.Runtime.CompilerServices;
using Yarnish.Lineage;
using Yarnish.Operators;
using Yarnish.Serialization;

namespace Yarnish;

/// <summary>
/// A sorted collection. Rows are ranged over partitions by bounds that are sampled when the first job needs them, then each partition is sorted; rows that compare as equal
/// keep the order of the input. Taking the first few does not sort at all: each partition offers its best.
/// </summary>
/// <typeparam name="T">The row.</typeparam>
public sealed class OrderedRdd<T> : Rdd<T>
{
    /// <summary>Rows sampled per partition of the result, as Spark's range partitioner takes.</summary>
    private const int SamplesPerPartition = 20;

    private readonly Rdd<T> source;
    private readonly RowOrder<T> order;

    internal OrderedRdd(Rdd<T> source, RowOrder<T> order, string label, string callSite)
        : base(source.Runner, NewNode(source, order, label, callSite))
    {
        this.source = source;
        this.order = order;
    }

    /// <summary>Rows that the order so far leaves equal, in ascending order of a further key.</summary>
    public OrderedRdd<T> ThenBy<TKey>(
        Func<T, TKey> keySelector, IComparer<TKey>? comparer = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        Then(keySelector, comparer, descending: false, nameof(ThenBy), SourceLocation.Of(file, line));

    /// <summary>Rows that the order so far leaves equal, in descending order of a further key.</summary>
    public OrderedRdd<T> ThenByDescending<TKey>(
        Func<T, TKey> keySelector, IComparer<TKey>? comparer = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        Then(keySelector, comparer, descending: true, nameof(ThenByDescending), SourceLocation.Of(file, line));

    private OrderedRdd<T> Then<TKey>(Func<T, TKey> keySelector, IComparer<TKey>? comparer, bool descending, string label, string callSite)
    {
        SourceLocation.RequireTravels(Runner, keySelector, label, callSite);
        return new OrderedRdd<T>(source, new ThenOrder<T>(order, new KeyOrder<T, TKey>(keySelector, comparer, descending)), label, callSite);
    }

    /// <inheritdoc/>
    private protected override Task<T[]> TakeRowsAsync(int count, string name, CancellationToken cancellation) =>
        Node.Collection is null ? source.TakeOrderedAsync(count, order, name, cancellation) : base.TakeRowsAsync(count, name, cancellation);

    private static LineageNode NewNode(Rdd<T> source, RowOrder<T> order, string label, string callSite)
    {
        _ = RowFormats.For<T>();
        var partitions = Math.Max(1, Math.Min(source.Partitions, Math.Max(source.Runner.DefaultPartitions, 1)));
        var shuffle = new ShuffleDependency(source.Runner, source.Node, partitions, new UnsettledWrite())
        {
            Prepare = async cancellation => new RangeWrite<T>(await SampleBoundsAsync(source, order, partitions, $"{label} (sampling) at {callSite}", cancellation).ConfigureAwait(false), order),
        };
        return new LineageNode
        {
            Operator = new SortOperator<T>(shuffle.Shuffle, order),
            Partitions = partitions,
            Label = label,
            CallSite = callSite,
            Shuffles = [shuffle],
        };
    }

    /// <summary>The rows that part the collection into ranges of about equal size; at most partitions - 1.</summary>
    internal static async Task<T[]> SampleBoundsAsync(Rdd<T> source, RowOrder<T> order, int partitions, string name, CancellationToken cancellation)
    {
        if (partitions == 1)
        {
            return [];
        }
        // Three times the rows a partition needs, so that one that is larger than its neighbours is still seen well enough.
        var perPartition = Math.Max(1, 3 * SamplesPerPartition * partitions / Math.Max(1, source.Partitions));
        var samples = new List<(T Row, double Weight)>();
        await source.RunAsync(new SampleAction<T>(perPartition), name, null, (_, result) =>
        {
            var (count, rows) = SampleAction<T>.Read(result);
            samples.AddRange(rows.Select(row => (row, (double)count / rows.Length)));
        }, cancellation).ConfigureAwait(false);
        samples.Sort((left, right) => order.Compare(left.Row, right.Row));

        var bounds = new List<T>();
        var step = samples.Sum(sample => sample.Weight) / partitions;
        var passed = 0d;
        foreach (var (row, weight) in samples)
        {
            passed += weight;
            if (bounds.Count < partitions - 1 && passed >= step * (bounds.Count + 1) && (bounds.Count == 0 || order.Compare(bounds[^1], row) < 0))
            {
                bounds.Add(row);
            }
        }
        return [.. bounds];
    }
}
