using Yarnish.Protocol;
using Yarnish.Scheduling;

namespace Yarnish.Simulation;

/// <summary>Watches every step of the machine and judges it by the invariants of docs/scheduling.md: safety after each event, liveness at the end.</summary>
internal sealed class Witness(List<string> violations, SortedSet<string> reached)
{
    private readonly Dictionary<ContainerId, (NodeId Node, ApplicationId Application)> _granted = [];
    private readonly List<Container> _before = [];
    private readonly HashSet<ContainerId> _toldAsEnded = [];
    private ContainerId _last;
    private (AskEntry Ask, Node Node)? _expected;
    private bool _compare;
    private bool _isContinue;

    public void Before(ClusterMachine machine)
    {
        _before.Clear();
        _before.AddRange(machine.State.Containers.Values);
        _compare = machine.State is { IsSettling: false, Settings.GrantsPerStep: 1, Epoch: > 0 } && machine.HasMoreWork && machine.State.Partitions.TrueForAll(static partition => !partition.SharesStale);
        if (_compare)
        {
            _expected = new ReferenceScheduler(machine.State).Next(out var skipped);
            _compare = !skipped;
        }
    }

    public void After(ClusterMachine machine, ClusterEvent clusterEvent, List<ClusterEffect> effects)
    {
        _isContinue = clusterEvent is ContinuePlacing;
        if (clusterEvent is Restored)
        {
            // What the former manager told may have been lost with it; who holds what is settled anew.
            _toldAsEnded.Clear();
        }
        violations.AddRange(ClusterInvariants.Check(machine).Select(violation => $"{violation} (after {clusterEvent.GetType().Name})"));
        if (violations.Count > 0)
        {
            return;
        }
        var state = machine.State;
        var fresh = CheckLaunches(state, effects);
        CheckCompletions(state, effects);
        CheckAcknowledged(state, effects);
        CheckGrants(state, fresh);
        if (_compare && _isContinue)
        {
            Compare(machine, fresh);
        }
        if (!machine.HasMoreWork && !state.IsSettling)
        {
            CheckWorkConserved(state);
        }
        Note(state);
    }

    private List<Container> CheckLaunches(ClusterState state, List<ClusterEffect> effects)
    {
        var fresh = new List<Container>();
        var told = effects.OfType<SendToApplication>().Select(static effect => effect.Message).OfType<ContainersGranted>()
            .SelectMany(static message => message.Grants).Select(static grant => grant.ContainerId).ToHashSet();
        foreach (var effect in effects.OfType<SendToNode>())
        {
            if (effect.Message is not LaunchContainer launch)
            {
                continue;
            }
            var what = (effect.NodeId, launch.ApplicationId);
            if (_granted.TryGetValue(launch.ContainerId, out var before))
            {
                Expect(before == what, "I7", $"container {launch.ContainerId} was granted twice: {before} and {what}");
                reached.Add("launch repeated");
                continue;
            }
            Expect(launch.ContainerId.CompareTo(_last) > 0 && launch.ContainerId.Epoch == state.Epoch, "I7", $"container {launch.ContainerId} was granted after {_last} in epoch {state.Epoch}");
            Expect(told.Contains(launch.ContainerId), "I8", $"the driver was not told of container {launch.ContainerId}");
            _last = launch.ContainerId;
            _granted.Add(launch.ContainerId, what);
            if (state.Containers.TryGetValue(launch.ContainerId, out var container))
            {
                fresh.Add(container);
            }
            else
            {
                violations.Add($"I8: container {launch.ContainerId} is launched and not in the books");
            }
        }
        return fresh;
    }

    // Every container that left the books while its application goes on is told to its driver in the same step.
    private void CheckCompletions(ClusterState state, List<ClusterEffect> effects)
    {
        var told = effects.OfType<SendToApplication>().Where(static effect => effect.Message is ContainersCompleted)
            .SelectMany(static effect => ((ContainersCompleted)effect.Message).Completions.Select(completion => (effect.ApplicationId, completion.ContainerId))).ToHashSet();
        foreach (var container in _before)
        {
            if (!state.Containers.ContainsKey(container.Id) && container.Application is { IsOver: false } application)
            {
                Expect(told.Contains((application.Id, container.Id)), "I10", $"the driver of {application.Id} was not told of the end of {container.Id}");
            }
        }
        _toldAsEnded.UnionWith(told.Select(static completion => completion.ContainerId));
        if (_toldAsEnded.Count == 0)
        {
            return;
        }
        foreach (var alive in state.Containers.Values)
        {
            // One that was told as ended may run on as a stranger until its agent stops it.
            Expect(alive.Application is null || !_toldAsEnded.Contains(alive.Id), "I9", $"container {alive.Id} was told as ended and lives");
        }
    }

    private void CheckAcknowledged(ClusterState state, List<ClusterEffect> effects)
    {
        foreach (var effect in effects.OfType<SendToNode>())
        {
            if (effect.Message is AcknowledgeExits message)
            {
                foreach (var id in message.Containers)
                {
                    Expect(!state.Containers.TryGetValue(id, out var container) || container.Node.Id != effect.NodeId, "I10", $"the end of {id} was acknowledged and it lives");
                }
            }
        }
    }

    private void CheckGrants(ClusterState state, List<Container> fresh)
    {
        foreach (var container in fresh)
        {
            var node = container.Node;
            Expect(node.Presence == NodePresence.Heard && node.Healthy && !node.Draining, "I15", $"{container.Id} was granted on node {node.Id}, which takes nothing");
            var application = container.Application!;
            Expect(!application.IsOver && application.Active, "I4", $"{container.Id} was granted to {application.Id}, which may have nothing");
            Expect(container.Ask!.Live <= container.Ask.Desired, "I6", $"ask {container.AskId} of {application.Id} has {container.Ask.Live} live containers of {container.Ask.Desired}");
            Expect(!container.Ask.IsGang || container.Ask.Outstanding == 0, "I17", $"half a gang: ask {container.AskId} of {application.Id} lacks {container.Ask.Outstanding}");
            Expect(state.Now - state.StartedAt >= state.Settings.Settle.Ticks || state.Nodes.TrueForAll(static known => known is not { Registration: null }), "I26",
                $"{container.Id} was granted before the nodes were back");
            if (node.Partition.Number != 0)
            {
                reached.Add("granted in a partition");
            }
            if (container.Ask!.IsGang)
            {
                reached.Add("gang granted");
            }
            if (container.Devices is not null)
            {
                reached.Add("device given");
            }
            Expect(node.Partition == container.Ask.Class.Partition, "I15", $"{container.Id} was granted in partition '{node.Partition.Name}'");
            Expect(!application.Excluded.Contains(node.Id), "I15", $"{container.Id} was granted on the excluded node {node.Id}");
            CheckLimits(state, container);
            CheckTags(state, container);
        }
    }

    private void CheckLimits(ClusterState state, Container fresh)
    {
        for (var queue = fresh.Application!.Queue; queue is not null; queue = queue.Parent)
        {
            var here = fresh.Node.Partition;
            var share = queue.Shares[here.Number];
            CheckUnder(state, fresh, share.Maximum, container => container.Node.Partition == here && Within(container, queue), $"queue {queue.Path}");
            if (fresh.IsDriver)
            {
                CheckUnder(state, fresh, share.DriverMaximum, container => container.IsDriver && container.Node.Partition == here && Within(container, queue), $"drivers of {queue.Path}");
            }
            foreach (var limit in queue.Limits.Values)
            {
                bool Bound(Container container) => Within(container, queue)
                    && (limit.IsGroup ? container.Application!.Registration.Groups.Contains(limit.Who) : container.Application!.Registration.User == limit.Who);
                if (Bound(fresh))
                {
                    CheckUnder(state, fresh, limit.Maximum, Bound, $"{limit.Who} in {queue.Path}");
                }
            }
        }
    }

    private void CheckUnder(ClusterState state, Container fresh, ResourceVector most, Func<Container, bool> counts, string who)
    {
        for (var r = 0; r < state.Types.Count; r++)
        {
            if (fresh.Shape.Vector[r] > 0 && most[r] != long.MaxValue)
            {
                var sum = state.Containers.Values.Where(container => container.Application is not null && counts(container)).Sum(container => container.Shape.Vector[r]);
                Expect(sum <= most[r], "I4", $"{fresh.Id} took {who} to {sum} of at most {most[r]} {state.Types.Name(r)}");
            }
        }
    }

    private static bool Within(Container container, Queue above)
    {
        for (var queue = container.Application!.Queue; queue is not null; queue = queue.Parent)
        {
            if (queue.Path == above.Path)
            {
                return true;
            }
        }
        return false;
    }

    private void CheckTags(ClusterState state, Container fresh)
    {
        foreach (var rule in fresh.Ask!.Message!.Constraints)
        {
            if (!rule.Hard || rule.Kind is not (PlacementKind.AntiAffinity or PlacementKind.MaximumPerNode))
            {
                continue;
            }
            var near = state.Containers.Values.Count(container => container.Id.CompareTo(fresh.Id) < 0 && container.Application == fresh.Application
                && (rule.PerRack ? container.Node.Rack == fresh.Node.Rack : container.Node == fresh.Node) && container.Tags.Any(tag => tag.Name == rule.Target));
            Expect(near < (rule.Kind == PlacementKind.AntiAffinity ? 1 : rule.Limit), "I15", $"{fresh.Id} was granted on {fresh.Node.Id} against {rule.Kind} '{rule.Target}': {near} are there");
            reached.Add("placed under a constraint");
        }
    }

    private void Compare(ClusterMachine machine, List<Container> fresh)
    {
        var actual = fresh.Count == 0 ? null : $"ask {fresh[0].AskId} of {fresh[0].Application!.Id} on {fresh[0].Node.Id}";
        var expected = _expected is { } next ? $"ask {next.Ask.AskId} of {next.Ask.Application.Id} on {next.Node.Id}" : null;
        if (actual is null && machine.HasMoreWork)
        {
            return;
        }
        reached.Add("compared with the reference");
        Expect(actual == expected, "I18", $"granted {actual ?? "nothing"}, the reference grants {expected ?? "nothing"}");
    }

    private void CheckWorkConserved(ClusterState state)
    {
        var reference = new ReferenceScheduler(state);
        foreach (var application in state.Applications)
        {
            foreach (var ask in application.AskList)
            {
                if (reference.IsAsking(ask) && !ask.IsGang && reference.Placeable(ask) is { } node)
                {
                    violations.Add($"I20: ask {ask.AskId} of {application.Id} waits ({ask.Asleep}, blocked {ask.Class.BlockedPlace >= 0}, alone {ask.Class.Single is not null}, {string.Join(' ', ask.Message!.Constraints)} {string.Join(' ', ask.Message.PreferredNodes)}, level {ask.LocalityLevel}, held {ask.Reserved?.Id}) and would fit on {node.Id}");
                    return;
                }
            }
        }
    }

    private void Note(ClusterState state)
    {
        foreach (var partition in state.Partitions)
        {
            if (partition.ReservedNodes > 0)
            {
                reached.Add("node reserved");
            }
        }
        foreach (var container in state.Containers.Values)
        {
            if (container.Application is null)
            {
                reached.Add("stranger on a node");
            }
            if (container.Id.Epoch < state.Epoch && container.Application is not null)
            {
                reached.Add("container adopted");
            }
            if (container.Order is { Cause: ContainerExitCause.Preempted })
            {
                reached.Add("container preempted");
            }
        }
        foreach (var application in state.Applications)
        {
            if (!application.Active)
            {
                reached.Add("application inactive");
            }
            foreach (var ask in application.AskList)
            {
                reached.Add("ask " + ask.Asleep);
            }
        }
    }

    /// <summary>The faults are over for long: everything must have come right.</summary>
    public void CheckAtRest(ClusterMachine machine, IEnumerable<SimulatedAgent> agents, IEnumerable<SimulatedDriver> drivers)
    {
        var state = machine.State;
        Expect(!state.IsSettling, "I26", "still settling");
        foreach (var agent in agents)
        {
            var running = agent.Running.Select(static pair => pair.Id).ToHashSet();
            var booked = state.Containers.Values.Where(container => container.Node.Id == agent.Id).Select(static container => container.Id).ToHashSet();
            Expect(running.SetEquals(booked), "I10", $"node {agent.Id} runs {Text(running.Except(booked))} more and {Text(booked.Except(running))} less than the books say");
            Expect(agent.Unacknowledged == 0, "I10", $"node {agent.Id} still repeats {agent.Unacknowledged} ends");
            Expect(agent.Running.All(pair => state.ApplicationsById.TryGetValue(pair.Application, out var application) && !application.IsOver), "I11", $"node {agent.Id} runs containers of an application that is over");
        }
        foreach (var driver in drivers)
        {
            var known = state.ApplicationsById.TryGetValue(driver.Id, out var application) && !application.IsOver;
            if (!driver.Up || driver.Over || !known)
            {
                Expect(!known || driver is { Up: true, Over: false }, "I11", $"application {driver.Id} lives without its driver");
                continue;
            }
            var booked = application!.Containers.Where(static container => !container.IsStopping).Select(static container => container.Id).ToHashSet();
            var held = driver.Held.ToHashSet();
            Expect(held.IsSupersetOf(booked) && held.Except(booked).All(id => state.Containers.ContainsKey(id)), "I10",
                $"driver {driver.Id} holds {Text(held.Except(booked))} more and {Text(booked.Except(held))} less than the books say");
            CheckAsks(machine, driver, application);
        }
    }

    private void CheckAsks(ClusterMachine machine, SimulatedDriver driver, Application application)
    {
        var explanation = new Explanation(machine.State, machine.Placing);
        var reference = new ReferenceScheduler(machine.State);
        foreach (var wish in driver.Asks)
        {
            Expect(application.Asks.TryGetValue(wish.AskId, out var ask) && ask.Desired == wish.Desired, "I6", $"ask {wish.AskId} of {driver.Id} did not arrive");
            if (ask is null)
            {
                continue;
            }
            Expect(ask.Live <= ask.Desired, "I6", $"ask {wish.AskId} of {driver.Id} keeps {ask.Live} of {ask.Desired}");
            var reasons = explanation.Reasons(ask);
            Expect(ask.Outstanding == 0 == reasons.IsEmpty, "I20", $"ask {wish.AskId} of {driver.Id} lacks {ask.Outstanding} and gives {reasons.Length} reasons");
            foreach (var reason in reasons)
            {
                reached.Add("reason " + reason.Kind);
                Expect(reason.Text.Length > 10, "I20", $"reason {reason.Kind} says nothing");
            }
            if (reasons.Any(static reason => reason.Kind >= WaitingKind.NodeUnavailable && reason.Kind <= WaitingKind.Spread))
            {
                foreach (var group in ask.Class.Partition.Index.Nodes.GroupBy(node => reference.Judge(node, ask, soft: false)).Where(static group => group.Key != WaitingKind.InTurn))
                {
                    Expect(reasons.Any(reason => reason.Kind == group.Key && reason.Count == group.Count()), "I20",
                        $"ask {ask.AskId} of {driver.Id}: by brute force {group.Count()} nodes are {group.Key}, the stored reasons differ");
                }
            }
        }
    }

    private static string Text(IEnumerable<ContainerId> ids) => "[" + string.Join(' ', ids.Order()) + "]";

    private void Expect(bool holds, string invariant, string message)
    {
        if (!holds)
        {
            violations.Add($"{invariant}: {message}");
        }
    }
}
