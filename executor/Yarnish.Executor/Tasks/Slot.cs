using System.Diagnostics;
using Microsoft.Extensions.Logging;
using Yarnish.Blocks;
using Yarnish.Protocol;

namespace Yarnish.Executor;

/// <summary>
/// One slot: a dedicated thread that runs one attempt after another. User code never runs on the pool, where it could starve the connections that keep the executor alive.
/// </summary>
internal sealed class Slot(
    int index,
    RunningPage page,
    SlotQueue queue,
    AttemptTable table,
    ReportSender sender,
    ExecutorServices services,
    Func<string, StageProgram?> load,
    Task startAfter,
    Action<Exception> failed)
{
    private readonly ExecutorOptions options = services.Options;

    /// <summary>Takes attempts until the queue is closed.</summary>
    public void Run()
    {
        try
        {
            startAfter.Wait();
            while (queue.TryTake(out var attempt))
            {
                RunOne(attempt);
            }
        }
        catch (Exception error)
        {
            // Not user code, which is caught below: the executor itself is broken.
            failed(error);
        }
    }

    private void RunOne(Attempt attempt)
    {
        using var stop = new CancellationTokenSource();
        if (!table.TryStart(attempt, stop))
        {
            return;
        }
        page.Start(index, attempt.Id);
        var started = Stopwatch.GetTimestamp();
        var startTime = attempt.Trace is null ? default : services.Time.GetUtcNow();
        var pausesBefore = GC.GetTotalPauseDuration();
        var span = TaskSpan.Start(attempt);
        using var runtime = new AttemptRuntime(services, attempt, stop.Token);
        TaskContext.SetCurrent(runtime.Context);
        TaskEnd end;
        try
        {
            end = Run(attempt, runtime, started);
        }
        finally
        {
            TaskContext.SetCurrent(null);
            runtime.Context.End();
        }

        var result = runtime.Result;
        string? block = null;
        if (end is TaskSucceeded && (result.Length > options.InlineResultBytes || table.KeptResultBytes + result.Length > options.KeptResultBytes) && result.Length > 0)
        {
            (end, block) = StoreResult(attempt, result);
        }
        var metrics = runtime.End(
            Microseconds(Stopwatch.GetTimestamp() - started),
            Microseconds(started - attempt.Admitted),
            (long)(GC.GetTotalPauseDuration() - pausesBefore).TotalMicroseconds,
            result.Length);
        var traceParent = attempt.Trace is null
            ? ""
            : TaskSpan.End(span, attempt, end, metrics, options.ExecutorId, startTime, services.Time.GetUtcNow(), runtime.Phases);
        var succeeded = end is TaskSucceeded;
        var report = new TaskReport(attempt.Id, end, metrics, succeeded && block is null ? result : default)
        {
            ResultBlock = block,
            MapOutput = succeeded ? runtime.MapOutput : null,
            Cached = runtime.Cached,
            Accumulators = succeeded ? runtime.Accumulators : null,
            TraceParent = traceParent,
        };
        page.End(index);
        if (table.End(attempt, report))
        {
            sender.Add(attempt);
        }
    }

    private TaskEnd Run(Attempt attempt, AttemptRuntime runtime, long started)
    {
        Exception? error = null;
        try
        {
            var program = load(attempt.Batch.CodeHash);
            if (program is null)
            {
                return new TaskCodeMissing(attempt.Batch.CodeHash);
            }
            runtime.Counters.DeserializeMicroseconds += Microseconds(Stopwatch.GetTimestamp() - started);
            program.Run(runtime);
            if (runtime.FetchFailure is { } failure)
            {
                error = new ShuffleFetchException(failure);
            }
        }
        catch (Exception thrown)
        {
            error = thrown;
        }
        var broken = runtime.Context.Complete(error);
        error ??= broken;
        if (error is not null)
        {
            return Judge(attempt, runtime, error);
        }
        try
        {
            runtime.CloseAccumulators();
            return TaskSucceeded.Instance;
        }
        catch (Exception thrown)
        {
            return Judge(attempt, runtime, thrown);
        }
    }

    private static TaskEnd Judge(Attempt attempt, AttemptRuntime runtime, Exception error)
    {
        // The order matters: a lost map output is not the task's fault, whatever the user's code wrapped around it; what a cancelled task throws is its way to stop.
        if (runtime.FetchFailure is { } failure)
        {
            return failure;
        }
        if (TaskErrors.Find<ShuffleFetchException>(error) is { } fetch)
        {
            return fetch.Failure;
        }
        return attempt.StopReason is { } reason ? new TaskKilled(reason) : new TaskFailed(TaskErrors.Describe(error));
    }

    private (TaskEnd End, string? Block) StoreResult(Attempt attempt, ReadOnlyMemory<byte> result)
    {
        var block = BlockId.OfResult(attempt.Id);
        try
        {
            services.Directory.WriteNamed(block, result.Span);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            services.Logger.LogError(error, "The result of attempt {Attempt} cannot be written", attempt.Id);
            return (new TaskFailed(TaskErrors.Describe(new IOException($"The result of {result.Length} bytes cannot be written on node {options.NodeId}: {error.Message}", error))), null);
        }
        return (TaskSucceeded.Instance, block.Value);
    }

    private static long Microseconds(long ticks) => ticks * 1_000_000 / Stopwatch.Frequency;
}
