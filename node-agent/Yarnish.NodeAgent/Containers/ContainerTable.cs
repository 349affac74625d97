using System.Collections.Immutable;
using Yarnish.Protocol;

namespace Yarnish.NodeAgent.Containers;

/// <summary>
/// All that an agent decides: which containers are on the node, what is done for each, what the resource manager is told. A deterministic state
/// machine without clock, I/O or threads: events and the time come in through <see cref="Apply"/>, effects go out. See <see cref="ContainerPhase"/>
/// for the drawing. Every event is welcome in every phase, late and repeated ones too: the answer is then <see cref="Ignored"/>, the same report again, or
/// the end of a process that should not be.
/// </summary>
internal sealed class ContainerTable(NodeIdentity node)
{
    /// <summary>Most live containers on a node; more are refused.</summary>
    public const int MaximumLive = 1_000;

    /// <summary>Most exits of containers that are over, kept to answer repeated commands.</summary>
    public const int MaximumFormer = 1_000;

    /// <summary>Exits that keep their full diagnostics in a heartbeat; the diagnostics of further ones are cut, so that a heartbeat stays small.</summary>
    public const int FullDiagnostics = 32;

    /// <summary>Applications named in one report; the others are once these are gone.</summary>
    public const int MaximumHeld = 256;

    private static readonly TimeSpan RegisterAgainAfter = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan KillAgainAfter = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan LauncherPatience = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan FoundLauncherPatience = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan EndedApplicationGrace = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan MaximumGrace = TimeSpan.FromHours(1);

    private readonly SortedDictionary<ContainerId, Container> _containers = [];
    private readonly Dictionary<ContainerId, ContainerExit> _former = [];
    private readonly Queue<ContainerId> _formerByAge = new();
    private readonly HashSet<ApplicationId> _endedApplications = [];
    private readonly Queue<ApplicationId> _endedByAge = new();
    private readonly SortedSet<ApplicationId> _toRemove = [];
    private readonly SortedSet<ApplicationId> _held = [];
    private readonly List<AgentEffect> _effects = [];

    private DateTimeOffset _now;
    private long _version;
    private int _epoch;
    private long _sequence;
    private bool _connected;
    private bool _registered;
    private bool _closing;
    private bool _closed;
    private bool _healthy = true;
    private string _healthReason = "";
    private TimeSpan _heartbeatEvery = TimeSpan.FromSeconds(1);
    private DateTimeOffset _nextReport = DateTimeOffset.MaxValue;

    /// <summary>When the next <see cref="Tick"/> is due; the far future when none is.</summary>
    public DateTimeOffset NextDeadline
    {
        get
        {
            var next = _nextReport;
            foreach (var container in _containers.Values)
            {
                if (container.Deadline is { } deadline && deadline < next)
                {
                    next = deadline;
                }
            }
            return next;
        }
    }

    /// <summary>The table for readers.</summary>
    public TableSnapshot Snapshot() => new(
        _version, _registered, _epoch, _healthy, _healthReason,
        [.. _containers.Values.Select(container => new ContainerView(container.Record, container.State, container.Process, container.Exit))]);

    /// <summary>The phase of a container, for tests; null when it is not in the table.</summary>
    public ContainerPhase? PhaseOf(ContainerId container) => _containers.TryGetValue(container, out var found) ? found.Phase : null;

    /// <summary>Takes one event and answers with what is to be done, in order.</summary>
    /// <param name="happened">What happened.</param>
    /// <param name="now">When; time that steps back does no harm but makes deadlines late.</param>
    public ImmutableArray<AgentEffect> Apply(AgentEvent happened, DateTimeOffset now)
    {
        _now = now;
        _version++;
        switch (happened)
        {
            case MessageReceived { Message: var message }: Receive(message); break;
            case EpochSeen { Epoch: var epoch }: AcceptEpoch(epoch, "connection answer"); break;
            case BusConnected: Connect(); break;
            case ContainerFound found: Find(found); break;
            case FormerContainerFound former: Remember(former.ContainerId, former.Exit); break;
            case ApplicationFound found: _held.Add(found.ApplicationId); break;
            case EndedApplicationFound ended: End(ended.ApplicationId); break;
            case FilesPlaced placed: Placed(placed); break;
            case FilesFailed failed: NotPlaced(failed); break;
            case ProcessStarted started: Started(started); break;
            case ProcessNotStarted failed: NotStarted(failed); break;
            case ProcessExited exited: Ended(exited); break;
            case MemoryExceeded memory: Exceeded(memory); break;
            case HealthChanged health: (_healthy, _healthReason) = (health.Healthy, health.Reason); break;
            case Tick: break;
            case ShutdownRequested shutdown: ShutDown(shutdown); break;
            default: throw new ArgumentOutOfRangeException(nameof(happened), happened, "Not an event of the container table.");
        }
        PassTime();
        RemoveEndedApplications();
        if (_closing && !_closed && _containers.Values.All(container => container.Phase == ContainerPhase.Exited))
        {
            _closed = true;
            Do(new ShutdownComplete());
        }
        var effects = _effects.ToImmutableArray();
        _effects.Clear();
        return effects;
    }

    private void Do(AgentEffect effect) => _effects.Add(effect);

    // Before the bus is up nothing is sent: the registration will carry it all.
    private void Send(ControlMessage message)
    {
        if (_connected)
        {
            Do(new SendMessage(message));
        }
    }

    private void Ignore(string reason) => Do(new Ignored(reason));

    // ---- messages -------------------------------------------------------------------------------------------------------------------------

    private void Receive(ControlMessage message)
    {
        switch (message)
        {
            case NodeRegistered registered when AcceptEpoch(registered.Epoch, "NodeRegistered"):
                _registered = true;
                _heartbeatEvery = double.IsFinite(registered.HeartbeatSeconds)
                    ? TimeSpan.FromSeconds(Math.Clamp(registered.HeartbeatSeconds, 0.1, 60))
                    : TimeSpan.FromSeconds(1);
                Heartbeat();
                break;
            case NodeRefused refused when AcceptEpoch(refused.Epoch, "NodeRefused"):
                _registered = false;
                Do(new Leave(refused.Reason));
                break;
            case ResyncNode resync when AcceptEpoch(resync.Epoch, "ResyncNode"):
                Register();
                break;
            case LaunchContainer launch when AcceptEpoch(launch.Epoch, "LaunchContainer"):
                Launch(launch);
                break;
            case StopContainer stop when AcceptEpoch(stop.Epoch, "StopContainer"):
                Stop(stop);
                break;
            case AcknowledgeExits acknowledge when AcceptEpoch(acknowledge.Epoch, "AcknowledgeExits"):
                Acknowledge(acknowledge);
                break;
            case CleanApplication clean when AcceptEpoch(clean.Epoch, "CleanApplication"):
                Clean(clean.ApplicationId);
                break;
            // The only message that may come unsigned, so it must not be able to do harm.
            case ControlRefused refused:
                Ignore($"The resource manager refused a message of this agent: {refused.Reason}");
                break;
            case NodeRegistered or NodeRefused or ResyncNode or LaunchContainer or StopContainer or AcknowledgeExits or CleanApplication:
                break;
            default:
                Ignore($"A {message?.GetType().Name ?? "null"} is not meant for a node agent.");
                break;
        }
    }

    /// <summary>False for a message of a resource manager that another one has followed: there is one active resource manager per epoch.</summary>
    private bool AcceptEpoch(int epoch, string what)
    {
        if (epoch < _epoch)
        {
            Ignore($"A {what} of epoch {epoch} came from a resource manager that is no longer active: this node has seen epoch {_epoch}.");
            return false;
        }
        if (epoch > _epoch)
        {
            _epoch = epoch;
            Do(new SaveEpoch(epoch));
        }
        return true;
    }

    private void Connect()
    {
        _connected = true;
        Register();
    }

    private void Register()
    {
        _registered = false;
        _nextReport = _connected ? _now + RegisterAgainAfter : DateTimeOffset.MaxValue;
        if (_connected)
        {
            Send(new RegisterNode(node.NodeId, node.Incarnation, node.Capacity, node.Url, node.Host)
            {
                Rack = node.Rack,
                Partition = node.Partition,
                Attributes = node.Attributes,
                Version = node.Version,
                Containers = Reports(),
                Applications = Held(),
            });
        }
    }

    private void Heartbeat()
    {
        _nextReport = _now + _heartbeatEvery;
        Send(new NodeHeartbeat(node.NodeId, node.Incarnation, ++_sequence, Reports(), _healthy, _healthReason) { Applications = Held() });
    }

    // Those that are being removed are no news.
    private ImmutableArray<ApplicationId>? Held()
    {
        if (_held.Count == 0)
        {
            return null;
        }
        ImmutableArray<ApplicationId> held = [.. _held.Where(application => !_toRemove.Contains(application)).Take(MaximumHeld)];
        return held.Length == 0 ? null : held;
    }

    private ImmutableArray<ContainerReport> Reports()
    {
        var reports = ImmutableArray.CreateBuilder<ContainerReport>(_containers.Count);
        var exits = 0;
        foreach (var container in _containers.Values)
        {
            var report = container.Report;
            reports.Add(report.Exit is { Diagnostics.Length: > 200 } exit && ++exits > FullDiagnostics
                ? report with { Exit = exit with { Diagnostics = exit.Diagnostics[..200] } }
                : report);
        }
        return reports.MoveToImmutable();
    }

    private void Launch(LaunchContainer launch)
    {
        if (_containers.TryGetValue(launch.ContainerId, out var known))
        {
            Repeat(known);
            return;
        }
        if (_former.TryGetValue(launch.ContainerId, out var exit))
        {
            Send(new ContainerExited(node.NodeId, node.Incarnation, launch.ContainerId, exit));
            return;
        }
        var refusal = launch switch
        {
            { Launch: null } or { Resources: null } or { ApplicationId.Value: null } or { Launch.Command: null } =>
                ExitJudge.WithoutProcess(ContainerExitCause.LaunchFailed, "The launch command is incomplete: it lacks an application, resources or a command."),
            _ when _endedApplications.Contains(launch.ApplicationId) =>
                ExitJudge.WithoutProcess(ContainerExitCause.ApplicationEnded, $"Application {launch.ApplicationId} was already over on this node."),
            _ when _closing =>
                ExitJudge.WithoutProcess(ContainerExitCause.StoppedByOperator, "The node agent is shutting down."),
            _ when _containers.Count >= MaximumLive =>
                ExitJudge.WithoutProcess(ContainerExitCause.LaunchFailed, $"The node already holds {MaximumLive} containers, the most an agent takes."),
            _ => null,
        };
        if (refusal is not null)
        {
            Refuse(launch.ContainerId, refusal);
            return;
        }
        var files = launch.Launch!.Files;
        var record = new ContainerRecord(launch.ContainerId, launch.ApplicationId, launch.AskId, launch.Resources!)
        {
            LaunchedAt = _now,
            Devices = launch.Devices,
            Blobs = files.IsDefaultOrEmpty ? [] : [.. files.Where(file => file?.Sha256 is not null).Select(file => file.Sha256).Distinct()],
        };
        _containers.Add(launch.ContainerId, new Container(record, ContainerPhase.Placing) { Launch = launch });
        _held.Add(launch.ApplicationId);
        Do(new SaveRecord(record));
        Do(new PlaceFiles(launch));
    }

    private void Repeat(Container container)
    {
        switch (container.Phase)
        {
            case ContainerPhase.Running when container.Process is { } process:
                Send(new ContainerStarted(node.NodeId, node.Incarnation, container.Id, process.ProcessId));
                break;
            case ContainerPhase.Exited:
                Send(new ContainerExited(node.NodeId, node.Incarnation, container.Id, container.Exit!));
                break;
            default:
                Ignore($"Container {container.Id} is known already and {container.State}.");
                break;
        }
    }

    /// <summary>A container that is over before it was: answered at once, and remembered so that a later command for it is answered alike.</summary>
    private void Refuse(ContainerId container, ContainerExit exit)
    {
        Remember(container, exit);
        Do(new ForgetContainer(container, exit));
        Send(new ContainerExited(node.NodeId, node.Incarnation, container, exit));
    }

    private void Stop(StopContainer stop)
    {
        if (_containers.TryGetValue(stop.ContainerId, out var container))
        {
            Stop(container, stop.Cause, Grace(stop.GraceSeconds), stop.Reason ?? "");
        }
        else if (_former.TryGetValue(stop.ContainerId, out var exit))
        {
            Send(new ContainerExited(node.NodeId, node.Incarnation, stop.ContainerId, exit));
        }
        else
        {
            // The stop overtook its launch, or the container was never sent here: either way it shall not start any more.
            Refuse(stop.ContainerId, ExitJudge.WithoutProcess(stop.Cause, $"{stop.Reason} It was stopped before it was launched.".TrimStart()));
        }
    }

    private static TimeSpan Grace(double seconds) =>
        double.IsFinite(seconds) && seconds > 0 ? TimeSpan.FromSeconds(Math.Min(seconds, MaximumGrace.TotalSeconds)) : TimeSpan.Zero;

    private void Stop(Container container, ContainerExitCause cause, TimeSpan grace, string reason)
    {
        switch (container.Phase)
        {
            case ContainerPhase.Placing:
                Decide(container, ContainerPhase.PlacingCancelled, cause, reason, grace);
                Do(new CancelPlacing(container.Id));
                break;
            case ContainerPhase.Starting:
                Decide(container, ContainerPhase.StartingCancelled, cause, reason, grace);
                break;
            case ContainerPhase.Running:
                Decide(container, ContainerPhase.Stopping, cause, reason, grace);
                SignalToStop(container);
                break;
            case ContainerPhase.Stopping when !container.Killed && _now + grace < container.Deadline:
                // The first cause stands; a shorter grace is obeyed.
                container.Grace = grace;
                container.Deadline = _now + grace;
                break;
            case ContainerPhase.Exited:
                Send(new ContainerExited(node.NodeId, node.Incarnation, container.Id, container.Exit!));
                break;
            default:
                Ignore($"Container {container.Id} is being stopped already.");
                break;
        }
    }

    private void Decide(Container container, ContainerPhase phase, ContainerExitCause cause, string reason, TimeSpan grace)
    {
        container.Phase = phase;
        container.Grace = grace;
        container.Record = container.Record with { StopCause = cause, StopReason = reason.Length > 1000 ? reason[..1000] : reason };
        Do(new SaveRecord(container.Record));
    }

    private void SignalToStop(Container container)
    {
        container.Deadline = _now + container.Grace;
        if (container.Grace > TimeSpan.Zero)
        {
            Do(new SignalProcess(container.Id, container.Process!, Kill: false));
        }
        // Without grace the deadline is now: the passing of time at the end of this very event kills.
    }

    private void Acknowledge(AcknowledgeExits acknowledge)
    {
        if (acknowledge.Containers.IsDefaultOrEmpty)
        {
            return;
        }
        foreach (var id in acknowledge.Containers)
        {
            if (!_containers.TryGetValue(id, out var container))
            {
                continue;
            }
            if (container.Phase != ContainerPhase.Exited)
            {
                Ignore($"The exit of container {id} was acknowledged, but it is {container.State} here.");
                continue;
            }
            _containers.Remove(id);
            var exit = container.Exit! with { Diagnostics = "" };
            Remember(id, exit);
            Do(new ForgetContainer(id, exit));
        }
    }

    private void Remember(ContainerId container, ContainerExit exit)
    {
        if (_former.TryAdd(container, exit))
        {
            _formerByAge.Enqueue(container);
            if (_formerByAge.Count > MaximumFormer)
            {
                _former.Remove(_formerByAge.Dequeue());
            }
        }
    }

    private void Clean(ApplicationId application)
    {
        if (application.Value is null)
        {
            Ignore("A CleanApplication names no application.");
            return;
        }
        Do(new MarkApplicationEnded(application));
        End(application);
        foreach (var container in _containers.Values)
        {
            if (container.Record.ApplicationId == application && container.Phase is not ContainerPhase.Exited)
            {
                Stop(container, ContainerExitCause.ApplicationEnded, EndedApplicationGrace, "Its application ended.");
            }
        }
    }

    private void End(ApplicationId application)
    {
        _toRemove.Add(application);
        if (_endedApplications.Add(application))
        {
            _endedByAge.Enqueue(application);
            if (_endedByAge.Count > MaximumFormer)
            {
                _endedApplications.Remove(_endedByAge.Dequeue());
            }
        }
    }

    private void RemoveEndedApplications()
    {
        if (_toRemove.Count == 0)
        {
            return;
        }
        foreach (var application in _toRemove.ToArray())
        {
            var live = _containers.Values.Any(container => container.Record.ApplicationId == application && container.Phase != ContainerPhase.Exited);
            if (!live)
            {
                _toRemove.Remove(application);
                _held.Remove(application);
                Do(new RemoveApplication(application));
            }
        }
    }

    // ---- what happens to containers -------------------------------------------------------------------------------------------------------

    private void Find(ContainerFound found)
    {
        var id = found.Record.ContainerId;
        if (_containers.ContainsKey(id) || _former.ContainsKey(id))
        {
            Ignore($"Container {id} was found twice.");
            return;
        }
        var container = new Container(found.Record, ContainerPhase.Starting) { Process = found.Process, Grace = EndedApplicationGrace };
        _containers.Add(id, container);
        _held.Add(found.Record.ApplicationId);
        switch (found)
        {
            case { End: { } end }:
                Exit(container, ExitJudge.Judge(container.Record, end, killed: false));
                break;
            case { Process: not null, Record.StopCause: null }:
                container.Phase = ContainerPhase.Running;
                break;
            case { Process: not null }:
                container.Phase = ContainerPhase.Stopping;
                SignalToStop(container);
                break;
            default:
                // The agent ended between writing the record and seeing the process. A launcher that was under way shows itself soon.
                container.Phase = found.Record.StopCause is null ? ContainerPhase.Starting : ContainerPhase.StartingCancelled;
                container.Deadline = _now + FoundLauncherPatience;
                break;
        }
    }

    private void Placed(FilesPlaced placed)
    {
        switch (Known(placed.ContainerId))
        {
            case { Phase: ContainerPhase.Placing } container:
                container.Phase = ContainerPhase.Starting;
                container.Deadline = _now + LauncherPatience;
                Do(new StartProcess(container.Launch!));
                container.Launch = null;
                break;
            case { Phase: ContainerPhase.PlacingCancelled } container:
                Exit(container, Stopped(container));
                break;
            case var container:
                IgnoreLate(placed.ContainerId, container, "its files are placed");
                break;
        }
    }

    private void NotPlaced(FilesFailed failed)
    {
        switch (Known(failed.ContainerId))
        {
            case { Phase: ContainerPhase.Placing } container:
                Exit(container, ExitJudge.WithoutProcess(failed.Cause, failed.Reason));
                break;
            case { Phase: ContainerPhase.PlacingCancelled } container:
                Exit(container, Stopped(container));
                break;
            case var container:
                IgnoreLate(failed.ContainerId, container, "its files could not be placed");
                break;
        }
    }

    private void Started(ProcessStarted started)
    {
        switch (Known(started.ContainerId))
        {
            case { Phase: ContainerPhase.Starting } container:
                container.Phase = ContainerPhase.Running;
                container.Process = started.Process;
                container.Deadline = null;
                Send(new ContainerStarted(node.NodeId, node.Incarnation, container.Id, started.Process.ProcessId));
                break;
            case { Phase: ContainerPhase.StartingCancelled } container:
                container.Phase = ContainerPhase.Stopping;
                container.Process = started.Process;
                SignalToStop(container);
                break;
            case { Phase: ContainerPhase.Running or ContainerPhase.Stopping } container when container.Process == started.Process:
                break;
            case var container:
                // A process that nobody waits for: no process outlives its container.
                IgnoreLate(started.ContainerId, container, "its process runs; it is killed");
                Do(new SignalProcess(started.ContainerId, started.Process, Kill: true));
                break;
        }
    }

    private void NotStarted(ProcessNotStarted failed)
    {
        switch (Known(failed.ContainerId))
        {
            case { Phase: ContainerPhase.Starting } container:
                Exit(container, ExitJudge.WithoutProcess(failed.Cause, failed.Reason));
                break;
            case { Phase: ContainerPhase.StartingCancelled } container:
                Exit(container, Stopped(container));
                break;
            case var container:
                IgnoreLate(failed.ContainerId, container, "its process could not be started");
                break;
        }
    }

    private void Ended(ProcessExited exited)
    {
        switch (Known(exited.ContainerId))
        {
            // A process that ends at once may be seen to end before it is seen to start.
            case { Phase: ContainerPhase.Starting or ContainerPhase.StartingCancelled or ContainerPhase.Running or ContainerPhase.Stopping } container:
                Exit(container, ExitJudge.Judge(container.Record, exited.End, container.Killed));
                break;
            case var container:
                IgnoreLate(exited.ContainerId, container, "its process ended");
                break;
        }
    }

    private void Exceeded(MemoryExceeded memory)
    {
        switch (Known(memory.ContainerId))
        {
            case { Phase: ContainerPhase.Running } container:
                var granted = container.Record.Resources.MemoryBytes;
                Decide(
                    container, ContainerPhase.Stopping, ContainerExitCause.OutOfMemory,
                    $"It used {memory.Used >> 20} MiB of memory and was granted {granted >> 20} MiB: "
                    + $"ask for at least {SuggestedMebibytes(memory.Used)} MiB per container, or give each fewer slots.",
                    TimeSpan.Zero);
                SignalToStop(container);
                break;
            case { Phase: ContainerPhase.Stopping, Killed: false } container:
                container.Deadline = _now;
                break;
            case var container:
                IgnoreLate(memory.ContainerId, container, "it uses too much memory");
                break;
        }
    }

    // A quarter more than was seen, in steps of 64 MiB: what was seen is where it was stopped, not what it needs.
    private static long SuggestedMebibytes(long used) => ((used >> 20) * 5 / 4 + 63) / 64 * 64;

    private void Exit(Container container, ContainerExit exit)
    {
        container.Phase = ContainerPhase.Exited;
        container.Exit = exit;
        container.Deadline = null;
        container.Launch = null;
        Send(new ContainerExited(node.NodeId, node.Incarnation, container.Id, exit));
        Do(new ReleaseFiles(container.Id, container.Record.ApplicationId));
    }

    private static ContainerExit Stopped(Container container) => ExitJudge.WithoutProcess(
        container.Record.StopCause ?? ContainerExitCause.Unknown, $"{container.Record.StopReason} It was stopped before its process ran.".TrimStart());

    private Container? Known(ContainerId container) => _containers.GetValueOrDefault(container);

    private void IgnoreLate(ContainerId id, Container? container, string what) =>
        Ignore($"Container {id}: {what}, but it is {(container is null ? "not known" : container.Phase.ToString())}.");

    // ---- time and end ---------------------------------------------------------------------------------------------------------------------

    private void PassTime()
    {
        foreach (var container in _containers.Values)
        {
            if (container.Deadline is not { } deadline || deadline > _now)
            {
                continue;
            }
            switch (container.Phase)
            {
                case ContainerPhase.Stopping:
                    container.Killed = true;
                    container.Deadline = _now + KillAgainAfter;
                    Do(new SignalProcess(container.Id, container.Process!, Kill: true));
                    break;
                case ContainerPhase.Starting:
                    Exit(container, ExitJudge.WithoutProcess(
                        ContainerExitCause.LaunchFailed, "No process was seen to start: the agent restarted in the middle of the launch, or the launcher was killed."));
                    break;
                case ContainerPhase.StartingCancelled:
                    Exit(container, Stopped(container));
                    break;
                default:
                    container.Deadline = null;
                    break;
            }
        }
        if (_now >= _nextReport)
        {
            if (_registered)
            {
                Heartbeat();
            }
            else
            {
                Register();
            }
        }
    }

    private void ShutDown(ShutdownRequested shutdown)
    {
        if (!shutdown.StopContainers)
        {
            if (!_closed)
            {
                _closed = true;
                Do(new ShutdownComplete());
            }
            return;
        }
        _closing = true;
        foreach (var container in _containers.Values)
        {
            if (container.Phase != ContainerPhase.Exited)
            {
                Stop(container, ContainerExitCause.StoppedByOperator, shutdown.Grace, "The node agent was stopped, and its containers with it.");
            }
        }
    }
}
