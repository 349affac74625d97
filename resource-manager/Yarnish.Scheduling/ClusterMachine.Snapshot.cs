using System.Collections.Immutable;
using Yarnish.Protocol;

namespace Yarnish.Scheduling;

// What readers see, and what drivers are told of their waiting asks.
public sealed partial class ClusterMachine
{
    // Nodes judged for explanations in one tick or snapshot; what is left keeps its last reason until the next one.
    private const long ExplainBudget = 500_000;
    private const int AsksTold = 50;

    private Explanation? _explanation;
    private int _tellFrom;

    private Explanation Explanation => _explanation ??= new Explanation(_state, _placing);

    private void TellWaiting()
    {
        var end = Explanation.Judged + ExplainBudget;
        var count = _state.Applications.Count;
        for (var i = 0; i < count && Explanation.Judged < end; i++)
        {
            var application = _state.Applications[(_tellFrom + i) % count];
            if (_state.Now - application.ToldAt >= TimeSpan.TicksPerSecond)
            {
                TellWaiting(application);
            }
            if (Explanation.Judged >= end)
            {
                _tellFrom = (_tellFrom + i + 1) % count;
            }
        }
    }

    private readonly List<AskWaiting> _waiting = [];

    private void TellWaiting(Application application)
    {
        application.ToldAt = _state.Now;
        _waiting.Clear();
        foreach (var ask in application.AskList)
        {
            // One that began to wait just now is most likely granted before anyone could read why it waits.
            if (ask.Outstanding > 0 && ask.Message is not null && _waiting.Count < AsksTold && (_state.Now > ask.WaitingSince || ask.Asleep != WaitingKind.InTurn))
            {
                _waiting.Add(WaitingOf(ask));
            }
        }
        if (application.Ignored.Count > 0)
        {
            _waiting.Add(new AskWaiting(application.Ignored.First, application.Ignored.Count, true,
                $"{application.Ignored.Count} asks are not looked at: an application may have {_state.Settings.AsksPerApplication} asks; put equal ones together."));
        }
        if (!SameAsTold(application))
        {
            application.Told.Clear();
            application.Told.AddRange(_waiting);
            application.Snapshot = null;
            _state.Version++;
            Send(application, new AsksWaiting(_state.Epoch, [.. _waiting]));
        }
    }

    private bool SameAsTold(Application application)
    {
        if (application.Told.Count != _waiting.Count)
        {
            return false;
        }
        for (var i = 0; i < _waiting.Count; i++)
        {
            if (application.Told[i] != _waiting[i])
            {
                return false;
            }
        }
        return true;
    }

    private AskWaiting WaitingOf(AskEntry ask)
    {
        var reasons = Explanation.Reasons(ask);
        ask.Explained = (_state.Now, reasons);
        return new AskWaiting(ask.AskId, ask.Outstanding, Explanation.IsImpossible(ask, reasons), Explanation.Sentence(ask, reasons));
    }

    /// <summary>The cluster as it is now. Cheap when little changed since the last one; call it from the loop that applies events.</summary>
    /// <param name="now">The time to show.</param>
    public ClusterSnapshot Snapshot(DateTimeOffset now)
    {
        var last = _state.Now;
        _state.Now = Math.Max(last, now.UtcTicks);
        foreach (var partition in _state.Partitions)
        {
            _placing.RefreshShares(partition);
        }
        var nodes = ImmutableArray.CreateBuilder<NodeInfo>(_state.Nodes.Count);
        foreach (var node in _state.Nodes)
        {
            if (node is not null)
            {
                nodes.Add(InfoOf(node));
            }
        }
        var end = Explanation.Judged + ExplainBudget;
        var applications = ImmutableArray.CreateBuilder<ApplicationSnapshot>();
        foreach (var application in _state.Applications)
        {
            applications.Add(SnapshotOf(application, Explanation.Judged < end));
        }
        var ended = _state.EndedApplications.ToArray();
        for (var i = ended.Length - 1; i >= 0; i--)
        {
            applications.Add(SnapshotOf(ended[i], explain: false));
        }
        var snapshot = new ClusterSnapshot
        {
            Version = _state.Version,
            At = Now,
            Cluster = DescribeCluster(),
            Nodes = nodes.ToImmutable(),
            Applications = applications.ToImmutable(),
            Queues = Queues(),
        };
        // Reading is no event: the state goes on from the time of the last one.
        _state.Now = last;
        return snapshot;
    }

    private ClusterInfo DescribeCluster()
    {
        var nodes = ImmutableSortedDictionary.CreateBuilder<string, int>(StringComparer.Ordinal);
        ResourceVector capacity = default, allocated = default;
        foreach (var node in _state.Nodes)
        {
            if (node is null)
            {
                continue;
            }
            var state = StateOf(node);
            nodes[state] = nodes.GetValueOrDefault(state) + 1;
            if (node.Presence != NodePresence.Lost)
            {
                capacity.Add(node.Capacity, _state.Types.Count);
                allocated.Add(node.Allocated, _state.Types.Count);
            }
        }
        var applications = ImmutableSortedDictionary.CreateBuilder<string, int>(StringComparer.Ordinal);
        var outstanding = 0;
        foreach (var application in _state.ApplicationsById.Values)
        {
            var state = StateOf(application);
            applications[state] = applications.GetValueOrDefault(state) + 1;
            foreach (var ask in application.AskList)
            {
                outstanding += ask.Outstanding;
            }
        }
        return new ClusterInfo
        {
            Name = _state.Settings.ClusterName,
            Version = _state.Settings.Version,
            Epoch = _state.Epoch,
            State = _state.IsSettling ? "settling" : "active",
            StartedAt = At(_state.StartedAt),
            Nodes = nodes.ToImmutable(),
            Applications = applications.ToImmutable(),
            Capacity = _state.Types.Unpack(capacity),
            Allocated = _state.Types.Unpack(allocated),
            Containers = _state.Containers.Count,
            Outstanding = outstanding,
        };
    }

    private static string StateOf(Node node) => node switch
    {
        { Presence: NodePresence.Lost } => "lost",
        { Draining: true } => "draining",
        { Presence: NodePresence.Silent } => "suspect",
        { Healthy: false } => "unhealthy",
        _ => "running",
    };

    private static string StateOf(Application application) => application.State switch
    {
        ApplicationState.Accepted => "accepted",
        ApplicationState.Running => "running",
        ApplicationState.Succeeded => "succeeded",
        ApplicationState.Failed => "failed",
        _ => "killed",
    };

    // The last heartbeat is shown to the second as of the last change, so that a snapshot need not make every node anew.
    private NodeInfo InfoOf(Node node)
    {
        var heard = At(node.HeardAt);
        if (node.Info is { } info && heard - info.LastHeartbeat < TimeSpan.FromSeconds(2))
        {
            return info;
        }
        var reason = node.ReservedFor is { } ask && node.Reason.Length == 0 ? $"Held for ask {ask.AskId} of application {ask.Application.Id}." : node.Reason;
        return node.Info = new NodeInfo
        {
            Id = node.Id,
            State = StateOf(node),
            Host = node.Registration?.Host ?? "",
            Rack = node.Rack,
            Partition = node.Partition.Name,
            Url = node.Registration?.Url ?? "",
            Capacity = _state.Types.Unpack(node.Capacity),
            Allocated = _state.Types.Unpack(node.Allocated),
            Containers = node.Containers.Count,
            LastHeartbeat = heard,
            Reason = reason,
        };
    }

    private ApplicationSnapshot SnapshotOf(Application application, bool explain)
    {
        var waits = false;
        foreach (var ask in application.AskList)
        {
            waits |= ask.Outstanding > 0;
        }
        if (application.Snapshot is { } known && !(waits && explain && _state.Now - application.SnapshotAt >= _state.Settings.ExplainEvery.Ticks))
        {
            return known;
        }
        ResourceVector allocated = default;
        var containers = ImmutableArray.CreateBuilder<ContainerInfo>();
        foreach (var container in application.Containers)
        {
            allocated.Add(container.Shape.Vector, _state.Types.Count);
            containers.Add(Describe(container, null));
        }
        containers.Sort(static (left, right) => left.Id.CompareTo(right.Id));
        var ended = application.Ended.ToArray();
        for (var i = ended.Length - 1; i >= 0; i--)
        {
            containers.Add(ended[i]);
        }
        var asks = ImmutableArray.CreateBuilder<AskInfo>();
        var waiting = ImmutableArray.CreateBuilder<AskWaiting>();
        foreach (var ask in application.AskList)
        {
            if (ask.Message is null)
            {
                continue;
            }
            var reasons = ask.Outstanding == 0 ? [] : explain && asks.Count < 1000 ? Recent(ask) : ask.Explained.Reasons;
            var sentence = Explanation.Sentence(ask, reasons);
            asks.Add(new AskInfo(ask.AskId, ask.Shape.Resources, ask.Desired, ask.Live, ask.Outstanding, reasons, sentence));
            if (ask.Outstanding > 0)
            {
                waiting.Add(new AskWaiting(ask.AskId, ask.Outstanding, Explanation.IsImpossible(ask, reasons), sentence));
            }
        }
        application.SnapshotAt = _state.Now;
        return application.Snapshot = new ApplicationSnapshot
        {
            Priority = application.Priority,
            Containers = containers.ToImmutable(),
            Asks = asks.ToImmutable(),
            Info = new ApplicationInfo
            {
                Id = application.Id,
                Name = application.Registration.Name,
                User = application.Registration.User,
                Queue = new QueueName(application.Queue.Path),
                State = StateOf(application),
                StartedAt = At(application.StartedAt),
                FinishedAt = application.IsOver ? At(application.FinishedAt) : null,
                Driver = application.Registration.Driver,
                StatusUrl = application.IsOver ? "" : application.Registration.StatusUrl,
                Allocated = _state.Types.Unpack(allocated),
                Containers = application.Containers.Count,
                Waiting = waiting.ToImmutable(),
                // The last summary of a driver that was killed or lost tells of work in flight, which is no more.
                Progress = application.IsOver
                    ? application.Progress with { Executors = 0, JobsRunning = 0, TasksRunning = 0, TasksPending = 0, Activity = "" }
                    : application.Progress,
                Diagnostics = application.Diagnostics,
            },
        };
    }

    private ImmutableArray<WaitingReason> Recent(AskEntry ask)
    {
        if (ask.Explained.Reasons.IsEmpty || _state.Now - ask.Explained.At >= _state.Settings.ExplainEvery.Ticks)
        {
            ask.Explained = (_state.Now, Explanation.Reasons(ask));
        }
        return ask.Explained.Reasons;
    }

    private static ContainerInfo Describe(Container container, ContainerExit? exit) => new()
    {
        Id = container.Id,
        ApplicationId = container.Application!.Id,
        AskId = container.AskId,
        NodeId = container.Node.Id,
        NodeUrl = container.Node.Registration?.Url ?? "",
        State = exit is null ? container.State : ContainerState.Exited,
        Resources = container.Shape.Resources,
        GrantedAt = At(container.GrantedAt),
        Exit = exit,
    };

    private ImmutableArray<QueueInfo> Queues()
    {
        var outstanding = new int[_state.Queues.Count];
        foreach (var application in _state.Applications)
        {
            var count = 0;
            foreach (var ask in application.AskList)
            {
                count += ask.Outstanding;
            }
            for (var queue = application.Queue; queue is not null && count > 0; queue = queue.Parent)
            {
                outstanding[queue.Number] += count;
            }
        }
        var queues = ImmutableArray.CreateBuilder<QueueInfo>(_state.Queues.Count);
        foreach (var queue in _state.Queues)
        {
            queues.Add(Describe(queue, outstanding[queue.Number]));
        }
        return queues.MoveToImmutable();
    }

    private QueueInfo Describe(Queue queue, int outstanding)
    {
        var guarantee = ImmutableSortedDictionary.CreateBuilder<string, Resources>(StringComparer.Ordinal);
        var maximum = ImmutableSortedDictionary.CreateBuilder<string, Resources>(StringComparer.Ordinal);
        var allocated = ImmutableSortedDictionary.CreateBuilder<string, Resources>(StringComparer.Ordinal);
        foreach (var share in queue.Shares)
        {
            guarantee[share.Partition.Name] = _state.Types.Unpack(share.Guarantee);
            allocated[share.Partition.Name] = _state.Types.Unpack(share.Usage);
            ResourceVector bounded = default;
            for (var i = 0; i < _state.Types.Count; i++)
            {
                bounded[i] = share.Maximum[i] == long.MaxValue ? 0 : share.Maximum[i];
            }
            maximum[share.Partition.Name] = _state.Types.Unpack(bounded);
        }
        return new QueueInfo
        {
            Name = new QueueName(queue.Path),
            Leaf = queue.IsLeaf,
            State = queue.State,
            Guarantee = guarantee.ToImmutable(),
            Maximum = maximum.ToImmutable(),
            Allocated = allocated.ToImmutable(),
            Applications = queue.Applications,
            ActiveApplications = queue.ActiveApplications,
            Outstanding = outstanding,
        };
    }
}
