namespace Yarnish.Scheduling;

/// <summary>
/// What must hold after every event, whatever happened: computed from scratch and compared with what the machine keeps incrementally. The numbers are those of
/// docs/scheduling.md. Cheap enough for a sample in production, run after each event in the simulation.
/// </summary>
public static class ClusterInvariants
{
    /// <summary>Every violation; empty when all is well.</summary>
    /// <param name="machine">The machine to look at.</param>
    public static List<string> Check(ClusterMachine machine)
    {
        var violations = new List<string>();
        var state = machine.State;
        CheckNodes(state, violations);
        CheckLedgers(state, violations);
        CheckAsks(state, violations);
        CheckCounts(state, violations);
        CheckReservations(state, violations);
        return violations;
    }

    private static void CheckNodes(ClusterState state, List<string> violations)
    {
        var count = state.Types.Count;
        var seen = 0;
        foreach (var node in state.Nodes)
        {
            if (node is null)
            {
                continue;
            }
            ResourceVector sum = default;
            ResourceVector known = default;
            for (var i = 0; i < node.Containers.Count; i++)
            {
                var container = node.Containers[i];
                seen++;
                sum.Add(container.Shape.Vector, count);
                if (container.Application is not null)
                {
                    known.Add(container.Shape.Vector, count);
                }
                Expect(violations, container.NodePlace == i && ReferenceEquals(container.Node, node), "I8", $"container {container.Id} stands at the wrong place of node {node.Id}");
                Expect(violations, state.Containers.TryGetValue(container.Id, out var listed) && ReferenceEquals(listed, container), "I8",
                    $"container {container.Id} on node {node.Id} is not in the books");
                Expect(violations, container.Id.Epoch < state.Epoch || container.Id.Sequence <= state.LastContainer, "I7", $"container {container.Id} was never granted");
            }
            CheckDevices(node, state.Types, violations);
            Expect(violations, sum.SameAs(node.Allocated), "I2", $"node {node.Id} counts {node.Allocated[0]} bytes, its containers hold {sum[0]}");
            Expect(violations, node.Presence != NodePresence.Lost || node.Containers.Count == 0, "I10", $"lost node {node.Id} holds {node.Containers.Count} containers");
            for (var r = 0; r < count; r++)
            {
                Expect(violations, known[r] <= node.Capacity[r] || node.Overcommitted, "I1", $"node {node.Id} grants {known[r]} of {node.Capacity[r]} {state.Types.Name(r)}");
                Expect(violations, node.Allocated[r] >= 0, "I2", $"node {node.Id} counts a negative amount of {state.Types.Name(r)}");
            }
        }
        Expect(violations, seen == state.Containers.Count, "I8", $"nodes list {seen} containers, the books {state.Containers.Count}");
        foreach (var partition in state.Partitions)
        {
            ResourceVector total = default;
            foreach (var node in partition.Index.Nodes)
            {
                if (node.Presence != NodePresence.Lost)
                {
                    total.Add(node.Capacity, count);
                }
            }
            Expect(violations, total.SameAs(partition.Total), "I2", $"partition '{partition.Name}' counts {partition.Total[0]} bytes, its nodes offer {total[0]}");
            Expect(violations, partition.Index.IsConsistent(), "I5", $"the node index of partition '{partition.Name}' differs from one made from scratch");
        }
    }

    // A device belongs to one container at most; those of one that was told as ended may linger until it is stopped.
    private static void CheckDevices(Node node, ResourceTypes types, List<string> violations)
    {
        DeviceBook? marked = null;
        foreach (var container in node.Containers)
        {
            if (container is not { Devices: not null, Application: not null })
            {
                continue;
            }
            marked ??= new DeviceBook();
            var own = new DeviceBook();
            own.Mark(container.Devices, taken: true, types);
            for (var r = 2; r < types.Count; r++)
            {
                for (var number = 0; number < Math.Min(node.Capacity[r], DeviceBook.MostNumbered); number++)
                {
                    Expect(violations, !own.IsTaken(r, number) || !marked.IsTaken(r, number), "I1", $"device {types.Name(r)}={number} of node {node.Id} has two containers");
                    Expect(violations, !own.IsTaken(r, number) || node.Devices.IsTaken(r, number), "I5", $"device {types.Name(r)}={number} of node {node.Id} is not marked as taken");
                }
            }
            marked.Mark(container.Devices, taken: true, types);
        }
    }

    private static void CheckLedgers(ClusterState state, List<string> violations)
    {
        var count = state.Types.Count;
        foreach (var partition in state.Partitions)
        {
            var usage = new ResourceVector[state.Queues.Count];
            var drivers = new ResourceVector[state.Queues.Count];
            foreach (var container in state.Containers.Values)
            {
                if (container.Application is not { } application || !ReferenceEquals(container.Node.Partition, partition))
                {
                    continue;
                }
                for (var queue = application.Queue; queue is not null; queue = queue.Parent)
                {
                    usage[queue.Number].Add(container.Shape.Vector, count);
                    if (container.IsDriver)
                    {
                        drivers[queue.Number].Add(container.Shape.Vector, count);
                    }
                }
            }
            foreach (var queue in state.Queues)
            {
                var share = queue.Shares[partition.Number];
                Expect(violations, usage[queue.Number].SameAs(share.Usage), "I3", $"queue {queue.Path} counts {share.Usage[0]} bytes and {share.Usage[1]} millicores, its containers hold {usage[queue.Number][0]} and {usage[queue.Number][1]}");
                Expect(violations, drivers[queue.Number].SameAs(share.DriverUsage), "I3", $"queue {queue.Path} counts its drivers wrong");
                CheckHeaps(share, violations);
            }
        }
        CheckLimits(state, violations);
    }

    private static void CheckHeaps(QueueShare share, List<string> violations)
    {
        Expect(violations, share.Parent is null || share.HeapIndex >= 0 == share.HasWork, "I5", $"queue {share.Queue.Path} has work {share.HasWork} but stands at {share.HeapIndex} with its parent");
        for (var i = 1; i < share.Children.Count; i++)
        {
            Expect(violations, !share.Children[i].Before(share.Children[(i - 1) / 2]), "I5", $"the queues below {share.Queue.Path} are out of order");
        }
        for (var i = 0; i < share.Applications.Count; i++)
        {
            var application = share.Applications[i];
            Expect(violations, i == 0 || !application.Before(share.Applications[(i - 1) / 2]), "I5", $"the applications of {share.Queue.Path} are out of order");
            for (var k = 1; k < application.Asks.Count; k++)
            {
                Expect(violations, !application.Asks[k].Before(application.Asks[(k - 1) / 2]), "I5", $"the asks of {application.Application.Id} are out of order");
            }
        }
    }

    private static void CheckLimits(ClusterState state, List<string> violations)
    {
        foreach (var queue in state.Queues)
        {
            foreach (var ledger in queue.Limits.Values)
            {
                ResourceVector usage = default;
                var active = 0;
                foreach (var application in state.ApplicationsById.Values)
                {
                    if (Array.IndexOf(application.Limits, ledger) < 0)
                    {
                        continue;
                    }
                    active += application.Active ? 1 : 0;
                    foreach (var container in application.Containers)
                    {
                        usage.Add(container.Shape.Vector, state.Types.Count);
                    }
                }
                Expect(violations, usage.SameAs(ledger.Usage), "I3", $"the limit of {ledger.Who} in {queue.Path} counts {ledger.Usage[0]} bytes, their containers hold {usage[0]}");
                Expect(violations, active == ledger.Active, "I3", $"the limit of {ledger.Who} in {queue.Path} counts {ledger.Active} active applications, there are {active}");
            }
        }
    }

    private static void CheckAsks(ClusterState state, List<string> violations)
    {
        var ready = new int[state.Partitions.Count];
        foreach (var application in state.ApplicationsById.Values)
        {
            Expect(violations, !application.IsOver || !application.Active, "I11", $"application {application.Id} is over and active");
            foreach (var ask in application.AskList)
            {
                var live = 0;
                foreach (var container in application.Containers)
                {
                    live += ReferenceEquals(container.Ask, ask) && !container.IsStopping ? 1 : 0;
                }
                Expect(violations, live == ask.Live, "I6", $"ask {ask.AskId} of {application.Id} counts {ask.Live} live containers, there are {live}");
                var stands = ask is { Message: not null, Outstanding: > 0, Asleep: WaitingKind.InTurn } && application is { Active: true, IsOver: false };
                Expect(violations, stands == ask.HeapIndex >= 0, "I5", $"ask {ask.AskId} of {application.Id} stands in its heap: {ask.HeapIndex >= 0}, should: {stands}");
                Expect(violations, ask.SleepsIn is null || ask.Asleep != WaitingKind.InTurn, "I5", $"ask {ask.AskId} of {application.Id} sleeps without a reason");
                if (ask.HeapIndex >= 0 && ask.Class.BlockedPlace < 0)
                {
                    ready[ask.Class.Partition.Number]++;
                }
            }
        }
        foreach (var partition in state.Partitions)
        {
            Expect(violations, ready[partition.Number] == partition.Ready, "I5", $"partition '{partition.Name}' counts {partition.Ready} ready asks, there are {ready[partition.Number]}");
        }
    }

    private static void CheckCounts(ClusterState state, List<string> violations)
    {
        foreach (var queue in state.Queues)
        {
            var (live, active) = (0, 0);
            foreach (var application in state.Applications)
            {
                for (var above = application.Queue; above is not null; above = above.Parent)
                {
                    live += ReferenceEquals(above, queue) ? 1 : 0;
                    active += ReferenceEquals(above, queue) && application.Active ? 1 : 0;
                }
            }
            Expect(violations, live == queue.Applications && active == queue.ActiveApplications, "I3", $"queue {queue.Path} counts {queue.Applications}/{queue.ActiveApplications} applications, there are {live}/{active}");
        }
    }

    private static void CheckReservations(ClusterState state, List<string> violations)
    {
        foreach (var partition in state.Partitions)
        {
            var held = 0;
            foreach (var node in partition.Index.Nodes)
            {
                if (node.ReservedFor is not { } ask)
                {
                    continue;
                }
                held++;
                Expect(violations, ReferenceEquals(ask.Reserved, node), "I19", $"node {node.Id} is held for an ask that does not know it");
                Expect(violations, ask.Outstanding > 0 && !ask.Application.IsOver, "I19", $"node {node.Id} is held for an ask that needs nothing");
            }
            Expect(violations, held == partition.ReservedNodes, "I19", $"partition '{partition.Name}' counts {partition.ReservedNodes} held nodes, there are {held}");
        }
    }

    private static void Expect(List<string> violations, bool holds, string invariant, string message)
    {
        if (!holds)
        {
            violations.Add($"{invariant}: {message}");
        }
    }
}
