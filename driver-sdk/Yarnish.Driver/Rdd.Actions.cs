using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using Yarnish.Lineage;
using Yarnish.Operators;
using Yarnish.Serialization;

namespace Yarnish;

public partial class Rdd<T>
{
    /// <summary>All rows, in the order of the partitions.</summary>
    /// <exception cref="YarnishJobException">A task failed for good, or the rows exceed <c>Yarnish:MaximumResultBytes</c> (1 GiB).</exception>
    public async Task<T[]> CollectAsync(CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        var parts = await PartsAsync(new CollectAction<T>(), Name(file, line), null, cancellation).ConfigureAwait(false);
        return Decode(parts);
    }

    /// <summary>How many rows there are.</summary>
    public async Task<long> CountAsync(CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        var count = 0L;
        await RunAsync(new CountAction<T>(), Name(file, line), null, (_, result) => count += BinaryPrimitives.ReadInt64LittleEndian(result.Span), cancellation).ConfigureAwait(false);
        return count;
    }

    /// <summary>
    /// The first rows: of the first partitions, or, behind an <c>OrderBy</c>, the smallest. Looks at one partition first, then at four times as many as so far until
    /// there are enough.
    /// </summary>
    public Task<T[]> TakeAsync(int count, CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        return count == 0 ? Task.FromResult(Array.Empty<T>()) : TakeRowsAsync(count, Name(file, line), cancellation);
    }

    /// <summary>The first row.</summary>
    /// <exception cref="InvalidOperationException">There is none.</exception>
    public async Task<T> FirstAsync(CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        await TakeRowsAsync(1, Name(file, line), cancellation).ConfigureAwait(false) is [var row] ? row : throw new InvalidOperationException("The collection has no rows.");

    /// <summary>Whether there is any row.</summary>
    public async Task<bool> AnyAsync(CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        (await TakeRowsAsync(1, Name(file, line), cancellation).ConfigureAwait(false)).Length > 0;

    /// <summary>Folds all rows into one. The function must be associative; partitions are folded in parallel, then their results in the order of the partitions.</summary>
    /// <exception cref="InvalidOperationException">There are no rows.</exception>
    public async Task<T> ReduceAsync(Func<T, T, T> function, CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        SourceLocation.RequireTravels(Runner, function, nameof(ReduceAsync), SourceLocation.Of(file, line));
        var parts = await PartsAsync(new ReduceAction<T>(function), Name(file, line), null, cancellation).ConfigureAwait(false);
        var folded = Decode(parts);
        return folded.Length > 0 ? folded.Aggregate(function) : throw new InvalidOperationException("ReduceAsync: the collection has no rows. Use AggregateAsync, which has a seed.");
    }

    /// <summary>Folds all rows into an accumulator: each partition from the seed, then the partitions' accumulators in their order.</summary>
    /// <param name="seed">The start of every partition, and of the whole: let it be neutral.</param>
    /// <param name="function">Adds a row.</param>
    /// <param name="combine">Joins two accumulators.</param>
    /// <param name="cancellation">Cancels the job.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public Task<TAccumulate> AggregateAsync<TAccumulate>(
        TAccumulate seed, Func<TAccumulate, T, TAccumulate> function, Func<TAccumulate, TAccumulate, TAccumulate> combine,
        CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        ArgumentNullException.ThrowIfNull(combine);
        SourceLocation.RequireTravels(Runner, function, nameof(AggregateAsync), SourceLocation.Of(file, line));
        return AggregatedAsync(seed, function, combine, Name(file, line), cancellation);
    }

    /// <summary>The smallest row; strings by ordinal unless a comparer is given.</summary>
    /// <exception cref="InvalidOperationException">There are no rows.</exception>
    public async Task<T> MinAsync(IComparer<T>? comparer = null, CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        await TakeOrderedAsync(1, new KeyOrder<T, T>(static row => row, comparer, descending: false), Name(file, line), cancellation).ConfigureAwait(false) is [var row]
            ? row : throw new InvalidOperationException("MinAsync: the collection has no rows.");

    /// <summary>The largest row; strings by ordinal unless a comparer is given.</summary>
    /// <exception cref="InvalidOperationException">There are no rows.</exception>
    public async Task<T> MaxAsync(IComparer<T>? comparer = null, CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        await TakeOrderedAsync(1, new KeyOrder<T, T>(static row => row, comparer, descending: true), Name(file, line), cancellation).ConfigureAwait(false) is [var row]
            ? row : throw new InvalidOperationException("MaxAsync: the collection has no rows.");

    /// <summary>Hands each partition to a function for its effects. It may run more than once for a partition when a task fails: let the effects be repeatable.</summary>
    public Task ForEachPartitionAsync(
        Action<IEnumerable<T>> action, CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        SourceLocation.RequireTravels(Runner, action, nameof(ForEachPartitionAsync), SourceLocation.Of(file, line));
        return RunAsync(new ForEachPartitionAction<T>(action, null), Name(file, line), null, static (_, _) => { }, cancellation);
    }

    /// <summary>As <see cref="ForEachPartitionAsync(Action{IEnumerable{T}}, CancellationToken, string, int)"/>, with an asynchronous function.</summary>
    public Task ForEachPartitionAsync(
        Func<IEnumerable<T>, Task> action, CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        SourceLocation.RequireTravels(Runner, action, nameof(ForEachPartitionAsync), SourceLocation.Of(file, line));
        return RunAsync(new ForEachPartitionAction<T>(null, action), Name(file, line), null, static (_, _) => { }, cancellation);
    }

    /// <summary>The first rows in the order of the partitions.</summary>
    private protected virtual async Task<T[]> TakeRowsAsync(int count, string name, CancellationToken cancellation)
    {
        var taken = new List<T>();
        for (int first = 0, many = 1; first < Partitions && taken.Count < count; first += many, many *= 4)
        {
            many = Math.Min(many, Partitions - first);
            var parts = await PartsAsync(new TakeAction<T>(count - taken.Count), name, [.. Enumerable.Range(first, many)], cancellation).ConfigureAwait(false);
            taken.AddRange(Decode(parts).Take(count - taken.Count));
        }
        return [.. taken];
    }

    internal async Task<T[]> TakeOrderedAsync(int count, RowOrder<T> order, string name, CancellationToken cancellation)
    {
        var parts = await PartsAsync(new TakeOrderedAction<T>(count, order), name, null, cancellation).ConfigureAwait(false);
        return [.. Decode(parts).Order(order).Take(count)];
    }

    /// <summary>Runs an action and gives the result of each partition, in the order of the partitions asked for, which must be ascending.</summary>
    internal async Task<ReadOnlyMemory<byte>[]> PartsAsync(ResultAction<T> action, string name, int[]? partitions, CancellationToken cancellation)
    {
        _ = RowFormats.For<T>();
        var parts = new ReadOnlyMemory<byte>[partitions?.Length ?? Partitions];
        await RunAsync(
            action, name, partitions, (partition, result) => parts[partitions is null ? partition : Array.BinarySearch(partitions, partition)] = result, cancellation).ConfigureAwait(false);
        return parts;
    }

    internal async Task RunAsync(ResultAction<T> action, string name, IReadOnlyList<int>? partitions, Action<int, ReadOnlyMemory<byte>> onResult, CancellationToken cancellation)
    {
        await StagePlanner.PrepareAsync(Node, cancellation).ConfigureAwait(false);
        if (Partitions == 0)
        {
            return;
        }
        await Runner.RunAsync(StagePlanner.Plan(Node, name, action, partitions, onResult), cancellation).ConfigureAwait(false);
        // The lineage holds the shuffles this job reads: it must outlive the job, not only its planning.
        GC.KeepAlive(Node);
    }

    internal static T[] Decode(ReadOnlyMemory<byte>[] parts)
    {
        var format = RowFormats.For<T>();
        return [.. parts.SelectMany(format.Read)];
    }

    private static string Name(string file, int line, [CallerMemberName] string action = "") => $"{action} at {SourceLocation.Of(file, line)}";
}
