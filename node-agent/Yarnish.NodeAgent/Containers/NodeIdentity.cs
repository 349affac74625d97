using System.Collections.Immutable;
using Yarnish.Protocol;

namespace Yarnish.NodeAgent.Containers;

/// <summary>Who this agent is: what it says when it registers.</summary>
/// <param name="NodeId">The node.</param>
/// <param name="Incarnation">Grows with each start of the agent.</param>
/// <param name="Capacity">What the node offers.</param>
/// <param name="Url">Base URL that others reach it by.</param>
/// <param name="Host">Host name.</param>
internal sealed record NodeIdentity(NodeId NodeId, long Incarnation, Resources Capacity, string Url, string Host)
{
    /// <summary>Rack of the node.</summary>
    public string Rack { get; init; } = "default-rack";

    /// <summary>Partition of the node; empty is the default partition.</summary>
    public string Partition { get; init; } = "";

    /// <summary>Free attributes.</summary>
    public ImmutableSortedDictionary<string, string> Attributes { get; init; } = ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal);

    /// <summary>Version of the agent program.</summary>
    public string Version { get; init; } = "";
}
