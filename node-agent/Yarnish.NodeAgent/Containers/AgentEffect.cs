using Yarnish.Protocol;

namespace Yarnish.NodeAgent.Containers;

/// <summary>Everything a <see cref="ContainerTable"/> can ask the world to do: a closed set. Effects are performed in order.</summary>
internal abstract record AgentEffect;

/// <summary>Sends to the resource manager; may be lost, the protocol heals by repetition.</summary>
/// <param name="Message">What.</param>
internal sealed record SendMessage(ControlMessage Message) : AgentEffect;

/// <summary>Writes down the highest epoch seen.</summary>
/// <param name="Epoch">The epoch.</param>
internal sealed record SaveEpoch(int Epoch) : AgentEffect;

/// <summary>Writes down a container, before anything else is done for it.</summary>
/// <param name="Record">What.</param>
internal sealed record SaveRecord(ContainerRecord Record) : AgentEffect;

/// <summary>Replaces the record of a container by a short note of its exit.</summary>
/// <param name="ContainerId">The container.</param>
/// <param name="Exit">How it ended, without diagnostics.</param>
internal sealed record ForgetContainer(ContainerId ContainerId, ContainerExit Exit) : AgentEffect;

/// <summary>Fetches and places the files; answered by <see cref="FilesPlaced"/> or <see cref="FilesFailed"/>.</summary>
/// <param name="Launch">The launch.</param>
internal sealed record PlaceFiles(LaunchContainer Launch) : AgentEffect;

/// <summary>Gives up placing; still answered by <see cref="FilesPlaced"/> or <see cref="FilesFailed"/>.</summary>
/// <param name="ContainerId">The container.</param>
internal sealed record CancelPlacing(ContainerId ContainerId) : AgentEffect;

/// <summary>Starts the command; answered by <see cref="ProcessStarted"/> or <see cref="ProcessNotStarted"/>.</summary>
/// <param name="Launch">The launch.</param>
internal sealed record StartProcess(LaunchContainer Launch) : AgentEffect;

/// <summary>Signals the whole process group.</summary>
/// <param name="ContainerId">The container.</param>
/// <param name="Process">Its process.</param>
/// <param name="Kill">SIGKILL when true, else SIGTERM.</param>
internal sealed record SignalProcess(ContainerId ContainerId, ProcessIdentity Process, bool Kill) : AgentEffect;

/// <summary>Removes the working directory of an ended container and lets go of its cached files. Logs stay.</summary>
/// <param name="ContainerId">The container.</param>
/// <param name="ApplicationId">Its application.</param>
internal sealed record ReleaseFiles(ContainerId ContainerId, ApplicationId ApplicationId) : AgentEffect;

/// <summary>Writes down that an application is over and its directory is to go.</summary>
/// <param name="ApplicationId">The application.</param>
internal sealed record MarkApplicationEnded(ApplicationId ApplicationId) : AgentEffect;

/// <summary>Removes the directory of an application, blocks included.</summary>
/// <param name="ApplicationId">The application.</param>
internal sealed record RemoveApplication(ApplicationId ApplicationId) : AgentEffect;

/// <summary>The cluster does not want this node: the agent ends with an error.</summary>
/// <param name="Reason">For people.</param>
internal sealed record Leave(string Reason) : AgentEffect;

/// <summary>A shutdown is complete.</summary>
internal sealed record ShutdownComplete : AgentEffect;

/// <summary>An event was refused or made no difference in a way worth a line in the log.</summary>
/// <param name="Reason">For people.</param>
internal sealed record Ignored(string Reason) : AgentEffect;
