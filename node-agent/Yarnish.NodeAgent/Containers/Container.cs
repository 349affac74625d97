using System.Collections.Immutable;
using Yarnish.Protocol;

namespace Yarnish.NodeAgent.Containers;

/// <summary>Where a container is on this node.</summary>
/// <remarks>
/// <code>
///      launch
///        │
///        ▼           failed
///     Placing ─────────────────────────┐        the words of the protocol:
///      │    │ stop                     │          Placing, Starting            localizing
///      │    └──▶ PlacingCancelled ─────┤          Running                      running
///      │ placed                        │          *Cancelled, Stopping         stopping
///      ▼           not started         │          Exited                       exited
///     Starting ────────────────────────┤
///      │    │ stop      not started    │
///      │    └──▶ StartingCancelled ────┤
///      │ started       │ started       │
///      ▼               ▼               ▼   acknowledged
///     Running ─────▶ Stopping ──────▶ Exited ─────────▶ former (a note of the exit, nothing else)
///      │  stop, memory      exited     ▲
///      └───────────────────────────────┘
/// </code>
/// </remarks>
internal enum ContainerPhase
{
    /// <summary>Its files are fetched and placed.</summary>
    Placing,

    /// <summary>Stopped while its files were placed: waits for the placing to let go.</summary>
    PlacingCancelled,

    /// <summary>Its launcher starts.</summary>
    Starting,

    /// <summary>Stopped while its launcher started: waits for the process to signal.</summary>
    StartingCancelled,

    /// <summary>Its process runs.</summary>
    Running,

    /// <summary>Signalled: waits for the process to end.</summary>
    Stopping,

    /// <summary>Over; reported until acknowledged.</summary>
    Exited,
}

/// <summary>One container in the table. Mutable, owned by the table alone.</summary>
internal sealed class Container(ContainerRecord record, ContainerPhase phase)
{
    /// <summary>What is written down.</summary>
    public ContainerRecord Record { get; set; } = record;

    /// <summary>Where it is.</summary>
    public ContainerPhase Phase { get; set; } = phase;

    /// <summary>What to start; null once it was started.</summary>
    public LaunchContainer? Launch { get; set; }

    /// <summary>Its process, once seen.</summary>
    public ProcessIdentity? Process { get; set; }

    /// <summary>How it ended.</summary>
    public ContainerExit? Exit { get; set; }

    /// <summary>Between SIGTERM and SIGKILL, once it is being stopped.</summary>
    public TimeSpan Grace { get; set; }

    /// <summary>When something is due: the end of the grace time, or of the patience with a launcher.</summary>
    public DateTimeOffset? Deadline { get; set; }

    /// <summary>Whether SIGKILL was sent.</summary>
    public bool Killed { get; set; }

    /// <summary>Its id.</summary>
    public ContainerId Id => Record.ContainerId;

    /// <summary>In the words of the protocol.</summary>
    public ContainerState State => Phase switch
    {
        ContainerPhase.Placing or ContainerPhase.Starting => ContainerState.Localizing,
        ContainerPhase.Running => ContainerState.Running,
        ContainerPhase.Exited => ContainerState.Exited,
        _ => ContainerState.Stopping,
    };

    /// <summary>What the resource manager is told.</summary>
    public ContainerReport Report => new(Id, Record.ApplicationId, Record.Resources, State) { Exit = Exit, AskId = Record.AskId, Devices = Record.Devices };
}

/// <summary>One container as readers see it.</summary>
/// <param name="Record">What is written down.</param>
/// <param name="State">Where it is.</param>
/// <param name="Process">Its process, once seen.</param>
/// <param name="Exit">How it ended; null while it lives.</param>
internal sealed record ContainerView(ContainerRecord Record, ContainerState State, ProcessIdentity? Process, ContainerExit? Exit);

/// <summary>The table at one moment, for readers.</summary>
/// <param name="Version">Grows with each change.</param>
/// <param name="Registered">Whether the resource manager knows this node.</param>
/// <param name="Epoch">Highest epoch seen; 0 before the first.</param>
/// <param name="Healthy">Whether the node may get new containers.</param>
/// <param name="HealthReason">Why not, for people.</param>
/// <param name="Containers">Every container, oldest grant first.</param>
internal sealed record TableSnapshot(
    long Version, bool Registered, int Epoch, bool Healthy, string HealthReason, ImmutableArray<ContainerView> Containers)
{
    /// <summary>Nothing yet.</summary>
    public static TableSnapshot Empty { get; } = new(0, false, 0, true, "", []);
}
