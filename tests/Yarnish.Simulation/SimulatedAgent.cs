using System.Collections.Immutable;
using Yarnish.Protocol;

namespace Yarnish.Simulation;

/// <summary>A node agent as the protocol describes it, without processes: containers start, run, end by themselves or when told.</summary>
internal sealed class SimulatedAgent(World world, NodeId id, Resources capacity, SeededRandom random, bool remembers)
{
    private readonly SortedDictionary<ContainerId, Process> _containers = [];
    private readonly HashSet<ContainerId> _seen = [];
    private long _incarnation;
    private long _sequence;
    private int _epoch;
    private bool _registered;

    public NodeId Id { get; } = id;

    public bool Up { get; private set; }

    public bool Healthy { get; set; } = true;

    public IEnumerable<(ContainerId Id, ApplicationId Application)> Running =>
        _containers.Where(static pair => pair.Value.Exit is null).Select(static pair => (pair.Key, pair.Value.Launch.ApplicationId));

    public int Unacknowledged => _containers.Count(static pair => pair.Value.Exit is not null);

    private sealed class Process(LaunchContainer launch)
    {
        public LaunchContainer Launch { get; } = launch;

        public ContainerState State { get; set; } = ContainerState.Localizing;

        public ContainerExit? Exit { get; set; }
    }

    public void Start()
    {
        if (Up)
        {
            return;
        }
        Up = true;
        _incarnation++;
        _sequence = 0;
        _registered = false;
        Beat(_incarnation);
    }

    /// <summary>The agent's program ends; its containers run on.</summary>
    public void StopProgram() => Up = false;

    /// <summary>The machine dies and everything on it.</summary>
    public void Die()
    {
        Up = false;
        _containers.Clear();
        _seen.Clear();
    }

    private void Beat(long incarnation)
    {
        if (!Up || incarnation != _incarnation)
        {
            return;
        }
        if (_registered)
        {
            world.FromNode(Id, new NodeHeartbeat(Id, _incarnation, ++_sequence, Reports(), Healthy, Healthy ? "" : "sick"));
        }
        else
        {
            Register();
        }
        world.After(1.0, () => Beat(incarnation));
    }

    private void Register() => world.FromNode(Id, new RegisterNode(Id, _incarnation, capacity, "http://" + Id, Id.Value) 
    {
        Rack = "r" + (Id.Value[^1] % 2),
        // The last node of some clusters stands apart, and now and then moves over.
        Partition = world.HasPartition && Id.Value[^1] % 3 == 2 && _incarnation % 3 != 2 ? "apart" : "",
        Containers = Reports(),
    });

    private ImmutableArray<ContainerReport> Reports() =>
    [
        .. _containers.Select(static pair => new ContainerReport(pair.Key, pair.Value.Launch.ApplicationId, pair.Value.Launch.Resources,
            pair.Value.Exit is null ? pair.Value.State : ContainerState.Exited) { Exit = pair.Value.Exit, AskId = pair.Value.Launch.AskId, Devices = pair.Value.Launch.Devices }),
    ];

    public void Receive(ControlMessage message)
    {
        if (!Up || !Accept(EpochOf(message)))
        {
            return;
        }
        switch (message)
        {
            case NodeRegistered: _registered = true; break;
            case ResyncNode: _registered = false; Register(); break;
            case LaunchContainer m: Launch(m); break;
            case StopContainer m: Stop(m.ContainerId, m.Cause); break;
            case AcknowledgeExits m: Forget(m.Containers); break;
            case CleanApplication m:
                foreach (var container in _containers.Where(pair => pair.Value.Launch.ApplicationId == m.ApplicationId).Select(static pair => pair.Key).ToArray())
                {
                    Stop(container, ContainerExitCause.ApplicationEnded);
                }
                break;
            default: break;
        }
    }

    private bool Accept(int epoch)
    {
        if (epoch < _epoch)
        {
            return false;
        }
        _epoch = epoch;
        return true;
    }

    private static int EpochOf(ControlMessage message) => message switch
    {
        NodeRegistered m => m.Epoch,
        ResyncNode m => m.Epoch,
        LaunchContainer m => m.Epoch,
        StopContainer m => m.Epoch,
        AcknowledgeExits m => m.Epoch,
        CleanApplication m => m.Epoch,
        NodeRefused m => m.Epoch,
        _ => 0,
    };

    private void Launch(LaunchContainer launch)
    {
        if (_containers.ContainsKey(launch.ContainerId) || (remembers && !_seen.Add(launch.ContainerId)))
        {
            return;
        }
        var process = new Process(launch);
        _containers[launch.ContainerId] = process;
        world.After(random.Between(20, 800) / 1000.0, () => Run(launch.ContainerId, process));
    }

    private void Run(ContainerId container, Process process)
    {
        if (process.Exit is not null || !_containers.ContainsKey(container))
        {
            return;
        }
        process.State = ContainerState.Running;
        Tell(new ContainerStarted(Id, _incarnation, container, 1));
        if (world.Now < Scenario.FaultsEnd && random.Chance(250))
        {
            var cause = random.Pick(ContainerExitCause.Completed, ContainerExitCause.Failed, ContainerExitCause.OutOfMemory);
            world.After(random.Between(10, 20000) / 1000.0, () => Exit(container, process, cause));
        }
    }

    private void Stop(ContainerId container, ContainerExitCause cause)
    {
        if (!_containers.TryGetValue(container, out var process))
        {
            _seen.Add(container);
            return;
        }
        if (process is { Exit: null, State: not ContainerState.Stopping })
        {
            process.State = ContainerState.Stopping;
            world.After(random.Between(5, 3000) / 1000.0, () => Exit(container, process, cause));
        }
    }

    private void Exit(ContainerId container, Process process, ContainerExitCause cause)
    {
        if (process.Exit is not null || !_containers.TryGetValue(container, out var current) || !ReferenceEquals(current, process))
        {
            return;
        }
        process.State = ContainerState.Exited;
        process.Exit = new ContainerExit(cause, cause == ContainerExitCause.Completed ? 0 : 1, "");
        Tell(new ContainerExited(Id, _incarnation, container, process.Exit));
    }

    private void Tell(ControlMessage message)
    {
        if (Up && _registered)
        {
            world.FromNode(Id, message);
        }
    }

    private void Forget(ImmutableArray<ContainerId> containers)
    {
        foreach (var container in containers)
        {
            if (_containers.TryGetValue(container, out var process) && process.Exit is not null)
            {
                _containers.Remove(container);
            }
        }
    }
}
