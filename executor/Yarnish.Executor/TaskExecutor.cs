using System.Collections.Concurrent;
using System.Diagnostics;
using System.Threading.Channels;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Yarnish.Blocks;
using Yarnish.Hosting;
using Yarnish.Protocol;
using Yarnish.Transport;

namespace Yarnish.Executor;

/// <summary>
/// An executor: admits tasks from its link, runs them on slot threads, reports their ends. The same class runs in the executor process and inside an embedded session.
/// <code>
/// link ─▶ event loop ─▶ AttemptTable ─▶ SlotQueue ─▶ Slot × n ─▶ AttemptTable ─▶ ReportSender ─▶ link
///                                                      └─ AttemptRuntime: shuffle, cache, result
/// </code>
/// </summary>
public sealed class TaskExecutor : IAsyncDisposable
{
    /// <summary>Operators call each other: a lineage of ten thousand steps needs its frames. Reserved, not used, until then.</summary>
    private const int SlotStackBytes = 64 << 20;

    /// <summary>How long an executor that its agent stops writes persisted partitions to disk: well below the grace that agents give.</summary>
    private static readonly TimeSpan LeaveTimeout = TimeSpan.FromSeconds(3);

    private static readonly ExecutorEnd ToldToEnd = new(0, "Told to end.");

    private readonly ExecutorOptions options;
    private readonly IExecutorLink link;
    private readonly Func<ReadOnlyMemory<byte>, StageProgram> deserialize;
    private readonly Func<string, StageProgram?>? sharedPrograms;
    private readonly TimeProvider time;
    private readonly ILogger logger;
    private readonly AttemptTable table;
    private readonly SlotQueue queue = new();
    private readonly ReportSender sender;
    private readonly CodeCache code = new();
    private readonly ExecutorServices services;
    private readonly LocationCache locations;
    private readonly DriverBlocks driverBlocks;
    private readonly BarrierGate barriers;
    private readonly RunningPage page;
    private readonly CancellationTokenSource stopping = new();
    private readonly TaskCompletionSource<ExecutorEnd> ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource connected = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly ConcurrentDictionary<(StageId, int, string), StageTrace?> traces = new();
    private readonly List<Thread> threads = [];
    private volatile Epoch? epoch;
    private int driverEpoch;
    private long messagesHeard;
    private long dropped;

    /// <summary>Ready to run; nothing is started yet.</summary>
    /// <param name="options">Who it is and what bounds it.</param>
    /// <param name="link">Its end of the data path; started by <see cref="RunAsync"/>, disposed by the caller.</param>
    /// <param name="registry">Where blocks are; disposed by the caller.</param>
    /// <param name="deserialize">Makes a stage program from its bytes, once per task.</param>
    /// <param name="sharedPrograms">Embedded: finds the program of a code hash in this process, shared by all tasks, so that no code travels; null, or a null answer, means bytes.</param>
    /// <param name="time">Clock; null for the system's.</param>
    /// <param name="logger">Log of the executor and of user code in its tasks; null for none.</param>
    public TaskExecutor(
        ExecutorOptions options,
        IExecutorLink link,
        IBlockRegistry registry,
        Func<ReadOnlyMemory<byte>, StageProgram> deserialize,
        Func<string, StageProgram?>? sharedPrograms = null,
        TimeProvider? time = null,
        ILogger? logger = null)
    {
        options.Check();
        this.options = options;
        this.link = link;
        this.deserialize = deserialize;
        this.sharedPrograms = sharedPrograms;
        this.time = time ?? TimeProvider.System;
        this.logger = logger ?? NullLogger.Instance;
        table = new AttemptTable(options.QueueCapacity, options.KeptReports);
        sender = new ReportSender(link, table);
        barriers = new BarrierGate(TellBarrierAsync);
        page = new RunningPage(options.PostMortem, options.Slots, this.logger);
        locations = new LocationCache(registry, AskForLocationsAsync, options.LocationsTimeout, this.time, this.logger);
        driverBlocks = new DriverBlocks(AskForBlockAsync, options.OriginTimeout, this.time);
        services = new ExecutorServices(options, new BlockDirectory(options.BlockDirectory), registry, locations, driverBlocks, SendFromAsync, barriers, this.time, this.logger);
    }

    /// <summary>Completes when the first hello went out.</summary>
    public Task Connected => connected.Task;

    /// <summary>What the slots wait for before their first task; nothing by default.</summary>
    internal Task StartSlotsAfter { get; init; } = Task.CompletedTask;

    /// <summary>Messages of another application or an older driver, damaged code, late duplicates: dropped and counted.</summary>
    public long Dropped => Interlocked.Read(ref dropped);

    /// <summary>Values of broadcasts.</summary>
    internal BroadcastStore Broadcasts => services.Broadcasts;

    /// <summary>Attempts in slots, attempts waiting, reports kept.</summary>
    internal (int Running, int Queued, int Kept) Load => (table.Running, table.Queued, table.Kept);

    /// <summary>Whether the driver has been told of the present connection: beats and reports go out.</summary>
    internal bool SaidHello => sender.Address is not null;

    /// <summary>Bytes that persisted partitions take in memory.</summary>
    internal long CacheBytes => services.Collections.UsedBytes;

    /// <summary>
    /// Connects, says hello and works until the driver says to end, is silent for too long, the broker stays away, or <paramref name="cancellation"/>. Running tasks are
    /// then told to stop and not waited for long. Call once.
    /// </summary>
    public async Task<ExecutorEnd> RunAsync(CancellationToken cancellation = default)
    {
        await using var cancelled = cancellation.Register(() => ended.TrySetResult(ToldToEnd));
        var starting = link.StartAsync(stopping.Token);
        for (var i = 0; i < options.Slots; i++)
        {
            var slot = new Slot(i, page, queue, table, sender, services, LoadProgram, StartSlotsAfter, Fail);
            var thread = new Thread(slot.Run, SlotStackBytes) { IsBackground = true, Name = $"slot {i} of {options.ExecutorId}" };
            threads.Add(thread);
            thread.Start();
        }
        var sending = Guard(sender.RunAsync(stopping.Token));
        try
        {
            await starting.ConfigureAwait(false);
        }
        catch (BrokerUnreachableException error)
        {
            ended.TrySetResult(new ExecutorEnd(10, error.Message));
        }
        var beating = Guard(BeatAsync());
        var reading = Guard(ReadAsync());
        var end = await ended.Task.ConfigureAwait(false);

        logger.LogInformation("Executor {Executor} ends: {Reason}", options.ExecutorId, end.Reason);
        if (end == ToldToEnd && services.Collections.UsedBytes > 0)
        {
            // By the node agent, not by the driver: preempted, or stopped by an operator. The application goes on and will miss what is in memory only.
            using var enough = new CancellationTokenSource(LeaveTimeout);
            await WithinAsync(services.Mover.WriteAllAsync(enough.Token), 2 * LeaveTimeout).ConfigureAwait(false);
        }
        if (sender.Address is { } address)
        {
            await WithinAsync(link.SendAsync(new ExecutorGoodbye(address, end.Reason)).AsTask(), TimeSpan.FromMilliseconds(500)).ConfigureAwait(false);
        }
        await StopAsync(end.Reason).ConfigureAwait(false);
        await WithinAsync(Task.WhenAll(sending, reading, beating), TimeSpan.FromSeconds(2)).ConfigureAwait(false);
        return end;
    }

    /// <summary>Ends it when it still runs. Waits at most 5 s for tasks that do not look at their cancellation.</summary>
    public async ValueTask DisposeAsync()
    {
        ended.TrySetResult(new ExecutorEnd(0, "Disposed."));
        await StopAsync("The executor ends.").ConfigureAwait(false);
        foreach (var thread in threads)
        {
            await Task.Run(() => thread.Join(TimeSpan.FromSeconds(5))).ConfigureAwait(false);
        }
        sender.Dispose();
        page.Dispose();
        await services.Mover.DisposeAsync().ConfigureAwait(false);
        services.Dispose();
        stopping.Dispose();
    }

    private async Task StopAsync(string reason)
    {
        if (stopping.IsCancellationRequested)
        {
            return;
        }
        await stopping.CancelAsync().ConfigureAwait(false);
        queue.Close();
        table.Cancel([.. table.Snapshot().Held.Select(static attempt => attempt.Id)], reason);
    }

    private async Task ReadAsync()
    {
        var added = new List<Attempt>();
        await foreach (var happened in link.Events.ReadAllAsync(stopping.Token).ConfigureAwait(false))
        {
            switch (happened)
            {
                case EpochStarted { Address: var address }:
                    epoch = new Epoch(address);
                    Interlocked.Increment(ref messagesHeard);
                    _ = Guard(SayHelloAsync(address));
                    break;
                case EpochEnded { Reason: var reason }:
                    epoch = null;
                    sender.Address = null;
                    logger.LogWarning("Connection to the broker lost, {Running} tasks go on: {Reason}", table.Running, reason);
                    break;
                case DriverMessageReceived { Message: var message }:
                    Interlocked.Increment(ref messagesHeard);
                    Receive(message, added);
                    break;
                default:
                    break;
            }
        }
        if (!stopping.IsCancellationRequested)
        {
            ended.TrySetResult(new ExecutorEnd(10, "The link to the driver was closed."));
        }
    }

    private void Receive(DriverMessage message, List<Attempt> added)
    {
        switch (message)
        {
            case TaskBatch batch:
                Admit(batch, added);
                break;
            case CodeBlock block when block.ApplicationId == options.ApplicationId:
                if (!code.TryAdd(block.CodeHash, block.Content))
                {
                    Interlocked.Increment(ref dropped);
                    logger.LogError("Code {Hash} arrived damaged ({Bytes} bytes) and was dropped; the driver will send it again", block.CodeHash, block.Content.Length);
                }
                break;
            case CancelTasks cancel:
                foreach (var waiting in table.Cancel(cancel.Attempts, cancel.Reason))
                {
                    EndUnstarted(waiting, cancel.Reason);
                }
                break;
            case DropBlocks drop:
                foreach (var shuffle in drop.Shuffles)
                {
                    locations.Drop(shuffle);
                    services.Shared?.Drop(shuffle);
                }
                foreach (var collection in drop.Collections)
                {
                    services.Collections.Drop(collection);
                }
                foreach (var broadcast in drop.Broadcasts)
                {
                    services.Broadcasts.Drop(broadcast);
                }
                _ = Task.Run(() => Delete(drop));
                break;
            case DriverAlive alive:
                driverEpoch = Math.Max(driverEpoch, alive.DriverEpoch);
                break;
            case SayHello say:
                driverEpoch = Math.Max(driverEpoch, say.DriverEpoch);
                if (epoch is { Address: var current })
                {
                    _ = Guard(SayHelloAsync(current));
                }
                break;
            case CopyPartitions copy:
                services.Mover.Copy(copy);
                break;
            case WritePartitions:
                _ = Guard(services.Mover.WriteAllAsync(stopping.Token));
                break;
            case LocationsPublished published:
                locations.OnPublished(published.ShuffleId, published.Epoch);
                break;
            case BlockGiven given:
                driverBlocks.OnGiven(given.Block, given.Problem);
                break;
            case BarrierReleased released:
                barriers.OnReleased(released);
                break;
            case ShutdownExecutor shutdown:
                ended.TrySetResult(new ExecutorEnd(0, shutdown.Reason));
                break;
            default:
                Interlocked.Increment(ref dropped);
                break;
        }
    }

    private void Admit(TaskBatch batch, List<Attempt> added)
    {
        if (batch.ApplicationId != options.ApplicationId || batch.DriverEpoch < driverEpoch)
        {
            Interlocked.Increment(ref dropped);
            logger.LogWarning(
                "Dropped {Count} tasks of application {Application} from driver epoch {Epoch}: this executor works for {Own}, epoch {OwnEpoch}",
                batch.Tasks.Count, batch.ApplicationId, batch.DriverEpoch, options.ApplicationId, driverEpoch);
            return;
        }
        driverEpoch = batch.DriverEpoch;
        if (batch.SettledUpTo > 0 && table.Settle(batch.SettledUpTo) is { } blocks)
        {
            _ = Task.Run(() => DeleteResults(blocks));
        }
        var trace = batch.TraceParent.Length == 0 ? null : TraceOf(batch);
        var now = Stopwatch.GetTimestamp();
        added.Clear();
        foreach (var task in batch.Tasks)
        {
            switch (table.Admit(new Attempt(batch, task, trace, now), out var attempt))
            {
                case AttemptTable.Admission.New:
                    added.Add(attempt!);
                    break;
                case AttemptTable.Admission.Ended:
                    sender.Add(attempt!);
                    break;
                case AttemptTable.Admission.Stale:
                    Interlocked.Increment(ref dropped);
                    break;
                case AttemptTable.Admission.Refused:
                    EndUnstarted(attempt!, $"The queue of executor {options.ExecutorId} is full ({options.QueueCapacity} tasks).");
                    break;
                default:
                    break;
            }
        }
        if (added.Count > 0)
        {
            queue.Add(added);
        }
    }

    private void EndUnstarted(Attempt attempt, string reason)
    {
        if (table.End(attempt, new TaskReport(attempt.Id, new TaskKilled(reason), TaskMetrics.Empty, default)))
        {
            sender.Add(attempt);
        }
    }

    private StageTrace? TraceOf(TaskBatch batch)
    {
        if (traces.Count > 512)
        {
            traces.Clear();
        }
        return traces.GetOrAdd(
            (batch.StageId, batch.StageAttempt, batch.TraceParent),
            static key => TraceContext.TryParse(key.Item3, out var parent) && parent.TraceFlags.HasFlag(ActivityTraceFlags.Recorded)
                ? new StageTrace(parent)
                : null);
    }

    private StageProgram? LoadProgram(string hash) =>
        sharedPrograms?.Invoke(hash) ?? (code.TryGet(hash, out var content) ? deserialize(content) : null);

    private async Task SayHelloAsync(ExecutorAddress address)
    {
        var (held, done) = table.Snapshot();
        var hello = new ExecutorHello(
            address, options.NodeId, options.NodeUrl, options.Slots, [.. held.Select(static attempt => attempt.Id)], [.. done.Select(static attempt => attempt.Id)])
        {
            ProcessId = Environment.ProcessId,
            Host = options.Host,
        };
        // The link may come and go while this waits: the hello of an epoch that is over helps nobody.
        while (epoch?.Address == address && !await link.SendAsync(hello).ConfigureAwait(false))
        {
            await Task.Delay(TimeSpan.FromMilliseconds(200), time, stopping.Token).ConfigureAwait(false);
        }
        if (epoch?.Address != address)
        {
            return;
        }
        sender.Address = address;
        connected.TrySetResult();
        _ = Guard(barriers.SayAgainAsync());
        services.Collections.NoteAll();
        // All that ended up to here, not only what the hello named: what ended meanwhile found no address.
        foreach (var attempt in table.Snapshot().Ended)
        {
            sender.Add(attempt);
        }
    }

    private async Task BeatAsync()
    {
        using var timer = new PeriodicTimer(options.BeatInterval, time);
        var sequence = 0L;
        var silence = TimeSpan.Zero;
        var disconnected = TimeSpan.Zero;
        var heard = -1L;
        while (await timer.WaitForNextTickAsync(stopping.Token).ConfigureAwait(false))
        {
            // Counted in beats, not by the clock: a process that was stopped for a minute has not listened, so nobody was silent.
            var latest = Interlocked.Read(ref messagesHeard);
            var hasEpoch = epoch is not null;
            silence = latest == heard && hasEpoch ? silence + options.BeatInterval : TimeSpan.Zero;
            disconnected = hasEpoch ? TimeSpan.Zero : disconnected + options.BeatInterval;
            heard = latest;
            if (silence >= options.DriverTimeout)
            {
                ended.TrySetResult(new ExecutorEnd(
                    10, $"The driver of {options.ApplicationId} was silent for {silence.TotalSeconds:0} s while the broker was connected: it is taken for dead."));
                return;
            }
            if (disconnected >= options.LinkTimeout)
            {
                ended.TrySetResult(new ExecutorEnd(10, $"No connection to the broker for {disconnected.TotalSeconds:0} s: giving up."));
                return;
            }
            if (sender.Address is { } address)
            {
                _ = Guard(link.SendAsync(new ExecutorBeat(address, sequence++, table.RunningIds(), table.Queued, Environment.WorkingSet)).AsTask());
                sender.AddRefused();
                _ = Guard(barriers.SayAgainAsync());
                _ = Guard(services.Mover.TellAsync());
            }
        }
    }

    private async ValueTask AskForBlockAsync(BlockId block)
    {
        if (sender.Address is { } address)
        {
            await link.SendAsync(new BlockWanted(address, block.Value)).ConfigureAwait(false);
        }
    }

    private ValueTask<bool> SendFromAsync(Func<ExecutorAddress, ExecutorMessage> message) =>
        sender.Address is { } address ? link.SendAsync(message(address)) : new ValueTask<bool>(false);

    private async ValueTask AskForLocationsAsync(ShuffleId shuffle, int wanted)
    {
        if (sender.Address is { } address)
        {
            await link.SendAsync(new LocationsWanted(address, shuffle, wanted)).ConfigureAwait(false);
        }
    }

    private void Delete(DropBlocks drop)
    {
        foreach (var collection in drop.Collections)
        {
            services.Collections.Files.DeleteAll(collection);
        }
        foreach (var shuffle in drop.Shuffles)
        {
            try
            {
                services.Directory.DeleteShuffle(shuffle);
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                // Another executor of this node deletes the same; what stays goes with the application's directory.
                logger.LogDebug(error, "Files of shuffle {Shuffle} are not all deleted", shuffle);
            }
        }
    }

    private async ValueTask TellBarrierAsync(TaskAttemptId attempt, int round, string message)
    {
        if (sender.Address is { } address)
        {
            await link.SendAsync(new BarrierArrived(address, attempt, round, message)).ConfigureAwait(false);
        }
    }

    private void DeleteResults(List<string> blocks)
    {
        foreach (var block in blocks)
        {
            try
            {
                services.Directory.DeleteNamed(new BlockId(block));
            }
            catch (IOException error)
            {
                logger.LogDebug(error, "Result block {Block} is not deleted", block);
            }
        }
    }

    private void Fail(Exception error)
    {
        logger.LogCritical(error, "Executor {Executor} failed", options.ExecutorId);
        ended.TrySetResult(new ExecutorEnd(1, $"The executor failed: {error.GetType().Name}: {error.Message}"));
    }

    // An error in a loop ends the executor with a reason; being stopped does not.
    private async Task Guard(Task loop)
    {
        try
        {
            await loop.ConfigureAwait(false);
        }
        catch (Exception error) when (error is OperationCanceledException or ChannelClosedException && stopping.IsCancellationRequested)
        {
        }
        catch (ObjectDisposedException) when (ended.Task.IsCompleted)
        {
        }
        catch (Exception error)
        {
            Fail(error);
        }
    }

    private static async Task WithinAsync(Task task, TimeSpan limit)
    {
        try
        {
            await task.WaitAsync(limit).ConfigureAwait(false);
        }
        catch (Exception error) when (error is TimeoutException or OperationCanceledException or ObjectDisposedException)
        {
        }
    }

    // A reference, so that the loops see a whole address.
    private sealed record Epoch(ExecutorAddress Address);
}
