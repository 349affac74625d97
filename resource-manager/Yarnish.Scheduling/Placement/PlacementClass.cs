using System.Collections.Immutable;
using Yarnish.Protocol;

namespace Yarnish.Scheduling;

/// <summary>An amount of resources that containers of equal asks share.</summary>
internal sealed class Shape(ResourceVector vector, Resources resources)
{
    /// <summary>Nothing at all.</summary>
    public static Shape Nothing { get; } = new(default, Resources.Zero);

    /// <summary>The amounts by dense number.</summary>
    public readonly ResourceVector Vector = vector;

    /// <summary>The amounts as the wire has them.</summary>
    public Resources Resources { get; } = resources;
}

/// <summary>How much of an ask's wishes a search insists on.</summary>
internal enum Strictness
{
    /// <summary>Soft wishes too.</summary>
    Soft,

    /// <summary>Hard rules only.</summary>
    Hard,
}

/// <summary>
/// Asks that fit on the same nodes: when one of them finds no node, none does, until a node or a tag changes. Asks without any wish share a class by partition
/// and shape; an ask with wishes is a class of its own.
/// </summary>
internal sealed class PlacementClass(Partition partition, Shape shape)
{
    /// <summary>Where its asks look.</summary>
    public Partition Partition { get; } = partition;

    /// <summary>What each container takes.</summary>
    public Shape Shape { get; } = shape;

    /// <summary>The ask with wishes that is alone in this class, or null.</summary>
    public AskEntry? Single { get; init; }

    /// <summary>The resolved constraints of <see cref="Single"/>.</summary>
    public BoundConstraint[] Constraints { get; init; } = [];

    /// <summary>Whether any constraint or locality is soft.</summary>
    public bool HasSoft { get; init; }

    /// <summary>Nodes the ask prefers, by number of the node; null when it has no preference.</summary>
    public HashSet<NodeId>? PreferredNodes { get; init; }

    /// <summary>Racks the ask prefers; null when it has no preference.</summary>
    public HashSet<string>? PreferredRacks { get; init; }

    /// <summary>Asks that found no node.</summary>
    public SleepList Sleepers { get; } = new();

    /// <summary>Its asks that stand in the heaps of their applications.</summary>
    public int Awake;

    /// <summary>Place in the list of blocked classes of its partition; -1 when it is not blocked.</summary>
    public int BlockedPlace = -1;

    /// <summary>How many grants the partition had seen when it blocked.</summary>
    public long BlockedAtGrant;

    /// <summary>Reasons computed last, and the version they are of.</summary>
    public (long Version, ImmutableArray<WaitingReason> Reasons) Explained = (-1, []);
}

/// <summary>A placement constraint with its tag looked up and its text taken apart.</summary>
internal sealed class BoundConstraint(PlacementConstraint rule, TagCounts? tag, string key, string value, bool negated)
{
    /// <summary>What the ask said.</summary>
    public PlacementConstraint Rule { get; } = rule;

    /// <summary>Where its tag is; null for attributes.</summary>
    public TagCounts? Tag { get; } = tag;

    /// <summary>Name of the attribute.</summary>
    public string Key { get; } = key;

    /// <summary>Value of the attribute.</summary>
    public string Value { get; } = value;

    /// <summary>Whether the attribute must differ.</summary>
    public bool Negated { get; } = negated;

    /// <summary>The smallest count over the nodes the ask could be on, for spreading.</summary>
    public int Least;

    /// <summary>Version of the set of nodes that <see cref="Least"/> is of.</summary>
    public long NodesVersion;

    /// <summary>How many of those nodes have it; 0 asks for a new count.</summary>
    public int AtLeast;
}

/// <summary>Where the containers with one tag are.</summary>
internal sealed class TagCounts(string name)
{
    private readonly Dictionary<int, int> _byNode = [];
    private readonly Dictionary<string, int> _byRack = new(StringComparer.Ordinal);

    /// <summary>The tag.</summary>
    public string Name { get; } = name;

    /// <summary>How many there are in all.</summary>
    public int Total { get; private set; }

    /// <summary>Classes with a constraint on the tag.</summary>
    public List<PlacementClass> Watchers { get; } = [];

    /// <summary>How many are on a node.</summary>
    public int On(Node node) => _byNode.GetValueOrDefault(node.Number);

    /// <summary>How many are in a rack.</summary>
    public int In(string rack) => _byRack.GetValueOrDefault(rack);

    /// <summary>How many are on the node, or in its rack.</summary>
    public int Near(Node node, bool perRack) => perRack ? In(node.Rack) : On(node);

    /// <summary>One more or one less on a node.</summary>
    public void Change(Node node, int by)
    {
        Set(_byNode, node.Number, by);
        Set(_byRack, node.Rack, by);
        Total += by;
        foreach (var watcher in Watchers)
        {
            foreach (var constraint in watcher.Constraints)
            {
                if (ReferenceEquals(constraint.Tag, this) && constraint.Rule.Kind == PlacementKind.Spread)
                {
                    // Only a step up from the least keeps the running count right; anything else is counted anew.
                    constraint.AtLeast = by > 0 && !constraint.Rule.PerRack && On(node) - by == constraint.Least ? constraint.AtLeast - 1
                        : by > 0 && !constraint.Rule.PerRack ? constraint.AtLeast
                        : 0;
                }
            }
        }
    }

    private static void Set<TKey>(Dictionary<TKey, int> counts, TKey key, int by)
        where TKey : notnull
    {
        var now = counts.GetValueOrDefault(key) + by;
        if (now == 0)
        {
            counts.Remove(key);
        }
        else
        {
            counts[key] = now;
        }
    }
}

/// <summary>Asks that wait for the same thing: a list through the asks themselves, so that going to sleep and waking allocate nothing.</summary>
internal sealed class SleepList
{
    /// <summary>The ask that sleeps longest, or null.</summary>
    public AskEntry? First { get; private set; }

    private AskEntry? _last;

    /// <summary>Adds an ask that sleeps nowhere.</summary>
    public void Add(AskEntry ask)
    {
        ask.SleepsIn = this;
        ask.SleepPrevious = _last;
        ask.SleepNext = null;
        if (_last is null)
        {
            First = ask;
        }
        else
        {
            _last.SleepNext = ask;
        }
        _last = ask;
    }

    /// <summary>Removes an ask of this list.</summary>
    public void Remove(AskEntry ask)
    {
        if (ask.SleepPrevious is null)
        {
            First = ask.SleepNext;
        }
        else
        {
            ask.SleepPrevious.SleepNext = ask.SleepNext;
        }
        if (ask.SleepNext is null)
        {
            _last = ask.SleepPrevious;
        }
        else
        {
            ask.SleepNext.SleepPrevious = ask.SleepPrevious;
        }
        ask.SleepsIn = null;
        ask.SleepPrevious = ask.SleepNext = null;
    }
}
