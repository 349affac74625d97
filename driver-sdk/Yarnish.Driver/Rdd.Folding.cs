using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using Yarnish.Lineage;
using Yarnish.Operators;
using Yarnish.Serialization;

namespace Yarnish;

/// <content>More actions that bring one value to the driver.</content>
public partial class Rdd<T>
{
    /// <summary>
    /// Folds all rows, starting from a seed: each partition from the seed, then the partitions' results in their order, again from the seed. The function must be associative and the seed neutral.
    /// Without rows the seed is the result.
    /// </summary>
    public Task<T> FoldAsync(T seed, Func<T, T, T> function, CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        SourceLocation.RequireTravels(Runner, function, nameof(FoldAsync), SourceLocation.Of(file, line));
        return AggregatedAsync(seed, function, function, Name(file, line), cancellation);
    }

    /// <summary>
    /// As <see cref="ReduceAsync"/>, but the partitions' results are first folded by tasks, in a tree of a given depth, so that the driver folds only a few: worth it when results are large or
    /// partitions many. The function must be associative; neighbours are folded in their order.
    /// </summary>
    /// <param name="function">Folds two rows.</param>
    /// <param name="depth">Levels of the tree; 1 is <see cref="ReduceAsync"/>. Default 2.</param>
    /// <param name="cancellation">Cancels the job.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    /// <exception cref="InvalidOperationException">There are no rows.</exception>
    public async Task<T> TreeReduceAsync(
        Func<T, T, T> function, int depth = 2, CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        var callSite = SourceLocation.Of(file, line);
        SourceLocation.RequireTravels(Runner, function, nameof(TreeReduceAsync), callSite);
        var folded = await Derive(new FoldRowsOperator<T>(function), nameof(TreeReduceAsync), callSite)
            .TreeAsync(function, depth, nameof(TreeReduceAsync), callSite, Name(file, line), cancellation).ConfigureAwait(false);
        return folded.Length > 0 ? folded.Aggregate(function) : throw new InvalidOperationException("TreeReduceAsync: the collection has no rows. Use TreeAggregateAsync, which has a seed.");
    }

    /// <summary>As <see cref="AggregateAsync"/>, but the partitions' accumulators are first combined by tasks, in a tree of a given depth; see <see cref="TreeReduceAsync"/>.</summary>
    /// <param name="seed">The start of every partition, and of the whole: let it be neutral.</param>
    /// <param name="function">Adds a row.</param>
    /// <param name="combine">Joins two accumulators; associative.</param>
    /// <param name="depth">Levels of the tree; 1 is <see cref="AggregateAsync"/>. Default 2.</param>
    /// <param name="cancellation">Cancels the job.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public async Task<TAccumulate> TreeAggregateAsync<TAccumulate>(
        TAccumulate seed, Func<TAccumulate, T, TAccumulate> function, Func<TAccumulate, TAccumulate, TAccumulate> combine, int depth = 2,
        CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        var callSite = SourceLocation.Of(file, line);
        SourceLocation.RequireTravels(Runner, function, nameof(TreeAggregateAsync), callSite);
        SourceLocation.RequireTravels(Runner, combine, nameof(TreeAggregateAsync), callSite);
        var combined = await Derive(new AggregateRowsOperator<T, TAccumulate>(Rows.OneToBytes(seed), function), nameof(TreeAggregateAsync), callSite)
            .TreeAsync(combine, depth, nameof(TreeAggregateAsync), callSite, Name(file, line), cancellation).ConfigureAwait(false);
        return combined.Aggregate(seed, combine);
    }

    /// <summary>Whether a row is there; needs value equality. Looks at one partition first, then at four times as many as so far.</summary>
    public async Task<bool> ContainsAsync(T row, CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        StableHash.Require<T>(nameof(ContainsAsync), SourceLocation.Of(file, line));
        var wanted = Rows.OneToBytes(row);
        var found = Derive(new EqualRowsOperator<T>(wanted), nameof(ContainsAsync), SourceLocation.Of(file, line));
        return (await found.TakeRowsAsync(1, Name(file, line), cancellation).ConfigureAwait(false)).Length > 0;
    }

    /// <summary>The row with the smallest key, the first of them in the order of the collection; strings by ordinal unless a comparer is given.</summary>
    /// <exception cref="InvalidOperationException">There are no rows.</exception>
    public Task<T> MinByAsync<TKey>(
        Func<T, TKey> keySelector, IComparer<TKey>? comparer = null, CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        ExtremeAsync(keySelector, comparer, descending: false, nameof(MinByAsync), SourceLocation.Of(file, line), cancellation);

    /// <summary>The row with the largest key, the first of them in the order of the collection; strings by ordinal unless a comparer is given.</summary>
    /// <exception cref="InvalidOperationException">There are no rows.</exception>
    public Task<T> MaxByAsync<TKey>(
        Func<T, TKey> keySelector, IComparer<TKey>? comparer = null, CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        ExtremeAsync(keySelector, comparer, descending: true, nameof(MaxByAsync), SourceLocation.Of(file, line), cancellation);

    /// <summary>Hands each row to a function for its effects. It may run more than once for a row when a task fails: let the effects be repeatable.</summary>
    public Task ForEachAsync(Action<T> action, CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        SourceLocation.RequireTravels(Runner, action, nameof(ForEachAsync), SourceLocation.Of(file, line));
        return RunAsync(new ForEachAction<T>(action), Name(file, line), null, static (_, _) => { }, cancellation);
    }

    /// <summary>
    /// About how many different rows there are, by a HyperLogLog sketch: a fixed small memory however many there are, and no shuffle. For an exact number, <c>Distinct().CountAsync()</c>.
    /// </summary>
    /// <param name="relativeError">Standard error as a share of the result, from 0.0021 to 0.4. Default 0.05: two thirds of all results are within 5 %.</param>
    /// <param name="cancellation">Cancels the job.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public async Task<long> CountApproxDistinctAsync(
        double relativeError = 0.05, CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        var precision = HyperLogLog.PrecisionFor(relativeError);
        StableHash.Require<T>(nameof(CountApproxDistinctAsync), SourceLocation.Of(file, line));
        var sketch = HyperLogLog.Empty(precision);
        await RunAsync(new SketchAction<T>(precision), Name(file, line), null, (_, result) => sketch = HyperLogLog.Merge(sketch, result.ToArray()), cancellation).ConfigureAwait(false);
        return HyperLogLog.Estimate(sketch);
    }

    /// <summary>
    /// How many rows there are, as far as it can be said after some time: what is counted by then, and an estimate with bounds for the rest. The job is cancelled when the time is over.
    /// </summary>
    /// <remarks>The partitions that were counted are taken for a random sample: when those that end first are much smaller than the others, the estimate is too small.</remarks>
    /// <param name="timeout">How long to count; longer than zero.</param>
    /// <param name="confidence">The chance that the number is within the bounds, above 0 and below 1. Default 0.95.</param>
    /// <param name="cancellation">Cancels the job: there is no result then.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public async Task<ApproximateCount> CountApproxAsync(
        TimeSpan timeout, double confidence = 0.95, CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(timeout, TimeSpan.Zero);
        if (confidence is not (> 0 and < 1))
        {
            throw new ArgumentOutOfRangeException(nameof(confidence), confidence, "The confidence must be above 0 and below 1.");
        }
        var counts = new ConcurrentQueue<long>();
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        stop.CancelAfter(timeout);
        try
        {
            await RunAsync(new CountAction<T>(), Name(file, line), null, (_, result) => counts.Enqueue(BinaryPrimitives.ReadInt64LittleEndian(result.Span)), stop.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested && stop.IsCancellationRequested)
        {
            // The time is over: what came until now is what there is.
        }
        return ApproximateCount.From(counts.ToArray(), Partitions, confidence);
    }

    private async Task<T> ExtremeAsync<TKey>(Func<T, TKey> keySelector, IComparer<TKey>? comparer, bool descending, string label, string callSite, CancellationToken cancellation)
    {
        SourceLocation.RequireTravels(Runner, keySelector, label, callSite);
        return await TakeOrderedAsync(1, new KeyOrder<T, TKey>(keySelector, comparer, descending), $"{label} at {callSite}", cancellation).ConfigureAwait(false) is [var row]
            ? row : throw new InvalidOperationException($"{label}: the collection has no rows.");
    }

    private async Task<TAccumulate> AggregatedAsync<TAccumulate>(
        TAccumulate seed, Func<TAccumulate, T, TAccumulate> function, Func<TAccumulate, TAccumulate, TAccumulate> combine, string name, CancellationToken cancellation)
    {
        var parts = await PartsAsync(new AggregateAction<T, TAccumulate>(seed, function), name, null, cancellation).ConfigureAwait(false);
        return parts.Select(part => Rows.FromBytes<TAccumulate>(part)).Aggregate(seed, combine);
    }

    /// <summary>Folds a collection of at most one row per partition down a tree, and gives the rows that are left for the driver, in order.</summary>
    private async Task<T[]> TreeAsync(Func<T, T, T> combine, int depth, string label, string callSite, string name, CancellationToken cancellation)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(depth, 1);
        _ = RowFormats.For<T>();
        var level = this;
        // The same branching on every level, as Spark chooses it; a level that would save the driver hardly anything is left out.
        var scale = Math.Max(2, (int)Math.Ceiling(Math.Pow(Partitions, 1.0 / depth)));
        while (depth > 1 && level.Partitions > scale + ((level.Partitions + scale - 1) / scale))
        {
            var reducers = (level.Partitions + scale - 1) / scale;
            var shuffle = new ShuffleDependency(Runner, level.Node, reducers, new NeighbourWrite<T>(level.Partitions, reducers));
            level = level.Shuffled(shuffle, from => new FoldReadOperator<T>(from.Shuffle, combine), label, callSite, unordered: level.Node.Unordered);
        }
        return Decode(await level.PartsAsync(new CollectAction<T>(), name, null, cancellation).ConfigureAwait(false));
    }
}
