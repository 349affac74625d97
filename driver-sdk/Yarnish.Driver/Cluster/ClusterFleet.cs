using System.Collections.Immutable;
using Yarnish.Dataflow;
using Yarnish.Jobs;
using Yarnish.Protocol;
using Yarnish.Transport;

namespace Yarnish.Cluster;

/// <summary>
/// Executors as containers of a cluster: registers the application, asks for as many as the machine wants, gives back what it releases, and tells the machine how containers ended.
/// One absolute update carries everything and is repeated with each heartbeat, so lost and repeated messages heal by themselves, a restart of the resource manager included.
/// </summary>
internal sealed class ClusterFleet : IExecutorFleet
{
    /// <summary>The one ask: all executors of an application are alike.</summary>
    private const long AskId = 1;

    /// <summary>Ended containers remembered, so that a message which comes late or twice is recognized.</summary>
    private const int MaximumEnded = 10_000;

    /// <summary>Executors a plan may count on while the range is open and none has come yet.</summary>
    private const int ExpectedExecutors = 4;

    private static readonly TimeSpan HeartbeatInterval = TimeSpan.FromSeconds(2);

    /// <summary>Waiting is told to people after this.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);

    /// <summary>A container that runs but whose executor has not said hello for so long is given back.</summary>
    private static readonly TimeSpan HelloTimeout = TimeSpan.FromSeconds(120);

    private readonly RegisterApplication registration;
    private readonly Func<CancellationToken, Task<LaunchSpecification>> prepareLaunch;
    private readonly YarnishOptions options;
    private readonly TimeProvider clock;
    private readonly string traceParent;
    private readonly IControlBus bus;
    private readonly ControlSender sender;
    private readonly Func<CancellationToken, Task<string?>>? probe;
    private readonly CancellationTokenSource stopping = new();
    private readonly TaskCompletionSource registered = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private readonly Dictionary<ContainerId, Container> containers = [];
    private readonly SortedSet<ContainerId> releasing = [];
    private readonly HashSet<ContainerId> ended = [];
    private readonly SortedSet<NodeId> draining = [];
    private readonly Queue<ContainerId> endedInOrder = new();
    private ImmutableArray<NodeId> preferred = [];
    private ImmutableArray<NodeId> excluded = [];
    private IFleetLoop loop = null!;
    private LaunchSpecification? launch;
    private int desired;
    private long asksSequence;
    private long heartbeatSequence;
    private int epoch;
    private int launchFailures;
    private long askedAt;
    private bool paused;
    private AskWaiting? waiting;
    private bool probing;
    private bool noneAlive;
    private (DateTimeOffset Since, string Reason)? silent;
    private DateTimeOffset wantingSince = DateTimeOffset.MaxValue;

    /// <param name="registration">What registers the application.</param>
    /// <param name="prepareLaunch">Uploads the program's files and tells how executors start; runs while the bus connects.</param>
    /// <param name="options">Numbers and sizes.</param>
    /// <param name="bus">The control bus of this application; owned.</param>
    /// <param name="clock">The clock.</param>
    /// <param name="probe">Asks the resource manager whether it lives: null when so, else the reason. Asked while nothing but an executor is missing; null: never.</param>
    public ClusterFleet(RegisterApplication registration, Func<CancellationToken, Task<LaunchSpecification>> prepareLaunch, YarnishOptions options, IControlBus bus, TimeProvider clock,
        Func<CancellationToken, Task<string?>>? probe = null)
    {
        this.registration = registration;
        this.prepareLaunch = prepareLaunch;
        this.options = options;
        this.bus = bus;
        this.clock = clock;
        this.probe = probe;
        traceParent = registration.TraceParent;
        sender = new ControlSender(bus);
        Allocation = new AllocationOptions
        {
            Dynamic = !options.Executors.IsFixed,
            Initial = options.Executors.Minimum,
            Minimum = options.Executors.Minimum,
            Maximum = options.Executors.Maximum,
            SlotsPerExecutor = Slots,
            Backlog = options.ExecutorBacklog,
            Idle = options.ExecutorIdle,
            IdleWithCache = options.ExecutorCachedIdle,
        };
    }

    /// <inheritdoc/>
    public bool IsRemote => true;

    /// <inheritdoc/>
    public AllocationOptions? Allocation { get; }

    /// <inheritdoc/>
    public int ExpectedSlots => Slots * (options.Executors.IsFixed ? options.Executors.Minimum : Math.Clamp(ExpectedExecutors, options.Executors.Minimum, options.Executors.Maximum));

    /// <inheritdoc/>
    public DateTimeOffset? NextWake { get; private set; }

    private int Slots => Math.Max(1, options.ExecutorCores);

    private bool AnyJoined => !noneAlive && containers.Any(pair => pair.Value.Joined && !releasing.Contains(pair.Key));

    /// <inheritdoc/>
    public string Waiting(DateTimeOffset now)
    {
        if (AnyJoined || now - wantingSince < Patience)
        {
            return "";
        }
        return silent is { } manager ? $"waiting for the resource manager at {options.Address}: {manager.Reason}"
            : waiting is { } ask ? $"waiting for executors: {ask.Reason}"
            : containers.Count > 0 ? $"waiting for executors: {containers.Count} granted, starting"
            : "waiting for executors: the resource manager has not answered yet";
    }

    /// <inheritdoc/>
    public async Task StartAsync(IFleetLoop loop, CancellationToken cancellation)
    {
        this.loop = loop;
        using var limit = new CancellationTokenSource(options.ConnectTimeout, clock);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellation);
        var launching = prepareLaunch(cancellation);
        try
        {
            await bus.StartAsync(async delivery => await loop.PostAsync(delivery).ConfigureAwait(false), both.Token).ConfigureAwait(false);
            while (!registered.Task.IsCompleted)
            {
                sender.Send(registration);
                await Task.WhenAny(registered.Task, Task.Delay(HeartbeatInterval, clock, both.Token)).ConfigureAwait(false);
                both.Token.ThrowIfCancellationRequested();
            }
            await registered.Task.ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            throw YarnishConnectException.Because(
                $"The resource manager at {options.Address} does not answer on the message broker.",
                $"no answer within {options.ConnectTimeout.TotalSeconds:0.#} s, though its web address answers",
                "check that it uses the same broker (its log tells), or raise Yarnish:ConnectTimeout");
        }
        catch (BrokerUnreachableException error)
        {
            throw YarnishConnectException.Because($"The message broker of the cluster at {options.Address} cannot be used.", error.Message, "start the broker, or correct the resource manager's Yarnish:RabbitMq", error);
        }
        await loop.PostAsync(new LaunchReady(await launching.ConfigureAwait(false))).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public void Handle(object message, DateTimeOffset now)
    {
        switch (message)
        {
            case LaunchReady ready:
                launch = ready.Launch;
                NextWake = now;
                loop.Apply(TimePassed.Instance); // Lets the machine say how many it wants from the start.
                break;
            case ManagerProbed probed:
                probing = false;
                silent = probed.Silence is { } reason ? (silent?.Since ?? now, reason) : null;
                break;
            case ControlDelivery { From: var from, Message: var control } when from == ControlAddress.ResourceManager || control is ControlRefused:
                Take(control, now);
                break;
        }
    }

    /// <inheritdoc/>
    public void Tick(DateTimeOffset now)
    {
        NextWake = now + HeartbeatInterval;
        foreach (var (id, container) in containers.Where(pair => !pair.Value.Joined && now - pair.Value.GrantedAt >= HelloTimeout && !releasing.Contains(pair.Key)).ToList())
        {
            releasing.Add(id);
            CountLaunchFailure($"executor {id} on node {container.Node} did not say hello within {HelloTimeout.TotalSeconds:0} s");
        }
        // Executors that said goodbye or fell silent are known to the loop before, or without, the word of the resource manager.
        var progress = loop.Summarize();
        noneAlive = progress.Executors == 0;
        NoteWanting(now);
        Probe(now);
        sender.Send(new ApplicationHeartbeat(registration.ApplicationId, ++heartbeatSequence, progress));
        SendAsks();
    }

    // A job that has executors needs no resource manager, so one that restarts is not noticed. A job that has none must not wait for one that is gone for good.
    private void Probe(DateTimeOffset now)
    {
        if (probe is null || AnyJoined || now - wantingSince < Patience)
        {
            silent = null;
            return;
        }
        if (silent is { } manager && now - manager.Since >= options.BrokerTimeout)
        {
            silent = null;
            loop.FailJobs(
                $"no executor is left, and the resource manager at {options.Address} has not answered for {options.BrokerTimeout.TotalSeconds:0} s: {manager.Reason}",
                "start the resource manager again, then the program; a longer wait is set with Yarnish:BrokerTimeout",
                exitCode: 6);
            return;
        }
        if (!probing)
        {
            probing = true;
            _ = ProbeAsync(probe);
        }
    }

    private async Task ProbeAsync(Func<CancellationToken, Task<string?>> ask)
    {
        try
        {
            await loop.PostAsync(new ManagerProbed(await ask(stopping.Token).ConfigureAwait(false))).ConfigureAwait(false);
        }
        catch (Exception error) when (error is OperationCanceledException or ObjectDisposedException)
        {
            // The session is over.
        }
    }

    /// <summary>From the first ask for an executor to the first hello of one: what starting costs; null until then.</summary>
    internal TimeSpan? FirstHello { get; private set; }

    /// <inheritdoc/>
    public bool Accept(ExecutorHello hello, DateTimeOffset now)
    {
        if (!TryParse(hello.From.ExecutorId, out var id) || ended.Contains(id) || releasing.Contains(id))
        {
            return false;
        }
        if (!containers.TryGetValue(id, out var container))
        {
            // Hello and grant come on different ways; either may be first.
            containers.Add(id, container = new Container(hello.NodeId, now));
        }
        container.Joined = true;
        noneAlive = false;
        FirstHello ??= askedAt == 0 ? null : clock.GetElapsedTime(askedAt);
        launchFailures = 0;
        return true;
    }

    /// <inheritdoc/>
    public void Want(int count, ImmutableArray<NodeId> preferredNodes, DateTimeOffset now)
    {
        desired = count;
        preferred = preferredNodes;
        NoteWanting(now);
        SendAsks();
    }

    /// <inheritdoc/>
    public void Release(ExecutorId executor, DateTimeOffset now)
    {
        if (TryParse(executor, out var id) && !ended.Contains(id) && releasing.Add(id))
        {
            SendAsks();
        }
    }

    /// <inheritdoc/>
    public void Exclude(ImmutableArray<NodeId> nodes, DateTimeOffset now)
    {
        excluded = nodes;
        SendAsks();
    }

    /// <inheritdoc/>
    public void JobSubmitted(DateTimeOffset now)
    {
        if (paused)
        {
            paused = false;
            launchFailures = 0;
            SendAsks();
        }
        NoteWanting(now);
        FailIfImpossible();
    }

    /// <inheritdoc/>
    public async Task FinishAsync(bool succeeded, string diagnostics, ApplicationProgress progress)
    {
        await sender.DisposeAsync().ConfigureAwait(false);
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(5), clock);
        // The last word on an application that is over: nothing of it runs.
        var last = progress with { Executors = 0, JobsRunning = 0, TasksRunning = 0, TasksPending = 0, Activity = "" };
        try
        {
            await bus.SendAsync(ControlAddress.ResourceManager, new FinishApplication(registration.ApplicationId, succeeded, diagnostics, last), limit.Token).ConfigureAwait(false);
        }
        catch (Exception error) when (error is OperationCanceledException or BrokerUnreachableException or ObjectDisposedException)
        {
            // The resource manager ends applications whose heartbeats stop.
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await stopping.CancelAsync().ConfigureAwait(false);
        await sender.DisposeAsync().ConfigureAwait(false);
        await bus.DisposeAsync().ConfigureAwait(false);
    }

    private static bool TryParse(ExecutorId executor, out ContainerId container)
    {
        try
        {
            container = ContainerId.Create(executor.Value);
            return true;
        }
        catch (FormatException)
        {
            container = default;
            return false;
        }
    }

    private void Take(ControlMessage message, DateTimeOffset now)
    {
        switch (message)
        {
            case ApplicationRegistered accepted when Follows(accepted.Epoch):
                registered.TrySetResult();
                SendAsks();
                break;
            case ApplicationRefused refused when Follows(refused.Epoch):
                Refuse("The cluster refuses the application.", refused.Reason, exitCode: 2);
                break;
            case ControlRefused refused:
                Refuse("The cluster refuses messages of this session.", refused.Reason, exitCode: 5);
                break;
            case ResyncApplication resync when Follows(resync.Epoch):
                sender.Send(registration);
                SendAsks();
                break;
            case ContainersGranted granted when Follows(granted.Epoch):
                foreach (var grant in granted.Grants.Where(grant => !ended.Contains(grant.ContainerId)))
                {
                    containers.TryAdd(grant.ContainerId, new Container(grant.NodeId, now));
                }
                waiting = null;
                break;
            case ContainersCompleted completed when Follows(completed.Epoch):
                foreach (var completion in completed.Completions)
                {
                    Complete(completion);
                }
                SendAsks();
                break;
            case AsksWaiting asks when Follows(asks.Epoch):
                waiting = asks.Waiting.FirstOrDefault(ask => ask.AskId == AskId);
                FailIfImpossible();
                break;
            case NodesDraining drained when Follows(drained.Epoch):
                TakeDraining(drained.Nodes);
                break;
            case KillApplication kill when Follows(kill.Epoch):
                loop.Abandon($"the application was killed: {kill.Reason}", "ask whoever killed it, or start the program again", exitCode: 8);
                break;
        }
    }

    private void TakeDraining(ImmutableArray<NodeId> nodes)
    {
        foreach (var stays in draining.Except(nodes).ToList())
        {
            draining.Remove(stays);
            loop.Apply(new NodeDraining(stays, Active: false));
        }
        foreach (var goes in nodes.Where(draining.Add))
        {
            loop.Apply(new NodeDraining(goes, Active: true));
        }
    }

    /// <summary>Whether the message is of the newest resource manager that was heard of: an older one that still runs is not listened to.</summary>
    private bool Follows(int messageEpoch)
    {
        if (messageEpoch < epoch)
        {
            return false;
        }
        epoch = messageEpoch;
        return true;
    }

    private void Refuse(string what, string why, int exitCode)
    {
        var error = YarnishConnectException.Because(what, why, "see the reason; the resource manager's log tells more", exitCode: exitCode);
        if (!registered.TrySetException(error))
        {
            loop.Abandon($"{what} {why}", "start the program again", exitCode);
        }
    }

    private void Complete(ContainerCompletion completion)
    {
        var id = completion.ContainerId;
        var wasReleased = releasing.Remove(id);
        if (!ended.Add(id))
        {
            return;
        }
        endedInOrder.Enqueue(id);
        if (endedInOrder.Count > MaximumEnded)
        {
            ended.Remove(endedInOrder.Dequeue());
        }
        var joined = containers.Remove(id, out var container) && container.Joined;
        if (completion.NodeLost)
        {
            loop.Apply(new NodeWasLost(completion.NodeId, completion.Exit.Diagnostics));
        }
        if (joined)
        {
            var exit = completion.Exit;
            loop.Apply(new ExecutorLost(id.ToExecutorId(), exit.Cause, exit.ExitCode < 0 ? exit.Diagnostics : $"exit code {exit.ExitCode}. {exit.Diagnostics}")
            {
                Running = PostMortemPage.ToAttempts(exit.InHand),
            });
        }
        else if (!wasReleased && !completion.NodeLost && IsLaunchFailure(completion.Exit.Cause))
        {
            CountLaunchFailure($"executor {id} on node {completion.NodeId} ended with {completion.Exit.Cause}, exit code {completion.Exit.ExitCode}: {completion.Exit.Diagnostics.Trim()}");
        }
    }

    private static bool IsLaunchFailure(ContainerExitCause cause) => cause is not (
        ContainerExitCause.NodeLost or ContainerExitCause.Preempted or ContainerExitCause.Released or ContainerExitCause.StoppedByOperator or ContainerExitCause.ApplicationEnded);

    private void CountLaunchFailure(string last)
    {
        if (++launchFailures < options.MaximumLaunchFailures || paused || AnyJoined)
        {
            return;
        }
        paused = true; // Asks for none until there is a new job: a cluster must not start the same failing program for ever.
        loop.FailJobs($"{launchFailures} executors in a row ended before they said hello; the last: {last}", $"yarnish app logs {registration.ApplicationId}");
    }

    private void FailIfImpossible()
    {
        if (waiting is { Impossible: true } ask && containers.Count == 0)
        {
            loop.FailJobs($"no executor can ever be granted: {ask.Reason}", "ask for less (Yarnish:ExecutorMemory, Yarnish:ExecutorCores), or add a larger node", exitCode: 3);
        }
    }

    private void NoteWanting(DateTimeOffset now)
    {
        if (AnyJoined || desired == 0)
        {
            wantingSince = DateTimeOffset.MaxValue;
        }
        else if (wantingSince == DateTimeOffset.MaxValue)
        {
            wantingSince = now;
        }
    }

    private void SendAsks()
    {
        if (launch is null)
        {
            return;
        }
        if (desired > 0 && askedAt == 0)
        {
            askedAt = clock.GetTimestamp();
        }
        var ask = new Ask(AskId, new Resources(options.ExecutorMemory, 1000L * Slots), paused ? 0 : desired, launch) { PreferredNodes = preferred, TraceParent = traceParent };
        sender.Send(new UpdateAsks(registration.ApplicationId, ++asksSequence, [ask]) 
        {
            Release = [.. releasing],
            ExcludedNodes = excluded,
            // A grant or an end whose message was lost is told again.
            Held = [.. containers.Select(static pair => new HeldContainer(pair.Key, AskId, pair.Value.Node))],
        });
    }

    private sealed class Container(NodeId node, DateTimeOffset grantedAt)
    {
        public NodeId Node { get; } = node;

        public DateTimeOffset GrantedAt { get; } = grantedAt;

        public bool Joined { get; set; }
    }

    private sealed record ManagerProbed(string? Silence);

    private sealed record LaunchReady(LaunchSpecification Launch);
}
