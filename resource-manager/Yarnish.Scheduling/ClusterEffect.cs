using System.Collections.Immutable;
using System.Text.Json.Serialization;
using Yarnish.Protocol;

namespace Yarnish.Scheduling;

/// <summary>
/// Everything the cluster core wants done: a closed set. The shell performs the effects of one step in their order, and writes each
/// <see cref="WriteJournal"/> durably before it performs any effect after it.
/// </summary>
public abstract record ClusterEffect
{
    private protected ClusterEffect()
    {
    }
}

/// <summary>Send a message to the agent of a node.</summary>
/// <param name="NodeId">The node.</param>
/// <param name="Message">The message.</param>
public sealed record SendToNode(NodeId NodeId, ControlMessage Message) : ClusterEffect;

/// <summary>Send a message to the driver of an application.</summary>
/// <param name="ApplicationId">The application.</param>
/// <param name="Message">The message.</param>
public sealed record SendToApplication(ApplicationId ApplicationId, ControlMessage Message) : ClusterEffect;

/// <summary>Append a record to the journal and make it durable.</summary>
/// <param name="Record">The record.</param>
public sealed record WriteJournal(JournalRecord Record) : ClusterEffect;

/// <summary>An application is over: what the shell holds for it (broker queues, keys) can go.</summary>
/// <param name="ApplicationId">The application.</param>
public sealed record ApplicationClosed(ApplicationId ApplicationId) : ClusterEffect;

/// <summary>The new queues are in force.</summary>
/// <param name="Version">Version of the configuration, grows by one with each.</param>
public sealed record ConfigurationApplied(int Version) : ClusterEffect;

/// <summary>The new queues are refused; the running ones are untouched.</summary>
/// <param name="Errors">Every error, with the key it is about.</param>
public sealed record ConfigurationRefused(ImmutableArray<ConfigurationError> Errors) : ClusterEffect;

/// <summary>
/// What must survive the resource manager. Containers are not in it: after a restart they come back in the agents' registrations.
/// The JSON name of each type is frozen.
/// </summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "$type")]
[JsonDerivedType(typeof(ApplicationAccepted), "application-accepted")]
[JsonDerivedType(typeof(ApplicationOver), "application-over")]
[JsonDerivedType(typeof(NodeKnown), "node-known")]
[JsonDerivedType(typeof(NodeForgotten), "node-forgotten")]
[JsonDerivedType(typeof(NodeDraining), "node-draining")]
public abstract record JournalRecord;

/// <summary>An application was accepted, or moved.</summary>
/// <param name="Registration">What its driver said.</param>
/// <param name="Queue">The queue it is in.</param>
/// <param name="At">When it was accepted.</param>
public sealed record ApplicationAccepted(RegisterApplication Registration, QueueName Queue, DateTimeOffset At) : JournalRecord;

/// <summary>An application is over.</summary>
/// <param name="ApplicationId">The application.</param>
/// <param name="State">How it ended.</param>
/// <param name="Diagnostics">Why, for people.</param>
/// <param name="Progress">Its last summary.</param>
/// <param name="At">When.</param>
public sealed record ApplicationOver(
    ApplicationId ApplicationId, ApplicationState State, string Diagnostics, ApplicationProgress Progress, DateTimeOffset At) : JournalRecord;

/// <summary>A node belongs to the cluster.</summary>
/// <param name="NodeId">The node.</param>
public sealed record NodeKnown(NodeId NodeId) : JournalRecord;

/// <summary>A node was lost for so long that nobody waits for it any more.</summary>
/// <param name="NodeId">The node.</param>
public sealed record NodeForgotten(NodeId NodeId) : JournalRecord;

/// <summary>A drain began or ended.</summary>
/// <param name="NodeId">The node.</param>
/// <param name="Active">Whether it drains.</param>
/// <param name="Deadline">When what still runs is stopped; null for never.</param>
/// <param name="Reason">Who and why.</param>
public sealed record NodeDraining(NodeId NodeId, bool Active, DateTimeOffset? Deadline, string Reason) : JournalRecord;

/// <summary>The life of an application. <c>Accepted → Running → one of the three ends</c>; an end may come at any time and is final.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<ApplicationState>))]
public enum ApplicationState
{
    /// <summary>Known; nothing granted yet.</summary>
    Accepted,

    /// <summary>Had a grant.</summary>
    Running,

    /// <summary>Ended well.</summary>
    Succeeded,

    /// <summary>Ended badly, or its driver was lost.</summary>
    Failed,

    /// <summary>Ended by an operator or by its lifetime.</summary>
    Killed,
}
