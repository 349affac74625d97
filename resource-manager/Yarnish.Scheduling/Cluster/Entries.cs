using System.Collections.Immutable;
using Yarnish.Protocol;

namespace Yarnish.Scheduling;

/// <summary>A node as the cluster core sees it.</summary>
internal sealed class Node(NodeId id, int number, Partition partition)
{
    /// <summary>Its id.</summary>
    public NodeId Id { get; } = id;

    /// <summary>Dense number, in the order nodes first registered.</summary>
    public int Number { get; } = number;

    /// <summary>Its partition.</summary>
    public Partition Partition { get; set; } = partition;

    /// <summary>Place in the index of the partition; -1 when it is not in it.</summary>
    public int IndexPlace = -1;

    /// <summary>What the agent said last when it registered; null for a node that only the journal knows.</summary>
    public RegisterNode? Registration;

    /// <summary>Rack.</summary>
    public string Rack = "default-rack";

    /// <summary>Incarnation of the agent.</summary>
    public long Incarnation;

    /// <summary>Sequence of the last heartbeat of that incarnation.</summary>
    public long Sequence;

    /// <summary>When it was heard last, in ticks.</summary>
    public long HeardAt;

    /// <summary>Whether the agent is heard, silent or lost.</summary>
    public NodePresence Presence = NodePresence.Lost;

    /// <summary>What the agent says of its health.</summary>
    public bool Healthy = true;

    /// <summary>Why not healthy, draining or lost.</summary>
    public string Reason = "";

    /// <summary>Whether it drains.</summary>
    public bool Draining;

    /// <summary>When what still runs is stopped, in ticks; <see cref="long.MaxValue"/> for never.</summary>
    public long DrainDeadline = long.MaxValue;

    /// <summary>What it offers.</summary>
    public ResourceVector Capacity;

    /// <summary>What is granted on it, containers that are being stopped included.</summary>
    public ResourceVector Allocated;

    /// <summary>Its containers.</summary>
    public List<Container> Containers { get; } = [];

    /// <summary>Its numbered devices.</summary>
    public DeviceBook Devices => field ??= new DeviceBook();

    /// <summary>Whether it holds more than it offers for a good reason: it shrank, or brought containers along. Nothing is granted until it does not.</summary>
    public bool Overcommitted;

    /// <summary>The ask it is held for, or null.</summary>
    public AskEntry? ReservedFor;

    /// <summary>The snapshot of it, or null when it changed since.</summary>
    public NodeInfo? Info;

    /// <summary>Whether new containers may be placed on it at all.</summary>
    public bool Takes => Presence == NodePresence.Heard && Healthy && (!Draining || IgnoresDrain);

    /// <summary>A planted bug.</summary>
    public bool IgnoresDrain { get; init; }

    /// <summary>Whether the index offers it to every ask.</summary>
    public bool IsOpen => Takes && ReservedFor is null;
}

/// <summary>Whether an agent is heard. <c>Heard ⇄ Silent → Lost → Heard</c> (by a registration).</summary>
internal enum NodePresence
{
    /// <summary>Its heartbeats come.</summary>
    Heard,

    /// <summary>No heartbeat for a while: nothing new on it.</summary>
    Silent,

    /// <summary>No heartbeat for so long that its containers are over, or not yet back after a restart.</summary>
    Lost,
}

/// <summary>
/// A container from its grant until its end is known. <c>Granted → Localizing → Running</c>, with <c>Stopping</c> from any of them. There are many of these: every
/// field counts.
/// </summary>
internal sealed class Container(ContainerId id, AskEntry? ask, Node node, Shape shape, long grantedAt)
{
    /// <summary>Its id.</summary>
    public ContainerId Id { get; } = id;

    /// <summary>The ask it answers; null for a container of an application that nobody knows, which is being stopped.</summary>
    public AskEntry? Ask { get; } = ask;

    /// <summary>Its application; null for one that nobody knows.</summary>
    public Application? Application => Ask?.Application;

    /// <summary>Id of its ask.</summary>
    public long AskId => Ask?.AskId ?? 0;

    /// <summary>Its node.</summary>
    public Node Node { get; } = node;

    /// <summary>What it takes.</summary>
    public Shape Shape { get; } = shape;

    /// <summary>When it was granted or adopted, in ticks.</summary>
    public long GrantedAt { get; } = grantedAt;

    /// <summary>When its launch was sent last, in ticks.</summary>
    public long LaunchedAt = grantedAt;

    /// <summary>Its numbered devices; null when it has none.</summary>
    public string? Devices;

    /// <summary>Its tags where constraints count them.</summary>
    public TagCounts[] Tags = [];

    /// <summary>Why and since when it is being stopped; null while it is not.</summary>
    public StopOrder? Order;

    /// <summary>Stamp of the last report of its agent that showed it.</summary>
    public int SeenStamp;

    /// <summary>Stamp of the last update of its driver that showed it.</summary>
    public int HeldStamp;

    /// <summary>Place in the list of its node.</summary>
    public int NodePlace;

    /// <summary>Place in the list of its application.</summary>
    public int ApplicationPlace;

    /// <summary>Where in its life it is.</summary>
    public ContainerState State = ContainerState.Granted;

    /// <summary>Whether the agent has shown it.</summary>
    public bool Confirmed;

    /// <summary>Heartbeats in a row that did not show it after it was confirmed.</summary>
    public byte Missing;

    /// <summary>Updates of its driver in a row that did not show it though it was told again.</summary>
    public byte Unheld;

    /// <summary>Whether it counts as containers of drivers.</summary>
    public bool IsDriver;

    /// <summary>Whether it is being stopped.</summary>
    public bool IsStopping => State == ContainerState.Stopping;
}

/// <summary>Why a container is being stopped.</summary>
internal sealed class StopOrder(ContainerExitCause cause, string reason)
{
    /// <summary>The cause its end shall carry.</summary>
    public ContainerExitCause Cause { get; } = cause;

    /// <summary>Why, for people.</summary>
    public string Reason { get; } = reason;

    /// <summary>When the agent was told last, in ticks.</summary>
    public long ToldAt;
}

/// <summary>An application from its registration until it is forgotten.</summary>
internal sealed class Application(RegisterApplication registration, long sequence, long startedAt)
{
    /// <summary>What its driver said.</summary>
    public RegisterApplication Registration { get; set; } = registration;

    /// <summary>Number in the order of registrations.</summary>
    public long Sequence { get; } = sequence;

    /// <summary>When it registered, in ticks.</summary>
    public long StartedAt { get; } = startedAt;

    /// <summary>Its id.</summary>
    public ApplicationId Id => Registration.ApplicationId;

    /// <summary>Its leaf queue.</summary>
    public Queue Queue = null!;

    /// <summary>Priority in its queue.</summary>
    public int Priority = registration.Priority;

    /// <summary>Where in its life it is.</summary>
    public ApplicationState State;

    /// <summary>Whether it may be granted something, see the limits of active applications.</summary>
    public bool Active;

    /// <summary>What blocks it from being active.</summary>
    public (WaitingKind Kind, string Subject, long Have, long Limit) Inactive;

    /// <summary>When its driver was heard last, in ticks.</summary>
    public long HeardAt;

    /// <summary>Sequence of the last heartbeat.</summary>
    public long BeatSequence;

    /// <summary>Sequence of the last update of asks.</summary>
    public long AskSequence = long.MinValue;

    /// <summary>Last summary.</summary>
    public ApplicationProgress Progress = new();

    /// <summary>When it ended, in ticks.</summary>
    public long FinishedAt;

    /// <summary>Why it ended.</summary>
    public string Diagnostics = "";

    /// <summary>Its asks by id, those of the driver and those only containers remember.</summary>
    public Dictionary<long, AskEntry> Asks { get; } = [];

    /// <summary>Its asks in the order of their ids.</summary>
    public List<AskEntry> AskList { get; } = [];

    /// <summary>Asks beyond the bound, not looked at: the first of them and how many.</summary>
    public (long First, int Count) Ignored;

    /// <summary>Its part of each partition it uses.</summary>
    public List<ApplicationShare> Shares { get; } = [];

    /// <summary>Its containers.</summary>
    public List<Container> Containers { get; } = [];

    /// <summary>Recently ended containers, oldest first.</summary>
    public Queue<ContainerInfo> Ended { get; } = [];

    /// <summary>Nodes it wants nothing on.</summary>
    public HashSet<NodeId> Excluded { get; set; } = [];

    /// <summary>Every node that held a container of it, a bit by number.</summary>
    public ulong[] Touched = [];

    /// <summary>Remembers that a node held a container of it.</summary>
    public void Touch(Node node)
    {
        var word = node.Number >> 6;
        if (word >= Touched.Length)
        {
            Array.Resize(ref Touched, Math.Max(word + 1, Touched.Length * 2));
        }
        Touched[word] |= 1UL << (node.Number & 63);
    }

    /// <summary>Whether a node held a container of it.</summary>
    public bool HasTouched(Node node) => node.Number >> 6 < Touched.Length && (Touched[node.Number >> 6] & (1UL << (node.Number & 63))) != 0;

    /// <summary>Whether it may have touched more nodes before the resource manager restarted.</summary>
    public bool IsRestored;

    /// <summary>Where its own tags are.</summary>
    public Dictionary<string, TagCounts> Tags { get; } = new(StringComparer.Ordinal);

    /// <summary>The limits of its user and groups along its path.</summary>
    public LimitLedger[] Limits = [];

    /// <summary>Nodes held for it.</summary>
    public int Reservations;

    /// <summary>Grants of this step that its driver has not been told yet.</summary>
    public List<ContainerGrant> Granted { get; } = [];

    /// <summary>Why its asks wait, as the driver was told last.</summary>
    public List<AskWaiting> Told { get; } = [];

    /// <summary>The draining nodes it was told of last.</summary>
    public ImmutableArray<NodeId> ToldDraining { get; set; } = [];

    /// <summary>When the driver was told last, in ticks.</summary>
    public long ToldAt;

    /// <summary>The snapshot of it, or null when it changed since.</summary>
    public ApplicationSnapshot? Snapshot;

    /// <summary>When that was taken, in ticks.</summary>
    public long SnapshotAt;

    /// <summary>Whether it is over.</summary>
    public bool IsOver => State >= ApplicationState.Succeeded;
}

/// <summary>An application's part of one partition.</summary>
internal sealed class ApplicationShare(Application application, Partition partition) : Ranked<ApplicationShare>
{
    /// <summary>The application.</summary>
    public Application Application { get; } = application;

    /// <summary>The partition.</summary>
    public Partition Partition { get; } = partition;

    /// <summary>The part of its leaf.</summary>
    public QueueShare Leaf = null!;

    /// <summary>What it holds.</summary>
    public ResourceVector Usage;

    /// <summary>Its dominant share.</summary>
    public Ratio Ratio = Ratio.Zero;

    /// <summary>Asks that could be placed now.</summary>
    public Heap<AskEntry> Asks { get; } = new();

    /// <inheritdoc/>
    internal override bool Before(ApplicationShare other)
    {
        var policy = Leaf.Queue.Configuration.Order;
        if (policy == ApplicationOrder.Priority && Application.Priority != other.Application.Priority)
        {
            return Application.Priority > other.Application.Priority;
        }
        if (policy != ApplicationOrder.Fifo)
        {
            var order = Ratio.CompareTo(other.Ratio);
            if (order != 0)
            {
                return order < 0;
            }
        }
        return Application.Sequence < other.Application.Sequence;
    }

    /// <summary>Computes <see cref="Ratio"/> from what it holds.</summary>
    public void Rank(int resources) => Ratio = Ratio.OfTotal(Usage, Partition.Total, resources);
}

/// <summary>An ask of an application, or the memory of one that containers still answer.</summary>
internal sealed class AskEntry(Application application, long askId) : Ranked<AskEntry>
{
    /// <summary>Its application.</summary>
    public Application Application { get; } = application;

    /// <summary>Its id.</summary>
    public long AskId { get; } = askId;

    /// <summary>What the driver said last; null when only containers remember it.</summary>
    public Ask? Message;

    /// <summary>What each container takes.</summary>
    public Shape Shape = Shape.Nothing;

    /// <summary>The asks it shares its fate with.</summary>
    public PlacementClass Class = null!;

    /// <summary>Its application's part of its partition.</summary>
    public ApplicationShare Share = null!;

    /// <summary>Live containers wanted.</summary>
    public int Desired;

    /// <summary>Live containers, without those being stopped.</summary>
    public int Live;

    /// <summary>Its tags where constraints count them.</summary>
    public TagCounts[] Tags = [];

    /// <summary>Why it is not in its application's heap.</summary>
    public WaitingKind Asleep = WaitingKind.InTurn;

    /// <summary>The limit it waits for, with <see cref="WaitingKind.QueueMaximum"/>, <see cref="WaitingKind.DriverShare"/>.</summary>
    public QueueShare? BlockedBy;

    /// <summary>The limit it waits for, with <see cref="WaitingKind.UserLimit"/> and <see cref="WaitingKind.GroupLimit"/>.</summary>
    public LimitLedger? BlockedByLimit;

    /// <summary>The list it sleeps in.</summary>
    public SleepList? SleepsIn;

    /// <summary>Neighbour in that list.</summary>
    public AskEntry? SleepPrevious;

    /// <summary>Neighbour in that list.</summary>
    public AskEntry? SleepNext;

    /// <summary>When to look at it again whatever happens, in ticks; <see cref="long.MaxValue"/> for never.</summary>
    public long WakeAt = long.MaxValue;

    /// <summary>Since when something of it is outstanding without a grant, in ticks.</summary>
    public long WaitingSince;

    /// <summary>How far its locality is relaxed: 0 nodes, 1 racks, 2 anywhere.</summary>
    public int LocalityLevel = 2;

    /// <summary>Containers in a row that ended badly within seconds.</summary>
    public int Failures;

    /// <summary>Nothing is granted before this time, in ticks.</summary>
    public long PausedUntil;

    /// <summary>The node that is held for it, or null.</summary>
    public Node? Reserved;

    /// <summary>Why the ask can never be granted as it is; empty when it can.</summary>
    public string InvalidReason = "";

    /// <summary>Why it waits, as found last.</summary>
    public (long At, ImmutableArray<WaitingReason> Reasons) Explained = (long.MinValue, []);

    /// <summary>Stamp of the last update that had it.</summary>
    public int Stamp;

    /// <summary>When a gang gives up, in ticks.</summary>
    public long GangDeadline = long.MaxValue;

    /// <summary>Whether it is a gang whose deadline passed.</summary>
    public bool GangExpired;

    /// <summary>How many of a gang fitted when it was tried last.</summary>
    public int GangFitted;

    /// <summary>Whether everything or nothing is granted.</summary>
    public bool IsGang => Message?.GangSeconds is not null;

    /// <summary>Containers not granted yet.</summary>
    public int Outstanding => Math.Max(0, Desired - Live);

    /// <inheritdoc/>
    internal override bool Before(AskEntry other)
    {
        var mine = Message!.Priority;
        var theirs = other.Message!.Priority;
        return mine != theirs ? mine > theirs : AskId < other.AskId;
    }
}

/// <summary>A partition of the nodes: queues have shares in each, asks look in one.</summary>
internal sealed class Partition(int number, string name, bool shared)
{
    /// <summary>Dense number; the default partition is 0.</summary>
    public int Number { get; } = number;

    /// <summary>Its name; empty for the default one.</summary>
    public string Name { get; } = name;

    /// <summary>Whether asks of the default partition may use it.</summary>
    public bool Shared = shared;

    /// <summary>What its nodes offer that are not lost.</summary>
    public ResourceVector Total;

    /// <summary>Its nodes.</summary>
    public NodeIndex Index { get; } = new();

    /// <summary>The root of the queue tree here.</summary>
    public QueueShare Root = null!;

    /// <summary>Classes that found no node.</summary>
    public List<PlacementClass> Blocked { get; } = [];

    /// <summary>Classes of asks without wishes.</summary>
    public Dictionary<Resources, PlacementClass> Classes { get; } = [];

    /// <summary>Whether shares must be computed anew before anything is placed.</summary>
    public bool SharesStale = true;

    /// <summary>Asks that stand in the heaps and whose class is not blocked: while it is 0 there is nothing to place.</summary>
    public int Ready;

    /// <summary>How many grants there were.</summary>
    public long Grants;

    /// <summary>Nodes held for asks.</summary>
    public int ReservedNodes;
}
