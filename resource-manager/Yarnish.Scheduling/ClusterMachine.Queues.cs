using System.Collections.Immutable;

namespace Yarnish.Scheduling;

// New queues while everything runs.
public sealed partial class ClusterMachine
{
    private void OnConfigurationChanged(ClusterConfiguration configuration)
    {
        var errors = ConfigurationCheck.Validate(configuration);
        if (errors.IsEmpty)
        {
            errors = CheckRemoved(configuration);
        }
        if (!errors.IsEmpty)
        {
            _effects.Add(new ConfigurationRefused(errors));
            return;
        }
        Reconfigure(configuration);
        _effects.Add(new ConfigurationApplied(_state.ConfigurationVersion));
    }

    // A queue that holds applications cannot go, nor get queues below it.
    private ImmutableArray<ConfigurationError> CheckRemoved(ClusterConfiguration configuration)
    {
        var errors = ImmutableArray.CreateBuilder<ConfigurationError>();
        foreach (var queue in _state.Queues)
        {
            if (!queue.IsLeaf || queue.Applications == 0 || IsCreated(queue, configuration))
            {
                continue;
            }
            var found = ConfigurationCheck.Find(configuration.Root, queue.Path);
            var implied = queue.Path == "root.default" && configuration.Root.Queues.IsEmpty;
            if (found is null && !implied)
            {
                errors.Add(new(queue.Path, $"Queue {queue.Path} holds {queue.Applications} applications and cannot be removed: let it drain (state: Draining) or move them first."));
            }
            else if (found is { Queues.IsEmpty: false })
            {
                errors.Add(new(queue.Path, $"Queue {queue.Path} holds {queue.Applications} applications and cannot get queues below it: move them first."));
            }
        }
        return errors.ToImmutable();
    }

    // Queues made from a template go on as long as their parent still has one.
    private static bool IsCreated(Queue queue, ClusterConfiguration configuration) =>
        queue.Configuration.Name == QueueTree.Recovered
        || (queue.Parent is { } parent && ConfigurationCheck.Find(configuration.Root, parent.Path) is { Template: not null });

    private void Reconfigure(ClusterConfiguration configuration)
    {
        var paths = _state.Applications.ConvertAll(static application => application.Queue);
        var old = new List<Queue>(_state.Queues);
        Uncharge();
        QueueTree.Build(_state, configuration);
        _state.ConfigurationVersion++;
        foreach (var queue in old)
        {
            if (!_state.QueuesByPath.ContainsKey(queue.Path) && queue.Applications > 0 && queue.Parent is { } parent
                && _state.QueuesByPath.TryGetValue(parent.Path, out var above))
            {
                QueueTree.Add(_state, above.Configuration.Template is { } template ? template with { Name = queue.Configuration.Name } : queue.Configuration, above);
            }
        }
        Recharge(paths.ConvertAll(before => _state.QueuesByPath[before.Path]));
    }

    private void MoveAll(List<Queue> queues)
    {
        Uncharge();
        foreach (var queue in _state.Queues)
        {
            (queue.Applications, queue.ActiveApplications) = (0, 0);
            queue.Limits.Clear();
        }
        Recharge(queues);
    }

    // Everything leaves the heaps, lists and ledgers of the queues ...
    private void Uncharge()
    {
        foreach (var application in _state.Applications)
        {
            foreach (var ask in application.AskList)
            {
                if (ask.Message is not null)
                {
                    _placing.Unreserve(ask);
                    _placing.Park(ask);
                }
            }
        }
    }

    // ... and comes back, each application in its queue, each container charged once.
    private void Recharge(List<Queue> queues)
    {
        foreach (var queue in _state.Queues)
        {
            foreach (var share in queue.Shares)
            {
                share.Usage = default;
                share.DriverUsage = default;
                share.Partition.SharesStale = true;
            }
        }
        for (var i = 0; i < queues.Count; i++)
        {
            var application = _state.Applications[i];
            application.Queue = queues[i];
            for (var queue = queues[i]; queue is not null; queue = queue.Parent)
            {
                queue.Applications++;
            }
            application.Limits = QueueTree.LimitsOf(_state, queues[i], application.Registration);
        }
        foreach (var application in _state.ApplicationsById.Values)
        {
            // An application that is over may still hold containers that are being stopped.
            if (application.IsOver && application.Containers.Count > 0)
            {
                application.Queue = _state.QueuesByPath.TryGetValue(application.Queue.Path, out var same) && same.IsLeaf ? same : QueueTree.AnyLeaf(_state);
                application.Limits = QueueTree.LimitsOf(_state, application.Queue, application.Registration);
            }
            application.Snapshot = null;
        }
        RechargeContainers();
        foreach (var application in _state.Applications)
        {
            var wasActive = application.Active;
            application.Active = false;
            application.Inactive = default;
            if (wasActive && application.Queue.State != QueueState.Stopped)
            {
                Activate(application, admit: application.Containers.Count == 0);
            }
        }
        ActivateWaiting();
        foreach (var application in _state.Applications)
        {
            foreach (var ask in application.AskList)
            {
                if (ask.Message is { } wish)
                {
                    Describe(ask, wish, keepWaiting: true);
                }
            }
        }
        _state.PlacementVersion++;
        _state.Version++;
    }

    private void RechargeContainers()
    {
        foreach (var application in _state.ApplicationsById.Values)
        {
            if (application.IsOver && application.Containers.Count == 0)
            {
                continue;
            }
            foreach (var share in application.Shares)
            {
                share.Usage = default;
                share.Leaf = application.Queue.Shares[share.Partition.Number];
            }
            foreach (var container in application.Containers)
            {
                _placing.Recharge(container);
            }
        }
    }
}
