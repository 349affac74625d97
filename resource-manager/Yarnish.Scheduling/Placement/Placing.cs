using Yarnish.Protocol;

namespace Yarnish.Scheduling;

/// <summary>
/// Decides who gets what where. One pass takes, from the root down, the queue, application and ask that come first, checks the limits on their path, finds a
/// node and grants; an ask that cannot be placed goes to sleep on what blocks it and is looked at again only when that changes. <see cref="Fit"/> is the one
/// judge of nodes: for candidates, commits, plans and explanations alike.
/// </summary>
internal sealed partial class Placing(ClusterState state)
{
    private readonly ClusterState _state = state;
    private readonly PlantedBug _planted = state.Settings.Planted;
    private readonly List<Node> _gang = [];
    private readonly List<AskEntry> _heldReady = [];

    /// <summary>Told of each container that is granted, after everything is charged.</summary>
    public required Action<Container> Granted { get; init; }

    /// <summary>Whether anything could be placed now.</summary>
    public bool HasWork
    {
        get
        {
            if (_state.IsSettling)
            {
                return false;
            }
            foreach (var partition in _state.Partitions)
            {
                if (partition.Ready > 0)
                {
                    return true;
                }
            }
            return false;
        }
    }

    /// <summary>Grants at most <paramref name="budget"/> containers.</summary>
    public void Pass(int budget)
    {
        if (_state.IsSettling)
        {
            return;
        }
        foreach (var partition in _state.Partitions)
        {
            RefreshShares(partition);
        }
        budget -= PlaceHeld();
        foreach (var partition in _state.Partitions)
        {
            // Going to sleep costs less than a grant, but not nothing: it is bounded too.
            var looks = budget * 8;
            while (budget > 0 && looks-- > 0 && partition.Ready > 0)
            {
                budget -= PlaceFirst(partition.Root);
            }
        }
    }

    // Room on a held node is its ask's alone, so the ask need not come first in any order, and whether others of its class find room says nothing about it.
    private int PlaceHeld()
    {
        var placed = 0;
        foreach (var ask in _heldReady)
        {
            if (ask is not { Reserved: { } node, Message: not null, Outstanding: > 0, Asleep: WaitingKind.InTurn or WaitingKind.NotEnoughFree }
                || ask.Application is not { Active: true, IsOver: false })
            {
                continue;
            }
            if (ask.Class.Constraints.Length > 0)
            {
                PrepareSpread(ask);
            }
            if (CheckLimits(ask, 1) is var blocked and not WaitingKind.InTurn)
            {
                // From now on the limit is what it waits for; the node goes to those who may use it.
                Awaken(ask);
                SleepOnLimit(ask, blocked);
            }
            else if (Fit(node, ask, Strictness.Hard) == WaitingKind.InTurn)
            {
                Commit(ask, node);
                placed++;
            }
        }
        _heldReady.Clear();
        return placed;
    }

    /// <summary>Computes the shares of a partition anew if its nodes or queues changed.</summary>
    public void RefreshShares(Partition partition)
    {
        if (!partition.SharesStale)
        {
            return;
        }
        QueueTree.Refresh(_state, partition);
        foreach (var queue in _state.Queues)
        {
            WakeLimited(queue.Shares[partition.Number].Sleepers);
        }
    }

    private int PlaceFirst(QueueShare root)
    {
        var queue = root;
        while (queue.Children.Count > 0)
        {
            queue = queue.Children.First;
        }
        var ask = queue.Applications.First.Asks.First;
        var blocked = CheckLimits(ask, ask.IsGang ? ask.Outstanding : 1);
        if (blocked != WaitingKind.InTurn)
        {
            SleepOnLimit(ask, blocked);
            return 0;
        }
        return ask.IsGang ? PlaceGang(ask) : PlaceOne(ask);
    }

    private int PlaceOne(AskEntry ask)
    {
        var node = ask.Class.BlockedPlace >= 0 && ask.Reserved is null ? null : FindNode(ask);
        if (node is null)
        {
            SleepOnRoom(ask);
            return 0;
        }
        Commit(ask, node);
        return 1;
    }

    private int PlaceGang(AskEntry ask)
    {
        var wanted = ask.Outstanding;
        _gang.Clear();
        while (_gang.Count < wanted && FindNode(ask) is { } node)
        {
            _gang.Add(node);
            Hold(ask, node, 1);
        }
        foreach (var node in _gang)
        {
            Hold(ask, node, -1);
        }
        ask.GangFitted = _gang.Count;
        if (_gang.Count < wanted && (_gang.Count == 0 || _planted != PlantedBug.HalfGang))
        {
            SleepOnRoom(ask);
            return 0;
        }
        foreach (var node in _gang)
        {
            Commit(ask, node);
        }
        return _gang.Count;
    }

    // Takes or gives back room on a node without telling anyone: the scratch ledger of a gang.
    private void Hold(AskEntry ask, Node node, int sign)
    {
        if (sign > 0)
        {
            node.Allocated.Add(ask.Shape.Vector, _state.Types.Count);
        }
        else
        {
            node.Allocated.Subtract(ask.Shape.Vector, _state.Types.Count);
        }
        foreach (var tag in ask.Tags)
        {
            tag.Change(node, sign);
        }
        Reindex(node);
    }

    /// <summary>The node an ask gets now, or null: nodes it prefers, then their racks, then anywhere, as far as its locality is relaxed.</summary>
    public Node? FindNode(AskEntry ask)
    {
        if (ask.Reserved is { } held && Fit(held, ask, Strictness.Hard) == WaitingKind.InTurn)
        {
            return held;
        }
        var kind = ask.Class;
        var order = _state.Configuration.NodeOrder;
        if (kind.Constraints.Length > 0)
        {
            PrepareSpread(ask);
        }
        if (kind.HasSoft && Search(ask, Strictness.Soft, order) is { } best)
        {
            return best;
        }
        return Search(ask, Strictness.Hard, order);
    }

    private Node? Search(AskEntry ask, Strictness strictness, NodeOrder order)
    {
        if (ask.Class.PreferredNodes is { } preferred)
        {
            Node? best = null;
            var bestScore = -1L;
            foreach (var id in ask.Message!.PreferredNodes)
            {
                if (preferred.Contains(id) && _state.NodesById.TryGetValue(id, out var node) && ReferenceEquals(node.Partition, ask.Class.Partition) && Fit(node, ask, strictness) == WaitingKind.InTurn)
                {
                    var score = NodeIndex.Score(node, _state.Types.Count);
                    if (best is null || score > bestScore || (score == bestScore && node.Number < best.Number))
                    {
                        (best, bestScore) = (node, score);
                    }
                }
            }
            if (best is not null)
            {
                return best;
            }
        }
        if (ask.Class.PreferredRacks is not null && ask.LocalityLevel == 2)
        {
            ask.LocalityLevel = 1;
            var near = ask.Class.Partition.Index.Find(ask, strictness, this, order);
            ask.LocalityLevel = 2;
            if (near is not null)
            {
                return near;
            }
        }
        if (ask.LocalityLevel > 0 && ask.Class.Partition.Index.Find(ask, strictness, this, order) is { } found)
        {
            return found;
        }
        if (ask.Class.Partition.Number == 0 && ask.LocalityLevel == 2)
        {
            foreach (var partition in _state.Partitions)
            {
                if (partition.Shared && partition.Number != 0 && LimitsAllowGuest(ask, partition)
                    && partition.Index.Find(ask, strictness, this, order) is { } guest)
                {
                    return guest;
                }
            }
        }
        return null;
    }

    /// <summary>
    /// Whether one container of an ask may be placed on a node now, <see cref="WaitingKind.InTurn"/>, or why not. Looks at nothing but the node: limits of queues
    /// and users are <see cref="CheckLimits(AskEntry, int)"/>.
    /// </summary>
    public WaitingKind Fit(Node node, AskEntry ask, Strictness strictness)
    {
        if (!node.Takes)
        {
            return WaitingKind.NodeUnavailable;
        }
        if (ask.Application.Excluded.Count > 0 && ask.Application.Excluded.Contains(node.Id))
        {
            return WaitingKind.NodeExcluded;
        }
        var kind = ask.Class;
        if (kind.Single is not null)
        {
            if (!HasAttributes(node, kind, strictness))
            {
                return WaitingKind.Attribute;
            }
            if (!IsNear(node, ask))
            {
                return WaitingKind.Locality;
            }
        }
        var count = _state.Types.Count;
        if (!ask.Shape.Vector.FitsOnTop(default, node.Capacity, count))
        {
            return WaitingKind.NodeTooSmall;
        }
        if (node.ReservedFor is not null && !ReferenceEquals(node.ReservedFor, ask))
        {
            return WaitingKind.NodeReserved;
        }
        if (!ask.Shape.Vector.FitsOnTop(node.Allocated, node.Capacity, count) && _planted != PlantedBug.OverAllocation)
        {
            return WaitingKind.NotEnoughFree;
        }
        return kind.Constraints.Length == 0 ? WaitingKind.InTurn : CheckTags(node, ask, strictness);
    }

    /// <summary>Whether a node has the attributes an ask needs.</summary>
    public static bool HasAttributes(Node node, PlacementClass kind, Strictness strictness)
    {
        foreach (var constraint in kind.Constraints)
        {
            if (constraint.Rule.Kind == PlacementKind.Attribute && (constraint.Rule.Hard || strictness == Strictness.Soft))
            {
                var equal = node.Registration!.Attributes.TryGetValue(constraint.Key, out var value) && value == constraint.Value;
                if (equal == constraint.Negated)
                {
                    return false;
                }
            }
        }
        return true;
    }

    private static bool IsNear(Node node, AskEntry ask)
    {
        var kind = ask.Class;
        if (ask.LocalityLevel == 2 || (kind.PreferredNodes is null && kind.PreferredRacks is null))
        {
            return true;
        }
        return (kind.PreferredNodes?.Contains(node.Id) ?? false)
            || (ask.LocalityLevel == 1 && (kind.PreferredRacks?.Contains(node.Rack) ?? false));
    }

    private WaitingKind CheckTags(Node node, AskEntry ask, Strictness strictness)
    {
        foreach (var constraint in ask.Class.Constraints)
        {
            var rule = constraint.Rule;
            if (rule.Kind == PlacementKind.Attribute || (!rule.Hard && strictness == Strictness.Hard))
            {
                continue;
            }
            var near = constraint.Tag!.Near(node, rule.PerRack);
            switch (rule.Kind)
            {
                // The first of a group that wants to be together has nobody to join.
                case PlacementKind.Affinity when near == 0 && !(constraint.Tag.Total == 0 && Array.IndexOf(ask.Tags, constraint.Tag) >= 0):
                    return WaitingKind.Affinity;
                case PlacementKind.AntiAffinity when near > 0 && _planted != PlantedBug.IgnoredConstraint:
                    return WaitingKind.AntiAffinity;
                case PlacementKind.MaximumPerNode when near >= rule.Limit:
                    return WaitingKind.MaximumPerNode;
                case PlacementKind.Spread when near - constraint.Least >= (rule.Hard ? Math.Max(1, rule.Limit) : 1):
                    return WaitingKind.Spread;
                default:
                    break;
            }
        }
        return WaitingKind.InTurn;
    }

    /// <summary>Spreading compares with the least count over the nodes the ask could ever be on: makes sure that it is known.</summary>
    public void PrepareSpread(AskEntry ask)
    {
        foreach (var constraint in ask.Class.Constraints)
        {
            if (constraint.Rule.Kind != PlacementKind.Spread || (constraint.AtLeast > 0 && constraint.NodesVersion == _state.NodesVersion))
            {
                continue;
            }
            constraint.NodesVersion = _state.NodesVersion;
            (constraint.Least, constraint.AtLeast) = (int.MaxValue, 0);
            foreach (var node in ask.Class.Partition.Index.Nodes)
            {
                if (!node.Takes || !HasAttributes(node, ask.Class, Strictness.Hard) || ask.Application.Excluded.Contains(node.Id)
                    || !ask.Shape.Vector.FitsOnTop(default, node.Capacity, _state.Types.Count))
                {
                    continue;
                }
                var near = constraint.Tag!.Near(node, constraint.Rule.PerRack);
                if (near < constraint.Least)
                {
                    (constraint.Least, constraint.AtLeast) = (near, 0);
                }
                constraint.AtLeast += near == constraint.Least ? 1 : 0;
            }
            if (constraint.AtLeast == 0)
            {
                constraint.Least = 0;
            }
        }
    }

    /// <summary>Whether the limits of queues, users and groups let an ask have so many more containers, or which one does not; remembers it in the ask.</summary>
    public WaitingKind CheckLimits(AskEntry ask, int containers)
    {
        var count = _state.Types.Count;
        ref readonly var one = ref ask.Shape.Vector;
        if (containers == 1)
        {
            return CheckLimits(ask, one, count);
        }
        ResourceVector all = default;
        for (var i = 0; i < count; i++)
        {
            all[i] = (long)Int128.Min((Int128)one[i] * containers, long.MaxValue / 2);
        }
        return CheckLimits(ask, all, count);
    }

    private WaitingKind CheckLimits(AskEntry ask, in ResourceVector need, int count)
    {
        (ask.BlockedBy, ask.BlockedByLimit) = (null, null);
        for (var queue = ask.Share.Leaf; queue is not null; queue = queue.Parent)
        {
            if (!need.FitsOnTop(queue.Usage, queue.Maximum, count) && _planted != PlantedBug.SkippedMaximum)
            {
                ask.BlockedBy = queue;
                return WaitingKind.QueueMaximum;
            }
            if (ask.Message!.IsDriver && !need.FitsOnTop(queue.DriverUsage, queue.DriverMaximum, count))
            {
                ask.BlockedBy = queue;
                return WaitingKind.DriverShare;
            }
        }
        foreach (var limit in ask.Application.Limits)
        {
            if (!need.FitsOnTop(limit.Usage, limit.Maximum, count) && _planted != PlantedBug.SkippedLimit)
            {
                ask.BlockedByLimit = limit;
                return limit.IsGroup ? WaitingKind.GroupLimit : WaitingKind.UserLimit;
            }
        }
        return WaitingKind.InTurn;
    }

    // A guest in a shared partition is charged there, so the queue's maximum there holds for it too.
    private bool LimitsAllowGuest(AskEntry ask, Partition partition)
    {
        RefreshShares(partition);
        for (var queue = ask.Application.Queue.Shares[partition.Number]; queue is not null; queue = queue.Parent)
        {
            if (!ask.Shape.Vector.FitsOnTop(queue.Usage, queue.Maximum, _state.Types.Count))
            {
                return false;
            }
        }
        return true;
    }

    private void Commit(AskEntry ask, Node node)
    {
        var container = new Container(
            new ContainerId(_state.Epoch, ++_state.LastContainer), ask, node, ask.Shape, _state.Now)
        {
            IsDriver = ask.Message!.IsDriver,
            Tags = ask.Tags,
            Devices = _state.Types.Count > 2 ? node.Devices.Choose(node, ask.Shape.Vector, _state.Types) : null,
        };
        ask.Class.Partition.Grants++;
        ask.WaitingSince = _state.Now;
        Attach(container);
        Unreserve(ask);
        Granted(container);
    }

    /// <summary>Charges a container to its node, application, queues and limits.</summary>
    public void Attach(Container container)
    {
        var node = container.Node;
        var count = _state.Types.Count;
        node.Allocated.Add(container.Shape.Vector, count);
        container.NodePlace = node.Containers.Count;
        node.Containers.Add(container);
        if (container.Devices is not null)
        {
            node.Devices.Mark(container.Devices, taken: true, _state.Types);
        }
        node.Info = null;
        _state.PlacementVersion++;
        foreach (var tag in container.Tags)
        {
            tag.Change(node, 1);
            WakeWatchers(tag);
        }
        Reindex(node);
        if (container.Application is not { } application)
        {
            return;
        }
        container.ApplicationPlace = application.Containers.Count;
        application.Containers.Add(container);
        application.Snapshot = null;
        if (container.Ask is { } ask && !container.IsStopping)
        {
            ask.Live += _planted == PlantedBug.DoubleGrant ? 0 : 1;
            Requeue(ask);
        }
        Charge(container, 1);
    }

    /// <summary>Takes a container off everything it was charged to, and wakes what waited for the room.</summary>
    public void Detach(Container container)
    {
        var node = container.Node;
        node.Allocated.Subtract(container.Shape.Vector, _state.Types.Count);
        RemoveAt(node.Containers, container.NodePlace, static (moved, place) => moved.NodePlace = place);
        if (container.Devices is not null)
        {
            node.Devices.Mark(container.Devices, taken: false, _state.Types);
            // A stranger that was told as ended may have shared a number with the one that got it since.
            foreach (var other in node.Containers)
            {
                node.Devices.Mark(other.Devices, taken: true, _state.Types);
            }
        }
        node.Info = null;
        _state.PlacementVersion++;
        foreach (var tag in container.Tags)
        {
            tag.Change(node, -1);
            WakeWatchers(tag);
        }
        Reindex(node);
        if (container.Application is { } application)
        {
            RemoveAt(application.Containers, container.ApplicationPlace, static (moved, place) => moved.ApplicationPlace = place);
            application.Snapshot = null;
            if (container.Ask is { } ask && !container.IsStopping)
            {
                ask.Live--;
                Requeue(ask);
            }
            Charge(container, -1);
        }
        if (_planted != PlantedBug.MissedWake)
        {
            WakeOnNode(node);
        }
    }

    private static void RemoveAt(List<Container> list, int place, Action<Container, int> moved)
    {
        var last = list[^1];
        list[place] = last;
        moved(last, place);
        list.RemoveAt(list.Count - 1);
    }

    /// <summary>A container counts as stopping from now on: its room stays charged, its ask may have another one.</summary>
    public void MarkStopping(Container container)
    {
        if (container.IsStopping)
        {
            return;
        }
        container.State = ContainerState.Stopping;
        if (container.Ask is { } ask)
        {
            ask.Live--;
            Requeue(ask);
        }
        if (container.Application is { } application)
        {
            application.Snapshot = null;
        }
    }

    /// <summary>Charges a container anew to its application, queues and limits after their ledgers were emptied.</summary>
    public void Recharge(Container container) => Charge(container, 1);

    private void Charge(Container container, int sign)
    {
        var application = container.Application!;
        var share = ShareOf(application, container.Node.Partition);
        var count = _state.Types.Count;
        ref readonly var vector = ref container.Shape.Vector;
        Change(ref share.Usage, vector, sign, count);
        share.Rank(count);
        if (share.HeapIndex >= 0)
        {
            share.Leaf.Applications.Moved(share);
        }
        for (var queue = share.Leaf; queue is not null; queue = queue.Parent)
        {
            Change(ref queue.Usage, vector, sign, count);
            if (container.IsDriver)
            {
                Change(ref queue.DriverUsage, vector, sign, count);
            }
            queue.Rank(count);
            if (queue.HeapIndex >= 0 && _planted != PlantedBug.WrongShare)
            {
                queue.Parent!.Children.Moved(queue);
            }
            if (sign < 0)
            {
                WakeLimited(queue.Sleepers);
            }
        }
        foreach (var limit in application.Limits)
        {
            Change(ref limit.Usage, vector, sign, count);
            if (sign < 0)
            {
                WakeLimited(limit.Sleepers);
            }
        }
    }

    private static void Change(ref ResourceVector amounts, in ResourceVector by, int sign, int count)
    {
        if (sign > 0)
        {
            amounts.Add(by, count);
        }
        else
        {
            amounts.Subtract(by, count);
        }
    }

    /// <summary>An application's part of a partition, made now if it is new.</summary>
    public static ApplicationShare ShareOf(Application application, Partition partition)
    {
        foreach (var known in application.Shares)
        {
            if (ReferenceEquals(known.Partition, partition))
            {
                return known;
            }
        }
        var share = new ApplicationShare(application, partition) { Leaf = application.Queue.Shares[partition.Number] };
        application.Shares.Add(share);
        return share;
    }

    /// <summary>Puts an ask into or out of its application's heap, as it could be placed or not.</summary>
    public void Requeue(AskEntry ask)
    {
        var share = ask.Share;
        if (share is null)
        {
            return;
        }
        var ready = ask is { Message: not null, Outstanding: > 0, Asleep: WaitingKind.InTurn } && ask.Application is { Active: true, IsOver: false };
        if (ready && ask.HeapIndex < 0)
        {
            share.Asks.Add(ask);
            ask.Class.Awake++;
            ask.Class.Partition.Ready += ask.Class.BlockedPlace < 0 ? 1 : 0;
            if (share.HeapIndex < 0)
            {
                AddUp(share);
            }
        }
        else if (!ready && ask.HeapIndex >= 0)
        {
            share.Asks.Remove(ask);
            ask.Class.Awake--;
            ask.Class.Partition.Ready -= ask.Class.BlockedPlace < 0 ? 1 : 0;
            if (share.Asks.Count == 0)
            {
                RemoveUp(share);
            }
        }
        if (ask.Outstanding == 0 && ask.SleepsIn is not null)
        {
            Awaken(ask);
        }
    }

    private static void AddUp(ApplicationShare share)
    {
        share.Leaf.Applications.Add(share);
        for (var queue = share.Leaf; queue.Parent is { } parent && queue.HeapIndex < 0; queue = parent)
        {
            parent.Children.Add(queue);
        }
    }

    private static void RemoveUp(ApplicationShare share)
    {
        share.Leaf.Applications.Remove(share);
        for (var queue = share.Leaf; queue.Parent is { } parent && !queue.HasWork; queue = parent)
        {
            parent.Children.Remove(queue);
        }
    }

    /// <summary>Takes a node's room as it is now into the index.</summary>
    public static void Reindex(Node node)
    {
        if (node.IndexPlace >= 0)
        {
            node.Partition.Index.Update(node);
        }
    }
}
