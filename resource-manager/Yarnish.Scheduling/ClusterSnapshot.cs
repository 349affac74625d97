using System.Collections.Immutable;
using Yarnish.Protocol;

namespace Yarnish.Scheduling;

/// <summary>
/// The cluster at one moment, for readers: immutable, built from the state by the cluster machine. Parts that did not change since the last
/// snapshot are shared with it.
/// </summary>
public sealed class ClusterSnapshot
{
    /// <summary>Grows with each step that changed anything.</summary>
    public required long Version { get; init; }

    /// <summary>When it was taken.</summary>
    public required DateTimeOffset At { get; init; }

    /// <summary>The cluster at a glance.</summary>
    public required ClusterInfo Cluster { get; init; }

    /// <summary>Every node, in the order they first registered.</summary>
    public required ImmutableArray<NodeInfo> Nodes { get; init; }

    /// <summary>Live applications in the order they registered, then ended ones, last ended first.</summary>
    public required ImmutableArray<ApplicationSnapshot> Applications { get; init; }

    /// <summary>Every queue, parents before children.</summary>
    public required ImmutableArray<QueueInfo> Queues { get; init; }

    /// <summary>The application with this id, or null.</summary>
    public ApplicationSnapshot? FindApplication(ApplicationId id)
    {
        foreach (var application in Applications)
        {
            if (application.Info.Id == id)
            {
                return application;
            }
        }
        return null;
    }

    /// <summary>The node with this id, or null.</summary>
    public NodeInfo? FindNode(NodeId id)
    {
        foreach (var node in Nodes)
        {
            if (node.Id == id)
            {
                return node;
            }
        }
        return null;
    }
}

/// <summary>One application of a snapshot.</summary>
public sealed class ApplicationSnapshot
{
    /// <summary>What REST shows.</summary>
    public required ApplicationInfo Info { get; init; }

    /// <summary>Its priority.</summary>
    public required int Priority { get; init; }

    /// <summary>Live containers by id, then recently ended ones, last ended first.</summary>
    public required ImmutableArray<ContainerInfo> Containers { get; init; }

    /// <summary>Its asks, with what they want and have and the typed reasons why they wait.</summary>
    public required ImmutableArray<AskInfo> Asks { get; init; }
}

/// <summary>One ask of an application.</summary>
/// <param name="AskId">Id in the application.</param>
/// <param name="Resources">Of each container.</param>
/// <param name="Desired">Live containers wanted.</param>
/// <param name="Live">Live containers.</param>
/// <param name="Outstanding">Containers not granted yet.</param>
/// <param name="Reasons">Why it waits, the one that blocks first; empty when nothing is outstanding.</param>
/// <param name="Sentence">The reasons in one sentence; empty when nothing is outstanding.</param>
public sealed record AskInfo(
    long AskId, Resources Resources, int Desired, int Live, int Outstanding, ImmutableArray<WaitingReason> Reasons, string Sentence);

/// <summary>One queue.</summary>
public sealed record QueueInfo
{
    /// <summary>Full path.</summary>
    public required QueueName Name { get; init; }

    /// <summary>Whether applications live in it.</summary>
    public required bool Leaf { get; init; }

    /// <summary>Whether it takes new applications.</summary>
    public required QueueState State { get; init; }

    /// <summary>What it has by right, by partition; the default partition is the empty name.</summary>
    public required ImmutableSortedDictionary<string, Resources> Guarantee { get; init; }

    /// <summary>What it may hold at most, by partition; a resource that is not named has no bound.</summary>
    public required ImmutableSortedDictionary<string, Resources> Maximum { get; init; }

    /// <summary>What is granted in it, by partition.</summary>
    public required ImmutableSortedDictionary<string, Resources> Allocated { get; init; }

    /// <summary>Live applications in it.</summary>
    public required int Applications { get; init; }

    /// <summary>Of them, those that may be granted something.</summary>
    public required int ActiveApplications { get; init; }

    /// <summary>Containers not granted yet.</summary>
    public required int Outstanding { get; init; }
}
