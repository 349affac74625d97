using System.Runtime.CompilerServices;
using Yarnish.Lineage;
using Yarnish.Operators;

namespace Yarnish;

/// <content>
/// Steps with asynchronous functions, for work that waits: calls to services, databases, disks. They are lazy like all steps, in spite of their names. Functions may run ahead of what is read, by
/// no more than the parallelism; one that fails cancels the others of its partition and fails the task.
/// </content>
public partial class Rdd<T>
{
    /// <summary>Functions of one partition that wait at once when nobody says.</summary>
    private const int DefaultParallelism = 8;

    /// <summary>Each row becomes another by an asynchronous function. Several rows are under way at once; the results keep the order of the rows.</summary>
    /// <param name="selector">Makes the other row.</param>
    /// <param name="parallelism">How many rows of a partition are under way at most, 1 or more. Default 8.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public Rdd<TResult> SelectAsync<TResult>(
        Func<T, Task<TResult>> selector, int parallelism = DefaultParallelism, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(parallelism, 1);
        return Narrow(selector, new SelectAsyncOperator<T, TResult>((row, _) => selector(row), parallelism), file, line);
    }

    /// <summary>As <see cref="SelectAsync{TResult}(Func{T, Task{TResult}}, int, string, int)"/>; the token is cancelled when the task is to stop or another function of the partition has failed.</summary>
    public Rdd<TResult> SelectAsync<TResult>(
        Func<T, CancellationToken, Task<TResult>> selector, int parallelism = DefaultParallelism, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(parallelism, 1);
        return Narrow(selector, new SelectAsyncOperator<T, TResult>(selector, parallelism), file, line);
    }

    /// <summary>Each row becomes any number of others that come asynchronously, such as the pages of a listing. The results keep the order of the rows.</summary>
    /// <param name="selector">Gives the other rows; of rows that are not yet due at most 64 results each are held.</param>
    /// <param name="parallelism">How many rows of a partition are under way at most, 1 or more. Default 8.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public Rdd<TResult> SelectManyAsync<TResult>(
        Func<T, IAsyncEnumerable<TResult>> selector, int parallelism = DefaultParallelism, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(parallelism, 1);
        return Narrow(selector, new SelectManyAsyncOperator<T, TResult>((row, _) => selector(row), parallelism), file, line);
    }

    /// <summary>As <see cref="SelectManyAsync{TResult}(Func{T, IAsyncEnumerable{TResult}}, int, string, int)"/>; the token is cancelled when the task is to stop or another function has failed.</summary>
    public Rdd<TResult> SelectManyAsync<TResult>(
        Func<T, CancellationToken, IAsyncEnumerable<TResult>> selector, int parallelism = DefaultParallelism, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(parallelism, 1);
        return Narrow(selector, new SelectManyAsyncOperator<T, TResult>(selector, parallelism), file, line);
    }

    /// <summary>A whole partition at a time through an asynchronous stream: open a connection once, send rows in batches, await in between.</summary>
    /// <param name="function">Gets the rows of a partition, to be read once, and gives the rows of the result; best an <c>async</c> iterator.</param>
    /// <param name="keepsPartitioning">True when it changes no keys, so that what is known about the partitioning stays true.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public Rdd<TResult> MapPartitionsAsync<TResult>(
        Func<IAsyncEnumerable<T>, IAsyncEnumerable<TResult>> function, bool keepsPartitioning = false, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        Narrow(function, new MapPartitionsAsyncOperator<T, TResult>((rows, _) => function(rows)), file, line, keepsPartitioning ? Partitioner : null);

    /// <summary>As <see cref="MapPartitionsAsync{TResult}(Func{IAsyncEnumerable{T}, IAsyncEnumerable{TResult}}, bool, string, int)"/>; the token is cancelled when the task is to stop.</summary>
    public Rdd<TResult> MapPartitionsAsync<TResult>(
        Func<IAsyncEnumerable<T>, CancellationToken, IAsyncEnumerable<TResult>> function, bool keepsPartitioning = false, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        Narrow(function, new MapPartitionsAsyncOperator<T, TResult>(function), file, line, keepsPartitioning ? Partitioner : null);

    /// <summary>Hands each row to an asynchronous function for its effects, several at once. It may run more than once for a row when a task fails: let the effects be repeatable.</summary>
    /// <param name="action">The function; the token is cancelled when the task is to stop or another function of the partition has failed.</param>
    /// <param name="parallelism">How many rows of a partition are under way at most, 1 or more. Default 8.</param>
    /// <param name="cancellation">Cancels the job.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public Task ForEachAsync(
        Func<T, CancellationToken, Task> action, int parallelism = DefaultParallelism, CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(parallelism, 1);
        var callSite = SourceLocation.Of(file, line);
        SourceLocation.RequireTravels(Runner, action, nameof(ForEachAsync), callSite);
        return Derive(new SelectAsyncOperator<T, bool>((row, stop) => DoneAsync(action(row, stop)), parallelism), nameof(ForEachAsync), callSite)
            .RunAsync(new ForEachAction<bool>(static _ => { }), Name(file, line), null, static (_, _) => { }, cancellation);
    }

    private static async Task<bool> DoneAsync(Task action)
    {
        await action.ConfigureAwait(false);
        return true;
    }
}
