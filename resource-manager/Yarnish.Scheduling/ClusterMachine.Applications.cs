using System.Collections.Immutable;
using Yarnish.Protocol;

namespace Yarnish.Scheduling;

// What drivers say, and the life of their applications.
public sealed partial class ClusterMachine
{
    // Updates of a driver in which a container it was told of again is still not held.
    private const int UnheldLimit = 3;

    private static readonly NodeId UnknownNode = new("unknown");

    private void OnApplicationRegistering(RegisterApplication message)
    {
        if (_state.ApplicationsById.TryGetValue(message.ApplicationId, out var known))
        {
            RegisterAgain(known, message);
            return;
        }
        message = Trim(message);
        var (queue, refusal) = QueueTree.Choose(_state, message);
        if (queue is null)
        {
            _effects.Add(new SendToApplication(message.ApplicationId, new ApplicationRefused(_state.Epoch, message.ApplicationId, refusal)));
            return;
        }
        Journal(new ApplicationAccepted(message, new QueueName(queue.Path), Now));
        var application = Add(message, queue, _state.Now);
        Send(application, new ApplicationRegistered(_state.Epoch, application.Id, queue.Path));
        Activate(application, admit: true);
    }

    private void RegisterAgain(Application application, RegisterApplication message)
    {
        if (application.IsOver)
        {
            _effects.Add(new SendToApplication(message.ApplicationId, new ApplicationRefused(_state.Epoch, application.Id,
                $"Application {application.Id} is over ({application.State}): start a new one under a new id.")));
            return;
        }
        application.HeardAt = _state.Now;
        Send(application, new ApplicationRegistered(_state.Epoch, application.Id, application.Queue.Path));
        TellLive(application, application.Containers);
    }

    private void TellLive(Application application, List<Container> containers)
    {
        var grants = ImmutableArray.CreateBuilder<ContainerGrant>();
        foreach (var container in containers)
        {
            if (!container.IsStopping)
            {
                grants.Add(GrantOf(container));
            }
        }
        if (grants.Count > 0)
        {
            Send(application, new ContainersGranted(_state.Epoch, grants.ToImmutable()));
        }
    }

    private static RegisterApplication Trim(RegisterApplication message) => message with
    {
        Name = Cut(message.Name, 256),
        User = Cut(message.User, 128),
        Queue = Cut(message.Queue, 512),
        Driver = Cut(message.Driver, 256),
        StatusUrl = Cut(message.StatusUrl, 512),
        Groups = message.Groups.IsDefault ? [] : message.Groups.Length <= 64 ? message.Groups : message.Groups[..64],
    };

    private Application Add(RegisterApplication registration, Queue queue, long startedAt)
    {
        var application = new Application(registration, ++_state.LastApplication, startedAt) { Queue = queue, HeardAt = _state.Now };
        _state.Applications.Add(application);
        _state.ApplicationsById[application.Id] = application;
        for (var above = queue; above is not null; above = above.Parent)
        {
            above.Applications++;
        }
        application.Limits = QueueTree.LimitsOf(_state, queue, registration);
        _state.Version++;
        return application;
    }

    // Lets an application be granted something, unless a limit of active applications says it must wait. Without 'admit' no limit is asked: it already holds containers.
    private void Activate(Application application, bool admit = false)
    {
        if (application.Active || application.IsOver)
        {
            return;
        }
        if (admit && !MayBeActive(application))
        {
            application.Snapshot = null;
            return;
        }
        application.Active = true;
        application.Inactive = default;
        application.Snapshot = null;
        CountActive(application, 1);
        foreach (var ask in application.AskList)
        {
            _placing.Requeue(ask);
        }
    }

    private static bool MayBeActive(Application application)
    {
        for (var queue = application.Queue; queue is not null; queue = queue.Parent)
        {
            if (queue.Configuration.State == QueueState.Stopped)
            {
                application.Inactive = (WaitingKind.QueueStopped, queue.Path, 0, 0);
                return false;
            }
            if (queue.Configuration.MaximumActiveApplications is { } most && queue.ActiveApplications >= most)
            {
                application.Inactive = (WaitingKind.QueueApplications, queue.Path, queue.ActiveApplications, most);
                return false;
            }
        }
        foreach (var limit in application.Limits)
        {
            if (limit.Limit.MaximumActiveApplications is { } most && limit.Active >= most)
            {
                application.Inactive = (WaitingKind.UserApplications, $"{(limit.IsGroup ? "group" : "user")} '{limit.Who}' in queue {limit.Queue.Path}", limit.Active, most);
                return false;
            }
        }
        return true;
    }

    private static void CountActive(Application application, int by)
    {
        for (var queue = application.Queue; queue is not null; queue = queue.Parent)
        {
            queue.ActiveApplications += by;
        }
        foreach (var limit in application.Limits)
        {
            limit.Active += by;
        }
    }

    private void ActivateWaiting()
    {
        foreach (var application in _state.Applications)
        {
            Activate(application, admit: true);
        }
    }

    // Proof of life of a driver. Null when there is nothing more to do: it is unknown, or over, and was told so.
    private Application? Hear(ApplicationId id)
    {
        if (!_state.ApplicationsById.TryGetValue(id, out var application))
        {
            _effects.Add(new SendToApplication(id, new ResyncApplication(_state.Epoch)));
            return null;
        }
        if (application.IsOver)
        {
            TellOver(application);
            return null;
        }
        application.HeardAt = _state.Now;
        return application;
    }

    private void OnApplicationBeat(ApplicationHeartbeat message)
    {
        if (Hear(message.ApplicationId) is not { } application)
        {
            return;
        }
        if (message.Sequence <= application.BeatSequence)
        {
            return;
        }
        application.BeatSequence = message.Sequence;
        if (message.Progress is not null && message.Progress != application.Progress)
        {
            application.Progress = message.Progress with { Activity = Cut(message.Progress.Activity, 256) };
            application.Snapshot = null;
            _state.Version++;
        }
    }

    // A driver that goes on after its end (it was silent for too long, or an operator killed it) must hear of it.
    private void TellOver(Application application)
    {
        if (application.State != ApplicationState.Succeeded)
        {
            Send(application, new KillApplication(_state.Epoch, application.Diagnostics));
        }
    }

    private void OnAsksUpdated(UpdateAsks message)
    {
        if (Hear(message.ApplicationId) is not { } application)
        {
            return;
        }
        if (message.Sequence <= application.AskSequence)
        {
            return;
        }
        application.AskSequence = message.Sequence;
        Exclude(application, message.ExcludedNodes);
        Release(application, message.Release);
        UpdateAsks(application, message.Asks.IsDefault ? [] : message.Asks);
        if (message.Held is { IsDefault: false } held)
        {
            CompareHeld(application, held);
        }
        TellDraining(application, again: true);
    }

    /// <summary>Which of an application's nodes drain: when it is not what was told last, or, for a message may be lost, again while there are any.</summary>
    private void TellDraining(Application application, bool again)
    {
        SortedSet<NodeId>? nodes = null;
        foreach (var container in application.Containers)
        {
            if (container.Node.Draining)
            {
                (nodes ??= []).Add(container.Node.Id);
            }
        }
        if (nodes is null ? application.ToldDraining.Length > 0 : again || !nodes.SetEquals(application.ToldDraining))
        {
            application.ToldDraining = nodes is null ? [] : [.. nodes];
            Send(application, new NodesDraining(_state.Epoch, application.ToldDraining));
        }
    }

    private void TellDraining(Node node)
    {
        foreach (var container in node.Containers)
        {
            if (container.Application is { } application)
            {
                TellDraining(application, again: false);
            }
        }
    }

    private void Exclude(Application application, ImmutableArray<NodeId> nodes)
    {
        var count = nodes.IsDefault ? 0 : nodes.Length;
        var same = count == application.Excluded.Count;
        for (var i = 0; i < count && same; i++)
        {
            same = application.Excluded.Contains(nodes[i]);
        }
        if (same)
        {
            return;
        }
        application.Excluded = count == 0 ? [] : [.. nodes];
        _state.PlacementVersion++;
        foreach (var ask in application.AskList)
        {
            if (ask.Message is { } wish)
            {
                Describe(ask, wish);
            }
        }
    }

    private void Release(Application application, ImmutableArray<ContainerId> containers)
    {
        if (containers.IsDefaultOrEmpty)
        {
            return;
        }
        foreach (var id in containers)
        {
            if (_state.Containers.TryGetValue(id, out var container))
            {
                if (ReferenceEquals(container.Application, application) && !container.IsStopping)
                {
                    Stop(container, ContainerExitCause.Released, "The driver released it.");
                }
            }
            else
            {
                // The driver repeats a release until it hears of the end: the message that said so was lost.
                TellEnded(application, id, 0, UnknownNode);
            }
        }
    }

    private void TellEnded(Application application, ContainerId id, long askId, NodeId nodeId)
    {
        if (id.Epoch > _state.Epoch || (id.Epoch == _state.Epoch && id.Sequence > _state.LastContainer) || (id.Epoch < _state.Epoch && _state.IsSettling))
        {
            return;
        }
        foreach (var info in application.Ended)
        {
            if (info.Id == id)
            {
                _completed.Add((application, new ContainerCompletion(id, info.AskId, info.NodeId, info.Exit!)
                {
                    NodeLost = info.Exit!.Cause == ContainerExitCause.NodeLost,
                }));
                return;
            }
        }
        var lost = nodeId != UnknownNode && (!_state.NodesById.TryGetValue(nodeId, out var node) || node.Presence == NodePresence.Lost);
        if (id.Epoch < _state.Epoch)
        {
            _state.EndedEarlier.Add(id);
        }
        _completed.Add((application, new ContainerCompletion(id, askId, nodeId, new ContainerExit(
            lost ? ContainerExitCause.NodeLost : ContainerExitCause.Unknown, -1,
            lost ? $"Node {nodeId} was lost." : "The resource manager does not count this container as live: its end was not recorded."))
        {
            NodeLost = lost,
        }));
    }

    private void CompareHeld(Application application, ImmutableArray<HeldContainer> held)
    {
        _stamp++;
        foreach (var claim in held)
        {
            if (_state.Containers.TryGetValue(claim.ContainerId, out var container) && ReferenceEquals(container.Application, application))
            {
                container.HeldStamp = _stamp;
            }
            else
            {
                TellEnded(application, claim.ContainerId, claim.AskId, claim.NodeId);
            }
        }
        var missing = ImmutableArray.CreateBuilder<ContainerGrant>();
        foreach (var container in application.Containers)
        {
            if (container.HeldStamp == _stamp || container.IsStopping)
            {
                container.Unheld = 0;
            }
            else if (container.Unheld == UnheldLimit)
            {
                // Such as one that was told as lost with its node before a restart and came back with it: the driver counts it as ended for good.
                Stop(container, ContainerExitCause.Released, "The driver was told of it again and again and does not hold it.");
            }
            else if (_state.Now - container.GrantedAt >= _state.Settings.LaunchRepeat.Ticks)
            {
                // A grant of the last seconds may still be on its way.
                container.Unheld++;
                missing.Add(GrantOf(container));
            }
        }
        if (missing.Count > 0)
        {
            Send(application, new ContainersGranted(_state.Epoch, missing.ToImmutable()));
        }
    }

    private void UpdateAsks(Application application, ImmutableArray<Ask> asks)
    {
        _stamp++;
        var looked = Math.Min(asks.Length, _state.Settings.AsksPerApplication);
        application.Ignored = looked < asks.Length ? (asks[looked].AskId, asks.Length - looked) : default;
        for (var i = 0; i < looked; i++)
        {
            var entry = AskOf(application, asks[i].AskId);
            entry.Stamp = _stamp;
            Update(entry, asks[i]);
        }
        for (var i = application.AskList.Count - 1; i >= 0; i--)
        {
            var entry = application.AskList[i];
            if (entry.Stamp != _stamp && entry.Message is not null)
            {
                Withdraw(entry);
            }
        }
    }

    // The entry of an ask, made now if it is new. The list stays in the order of ids.
    private static AskEntry AskOf(Application application, long askId)
    {
        if (application.Asks.TryGetValue(askId, out var entry))
        {
            return entry;
        }
        entry = new AskEntry(application, askId);
        application.Asks.Add(askId, entry);
        var list = application.AskList;
        var place = list.Count;
        while (place > 0 && list[place - 1].AskId > askId)
        {
            place--;
        }
        list.Insert(place, entry);
        return entry;
    }

    private void Update(AskEntry ask, Ask wish)
    {
        if (ReferenceEquals(wish, ask.Message))
        {
            return;
        }
        if (ask.Message is { } before && SameWish(before, wish))
        {
            ask.Message = wish;
        }
        else
        {
            Describe(ask, wish);
        }
        var desired = Math.Clamp(wish.Desired, 0, 1_000_000);
        if (desired == ask.Desired)
        {
            return;
        }
        var wasWaiting = ask.Outstanding > 0;
        ask.Desired = desired;
        ask.Application.Snapshot = null;
        _state.Version++;
        if (ask.Outstanding > 0 && (!wasWaiting || ask.GangExpired || ask.IsGang))
        {
            StartWaiting(ask);
        }
        if (ask.IsGang && ask.Asleep is not WaitingKind.InTurn and not WaitingKind.Invalid)
        {
            _placing.Awaken(ask);
        }
        if (ask.Outstanding == 0)
        {
            _placing.Unreserve(ask);
        }
        _placing.Requeue(ask);
    }

    private void StartWaiting(AskEntry ask)
    {
        ask.WaitingSince = _state.Now;
        ask.GangExpired = false;
        ask.LocalityLevel = ask.Class.PreferredNodes is not null ? 0 : ask.Class.PreferredRacks is not null ? 1 : 2;
        if (ask.IsGang && ask.Message!.GangSeconds is { } seconds)
        {
            ask.GangDeadline = _state.Now + (long)(Math.Clamp(seconds, 0, 86_400) * TimeSpan.TicksPerSecond);
            _placing.SetAlarm(ask, ask.GangDeadline);
        }
    }

    private static bool SameWish(Ask left, Ask right) =>
        left.Priority == right.Priority
        && left.Resources.Equals(right.Resources)
        && left.IsDriver == right.IsDriver
        && left.RelaxLocality == right.RelaxLocality
        && left.Partition == right.Partition
        && Nullable.Equals(left.GangSeconds, right.GangSeconds)
        && Same(left.PreferredNodes, right.PreferredNodes)
        && Same(left.PreferredRacks, right.PreferredRacks)
        && Same(left.Tags, right.Tags)
        && Same(left.Constraints, right.Constraints);

    private static bool Same<T>(ImmutableArray<T> left, ImmutableArray<T> right)
        where T : IEquatable<T> =>
        (left.IsDefaultOrEmpty && right.IsDefaultOrEmpty) || (!left.IsDefault && !right.IsDefault && left.AsSpan().SequenceEqual(right.AsSpan()));

    // Takes over what an ask wishes, apart from how many. It leaves every heap and list first: its rank and its class may change.
    private void Describe(AskEntry ask, Ask wish, bool keepWaiting = false)
    {
        Unplace(ask);
        ask.Message = wish;
        ask.Application.Snapshot = null;
        ask.InvalidReason = "";
        _state.Version++;
        var before = _state.Types.Count;
        var known = _state.Types.TryPack(wish.Resources, out var vector);
        _state.WidenFrom(before);
        var named = _state.PartitionOf(wish.Partition ?? "");
        var partition = named ?? _state.Partitions[0];
        ask.Share = Placing.ShareOf(ask.Application, partition);
        var shape = new Shape(vector, wish.Resources);
        ask.Tags = Tags(ask.Application, wish);
        ask.Class = ClassOf(ask, wish, partition, shape);
        ask.Shape = ask.Class.Shape;
        if (!known)
        {
            ask.InvalidReason = $"{wish.Resources} is not an amount this cluster can count: amounts are 0 to {ResourceTypes.Largest}, of at most {ResourceVector.Width} kinds of resources";
        }
        else if (vector.SameAs(default))
        {
            ask.InvalidReason = "it asks for no resources at all; ask for some memory and cores";
        }
        else if (named is null)
        {
            ask.InvalidReason = $"the cluster already has {ClusterState.MostPartitions} partitions, the most it takes; name one that has nodes";
        }
        else if (wish.Launch is null)
        {
            ask.InvalidReason = "it says nothing to launch; give it a command";
        }
        if (ask.InvalidReason.Length > 0)
        {
            _placing.SleepUntil(ask, WaitingKind.Invalid, long.MaxValue);
        }
        else
        {
            CheckContainerMaximum(ask);
        }
        if (ask.Outstanding > 0 && !keepWaiting)
        {
            StartWaiting(ask);
        }
        else if (ask.GangExpired)
        {
            _placing.SleepUntil(ask, WaitingKind.GangDeadline, long.MaxValue);
        }
        else if (ask.IsGang && ask.Outstanding > 0)
        {
            _placing.SetAlarm(ask, ask.GangDeadline);
        }
        if (_state.Now < ask.PausedUntil && ask.Asleep == WaitingKind.InTurn)
        {
            _placing.SleepUntil(ask, WaitingKind.FailurePause, ask.PausedUntil);
        }
        _placing.Requeue(ask);
    }

    private void CheckContainerMaximum(AskEntry ask)
    {
        for (var queue = ask.Application.Queue; queue is not null; queue = queue.Parent)
        {
            if (queue.Configuration.MaximumContainer is { } most && _state.Types.TryPack(most, out var limit))
            {
                for (var i = 0; i < _state.Types.Count; i++)
                {
                    if (limit[i] > 0 && ask.Shape.Vector[i] > limit[i])
                    {
                        _placing.SleepUntil(ask, WaitingKind.ContainerMaximum, long.MaxValue);
                        return;
                    }
                }
            }
        }
    }

    private void Unplace(AskEntry ask)
    {
        if (ask.Class is null)
        {
            return;
        }
        _placing.Unreserve(ask);
        ask.WakeAt = long.MaxValue;
        ask.SleepsIn?.Remove(ask);
        var desired = ask.Desired;
        ask.Desired = 0;
        _placing.Requeue(ask);
        ask.Desired = desired;
        ask.Asleep = WaitingKind.InTurn;
        if (ask.Class.Single is not null)
        {
            _placing.Unblock(ask.Class);
            foreach (var constraint in ask.Class.Constraints)
            {
                constraint.Tag?.Watchers.Remove(ask.Class);
            }
        }
    }

    private PlacementClass ClassOf(AskEntry ask, Ask wish, Partition partition, Shape shape)
    {
        var hasConstraints = !wish.Constraints.IsDefaultOrEmpty;
        var prefersNodes = !wish.PreferredNodes.IsDefaultOrEmpty;
        var prefersRacks = !wish.PreferredRacks.IsDefaultOrEmpty;
        if (!hasConstraints && !prefersNodes && !prefersRacks && wish.GangSeconds is null && ask.Application.Excluded.Count == 0)
        {
            if (!partition.Classes.TryGetValue(wish.Resources, out var shared))
            {
                shared = new PlacementClass(partition, shape);
                partition.Classes.Add(wish.Resources, shared);
            }
            return shared;
        }
        var constraints = hasConstraints ? Bind(ask.Application, wish.Constraints) : [];
        var soft = false;
        foreach (var constraint in constraints)
        {
            soft |= !constraint.Rule.Hard;
        }
        var single = new PlacementClass(partition, shape)
        {
            Single = ask,
            Constraints = constraints,
            HasSoft = soft,
            PreferredNodes = prefersNodes ? [.. wish.PreferredNodes] : null,
            PreferredRacks = prefersRacks ? [.. wish.PreferredRacks] : null,
        };
        foreach (var constraint in constraints)
        {
            if (constraint.Tag is { } tag && !tag.Watchers.Contains(single))
            {
                tag.Watchers.Add(single);
            }
        }
        return single;
    }

    private BoundConstraint[] Bind(Application application, ImmutableArray<PlacementConstraint> rules)
    {
        var bound = new List<BoundConstraint>();
        foreach (var rule in rules)
        {
            if (bound.Count == 16)
            {
                break;
            }
            if (rule.Kind != PlacementKind.Attribute)
            {
                bound.Add(new BoundConstraint(rule, TagOf(application, rule.Target ?? ""), "", "", false));
                continue;
            }
            var text = rule.Target ?? "";
            var at = text.IndexOf('=', StringComparison.Ordinal);
            var negated = at > 0 && text[at - 1] == '!';
            var key = at < 0 ? text : text[..(negated ? at - 1 : at)];
            bound.Add(new BoundConstraint(rule, null, key, at < 0 ? "" : text[(at + 1)..], negated));
        }
        return [.. bound];
    }

    // 'tag' is counted in the application, '*/tag' over all of them.
    private TagCounts TagOf(Application application, string name)
    {
        var scope = name.StartsWith("*/", StringComparison.Ordinal) ? _state.Tags : application.Tags;
        if (!scope.TryGetValue(name, out var counts))
        {
            counts = new TagCounts(name);
            scope.Add(name, counts);
        }
        return counts;
    }

    private TagCounts[] Tags(Application application, Ask wish)
    {
        if (wish.Tags.IsDefaultOrEmpty)
        {
            return [];
        }
        var tags = new List<TagCounts>();
        foreach (var tag in wish.Tags)
        {
            if (tags.Count < 32)
            {
                tags.Add(TagOf(application, tag));
                tags.Add(TagOf(application, "*/" + tag));
            }
        }
        return [.. tags];
    }

    private void Withdraw(AskEntry ask)
    {
        Unplace(ask);
        ask.Desired = 0;
        ask.Message = null;
        ask.Application.Snapshot = null;
        _state.Version++;
        Forget(ask);
    }

    // An ask that is withdrawn is kept while containers answer it.
    private static void Forget(AskEntry ask)
    {
        if (ask.Message is not null || ask.Live > 0)
        {
            return;
        }
        foreach (var container in ask.Application.Containers)
        {
            if (ReferenceEquals(container.Ask, ask))
            {
                return;
            }
        }
        ask.Application.Asks.Remove(ask.AskId);
        ask.Application.AskList.Remove(ask);
    }

    private void OnApplicationFinished(FinishApplication message)
    {
        if (!_state.ApplicationsById.TryGetValue(message.ApplicationId, out var application) || application.IsOver)
        {
            return;
        }
        application.Progress = message.Progress ?? application.Progress;
        EndApplication(application, message.Succeeded ? ApplicationState.Succeeded : ApplicationState.Failed, Cut(message.Diagnostics, 4096));
    }

    private void OnApplicationKilled(ApplicationKilled e)
    {
        if (!_state.ApplicationsById.TryGetValue(e.ApplicationId, out var application) || application.IsOver)
        {
            return;
        }
        EndApplication(application, ApplicationState.Killed, Cut(e.Reason, 4096));
        Send(application, new KillApplication(_state.Epoch, application.Diagnostics));
    }

    private void EndApplication(Application application, ApplicationState state, string diagnostics)
    {
        Journal(new ApplicationOver(application.Id, state, diagnostics, application.Progress, Now));
        foreach (var ask in application.AskList)
        {
            Unplace(ask);
            ask.Desired = 0;
            ask.Message = null;
        }
        if (application.Active)
        {
            application.Active = false;
            CountActive(application, -1);
        }
        for (var queue = application.Queue; queue is not null; queue = queue.Parent)
        {
            queue.Applications--;
        }
        application.State = state;
        application.Diagnostics = diagnostics;
        application.FinishedAt = _state.Now;
        application.Snapshot = null;
        application.Told.Clear();
        _state.Applications.Remove(application);
        Remember(application);
        foreach (var container in application.Containers)
        {
            if (!container.IsStopping && _state.Settings.Planted != PlantedBug.ForgottenStop)
            {
                Stop(container, ContainerExitCause.ApplicationEnded, "Its application is over.");
            }
        }
        Clean(application);
        _effects.Add(new ApplicationClosed(application.Id));
        _state.Sweep();
        _state.Version++;
        ActivateWaiting();
    }

    private void Clean(Application application)
    {
        foreach (var node in _state.Nodes)
        {
            if (node is not null && node.Presence != NodePresence.Lost && (application.IsRestored || application.HasTouched(node)))
            {
                Send(node, new CleanApplication(_state.Epoch, application.Id));
            }
        }
        application.Touched = [];
    }

    private void Remember(Application application)
    {
        _state.EndedApplications.Enqueue(application);
        while (_state.EndedApplications.Count > _state.Settings.EndedApplications)
        {
            _state.ApplicationsById.Remove(_state.EndedApplications.Dequeue().Id);
        }
    }

    private void OnApplicationMoved(ApplicationMoved e)
    {
        if (!_state.ApplicationsById.TryGetValue(e.ApplicationId, out var application) || application.IsOver)
        {
            return;
        }
        var registration = application.Registration;
        if (e.Priority is { } priority)
        {
            registration = registration with { Priority = priority };
        }
        var target = application.Queue;
        if (e.Queue is { } name && _state.QueuesByPath.TryGetValue(name.Value, out var queue) && queue.IsLeaf && queue.State == QueueState.Running)
        {
            target = queue;
        }
        Journal(new ApplicationAccepted(registration, new QueueName(target.Path), At(application.StartedAt)));
        application.Registration = registration;
        application.Priority = registration.Priority;
        var places = _state.Applications.ConvertAll(a => ReferenceEquals(a, application) ? target : a.Queue);
        MoveAll(places);
    }
}
