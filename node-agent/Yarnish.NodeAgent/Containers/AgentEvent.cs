using Yarnish.Protocol;

namespace Yarnish.NodeAgent.Containers;

/// <summary>Everything that can happen to a <see cref="ContainerTable"/>: a closed set.</summary>
internal abstract record AgentEvent;

/// <summary>A message arrived from the control bus.</summary>
/// <param name="Message">Any message; those not meant for agents are ignored aloud.</param>
internal sealed record MessageReceived(ControlMessage Message) : AgentEvent;

/// <summary>The agent learnt the epoch of the resource manager by another way than a message, such as the connection answer.</summary>
/// <param name="Epoch">The epoch.</param>
internal sealed record EpochSeen(int Epoch) : AgentEvent;

/// <summary>The bus is up: register.</summary>
internal sealed record BusConnected : AgentEvent;

/// <summary>At start, a container of the agent's previous incarnation was found.</summary>
/// <param name="Record">What was written down.</param>
/// <param name="Process">Its process when that still runs.</param>
/// <param name="End">How its process ended when it did; both null when no process was ever seen.</param>
internal sealed record ContainerFound(ContainerRecord Record, ProcessIdentity? Process, ProcessEnd? End) : AgentEvent;

/// <summary>At start, the note of a container that is over and acknowledged was found.</summary>
/// <param name="ContainerId">The container.</param>
/// <param name="Exit">How it ended.</param>
internal sealed record FormerContainerFound(ContainerId ContainerId, ContainerExit Exit) : AgentEvent;

/// <summary>At start, the directory of an application was found; whether the application still runs only the resource manager knows.</summary>
/// <param name="ApplicationId">The application.</param>
internal sealed record ApplicationFound(ApplicationId ApplicationId) : AgentEvent;

/// <summary>At start, the directory of an application that was being removed was found.</summary>
/// <param name="ApplicationId">The application.</param>
internal sealed record EndedApplicationFound(ApplicationId ApplicationId) : AgentEvent;

/// <summary>All files of a container stand in its working directory.</summary>
/// <param name="ContainerId">The container.</param>
internal sealed record FilesPlaced(ContainerId ContainerId) : AgentEvent;

/// <summary>The files of a container could not be fetched, verified or placed, or placing was cancelled.</summary>
/// <param name="ContainerId">The container.</param>
/// <param name="Cause">The cause the exit shall carry.</param>
/// <param name="Reason">For people.</param>
internal sealed record FilesFailed(ContainerId ContainerId, ContainerExitCause Cause, string Reason) : AgentEvent;

/// <summary>The process of a container runs.</summary>
/// <param name="ContainerId">The container.</param>
/// <param name="Process">Which.</param>
internal sealed record ProcessStarted(ContainerId ContainerId, ProcessIdentity Process) : AgentEvent;

/// <summary>The process of a container could not be started.</summary>
/// <param name="ContainerId">The container.</param>
/// <param name="Cause">The cause the exit shall carry.</param>
/// <param name="Reason">For people.</param>
internal sealed record ProcessNotStarted(ContainerId ContainerId, ContainerExitCause Cause, string Reason) : AgentEvent;

/// <summary>The process of a container is gone.</summary>
/// <param name="ContainerId">The container.</param>
/// <param name="End">What is known of its end.</param>
internal sealed record ProcessExited(ContainerId ContainerId, ProcessEnd End) : AgentEvent;

/// <summary>A container uses more memory than granted.</summary>
/// <param name="ContainerId">The container.</param>
/// <param name="Used">Bytes in use.</param>
internal sealed record MemoryExceeded(ContainerId ContainerId, long Used) : AgentEvent;

/// <summary>The health of the node changed.</summary>
/// <param name="Healthy">Whether it may get new containers.</param>
/// <param name="Reason">Why not, for people.</param>
internal sealed record HealthChanged(bool Healthy, string Reason) : AgentEvent;

/// <summary>Time passed.</summary>
internal sealed record Tick : AgentEvent;

/// <summary>The agent is to end.</summary>
/// <param name="StopContainers">Whether its containers end with it; otherwise they live on for the next incarnation.</param>
/// <param name="Grace">Between SIGTERM and SIGKILL.</param>
internal sealed record ShutdownRequested(bool StopContainers, TimeSpan Grace) : AgentEvent;
