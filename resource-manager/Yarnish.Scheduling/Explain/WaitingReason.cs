using System.Text.Json.Serialization;

namespace Yarnish.Scheduling;

/// <summary>Why an ask waits: decided by the same check that places, never by a second one.</summary>
/// <param name="Kind">What blocks.</param>
/// <param name="Count">How many nodes it blocks, for reasons about nodes; else 0.</param>
/// <param name="Subject">What blocks: a resource, queue, user, group, tag, attribute or node. Empty when there is nothing to name.</param>
/// <param name="Need">How much is needed, in base units of the resource, or a number of containers or applications.</param>
/// <param name="Have">How much there is.</param>
/// <param name="Limit">The limit it runs into; 0 when there is none.</param>
public sealed record WaitingReason(WaitingKind Kind, int Count, string Subject, long Need, long Have, long Limit)
{
    /// <summary>The reason for people, with numbers and what would unblock it; no full stop.</summary>
    public string Text { get; init; } = "";
}

/// <summary>What can block an ask: a closed set, in the order in which it is checked.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<WaitingKind>))]
public enum WaitingKind
{
    /// <summary>Nothing: it is about to be placed.</summary>
    InTurn,

    /// <summary>The resource manager restarted and waits for its nodes.</summary>
    Settling,

    /// <summary>The ask asks for nothing, or for more than can be.</summary>
    Invalid,

    /// <summary>The queue is stopped.</summary>
    QueueStopped,

    /// <summary>The queue has as many active applications as it may.</summary>
    QueueApplications,

    /// <summary>The user or group has as many active applications as it may.</summary>
    UserApplications,

    /// <summary>The containers of this ask keep ending badly; it pauses.</summary>
    FailurePause,

    /// <summary>The deadline of the gang passed.</summary>
    GangDeadline,

    /// <summary>The container is larger than the queue allows for one container.</summary>
    ContainerMaximum,

    /// <summary>The queue, or one above it, would exceed its maximum.</summary>
    QueueMaximum,

    /// <summary>Containers of drivers would exceed their share of the queue.</summary>
    DriverShare,

    /// <summary>The user would exceed a limit.</summary>
    UserLimit,

    /// <summary>A group of the user would exceed a limit.</summary>
    GroupLimit,

    /// <summary>The partition has no node at all.</summary>
    NoNodes,

    /// <summary>Nodes that are lost, silent, unhealthy or draining.</summary>
    NodeUnavailable,

    /// <summary>Nodes that the application excluded.</summary>
    NodeExcluded,

    /// <summary>Nodes without the attribute.</summary>
    Attribute,

    /// <summary>Nodes that are not among the preferred ones.</summary>
    Locality,

    /// <summary>Nodes too small, even if they were empty.</summary>
    NodeTooSmall,

    /// <summary>Nodes held for another ask.</summary>
    NodeReserved,

    /// <summary>Nodes with too little free now.</summary>
    NotEnoughFree,

    /// <summary>Nodes where the tag is not.</summary>
    Affinity,

    /// <summary>Nodes where the tag is.</summary>
    AntiAffinity,

    /// <summary>Nodes that have as many containers with the tag as they may.</summary>
    MaximumPerNode,

    /// <summary>Nodes that have more containers with the tag than others.</summary>
    Spread,

    /// <summary>Some of the gang would fit, but not all.</summary>
    Gang,
}
