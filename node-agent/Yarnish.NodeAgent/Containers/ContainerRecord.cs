using System.Collections.Immutable;
using Yarnish.Protocol;

namespace Yarnish.NodeAgent.Containers;

/// <summary>What the agent writes down of a container, so that its next incarnation can adopt it and report its exit with the one true cause.</summary>
/// <param name="ContainerId">The container.</param>
/// <param name="ApplicationId">Its application.</param>
/// <param name="AskId">The ask it answers.</param>
/// <param name="Resources">What it was granted.</param>
internal sealed record ContainerRecord(ContainerId ContainerId, ApplicationId ApplicationId, long AskId, Resources Resources)
{
    /// <summary>When the launch was commanded.</summary>
    public DateTimeOffset LaunchedAt { get; init; }

    /// <summary>The cause its exit will carry because somebody decided to end it; null while nobody did.</summary>
    public ContainerExitCause? StopCause { get; init; }

    /// <summary>Why it was ended, for people.</summary>
    public string StopReason { get; init; } = "";

    /// <summary>The devices it was given, see <see cref="LaunchContainer.Devices"/>; null when none.</summary>
    public string? Devices { get; init; }

    /// <summary>Hashes of the cached files it uses.</summary>
    public ImmutableArray<string> Blobs { get; init; } = [];
}
