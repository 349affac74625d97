using Yarnish.Protocol;

namespace Yarnish.Scheduling;

/// <summary>A container that is, or would be, taken back.</summary>
/// <param name="ContainerId">The container.</param>
/// <param name="Owner">Its application.</param>
/// <param name="NodeId">Its node.</param>
/// <param name="For">The application that gets the room.</param>
/// <param name="AskId">The ask that gets the room.</param>
/// <param name="Reason">Why, for people.</param>
public sealed record PreemptionVictim(ContainerId ContainerId, ApplicationId Owner, NodeId NodeId, ApplicationId For, long AskId, string Reason);

/// <summary>
/// Decides which containers are taken back for whom. It plans on a scratch ledger and changes nothing, so a dry run is the same code. The laws:
/// <list type="number">
/// <item>only for an ask that has waited for the configured time and finds no room, also not in what is already being freed;</item>
/// <item>between queues, only while the asking queue, and each above it up to the one both share, stays within its guarantee with the container;</item>
/// <item>only from queues that are above their guarantee, and never below it;</item>
/// <item>never from the same application, never from a higher priority;</item>
/// <item>never out of a queue that is not preemptible;</item>
/// <item>never a driver's container while others would do;</item>
/// <item>inside a leaf of order Priority, only from applications of strictly lower priority;</item>
/// </list>
/// and at most the configured part of the partition in one round.
/// </summary>
internal sealed class PreemptionPlan(ClusterState state, Placing placing, int roundPercent)
{
    private const int AsksPerRound = 100;

    private readonly ClusterState _state = state;
    private readonly Placing _placing = placing;
    private readonly int _roundPercent = roundPercent;
    private readonly List<AskEntry> _asks = [];
    private readonly List<Container> _candidates = [];
    private readonly Dictionary<int, ResourceVector> _free = [];
    private readonly HashSet<Container> _taken = [];
    private ResourceVector[] _usage = [];

    /// <summary>One victim with the ask it makes room for.</summary>
    public readonly record struct Choice(Container Victim, AskEntry For, bool BetweenQueues);

    /// <summary>What one round takes back, in order.</summary>
    public List<Choice> Plan()
    {
        var choices = new List<Choice>();
        if (_state.IsSettling || !(_state.Configuration.Preemption.Enabled || _state.Configuration.Preemption.InsideQueues))
        {
            return choices;
        }
        foreach (var partition in _state.Partitions)
        {
            Plan(partition, choices);
        }
        return choices;
    }

    private void Plan(Partition partition, List<Choice> choices)
    {
        CollectAsks(partition);
        if (_asks.Count == 0)
        {
            return;
        }
        _placing.RefreshShares(partition);
        _free.Clear();
        _taken.Clear();
        _usage = new ResourceVector[_state.Queues.Count];
        for (var i = 0; i < _usage.Length; i++)
        {
            _usage[i] = _state.Queues[i].Shares[partition.Number].Usage;
        }
        foreach (var container in _state.Containers.Values)
        {
            if (container.IsStopping && container.Application is { } application && ReferenceEquals(container.Node.Partition, partition))
            {
                Change(application.Queue, container.Shape.Vector, -1);
            }
        }
        var budget = (partition.Total, Used: default(ResourceVector), First: true);
        foreach (var ask in _asks)
        {
            // One ask gets room for several containers in a round, but each on its own merits.
            for (var i = Math.Min(ask.Outstanding, AsksPerRound); i > 0; i--)
            {
                var before = choices.Count;
                if (FitsInWhatIsFreed(ask))
                {
                    continue;
                }
                if (!Choose(ask, choices) || !WithinBudget(choices, before, ref budget))
                {
                    break;
                }
            }
        }
    }

    private bool WithinBudget(List<Choice> choices, int from, ref (ResourceVector Total, ResourceVector Used, bool First) budget)
    {
        var used = budget.Used;
        for (var i = from; i < choices.Count; i++)
        {
            used.Add(choices[i].Victim.Shape.Vector, _state.Types.Count);
        }
        var within = true;
        for (var r = 0; r < _state.Types.Count; r++)
        {
            within &= (Int128)used[r] * 100 <= (Int128)budget.Total[r] * _roundPercent;
        }
        if (!within && !budget.First)
        {
            choices.RemoveRange(from, choices.Count - from);
            return false;
        }
        budget = (budget.Total, used, false);
        return true;
    }

    private void CollectAsks(Partition partition)
    {
        _asks.Clear();
        var delay = _state.Configuration.Preemption.Delay.Ticks;
        foreach (var application in _state.Applications)
        {
            if (!application.Active)
            {
                continue;
            }
            foreach (var ask in application.AskList)
            {
                if (ask is { Message: not null, Outstanding: > 0, IsGang: false } && ReferenceEquals(ask.Class.Partition, partition) && _state.Now - ask.WaitingSince >= delay
                    && (ask.Asleep is WaitingKind.NotEnoughFree or WaitingKind.QueueMaximum || (ask.Asleep == WaitingKind.InTurn && ask.Class.BlockedPlace >= 0)))
                {
                    _asks.Add(ask);
                }
            }
        }
        // Those furthest below their right first; then as in a pass.
        _asks.Sort((left, right) =>
        {
            var order = left.Share.Leaf.Ratio.CompareTo(right.Share.Leaf.Ratio);
            return order != 0 ? order
                : left.Application != right.Application ? (left.Share.Before(right.Share) ? -1 : right.Share.Before(left.Share) ? 1 : left.Application.Sequence.CompareTo(right.Application.Sequence))
                : left.AskId.CompareTo(right.AskId);
        });
        if (_asks.Count > AsksPerRound)
        {
            _asks.RemoveRange(AsksPerRound, _asks.Count - AsksPerRound);
        }
    }

    // What a node will have free when everything that is being stopped, here or before, is gone and everything planned here has come.
    private ResourceVector FreeOn(Node node)
    {
        if (_free.TryGetValue(node.Number, out var free))
        {
            return free;
        }
        free = node.Capacity;
        free.Subtract(node.Allocated, _state.Types.Count);
        foreach (var container in node.Containers)
        {
            if (container.IsStopping)
            {
                free.Add(container.Shape.Vector, _state.Types.Count);
            }
        }
        _free[node.Number] = free;
        return free;
    }

    private bool FitsInWhatIsFreed(AskEntry ask)
    {
        if (!StaysUnderMaximum(ask))
        {
            return false;
        }
        foreach (var node in ask.Class.Partition.Index.Nodes)
        {
            if (IsPossible(node, ask) && ask.Shape.Vector.FitsOnTop(default, FreeOn(node), _state.Types.Count))
            {
                Take(node, ask);
                return true;
            }
        }
        return false;
    }

    private bool StaysUnderMaximum(AskEntry ask)
    {
        for (var share = ask.Share.Leaf; share is not null; share = share.Parent)
        {
            if (!ask.Shape.Vector.FitsOnTop(_usage[share.Queue.Number], share.Maximum, _state.Types.Count))
            {
                return false;
            }
        }
        return true;
    }

    private void Take(Node node, AskEntry ask)
    {
        var free = FreeOn(node);
        free.Subtract(ask.Shape.Vector, _state.Types.Count);
        _free[node.Number] = free;
        Change(ask.Application.Queue, ask.Shape.Vector, 1);
    }

    private void Change(Queue leaf, in ResourceVector by, int sign)
    {
        for (var queue = leaf; queue is not null; queue = queue.Parent)
        {
            if (sign > 0)
            {
                _usage[queue.Number].Add(by, _state.Types.Count);
            }
            else
            {
                _usage[queue.Number].Subtract(by, _state.Types.Count);
            }
        }
    }

    // Nothing but room is missing. Tags are not guessed at: an ask with hard rules about other containers takes nothing back.
    private bool IsPossible(Node node, AskEntry ask) => _placing.Fit(node, ask, Strictness.Hard) is WaitingKind.NotEnoughFree or WaitingKind.InTurn;

    private bool Choose(AskEntry ask, List<Choice> choices)
    {
        foreach (var constraint in ask.Class.Constraints)
        {
            if (constraint.Rule is { Hard: true, Kind: not PlacementKind.Attribute })
            {
                return false;
            }
        }
        for (var drivers = 0; drivers < 2; drivers++)
        {
            List<Choice>? best = null;
            Node? bestNode = null;
            foreach (var node in ask.Class.Partition.Index.Nodes)
            {
                if (!IsPossible(node, ask) || VictimsOn(node, ask, withDrivers: drivers == 1) is not { } victims)
                {
                    continue;
                }
                if (best is null || IsCheaper(victims, best))
                {
                    (best, bestNode) = (victims, node);
                }
            }
            if (best is null)
            {
                continue;
            }
            foreach (var choice in best)
            {
                _taken.Add(choice.Victim);
                Change(choice.Victim.Application!.Queue, choice.Victim.Shape.Vector, -1);
                var free = FreeOn(bestNode!);
                free.Add(choice.Victim.Shape.Vector, _state.Types.Count);
                _free[bestNode!.Number] = free;
            }
            Take(bestNode!, ask);
            choices.AddRange(best);
            return true;
        }
        return false;
    }

    // Fewer containers, then younger ones.
    private static bool IsCheaper(List<Choice> left, List<Choice> right) =>
        left.Count != right.Count ? left.Count < right.Count : left[0].Victim.Id.CompareTo(right[0].Victim.Id) > 0;

    private List<Choice>? VictimsOn(Node node, AskEntry ask, bool withDrivers)
    {
        _candidates.Clear();
        foreach (var container in node.Containers)
        {
            if (container is { IsStopping: false, Application: not null } && (withDrivers || !container.IsDriver) && !_taken.Contains(container))
            {
                _candidates.Add(container);
            }
        }
        // Executors before drivers, low priorities first, then the youngest: least work is lost.
        _candidates.Sort(static (left, right) => left.IsDriver != right.IsDriver ? left.IsDriver.CompareTo(right.IsDriver)
            : left.Application!.Priority != right.Application!.Priority ? left.Application.Priority.CompareTo(right.Application.Priority)
            : right.Id.CompareTo(left.Id));
        var free = FreeOn(node);
        var chosen = new List<Choice>();
        foreach (var container in _candidates)
        {
            if (IsDone(ask, free))
            {
                break;
            }
            if (Law(container, ask) is not { } betweenQueues)
            {
                continue;
            }
            chosen.Add(new Choice(container, ask, betweenQueues));
            free.Add(container.Shape.Vector, _state.Types.Count);
            Change(container.Application!.Queue, container.Shape.Vector, -1);
        }
        var done = IsDone(ask, free);
        foreach (var choice in chosen)
        {
            Change(choice.Victim.Application!.Queue, choice.Victim.Shape.Vector, 1);
        }
        // Room that comes in several pieces must be held together, and an ask holds one node only.
        return done && chosen.Count > 0 && (chosen.Count == 1 || (ask.Reserved is null && node.ReservedFor is null)) ? chosen : null;
    }

    private bool IsDone(AskEntry ask, in ResourceVector free) => ask.Shape.Vector.FitsOnTop(default, free, _state.Types.Count) && StaysUnderMaximum(ask);

    // Whether a container may be taken for an ask: true between queues, false inside one, null when no law allows it.
    private bool? Law(Container victim, AskEntry ask)
    {
        var owner = victim.Application!;
        if (ReferenceEquals(owner, ask.Application) || owner.Priority > ask.Application.Priority)
        {
            return null;
        }
        if (ReferenceEquals(owner.Queue, ask.Application.Queue))
        {
            return _state.Configuration.Preemption.InsideQueues && owner.Queue.Configuration is { Order: ApplicationOrder.Priority, Preemptible: true }
                && owner.Priority < ask.Application.Priority ? false : null;
        }
        if (!_state.Configuration.Preemption.Enabled)
        {
            return null;
        }
        var partition = ask.Class.Partition;
        var common = CommonQueue(owner.Queue, ask.Application.Queue);
        if (Below(common, owner.Queue).Configuration.Priority > Below(common, ask.Application.Queue).Configuration.Priority)
        {
            // Its queue comes first whatever its share: it would get the room right back.
            return null;
        }
        for (var queue = ask.Application.Queue; !ReferenceEquals(queue, common); queue = queue!.Parent)
        {
            if (!ask.Shape.Vector.FitsOnTop(_usage[queue!.Number], queue.Shares[partition.Number].Guarantee, _state.Types.Count))
            {
                return null;
            }
        }
        for (var queue = owner.Queue; !ReferenceEquals(queue, common); queue = queue!.Parent)
        {
            if (!queue!.Configuration.Preemptible || !StaysAboveGuarantee(queue, victim, partition))
            {
                return null;
            }
        }
        return true;
    }

    // The queue right below another one on the path to a leaf.
    private static Queue Below(Queue? above, Queue leaf)
    {
        while (leaf.Parent is not null && !ReferenceEquals(leaf.Parent, above))
        {
            leaf = leaf.Parent;
        }
        return leaf;
    }

    private static Queue? CommonQueue(Queue left, Queue right)
    {
        for (var above = left; above is not null; above = above.Parent)
        {
            for (var other = right; other is not null; other = other.Parent)
            {
                if (ReferenceEquals(above, other))
                {
                    return above;
                }
            }
        }
        return null;
    }

    // Without the victim the queue still has its guarantee of something the victim uses: it was above it there.
    private bool StaysAboveGuarantee(Queue queue, Container victim, Partition partition)
    {
        ref readonly var guarantee = ref queue.Shares[partition.Number].Guarantee;
        for (var i = 0; i < _state.Types.Count; i++)
        {
            if (victim.Shape.Vector[i] > 0 && _usage[queue.Number][i] - victim.Shape.Vector[i] >= guarantee[i])
            {
                return true;
            }
        }
        return false;
    }
}
