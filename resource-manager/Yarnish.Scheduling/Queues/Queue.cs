namespace Yarnish.Scheduling;

/// <summary>A queue in force. A new configuration makes new ones and moves everything over.</summary>
internal sealed class Queue(QueueConfiguration configuration, Queue? parent, int number)
{
    /// <summary>What it was configured with.</summary>
    public QueueConfiguration Configuration { get; } = configuration;

    /// <summary>The queue above; null for the root.</summary>
    public Queue? Parent { get; } = parent;

    /// <summary>Number in the tree, parents before children.</summary>
    public int Number { get; } = number;

    /// <summary>Dotted path.</summary>
    public string Path { get; } = parent is null ? configuration.Name : parent.Path + "." + configuration.Name;

    /// <summary>Queues below, in the order of the configuration.</summary>
    public List<Queue> Children { get; } = [];

    /// <summary>Whether applications live in it.</summary>
    public bool IsLeaf => Children.Count == 0 && Configuration.Queues.IsEmpty && Configuration.Template is null;

    /// <summary>Its part of each partition, by number of the partition.</summary>
    public List<QueueShare> Shares { get; } = [];

    /// <summary>Live applications here and below.</summary>
    public int Applications;

    /// <summary>Of them, those that may be granted something.</summary>
    public int ActiveApplications;

    /// <summary>The limit of each user or group here, by <c>user NAME</c> or <c>group NAME</c>.</summary>
    public Dictionary<string, LimitLedger> Limits { get; } = new(StringComparer.Ordinal);

    /// <summary>The strictest state of this queue and those above.</summary>
    public QueueState State
    {
        get
        {
            var state = Configuration.State;
            for (var above = Parent; above is not null; above = above.Parent)
            {
                state = (QueueState)Math.Max((int)state, (int)above.Configuration.State);
            }
            return state;
        }
    }

    /// <summary>Its guarantee in a partition.</summary>
    public Share? GuaranteeIn(string partition) =>
        Configuration.Partitions.TryGetValue(partition, out var own) ? own.Guarantee : Configuration.Guarantee;

    /// <summary>Its maximum in a partition.</summary>
    public Share? MaximumIn(string partition) =>
        Configuration.Partitions.TryGetValue(partition, out var own) ? own.Maximum : Configuration.Maximum;
}

/// <summary>A queue's part of one partition: what it has by right, what it may hold, what it holds, and which of those below comes first.</summary>
internal sealed class QueueShare(Queue queue, Partition partition, QueueShare? parent) : Ranked<QueueShare>
{
    /// <summary>The queue.</summary>
    public Queue Queue { get; } = queue;

    /// <summary>The partition.</summary>
    public Partition Partition { get; } = partition;

    /// <summary>The part of the queue above.</summary>
    public QueueShare? Parent { get; } = parent;

    /// <summary>What it has by right.</summary>
    public ResourceVector Guarantee;

    /// <summary>What it may hold; <see cref="long.MaxValue"/> without a bound.</summary>
    public ResourceVector Maximum = ResourceVector.Filled(long.MaxValue);

    /// <summary>What it holds, containers that are being stopped included.</summary>
    public ResourceVector Usage;

    /// <summary>What containers of drivers hold.</summary>
    public ResourceVector DriverUsage;

    /// <summary>What containers of drivers may hold.</summary>
    public ResourceVector DriverMaximum = ResourceVector.Filled(long.MaxValue);

    /// <summary>Queues below that have something to place.</summary>
    public Heap<QueueShare> Children { get; } = new();

    /// <summary>Applications of a leaf that have something to place.</summary>
    public Heap<ApplicationShare> Applications { get; } = new();

    /// <summary>Asks that wait for room under the maximum.</summary>
    public SleepList Sleepers { get; } = new();

    /// <summary>Its order among siblings.</summary>
    public Ratio Ratio = Ratio.Zero;

    /// <summary>Whether anything below could be placed.</summary>
    public bool HasWork => Children.Count > 0 || Applications.Count > 0;

    /// <inheritdoc/>
    internal override bool Before(QueueShare other)
    {
        if (Queue.Configuration.Priority != other.Queue.Configuration.Priority)
        {
            return Queue.Configuration.Priority > other.Queue.Configuration.Priority;
        }
        var order = Ratio.CompareTo(other.Ratio);
        return order != 0 ? order < 0 : Queue.Number < other.Queue.Number;
    }

    /// <summary>Computes <see cref="Ratio"/> from what it holds.</summary>
    public void Rank(int resources) => Ratio = Ratio.OfQueue(Usage, Guarantee, Partition.Total, resources);
}

/// <summary>
/// How much of its right something uses: the largest part over all resources, as a fraction that is compared exactly. What has no right at all comes after
/// what has one, by its part of the whole.
/// </summary>
internal readonly struct Ratio(bool unguaranteed, long used, long of)
{
    /// <summary>Nothing used.</summary>
    public static Ratio Zero { get; } = new(false, 0, 1);

    private readonly bool _unguaranteed = unguaranteed;
    private readonly long _used = used;
    private readonly long _of = of;

    /// <summary>Whether more than its right is used, in some resource.</summary>
    public bool IsOver => _unguaranteed ? _used > 0 : _used > _of;

    /// <summary>The ratio of usage to guarantee; a resource used without any guarantee of it makes it unguaranteed.</summary>
    public static Ratio OfQueue(in ResourceVector usage, in ResourceVector guarantee, in ResourceVector total, int resources)
    {
        long used = 0, of = 1;
        for (var i = 0; i < resources; i++)
        {
            if (usage[i] <= 0)
            {
                continue;
            }
            if (guarantee[i] <= 0)
            {
                return OfTotal(usage, total, resources, unguaranteed: true);
            }
            if (Math.BigMul(usage[i], of) > Math.BigMul(used, guarantee[i]))
            {
                (used, of) = (usage[i], guarantee[i]);
            }
        }
        return new Ratio(false, used, of);
    }

    /// <summary>The dominant share of the whole.</summary>
    public static Ratio OfTotal(in ResourceVector usage, in ResourceVector total, int resources, bool unguaranteed = false)
    {
        long used = 0, of = 1;
        for (var i = 0; i < resources; i++)
        {
            // Nothing of it is left in the partition: the share is the whole.
            var all = Math.Max(1, total[i]);
            if (usage[i] > 0 && Math.BigMul(usage[i], of) > Math.BigMul(used, all))
            {
                (used, of) = (usage[i], all);
            }
        }
        return new Ratio(unguaranteed, used, of);
    }

    /// <summary>Smaller ratios first.</summary>
    public int CompareTo(in Ratio other)
    {
        if (_unguaranteed != other._unguaranteed)
        {
            return _unguaranteed ? 1 : -1;
        }
        return Math.BigMul(_used, other._of).CompareTo(Math.BigMul(other._used, _of));
    }
}

/// <summary>What one user or group holds in one queue and below, where a limit says so.</summary>
internal sealed class LimitLedger(Queue queue, string who, bool isGroup, QueueLimit limit)
{
    /// <summary>The queue of the limit.</summary>
    public Queue Queue { get; } = queue;

    /// <summary>The user or group.</summary>
    public string Who { get; } = who;

    /// <summary>Whether it is a group.</summary>
    public bool IsGroup { get; } = isGroup;

    /// <summary>The limit as configured.</summary>
    public QueueLimit Limit { get; } = limit;

    /// <summary>The most they may hold.</summary>
    public ResourceVector Maximum = ResourceVector.Filled(long.MaxValue);

    /// <summary>What they hold.</summary>
    public ResourceVector Usage;

    /// <summary>Their active applications.</summary>
    public int Active;

    /// <summary>Asks that wait for room under the limit.</summary>
    public SleepList Sleepers { get; } = new();
}
