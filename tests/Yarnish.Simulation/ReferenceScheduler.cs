using System.Numerics;
using Yarnish.Protocol;
using Yarnish.Scheduling;

namespace Yarnish.Simulation;

/// <summary>
/// What the fast scheduler should do, computed the slow way: every ask, every node, every time; usage summed from the containers, shares as exact fractions, no
/// index, no heap, no memory. It reads the books of the machine (nodes, containers, asks), never its ledgers.
/// </summary>
internal sealed class ReferenceScheduler(ClusterState state)
{
    private readonly int _resources = state.Types.Count;
    private Partition _partition = state.Partitions[0];

    /// <summary>The next grant by the definition of the order, or null when nothing can be placed. Null as well, with 'skipped', when a gang is in play.</summary>
    public (AskEntry Ask, Node Node)? Next(out bool skipped)
    {
        skipped = false;
        foreach (var partition in state.Partitions)
        {
            _partition = partition;
            var next = NextIn(out skipped);
            if (next is not null || skipped)
            {
                return next;
            }
        }
        return null;
    }

    private (AskEntry Ask, Node Node)? NextIn(out bool skipped)
    {
        skipped = false;
        var best = new List<(AskEntry Ask, Node Node)>();
        foreach (var application in state.Applications)
        {
            foreach (var ask in application.AskList)
            {
                if (!IsAsking(ask) || ask.Class.Partition != _partition)
                {
                    continue;
                }
                // A gang is placed whole, an ask with a held node out of turn: neither is in this order.
                if (ask.IsGang || ask.Reserved is not null)
                {
                    skipped = true;
                    return null;
                }
                if (Placeable(ask) is { } node)
                {
                    best.Add((ask, node));
                }
            }
        }
        if (best.Count == 0)
        {
            return null;
        }
        var queue = state.Queues[0];
        while (!queue.IsLeaf)
        {
            queue = queue.Children
                .Where(child => best.Any(candidate => Within(candidate.Ask.Application.Queue, child)))
                .OrderByDescending(static child => child.Configuration.Priority)
                .ThenBy(child => Ratio(child), Fraction.Comparer)
                .ThenBy(static child => child.Number)
                .First();
        }
        var leaf = queue;
        var candidates = best.Where(candidate => ReferenceEquals(candidate.Ask.Application.Queue, leaf)).ToArray();
        var policy = leaf.Configuration.Order;
        var first = candidates.Select(static candidate => candidate.Ask.Application).Distinct()
            .OrderByDescending(application => policy == ApplicationOrder.Priority ? application.Priority : 0)
            .ThenBy(application => policy == ApplicationOrder.Fifo ? default : Share(application), Fraction.Comparer)
            .ThenBy(static application => application.Sequence)
            .First();
        return candidates.Where(candidate => ReferenceEquals(candidate.Ask.Application, first))
            .OrderByDescending(static candidate => candidate.Ask.Message!.Priority).ThenBy(static candidate => candidate.Ask.AskId).First();
    }

    /// <summary>Whether an ask wants something and nothing but room or limits could be in its way.</summary>
    public bool IsAsking(AskEntry ask) =>
        ask is { Message: not null, Outstanding: > 0, GangExpired: false, InvalidReason.Length: 0 } && ask.Application is { Active: true, IsOver: false }
        && ask.Asleep is not (WaitingKind.ContainerMaximum or WaitingKind.FailurePause or WaitingKind.Invalid or WaitingKind.GangDeadline);

    /// <summary>The node an ask would get now within all limits, or null.</summary>
    public Node? Placeable(AskEntry ask)
    {
        _partition = ask.Class.Partition;
        if (!WithinLimits(ask))
        {
            return null;
        }
        if (ask.Reserved is { } held && Judge(held, ask, soft: false) == WaitingKind.InTurn)
        {
            return held;
        }
        return (ask.Message!.Constraints.Any(static rule => !rule.Hard) ? Choose(ask, soft: true) : null) ?? Choose(ask, soft: false);
    }

    private Node? Choose(AskEntry ask, bool soft)
    {
        var fitting = _partition.Index.Nodes.Where(node => Judge(node, ask, soft) == WaitingKind.InTurn).ToArray();
        var preferred = fitting.Where(node => ask.Message!.PreferredNodes.Contains(node.Id)).ToArray();
        if (preferred.Length > 0)
        {
            return Best(preferred, NodeOrder.Spread, static node => node.Number);
        }
        var near = fitting.Where(node => ask.Message!.PreferredRacks.Contains(node.Rack)).ToArray();
        return Best(near.Length > 0 ? near : fitting, state.Configuration.NodeOrder, static node => node.IndexPlace);
    }

    private Node? Best(Node[] nodes, NodeOrder order, Func<Node, int> tie) =>
        nodes.OrderByDescending(node => order == NodeOrder.Spread ? NodeIndex.Score(node, _resources) : 0).ThenBy(tie).FirstOrDefault();

    /// <summary>Whether one more container stays within the maximum of each queue above, the drivers' share and the limits of user and groups.</summary>
    public bool WithinLimits(AskEntry ask)
    {
        _partition = ask.Class.Partition;
        for (var queue = ask.Application.Queue; queue is not null; queue = queue.Parent)
        {
            var share = queue.Shares[_partition.Number];
            if (!FitsUnder(ask, container => Here(container) && Within(container.Application!.Queue, queue), share.Maximum)
                || (ask.Message!.IsDriver && !FitsUnder(ask, container => container.IsDriver && Here(container) && Within(container.Application!.Queue, queue), share.DriverMaximum)))
            {
                return false;
            }
            foreach (var limit in queue.Limits.Values)
            {
                if (Bound(limit, ask.Application) && !FitsUnder(ask, container => Within(container.Application!.Queue, queue) && Bound(limit, container.Application), limit.Maximum))
                {
                    return false;
                }
            }
        }
        return true;
    }

    private bool Here(Container container) => container.Node.Partition == _partition;

    private static bool Bound(LimitLedger limit, Application application) =>
        limit.IsGroup ? application.Registration.Groups.Contains(limit.Who) : application.Registration.User == limit.Who;

    private bool FitsUnder(AskEntry ask, Func<Container, bool> counts, ResourceVector most)
    {
        for (var r = 0; r < _resources; r++)
        {
            if (ask.Shape.Vector[r] > 0 && most[r] != long.MaxValue && Sum(counts, r) + ask.Shape.Vector[r] > most[r])
            {
                return false;
            }
        }
        return true;
    }

    private BigInteger Sum(Func<Container, bool> counts, int resource)
    {
        BigInteger sum = 0;
        foreach (var container in state.Containers.Values)
        {
            sum += container.Application is not null && counts(container) ? container.Shape.Vector[resource] : 0;
        }
        return sum;
    }

    private static bool Within(Queue queue, Queue above)
    {
        for (var at = queue; at is not null; at = at.Parent)
        {
            if (at.Path == above.Path)
            {
                return true;
            }
        }
        return false;
    }

    /// <summary>Why a node does not take a container of an ask, or that it does: the same answer as the fast judge, found without its counters.</summary>
    public WaitingKind Judge(Node node, AskEntry ask, bool soft)
    {
        var wish = ask.Message!;
        if (node.Presence != NodePresence.Heard || !node.Healthy || node.Draining)
        {
            return WaitingKind.NodeUnavailable;
        }
        if (ask.Application.Excluded.Contains(node.Id))
        {
            return WaitingKind.NodeExcluded;
        }
        var prefers = !wish.PreferredNodes.IsEmpty || !wish.PreferredRacks.IsEmpty;
        if (prefers && ask.LocalityLevel < 2 && !wish.PreferredNodes.Contains(node.Id) && !(ask.LocalityLevel == 1 && wish.PreferredRacks.Contains(node.Rack)))
        {
            return WaitingKind.Locality;
        }
        for (var r = 0; r < _resources; r++)
        {
            if (ask.Shape.Vector[r] > node.Capacity[r])
            {
                return WaitingKind.NodeTooSmall;
            }
        }
        if (node.ReservedFor is not null && node.ReservedFor != ask)
        {
            return WaitingKind.NodeReserved;
        }
        for (var r = 0; r < _resources; r++)
        {
            var used = node.Containers.Sum(container => container.Shape.Vector[r]);
            if (ask.Shape.Vector[r] > 0 && used + ask.Shape.Vector[r] > node.Capacity[r])
            {
                return WaitingKind.NotEnoughFree;
            }
        }
        foreach (var rule in wish.Constraints.Where(rule => rule.Hard || soft))
        {
            var tag = rule.Target;
            var near = Tagged(ask, tag, container => rule.PerRack ? container.Node.Rack == node.Rack : container.Node == node);
            switch (rule.Kind)
            {
                case PlacementKind.Affinity when near == 0 && !(Tagged(ask, tag, static _ => true) == 0 && Carries(ask, tag)): return WaitingKind.Affinity;
                case PlacementKind.AntiAffinity when near > 0: return WaitingKind.AntiAffinity;
                case PlacementKind.MaximumPerNode when near >= rule.Limit: return WaitingKind.MaximumPerNode;
                case PlacementKind.Spread when near - Least(ask, rule) >= (rule.Hard ? Math.Max(1, rule.Limit) : 1): return WaitingKind.Spread;
                default: break;
            }
        }
        return WaitingKind.InTurn;
    }

    private int Least(AskEntry ask, PlacementConstraint rule)
    {
        var counts = ask.Class.Partition.Index.Nodes
            .Where(node => node.Takes && !ask.Application.Excluded.Contains(node.Id) && Enumerable.Range(0, _resources).All(r => ask.Shape.Vector[r] <= node.Capacity[r]))
            .Select(node => Tagged(ask, rule.Target, container => rule.PerRack ? container.Node.Rack == node.Rack : container.Node == node))
            .ToArray();
        return counts.Length == 0 ? 0 : counts.Min();
    }

    private int Tagged(AskEntry ask, string tag, Func<Container, bool> where) =>
        state.Containers.Values.Count(container => where(container) && container.Tags.Any(counts => counts.Name == tag)
            && (tag.StartsWith("*/", StringComparison.Ordinal) || container.Application == ask.Application));

    private static bool Carries(AskEntry ask, string tag) => ask.Message!.Tags.Any(own => own == tag || "*/" + own == tag);

    private Fraction Share(Application application)
    {
        var most = default(Fraction);
        for (var r = 0; r < _resources; r++)
        {
            var used = Sum(container => Here(container) && container.Application == application, r);
            var share = used == 0 ? default : new Fraction(false, used, BigInteger.Max(1, _partition.Total[r]));
            most = Fraction.Comparer.Compare(share, most) > 0 ? share : most;
        }
        return most;
    }

    private Fraction Ratio(Queue queue)
    {
        var most = default(Fraction);
        var guarantee = Guarantee(queue);
        for (var r = 0; r < _resources; r++)
        {
            var used = Sum(container => Here(container) && Within(container.Application!.Queue, queue), r);
            if (used > 0 && guarantee[r] == 0)
            {
                return Whole(queue);
            }
            var share = used == 0 ? default : new Fraction(false, used, guarantee[r]);
            most = Fraction.Comparer.Compare(share, most) > 0 ? share : most;
        }
        return most;
    }

    private Fraction Whole(Queue queue)
    {
        var most = default(Fraction) with { Unguaranteed = true };
        for (var r = 0; r < _resources; r++)
        {
            var share = new Fraction(true, Sum(container => Here(container) && Within(container.Application!.Queue, queue), r), BigInteger.Max(1, _partition.Total[r]));
            most = Fraction.Comparer.Compare(share, most) > 0 ? share : most;
        }
        return most;
    }

    /// <summary>What a queue has by right, from the configuration down.</summary>
    public BigInteger[] Guarantee(Queue queue)
    {
        var total = Enumerable.Range(0, _resources).Select(r => (BigInteger)_partition.Nodes(r)).ToArray();
        if (queue.Parent is not { } parent)
        {
            return total;
        }
        var above = Guarantee(parent);
        var mode = parent.Children.Select(static child => child.Configuration.Guarantee).LastOrDefault(static share => share is not null)?.Mode ?? ShareMode.Weight;
        BigInteger weights = parent.Children.Sum(static child => child.Configuration.Guarantee?.Thousandths ?? 1000);
        var own = queue.Configuration.Guarantee;
        var result = new BigInteger[_resources];
        for (var r = 0; r < _resources; r++)
        {
            var (part, of) = mode == ShareMode.Weight ? (own?.Thousandths ?? 1000, weights) : (own?.Thousandths ?? 0, (BigInteger)100_000);
            result[r] = above[r] == 0 || part == 0 || of == 0 ? 0 : BigInteger.Max(1, above[r] * part / of);
            var most = queue.Shares[_partition.Number].Maximum[r];
            result[r] = most == long.MaxValue ? result[r] : BigInteger.Min(result[r], most);
        }
        return result;
    }

    private readonly record struct Fraction(bool Unguaranteed, BigInteger Used, BigInteger Of)
    {
        public static System.Collections.Generic.Comparer<Fraction> Comparer { get; } = System.Collections.Generic.Comparer<Fraction>.Create(static (left, right) =>
            left.Unguaranteed != right.Unguaranteed ? left.Unguaranteed.CompareTo(right.Unguaranteed)
            : (left.Used * BigInteger.Max(1, right.Of)).CompareTo(right.Used * BigInteger.Max(1, left.Of)));
    }
}

internal static class PartitionExtensions
{
    /// <summary>What the nodes of a partition offer of one resource.</summary>
    public static long Nodes(this Partition partition, int resource) =>
        partition.Index.Nodes.Where(static node => node.Presence != NodePresence.Lost).Sum(node => node.Capacity[resource]);
}
