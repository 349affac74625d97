using Yarnish.Executor;

namespace Yarnish;

/// <summary>
/// Where <see cref="Rdd{T}.SaveAsync"/> writes: a file format, a table, a queue. Derive from it to write where Yarnish does not. Every partition is committed once, whatever was tried twice:
/// tasks write so that nobody sees it and say what they wrote; the driver, which takes the first attempt of each partition, makes it seen.
/// </summary>
/// <remarks>
/// The order is <see cref="PrepareAsync"/> on the driver, <see cref="WriteAsync"/> in tasks, then <see cref="CommitAsync"/> on the driver, and <see cref="EndAsync"/> there in any case. The sink
/// travels to the tasks as it is after <see cref="PrepareAsync"/>: let its fields be data. Several tasks may use one object: <see cref="WriteAsync"/> must not change it.
/// </remarks>
/// <typeparam name="T">The row.</typeparam>
public abstract class Sink<T>
{
    /// <summary>On the driver, before any task: makes the place where tasks write. False when there is nothing to do, and no job runs. An exception fails the save.</summary>
    public virtual Task<bool> PrepareAsync(CancellationToken cancellation) => Task.FromResult(true);

    /// <summary>
    /// In a task: writes the rows of one partition so that no one takes them for committed, under a name that carries <see cref="TaskContext.AttemptId"/>, for another attempt of the same
    /// partition may write at the same time. What has been written must last when it returns. When it throws, the attempt has failed and should leave nothing.
    /// </summary>
    /// <param name="rows">To be read once.</param>
    /// <param name="task">Partition, attempt, cancellation.</param>
    /// <returns>What <see cref="CommitAsync"/> needs to know, small.</returns>
    public abstract Task<SinkReceipt> WriteAsync(IEnumerable<T> rows, TaskContext task);

    /// <summary>On the driver, once, when every partition is written: makes it all seen, best at once. An exception fails the save. Not cancelled: it ends what has begun.</summary>
    /// <param name="receipts">What the first successful attempt of each partition returned, in the order of the partitions.</param>
    public abstract Task CommitAsync(IReadOnlyList<SinkReceipt> receipts);

    /// <summary>
    /// On the driver, at the end, whether the save was committed, failed or was cancelled: removes what attempts left that were not taken. Attempts that nobody waits for any more may still be
    /// writing: let them fail, or leave nothing that lasts. Must not throw for what is gone already.
    /// </summary>
    public virtual Task EndAsync() => Task.CompletedTask;
}

/// <summary>What an attempt wrote.</summary>
/// <param name="Value">Whatever the sink wants to find again, such as a file name.</param>
/// <param name="Bytes">How many bytes, for the metrics; 0 when unknown.</param>
public readonly record struct SinkReceipt(string Value, long Bytes);
