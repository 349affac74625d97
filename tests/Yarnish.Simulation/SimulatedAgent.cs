using Yarnish.NodeAgent.Containers;
using Yarnish.Protocol;

namespace Yarnish.Simulation;

/// <summary>
/// A node: the real <see cref="ContainerTable"/> decides, this does what the agent's shell would do for it. The program, the processes and the disk die apart, as on a real
/// machine: a program that ends leaves both, a machine that dies leaves the disk unless that is lost with it.
/// </summary>
internal sealed class SimulatedAgent(World world, NodeId id, Resources capacity, SeededRandom random, bool diskSurvives)
{
    private readonly Dictionary<ContainerId, Process> _processes = [];
    private Disk _disk = new();
    private ContainerTable? _table;
    private bool _healthy = true;
    private long _incarnation;
    private int _boot;
    private int _lastProcess;
    private double _wakeAt = double.PositiveInfinity;

    public NodeId Id { get; } = id;

    public bool Up => _table is not null;

    /// <summary>The processes that really run, and the containers that the table believes to live.</summary>
    public IEnumerable<(ContainerId Id, ApplicationId Application)> Running => _processes.Select(static pair => (pair.Key, pair.Value.Application))
        .Concat((_table?.Snapshot().Containers ?? []).Where(static view => view.State != ContainerState.Exited).Select(static view => (view.Record.ContainerId, view.Record.ApplicationId)))
        .Distinct();

    public int Unacknowledged => _table?.Snapshot().Containers.Count(static view => view.State == ContainerState.Exited) ?? 0;

    private sealed record Process(ApplicationId Application, ProcessIdentity Identity, bool IgnoresTerminate);

    /// <summary>What the agent writes down, and its launchers.</summary>
    private sealed class Disk
    {
        public int Epoch { get; set; }

        public SortedDictionary<ContainerId, ContainerRecord> Records { get; } = [];

        public Dictionary<ContainerId, ProcessIdentity> Started { get; } = [];

        public Dictionary<ContainerId, int> ExitCodes { get; } = [];

        public List<(ContainerId Container, ContainerExit Exit)> Former { get; } = [];

        public SortedSet<ApplicationId> Directories { get; } = [];

        public SortedSet<ApplicationId> Ended { get; } = [];

        /// <summary>Containers whose working directory is there: a launcher starts nothing without it.</summary>
        public HashSet<ContainerId> Work { get; } = [];

        /// <summary>Every container that ever had a process: none gets a second one.</summary>
        public HashSet<ContainerId> Ran { get; } = [];
    }

    public void Start()
    {
        if (Up)
        {
            return;
        }
        _incarnation++;
        _wakeAt = double.PositiveInfinity;
        _table = new ContainerTable(new NodeIdentity(Id, _incarnation, capacity, "http://" + Id, Id.Value)
        {
            Rack = "r" + (Id.Value[^1] % 2),
            // The last node of some clusters stands apart, and now and then moves over.
            Partition = world.HasPartition && Id.Value[^1] % 3 == 2 && _incarnation % 3 != 2 ? "apart" : "",
        });
        Adopt();
        Take(new HealthChanged(_healthy, _healthy ? "" : "sick"));
        Here(random.Between(5, 300), Join);
    }

    // In the order of the real agent's start.
    private void Adopt()
    {
        if (_disk.Epoch > 0)
        {
            Take(new EpochSeen(_disk.Epoch));
        }
        foreach (var application in _disk.Directories.ToArray())
        {
            Take(new ApplicationFound(application));
        }
        var ended = _disk.Ended.ToArray();
        foreach (var (container, exit) in _disk.Former.ToArray())
        {
            Take(new FormerContainerFound(container, exit));
        }
        foreach (var record in _disk.Records.Values.ToArray())
        {
            var process = _disk.Started.GetValueOrDefault(record.ContainerId);
            int? code = _disk.ExitCodes.TryGetValue(record.ContainerId, out var written) ? written : null;
            var end = code is not null || (process is not null && !_processes.ContainsKey(record.ContainerId)) ? new ProcessEnd(code, "") : null;
            world.Reach(end is not null ? "end found by the next agent" : process is not null ? "process adopted by the next agent" : "launch found in the middle");
            Take(new ContainerFound(record, end is null ? process : null, end));
        }
        foreach (var application in ended)
        {
            world.Reach("removal found in the middle");
            Take(new EndedApplicationFound(application));
        }
    }

    // The agent asks the resource manager for its connection first, and learns its epoch.
    private void Join()
    {
        if (world.Answer(Id) is { } epoch)
        {
            Take(new EpochSeen(epoch));
            Take(new BusConnected());
        }
        else
        {
            Here(1000, Join);
        }
    }

    /// <summary>The agent's program ends; its containers run on.</summary>
    public void StopProgram() => _table = null;

    /// <summary>The agent is told to end; false kills it at once, as SIGKILL would.</summary>
    public void ShutDown(bool containersToo)
    {
        world.Reach(containersToo ? "agent stopped with its containers" : "agent stopped in order");
        Take(new ShutdownRequested(containersToo, TimeSpan.FromSeconds(random.Between(0, 4))));
    }

    /// <summary>The machine dies and every process on it.</summary>
    public void Die()
    {
        StopProgram();
        _boot++;
        _processes.Clear();
        if (!diskSurvives)
        {
            _disk = new Disk();
        }
    }

    public void SetHealth(bool healthy)
    {
        _healthy = healthy;
        Take(new HealthChanged(healthy, healthy ? "" : "sick"));
    }

    public void Receive(ControlMessage message) => Take(new MessageReceived(message));

    // Done by this incarnation of the program or by none.
    private void Here(int milliseconds, Action action)
    {
        var incarnation = _incarnation;
        world.After(milliseconds / 1000.0, () =>
        {
            if (Up && incarnation == _incarnation)
            {
                action();
            }
        });
    }

    // Done by this machine, whatever becomes of the agent.
    private void OnMachine(int milliseconds, Action action)
    {
        var boot = _boot;
        world.After(milliseconds / 1000.0, () =>
        {
            if (boot == _boot)
            {
                action();
            }
        });
    }

    private void Take(AgentEvent happened)
    {
        if (_table is not { } table)
        {
            return;
        }
        world.NoteAgent(Id, happened);
        var effects = world.Guard($"agent: {happened.GetType().Name}", () => table.Apply(happened, world.Time));
        foreach (var effect in effects.IsDefault ? [] : effects)
        {
            if (!ReferenceEquals(_table, table))
            {
                return;
            }
            world.NoteAgent(Id, effect);
            Perform(effect);
        }
        if (ReferenceEquals(_table, table))
        {
            Wake(table.NextDeadline);
        }
    }

    private void Wake(DateTimeOffset deadline)
    {
        if (deadline == DateTimeOffset.MaxValue)
        {
            return;
        }
        // Never before the deadline: rounding must not make the clock stand still.
        var at = Math.Max(world.Now, world.Second(deadline)) + 0.0001;
        if (at >= _wakeAt)
        {
            return;
        }
        _wakeAt = at;
        var incarnation = _incarnation;
        world.After(at - world.Now, () =>
        {
            if (incarnation == _incarnation && at == _wakeAt)
            {
                _wakeAt = double.PositiveInfinity;
                Take(new Tick());
            }
        });
    }

    private bool Faulty(int perMille) => world.Now < Scenario.FaultsEnd && random.Chance(perMille);

    private void Perform(AgentEffect effect)
    {
        switch (effect)
        {
            case SendMessage { Message: var message }:
                if (message is ContainerExited exited)
                {
                    world.Expect(!_processes.ContainsKey(exited.ContainerId), "I9", $"node {Id} reports the end of {exited.ContainerId} and its process runs");
                }
                world.FromNode(Id, message);
                break;
            case SaveEpoch save: _disk.Epoch = save.Epoch; break;
            case SaveRecord save: _disk.Records[save.Record.ContainerId] = save.Record; break;
            case ForgetContainer forget: Forget(forget); break;
            case PlaceFiles place: Place(place.Launch); break;
            case CancelPlacing cancel: Here(random.Between(1, 100), () => Take(new FilesFailed(cancel.ContainerId, ContainerExitCause.LocalizationFailed, "cancelled"))); break;
            case StartProcess start: StartProcess(start.Launch); break;
            case SignalProcess signal: Signal(signal); break;
            case ReleaseFiles release: Here(random.Between(0, 30), () => Release(release.ContainerId)); break;
            case MarkApplicationEnded ended when _disk.Directories.Contains(ended.ApplicationId): _disk.Ended.Add(ended.ApplicationId); break;
            case RemoveApplication remove: Here(random.Between(0, 4000), () => Remove(remove.ApplicationId)); break;
            case Leave:
                // Whoever watches over the machine starts it again.
                world.Reach("agent refused");
                StopProgram();
                world.After(random.Between(1000, 5000) / 1000.0, Start);
                break;
            case ShutdownComplete: StopProgram(); break;
            default: break;
        }
    }

    private void Forget(ForgetContainer forget)
    {
        _disk.Records.Remove(forget.ContainerId);
        _disk.Started.Remove(forget.ContainerId);
        _disk.ExitCodes.Remove(forget.ContainerId);
        _disk.Former.Add((forget.ContainerId, forget.Exit));
        if (_disk.Former.Count > ContainerTable.MaximumFormer)
        {
            _disk.Former.RemoveAt(0);
        }
    }

    private void Place(LaunchContainer launch)
    {
        world.Expect(_disk.Records.ContainsKey(launch.ContainerId), "I8", $"node {Id} places files of {launch.ContainerId} without having written it down");
        _disk.Directories.Add(launch.ApplicationId);
        _disk.Work.Add(launch.ContainerId);
        var fails = Faulty(30);
        Here(random.Between(10, 600), () =>
        {
            if (fails)
            {
                world.Reach("files not placed");
            }
            Take(fails ? new FilesFailed(launch.ContainerId, random.Pick(ContainerExitCause.LocalizationFailed, ContainerExitCause.DiskFull), "a test") : new FilesPlaced(launch.ContainerId));
        });
    }

    private void StartProcess(LaunchContainer launch)
    {
        if (Faulty(20))
        {
            world.Reach("process not started");
            Here(random.Between(5, 50), () => Take(new ProcessNotStarted(launch.ContainerId, ContainerExitCause.LaunchFailed, "a test")));
            return;
        }
        // The launcher lives on its own from here: an agent that ends now finds its process later.
        OnMachine(random.Between(5, 300), () =>
        {
            if (!_disk.Work.Contains(launch.ContainerId))
            {
                return;
            }
            world.Expect(_disk.Ran.Add(launch.ContainerId), "I8", $"node {Id} runs {launch.ContainerId} a second time");
            var identity = new ProcessIdentity(++_lastProcess, _lastProcess, ++_lastProcess, _lastProcess);
            _processes[launch.ContainerId] = new Process(launch.ApplicationId, identity, random.Chance(200));
            _disk.Started[launch.ContainerId] = identity;
            Notice(launch.ContainerId);
            if (!Faulty(250))
            {
                return;
            }
            if (random.Chance(200))
            {
                OnMachine(random.Between(10, 20000), () => Take(new MemoryExceeded(launch.ContainerId, 1L << 40)));
            }
            else
            {
                var code = random.Pick(0, 0, 1, 137);
                OnMachine(random.Between(1, 20000), () => End(launch.ContainerId, identity, code));
            }
        });
    }

    private void Signal(SignalProcess signal)
    {
        if (!_processes.TryGetValue(signal.ContainerId, out var process) || process.Identity != signal.Process)
        {
            return;
        }
        if (signal.Kill)
        {
            OnMachine(random.Between(0, 50), () => End(signal.ContainerId, signal.Process, 137));
        }
        else if (!process.IgnoresTerminate)
        {
            OnMachine(random.Between(5, 3000), () => End(signal.ContainerId, signal.Process, 143));
        }
        else
        {
            world.Reach("terminate ignored");
        }
    }

    private void End(ContainerId container, ProcessIdentity identity, int code)
    {
        if (!_processes.TryGetValue(container, out var process) || process.Identity != identity)
        {
            return;
        }
        _processes.Remove(container);
        if (_disk.Records.ContainsKey(container) && !Faulty(50))
        {
            _disk.ExitCodes[container] = code;
        }
        Notice(container);
        if (random.Chance(100))
        {
            Notice(container);
        }
    }

    // What the agent sees when it looks at what a launcher wrote: it looks only for containers that live, and both start and end may come at once.
    private void Notice(ContainerId container)
    {
        OnMachine(random.Between(1, 150), () =>
        {
            if (_table?.Snapshot().Containers.FirstOrDefault(view => view.Record.ContainerId == container) is not { State: not ContainerState.Exited } view)
            {
                return;
            }
            var started = _disk.Started.GetValueOrDefault(container);
            if (started is not null && view.Process is null)
            {
                Take(new ProcessStarted(container, started));
            }
            if (_disk.ExitCodes.TryGetValue(container, out var code))
            {
                Take(new ProcessExited(container, new ProcessEnd(code, "")));
            }
            else if (started is not null && !_processes.ContainsKey(container))
            {
                world.Reach("exit code lost");
                Take(new ProcessExited(container, new ProcessEnd(null, "")));
            }
        });
    }

    // What is left of the container is killed by the variable that it inherited.
    private void Release(ContainerId container)
    {
        _disk.Work.Remove(container);
        _processes.Remove(container);
    }

    private void Remove(ApplicationId application)
    {
        world.Expect(!_processes.Values.Any(process => process.Application == application), "I11", $"node {Id} removes the directory of {application} while its containers run");
        _disk.Directories.Remove(application);
        _disk.Ended.Remove(application);
    }
}
