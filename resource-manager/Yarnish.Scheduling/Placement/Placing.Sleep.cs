namespace Yarnish.Scheduling;

// Going to sleep and waking: an ask that cannot be placed costs nothing until what blocks it changes.
internal sealed partial class Placing
{
    private readonly PriorityQueue<AskEntry, (long At, long Number)> _alarms = new();
    private long _alarmNumber;

    private void SleepOnLimit(AskEntry ask, WaitingKind kind)
    {
        Unreserve(ask);
        FallAsleep(ask, kind, ask.BlockedByLimit?.Sleepers ?? ask.BlockedBy!.Sleepers);
    }

    private void SleepOnRoom(AskEntry ask)
    {
        var kind = ask.Class;
        if (kind.BlockedPlace < 0)
        {
            kind.BlockedPlace = kind.Partition.Blocked.Count;
            kind.Partition.Blocked.Add(kind);
            kind.BlockedAtGrant = kind.Partition.Grants;
            // The others of the class may stay in their heaps: nobody descends for them while nothing else is ready.
            kind.Partition.Ready -= kind.Awake;
        }
        FallAsleep(ask, WaitingKind.NotEnoughFree, kind.Sleepers);
        if (ask.LocalityLevel < 2 && ask.Message!.RelaxLocality)
        {
            SetAlarm(ask, ask.WaitingSince + ((ask.LocalityLevel + 1) * _state.Settings.LocalityDelay.Ticks));
        }
    }

    /// <summary>Lets an ask sleep for a reason that only time or the driver ends.</summary>
    public void SleepUntil(AskEntry ask, WaitingKind kind, long at)
    {
        if (ask.SleepsIn is not null || ask.Asleep != WaitingKind.InTurn)
        {
            Awaken(ask);
        }
        FallAsleep(ask, kind, null);
        if (at != long.MaxValue)
        {
            SetAlarm(ask, at);
        }
    }

    private void FallAsleep(AskEntry ask, WaitingKind kind, SleepList? list)
    {
        ask.Asleep = kind;
        list?.Add(ask);
        Requeue(ask);
    }

    /// <summary>Looks at an ask again at a time.</summary>
    public void SetAlarm(AskEntry ask, long at)
    {
        ask.WakeAt = at;
        _alarms.Enqueue(ask, (at, ++_alarmNumber));
    }

    /// <summary>Wakes the asks whose time came.</summary>
    public void RingAlarms()
    {
        while (_alarms.TryPeek(out var ask, out var due) && due.At <= _state.Now)
        {
            _alarms.Dequeue();
            if (ask.WakeAt != due.At || ask.Application.IsOver || ask.Message is null)
            {
                continue;
            }
            ask.WakeAt = long.MaxValue;
            if (ask.LocalityLevel < 2 && ask.Message.RelaxLocality)
            {
                ask.LocalityLevel = (int)Math.Clamp((_state.Now - ask.WaitingSince) / Math.Max(1, _state.Settings.LocalityDelay.Ticks), ask.LocalityLevel, 2);
            }
            Unblock(ask.Class);
            Awaken(ask);
        }
    }

    /// <summary>Takes an ask out of every heap and list, until it is described anew.</summary>
    public void Park(AskEntry ask)
    {
        ask.SleepsIn?.Remove(ask);
        ask.WakeAt = long.MaxValue;
        ask.Asleep = WaitingKind.Settling;
        Requeue(ask);
    }

    /// <summary>Wakes one ask.</summary>
    public void Awaken(AskEntry ask)
    {
        ask.SleepsIn?.Remove(ask);
        ask.Asleep = WaitingKind.InTurn;
        Requeue(ask);
    }

    // A limit has more room: those that fit under it now are looked at again.
    private void WakeLimited(SleepList sleepers)
    {
        var ask = sleepers.First;
        while (ask is not null)
        {
            var next = ask.SleepNext;
            if (CheckLimits(ask, ask.IsGang ? ask.Outstanding : 1) == WaitingKind.InTurn)
            {
                Awaken(ask);
            }
            else if (!ReferenceEquals(ask.BlockedByLimit?.Sleepers ?? ask.BlockedBy!.Sleepers, sleepers))
            {
                // Another limit blocks it now: it waits there.
                var kind = CheckLimits(ask, ask.IsGang ? ask.Outstanding : 1);
                sleepers.Remove(ask);
                ask.Asleep = kind;
                (ask.BlockedByLimit?.Sleepers ?? ask.BlockedBy!.Sleepers).Add(ask);
            }
            ask = next;
        }
    }

    /// <summary>A node has more room, or takes containers again: the classes that fit on it are looked at again.</summary>
    public void WakeOnNode(Node node)
    {
        if (!node.Takes)
        {
            return;
        }
        if (node.ReservedFor is { } owner)
        {
            // The room on a held node is its ask's alone.
            if (owner.Shape.Vector.FitsOnTop(node.Allocated, node.Capacity, _state.Types.Count))
            {
                _heldReady.Add(owner);
            }
            return;
        }
        WakeOnNode(node, node.Partition);
        if (node.Partition.Shared && node.Partition.Number != 0)
        {
            WakeOnNode(node, _state.Partitions[0]);
        }
    }

    private void WakeOnNode(Node node, Partition partition)
    {
        for (var i = partition.Blocked.Count - 1; i >= 0; i--)
        {
            var kind = partition.Blocked[i];
            if (kind.Shape.Vector.FitsOnTop(node.Allocated, node.Capacity, _state.Types.Count))
            {
                Unblock(kind);
            }
        }
    }

    private void WakeWatchers(TagCounts tag)
    {
        foreach (var watcher in tag.Watchers)
        {
            Unblock(watcher);
        }
    }

    /// <summary>A class that found no node is looked at again.</summary>
    public void Unblock(PlacementClass kind)
    {
        if (kind.BlockedPlace < 0)
        {
            return;
        }
        var blocked = kind.Partition.Blocked;
        var last = blocked[^1];
        blocked[kind.BlockedPlace] = last;
        last.BlockedPlace = kind.BlockedPlace;
        blocked.RemoveAt(blocked.Count - 1);
        kind.BlockedPlace = -1;
        kind.Partition.Ready += kind.Awake;
        while (kind.Sleepers.First is { } ask)
        {
            Awaken(ask);
        }
    }

    /// <summary>Everything that sleeps on room is looked at again, such as after the nodes themselves changed.</summary>
    public void UnblockAll()
    {
        foreach (var partition in _state.Partitions)
        {
            while (partition.Blocked.Count > 0)
            {
                Unblock(partition.Blocked[^1]);
            }
        }
    }

    /// <summary>Holds nodes for asks that smaller ones overtook for too long, and gives up holds that make no sense any more.</summary>
    public void Reserve()
    {
        foreach (var partition in _state.Partitions)
        {
            DropIdleReservations(partition);
            var cap = Math.Max(1, partition.Index.Nodes.Count * _state.Configuration.ReservedNodesPercent / 100);
            for (var i = 0; i < partition.Blocked.Count && partition.ReservedNodes < cap; i++)
            {
                ReserveFor(partition.Blocked[i]);
            }
        }
    }

    private void DropIdleReservations(Partition partition)
    {
        if (partition.ReservedNodes == 0)
        {
            return;
        }
        foreach (var node in partition.Index.Nodes)
        {
            if (node.ReservedFor is { } ask && (ask.Outstanding == 0 || ask.Asleep != WaitingKind.NotEnoughFree || ask.Application.IsOver || !node.Takes
                || !ask.Shape.Vector.FitsOnTop(default, node.Capacity, _state.Types.Count)))
            {
                Unreserve(ask);
            }
        }
    }

    private void ReserveFor(PlacementClass kind)
    {
        // Nobody smaller got anything since it blocked: the cluster is full for all alike, a hold would only bend the order.
        if (kind.Partition.Grants == kind.BlockedAtGrant || _state.Configuration.ReservationsPerApplication == 0)
        {
            return;
        }
        for (var ask = kind.Sleepers.First; ask is not null; ask = ask.SleepNext)
        {
            if (ask.Reserved is not null || ask.IsGang || ask.Application.Reservations >= _state.Configuration.ReservationsPerApplication
                || _state.Now - ask.WaitingSince < _state.Settings.ReservationDelay.Ticks)
            {
                continue;
            }
            if (BestToReserve(ask) is { } node)
            {
                HoldFor(ask, node);
            }
            return;
        }
    }

    /// <summary>Holds a node for an ask that finds no room, if neither holds or is held yet.</summary>
    public void HoldFor(AskEntry ask, Node node)
    {
        if (ask.Reserved is not null || node.ReservedFor is not null || ask.Asleep != WaitingKind.NotEnoughFree)
        {
            return;
        }
        ask.Reserved = node;
        node.ReservedFor = ask;
        node.Info = null;
        ask.Application.Reservations++;
        ask.Application.Snapshot = null;
        node.Partition.ReservedNodes++;
        _state.PlacementVersion++;
        Reindex(node);
    }

    // The node that lacks least: the one where the dominant part still missing is smallest.
    private Node? BestToReserve(AskEntry ask)
    {
        Node? best = null;
        var least = long.MaxValue;
        foreach (var node in ask.Class.Partition.Index.Nodes)
        {
            if (node.ReservedFor is not null || Fit(node, ask, Strictness.Hard) != WaitingKind.NotEnoughFree)
            {
                continue;
            }
            var lacking = 0L;
            for (var i = 0; i < _state.Types.Count; i++)
            {
                var missing = ask.Shape.Vector[i] - (node.Capacity[i] - node.Allocated[i]);
                if (ask.Shape.Vector[i] > 0 && missing > 0)
                {
                    lacking = Math.Max(lacking, (missing << 16) / node.Capacity[i]);
                }
            }
            if (lacking < least)
            {
                (best, least) = (node, lacking);
            }
        }
        return best;
    }

    /// <summary>Gives up the node held for an ask, if there is one.</summary>
    public void Unreserve(AskEntry ask)
    {
        if (ask.Reserved is not { } node)
        {
            return;
        }
        ask.Reserved = null;
        node.ReservedFor = null;
        node.Info = null;
        ask.Application.Reservations--;
        node.Partition.ReservedNodes--;
        _state.PlacementVersion++;
        Reindex(node);
        WakeOnNode(node);
    }
}
