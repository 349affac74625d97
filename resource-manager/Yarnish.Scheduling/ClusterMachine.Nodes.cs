using System.Collections.Immutable;
using Yarnish.Protocol;

namespace Yarnish.Scheduling;

// What agents say, and what becomes of their containers.
public sealed partial class ClusterMachine
{
    // An id further ahead than this is no honest one.
    private const long MostSkippedIds = 1L << 40;

    private void OnNodeRegistering(RegisterNode message)
    {
        if (Refusal(message) is { } refusal)
        {
            _effects.Add(new SendToNode(message.NodeId, new NodeRefused(_state.Epoch, refusal)));
            return;
        }
        var isNew = !_state.NodesById.TryGetValue(message.NodeId, out var node);
        if (isNew)
        {
            node = new Node(message.NodeId, _state.Nodes.Count, _state.Partitions[0]) { IgnoresDrain = _state.Settings.Planted == PlantedBug.GrantOnDraining };
            _state.Nodes.Add(node);
            _state.NodesById.Add(node.Id, node);
            Journal(new NodeKnown(node.Id));
        }
        else if (node!.Registration is not null && message.Incarnation < node.Incarnation)
        {
            return;
        }
        var recovered = false;
        if (message.Incarnation > node.Incarnation || node.Presence == NodePresence.Lost)
        {
            node.Sequence = 0;
            recovered = !node.Healthy;
            node.Healthy = true;
        }
        node.Incarnation = message.Incarnation;
        Describe(node, message);
        node.HeardAt = _state.Now;
        SetPresence(node, NodePresence.Heard);
        if (recovered)
        {
            node.Reason = node.Draining ? node.Reason : "";
            Refresh(node);
        }
        Send(node, new NodeRegistered(_state.Epoch, _state.Settings.NodeHeartbeat.TotalSeconds));
        Reconcile(node, message.Containers);
        CleanForgotten(node, message.Applications);
        EndSettlingWhenAllAreBack();
        _state.Version++;
    }

    private string? Refusal(RegisterNode message)
    {
        if (!ResourceTypes.InRange(message.Capacity) || message.Capacity.MemoryBytes <= 0 || message.Capacity.MilliCores <= 0)
        {
            return $"Node {message.NodeId} offers {message.Capacity}: memory and cores must be more than nothing and at most {ResourceTypes.Largest}. Check its settings.";
        }
        if (!_state.NodesById.ContainsKey(message.NodeId) && _state.NodesById.Count >= _state.Settings.Nodes)
        {
            return $"The cluster has {_state.NodesById.Count} nodes, the most it takes: remove some or raise the bound.";
        }
        if (_state.PartitionOf(message.Partition ?? "") is null)
        {
            return $"Node {message.NodeId} is of partition '{Cut(message.Partition, 32)}': the cluster already has {ClusterState.MostPartitions} partitions, the most it takes.";
        }
        var before = _state.Types.Count;
        var known = _state.Types.TryPack(message.Capacity, out _);
        _state.WidenFrom(before);
        return known ? null : $"Node {message.NodeId} offers {message.Capacity}: the cluster already has {ResourceVector.Width} kinds of resources, the most it takes.";
    }

    // Takes over what a node is. If its place or size changed, its containers are charged anew there.
    private void Describe(Node node, RegisterNode message)
    {
        _state.Types.TryPack(message.Capacity, out var capacity);
        var partition = _state.PartitionOf(message.Partition ?? "")!;
        var same = node.Registration is not null && node.IndexPlace >= 0 && capacity.SameAs(node.Capacity) && ReferenceEquals(partition, node.Partition)
            && message.Rack == node.Rack && SameAttributes(message.Attributes, node.Registration.Attributes);
        node.Info = null;
        if (same)
        {
            node.Registration = message with { Containers = [] };
            return;
        }
        var containers = node.Containers.ToArray();
        foreach (var container in containers)
        {
            _placing.Detach(container);
        }
        if (node.ReservedFor is { } ask)
        {
            _placing.Unreserve(ask);
        }
        if (node.Presence != NodePresence.Lost)
        {
            node.Partition.Total.Subtract(node.Capacity, _state.Types.Count);
            partition.Total.Add(capacity, _state.Types.Count);
            node.Partition.SharesStale = partition.SharesStale = true;
        }
        if (node.IndexPlace >= 0 && !ReferenceEquals(partition, node.Partition))
        {
            node.Partition.Index.Remove(node);
        }
        node.Registration = message with { Containers = [] };
        node.Partition = partition;
        node.Capacity = capacity;
        node.Rack = message.Rack ?? "";
        if (node.IndexPlace < 0)
        {
            partition.Index.Add(node, _state.Types.Count);
        }
        else
        {
            partition.Index.Update(node);
        }
        foreach (var container in containers)
        {
            _placing.Attach(container);
        }
        CheckOvercommitted(node);
        ChangeNodes();
    }

    private void CheckOvercommitted(Node node)
    {
        node.Overcommitted = false;
        for (var i = 0; i < _state.Types.Count; i++)
        {
            node.Overcommitted |= node.Allocated[i] > node.Capacity[i];
        }
    }

    private static bool SameAttributes(ImmutableSortedDictionary<string, string> left, ImmutableSortedDictionary<string, string> right)
    {
        if (left.Count != right.Count)
        {
            return false;
        }
        foreach (var (key, value) in left)
        {
            if (!right.TryGetValue(key, out var other) || other != value)
            {
                return false;
            }
        }
        return true;
    }

    // Which nodes there are or take containers changed: everything that waits for a node is looked at again.
    private void ChangeNodes()
    {
        _state.NodesVersion++;
        _state.PlacementVersion++;
        _state.Version++;
        _placing.UnblockAll();
    }

    private void SetPresence(Node node, NodePresence presence)
    {
        if (node.Presence == presence)
        {
            return;
        }
        if (node.Presence == NodePresence.Lost)
        {
            node.Partition.Total.Add(node.Capacity, _state.Types.Count);
            node.Partition.SharesStale = true;
            node.Reason = node.Draining ? node.Reason : "";
        }
        else if (presence == NodePresence.Lost)
        {
            node.Partition.Total.Subtract(node.Capacity, _state.Types.Count);
            node.Partition.SharesStale = true;
        }
        node.Presence = presence;
        Refresh(node);
    }

    // Something that decides whether a node takes containers changed.
    private void Refresh(Node node)
    {
        node.Info = null;
        Placing.Reindex(node);
        ChangeNodes();
    }

    private void OnNodeBeat(NodeHeartbeat message)
    {
        if (!_state.NodesById.TryGetValue(message.NodeId, out var node) || node.Registration is null || node.Presence == NodePresence.Lost)
        {
            _effects.Add(new SendToNode(message.NodeId, new ResyncNode(_state.Epoch)));
            return;
        }
        if (message.Incarnation != node.Incarnation)
        {
            if (message.Incarnation > node.Incarnation)
            {
                Send(node, new ResyncNode(_state.Epoch));
            }
            return;
        }
        if (message.Sequence <= node.Sequence)
        {
            return;
        }
        node.Sequence = message.Sequence;
        node.HeardAt = _state.Now;
        if (node.Presence == NodePresence.Silent)
        {
            SetPresence(node, NodePresence.Heard);
        }
        if (node.Healthy != message.Healthy)
        {
            node.Healthy = message.Healthy;
            node.Reason = message.Healthy ? "" : Cut(message.HealthReason, 512);
            Refresh(node);
        }
        Reconcile(node, message.Containers);
        FindMissing(node);
        CleanForgotten(node, message.Applications);
    }

    // Applications that ended while the node was away, or whose message was lost: it still holds their directories. While drivers come back, one that is not known may yet be.
    private void CleanForgotten(Node node, ImmutableArray<ApplicationId>? held)
    {
        if (held is not { IsDefault: false } applications || _state.Settings.Planted == PlantedBug.ForgottenStop)
        {
            return;
        }
        foreach (var id in applications)
        {
            if (id.Value is not null && (_state.ApplicationsById.TryGetValue(id, out var application) ? application.IsOver : !_state.IsSettling))
            {
                Send(node, new CleanApplication(_state.Epoch, id));
            }
        }
    }

    // Compares what an agent says it has with what it should have.
    private void Reconcile(Node node, ImmutableArray<ContainerReport> reports)
    {
        _stamp++;
        if (reports.IsDefaultOrEmpty)
        {
            return;
        }
        foreach (var report in reports)
        {
            if (report.State == ContainerState.Exited || report.Exit is not null)
            {
                End(node, report);
            }
            else if (_state.Containers.TryGetValue(report.ContainerId, out var container))
            {
                Confirm(node, container, report.State);
            }
            else
            {
                Meet(node, report);
            }
        }
    }

    // An id of this epoch that this life never gave: the journal was lost and an epoch came twice. It is not given a second time. False when it is too far off to be true.
    private bool Skip(ContainerId id)
    {
        if (id.Epoch != _state.Epoch || id.Sequence <= _state.LastContainer)
        {
            return true;
        }
        if (id.Sequence - _state.LastContainer > MostSkippedIds)
        {
            return false;
        }
        _state.LastContainer = id.Sequence;
        return true;
    }

    private void End(Node node, ContainerReport report)
    {
        Skip(report.ContainerId);
        var exit = report.Exit ?? new ContainerExit(ContainerExitCause.Unknown, -1, "The agent reported no exit.");
        _acknowledged.Add((node, report.ContainerId));
        if (_state.Containers.TryGetValue(report.ContainerId, out var container))
        {
            if (ReferenceEquals(container.Node, node) && _state.Settings.Planted != PlantedBug.UnrecordedExit)
            {
                Complete(container, exit, nodeLost: false);
            }
            return;
        }
        // A container of an earlier life that ended while nobody listened: its driver has not been told.
        if (report.ContainerId.Epoch < _state.Epoch && _state.EndedEarlier.Add(report.ContainerId)
            && _state.ApplicationsById.TryGetValue(report.ApplicationId, out var application) && !application.IsOver)
        {
            _completed.Add((application, new ContainerCompletion(report.ContainerId, report.AskId, node.Id, exit)));
        }
    }

    private void Confirm(Node node, Container container, ContainerState state)
    {
        if (!ReferenceEquals(container.Node, node))
        {
            // Two nodes claim it: the one it was granted on is right.
            Send(node, new StopContainer(_state.Epoch, container.Id, ContainerExitCause.Unknown, _state.Settings.StopGrace.TotalSeconds, $"This container was granted on node {container.Node.Id}."));
            return;
        }
        container.SeenStamp = _stamp;
        container.Confirmed = true;
        container.Missing = 0;
        if (container.IsStopping)
        {
            if (_state.Now - container.Order!.ToldAt >= _state.Settings.LaunchRepeat.Ticks)
            {
                SendStop(container);
            }
        }
        else if (state > container.State && state < ContainerState.Stopping)
        {
            container.State = state;
            Changed(container);
        }
        else if (container.Application is null && !_state.IsSettling)
        {
            Stop(container, ContainerExitCause.ApplicationEnded, "Its application is not known to the resource manager.");
        }
    }

    private void Changed(Container container)
    {
        _state.Version++;
        if (container.Application is { } application)
        {
            application.Snapshot = null;
        }
    }

    // A container that runs and is not in the books: adopted when it may be one of an earlier life, else told to stop. Either way it takes room.
    private void Meet(Node node, ContainerReport report)
    {
        var id = report.ContainerId;
        if (id.Epoch > _state.Epoch || !_state.Types.TryPack(report.Resources, out var vector))
        {
            return;
        }
        if (!Skip(id))
        {
            return;
        }
        _state.ApplicationsById.TryGetValue(report.ApplicationId, out var application);
        var mayLive = (id.Epoch < _state.Epoch && !_state.EndedEarlier.Contains(id)) || _state.Settings.Planted == PlantedBug.AdoptedTwice;
        var adopt = mayLive && application is { IsOver: false };
        var shape = new Shape(vector, report.Resources);
        var ask = adopt ? AskOf(application!, report.AskId) : null;
        var container = new Container(id, ask, node, shape, _state.Now)
        {
            State = report.State == ContainerState.Stopping ? ContainerState.Running : report.State,
            Confirmed = true,
            SeenStamp = _stamp,
            IsDriver = ask?.Message?.IsDriver ?? false,
            Tags = ask?.Tags ?? [],
            Devices = report.Devices,
        };
        _state.Containers.Add(container);
        _state.Version++;
        if (adopt)
        {
            application!.Touch(node);
            application.State = ApplicationState.Running;
            Activate(application);
            _placing.Attach(container);
            CheckOvercommitted(node);
            Send(application, new ContainersGranted(_state.Epoch, [GrantOf(container)]));
            if (report.State == ContainerState.Stopping)
            {
                Stop(container, ContainerExitCause.Unknown, "It was being stopped when the resource manager restarted.");
            }
            return;
        }
        _placing.Attach(container);
        CheckOvercommitted(node);
        if (!mayLive || application is not null || !_state.IsSettling)
        {
            Stop(container, mayLive ? ContainerExitCause.ApplicationEnded : ContainerExitCause.NodeLost, mayLive
                ? "Its application is over or not known to the resource manager."
                : "The resource manager already counts this container as ended.");
        }
    }

    // A heartbeat is complete: what it does not show is not there, unless the launch is still on its way.
    private void FindMissing(Node node)
    {
        for (var i = node.Containers.Count - 1; i >= 0; i--)
        {
            var container = node.Containers[i];
            if (container.SeenStamp == _stamp)
            {
                continue;
            }
            if (container.Confirmed || (container.IsStopping && _state.Now - container.Order!.ToldAt >= _state.Settings.LaunchRepeat.Ticks))
            {
                // One heartbeat may be older than the start it does not show; two in a row cannot.
                if (++container.Missing >= 2)
                {
                    Complete(container, container.IsStopping
                        ? new ContainerExit(container.Order!.Cause, -1, container.Order!.Reason)
                        : new ContainerExit(ContainerExitCause.Unknown, -1, $"Node {node.Id} does not know this container any more."), nodeLost: false);
                }
            }
            else if (!container.IsStopping && _state.Now - container.LaunchedAt >= _state.Settings.LaunchRepeat.Ticks && container.Ask?.Message is not null)
            {
                Launch(container);
            }
        }
    }

    private void OnContainerBegan(ContainerStarted message)
    {
        if (FindReported(message.NodeId, message.Incarnation, message.ContainerId) is not { } container)
        {
            return;
        }
        container.Confirmed = true;
        container.Missing = 0;
        if (container.State < ContainerState.Running)
        {
            container.State = ContainerState.Running;
            Changed(container);
        }
    }

    private void OnContainerEnded(ContainerExited message)
    {
        if (!_state.NodesById.TryGetValue(message.NodeId, out var node) || node.Incarnation != message.Incarnation || node.Presence == NodePresence.Lost)
        {
            return;
        }
        if (_state.Containers.TryGetValue(message.ContainerId, out var container))
        {
            if (!ReferenceEquals(container.Node, node))
            {
                return;
            }
            Complete(container, message.Exit, nodeLost: false);
        }
        else if (message.ContainerId.Epoch != _state.Epoch && !_state.EndedEarlier.Contains(message.ContainerId))
        {
            // Not in the books: the next heartbeat tells whose it was.
            return;
        }
        _acknowledged.Add((node, message.ContainerId));
    }

    private Container? FindReported(NodeId nodeId, long incarnation, ContainerId containerId) =>
        _state.Containers.TryGetValue(containerId, out var container) && container.Node.Id == nodeId && container.Node.Incarnation == incarnation ? container : null;

    // The end of a container: taken off the books once, told to its driver, remembered for readers.
    private void Complete(Container container, ContainerExit exit, bool nodeLost)
    {
        _state.Version++;
        _state.Containers.Remove(container.Id);
        if (container.Id.Epoch < _state.Epoch)
        {
            _state.EndedEarlier.Add(container.Id);
        }
        var wasStopping = container.IsStopping;
        exit = exit with { Diagnostics = Cut(exit.Diagnostics, 4096) };
        _placing.Detach(container);
        if (container.Node.Overcommitted)
        {
            CheckOvercommitted(container.Node);
        }
        container.State = ContainerState.Exited;
        if (container.Application is not { } application)
        {
            return;
        }
        if (application.Ended.Count >= _state.Settings.EndedContainersPerApplication)
        {
            application.Ended.Dequeue();
        }
        application.Ended.Enqueue(Describe(container, exit));
        if (application.IsOver)
        {
            return;
        }
        if (!nodeLost || _state.Settings.Planted != PlantedBug.LostCompletion)
        {
            _completed.Add((application, new ContainerCompletion(container.Id, container.AskId, container.Node.Id, exit) { NodeLost = nodeLost }));
        }
        if (container.Ask is { } ask)
        {
            if (!wasStopping && !nodeLost)
            {
                CountFailure(ask, container, exit.Cause);
            }
            Forget(ask);
        }
    }

    // Containers that end badly within seconds would be replaced in a tight loop: the ask pauses, longer each time.
    private void CountFailure(AskEntry ask, Container container, ContainerExitCause cause)
    {
        if (cause is ContainerExitCause.Completed || _state.Now - container.GrantedAt >= TimeSpan.TicksPerSecond * 10)
        {
            ask.Failures = 0;
            return;
        }
        ask.Failures = Math.Min(ask.Failures + 1, 30);
        if (ask.Failures < 3)
        {
            return;
        }
        var pause = Math.Min(_state.Settings.FailurePauseLimit.Ticks, _state.Settings.FailurePause.Ticks << Math.Min(ask.Failures - 3, 20));
        ask.PausedUntil = _state.Now + pause;
        if (ask.Message is not null)
        {
            _placing.SleepUntil(ask, WaitingKind.FailurePause, ask.PausedUntil);
        }
    }

    private void Stop(Container container, ContainerExitCause cause, string reason)
    {
        if (!container.IsStopping)
        {
            container.Order = new StopOrder(cause, reason);
            _placing.MarkStopping(container);
            _state.Version++;
        }
        SendStop(container);
    }

    private void SendStop(Container container)
    {
        container.Order!.ToldAt = _state.Now;
        Send(container.Node, new StopContainer(_state.Epoch, container.Id, container.Order!.Cause, _state.Settings.StopGrace.TotalSeconds, container.Order!.Reason));
    }

    private void LoseNode(Node node)
    {
        node.Reason = $"No heartbeat for {(_state.Now - node.HeardAt) / TimeSpan.TicksPerSecond} s.";
        SetPresence(node, NodePresence.Lost);
        if (node.ReservedFor is { } ask)
        {
            _placing.Unreserve(ask);
        }
        while (node.Containers.Count > 0)
        {
            Complete(node.Containers[^1], new ContainerExit(ContainerExitCause.NodeLost, -1, $"Node {node.Id} was lost: {node.Reason}"), nodeLost: true);
        }
    }

    private void ForgetNode(Node node)
    {
        if (node.IndexPlace >= 0)
        {
            node.Partition.Index.Remove(node);
        }
        _state.NodesById.Remove(node.Id);
        _state.Nodes[node.Number] = null;
        Journal(new NodeForgotten(node.Id));
        ChangeNodes();
    }

    private void OnNodeDrainRequested(NodeDrainRequested e)
    {
        if (!_state.NodesById.TryGetValue(e.NodeId, out var node))
        {
            return;
        }
        Journal(new NodeDraining(node.Id, true, e.Deadline, e.Reason));
        node.Draining = true;
        node.DrainDeadline = e.Deadline?.UtcTicks ?? long.MaxValue;
        node.Reason = Cut(e.Reason, 512);
        Refresh(node);
        TellDraining(node);
    }

    private void OnNodeDrainCancelled(NodeDrainCancelled e)
    {
        if (!_state.NodesById.TryGetValue(e.NodeId, out var node) || !node.Draining)
        {
            return;
        }
        Journal(new NodeDraining(node.Id, false, null, ""));
        node.Draining = false;
        node.DrainDeadline = long.MaxValue;
        node.Reason = "";
        Refresh(node);
        TellDraining(node);
    }

    private static string Cut(string? text, int most) => text is null ? "" : text.Length <= most ? text : text[..most];
}
