using System.Collections.Immutable;

namespace Yarnish.Scheduling;

/// <summary>The times and bounds of the cluster core. The defaults suit a fleet; tests shorten them.</summary>
public sealed record ClusterSettings
{
    /// <summary>Name of the cluster, for people; default <c>yarnish</c>.</summary>
    public string ClusterName { get; init; } = "yarnish";

    /// <summary>Version of the resource manager, for people.</summary>
    public string Version { get; init; } = "";

    /// <summary>How often agents beat; default 1 s.</summary>
    public TimeSpan NodeHeartbeat { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Without a heartbeat for this long a node gets nothing new; default 5 s.</summary>
    public TimeSpan NodeSuspect { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Without a heartbeat for this long a node and its containers are lost; default 15 s, must exceed <see cref="NodeSuspect"/>.</summary>
    public TimeSpan NodeLost { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>A lost node is forgotten after this long; default 1 h.</summary>
    public TimeSpan NodeForgotten { get; init; } = TimeSpan.FromHours(1);

    /// <summary>Without a heartbeat for this long an application has lost its driver and fails; default 30 s.</summary>
    public TimeSpan DriverLost { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>A grant whose launch nobody confirmed for this long is taken back; default 60 s.</summary>
    public TimeSpan GrantExpiry { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>A launch that no heartbeat shows is sent again after this long; default 3 s.</summary>
    public TimeSpan LaunchRepeat { get; init; } = TimeSpan.FromSeconds(3);

    /// <summary>After a restart nothing is granted until every known node is back, at most for this long; default 10 s.</summary>
    public TimeSpan Settle { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>
    /// How long after the control bus returned nodes and drivers may take to be back on it before their silence begins to count; default 35 s: MassTransit waits up to 30 s from one try to the next.
    /// </summary>
    public TimeSpan ReturnToBus { get; init; } = TimeSpan.FromSeconds(35);

    /// <summary>Between SIGTERM and SIGKILL of a container; default 10 s.</summary>
    public TimeSpan StopGrace { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long an ask waits for a hole before a node is reserved for it; default 2 s.</summary>
    public TimeSpan ReservationDelay { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>How long an ask holds out for its preferred nodes, and again for its racks; default 3 s.</summary>
    public TimeSpan LocalityDelay { get; init; } = TimeSpan.FromSeconds(3);

    /// <summary>First pause of an ask whose containers end badly within seconds; doubles up to <see cref="FailurePauseLimit"/>. Default 1 s.</summary>
    public TimeSpan FailurePause { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Longest such pause; default 30 s.</summary>
    public TimeSpan FailurePauseLimit { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How old the reasons in a snapshot may be, so that readers cost little while much happens; default 250 ms.</summary>
    public TimeSpan ExplainEvery { get; init; } = TimeSpan.FromMilliseconds(250);

    /// <summary>Most containers granted in one step, so that heartbeats never wait behind a burst of asks; default 256.</summary>
    public int GrantsPerStep { get; init; } = 256;

    /// <summary>Ended applications remembered; default 1,000.</summary>
    public int EndedApplications { get; init; } = 1_000;

    /// <summary>Ended containers remembered per application; default 100.</summary>
    public int EndedContainersPerApplication { get; init; } = 100;

    /// <summary>Most asks of one application; what is beyond is not looked at and says so. Default 10,000.</summary>
    public int AsksPerApplication { get; init; } = 10_000;

    /// <summary>Most nodes; further ones are refused. Default 65,536.</summary>
    public int Nodes { get; init; } = 65_536;

    /// <summary>Where agents may fetch blobs: base URLs that go into each <c>LaunchContainer</c>.</summary>
    public ImmutableArray<string> BlobSources { get; init; } = [];

    /// <summary>A bug switched on by the simulation; none in real life.</summary>
    internal PlantedBug Planted { get; init; }
}
