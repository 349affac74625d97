using System.Collections.Immutable;

namespace Yarnish.Protocol;

/// <summary>Driver → resource manager: this application exists. Idempotent: sent again after <see cref="ResyncApplication"/> or when no answer came.</summary>
/// <param name="ApplicationId">Chosen by the driver.</param>
/// <param name="Name">For people.</param>
/// <param name="User">Who runs it.</param>
/// <param name="Queue">The queue of capacity it asks from; empty lets placement rules choose.</param>
public sealed record RegisterApplication(ApplicationId ApplicationId, string Name, string User, string Queue) : ControlMessage
{
    /// <summary>Groups of the user, for limits and placement rules.</summary>
    public ImmutableArray<string> Groups { get; init; } = [];

    /// <summary>Priority within its queue; higher first, default 0.</summary>
    public int Priority { get; init; }

    /// <summary>Host and process of the driver, for people.</summary>
    public string Driver { get; init; } = "";

    /// <summary>W3C trace context of the application span; empty when not traced.</summary>
    public string TraceParent { get; init; } = "";

    /// <summary>Where the driver serves its status; empty when it does not.</summary>
    public string StatusUrl { get; init; } = "";
}

/// <summary>Driver → resource manager, every 2 seconds: proof of life and a summary for people.</summary>
/// <param name="ApplicationId">The application.</param>
/// <param name="Sequence">Grows by one each time.</param>
/// <param name="Progress">What to show.</param>
public sealed record ApplicationHeartbeat(ApplicationId ApplicationId, long Sequence, ApplicationProgress Progress) : ControlMessage;

/// <summary>What an application has done so far; shown by <c>yarnish app show</c>.</summary>
public sealed record ApplicationProgress
{
    /// <summary>Jobs running now.</summary>
    public int JobsRunning { get; init; }

    /// <summary>Jobs that ended well.</summary>
    public int JobsSucceeded { get; init; }

    /// <summary>Jobs that failed.</summary>
    public int JobsFailed { get; init; }

    /// <summary>Stages that ended well.</summary>
    public int StagesCompleted { get; init; }

    /// <summary>Task attempts running now.</summary>
    public int TasksRunning { get; init; }

    /// <summary>Tasks still to run in the jobs that run now.</summary>
    public int TasksPending { get; init; }

    /// <summary>Task attempts that ended well.</summary>
    public long TasksSucceeded { get; init; }

    /// <summary>Task attempts that failed.</summary>
    public long TasksFailed { get; init; }

    /// <summary>Executors that said hello and are alive.</summary>
    public int Executors { get; init; }

    /// <summary>Executors that ever said hello.</summary>
    public int ExecutorsSeen { get; init; }

    /// <summary>Executors lost without being released.</summary>
    public int ExecutorsLost { get; init; }

    /// <summary>Bytes written to shuffles, compressed.</summary>
    public long ShuffleBytesWritten { get; init; }

    /// <summary>Bytes read from shuffles, compressed.</summary>
    public long ShuffleBytesRead { get; init; }

    /// <summary>What it does now, for people.</summary>
    public string Activity { get; init; } = "";
}

/// <summary>
/// Driver → resource manager: everything the application wants now. Absolute, not a change, and sent again with every heartbeat: a lost or repeated message does no harm.
/// An ask that is missing is withdrawn.
/// </summary>
/// <param name="ApplicationId">The application.</param>
/// <param name="Sequence">Grows with each update; lower ones are ignored.</param>
/// <param name="Asks">All asks.</param>
public sealed record UpdateAsks(ApplicationId ApplicationId, long Sequence, ImmutableArray<Ask> Asks) : ControlMessage
{
    /// <summary>Containers no longer needed: repeated in each update until their completion arrived. Their asks' <see cref="Ask.Desired"/> no longer counts them.</summary>
    public ImmutableArray<ContainerId> Release { get; init; } = [];

    /// <summary>Nodes this application wants nothing on.</summary>
    public ImmutableArray<NodeId> ExcludedNodes { get; init; } = [];

    /// <summary>
    /// Every container the driver counts as live; null when it does not say. What the resource manager knows better it tells again: a completion for each one
    /// that is over, the grants of those that are missing. So a lost message of either kind heals with the next update.
    /// </summary>
    public ImmutableArray<HeldContainer>? Held { get; init; }
}

/// <summary>A container that a driver counts as live.</summary>
/// <param name="ContainerId">The container.</param>
/// <param name="AskId">The ask it answers.</param>
/// <param name="NodeId">The node it is on.</param>
public sealed record HeldContainer(ContainerId ContainerId, long AskId, NodeId NodeId);

/// <summary>A wish for a number of equal containers.</summary>
/// <param name="AskId">Chosen by the driver, unique in the application.</param>
/// <param name="Resources">Of each container.</param>
/// <param name="Desired">
/// How many <em>live</em> containers this ask wants. The resource manager grants while fewer live containers answer the ask, so a container that ends is
/// replaced unless the driver lowers the number, and a restarted resource manager needs no memory of what it granted: the agents' reports tell.
/// </param>
/// <param name="Launch">What each container runs.</param>
public sealed record Ask(long AskId, Resources Resources, int Desired, LaunchSpecification Launch)
{
    /// <summary>Higher first; default 0.</summary>
    public int Priority { get; init; }

    /// <summary>Preferred nodes; empty means any.</summary>
    public ImmutableArray<NodeId> PreferredNodes { get; init; } = [];

    /// <summary>Preferred racks; empty means any.</summary>
    public ImmutableArray<string> PreferredRacks { get; init; } = [];

    /// <summary>Whether other nodes will do when the preferred ones stay full; default true.</summary>
    public bool RelaxLocality { get; init; } = true;

    /// <summary>Partition (node label) to place in; empty is the default partition.</summary>
    public string Partition { get; init; } = "";

    /// <summary>Tags that the granted containers carry, for constraints of this and other asks.</summary>
    public ImmutableArray<string> Tags { get; init; } = [];

    /// <summary>Placement constraints.</summary>
    public ImmutableArray<PlacementConstraint> Constraints { get; init; } = [];

    /// <summary>All containers or none by this many seconds; null means one by one.</summary>
    public double? GangSeconds { get; init; }

    /// <summary>True for the container that runs a driver: counted in the drivers' share, never preempted while an executor would do.</summary>
    public bool IsDriver { get; init; }

    /// <summary>W3C trace context under which the launch is traced; empty when not traced.</summary>
    public string TraceParent { get; init; } = "";
}

/// <summary>A rule on where a container may or should stand.</summary>
/// <param name="Kind">What kind of rule.</param>
/// <param name="Target">Tag for affinity, anti-affinity, spread and maximum; <c>key=value</c> or <c>key!=value</c> for attributes.</param>
/// <param name="Hard">Whether it must hold (true) or is only preferred.</param>
public sealed record PlacementConstraint(PlacementKind Kind, string Target, bool Hard)
{
    /// <summary>Containers with the tag per node, for <see cref="PlacementKind.MaximumPerNode"/>.</summary>
    public int Limit { get; init; } = 1;

    /// <summary>Whether a rack instead of a node is the scope.</summary>
    public bool PerRack { get; init; }
}

/// <summary>Kinds of placement constraints.</summary>
public enum PlacementKind
{
    /// <summary>Where the tag already is.</summary>
    Affinity,

    /// <summary>Where the tag is not.</summary>
    AntiAffinity,

    /// <summary>Evenly over nodes or racks, counted by the tag.</summary>
    Spread,

    /// <summary>At most so many with the tag on one node or rack.</summary>
    MaximumPerNode,

    /// <summary>Nodes whose attribute is (not) equal.</summary>
    Attribute,
}

/// <summary>Driver → resource manager: the application is over. Idempotent.</summary>
/// <param name="ApplicationId">The application.</param>
/// <param name="Succeeded">Whether it ended well.</param>
/// <param name="Diagnostics">For people; at most 4,096 characters.</param>
/// <param name="Progress">The last summary.</param>
public sealed record FinishApplication(ApplicationId ApplicationId, bool Succeeded, string Diagnostics, ApplicationProgress Progress) : ControlMessage;

/// <summary>Resource manager → driver: accepted (or known already).</summary>
/// <param name="Epoch">Epoch of the resource manager; drivers refuse messages of a lower one.</param>
/// <param name="ApplicationId">The application.</param>
/// <param name="Queue">The queue it was placed in.</param>
public sealed record ApplicationRegistered(int Epoch, ApplicationId ApplicationId, string Queue) : ControlMessage;

/// <summary>Resource manager → driver: not accepted; final.</summary>
/// <param name="Epoch">Epoch of the resource manager.</param>
/// <param name="ApplicationId">The application.</param>
/// <param name="Reason">For people: what, why, what to do.</param>
public sealed record ApplicationRefused(int Epoch, ApplicationId ApplicationId, string Reason) : ControlMessage;

/// <summary>Resource manager → driver: I do not know you (any more); register again and repeat your asks.</summary>
/// <param name="Epoch">Epoch of the resource manager.</param>
public sealed record ResyncApplication(int Epoch) : ControlMessage;

/// <summary>Resource manager → driver: containers granted; their launch is under way. Repeated for all live containers after a resync.</summary>
/// <param name="Epoch">Epoch of the resource manager.</param>
/// <param name="Grants">The grants.</param>
public sealed record ContainersGranted(int Epoch, ImmutableArray<ContainerGrant> Grants) : ControlMessage;

/// <summary>One granted container.</summary>
/// <param name="ContainerId">The container.</param>
/// <param name="AskId">The ask it answers.</param>
/// <param name="NodeId">The node it is on.</param>
/// <param name="NodeUrl">Base URL of the node's agent.</param>
/// <param name="Resources">What it may use.</param>
public sealed record ContainerGrant(ContainerId ContainerId, long AskId, NodeId NodeId, string NodeUrl, Resources Resources);

/// <summary>Resource manager → driver: containers ended. At least once each.</summary>
/// <param name="Epoch">Epoch of the resource manager.</param>
/// <param name="Completions">The ended containers.</param>
public sealed record ContainersCompleted(int Epoch, ImmutableArray<ContainerCompletion> Completions) : ControlMessage;

/// <summary>One ended container.</summary>
/// <param name="ContainerId">The container.</param>
/// <param name="AskId">The ask it answered.</param>
/// <param name="NodeId">The node it was on.</param>
/// <param name="Exit">How it ended.</param>
public sealed record ContainerCompletion(ContainerId ContainerId, long AskId, NodeId NodeId, ContainerExit Exit)
{
    /// <summary>True when the node itself is lost, and with it the shuffle files it held.</summary>
    public bool NodeLost { get; init; }
}

/// <summary>Resource manager → driver: why asks are waiting, sent when the reason changes.</summary>
/// <param name="Epoch">Epoch of the resource manager.</param>
/// <param name="Waiting">One entry per ask that waits.</param>
public sealed record AsksWaiting(int Epoch, ImmutableArray<AskWaiting> Waiting) : ControlMessage;

/// <summary>Why one ask waits.</summary>
/// <param name="AskId">The ask.</param>
/// <param name="Outstanding">Containers not granted yet.</param>
/// <param name="Impossible">True when no node of the cluster, even empty, could hold one: waiting longer does not help.</param>
/// <param name="Reason">One sentence with numbers and what would unblock it.</param>
public sealed record AskWaiting(long AskId, int Outstanding, bool Impossible, string Reason);

/// <summary>
/// Resource manager → driver: these nodes are drained; containers there shall leave when they can, with what only they hold in safety. Absolute; sent when it changes, and again with
/// each update of asks as long as there are any.
/// </summary>
/// <param name="Epoch">Epoch of the resource manager.</param>
/// <param name="Nodes">The draining nodes on which the application has containers; empty when none drains any more.</param>
public sealed record NodesDraining(int Epoch, ImmutableArray<NodeId> Nodes) : ControlMessage;

/// <summary>Resource manager → driver: an operator ended the application.</summary>
/// <param name="Epoch">Epoch of the resource manager.</param>
/// <param name="Reason">Who and why.</param>
public sealed record KillApplication(int Epoch, string Reason) : ControlMessage;
