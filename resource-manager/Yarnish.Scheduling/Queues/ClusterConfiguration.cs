using System.Collections.Immutable;
using System.Text.Json.Serialization;
using Yarnish.Protocol;

namespace Yarnish.Scheduling;

/// <summary>How capacity is divided: queues, limits, rules, partitions. Plain data, free of any file format; <see cref="ConfigurationCheck"/> judges it.</summary>
public sealed record ClusterConfiguration
{
    /// <summary>The root of the queue tree. Its share is always the whole cluster. Default: one leaf, <c>root.default</c>.</summary>
    public QueueConfiguration Root { get; init; } = new("root") { Queues = [new("default")] };

    /// <summary>Rules that choose a queue for an application, first match wins. Default: the queue it names, else <c>root.default</c>.</summary>
    public ImmutableArray<PlacementRule> Rules { get; init; } = [];

    /// <summary>Partitions of nodes besides the default one. A node of a partition that is not listed is in an exclusive one.</summary>
    public ImmutableArray<PartitionConfiguration> Partitions { get; init; } = [];

    /// <summary>Which of several fitting nodes is taken; default <see cref="NodeOrder.Spread"/>.</summary>
    public NodeOrder NodeOrder { get; init; }

    /// <summary>Whether and how containers are taken back for queues below their guarantee.</summary>
    public PreemptionConfiguration Preemption { get; init; } = new();

    /// <summary>Most nodes of a partition held for asks too big for today's holes, in percent; at least one. Default 10.</summary>
    public int ReservedNodesPercent { get; init; } = 10;

    /// <summary>Most nodes one application may have reserved; default 2.</summary>
    public int ReservationsPerApplication { get; init; } = 2;
}

/// <summary>One queue and those below it.</summary>
/// <param name="Name">Last part of its path: 1 to 64 characters of <c>A-Z a-z 0-9 _ -</c>.</param>
public sealed record QueueConfiguration(string Name)
{
    /// <summary>Queues below. A queue without any is a leaf: applications live in leaves only.</summary>
    public ImmutableArray<QueueConfiguration> Queues { get; init; } = [];

    /// <summary>Whether it takes new applications; default <see cref="QueueState.Running"/>.</summary>
    public QueueState State { get; init; }

    /// <summary>Its right, of the right of its parent. Siblings must use one mode. Default: weight 1 among weights, nothing among percents or amounts.</summary>
    public Share? Guarantee { get; init; }

    /// <summary>The most it may hold, of the most of its parent. A weight makes no sense here. Default: no bound of its own.</summary>
    public Share? Maximum { get; init; }

    /// <summary>Other shares in other partitions, by partition; a partition that is not named uses <see cref="Guarantee"/> and <see cref="Maximum"/>.</summary>
    public ImmutableSortedDictionary<string, PartitionShare> Partitions { get; init; } =
        ImmutableSortedDictionary.Create<string, PartitionShare>(StringComparer.Ordinal);

    /// <summary>Which application of a leaf comes first; default <see cref="ApplicationOrder.Fair"/>.</summary>
    public ApplicationOrder Order { get; init; }

    /// <summary>Among siblings, higher ones come first whatever their share; default 0.</summary>
    public int Priority { get; init; }

    /// <summary>Most live applications in it; further ones are refused. Default no limit.</summary>
    public int? MaximumApplications { get; init; }

    /// <summary>Most applications that may hold containers at once; further ones wait. Default no limit.</summary>
    public int? MaximumActiveApplications { get; init; }

    /// <summary>Most of the queue's maximum that containers of drivers may take, in percent; default no limit.</summary>
    public int? MaximumDriverPercent { get; init; }

    /// <summary>The largest single container; default no limit.</summary>
    public Resources? MaximumContainer { get; init; }

    /// <summary>Limits of users and groups.</summary>
    public ImmutableArray<QueueLimit> Limits { get; init; } = [];

    /// <summary>An application of a leaf is ended after this long; default never.</summary>
    public TimeSpan? MaximumLifetime { get; init; }

    /// <summary>Whether its containers may be taken back for other queues; default true. Never below its guarantee.</summary>
    public bool Preemptible { get; init; } = true;

    /// <summary>What a queue that a rule creates below this one looks like; null forbids to create any.</summary>
    public QueueConfiguration? Template { get; init; }
}

/// <summary>Shares of a queue in one partition.</summary>
/// <param name="Guarantee">See <see cref="QueueConfiguration.Guarantee"/>.</param>
/// <param name="Maximum">See <see cref="QueueConfiguration.Maximum"/>.</param>
public sealed record PartitionShare(Share? Guarantee, Share? Maximum);

/// <summary>A part of something: by weight among siblings, in percent, or an amount.</summary>
public sealed record Share
{
    private Share(ShareMode mode, long thousandths, Resources amount) => (Mode, Thousandths, Amount) = (mode, thousandths, amount);

    /// <summary>How the share is said.</summary>
    public ShareMode Mode { get; }

    /// <summary>Weight or percent, times 1,000.</summary>
    public long Thousandths { get; }

    /// <summary>The amount, in the mode <see cref="ShareMode.Amount"/>.</summary>
    public Resources Amount { get; }

    /// <summary>So much for each unit of the siblings' weights; 0 or more, three decimals.</summary>
    public static Share Weight(decimal weight) => new(ShareMode.Weight, (long)(weight * 1000), Resources.Zero);

    /// <summary>So many percent of the parent's; 0 to 100, three decimals.</summary>
    public static Share Percent(decimal percent) => new(ShareMode.Percent, (long)(percent * 1000), Resources.Zero);

    /// <summary>So much. As a maximum, a resource it does not name has no bound.</summary>
    public static Share Of(Resources amount) => new(ShareMode.Amount, 0, amount);

    /// <inheritdoc/>
    public override string ToString() => Mode switch
    {
        ShareMode.Weight => $"weight {Thousandths / 1000m:0.###}",
        ShareMode.Percent => $"{Thousandths / 1000m:0.###} %",
        _ => Amount.ToString(),
    };
}

/// <summary>How a share is said.</summary>
public enum ShareMode
{
    /// <summary>By weight among siblings.</summary>
    Weight,

    /// <summary>In percent of the parent's.</summary>
    Percent,

    /// <summary>As an amount of resources.</summary>
    Amount,
}

/// <summary>Whether a queue takes new applications.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<QueueState>))]
public enum QueueState
{
    /// <summary>It does.</summary>
    Running,

    /// <summary>It refuses new applications; those inside go on and get what they ask for.</summary>
    Draining,

    /// <summary>It refuses new applications and grants nothing; what runs goes on.</summary>
    Stopped,
}

/// <summary>Which application of a leaf queue comes first. Ties go to the one that registered first.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<ApplicationOrder>))]
public enum ApplicationOrder
{
    /// <summary>The one with the smallest dominant share.</summary>
    Fair,

    /// <summary>The one that registered first.</summary>
    Fifo,

    /// <summary>The one with the highest priority, then the smallest dominant share.</summary>
    Priority,
}

/// <summary>Which of several fitting nodes is taken. Ties go to the node that registered first.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<NodeOrder>))]
public enum NodeOrder
{
    /// <summary>The one with the largest free dominant share.</summary>
    Spread,

    /// <summary>The one that registered first, so that later ones stay empty.</summary>
    Pack,
}

/// <summary>A limit within a queue, for each of the users or for each of the groups that it names, one by one.</summary>
public sealed record QueueLimit
{
    /// <summary>Users it holds for; <c>*</c> is every user without a limit by name.</summary>
    public ImmutableArray<string> Users { get; init; } = [];

    /// <summary>Groups it holds for: all users of a group share the limit. <c>*</c> is every group without a limit by name.</summary>
    public ImmutableArray<string> Groups { get; init; } = [];

    /// <summary>The most they may hold; a resource that is not named has no bound. Null is no bound.</summary>
    public Resources? MaximumResources { get; init; }

    /// <summary>Most applications that may hold containers at once. Null is no bound.</summary>
    public int? MaximumActiveApplications { get; init; }
}

/// <summary>A partition of nodes.</summary>
/// <param name="Name">Its name, as nodes and asks say it.</param>
/// <param name="Shared">Whether asks for the default partition may use its idle nodes when their own are full.</param>
public sealed record PartitionConfiguration(string Name, bool Shared);

/// <summary>A rule that chooses a queue for an application. Fields that are null match everything.</summary>
/// <param name="Action">What it does when it matches.</param>
public sealed record PlacementRule(PlacementAction Action)
{
    /// <summary>Matches this user only.</summary>
    public string? User { get; init; }

    /// <summary>Matches users of this group only.</summary>
    public string? Group { get; init; }

    /// <summary>Matches applications of this name only; a trailing <c>*</c> matches any ending.</summary>
    public string? Application { get; init; }

    /// <summary>For <see cref="PlacementAction.Fixed"/> the leaf; for <c>User</c>, <c>Group</c> and <c>Name</c> the parent below which the queue of that name is meant.</summary>
    public string Queue { get; init; } = "root";

    /// <summary>Whether a missing queue is created below <see cref="Queue"/> from its template; default false: the rule does not match.</summary>
    public bool Create { get; init; }
}

/// <summary>What a placement rule does.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<PlacementAction>))]
public enum PlacementAction
{
    /// <summary>The queue the application named, if it named one.</summary>
    Provided,

    /// <summary>A queue named after the user.</summary>
    User,

    /// <summary>A queue named after the user's first group.</summary>
    Group,

    /// <summary>A queue named after the application.</summary>
    Name,

    /// <summary>One certain queue.</summary>
    Fixed,

    /// <summary>Refuse the application.</summary>
    Reject,
}

/// <summary>Whether and how containers are taken back.</summary>
public sealed record PreemptionConfiguration
{
    /// <summary>Whether queues above their guarantee give back to queues below theirs; default true.</summary>
    public bool Enabled { get; init; } = true;

    /// <summary>Whether higher priorities take from lower ones inside a leaf of order <see cref="ApplicationOrder.Priority"/>; default true.</summary>
    public bool InsideQueues { get; init; } = true;

    /// <summary>How long an ask must wait before anything is taken for it; default 30 s.</summary>
    public TimeSpan Delay { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Between two rounds; default 3 s.</summary>
    public TimeSpan Interval { get; init; } = TimeSpan.FromSeconds(3);

    /// <summary>Most of a partition's dominant share that one round takes back, in percent; at least one container. Default 10.</summary>
    public int RoundPercent { get; init; } = 10;
}
