using Yarnish.Operators;

namespace Yarnish.Sources;

/// <summary>Rows that a function of the user streams. The next row is asked for when the task wants it: a slow task slows its source down, nothing piles up.</summary>
internal sealed class AsyncPartitionsOperator<T>(Func<int, IAsyncEnumerable<T>> open) : Operator<T>
{
    private readonly Func<int, IAsyncEnumerable<T>> open = open;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition)
    {
        var cancellation = inputs.Task.Context.Cancellation;
        var source = open(partition) ?? throw new InvalidOperationException($"FromPartitions: the function gave null for partition {partition}.");
        var rows = source.GetAsyncEnumerator(cancellation);
        Task<bool>? pending = null;
        try
        {
            while (true)
            {
                var next = rows.MoveNextAsync();
                bool more;
                if (next.IsCompleted)
                {
                    more = next.GetAwaiter().GetResult();
                }
                else
                {
                    // The slot's thread is the task's own; nothing else runs on it, so waiting blocks nobody.
                    pending = next.AsTask();
                    Wait(pending, cancellation);
                    more = pending.GetAwaiter().GetResult();
                    pending = null;
                }
                if (!more)
                {
                    yield break;
                }
                inputs.Task.Counters.InputRows++;
                yield return rows.Current;
            }
        }
        finally
        {
            if (pending is null or { IsCompleted: true })
            {
                rows.DisposeAsync().AsTask().GetAwaiter().GetResult();
            }
            else
            {
                // The task was stopped and its source does not listen: it is disposed when it comes back, for an enumerator cannot be while it moves.
                _ = pending.ContinueWith(
                    static (_, state) => ((IAsyncEnumerator<T>)state!).DisposeAsync().AsTask(), rows, CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
            }
        }
    }

    private static void Wait(Task<bool> next, CancellationToken cancellation)
    {
        try
        {
            next.Wait(cancellation);
        }
        catch (AggregateException)
        {
            // Thrown again as what it was.
        }
    }
}
