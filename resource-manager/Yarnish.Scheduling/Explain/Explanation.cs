using System.Collections.Immutable;
using System.Globalization;
using Yarnish.Protocol;

namespace Yarnish.Scheduling;

/// <summary>
/// Says why an ask waits. It asks the very checks that place (<see cref="Placing.CheckLimits(AskEntry, int)"/>, <see cref="Placing.Fit"/>), counts their answers
/// over all nodes and renders them: nothing here decides anything.
/// </summary>
internal sealed class Explanation(ClusterState state, Placing placing)
{
    private readonly ClusterState _state = state;
    private readonly Placing _placing = placing;
    private readonly int[] _counts = new int[Enum.GetValues<WaitingKind>().Length];

    /// <summary>Nodes judged so far: what explaining costs.</summary>
    public long Judged { get; private set; }

    /// <summary>Why an ask waits, in the order in which things are checked; empty when it waits for nothing.</summary>
    public ImmutableArray<WaitingReason> Reasons(AskEntry ask)
    {
        if (ask.Outstanding == 0 || ask.Message is null)
        {
            return [];
        }
        if (Before(ask) is { } first)
        {
            return [first];
        }
        var limit = _placing.CheckLimits(ask, ask.IsGang ? ask.Outstanding : 1);
        return limit != WaitingKind.InTurn ? [Limit(ask, limit)] : Nodes(ask);
    }

    /// <summary>Whether waiting longer cannot help, whatever ends: no node could hold one container even when empty, or a limit is below one container.</summary>
    public bool IsImpossible(AskEntry ask, ImmutableArray<WaitingReason> reasons)
    {
        if (reasons.IsEmpty)
        {
            return false;
        }
        switch (reasons[0].Kind)
        {
            case WaitingKind.Invalid or WaitingKind.ContainerMaximum or WaitingKind.GangDeadline:
                return true;
            case WaitingKind.QueueMaximum or WaitingKind.UserLimit or WaitingKind.GroupLimit or WaitingKind.DriverShare:
                return reasons[0].Need > reasons[0].Limit;
            case WaitingKind.NoNodes or WaitingKind.Settling or WaitingKind.QueueStopped or WaitingKind.QueueApplications or WaitingKind.UserApplications
                or WaitingKind.FailurePause or WaitingKind.InTurn or WaitingKind.Gang:
                return false;
            default:
                return !CouldEverFit(ask);
        }
    }

    /// <summary>The reasons in one sentence, with what would unblock it.</summary>
    public static string Sentence(AskEntry ask, ImmutableArray<WaitingReason> reasons)
    {
        if (reasons.IsEmpty)
        {
            return "";
        }
        var texts = new List<string>();
        foreach (var reason in reasons)
        {
            texts.Add(reason.Text);
        }
        var containers = ask.Outstanding == 1 ? "1 container" : $"{ask.Outstanding} containers";
        return $"{containers} of {ask.Shape.Resources} wait: {string.Join("; ", texts)}.";
    }

    private bool CouldEverFit(AskEntry ask)
    {
        foreach (var partition in _state.Partitions)
        {
            if (!LooksIn(ask, partition))
            {
                continue;
            }
            foreach (var node in partition.Index.Nodes)
            {
                if (!ask.Application.Excluded.Contains(node.Id) && ask.Shape.Vector.FitsOnTop(default, node.Capacity, _state.Types.Count)
                    && Placing.HasAttributes(node, ask.Class, Strictness.Hard))
                {
                    return true;
                }
            }
        }
        return false;
    }

    private static bool LooksIn(AskEntry ask, Partition partition) =>
        ReferenceEquals(partition, ask.Class.Partition) || (ask.Class.Partition.Number == 0 && partition.Shared);

    private WaitingReason? Before(AskEntry ask)
    {
        var application = ask.Application;
        if (_state.IsSettling)
        {
            var (back, known) = (0, 0);
            foreach (var node in _state.Nodes)
            {
                known += node is null ? 0 : 1;
                back += node is null or { Presence: NodePresence.Lost } ? 0 : 1;
            }
            return new(WaitingKind.Settling, 0, "", known, back, 0)
            {
                Text = $"the resource manager restarted and waits for its nodes ({back} of {known} are back); it goes on when all are, in at most {Seconds(_state.SettleUntil - _state.Now)}",
            };
        }
        if (ask.InvalidReason.Length > 0)
        {
            return new(WaitingKind.Invalid, 0, "", 0, 0, 0) { Text = ask.InvalidReason };
        }
        if (!application.Active)
        {
            return Inactive(application);
        }
        if (ask.Asleep == WaitingKind.ContainerMaximum)
        {
            return ContainerMaximum(ask);
        }
        if (_state.Now < ask.PausedUntil)
        {
            return new(WaitingKind.FailurePause, 0, "", 0, ask.Failures, 0)
            {
                Text = $"its last {ask.Failures} containers ended badly within seconds, so it pauses; the next try is in {Seconds(ask.PausedUntil - _state.Now)}: look at their logs",
            };
        }
        if (ask.GangExpired)
        {
            return new(WaitingKind.GangDeadline, 0, "", ask.Outstanding, ask.GangFitted, 0)
            {
                Text = $"{ask.GangFitted} of the {ask.Outstanding} containers of the gang fitted when its deadline of {ask.Message!.GangSeconds:0.#} s passed, and it is all or none: ask again for fewer or smaller ones, or with more time",
            };
        }
        return null;
    }

    private static WaitingReason Inactive(Application application)
    {
        var (kind, subject, have, limit) = application.Inactive;
        return kind switch
        {
            WaitingKind.QueueStopped => new(kind, 0, subject, 0, 0, 0)
            {
                Text = $"queue {subject} is stopped; an operator can start it, or move the application to another queue",
            },
            WaitingKind.QueueApplications => new(kind, 0, subject, 1, have, limit)
            {
                Text = $"queue {subject} has {have} of at most {limit} active applications; it goes on when one of them ends or maximumActiveApplications is raised",
            },
            _ => new(WaitingKind.UserApplications, 0, subject, 1, have, limit)
            {
                Text = $"{subject} has {have} of at most {limit} active applications; it goes on when one of them ends or the limit is raised",
            },
        };
    }

    private WaitingReason ContainerMaximum(AskEntry ask)
    {
        for (var queue = ask.Application.Queue; queue is not null; queue = queue.Parent)
        {
            if (queue.Configuration.MaximumContainer is not { } most || !_state.Types.TryPack(most, out var limit))
            {
                continue;
            }
            for (var i = 0; i < _state.Types.Count; i++)
            {
                if (limit[i] > 0 && ask.Shape.Vector[i] > limit[i])
                {
                    return new(WaitingKind.ContainerMaximum, 0, queue.Path, ask.Shape.Vector[i], 0, limit[i])
                    {
                        Text = $"one container may have at most {_state.Types.Format(i, limit[i])} in queue {queue.Path}, and {_state.Types.Format(i, ask.Shape.Vector[i])} are asked for: ask for less",
                    };
                }
            }
        }
        return new(WaitingKind.InTurn, 0, "", 0, 0, 0) { Text = "it is in turn" };
    }

    private WaitingReason Limit(AskEntry ask, WaitingKind kind)
    {
        var times = ask.IsGang ? ask.Outstanding : 1;
        var need = default(ResourceVector);
        for (var i = 0; i < _state.Types.Count; i++)
        {
            need[i] = (long)Int128.Min((Int128)ask.Shape.Vector[i] * times, long.MaxValue / 2);
        }
        if (ask.BlockedByLimit is { } limit)
        {
            var resource = Math.Max(0, need.FirstMisfit(limit.Usage, limit.Maximum, _state.Types.Count));
            var who = $"{(limit.IsGroup ? "group" : "user")} '{limit.Who}'";
            return Over(kind, resource, $"{who} in queue {limit.Queue.Path}", need[resource], limit.Usage[resource], limit.Maximum[resource],
                $"{(limit.IsGroup ? "applications of the group" : "other applications of the user")} free");
        }
        var queue = ask.BlockedBy!;
        if (kind == WaitingKind.DriverShare)
        {
            var resource = Math.Max(0, need.FirstMisfit(queue.DriverUsage, queue.DriverMaximum, _state.Types.Count));
            return Over(kind, resource, $"the drivers in queue {queue.Queue.Path}", need[resource], queue.DriverUsage[resource], queue.DriverMaximum[resource], "drivers that end free");
        }
        var first = Math.Max(0, need.FirstMisfit(queue.Usage, queue.Maximum, _state.Types.Count));
        return Over(kind, first, $"queue {queue.Queue.Path}", need[first], queue.Usage[first], queue.Maximum[first], "its applications free");
    }

    private WaitingReason Over(WaitingKind kind, int resource, string who, long need, long have, long limit, string freeing)
    {
        var verb = kind == WaitingKind.DriverShare ? "hold" : "holds";
        var text = $"{who} {verb} {_state.Types.Format(resource, have)} of at most {_state.Types.Format(resource, limit)}, and {_state.Types.Format(resource, need)} more "
            + (need > limit
                ? "can never fit under that: ask for less or raise the limit"
                : $"are wanted; it goes on when {freeing} {_state.Types.Format(resource, need - (limit - have))} or the limit is raised");
        return new(kind, 0, who, need, have, limit) { Text = text };
    }

    private ImmutableArray<WaitingReason> Nodes(AskEntry ask)
    {
        // Whoever holds a node sees it otherwise than the rest of its class.
        var shared = ask.Class.Single is null && ask.Reserved is null;
        if (shared && ask.Class.Explained.Version == _state.PlacementVersion)
        {
            return ask.Class.Explained.Reasons;
        }
        Array.Clear(_counts);
        _placing.PrepareSpread(ask);
        var nodes = 0;
        var closest = new Closest();
        foreach (var partition in _state.Partitions)
        {
            if (!LooksIn(ask, partition))
            {
                continue;
            }
            foreach (var node in partition.Index.Nodes)
            {
                var verdict = _placing.Fit(node, ask, Strictness.Hard);
                _counts[(int)verdict]++;
                nodes++;
                Compare(ref closest, node, ask, verdict);
            }
        }
        Judged += nodes + 1;
        var reasons = ImmutableArray.CreateBuilder<WaitingReason>();
        if (nodes == 0)
        {
            var name = ask.Class.Partition.Name;
            reasons.Add(new(WaitingKind.NoNodes, 0, name, 0, 0, 0)
            {
                Text = name.Length == 0 ? "the cluster has no node; start an agent" : $"partition '{name}' has no node; start an agent in it or ask for another partition",
            });
        }
        if (_counts[(int)WaitingKind.InTurn] > 0)
        {
            reasons.Add(ask.IsGang
                ? new(WaitingKind.Gang, 0, "", ask.Outstanding, ask.GangFitted, 0)
                {
                    Text = $"{ask.GangFitted} of the {ask.Outstanding} containers of the gang fit now, and it is all or none; it goes on when room for {ask.Outstanding - ask.GangFitted} more is freed within {Seconds(ask.GangDeadline - _state.Now)}",
                }
                : new(WaitingKind.InTurn, _counts[(int)WaitingKind.InTurn], "", 0, 0, 0)
                {
                    Text = $"it is in turn: {Count(_counts[(int)WaitingKind.InTurn], "node")} could take it, and asks with a smaller share come first",
                });
        }
        for (var kind = WaitingKind.NodeUnavailable; kind <= WaitingKind.Spread; kind++)
        {
            if (_counts[(int)kind] > 0)
            {
                reasons.Add(OfNodes(ask, kind, _counts[(int)kind], nodes, closest));
            }
        }
        var result = reasons.ToImmutable();
        if (shared)
        {
            ask.Class.Explained = (_state.PlacementVersion, result);
        }
        return result;
    }

    private struct Closest
    {
        public Node? Node;
        public int Resource;
        public long Missing;
        public long Lacking;
        public long Largest;
        public int TooSmallResource;
        public Node? Reserved;
    }

    private void Compare(ref Closest closest, Node node, AskEntry ask, WaitingKind verdict)
    {
        if (verdict == WaitingKind.NodeReserved)
        {
            closest.Reserved ??= node;
        }
        if (verdict == WaitingKind.NodeTooSmall)
        {
            var resource = ask.Shape.Vector.FirstMisfit(default, node.Capacity, _state.Types.Count);
            if (closest.Largest == 0 || (resource == closest.TooSmallResource && node.Capacity[resource] > closest.Largest))
            {
                (closest.TooSmallResource, closest.Largest) = (resource, node.Capacity[resource]);
            }
        }
        if (verdict != WaitingKind.NotEnoughFree)
        {
            return;
        }
        var (worst, missing, most) = (0, 0L, -1L);
        for (var i = 0; i < _state.Types.Count; i++)
        {
            var lacking = ask.Shape.Vector[i] - (node.Capacity[i] - node.Allocated[i]);
            if (ask.Shape.Vector[i] > 0 && lacking > 0 && (lacking << 16) / node.Capacity[i] > most)
            {
                (worst, missing, most) = (i, lacking, (lacking << 16) / node.Capacity[i]);
            }
        }
        if (closest.Node is null || most < closest.Lacking)
        {
            (closest.Node, closest.Resource, closest.Missing, closest.Lacking) = (node, worst, missing, most);
        }
    }

    private WaitingReason OfNodes(AskEntry ask, WaitingKind kind, int count, int nodes, Closest closest)
    {
        var some = $"{count} of {Count(nodes, "node")}";
        switch (kind)
        {
            case WaitingKind.NodeUnavailable:
                return new(kind, count, "", 0, 0, 0) { Text = $"{some} {Are(count)} lost, silent, unhealthy or draining; bring them back" };
            case WaitingKind.NodeExcluded:
                return new(kind, count, "", 0, 0, 0) { Text = $"{some} {Are(count)} excluded by the application itself; it goes on when the application takes them again or other nodes join" };
            case WaitingKind.Attribute:
                var wanted = Targets(ask, PlacementKind.Attribute);
                return new(kind, count, wanted, 0, 0, 0) { Text = $"{some} {(count == 1 ? "does" : "do")} not satisfy {wanted}; add nodes that do or drop the rule" };
            case WaitingKind.Locality:
                return new(kind, count, "", 0, 0, 0)
                {
                    Text = ask.Message!.RelaxLocality
                        ? $"{some} {Are(count)} not among the preferred ones; others will do in {Seconds(ask.WaitingSince + (2 * _state.Settings.LocalityDelay.Ticks) - _state.Now)}"
                        : $"{some} {Are(count)} not among the preferred ones, and the ask takes no others: let it relax its locality",
                };
            case WaitingKind.NodeTooSmall:
                var need = ask.Shape.Vector[closest.TooSmallResource];
                return new(kind, count, _state.Types.Name(closest.TooSmallResource), need, closest.Largest, 0)
                {
                    Text = $"{some} {Are(count)} too small even when empty (the largest of them has {_state.Types.Format(closest.TooSmallResource, closest.Largest)}, {_state.Types.Format(closest.TooSmallResource, need)} are needed): ask for less or add a larger node",
                };
            case WaitingKind.NodeReserved:
                var owner = closest.Reserved!.ReservedFor!;
                return new(kind, count, closest.Reserved.Id.Value, 0, 0, 0)
                {
                    Text = $"{some} {Are(count)} held for larger asks that wait longer (node {closest.Reserved.Id} for ask {owner.AskId} of {owner.Application.Id}); it goes on when those are placed or a node is added",
                };
            case WaitingKind.NotEnoughFree:
                var free = closest.Node!.Capacity[closest.Resource] - closest.Node.Allocated[closest.Resource];
                return new(kind, count, _state.Types.Name(closest.Resource), ask.Shape.Vector[closest.Resource], Math.Max(0, free), 0)
                {
                    Text = $"{some} {(count == 1 ? "has" : "have")} too little free (closest is {closest.Node.Id}: {_state.Types.Format(closest.Resource, Math.Max(0, free))} free, {_state.Types.Format(closest.Resource, ask.Shape.Vector[closest.Resource])} needed); it goes on when {_state.Types.Format(closest.Resource, closest.Missing)} are freed there or a node is added",
                };
            case WaitingKind.Affinity:
                return Tag(ask, kind, count, PlacementKind.Affinity, $"{some} {(count == 1 ? "has" : "have")} no container tagged {{0}}, which it must be near; it goes on when one runs where there is room");
            case WaitingKind.AntiAffinity:
                return Tag(ask, kind, count, PlacementKind.AntiAffinity, $"{some} {(count == 1 ? "has" : "have")} a container tagged {{0}}, which it must be away from; add a node or make the rule soft");
            case WaitingKind.MaximumPerNode:
                return Tag(ask, kind, count, PlacementKind.MaximumPerNode, $"{some} {(count == 1 ? "has" : "have")} as many containers tagged {{0}} as allowed; add a node or raise the limit");
            default:
                return Tag(ask, kind, count, PlacementKind.Spread, $"{some} {(count == 1 ? "has" : "have")} more containers tagged {{0}} than the emptiest, which has no room; free some there or make the rule soft");
        }
    }

    private static WaitingReason Tag(AskEntry ask, WaitingKind kind, int count, PlacementKind rule, string format)
    {
        var tags = Targets(ask, rule);
        return new(kind, count, tags, 0, 0, 0) { Text = string.Format(CultureInfo.InvariantCulture, format, tags) };
    }

    private static string Targets(AskEntry ask, PlacementKind kind)
    {
        var targets = new List<string>();
        foreach (var constraint in ask.Class.Constraints)
        {
            if (constraint.Rule.Kind == kind && constraint.Rule.Hard)
            {
                targets.Add($"'{constraint.Rule.Target}'");
            }
        }
        return string.Join(" and ", targets);
    }

    private static string Count(int count, string what) => count == 1 ? $"1 {what}" : $"{count} {what}s";

    private static string Are(int count) => count == 1 ? "is" : "are";

    private static string Seconds(long ticks) => $"{Math.Max(0, (ticks + TimeSpan.TicksPerSecond - 1) / TimeSpan.TicksPerSecond)} s";
}
