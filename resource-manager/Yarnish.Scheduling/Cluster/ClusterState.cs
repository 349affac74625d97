using Yarnish.Protocol;

namespace Yarnish.Scheduling;

/// <summary>Everything the cluster core knows. Owned by one <see cref="ClusterMachine"/>; nothing of it leaves except through snapshots.</summary>
internal sealed class ClusterState(ClusterSettings settings)
{
    /// <summary>Times and bounds.</summary>
    public ClusterSettings Settings { get; } = settings;

    /// <summary>Epoch of this life; 0 before the journal was restored.</summary>
    public int Epoch;

    /// <summary>Sequence of the last container granted.</summary>
    public long LastContainer;

    /// <summary>Number of the last application registered.</summary>
    public long LastApplication;

    /// <summary>Time of the event being applied, in ticks.</summary>
    public long Now;

    /// <summary>When this life began, in ticks.</summary>
    public long StartedAt;

    /// <summary>Grows with each step that changed anything.</summary>
    public long Version;

    /// <summary>Grows with each change that could change why an ask waits.</summary>
    public long PlacementVersion;

    /// <summary>Grows with each change of which nodes there are and take containers.</summary>
    public long NodesVersion;

    /// <summary>Nothing is granted before this time, in ticks; 0 when settled.</summary>
    public long SettleUntil;

    /// <summary>Whether the resource manager waits for the nodes it knew.</summary>
    public bool IsSettling => SettleUntil != 0;

    /// <summary>Nobody is lost for silence before this time, in ticks: the bus was away and not everybody is back on it.</summary>
    public long SilenceCountsFrom;

    /// <summary>Kinds of resources.</summary>
    public ResourceTypes Types { get; } = new();

    /// <summary>Partitions by number.</summary>
    public List<Partition> Partitions { get; } = [new Partition(0, "", shared: false)];

    /// <summary>Nodes by number, lost ones included until they are forgotten; null where one was forgotten.</summary>
    public List<Node?> Nodes { get; } = [];

    /// <summary>Nodes by id.</summary>
    public Dictionary<NodeId, Node> NodesById { get; } = [];

    /// <summary>Live applications in the order they registered.</summary>
    public List<Application> Applications { get; } = [];

    /// <summary>Live and remembered applications by id.</summary>
    public Dictionary<ApplicationId, Application> ApplicationsById { get; } = [];

    /// <summary>Ended applications, first ended first.</summary>
    public Queue<Application> EndedApplications { get; } = [];

    /// <summary>Containers whose end is not known.</summary>
    public ContainerTable Containers { get; } = new();

    /// <summary>Containers of earlier epochs whose end is known: they are never taken for live again.</summary>
    public HashSet<ContainerId> EndedEarlier { get; } = [];

    /// <summary>Where tags that constraints count over all applications are.</summary>
    public Dictionary<string, TagCounts> Tags { get; } = new(StringComparer.Ordinal);

    /// <summary>What is configured.</summary>
    public ClusterConfiguration Configuration = new();

    /// <summary>Version of the configuration.</summary>
    public int ConfigurationVersion;

    /// <summary>Queues by number, parents before children.</summary>
    public List<Queue> Queues { get; } = [];

    /// <summary>Queues by path.</summary>
    public Dictionary<string, Queue> QueuesByPath { get; } = new(StringComparer.Ordinal);

    /// <summary>Most partitions there may be: names arrive from outside.</summary>
    public const int MostPartitions = 64;

    /// <summary>The partition of this name, made now if it is new; null when there are too many.</summary>
    public Partition? PartitionOf(string name)
    {
        foreach (var known in Partitions)
        {
            if (known.Name == name)
            {
                return known;
            }
        }
        if (Partitions.Count == MostPartitions || name.Length > 128)
        {
            return null;
        }
        var partition = new Partition(Partitions.Count, name, IsShared(name));
        Partitions.Add(partition);
        foreach (var queue in Queues)
        {
            QueueTree.AddShare(queue, partition);
        }
        return partition;
    }

    /// <summary>Whether the partition of this name is configured as shared.</summary>
    public bool IsShared(string name)
    {
        foreach (var configured in Configuration.Partitions)
        {
            if (configured.Name == name)
            {
                return configured.Shared;
            }
        }
        return false;
    }

    /// <summary>Drops what names from outside left behind and nobody uses any more, once there is much of it.</summary>
    public void Sweep()
    {
        foreach (var partition in Partitions)
        {
            if (partition.Classes.Count > MostIdleNames)
            {
                SweepClasses(partition);
            }
        }
        if (Tags.Count <= MostIdleNames)
        {
            return;
        }
        var used = new HashSet<TagCounts>();
        foreach (var application in Applications)
        {
            foreach (var ask in application.AskList)
            {
                used.UnionWith(ask.Tags);
            }
        }
        foreach (var (name, tag) in Tags)
        {
            if (tag.Total == 0 && tag.Watchers.Count == 0 && !used.Contains(tag))
            {
                Tags.Remove(name);
            }
        }
    }

    private const int MostIdleNames = 1024;

    private static void SweepClasses(Partition partition)
    {
        // An ask that wants nothing now may still belong to a class that goes: it just shares its memory with nobody then.
        foreach (var (shape, kind) in partition.Classes)
        {
            if (kind is { Awake: 0, BlockedPlace: < 0, Sleepers.First: null })
            {
                partition.Classes.Remove(shape);
            }
        }
    }

    /// <summary>Counts and remembers a new kind of resource everywhere after <paramref name="before"/> kinds became more.</summary>
    public void WidenFrom(int before)
    {
        if (Types.Count == before)
        {
            return;
        }
        foreach (var partition in Partitions)
        {
            partition.Index.Rebuild(Types.Count);
            partition.SharesStale = true;
        }
    }
}
