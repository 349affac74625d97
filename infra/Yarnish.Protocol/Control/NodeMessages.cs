using System.Collections.Immutable;
using System.Text.Json.Serialization;

namespace Yarnish.Protocol;

/// <summary>Agent → resource manager: here I am, and these containers run on me. Sent at start, and again when asked by <see cref="ResyncNode"/>.</summary>
/// <param name="NodeId">The node.</param>
/// <param name="Incarnation">Grows with each start of the agent; the resource manager ignores lower ones.</param>
/// <param name="Capacity">What the node offers.</param>
/// <param name="Url">Base URL of the agent's HTTP server: blocks, logs, containers.</param>
/// <param name="Host">Host name, for locality and for people.</param>
public sealed record RegisterNode(NodeId NodeId, long Incarnation, Resources Capacity, string Url, string Host) : ControlMessage
{
    /// <summary>Rack of the node; <c>default-rack</c> when nobody said.</summary>
    public string Rack { get; init; } = "default-rack";

    /// <summary>The partition (exclusive or shared label) the node belongs to; empty is the default partition.</summary>
    public string Partition { get; init; } = "";

    /// <summary>Free attributes for placement constraints, in ordinal order.</summary>
    public ImmutableSortedDictionary<string, string> Attributes { get; init; } = ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal);

    /// <summary>Every container that runs on the node or has ended without the resource manager's acknowledgement.</summary>
    public ImmutableArray<ContainerReport> Containers { get; init; } = [];

    /// <summary>Version of the agent program.</summary>
    public string Version { get; init; } = "";

    /// <summary>Applications whose directories the node holds and which it has not been told to remove, in order of their ids; null when there are none.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public ImmutableArray<ApplicationId>? Applications { get; init; }
}

/// <summary>Agent → resource manager, every second: proof of life, and the complete list of containers, so that losses of other messages heal.</summary>
/// <param name="NodeId">The node.</param>
/// <param name="Incarnation">Of the agent, see <see cref="RegisterNode"/>.</param>
/// <param name="Sequence">Grows by one with each heartbeat of an incarnation.</param>
/// <param name="Containers">Every container that runs on the node or has ended without acknowledgement.</param>
/// <param name="Healthy">False when the node must get nothing new, such as with a full disk.</param>
/// <param name="HealthReason">Why not healthy, for people; empty when healthy.</param>
public sealed record NodeHeartbeat(NodeId NodeId, long Incarnation, long Sequence, ImmutableArray<ContainerReport> Containers, bool Healthy, string HealthReason)
    : ControlMessage
{
    /// <summary>As <see cref="RegisterNode.Applications"/>: an application that ended while the node could not be told is told again.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public ImmutableArray<ApplicationId>? Applications { get; init; }
}

/// <summary>What an agent knows of one container.</summary>
/// <param name="ContainerId">The container.</param>
/// <param name="ApplicationId">Its application.</param>
/// <param name="Resources">What it was granted.</param>
/// <param name="State">Where in its life it is.</param>
public sealed record ContainerReport(ContainerId ContainerId, ApplicationId ApplicationId, Resources Resources, ContainerState State)
{
    /// <summary>How it ended; null while it runs.</summary>
    public ContainerExit? Exit { get; init; }

    /// <summary>The ask the container answers, so that a resource manager which lost its memory can tell the driver.</summary>
    public long AskId { get; init; }

    /// <summary>The devices it was given, as <see cref="LaunchContainer.Devices"/> said them; null when none.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Devices { get; init; }
}

/// <summary>The life of a container on its node: Localizing → Running → Stopping → Exited; a step may be skipped, never taken back.</summary>
public enum ContainerState
{
    /// <summary>Granted; the agent has not confirmed the launch.</summary>
    Granted,

    /// <summary>The agent fetches its files.</summary>
    Localizing,

    /// <summary>Its process runs.</summary>
    Running,

    /// <summary>Told to stop; its process may still run.</summary>
    Stopping,

    /// <summary>Ended, with exactly one <see cref="ContainerExitCause"/>.</summary>
    Exited,
}

/// <summary>Agent → resource manager: the process of a container runs.</summary>
/// <param name="NodeId">The node.</param>
/// <param name="Incarnation">Of the agent.</param>
/// <param name="ContainerId">The container.</param>
/// <param name="ProcessId">Process id on the node.</param>
public sealed record ContainerStarted(NodeId NodeId, long Incarnation, ContainerId ContainerId, int ProcessId) : ControlMessage;

/// <summary>Agent → resource manager: a container ended. Repeated in heartbeats until <see cref="AcknowledgeExits"/>.</summary>
/// <param name="NodeId">The node.</param>
/// <param name="Incarnation">Of the agent.</param>
/// <param name="ContainerId">The container.</param>
/// <param name="Exit">How.</param>
public sealed record ContainerExited(NodeId NodeId, long Incarnation, ContainerId ContainerId, ContainerExit Exit) : ControlMessage;

/// <summary>How a container ended.</summary>
/// <param name="Cause">The one cause; decisions are taken from it alone.</param>
/// <param name="ExitCode">Exit code of the process, 128 + signal when a signal ended it; -1 when there was no process.</param>
/// <param name="Diagnostics">For people: the tail of its stderr and what the agent knows. At most 4,096 characters.</param>
public sealed record ContainerExit(ContainerExitCause Cause, int ExitCode, string Diagnostics)
{
    /// <summary>What it had in hand at its end, as it wrote into its <see cref="PostMortemPage"/>: numbers with blanks between them, empty for none; null when it left no page.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? InHand { get; init; }
}

/// <summary>Why a container ended: a closed set.</summary>
public enum ContainerExitCause
{
    /// <summary>Its process ended by itself with code 0.</summary>
    Completed,

    /// <summary>Its process ended by itself with another code.</summary>
    Failed,

    /// <summary>A signal that nobody of Yarnish sent ended it.</summary>
    KilledBySignal,

    /// <summary>It used more memory than granted.</summary>
    OutOfMemory,

    /// <summary>Its files could not be fetched or verified.</summary>
    LocalizationFailed,

    /// <summary>Its command could not be started.</summary>
    LaunchFailed,

    /// <summary>The driver released it.</summary>
    Released,

    /// <summary>Taken back for another queue or application.</summary>
    Preempted,

    /// <summary>Its application ended or was killed.</summary>
    ApplicationEnded,

    /// <summary>Its node was lost.</summary>
    NodeLost,

    /// <summary>Granted, but no launch was confirmed in time.</summary>
    GrantExpired,

    /// <summary>Stopped by an operator or by a drain.</summary>
    StoppedByOperator,

    /// <summary>The disk of the node was full.</summary>
    DiskFull,

    /// <summary>The agent cannot tell: the record of its process was lost.</summary>
    Unknown,
}

/// <summary>Resource manager → agent: you are known; this is how we talk.</summary>
/// <param name="Epoch">Epoch of the resource manager; agents refuse messages of a lower one.</param>
/// <param name="HeartbeatSeconds">Seconds between heartbeats.</param>
public sealed record NodeRegistered(int Epoch, double HeartbeatSeconds) : ControlMessage;

/// <summary>Resource manager → agent: you cannot join, and why.</summary>
/// <param name="Epoch">Epoch of the resource manager.</param>
/// <param name="Reason">For people.</param>
public sealed record NodeRefused(int Epoch, string Reason) : ControlMessage;

/// <summary>Resource manager → agent: I do not know you (any more); register again with all your containers.</summary>
/// <param name="Epoch">Epoch of the resource manager.</param>
public sealed record ResyncNode(int Epoch) : ControlMessage;

/// <summary>Resource manager → agent: start this container. Idempotent by container id.</summary>
/// <param name="Epoch">Epoch of the resource manager.</param>
/// <param name="ContainerId">The container.</param>
/// <param name="ApplicationId">Its application.</param>
/// <param name="AskId">The ask it answers.</param>
/// <param name="Resources">What it may use.</param>
/// <param name="Launch">What to run.</param>
/// <param name="TraceParent">W3C trace context of the ask; empty when not traced.</param>
public sealed record LaunchContainer(
    int Epoch, ContainerId ContainerId, ApplicationId ApplicationId, long AskId, Resources Resources, LaunchSpecification Launch, string TraceParent) : ControlMessage
{
    /// <summary>Where the agent may fetch blobs by hash, besides its own cache: base URLs, in order of preference.</summary>
    public ImmutableArray<string> BlobSources { get; init; } = [];

    /// <summary>The numbered devices that are its alone, such as <c>gpu=0,2;fpga=1</c>; null when none. The container finds them in <see cref="ContainerEnvironment.Devices"/>.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Devices { get; init; }
}

/// <summary>
/// What a container runs: any command. The agent adds the variables of <see cref="ContainerEnvironment"/>, places the files into the
/// working directory and starts the command there as a process group of its own.
/// </summary>
/// <param name="Command">Program, found on PATH or relative to the working directory.</param>
/// <param name="Arguments">Its arguments, as they are.</param>
public sealed record LaunchSpecification(string Command, ImmutableArray<string> Arguments)
{
    /// <summary>Environment variables, in ordinal order.</summary>
    public ImmutableSortedDictionary<string, string> Environment { get; init; } = ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal);

    /// <summary>Files to place into the working directory.</summary>
    public ImmutableArray<LaunchFile> Files { get; init; } = [];
}

/// <summary>One file of a container's working directory, by content.</summary>
/// <param name="Path">Relative path with forward slashes; may not leave the directory.</param>
/// <param name="Sha256">Lower-case hexadecimal SHA-256 of the content: its name in every blob store.</param>
/// <param name="Size">Size in bytes.</param>
/// <param name="Executable">Whether it gets the execute permission.</param>
public sealed record LaunchFile(string Path, string Sha256, long Size, bool Executable = false);

/// <summary>The environment variables that the agent gives to every container.</summary>
public static class ContainerEnvironment
{
    /// <summary>Id of the container.</summary>
    public const string ContainerId = "YARNISH_CONTAINER_ID";

    /// <summary>Id of its application.</summary>
    public const string ApplicationId = "YARNISH_APPLICATION_ID";

    /// <summary>Id of the node.</summary>
    public const string NodeId = "YARNISH_NODE_ID";

    /// <summary>Base URL of the node's agent: its block server.</summary>
    public const string NodeUrl = "YARNISH_NODE_URL";

    /// <summary>Directory of the application's blocks on this node; outlives the container, removed when the application ends.</summary>
    public const string BlockDirectory = "YARNISH_BLOCK_DIRECTORY";

    /// <summary>Granted memory in bytes.</summary>
    public const string MemoryBytes = "YARNISH_MEMORY_BYTES";

    /// <summary>Granted thousandths of a core.</summary>
    public const string MilliCores = "YARNISH_MILLI_CORES";

    /// <summary>File that the container may write what it has in hand into, see <see cref="PostMortemPage"/>: the agent reads it when the container has ended.</summary>
    public const string PostMortem = "YARNISH_POST_MORTEM";

    /// <summary>Numbered devices of the container, such as <c>gpu=0,2</c>; not set when it has none.</summary>
    public const string Devices = "YARNISH_DEVICES";
}

/// <summary>Resource manager → agent: stop a container: SIGTERM to its group, SIGKILL after the grace time. Idempotent.</summary>
/// <param name="Epoch">Epoch of the resource manager.</param>
/// <param name="ContainerId">The container.</param>
/// <param name="Cause">The cause its exit shall carry.</param>
/// <param name="GraceSeconds">Seconds between SIGTERM and SIGKILL.</param>
/// <param name="Reason">For people; goes into the diagnostics of the exit.</param>
public sealed record StopContainer(int Epoch, ContainerId ContainerId, ContainerExitCause Cause, double GraceSeconds, string Reason) : ControlMessage;

/// <summary>Resource manager → agent: these exits are recorded; stop repeating them.</summary>
/// <param name="Epoch">Epoch of the resource manager.</param>
/// <param name="Containers">The ended containers.</param>
public sealed record AcknowledgeExits(int Epoch, ImmutableArray<ContainerId> Containers) : ControlMessage;

/// <summary>Resource manager → agent: the application is over; stop what is left of it and remove its directories, blocks included.</summary>
/// <param name="Epoch">Epoch of the resource manager.</param>
/// <param name="ApplicationId">The application.</param>
public sealed record CleanApplication(int Epoch, ApplicationId ApplicationId) : ControlMessage;
