using Yarnish.Protocol;

namespace Yarnish.Scheduling;

// The beginning of a life, and everything that time does.
public sealed partial class ClusterMachine
{
    private void OnRestored(Restored e)
    {
        if (e.Epoch < 1)
        {
            throw new ArgumentException($"Epoch {e.Epoch} is not one: epochs start at 1.", nameof(e));
        }
        _state.Epoch = _state.Settings.Planted == PlantedBug.ReusedId ? 1 : e.Epoch;
        _state.StartedAt = _state.Now;
        foreach (var record in e.Records.IsDefault ? [] : e.Records)
        {
            Replay(record);
        }
        var known = false;
        foreach (var node in _state.Nodes)
        {
            if (node is not null)
            {
                known = true;
                node.HeardAt = _state.Now;
                node.Reason = node.Draining ? node.Reason : "Not back since the resource manager restarted.";
                Send(node, new ResyncNode(_state.Epoch));
            }
        }
        foreach (var application in _state.Applications)
        {
            application.HeardAt = _state.Now;
            Activate(application, admit: true);
            Send(application, new ResyncApplication(_state.Epoch));
        }
        if (known && _state.Settings.Planted != PlantedBug.NoSettling)
        {
            _state.SettleUntil = _state.Now + _state.Settings.Settle.Ticks;
        }
        _state.Version++;
    }

    private void Replay(JournalRecord record)
    {
        switch (record)
        {
            case ApplicationAccepted r when _state.ApplicationsById.TryGetValue(r.Registration.ApplicationId, out var moved):
                if (!moved.IsOver)
                {
                    moved.Registration = r.Registration;
                    moved.Priority = r.Registration.Priority;
                    var target = QueueTree.ChooseRestored(_state, r);
                    MoveAll(_state.Applications.ConvertAll(a => ReferenceEquals(a, moved) ? target : a.Queue));
                }
                break;
            case ApplicationAccepted r:
                Add(r.Registration, QueueTree.ChooseRestored(_state, r), r.At.UtcTicks).IsRestored = true;
                break;
            case ApplicationOver r when _state.ApplicationsById.TryGetValue(r.ApplicationId, out var application) && !application.IsOver:
                ReplayEnd(application, r);
                break;
            case NodeKnown r when !_state.NodesById.ContainsKey(r.NodeId):
                var node = new Node(r.NodeId, _state.Nodes.Count, _state.Partitions[0]);
                _state.Nodes.Add(node);
                _state.NodesById.Add(node.Id, node);
                break;
            case NodeForgotten r when _state.NodesById.Remove(r.NodeId, out var forgotten):
                _state.Nodes[forgotten.Number] = null;
                break;
            case NodeDraining r when _state.NodesById.TryGetValue(r.NodeId, out var drained):
                drained.Draining = r.Active;
                drained.DrainDeadline = r.Deadline?.UtcTicks ?? long.MaxValue;
                drained.Reason = r.Reason;
                break;
            default:
                // Said twice, or about something that is gone: a journal may hold both.
                break;
        }
    }

    private void ReplayEnd(Application application, ApplicationOver record)
    {
        application.State = record.State;
        application.Diagnostics = record.Diagnostics;
        application.Progress = record.Progress ?? application.Progress;
        application.FinishedAt = record.At.UtcTicks;
        _state.Applications.Remove(application);
        for (var queue = application.Queue; queue is not null; queue = queue.Parent)
        {
            queue.Applications--;
        }
        Remember(application);
    }

    private void EndSettlingWhenAllAreBack()
    {
        if (!_state.IsSettling)
        {
            return;
        }
        foreach (var node in _state.Nodes)
        {
            if (node is { Presence: NodePresence.Lost })
            {
                return;
            }
        }
        EndSettling();
    }

    private void EndSettling()
    {
        _state.SettleUntil = 0;
        _state.PlacementVersion++;
        _state.Version++;
    }

    private void OnTick()
    {
        if (_state.IsSettling && _state.Now >= _state.SettleUntil)
        {
            EndSettling();
        }
        CheckNodes();
        CheckGrants();
        CheckApplications();
        _placing.RingAlarms();
        ExpireGangs();
        if (!_state.IsSettling)
        {
            _placing.Reserve();
            Preempt();
        }
        TellWaiting();
    }

    private void CheckNodes()
    {
        foreach (var node in _state.Nodes)
        {
            if (node is null)
            {
                continue;
            }
            var silence = _state.Now - node.HeardAt;
            if (node.Presence == NodePresence.Lost)
            {
                if (silence >= _state.Settings.NodeForgotten.Ticks)
                {
                    ForgetNode(node);
                }
                continue;
            }
            if (ProvenSilence(node.HeardAt) >= _state.Settings.NodeLost.Ticks)
            {
                LoseNode(node);
                continue;
            }
            if (silence >= _state.Settings.NodeSuspect.Ticks && node.Presence == NodePresence.Heard)
            {
                SetPresence(node, NodePresence.Silent);
            }
            if (_state.Now >= node.DrainDeadline)
            {
                StopAll(node);
            }
        }
    }

    private long ProvenSilence(long heardAt) => _state.Now - Math.Max(heardAt, _state.SilenceCountsFrom);

    private void StopAll(Node node)
    {
        foreach (var container in node.Containers)
        {
            if (!container.IsStopping)
            {
                Stop(container, ContainerExitCause.StoppedByOperator, $"Node {node.Id} is drained: {node.Reason}");
            }
        }
    }

    private void CheckGrants()
    {
        while (_unconfirmed.TryPeek(out var container))
        {
            if (container.Confirmed || container.State >= ContainerState.Stopping)
            {
                _unconfirmed.Dequeue();
                continue;
            }
            if (_state.Now - container.GrantedAt < _state.Settings.GrantExpiry.Ticks)
            {
                break;
            }
            _unconfirmed.Dequeue();
            Expire(container);
        }
    }

    // The agent may have launched it all the same: it is told to stop, and what it shows later is not taken for live.
    private void Expire(Container container)
    {
        var reason = $"Node {container.Node.Id} did not confirm the launch within {_state.Settings.GrantExpiry.TotalSeconds:0} s.";
        Send(container.Node, new StopContainer(_state.Epoch, container.Id, ContainerExitCause.GrantExpired, 0, reason));
        Complete(container, new ContainerExit(ContainerExitCause.GrantExpired, -1, reason), nodeLost: false);
    }

    private void CheckApplications()
    {
        for (var i = _state.Applications.Count - 1; i >= 0; i--)
        {
            // Ending one may let another become active, never end it: going down is safe.
            var application = _state.Applications[i];
            if (ProvenSilence(application.HeardAt) >= _state.Settings.DriverLost.Ticks)
            {
                EndApplication(application, ApplicationState.Failed, $"The driver was lost: no heartbeat for {(_state.Now - application.HeardAt) / TimeSpan.TicksPerSecond} s.");
                continue;
            }
            if (LifetimeOf(application) is { } lifetime && _state.Now - application.StartedAt >= lifetime.Ticks)
            {
                EndApplication(application, ApplicationState.Killed, $"Queue {application.Queue.Path} ends applications after {lifetime}.");
                Send(application, new KillApplication(_state.Epoch, application.Diagnostics));
            }
        }
    }

    private static TimeSpan? LifetimeOf(Application application)
    {
        TimeSpan? shortest = null;
        for (var queue = application.Queue; queue is not null; queue = queue.Parent)
        {
            if (queue.Configuration.MaximumLifetime is { } lifetime && (shortest is null || lifetime < shortest))
            {
                shortest = lifetime;
            }
        }
        return shortest;
    }

    private void ExpireGangs()
    {
        foreach (var application in _state.Applications)
        {
            foreach (var ask in application.AskList)
            {
                if (ask is { IsGang: true, GangExpired: false, Outstanding: > 0 } && _state.Now >= ask.GangDeadline)
                {
                    ask.GangExpired = true;
                    _placing.SleepUntil(ask, WaitingKind.GangDeadline, long.MaxValue);
                    application.Snapshot = null;
                    _state.Version++;
                }
            }
        }
    }
}
