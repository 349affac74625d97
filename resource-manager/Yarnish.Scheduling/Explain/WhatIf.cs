using System.Collections.Immutable;
using Yarnish.Protocol;

namespace Yarnish.Scheduling;

/// <summary>What to suppose. Everything that is left out stays as it is.</summary>
public sealed record Hypothesis
{
    /// <summary>Nodes that join.</summary>
    public ImmutableArray<RegisterNode> AddNodes { get; init; } = [];

    /// <summary>Nodes that are lost, with what runs on them.</summary>
    public ImmutableArray<NodeId> RemoveNodes { get; init; } = [];

    /// <summary>Applications that end.</summary>
    public ImmutableArray<ApplicationId> End { get; init; } = [];

    /// <summary>Queues that replace the present ones; null keeps them.</summary>
    public ClusterConfiguration? Configuration { get; init; }

    /// <summary>An application that would be submitted; null for none.</summary>
    public RegisterApplication? Submit { get; init; }

    /// <summary>What it would ask for.</summary>
    public ImmutableArray<Ask> Asks { get; init; } = [];
}

/// <summary>What would come of a hypothesis.</summary>
/// <param name="Refusal">Why the hypothesis itself is impossible, such as an error in its queues; empty when it is not.</param>
/// <param name="Grants">What would be granted at once, by application, ask and node.</param>
/// <param name="Waiting">What would still wait, and why.</param>
/// <param name="Preempted">What would be taken back for what still waits, once it waited long enough, over all rounds.</param>
public sealed record HypothesisOutcome(
    string Refusal, ImmutableArray<PlannedGrant> Grants, ImmutableArray<PlannedWait> Waiting, ImmutableArray<PreemptionVictim> Preempted);

/// <summary>Containers of one ask on one node.</summary>
/// <param name="ApplicationId">The application.</param>
/// <param name="AskId">The ask.</param>
/// <param name="NodeId">The node.</param>
/// <param name="Containers">How many.</param>
public sealed record PlannedGrant(ApplicationId ApplicationId, long AskId, NodeId NodeId, int Containers);

/// <summary>An ask that waits.</summary>
/// <param name="ApplicationId">The application.</param>
/// <param name="Waiting">Why.</param>
/// <param name="Reasons">The same, typed.</param>
public sealed record PlannedWait(ApplicationId ApplicationId, AskWaiting Waiting, ImmutableArray<WaitingReason> Reasons);

/// <summary>The books of a cluster at one moment, immutable: see <see cref="ClusterMachine.CopyBooks"/>.</summary>
public sealed class ClusterBooks
{
    internal ClusterBooks(ClusterSettings settings, ClusterConfiguration configuration, ImmutableArray<ClusterEvent> events, DateTimeOffset at) =>
        (Settings, Configuration, Events, At) = (settings, configuration, events, at);

    /// <summary>The queues in force.</summary>
    public ClusterConfiguration Configuration { get; }

    internal ClusterSettings Settings { get; }

    internal ImmutableArray<ClusterEvent> Events { get; }

    internal DateTimeOffset At { get; }

    /// <summary>What would be granted and what would wait if <paramref name="hypothesis"/> held. Any thread, any number of times.</summary>
    /// <param name="hypothesis">What to suppose.</param>
    public HypothesisOutcome WhatIf(Hypothesis hypothesis) => ClusterMachine.WhatIf(this, hypothesis);

    /// <summary>Every error that would keep these queues out of force now, those of queues in use included; empty when there is none. Any thread.</summary>
    /// <param name="configuration">The queues.</param>
    public ImmutableArray<ConfigurationError> Check(ClusterConfiguration configuration)
    {
        var effects = new List<ClusterEffect>();
        var fork = ClusterMachine.Fork(this, effects);
        effects.Clear();
        fork.Apply(new ConfigurationChanged(configuration), At, effects);
        foreach (var effect in effects)
        {
            if (effect is ConfigurationRefused refused)
            {
                return refused.Errors;
            }
        }
        return [];
    }
}

public sealed partial class ClusterMachine
{
    private const int PlannedStepsLimit = 10_000;

    /// <summary>
    /// What would be granted and what would wait if <paramref name="hypothesis"/> held: a second machine is given the present nodes, containers, applications and
    /// asks, as after a restart, then the hypothesis, and simply runs. This one is not touched.
    /// </summary>
    /// <param name="hypothesis">What to suppose.</param>
    /// <param name="now">When.</param>
    public HypothesisOutcome WhatIf(Hypothesis hypothesis, DateTimeOffset now) => CopyBooks(now).WhatIf(hypothesis);

    /// <summary>The present books as the events of a restart: immutable, so that suppositions are worked out on another thread while this machine goes on.</summary>
    /// <param name="now">When.</param>
    public ClusterBooks CopyBooks(DateTimeOffset now)
    {
        var events = ImmutableArray.CreateBuilder<ClusterEvent>();
        var records = ImmutableArray.CreateBuilder<JournalRecord>();
        // It settles until everything is told, so that nothing is placed before all asks are known.
        records.Add(new NodeKnown(new NodeId("the-fork-waits-for-this-node")));
        foreach (var application in _state.Applications)
        {
            records.Add(new ApplicationAccepted(application.Registration, new QueueName(application.Queue.Path), At(application.StartedAt)));
        }
        foreach (var node in _state.Nodes)
        {
            if (node is { Draining: true, Presence: NodePresence.Heard })
            {
                records.Add(new NodeKnown(node.Id));
                records.Add(new NodeDraining(node.Id, true, null, node.Reason));
            }
        }
        events.Add(new Restored(_state.Epoch + 1, records.ToImmutable()));
        foreach (var node in _state.Nodes)
        {
            if (node is { Presence: NodePresence.Heard, Registration: { } registration })
            {
                events.Add(new NodeRegistering(registration with { Containers = Reports(node) }));
                if (!node.Healthy)
                {
                    events.Add(new NodeBeat(new NodeHeartbeat(node.Id, node.Incarnation, 1, Reports(node), false, node.Reason)));
                }
            }
        }
        foreach (var application in _state.Applications)
        {
            var asks = ImmutableArray.CreateBuilder<Ask>();
            foreach (var ask in application.AskList)
            {
                if (ask.Message is { } wish)
                {
                    asks.Add(wish);
                }
            }
            events.Add(new AsksUpdated(new UpdateAsks(application.Id, 1, asks.ToImmutable()) { ExcludedNodes = [.. application.Excluded] }));
        }
        // Nobody beats in the fork: silence means nothing there.
        var patience = TimeSpan.FromDays(1);
        var settings = _state.Settings with { NodeSuspect = patience, NodeLost = 2 * patience, DriverLost = patience, GrantExpiry = patience };
        return new ClusterBooks(settings, _state.Configuration, events.ToImmutable(), now);
    }

    internal static ClusterMachine Fork(ClusterBooks books, List<ClusterEffect> effects)
    {
        var fork = new ClusterMachine(books.Settings, books.Configuration);
        foreach (var known in books.Events)
        {
            fork.Apply(known, books.At, effects);
        }
        return fork;
    }

    internal static HypothesisOutcome WhatIf(ClusterBooks books, Hypothesis hypothesis)
    {
        var errors = hypothesis.Configuration is { } queues ? ConfigurationCheck.Validate(queues) : [];
        if (!errors.IsEmpty)
        {
            return new(errors[0].ToString(), [], [], []);
        }
        var now = books.At;
        var effects = new List<ClusterEffect>();
        var fork = Fork(books, effects);
        effects.Clear();
        Suppose(fork, hypothesis, now, effects);
        var refusal = "";
        foreach (var effect in effects)
        {
            refusal = effect switch
            {
                ConfigurationRefused refused => refused.Errors[0].ToString(),
                SendToApplication { Message: ApplicationRefused refused } => refused.Reason,
                SendToNode { Message: NodeRefused refused } => refused.Reason,
                _ => refusal,
            };
        }
        if (refusal.Length > 0)
        {
            return new(refusal, [], [], []);
        }
        effects.Clear();
        var settled = now + books.Settings.Settle;
        fork.Apply(new Tick(), settled, effects);
        for (var steps = 0; fork.HasMoreWork && steps < PlannedStepsLimit; steps++)
        {
            fork.Apply(new ContinuePlacing(), settled, effects);
        }
        return new("", Summarize(effects), fork.Waiting(hypothesis.Submit?.ApplicationId), fork.PlanPreemption(settled + fork._state.Configuration.Preemption.Delay, roundPercent: 100));
    }

    private static ImmutableArray<ContainerReport> Reports(Node node)
    {
        var reports = ImmutableArray.CreateBuilder<ContainerReport>();
        foreach (var container in node.Containers)
        {
            if (container is { IsStopping: false, Application: { IsOver: false } application })
            {
                reports.Add(new ContainerReport(container.Id, application.Id, container.Shape.Resources, ContainerState.Running) { AskId = container.AskId, Devices = container.Devices });
            }
        }
        return reports.ToImmutable();
    }

    private static void Suppose(ClusterMachine fork, Hypothesis hypothesis, DateTimeOffset now, List<ClusterEffect> effects)
    {
        if (hypothesis.Configuration is { } configuration)
        {
            fork.Apply(new ConfigurationChanged(configuration), now, effects);
        }
        foreach (var node in hypothesis.AddNodes)
        {
            fork.Apply(new NodeRegistering(node), now, effects);
        }
        foreach (var id in hypothesis.RemoveNodes)
        {
            if (fork._state.NodesById.TryGetValue(id, out var node))
            {
                fork.LoseSupposedly(node);
            }
        }
        foreach (var id in hypothesis.End)
        {
            if (fork._state.ApplicationsById.TryGetValue(id, out var application))
            {
                var containers = application.Containers.ToArray();
                fork.Apply(new ApplicationKilled(id, "supposed"), now, effects);
                foreach (var container in containers)
                {
                    var exit = new ContainerExit(ContainerExitCause.ApplicationEnded, 0, "");
                    fork.Apply(new ContainerEnded(new ContainerExited(container.Node.Id, container.Node.Incarnation, container.Id, exit)), now, effects);
                }
            }
        }
        if (hypothesis.Submit is { } submitted)
        {
            fork.Apply(new ApplicationRegistering(submitted), now, effects);
            fork.Apply(new AsksUpdated(new UpdateAsks(submitted.ApplicationId, 1, hypothesis.Asks)), now, effects);
        }
    }

    private void LoseSupposedly(Node node)
    {
        LoseNode(node);
        _completed.Clear();
    }

    private static ImmutableArray<PlannedGrant> Summarize(List<ClusterEffect> effects)
    {
        var places = new Dictionary<(ApplicationId, long, NodeId), int>();
        var grants = new List<PlannedGrant>();
        foreach (var effect in effects)
        {
            if (effect is not SendToNode { Message: LaunchContainer launch } sent)
            {
                continue;
            }
            var key = (launch.ApplicationId, launch.AskId, sent.NodeId);
            if (places.TryGetValue(key, out var place))
            {
                grants[place] = grants[place] with { Containers = grants[place].Containers + 1 };
            }
            else
            {
                places.Add(key, grants.Count);
                grants.Add(new PlannedGrant(launch.ApplicationId, launch.AskId, sent.NodeId, 1));
            }
        }
        return [.. grants];
    }

    private ImmutableArray<PlannedWait> Waiting(ApplicationId? submitted)
    {
        var waiting = ImmutableArray.CreateBuilder<PlannedWait>();
        foreach (var application in _state.Applications)
        {
            foreach (var ask in application.AskList)
            {
                if (ask is { Message: not null, Outstanding: > 0 } && (waiting.Count < 1000 || application.Id == submitted))
                {
                    waiting.Add(new PlannedWait(application.Id, WaitingOf(ask), Explanation.Reasons(ask)));
                }
            }
        }
        return waiting.ToImmutable();
    }
}
