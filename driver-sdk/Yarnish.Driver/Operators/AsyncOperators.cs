using System.Runtime.ExceptionServices;
using System.Threading.Channels;

namespace Yarnish.Operators;

/// <summary>
/// Each row becomes another by an asynchronous function; several run at once, results come in the order of the rows. The slot's thread reads the rows, starts the functions and waits; what follows
/// an <c>await</c> runs on the thread pool.
/// </summary>
internal sealed class SelectAsyncOperator<TInput, T>(Func<TInput, CancellationToken, Task<T>> function, int parallelism) : Operator<T>
{
    private readonly Func<TInput, CancellationToken, Task<T>> function = function;
    private readonly int parallelism = parallelism;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition)
    {
        var rows = inputs.Open<TInput>(0, partition);
        var work = new AsyncWork(inputs.Task.Context.Cancellation);
        var running = new Queue<Task<T>>();
        try
        {
            foreach (var row in rows)
            {
                if (running.Count == parallelism)
                {
                    yield return work.Wait(running.Dequeue());
                }
                running.Enqueue(work.RunAsync(function, row));
            }
            while (running.TryDequeue(out var next))
            {
                yield return work.Wait(next);
            }
        }
        finally
        {
            work.End(running);
        }
    }
}

/// <summary>Each row becomes any number of others, which come asynchronously; several rows at once, results in the order of the rows.</summary>
internal sealed class SelectManyAsyncOperator<TInput, T>(Func<TInput, CancellationToken, IAsyncEnumerable<T>> function, int parallelism) : Operator<T>
{
    /// <summary>Results of one row that wait for their turn.</summary>
    private const int Ahead = 64;

    private readonly Func<TInput, CancellationToken, IAsyncEnumerable<T>> function = function;
    private readonly int parallelism = parallelism;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition)
    {
        var rows = inputs.Open<TInput>(0, partition);
        var work = new AsyncWork(inputs.Task.Context.Cancellation);
        var running = new Queue<(Task Task, ChannelReader<T> Results)>();
        try
        {
            using var row = rows.GetEnumerator();
            var more = true;
            while (true)
            {
                while (more && running.Count < parallelism && (more = row.MoveNext()))
                {
                    var results = Channel.CreateBounded<T>(new BoundedChannelOptions(Ahead) { SingleReader = true, SingleWriter = true });
                    running.Enqueue((work.RunAsync((Function: function, Row: row.Current, results.Writer), PumpAsync), results.Reader));
                }
                if (!running.TryPeek(out var first))
                {
                    break;
                }
                while (work.Wait(first.Results.WaitToReadAsync().AsTask()))
                {
                    while (first.Results.TryRead(out var result))
                    {
                        yield return result;
                    }
                }
                work.Wait(first.Task);
                running.Dequeue();
            }
        }
        finally
        {
            work.End(running.Select(static next => next.Task));
        }
    }

    private static async Task PumpAsync((Func<TInput, CancellationToken, IAsyncEnumerable<T>> Function, TInput Row, ChannelWriter<T> Results) from, CancellationToken cancellation)
    {
        try
        {
            await foreach (var result in from.Function(from.Row, cancellation).WithCancellation(cancellation).ConfigureAwait(false))
            {
                await from.Results.WriteAsync(result, cancellation).ConfigureAwait(false);
            }
        }
        finally
        {
            // Whoever reads learns of an error from the task.
            from.Results.Complete();
        }
    }
}

/// <summary>A whole partition at a time through an asynchronous stream.</summary>
internal sealed class MapPartitionsAsyncOperator<TInput, T>(Func<IAsyncEnumerable<TInput>, CancellationToken, IAsyncEnumerable<T>> function) : Operator<T>
{
    private readonly Func<IAsyncEnumerable<TInput>, CancellationToken, IAsyncEnumerable<T>> function = function;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(inputs.Task.Context.Cancellation);
        using var rows = new SlotRows<TInput>(inputs.Open<TInput>(0, partition));
        var results = function(rows, stop.Token).GetAsyncEnumerator(stop.Token);
        try
        {
            while (rows.ServeUntil(results.MoveNextAsync()))
            {
                yield return results.Current;
            }
        }
        finally
        {
            stop.Cancel();
            rows.ServeUntil(results.DisposeAsync());
        }
    }
}

/// <summary>Asynchronous functions of one partition that run at the same time: the first that fails cancels the others, and its error is the one that is thrown.</summary>
internal sealed class AsyncWork(CancellationToken cancellation)
{
    private readonly CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
    private Exception? failure;

    public async Task<T> RunAsync<TInput, T>(Func<TInput, CancellationToken, Task<T>> function, TInput row)
    {
        try
        {
            return await function(row, stop.Token).ConfigureAwait(false);
        }
        catch (Exception error)
        {
            Fail(error);
            throw;
        }
    }

    public async Task RunAsync<TInput>(TInput row, Func<TInput, CancellationToken, Task> function)
    {
        try
        {
            await function(row, stop.Token).ConfigureAwait(false);
        }
        catch (Exception error)
        {
            Fail(error);
            throw;
        }
    }

    /// <summary>Blocks the slot's thread, which nothing else runs on.</summary>
    public T Wait<T>(Task<T> task)
    {
        Wait((Task)task);
        return task.Result;
    }

    /// <summary>Blocks the slot's thread, which nothing else runs on.</summary>
    public void Wait(Task task)
    {
        task.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing).GetAwaiter().GetResult();
        if (!task.IsCompletedSuccessfully)
        {
            // A task that was cancelled because another failed tells nothing; the other does.
            ExceptionDispatchInfo.Throw(Volatile.Read(ref failure) ?? task.Exception?.InnerException ?? new TaskCanceledException(task));
        }
    }

    /// <summary>Cancels what still runs, and waits for it: nothing of this attempt may go on when the next begins.</summary>
    public void End(IEnumerable<Task> running)
    {
        var left = Task.WhenAll(running);
        if (!left.IsCompleted)
        {
            stop.Cancel();
        }
        left.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing).GetAwaiter().GetResult();
        stop.Dispose();
    }

    private void Fail(Exception error)
    {
        if (Interlocked.CompareExchange(ref failure, error, null) is null)
        {
            stop.Cancel();
        }
    }
}

/// <summary>
/// The rows of a partition as an asynchronous stream. Whoever reads it may be on any thread, but the rows are always computed on the slot's: while that waits for results it serves those who ask
/// for rows, some at a time, so that a change of threads is rare.
/// </summary>
internal sealed class SlotRows<T>(IEnumerable<T> rows) : IAsyncEnumerable<T>, IAsyncEnumerator<T>, IDisposable
{
    private const int AtOnce = 64;

    private readonly IEnumerator<T> rows = rows.GetEnumerator();
    private readonly int slotThread = Environment.CurrentManagedThreadId;
    private readonly SemaphoreSlim signal = new(0);
    private readonly Queue<T> ready = new();
    private TaskCompletionSource<bool>? asked;
    private bool taken;

    public T Current { get; private set; } = default!;

    public IAsyncEnumerator<T> GetAsyncEnumerator(CancellationToken cancellationToken = default)
    {
        if (taken)
        {
            throw new InvalidOperationException("MapPartitionsAsync: the rows of a partition can be read once only.");
        }
        taken = true;
        return this;
    }

    public ValueTask<bool> MoveNextAsync()
    {
        if (ready.TryDequeue(out var row))
        {
            Current = row;
            return new(true);
        }
        if (Environment.CurrentManagedThreadId == slotThread)
        {
            if (!rows.MoveNext())
            {
                return new(false);
            }
            Current = rows.Current;
            return new(true);
        }
        return new(AskAsync());
    }

    public ValueTask DisposeAsync() => default;

    /// <summary>Waits on the slot's thread, and computes rows meanwhile.</summary>
    public bool ServeUntil(ValueTask<bool> results)
    {
        if (results.IsCompleted)
        {
            return results.GetAwaiter().GetResult();
        }
        var task = results.AsTask();
        Serve(task);
        return task.GetAwaiter().GetResult();
    }

    /// <summary>Waits on the slot's thread, and computes rows meanwhile.</summary>
    public void ServeUntil(ValueTask ending)
    {
        if (!ending.IsCompleted)
        {
            var task = ending.AsTask();
            Serve(task);
            ending = new(task);
        }
        ending.GetAwaiter().GetResult();
    }

    public void Dispose() => rows.Dispose();

    private void Serve(Task task)
    {
        task.ContinueWith(static (_, state) => ((SemaphoreSlim)state!).Release(), signal, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        while (!task.IsCompleted)
        {
            signal.Wait();
            if (Interlocked.Exchange(ref asked, null) is { } waiting)
            {
                Answer(waiting);
            }
        }
    }

    private void Answer(TaskCompletionSource<bool> waiting)
    {
        try
        {
            while (ready.Count < AtOnce && rows.MoveNext())
            {
                ready.Enqueue(rows.Current);
            }
        }
        catch (Exception error)
        {
            waiting.SetException(error);
            return;
        }
        waiting.SetResult(ready.Count > 0);
    }

    private async Task<bool> AskAsync()
    {
        var waiting = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
        asked = waiting;
        signal.Release();
        if (!await waiting.Task.ConfigureAwait(false))
        {
            return false;
        }
        Current = ready.Dequeue();
        return true;
    }
}
