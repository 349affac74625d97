using System.Collections.Immutable;

namespace Yarnish.Protocol;

/// <summary><c>GET /api/v1/cluster</c>: the cluster at a glance.</summary>
public sealed record ClusterInfo
{
    /// <summary>Name of the cluster.</summary>
    public required string Name { get; init; }

    /// <summary>Version of the resource manager.</summary>
    public required string Version { get; init; }

    /// <summary>Epoch of the resource manager: grows with each start.</summary>
    public required int Epoch { get; init; }

    /// <summary><c>active</c>, or <c>settling</c> while it waits for the agents after a restart.</summary>
    public required string State { get; init; }

    /// <summary>When this resource manager started.</summary>
    public required DateTimeOffset StartedAt { get; init; }

    /// <summary>Nodes by state.</summary>
    public required ImmutableSortedDictionary<string, int> Nodes { get; init; }

    /// <summary>Applications by state.</summary>
    public required ImmutableSortedDictionary<string, int> Applications { get; init; }

    /// <summary>What the live nodes offer in all.</summary>
    public required Resources Capacity { get; init; }

    /// <summary>What is granted.</summary>
    public required Resources Allocated { get; init; }

    /// <summary>Containers that run or start.</summary>
    public required int Containers { get; init; }

    /// <summary>Containers asked for and not granted.</summary>
    public required int Outstanding { get; init; }
}

/// <summary><c>GET /api/v1/cluster/connection</c> (needs the cluster secret): what agents and drivers need to join, so that their only settings are this address and the secret.</summary>
/// <param name="ClusterName">Name of the cluster; part of every queue name.</param>
/// <param name="RabbitMq">AMQP URI.</param>
/// <param name="Redis">StackExchange.Redis configuration string.</param>
/// <param name="Epoch">Epoch of the resource manager.</param>
/// <param name="OtlpEndpoint">OTLP endpoint of the resource manager's own settings; empty when not traced.</param>
public sealed record ClusterConnection(string ClusterName, string RabbitMq, string Redis, int Epoch, string OtlpEndpoint);

/// <summary><c>GET /api/v1/nodes</c>: one node.</summary>
public sealed record NodeInfo
{
    /// <summary>Id.</summary>
    public required NodeId Id { get; init; }

    /// <summary><c>running</c>, <c>suspect</c>, <c>unhealthy</c>, <c>draining</c> or <c>lost</c>.</summary>
    public required string State { get; init; }

    /// <summary>Host name.</summary>
    public required string Host { get; init; }

    /// <summary>Rack.</summary>
    public required string Rack { get; init; }

    /// <summary>Partition; empty is the default.</summary>
    public required string Partition { get; init; }

    /// <summary>Base URL of its agent.</summary>
    public required string Url { get; init; }

    /// <summary>What it offers.</summary>
    public required Resources Capacity { get; init; }

    /// <summary>What is granted on it.</summary>
    public required Resources Allocated { get; init; }

    /// <summary>Its containers.</summary>
    public required int Containers { get; init; }

    /// <summary>Last heartbeat.</summary>
    public required DateTimeOffset LastHeartbeat { get; init; }

    /// <summary>Why not running, for people.</summary>
    public required string Reason { get; init; }
}

/// <summary><c>GET /api/v1/apps</c>: one application.</summary>
public sealed record ApplicationInfo
{
    /// <summary>Id.</summary>
    public required ApplicationId Id { get; init; }

    /// <summary>Name.</summary>
    public required string Name { get; init; }

    /// <summary>Who runs it.</summary>
    public required string User { get; init; }

    /// <summary>Its queue.</summary>
    public required QueueName Queue { get; init; }

    /// <summary><c>accepted</c>, <c>running</c>, <c>succeeded</c>, <c>failed</c> or <c>killed</c>.</summary>
    public required string State { get; init; }

    /// <summary>When it registered.</summary>
    public required DateTimeOffset StartedAt { get; init; }

    /// <summary>When it ended; null while it runs.</summary>
    public required DateTimeOffset? FinishedAt { get; init; }

    /// <summary>Host and process of its driver.</summary>
    public required string Driver { get; init; }

    /// <summary>Where its driver serves <c>/api/v1/applications/{id}</c>; empty when it does not. On loopback unless the application says otherwise.</summary>
    public string StatusUrl { get; init; } = "";

    /// <summary>What it is granted.</summary>
    public required Resources Allocated { get; init; }

    /// <summary>Live containers.</summary>
    public required int Containers { get; init; }

    /// <summary>Why its asks wait: one entry per ask that does.</summary>
    public required ImmutableArray<AskWaiting> Waiting { get; init; }

    /// <summary>The driver's last summary.</summary>
    public required ApplicationProgress Progress { get; init; }

    /// <summary>Why it ended, for people.</summary>
    public required string Diagnostics { get; init; }
}

/// <summary><c>GET /api/v1/apps/{id}/containers</c>: one container, live or recently ended.</summary>
public sealed record ContainerInfo
{
    /// <summary>Id.</summary>
    public required ContainerId Id { get; init; }

    /// <summary>Its application.</summary>
    public required ApplicationId ApplicationId { get; init; }

    /// <summary>The ask it answers.</summary>
    public required long AskId { get; init; }

    /// <summary>Its node.</summary>
    public required NodeId NodeId { get; init; }

    /// <summary>Base URL of the node's agent, where its logs are.</summary>
    public required string NodeUrl { get; init; }

    /// <summary>Where in its life it is.</summary>
    public required ContainerState State { get; init; }

    /// <summary>What it may use.</summary>
    public required Resources Resources { get; init; }

    /// <summary>When it was granted.</summary>
    public required DateTimeOffset GrantedAt { get; init; }

    /// <summary>How it ended; null while it lives.</summary>
    public required ContainerExit? Exit { get; init; }
}

/// <summary>The body of every answer that is not a success: what, where, why and what to do.</summary>
/// <param name="Error">One sentence for people.</param>
/// <param name="Code">Stable code for programs, such as <c>not-found</c>, <c>unauthorized</c>, <c>invalid</c>, <c>busy</c>.</param>
public sealed record ErrorInfo(string Error, string Code);

/// <summary><c>POST /api/v1/apps/{id}/kill</c>: the body, which may be left out.</summary>
/// <param name="Reason">Why, for people; at most 1,000 characters.</param>
public sealed record KillRequest(string Reason);

/// <summary><c>POST /api/v1/blobs/missing</c>: the question and the answer. Asking also marks the blobs that are there as used just now, so that they stay while a driver prepares its launch.</summary>
/// <param name="Hashes">Question: the hashes a driver needs, lower-case hexadecimal SHA-256, at most 10,000. Answer: those that are lacking.</param>
public sealed record BlobList(ImmutableArray<string> Hashes);
