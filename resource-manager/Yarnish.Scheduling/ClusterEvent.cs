using System.Collections.Immutable;
using Yarnish.Protocol;

namespace Yarnish.Scheduling;

/// <summary>Everything that can happen to the cluster: a closed set. An event carries all it needs; the time of it is given beside it.</summary>
public abstract record ClusterEvent
{
    private protected ClusterEvent()
    {
    }

    /// <summary>
    /// The event for a message from the control bus. Null when the message is not one that the resource manager receives, or when its sender
    /// speaks for another node or application than itself.
    /// </summary>
    /// <param name="from">Who sent it, as the bus proved.</param>
    /// <param name="message">The message.</param>
    public static ClusterEvent? From(ControlAddress from, ControlMessage message) => message switch
    {
        RegisterNode m when from == ControlAddress.Node(m.NodeId) => new NodeRegistering(m),
        NodeHeartbeat m when from == ControlAddress.Node(m.NodeId) => new NodeBeat(m),
        ContainerStarted m when from == ControlAddress.Node(m.NodeId) => new ContainerBegan(m),
        ContainerExited m when from == ControlAddress.Node(m.NodeId) => new ContainerEnded(m),
        RegisterApplication m when from == ControlAddress.Application(m.ApplicationId) => new ApplicationRegistering(m),
        ApplicationHeartbeat m when from == ControlAddress.Application(m.ApplicationId) => new ApplicationBeat(m),
        UpdateAsks m when from == ControlAddress.Application(m.ApplicationId) => new AsksUpdated(m),
        FinishApplication m when from == ControlAddress.Application(m.ApplicationId) => new ApplicationFinished(m),
        _ => null,
    };
}

/// <summary>The first event of each life of the resource manager: what the journal remembers. Any other event before it is a programmer's mistake.</summary>
/// <param name="Epoch">The new epoch: higher than any before, 1 or more.</param>
/// <param name="Records">The journal in the order it was written; empty at the very first start.</param>
public sealed record Restored(int Epoch, ImmutableArray<JournalRecord> Records) : ClusterEvent;

/// <summary>Time went on. The shell sends it about five times a second; every deadline of the state is checked then.</summary>
public sealed record Tick : ClusterEvent;

/// <summary>
/// The control bus carries messages again after it did not. The others come back to it one by one: for <see cref="ClusterSettings.ReturnToBus"/> their silence proves nothing yet.
/// </summary>
public sealed record BusReturned : ClusterEvent;

/// <summary>Go on with the placing that a step left over.</summary>
public sealed record ContinuePlacing : ClusterEvent;

/// <summary>An agent registers.</summary>
/// <param name="Message">What it said.</param>
public sealed record NodeRegistering(RegisterNode Message) : ClusterEvent;

/// <summary>A heartbeat of an agent.</summary>
/// <param name="Message">What it said.</param>
public sealed record NodeBeat(NodeHeartbeat Message) : ClusterEvent;

/// <summary>The process of a container runs.</summary>
/// <param name="Message">What the agent said.</param>
public sealed record ContainerBegan(ContainerStarted Message) : ClusterEvent;

/// <summary>A container ended.</summary>
/// <param name="Message">What the agent said.</param>
public sealed record ContainerEnded(ContainerExited Message) : ClusterEvent;

/// <summary>A driver registers its application.</summary>
/// <param name="Message">What it said.</param>
public sealed record ApplicationRegistering(RegisterApplication Message) : ClusterEvent;

/// <summary>A heartbeat of a driver.</summary>
/// <param name="Message">What it said.</param>
public sealed record ApplicationBeat(ApplicationHeartbeat Message) : ClusterEvent;

/// <summary>A driver says what it wants.</summary>
/// <param name="Message">What it said.</param>
public sealed record AsksUpdated(UpdateAsks Message) : ClusterEvent;

/// <summary>A driver ends its application.</summary>
/// <param name="Message">What it said.</param>
public sealed record ApplicationFinished(FinishApplication Message) : ClusterEvent;

/// <summary>An operator ends an application.</summary>
/// <param name="ApplicationId">The application.</param>
/// <param name="Reason">Who and why, for people.</param>
public sealed record ApplicationKilled(ApplicationId ApplicationId, string Reason) : ClusterEvent;

/// <summary>An operator moves an application to another leaf queue, or changes its priority.</summary>
/// <param name="ApplicationId">The application.</param>
/// <param name="Queue">Where to; null leaves it where it is.</param>
/// <param name="Priority">The new priority; null leaves it.</param>
public sealed record ApplicationMoved(ApplicationId ApplicationId, QueueName? Queue, int? Priority) : ClusterEvent;

/// <summary>An operator drains a node: nothing new on it; what still runs at the deadline is stopped. Survives a restart.</summary>
/// <param name="NodeId">The node.</param>
/// <param name="Deadline">When to stop what still runs; null waits for ever.</param>
/// <param name="Reason">Who and why, for people.</param>
public sealed record NodeDrainRequested(NodeId NodeId, DateTimeOffset? Deadline, string Reason) : ClusterEvent;

/// <summary>An operator takes a drain back.</summary>
/// <param name="NodeId">The node.</param>
public sealed record NodeDrainCancelled(NodeId NodeId) : ClusterEvent;

/// <summary>New queues. Applied whole (<see cref="ConfigurationApplied"/>) or not at all (<see cref="ConfigurationRefused"/>).</summary>
/// <param name="Configuration">The queues, limits, rules and partitions.</param>
public sealed record ConfigurationChanged(ClusterConfiguration Configuration) : ClusterEvent;
