using System.Collections.Concurrent;
using System.Threading.Channels;
using Yarnish.Blocks;
using Yarnish.Dataflow;
using Yarnish.Progress;
using Yarnish.Protocol;
using Yarnish.Shared;
using Yarnish.Status;
using Yarnish.Tracing;
using Yarnish.Transport;

namespace Yarnish.Jobs;

/// <summary>
/// The driver loop: the one owner of the job machine. It reads what happens on the link to the executors, what the fleet learns and what actions submit, tells the machine, and
/// carries out what the machine wants. Nothing on it blocks: sends that must wait stand in the <see cref="Outbox"/>, large results are read elsewhere.
/// </summary>
internal sealed partial class JobRunner : IJobRunner, IFleetLoop, IAsyncDisposable
{
    /// <summary>How many messages are taken from one source before the other has its turn.</summary>
    private const int Turn = 256;

    private readonly ApplicationId application;
    private readonly YarnishOptions options;
    private readonly TimeProvider clock;
    private readonly IDriverLink link;
    private readonly IBlockRegistry registry;
    private readonly IExecutorFleet fleet;
    private readonly ICodeCarrier carrier;
    private readonly DriverTraces traces;
    private readonly StatusKeeper status;
    private readonly ProgressDisplay display;
    private readonly Func<string, BlockId, CancellationToken, Task<byte[]>> readBlock;
    private readonly JobMachine machine;
    private readonly Outbox outbox;

    private readonly Channel<object> inbox = Channel.CreateBounded<object>(new BoundedChannelOptions(4096) { SingleReader = true });
    private readonly ConcurrentQueue<ShuffleId> released = new();
    private readonly ConcurrentBag<string> temporary = [];
    private readonly Queue<JobEvent> changes = new();
    private readonly SortedDictionary<JobId, RunningJob> jobs = [];
    private readonly Dictionary<int, (RunningJob Job, StageCode Code)> codes = [];
    private readonly Dictionary<ExecutorAddress, HashSet<string>> codeSent = [];
    private readonly ConcurrentDictionary<ShuffleId, bool> written = new();
    private readonly CancellationTokenSource stopping = new();
    private readonly ITimer timer;

    private int nextShuffle;
    private int nextCollection;
    private int nextJob;
    private int nextCode;
    private int jobCount;
    private string? lastFailure;
    private volatile int liveSlots;
    private ApplicationProgress progress = new();
    private DateTimeOffset armedFor = DateTimeOffset.MaxValue;
    private DateTimeOffset nextDisplay = DateTimeOffset.MaxValue;
    private DateTimeOffset nextRefresh;
    private (DateTimeOffset Since, string Reason)? linkDown;
    private (DateTimeOffset Since, string Reason)? registryDown;
    private (string Why, string Cure, int ExitCode)? abandoned;
    private Task loop = Task.CompletedTask;

    public JobRunner(JobRunnerParts parts)
    {
        (application, options, clock, link, registry, fleet, carrier, traces, status, display, readBlock) =
            (parts.Application, parts.Options, parts.Clock, parts.Link, parts.Registry, parts.Fleet, parts.Carrier, parts.Traces, parts.Status, parts.Display, parts.ReadBlock);
        Broadcasts = parts.Broadcasts;
        Broadcasts.Attach(number => PostSoon(new BroadcastDropped(number)));
        outbox = new Outbox(link);
        machine = new JobMachine(MachineOptions(options, fleet));
        timer = clock.CreateTimer(_ => inbox.Writer.TryWrite(Wake.Instance), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        nextRefresh = clock.GetUtcNow() + RefreshInterval;
    }

    /// <summary>The last summary: at most two seconds old while jobs run on a cluster, exact when the last job has ended.</summary>
    public ApplicationProgress Progress => Volatile.Read(ref progress);

    /// <summary>Where its executors come from.</summary>
    internal IExecutorFleet Fleet => fleet;

    /// <summary>Where blocks are.</summary>
    internal IBlockRegistry Registry => registry;

    /// <summary>Values that executors read.</summary>
    internal BroadcastOrigin Broadcasts { get; }

    /// <summary>Values that tasks add to; how the named ones stand is <see cref="AccumulatorTable.Snapshot"/>.</summary>
    internal AccumulatorTable Accumulators { get; } = new();

    /// <summary>What ended the session from outside, for people; null when the program ended it itself.</summary>
    public string? Interrupted { get; set; }

    /// <summary>What the machine goes by: each setting of the user's that it knows.</summary>
    internal static JobMachineOptions MachineOptions(YarnishOptions options, IExecutorFleet fleet) => new()
    {
        TaskFailureLimit = options.MaximumTaskFailures,
        StageAttemptLimit = options.MaximumStageAttempts,
        ExecutorTimeout = options.ExecutorTimeout,
        LocalityWait = options.LocalityWait,
        Speculation = options.Speculation,
        SpeculationQuantilePercent = (int)Math.Ceiling(options.SpeculationQuantile * 100),
        SpeculationMultiplierPercent = (int)Math.Ceiling(options.SpeculationMultiplier * 100),
        SpeculationMinimum = options.SpeculationMinimum,
        // The only executor of an embedded session has no one to stand in for it.
        Exclusion = options.Exclusion && fleet.IsRemote,
        ExclusionFailures = options.ExclusionFailures,
        ExclusionTime = options.ExclusionTime,
        NowhereToRunTimeout = options.NowhereToRunTimeout,
        Allocation = fleet.Allocation,
        SlotLimit = SlotLimit(fleet),
    };

    private static int? SlotLimit(IExecutorFleet fleet) =>
        fleet.Allocation is { } asks ? (int)Math.Min(int.MaxValue, (long)(asks.Dynamic ? asks.Maximum : asks.Initial) * asks.SlotsPerExecutor)
        : fleet.ExpectedSlots > 0 ? fleet.ExpectedSlots
        : null;

    /// <inheritdoc/>
    public int DefaultPartitions => options.Parallelism > 0 ? options.Parallelism : Math.Max(2, 2 * Math.Max(liveSlots, fleet.ExpectedSlots));

    /// <inheritdoc/>
    public bool ChecksClosures => carrier.Travels;

    /// <summary>What the caller has chosen for the jobs it submits: flows with its asynchronous calls.</summary>
    public AsyncLocal<JobScope> Scope { get; } = new();

    /// <summary>Connects the link, starts the loop and the fleet.</summary>
    /// <exception cref="YarnishConnectException">The broker or the resource manager cannot be reached, or refuses.</exception>
    public async Task StartAsync(CancellationToken cancellation)
    {
        using (ExecutionContext.SuppressFlow())
        {
            // The loop must not carry the caller's activity or other context into every span it makes.
            loop = Task.Run(LoopAsync, CancellationToken.None);
        }
        using var first = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        var starting = new List<Task> { StartLinkAsync(first.Token), fleet.StartAsync(this, first.Token), CheckRegistryAsync(first.Token) };
        try
        {
            while (starting.Count > 0)
            {
                var done = await Task.WhenAny(starting).ConfigureAwait(false);
                starting.Remove(done);
                await done.ConfigureAwait(false);
            }
        }
        catch
        {
            // The first problem is the one to tell; the others are given up.
            await first.CancelAsync().ConfigureAwait(false);
            await Task.WhenAll(starting).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            throw;
        }
    }

    private async Task StartLinkAsync(CancellationToken cancellation)
    {
        try
        {
            await link.StartAsync(cancellation).ConfigureAwait(false);
        }
        catch (BrokerUnreachableException error)
        {
            throw YarnishConnectException.Because(
                $"The message broker of the cluster at {options.Address} cannot be used from here.", error.Message, "start the broker, or correct the resource manager's Yarnish:RabbitMq: drivers connect to that very address", error);
        }
    }

    private async Task CheckRegistryAsync(CancellationToken cancellation)
    {
        try
        {
            await registry.RefreshAsync(cancellation).ConfigureAwait(false);
        }
        catch (BlockRegistryException error)
        {
            throw YarnishConnectException.Because(
                $"The Redis of the cluster at {options.Address} cannot be used from here.", error.Message, "start Redis, or correct the resource manager's Yarnish:Redis: drivers connect to that very address", error);
        }
    }

    /// <inheritdoc/>
    public ShuffleId NextShuffle() => new(Interlocked.Increment(ref nextShuffle) - 1);

    /// <inheritdoc/>
    public int NextCollection() => Interlocked.Increment(ref nextCollection) - 1;

    /// <inheritdoc/>
    public async Task RunAsync(JobPlan plan, CancellationToken cancellation)
    {
        ObjectDisposedException.ThrowIf(stopping.IsCancellationRequested, typeof(YarnishSession));
        var scope = Scope.Value;
        using var either = scope.Group is null ? null : CancellationTokenSource.CreateLinkedTokenSource(cancellation, scope.Group.Cancelled);
        cancellation = either?.Token ?? cancellation;
        cancellation.ThrowIfCancellationRequested();
        var job = new RunningJob(plan, cancellation)
        {
            Scope = scope,
            Codes = [.. plan.Stages.Select(carrier.Carry)],
            Activity = traces.StartJob(plan.Name),
            Started = clock.GetTimestamp(),
        };
        foreach (var code in job.Codes.OfType<SerializedStageCode>())
        {
            // Here, on the caller's thread, where the error belongs; stages whose output exists already are rarely needed again.
            if (code.Stage.Output is not { } output || !written.ContainsKey(output.Shuffle))
            {
                try
                {
                    code.Settle();
                    if (code.Warning is { } warning)
                    {
                        display.Line("warning: " + warning);
                    }
                }
                catch (Exception error)
                {
                    DriverTraces.EndJob(job.Activity, error.Message);
                    throw new YarnishJobException(FailureText.OfJob(plan.Name, error.Message, "capture only data in functions; open connections and files inside them"), error);
                }
            }
        }
        try
        {
            await inbox.Writer.WriteAsync(job, cancellation).ConfigureAwait(false);
        }
        catch (Exception error) when (error is OperationCanceledException or ChannelClosedException)
        {
            DriverTraces.EndJob(job.Activity, "never submitted");
            foreach (var code in job.Codes)
            {
                carrier.Forget(code);
            }
            ObjectDisposedException.ThrowIf(error is ChannelClosedException, typeof(YarnishSession));
            throw;
        }
        if (!cancellation.CanBeCanceled)
        {
            await job.Completion.ConfigureAwait(false);
            return;
        }
        using (cancellation.UnsafeRegister(static (state, _) => ((JobRunner)state!).RequestCancel(), this))
        {
            await job.Completion.ConfigureAwait(false);
        }
    }

    /// <inheritdoc/>
    public Task<byte[]> ReadBlockAsync(ExecutorId executor, BlockId block, CancellationToken cancellation) => readBlock(blockUrls.GetValueOrDefault(executor, ""), block, cancellation);

    /// <inheritdoc/>
    public void Unpersist(int collection) => PostSoon(new UnpersistRequest(collection));

    /// <inheritdoc/>
    public void RemoveAtEnd(string directory) => temporary.Add(directory);

    /// <inheritdoc/>
    public void Release(ShuffleId shuffle) => released.Enqueue(shuffle); // Called by a finalizer: no wake-up, the loop's next turn takes it.

    /// <summary>Cancels every job that runs; their callers see a cancellation.</summary>
    public void CancelAll(string reason) => PostSoon(new CancelAllRequest(reason));

    /// <summary>Cancels the jobs of a group that run.</summary>
    public void CancelGroup(string group, string reason) => PostSoon(new CancelGroupRequest(group, reason));

    /// <summary>
    /// What ended jobs have left in the driver, in words: empty when nothing is, as it must be once the last job has ended, its stopped tasks have reported, and the collections that own
    /// shuffles were collected as garbage. For tests.
    /// </summary>
    public Task<IReadOnlyList<string>> LeftoversAsync() => AskAsync<IReadOnlyList<string>>(asked =>
    [
        .. asked.Leftovers(),
        .. jobs.Count > 0 ? [$"{jobs.Count} jobs of the runner"] : Array.Empty<string>(),
        .. codes.Count > 0 ? [$"{codes.Count} stage codes"] : Array.Empty<string>(),
        .. stageJobs.Count > 0 ? [$"{stageJobs.Count} stages of jobs"] : Array.Empty<string>(),
        .. Accumulators.CountedShuffles > 0 ? [$"accumulators that were counted for {Accumulators.CountedShuffles} shuffles"] : Array.Empty<string>(),
        .. outbox.Pending is not null ? ["messages that wait for the link"] : Array.Empty<string>(),
    ]);

    /// <summary>Asks the machine something between two events, on the loop.</summary>
    public async Task<T> AskAsync<T>(Func<JobMachine, T> question)
    {
        var answer = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        await inbox.Writer.WriteAsync(new Question(asked => answer.TrySetResult(question(asked)))).ConfigureAwait(false);
        return await answer.Task.ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public async ValueTask PostAsync(object message)
    {
        try
        {
            await inbox.Writer.WriteAsync(new FleetMessage(message)).ConfigureAwait(false);
        }
        catch (ChannelClosedException)
        {
            // The session is over.
        }
    }

    /// <summary>Ends the jobs, the executors and the application.</summary>
    public async ValueTask DisposeAsync()
    {
        if (stopping.IsCancellationRequested)
        {
            await loop.ConfigureAwait(false);
            return;
        }
        await stopping.CancelAsync().ConfigureAwait(false);
        try
        {
            await inbox.Writer.WriteAsync(StopRequest.Instance).ConfigureAwait(false);
        }
        catch (ChannelClosedException)
        {
            // The loop has ended by an error of its own.
        }
        await loop.ConfigureAwait(false);
        await timer.DisposeAsync().ConfigureAwait(false);
        stopping.Dispose();
    }

    /// <summary>Whether a job runs; a moment old.</summary>
    public bool HasJobs => Volatile.Read(ref jobCount) > 0;

    private void RequestCancel() => PostSoon(CancelRequest.Instance);

    /// <summary>Into the inbox without waiting on this thread, which may be anybody's.</summary>
    private void PostSoon(object message)
    {
        if (!inbox.Writer.TryWrite(message))
        {
            _ = Task.Run(async () =>
            {
                try
                {
                    await inbox.Writer.WriteAsync(message).ConfigureAwait(false);
                }
                catch (ChannelClosedException)
                {
                    // The session is over, and so is what this was about.
                }
            });
        }
    }

    private async Task LoopAsync()
    {
        Task<bool>? linkReady = null;
        Task<bool>? inboxReady = null;
        try
        {
            while (true)
            {
                if (!TakeTurn())
                {
                    break;
                }
                if (linkReady is { IsCompleted: true })
                {
                    linkReady = null;
                }
                if (inboxReady is { IsCompleted: true })
                {
                    inboxReady = null;
                }
                if (Ready(ref linkReady, link.Events) || Ready(ref inboxReady, inbox.Reader))
                {
                    continue;
                }
                Arm();
                if (outbox.Pending is { } sending)
                {
                    await Task.WhenAny(linkReady!, inboxReady!, sending).ConfigureAwait(false);
                }
                else
                {
                    await Task.WhenAny(linkReady!, inboxReady!).ConfigureAwait(false);
                }
            }
            await EndAsync().ConfigureAwait(false);
        }
        catch (Exception error)
        {
            // A mistake of ours: whoever waits must learn of it rather than wait for ever.
            abandoned = ($"the driver loop ended by an error of its own: {error}", "report this; run the program again", 1);
            foreach (var job in jobs.Values)
            {
                job.Fail(new YarnishJobException(FailureText.OfJob(job.Title, abandoned.Value.Why, abandoned.Value.Cure), error) { JobId = job.Id });
            }
            inbox.Writer.TryComplete();
            while (inbox.Reader.TryRead(out var message))
            {
                (message as RunningJob)?.Fail(new YarnishJobException(FailureText.OfJob(((RunningJob)message).Title, abandoned.Value.Why, abandoned.Value.Cure), error));
            }
        }
    }

    /// <summary>True when there is something to read now; else a task that tells when.</summary>
    private static bool Ready<T>(ref Task<bool>? waiting, ChannelReader<T> reader)
    {
        if (waiting is not null)
        {
            return false;
        }
        var wait = reader.WaitToReadAsync();
        if (wait.IsCompletedSuccessfully)
        {
            if (wait.Result)
            {
                return true;
            }
            waiting = new TaskCompletionSource<bool>().Task; // Closed: nothing will ever come from there.
            return false;
        }
        waiting = wait.AsTask();
        return false;
    }

    /// <summary>Takes what has come, from each source in turn. False when the session ends.</summary>
    private bool TakeTurn()
    {
        var now = clock.GetUtcNow();
        for (var i = 0; i < Turn && link.Events.TryRead(out var happened); i++)
        {
            Handle(happened, now);
        }
        for (var i = 0; i < Turn && inbox.Reader.TryRead(out var message); i++)
        {
            if (message is StopRequest)
            {
                return false;
            }
            Handle(message, now);
        }
        while (released.TryDequeue(out var shuffle))
        {
            Tell(new ShuffleReleased(shuffle), now);
        }
        outbox.Continue();
        while (outbox.TryTakeUnsent(out var to, out var batch))
        {
            Tell(new BatchReturned(to, [.. batch.Tasks.Select(task => task.AttemptId)], QueueGone: false), now);
        }
        return true;
    }

    /// <summary>Lets the timer wake the loop when the machine, the fleet or the display wants it. Small jobs never touch it: an earlier alarm that is set already stays.</summary>
    private void Arm()
    {
        var wake = Earlier(machine.NextWake, fleet.NextWake);
        wake = Earlier(wake, jobs.Count > 0 ? nextDisplay : null);
        wake = Earlier(wake, accumulatorsDue);
        wake = Earlier(wake, registryDown is { } missing ? missing.Since + options.BrokerTimeout : null);
        wake = Earlier(wake, linkDown is { } down ? down.Since + options.BrokerTimeout : null);
        if (wake is not { } at || at >= armedFor)
        {
            return;
        }
        armedFor = at;
        var delay = at - clock.GetUtcNow();
        timer.Change(delay > TimeSpan.Zero ? delay : TimeSpan.Zero, Timeout.InfiniteTimeSpan);
    }

    private static DateTimeOffset? Earlier(DateTimeOffset? left, DateTimeOffset? right) =>
        left is null ? right : right is null || left < right ? left : right;

    /// <summary>Whether the registry took what was published; else why not.</summary>
    private sealed record RegistryHeard(string Problem);

    private sealed class Wake
    {
        public static readonly Wake Instance = new();
    }

    private sealed class CancelRequest
    {
        public static readonly CancelRequest Instance = new();
    }

    private sealed class StopRequest
    {
        public static readonly StopRequest Instance = new();
    }

    private sealed record CancelAllRequest(string Reason);

    private sealed record Question(Action<JobMachine> Ask);

    private sealed record CancelGroupRequest(string Group, string Reason);

    private sealed record BroadcastDropped(int Number);

    private sealed record BlockAnswer(ExecutorAddress To, BlockGiven Answer);

    private sealed record UnpersistRequest(int Collection);

    private sealed record FleetMessage(object Message);

    private sealed record ResultFailure(JobId JobId, int Partition, Exception Error);

    private sealed record ResultRead(JobEvent Outcome);
}

/// <summary>What a <see cref="JobRunner"/> is made of; <c>ReadBlock</c> reads a named block from the block server at a URL, or from this process when the URL is empty.</summary>
internal sealed record JobRunnerParts(
    ApplicationId Application,
    YarnishOptions Options,
    TimeProvider Clock,
    IDriverLink Link,
    IBlockRegistry Registry,
    IExecutorFleet Fleet,
    ICodeCarrier Carrier,
    DriverTraces Traces,
    StatusKeeper Status,
    ProgressDisplay Display,
    Func<string, BlockId, CancellationToken, Task<byte[]>> ReadBlock,
    BroadcastOrigin Broadcasts);
