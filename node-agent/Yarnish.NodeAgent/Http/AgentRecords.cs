using System.Collections.Immutable;
using Yarnish.Protocol;

namespace Yarnish.NodeAgent.Http;

/// <summary><c>GET /api/v1/node</c>: this node as its agent sees it.</summary>
internal sealed record AgentInfo
{
    /// <summary>Id.</summary>
    public required NodeId Id { get; init; }

    /// <summary>Grows with each start of the agent.</summary>
    public required long Incarnation { get; init; }

    /// <summary>Version of the agent.</summary>
    public required string Version { get; init; }

    /// <summary>Base URL that others reach it by.</summary>
    public required string Url { get; init; }

    /// <summary>Host name.</summary>
    public required string Host { get; init; }

    /// <summary>Rack.</summary>
    public required string Rack { get; init; }

    /// <summary>Partition; empty is the default.</summary>
    public required string Partition { get; init; }

    /// <summary>Whether the resource manager knows this node.</summary>
    public required bool Registered { get; init; }

    /// <summary>Highest epoch of a resource manager seen.</summary>
    public required int Epoch { get; init; }

    /// <summary>Whether it may get new containers.</summary>
    public required bool Healthy { get; init; }

    /// <summary>Why not, for people.</summary>
    public required string HealthReason { get; init; }

    /// <summary>What it offers.</summary>
    public required Resources Capacity { get; init; }

    /// <summary>What its live containers were granted.</summary>
    public required Resources Allocated { get; init; }

    /// <summary>Live containers.</summary>
    public required int Containers { get; init; }

    /// <summary>Whether the kernel holds containers to their memory; else it is looked at every second.</summary>
    public required bool Cgroups { get; init; }

    /// <summary>Files in the cache.</summary>
    public required int CachedFiles { get; init; }

    /// <summary>Bytes in the cache.</summary>
    public required long CachedBytes { get; init; }

    /// <summary>Bytes of blocks sent to readers since the start.</summary>
    public required long BlockBytesSent { get; init; }

    /// <summary>Resident memory of the agent in bytes.</summary>
    public required long ResidentBytes { get; init; }

    /// <summary>When the agent started.</summary>
    public required DateTimeOffset StartedAt { get; init; }
}

/// <summary><c>GET /containers</c>: one container of this node, live or not yet acknowledged.</summary>
internal sealed record AgentContainer
{
    /// <summary>Id.</summary>
    public required ContainerId Id { get; init; }

    /// <summary>Its application.</summary>
    public required ApplicationId ApplicationId { get; init; }

    /// <summary>The ask it answers.</summary>
    public required long AskId { get; init; }

    /// <summary>Where in its life it is.</summary>
    public required ContainerState State { get; init; }

    /// <summary>What it may use.</summary>
    public required Resources Resources { get; init; }

    /// <summary>Memory it used when last looked at, in bytes; 0 when it was not.</summary>
    public required long MemoryUsedBytes { get; init; }

    /// <summary>Its process; null before it was seen.</summary>
    public required int? ProcessId { get; init; }

    /// <summary>When its launch was commanded.</summary>
    public required DateTimeOffset LaunchedAt { get; init; }

    /// <summary>How it ended; null while it lives.</summary>
    public required ContainerExit? Exit { get; init; }
}

/// <summary><c>GET /containers</c>.</summary>
/// <param name="Containers">Oldest grant first.</param>
internal sealed record AgentContainers(ImmutableArray<AgentContainer> Containers);
