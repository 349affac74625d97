using System.Collections.Immutable;
using Yarnish.NodeAgent.Containers;
using Yarnish.Protocol;
using Yarnish.Scheduling;
using Tick = Yarnish.Scheduling.Tick;

namespace Yarnish.Simulation;

/// <summary>What a run ended with.</summary>
internal sealed record Outcome(List<string> Violations, long Events, SortedSet<string> Reached, List<string> Log, ulong Digest);

/// <summary>
/// The whole cluster in one thread on a virtual clock: the real <see cref="ClusterMachine"/>, the real <see cref="Yarnish.NodeAgent.Containers.ContainerTable"/> on each node, drivers that speak the real protocol, and a network that
/// drops, repeats, delays and reorders until the faults end. Everything follows from the scenario, so a run is repeated exactly.
/// </summary>
internal sealed class World
{
    public static readonly LaunchSpecification Command = new("run", []);

    private static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    private readonly Scenario _scenario;
    private readonly SeededRandom _network;
    private readonly PriorityQueue<Action, (double At, long Number)> _agenda = new();
    private readonly SortedDictionary<NodeId, SimulatedAgent> _agents = [];
    private readonly SortedDictionary<ApplicationId, SimulatedDriver> _drivers = [];
    private readonly List<JournalRecord> _journal = [];
    private readonly List<ClusterEffect> _effects = [];
    private readonly Dictionary<string, double> _cutUntil = [];
    private readonly List<string> _violations = [];
    private readonly SortedSet<string> _reached = new(StringComparer.Ordinal);
    private readonly Queue<string> _log = new();
    private readonly Witness _witness;
    private readonly EventLog? _eventLog;
    private ClusterConfiguration _configuration;
    private ClusterMachine? _machine;
    private int _epoch;
    private int _crashAfterEffects = -1;
    private bool _continuing;
    private long _number;
    private long _events;
    private ulong _digest = 14695981039346656037UL;

    public World(Scenario scenario, EventLog? eventLog)
    {
        _scenario = scenario;
        _network = new SeededRandom(scenario.Seed ^ 0xABCDEF);
        _configuration = scenario.Configuration;
        _witness = new Witness(_violations, _reached);
        _eventLog = eventLog;
    }

    public double Now { get; private set; }

    public bool HasPartition => _scenario.HasPartition;

    public DateTimeOffset Time => Start.AddSeconds(Now);

    public static Outcome Run(Scenario scenario, EventLog? eventLog = null) => new World(scenario, eventLog).Run();

    private Outcome Run()
    {
        StartManager();
        foreach (var deed in _scenario.Deeds)
        {
            At(deed.At, () => Perform(deed));
        }
        At(Scenario.FaultsEnd, Heal);
        while (_agenda.TryDequeue(out var action, out var due) && due.At <= Scenario.End && _violations.Count == 0)
        {
            Now = due.At;
            action();
        }
        if (_violations.Count == 0)
        {
            _witness.CheckAtRest(_machine!, _agents.Values, _drivers.Values);
        }
        foreach (var violation in _violations)
        {
            _eventLog?.Write(Now, "violation", violation);
        }
        return new Outcome(_violations, _events, _reached, [.. _log], _digest);
    }

    public void After(double seconds, Action action) => At(Now + seconds, action);

    private void At(double at, Action action) => _agenda.Enqueue(action, (at, ++_number));

    /// <summary>The second of this run that a time is.</summary>
    public double Second(DateTimeOffset time) => (time - Start).TotalSeconds;

    /// <summary>What the resource manager answers to a node that asks how to join: its epoch; null when it cannot be asked.</summary>
    public int? Answer(NodeId node) => _machine is null || _cutUntil.GetValueOrDefault("node " + node) > Now ? null : _epoch;

    /// <summary>Does a step of a peer's core: one that throws is a violation.</summary>
    public ImmutableArray<AgentEffect> Guard(string what, Func<ImmutableArray<AgentEffect>> step)
    {
        try
        {
            _events++;
            return step();
        }
        catch (Exception error) when (error is not OutOfMemoryException)
        {
            _violations.Add($"crash: {what} threw {error.GetType().Name}: {error.Message} {error.StackTrace?.Split('\n').FirstOrDefault()?.Trim()}");
            return [];
        }
    }

    public void Expect(bool holds, string invariant, string message)
    {
        if (!holds)
        {
            _violations.Add($"{invariant}: {message}");
        }
    }

    /// <summary>Writes down what an agent was told or decided, for who reads the whole log.</summary>
    public void NoteAgent(NodeId node, object thing)
    {
        if (_eventLog is not null && thing is not (Yarnish.NodeAgent.Containers.Tick or SendMessage or MessageReceived))
        {
            _eventLog.Write(Now, thing is AgentEvent ? "agent" : "effect", Text(thing), thing, node.Value);
        }
    }

    private void Note(string text, string kind = "cluster", object? subject = null, string? node = null, string? application = null)
    {
        _eventLog?.Write(Now, kind, text, subject, node, application);
        _log.Enqueue($"{Now,8:0.000} {text}");
        if (_log.Count > 400)
        {
            _log.Dequeue();
        }
    }

    public void Reach(string what) => _reached.Add(what);

    public void FromNode(NodeId node, ControlMessage message) => Travel("node " + node, message, true, () => ToManager(ControlAddress.Node(node), message));

    public void FromDriver(ApplicationId application, ControlMessage message) => Travel("driver " + application, message, true, () => ToManager(ControlAddress.Application(application), message));

    // A message may be lost, arrive twice, late, or before an earlier one.
    private void Travel(string who, ControlMessage message, bool up, Action deliver)
    {
        var faulty = Now < Scenario.FaultsEnd;
        if (_cutUntil.GetValueOrDefault(who) > Now || (faulty && _network.Chance(_scenario.DropPerMille)))
        {
            Reach("message lost");
            _eventLog?.WriteMessage(Now, "lost", who, up, message, Text(message));
            return;
        }
        _eventLog?.WriteMessage(Now, "send", who, up, message, Text(message));
        var copies = faulty && _network.Chance(_scenario.DuplicatePerMille) ? 2 : 1;
        for (var i = 0; i < copies; i++)
        {
            var slow = faulty && _network.Chance(_scenario.SlowPerMille);
            After((slow ? _network.Between(100, 9000) : _network.Between(1, 40)) / 1000.0, deliver);
        }
        if (copies == 2)
        {
            Reach("message twice");
        }
    }

    private void ToManager(ControlAddress from, ControlMessage message)
    {
        if (_machine is not null && ClusterEvent.From(from, message) is { } clusterEvent)
        {
            Apply(clusterEvent);
        }
    }

    private void StartManager()
    {
        _epoch++;
        _machine = new ClusterMachine(_scenario.Settings, _configuration);
        _continuing = false;
        Note($"manager starts in epoch {_epoch}");
        Apply(new Restored(_epoch, [.. _journal]));
        TickOn(_epoch);
    }

    private void TickOn(int epoch)
    {
        if (_machine is null || epoch != _epoch)
        {
            return;
        }
        Apply(new Tick());
        After(0.2, () => TickOn(epoch));
    }

    private void Apply(ClusterEvent clusterEvent)
    {
        _events++;
        _effects.Clear();
        var machine = _machine!;
        var at = Time;
        if (clusterEvent is not (Tick or ContinuePlacing or NodeBeat or ApplicationBeat))
        {
            Note(Text(clusterEvent), "cluster", clusterEvent);
        }
        try
        {
            _witness.Before(machine);
            machine.Apply(clusterEvent, at, _effects);
            _witness.After(machine, clusterEvent, _effects);
        }
        catch (Exception error) when (error is not OutOfMemoryException)
        {
            _violations.Add($"crash: {clusterEvent.GetType().Name} threw {error.GetType().Name}: {error.Message} {error.StackTrace?.Split('\n').FirstOrDefault()?.Trim()}");
            return;
        }
        if (_events % 97 == 0)
        {
            _ = machine.Snapshot(at);
        }
        Perform([.. _effects]);
        if (_machine is not null && _machine.HasMoreWork && !_continuing)
        {
            _continuing = true;
            var epoch = _epoch;
            After(0.002, () =>
            {
                if (epoch == _epoch && _machine is not null)
                {
                    _continuing = false;
                    Reach("work left for the next step");
                    Apply(new ContinuePlacing());
                }
            });
        }
    }

    private void Perform(ClusterEffect[] effects)
    {
        foreach (var effect in effects)
        {
            Digest(effect);
            if (_crashAfterEffects == 0)
            {
                // A crash between two effects: what came before is done, the rest is lost.
                _crashAfterEffects = -1;
                Reach("manager crashed between effects");
                Crash();
                return;
            }
            _crashAfterEffects -= _crashAfterEffects > 0 ? 1 : 0;
            switch (effect)
            {
                case WriteJournal e: _journal.Add(e.Record); break;
                case SendToNode e when _agents.TryGetValue(e.NodeId, out var agent):
                    if (e.Message is LaunchContainer or StopContainer)
                    {
                        Note($"to {e.NodeId}: {Text(e.Message)}", "order", e.Message, e.NodeId.Value);
                    }
                    Travel("node " + e.NodeId, e.Message, false, () => agent.Receive(e.Message));
                    break;
                case SendToApplication e when _drivers.TryGetValue(e.ApplicationId, out var driver):
                    Travel("driver " + e.ApplicationId, e.Message, false, () => driver.Receive(e.Message));
                    break;
                default: break;
            }
        }
    }

    // FNV-1a over what leaves the core, in order: equal in every process and on every machine, or the core is not deterministic.
    private void Digest(ClusterEffect effect)
    {
        var text = effect switch
        {
            SendToNode { Message: LaunchContainer m } e => $"{e.NodeId} launch {m.ContainerId} {m.AskId} {m.Devices}",
            SendToNode { Message: StopContainer m } e => $"{e.NodeId} stop {m.ContainerId} {m.Reason}",
            SendToApplication { Message: AsksWaiting m } e => $"{e.ApplicationId} waits {string.Join(' ', m.Waiting)}",
            SendToApplication { Message: ContainersGranted m } e => $"{e.ApplicationId} granted {string.Join(' ', m.Grants.Select(static grant => grant.ContainerId))}",
            SendToApplication { Message: ContainersCompleted m } e => $"{e.ApplicationId} completed {string.Join(' ', m.Completions.Select(static completion => completion.ContainerId))}",
            SendToNode e => $"{e.NodeId} {e.Message.GetType().Name}",
            SendToApplication e => $"{e.ApplicationId} {e.Message.GetType().Name}",
            _ => effect.GetType().Name,
        };
        foreach (var c in text)
        {
            _digest = (_digest ^ c) * 1099511628211UL;
        }
    }

    private void Crash()
    {
        if (_machine is null)
        {
            return;
        }
        Note("manager crashes");
        Reach("manager crashed");
        _machine = null;
        After(_network.Between(100, 12000) / 1000.0, () =>
        {
            if (_machine is null)
            {
                StartManager();
            }
        });
    }

    private void Perform(Deed deed)
    {
        Note("deed: " + deed, "deed", null,
            deed.Kind is "start-agent" or "restart-agent" or "crash-node" or "cut-node" or "sicken" or "drain" ? "n" + deed.Subject : null,
            deed.Kind is "crash-manager" or "reload" || deed.Kind.EndsWith("node", StringComparison.Ordinal) || deed.Kind is "start-agent" or "restart-agent" or "sicken" or "drain" ? null : "app" + deed.Subject);
        Reach(deed.Kind);
        var random = new SeededRandom(deed.Seed);
        var node = new NodeId("n" + deed.Subject);
        var application = new ApplicationId("app" + deed.Subject);
        _agents.TryGetValue(node, out var agent);
        _drivers.TryGetValue(application, out var driver);
        switch (deed.Kind)
        {
            case "start-agent":
                agent = _agents[node] = new SimulatedAgent(this, node, _scenario.Nodes[deed.Subject], random, _scenario.DisksSurvive);
                agent.Start();
                break;
            case "start-driver":
                _drivers[application] = driver = new SimulatedDriver(this, application, random.Pick("ada", "bob"), random.Pick("", "default", "one", "two.red", "two.blue"), random.Between(0, 3), random);
                driver.Start();
                break;
            case "change-asks": driver?.Change(); break;
            case "finish": driver?.Finish(); break;
            case "crash-manager" when random.Chance(500): _crashAfterEffects = random.Between(0, 12); break;
            case "crash-manager": Crash(); break;
            case "restart-agent" when agent is { Up: true }:
                switch (random.Between(0, 4))
                {
                    case 0: agent.ShutDown(containersToo: false); break;
                    case 1: agent.ShutDown(containersToo: true); break;
                    default: agent.StopProgram(); break;
                }
                After(random.Between(100, 20000) / 1000.0, () =>
                {
                    // One that did not end by now is killed.
                    agent.StopProgram();
                    agent.Start();
                });
                break;
            case "crash-node" when agent is { Up: true }:
                agent.Die();
                After(random.Between(1000, 25000) / 1000.0, agent.Start);
                break;
            case "cut-node": _cutUntil["node " + node] = Now + random.Between(1, 25); break;
            case "cut-driver": _cutUntil["driver " + application] = Now + random.Between(1, 40); break;
            case "kill-driver": driver?.Die(); break;
            case "sicken" when agent is not null:
                agent.SetHealth(false);
                After(random.Between(2, 20), () => agent.SetHealth(true));
                break;
            case "drain" when _machine is not null:
                Apply(new NodeDrainRequested(node, random.Chance(500) ? Start.AddSeconds(Now + random.Between(1, 20)) : null, "a test"));
                After(random.Between(5, 25), () => Operate(new NodeDrainCancelled(node)));
                break;
            case "kill-application": Operate(new ApplicationKilled(application, "a test")); break;
            case "reload":
                var configuration = Scenario.RandomConfiguration(random);
                if (_machine is not null)
                {
                    Apply(new ConfigurationChanged(configuration));
                    if (_effects.OfType<ConfigurationApplied>().Any())
                    {
                        _configuration = configuration;
                    }
                    else
                    {
                        Reach("reload refused");
                    }
                }
                break;
            default: break;
        }
    }

    private void Operate(ClusterEvent clusterEvent)
    {
        if (_machine is not null)
        {
            Apply(clusterEvent);
        }
    }

    // From here on nothing goes wrong any more: everything must come right by itself.
    private void Heal()
    {
        Note("faults end");
        _crashAfterEffects = -1;
        _cutUntil.Clear();
        foreach (var agent in _agents.Values)
        {
            agent.SetHealth(true);
        }
    }

    private static string Text(object thing)
    {
        var text = thing switch
        {
            AsksUpdated { Message: var m } => $"{m.ApplicationId} asks {string.Join(", ", m.Asks.Select(static ask => $"{ask.AskId}: {ask.Desired} of {ask.Resources} priority {ask.Priority}"))}; holds {m.Held?.Length}, releases {m.Release.Length}",
            NodeRegistering { Message: var m } => $"{m.NodeId} registers, incarnation {m.Incarnation}, with {string.Join(", ", m.Containers.Select(static report => $"{report.ContainerId} {report.State}"))}",
            ContainerEnded { Message: var m } => $"{m.NodeId}: {m.ContainerId} ended, {m.Exit.Cause}",
            ContainerBegan { Message: var m } => $"{m.NodeId}: {m.ContainerId} runs",
            LaunchContainer m => $"launch {m.ContainerId} for ask {m.AskId} of {m.ApplicationId}",
            MessageReceived { Message: var m } => Text(m),
            PlaceFiles m => $"place files of {m.Launch.ContainerId}",
            StartProcess m => $"start process of {m.Launch.ContainerId}",
            ContainerFound m => $"found {m.Record.ContainerId}, process {m.Process?.ProcessId}, end {m.End?.ExitCode}",
            SaveRecord m => $"write down {m.Record.ContainerId}, stop {m.Record.StopCause}",
            NodeHeartbeat m => $"heartbeat {m.Sequence} with {string.Join(", ", m.Containers.Select(static report => $"{report.ContainerId} {report.State}"))}",
            RegisterNode m => $"register incarnation {m.Incarnation} with {string.Join(", ", m.Containers.Select(static report => $"{report.ContainerId} {report.State}"))}",
            UpdateAsks m => $"asks {string.Join(", ", m.Asks.Select(static ask => $"{ask.AskId}: {ask.Desired} of {ask.Resources}"))}; holds {m.Held?.Length}, releases {m.Release.Length}",
            ContainersGranted m => $"granted {string.Join(", ", m.Grants.Select(static grant => $"{grant.ContainerId} on {grant.NodeId} for ask {grant.AskId}"))}",
            ContainersCompleted m => $"ended {string.Join(", ", m.Completions.Select(static completion => $"{completion.ContainerId} {completion.Exit.Cause}"))}",
            AcknowledgeExits m => $"acknowledge ends of {string.Join(", ", m.Containers)}",
            AsksWaiting m => $"waiting {string.Join("; ", m.Waiting)}",
            StopContainer m => $"stop {m.ContainerId}, {m.Cause}: {m.Reason}",
            _ => thing.ToString() ?? "",
        };
        return text.Length > 260 ? text[..260] + "…" : text;
    }
}
