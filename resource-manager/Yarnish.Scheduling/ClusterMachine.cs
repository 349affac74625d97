using System.Collections.Immutable;
using Yarnish.Protocol;

namespace Yarnish.Scheduling;

/// <summary>
/// The cluster core: a deterministic state machine without clock, randomness, I/O or locks. The shell gives it one event at a time with the time of it and
/// performs the effects it answers with. The same events at the same times give the same effects, byte for byte.
/// <code>
///  Restored ──▶ settling ──(every known node back, or 10 s)──▶ active
///                  │ adopts containers, grants nothing            │ grants
///                  └──────────── every event is handled in both ──┘
/// </code>
/// </summary>
public sealed partial class ClusterMachine
{
    private readonly ClusterState _state;
    private readonly Placing _placing;
    private readonly List<Application> _granted = [];
    private readonly List<(Application Application, ContainerCompletion Completion)> _completed = [];
    private readonly List<(Node Node, ContainerId Container)> _acknowledged = [];
    private readonly Queue<Container> _unconfirmed = new();
    private readonly List<ClusterEffect> _noEffects = [];
    private List<ClusterEffect> _effects = [];
    private int _stamp;

    /// <summary>A machine that waits for <see cref="Restored"/>.</summary>
    /// <param name="settings">Times and bounds.</param>
    /// <param name="configuration">The queues; null for one leaf, <c>root.default</c>. Throws <see cref="ArgumentException"/> when <see cref="ConfigurationCheck"/> finds errors.</param>
    public ClusterMachine(ClusterSettings settings, ClusterConfiguration? configuration = null)
    {
        configuration ??= new ClusterConfiguration();
        var errors = ConfigurationCheck.Validate(configuration);
        if (!errors.IsEmpty)
        {
            throw new ArgumentException($"The configuration has {errors.Length} errors, the first: {errors[0]}", nameof(configuration));
        }
        _state = new ClusterState(settings);
        _placing = new Placing(_state) { Granted = OnGranted };
        QueueTree.Build(_state, configuration);
    }

    /// <summary>Whether the last step stopped at its bound: apply <see cref="ContinuePlacing"/> soon, other events may go first.</summary>
    public bool HasMoreWork => _placing.HasWork;

    /// <summary>Grows with each step that changed something a reader could see.</summary>
    public long Version => _state.Version;

    /// <summary>Epoch of this life; 0 before <see cref="Restored"/>.</summary>
    public int Epoch => _state.Epoch;

    /// <summary>The state, for the invariants, plans and tests.</summary>
    internal ClusterState State => _state;

    /// <summary>The placing part, for plans and tests.</summary>
    internal Placing Placing => _placing;

    /// <summary>Applies one event and appends what is to be done to <paramref name="effects"/>, in order.</summary>
    /// <param name="clusterEvent">What happened.</param>
    /// <param name="now">When; a time before that of an earlier event counts as that one.</param>
    /// <param name="effects">Where the effects go; not cleared.</param>
    /// <exception cref="InvalidOperationException">Any event before <see cref="Restored"/>, or a second one of it: a programmer's mistake.</exception>
    public void Apply(ClusterEvent clusterEvent, DateTimeOffset now, List<ClusterEffect> effects)
    {
        if (clusterEvent is Restored == _state.Epoch > 0)
        {
            throw new InvalidOperationException(_state.Epoch > 0
                ? "The machine was restored before: Restored comes once, first."
                : $"{clusterEvent.GetType().Name} came before Restored.");
        }
        _effects = effects;
        _state.Now = Math.Max(_state.Now, now.UtcTicks);
        switch (clusterEvent)
        {
            case NodeBeat e: OnNodeBeat(e.Message); break;
            case ContainerBegan e: OnContainerBegan(e.Message); break;
            case ContainerEnded e: OnContainerEnded(e.Message); break;
            case AsksUpdated e: OnAsksUpdated(e.Message); break;
            case ApplicationBeat e: OnApplicationBeat(e.Message); break;
            case Tick: OnTick(); break;
            case BusReturned: _state.SilenceCountsFrom = _state.Now + _state.Settings.ReturnToBus.Ticks; break;
            case ContinuePlacing: break;
            case NodeRegistering e: OnNodeRegistering(e.Message); break;
            case ApplicationRegistering e: OnApplicationRegistering(e.Message); break;
            case ApplicationFinished e: OnApplicationFinished(e.Message); break;
            case ApplicationKilled e: OnApplicationKilled(e); break;
            case ApplicationMoved e: OnApplicationMoved(e); break;
            case NodeDrainRequested e: OnNodeDrainRequested(e); break;
            case NodeDrainCancelled e: OnNodeDrainCancelled(e); break;
            case ConfigurationChanged e: OnConfigurationChanged(e.Configuration); break;
            case Restored e: OnRestored(e); break;
            default: throw new InvalidOperationException($"{clusterEvent.GetType().Name} is not an event of this machine.");
        }
        TellCompletions();
        _placing.Pass(_state.Settings.GrantsPerStep);
        TellGrants();
        _effects = _noEffects;
    }

    private void Send(Node node, ControlMessage message) => _effects.Add(new SendToNode(node.Id, message));

    private void Send(Application application, ControlMessage message) => _effects.Add(new SendToApplication(application.Id, message));

    private void Journal(JournalRecord record) => _effects.Add(new WriteJournal(record));

    private DateTimeOffset Now => At(_state.Now);

    private static DateTimeOffset At(long ticks) => new(ticks, TimeSpan.Zero);

    private void OnGranted(Container container)
    {
        var application = container.Application!;
        var node = container.Node;
        _state.Version++;
        _state.Containers.Add(container);
        _unconfirmed.Enqueue(container);
        application.Touch(node);
        if (application.State == ApplicationState.Accepted)
        {
            application.State = ApplicationState.Running;
        }
        Launch(container);
        if (application.Granted.Count == 0)
        {
            _granted.Add(application);
        }
        application.Granted.Add(GrantOf(container));
    }

    private void Launch(Container container)
    {
        container.LaunchedAt = _state.Now;
        var ask = container.Ask!;
        Send(container.Node, new LaunchContainer(
            _state.Epoch, container.Id, container.Application!.Id, container.AskId, container.Shape.Resources, ask.Message!.Launch, ask.Message.TraceParent)
        {
            BlobSources = _state.Settings.BlobSources,
            Devices = container.Devices,
        });
    }

    private static ContainerGrant GrantOf(Container container) =>
        new(container.Id, container.AskId, container.Node.Id, container.Node.Registration?.Url ?? "", container.Shape.Resources);

    private void TellGrants()
    {
        foreach (var application in _granted)
        {
            Send(application, new ContainersGranted(_state.Epoch, [.. application.Granted]));
            application.Granted.Clear();
        }
        _granted.Clear();
    }

    // Drivers are told of ends before agents may forget them: a crash between the two repeats the end, it never loses it.
    private void TellCompletions()
    {
        for (var i = 0; i < _completed.Count; i++)
        {
            var application = _completed[i].Application;
            if (!IsFirst(i))
            {
                continue;
            }
            var completions = ImmutableArray.CreateBuilder<ContainerCompletion>();
            foreach (var (owner, completion) in _completed)
            {
                if (ReferenceEquals(owner, application))
                {
                    completions.Add(completion);
                }
            }
            Send(application, new ContainersCompleted(_state.Epoch, completions.ToImmutable()));
        }
        _completed.Clear();
        if (_acknowledged.Count > 0)
        {
            var node = _acknowledged[0].Node;
            var containers = ImmutableArray.CreateBuilder<ContainerId>(_acknowledged.Count);
            foreach (var (_, container) in _acknowledged)
            {
                containers.Add(container);
            }
            Send(node, new AcknowledgeExits(_state.Epoch, containers.MoveToImmutable()));
            _acknowledged.Clear();
        }
    }

    private bool IsFirst(int place)
    {
        for (var i = 0; i < place; i++)
        {
            if (ReferenceEquals(_completed[i].Application, _completed[place].Application))
            {
                return false;
            }
        }
        return true;
    }
}
