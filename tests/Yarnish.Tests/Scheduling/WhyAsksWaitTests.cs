using System.Text.Json;
using Xunit;
using Yarnish.Cli.Commands;
using Yarnish.Protocol;
using Yarnish.ResourceManager.Rest;
using Yarnish.Scheduling;
using static Yarnish.Tests.Scheduling.TestCluster;

namespace Yarnish.Tests.Scheduling;

/// <summary>One test per cause: the typed reason, its numbers, and a sentence that says what would unblock it.</summary>
public sealed class WhyAsksWaitTests
{
    // What a sentence offers to whoever reads it: something to do, or something that will happen.
    private static readonly string[] Remedies =
    [
        "it goes on when", "ask for", "ask again", "add ", "start an agent", "bring them back", "can start it", "let it relax", "look at their logs", "others will do in",
        "free some there", "raise the limit",
    ];

    private static QueueConfiguration Leaf(string name) => new(name);

    private static ClusterConfiguration Queues(params QueueConfiguration[] queues) => new() { Root = new("root") { Queues = [.. queues] } };

    private static void AssertWaits(TestCluster cluster, WaitingKind kind, bool impossible, params string[] words)
    {
        var ask = cluster.WaitingAsk("a");
        Assert.Contains(ask.Reasons, reason => reason.Kind == kind);
        Assert.Equal(impossible, cluster.Waiting("a").Impossible);
        Assert.All(words, word => Assert.Contains(word, ask.Sentence, StringComparison.Ordinal));
        Assert.True(Remedies.Any(remedy => ask.Sentence.Contains(remedy, StringComparison.Ordinal)), $"This does not say what would unblock it: {ask.Sentence}");
        Assert.Equal(ask.Sentence, cluster.Waiting("a").Reason);
        Assert.Contains(ask.Sentence + (impossible ? " Waiting longer does not help." : ""), ToolSays(cluster, "a"), StringComparison.Ordinal);
    }

    /// <summary>What <c>yarnish app why</c> prints: through the REST record and its JSON, without the HTTP between.</summary>
    private static string ToolSays(TestCluster cluster, string application)
    {
        var sent = JsonSerializer.Serialize(QueueEndpoints.Why(cluster.Snapshot.FindApplication(new ApplicationId(application))!), ProtocolJson.Options);
        var printed = new StringWriter();
        ApplicationCommands.PrintWhy(JsonSerializer.Deserialize<ApplicationWhy>(sent, ProtocolJson.Options)!, printed);
        return printed.ToString();
    }

    [Fact]
    public void No_node()
    {
        var cluster = new TestCluster().Application("a");
        cluster.Ask("a", Ask(1, Size(1, 1), 1));

        AssertWaits(cluster, WaitingKind.NoNodes, false, "the cluster has no node; start an agent");
    }

    [Fact]
    public void Larger_than_any_node()
    {
        var cluster = new TestCluster().Node("n1").Node("n2").Application("a");
        cluster.Ask("a", Ask(1, Size(100, 1), 2));

        AssertWaits(cluster, WaitingKind.NodeTooSmall, true, "2 containers of 102400 MiB", "2 of 2 nodes are too small even when empty", "8192 MiB", "add a larger node");
    }

    [Fact]
    public void Too_little_free()
    {
        var cluster = new TestCluster().Node("n1").Application("a");
        cluster.Ask("a", Ask(1, Size(3, 1), 3));

        AssertWaits(cluster, WaitingKind.NotEnoughFree, false, "1 of 1 node has too little free", "2048 MiB of memory free, 3072 MiB of memory needed", "1024 MiB of memory are freed there or a node is added");
    }

    [Fact]
    public void Nodes_that_take_nothing()
    {
        var cluster = new TestCluster().Node("n1").Node("n2").Application("a");
        cluster.Beat("n1", healthy: false);
        cluster.Apply(new NodeDrainRequested(new NodeId("n2"), null, "upgrade"));
        cluster.Ask("a", Ask(1, Size(1, 1), 1));

        AssertWaits(cluster, WaitingKind.NodeUnavailable, false, "2 of 2 nodes are lost, silent, unhealthy or draining");
    }

    [Fact]
    public void Nodes_the_application_excluded()
    {
        var cluster = new TestCluster().Node("n1").Application("a");
        cluster.Update("a", [Ask(1, Size(1, 1), 1)], excluded: ["n1"]);

        AssertWaits(cluster, WaitingKind.NodeExcluded, true, "1 of 1 node is excluded by the application itself");
    }

    [Fact]
    public void Queue_at_its_maximum()
    {
        var cluster = new TestCluster(configuration: Queues(Leaf("default") with { Maximum = Share.Percent(50) })).Node("n1").Application("a");
        cluster.Ask("a", Ask(1, Size(3, 1), 2));

        AssertWaits(cluster, WaitingKind.QueueMaximum, false, "queue root.default holds 3072 MiB of memory of at most 4096 MiB of memory, and 3072 MiB of memory more are wanted", "free 2048 MiB of memory");
    }

    [Fact]
    public void Queue_whose_maximum_is_below_one_container()
    {
        var cluster = new TestCluster(configuration: Queues(Leaf("default") with { Maximum = Share.Of(Size(1, 1)) })).Node("n1").Application("a");
        cluster.Ask("a", Ask(1, Size(2, 1), 1));

        AssertWaits(cluster, WaitingKind.QueueMaximum, true, "can never fit under that");
    }

    [Fact]
    public void User_at_a_limit()
    {
        var cluster = new TestCluster(configuration: Queues(Leaf("default") with { Limits = [new QueueLimit { Users = ["*"], MaximumResources = Size(2, 0) }] })).Node("n1").Application("a");
        cluster.Ask("a", Ask(1, Size(2, 1), 2));

        AssertWaits(cluster, WaitingKind.UserLimit, false, "user 'ada' in queue root.default holds 2048 MiB of memory of at most 2048 MiB of memory");
    }

    [Fact]
    public void Group_at_a_limit()
    {
        var cluster = new TestCluster(configuration: Queues(Leaf("default") with { Limits = [new QueueLimit { Groups = ["students"], MaximumResources = Size(2, 0) }] }))
            .Node("n1").Application("b", user: "bob", groups: "students").Application("a", groups: "students");
        cluster.Ask("b", Ask(1, Size(2, 1), 1));
        cluster.Ask("a", Ask(1, Size(2, 1), 1));

        AssertWaits(cluster, WaitingKind.GroupLimit, false, "group 'students'", "applications of the group free 2048 MiB of memory");
    }

    [Fact]
    public void Drivers_at_their_share()
    {
        var cluster = new TestCluster(configuration: Queues(Leaf("default") with { MaximumDriverPercent = 25 })).Node("n1").Application("a");
        cluster.Ask("a", Ask(1, Size(2, 1), 2) with { IsDriver = true });

        AssertWaits(cluster, WaitingKind.DriverShare, false, "the drivers in queue root.default hold 2048 MiB of memory of at most 2048 MiB of memory");
    }

    [Fact]
    public void Queue_with_as_many_active_applications_as_it_may()
    {
        var cluster = new TestCluster(configuration: Queues(Leaf("default") with { MaximumActiveApplications = 1 })).Node("n1").Application("b").Application("a");
        cluster.Ask("a", Ask(1, Size(1, 1), 1));

        AssertWaits(cluster, WaitingKind.QueueApplications, false, "queue root.default has 1 of at most 1 active applications");
        cluster.Apply(new ApplicationKilled(new ApplicationId("b"), "by a test"));
        Assert.Equal(1, cluster.Live("a"));
    }

    [Fact]
    public void User_with_as_many_active_applications_as_allowed()
    {
        var cluster = new TestCluster(configuration: Queues(Leaf("default") with { Limits = [new QueueLimit { Users = ["ada"], MaximumActiveApplications = 1 }] }))
            .Node("n1").Application("b").Application("a");
        cluster.Ask("a", Ask(1, Size(1, 1), 1));

        AssertWaits(cluster, WaitingKind.UserApplications, false, "user 'ada' in queue root.default has 1 of at most 1 active applications");
    }

    [Fact]
    public void Stopped_queue()
    {
        var running = Queues(Leaf("default"), Leaf("q"));
        var cluster = new TestCluster(configuration: running).Node("n1").Application("a", "q");
        cluster.Apply(new ConfigurationChanged(Queues(Leaf("default"), Leaf("q") with { State = QueueState.Stopped })));
        cluster.Ask("a", Ask(1, Size(1, 1), 1));

        AssertWaits(cluster, WaitingKind.QueueStopped, false, "queue root.q is stopped; an operator can start it");
        cluster.Apply(new ConfigurationChanged(running));
        Assert.Equal(1, cluster.Live("a"));
    }

    [Fact]
    public void Container_larger_than_the_queue_allows()
    {
        var cluster = new TestCluster(configuration: Queues(Leaf("default") with { MaximumContainer = Size(1, 0) })).Node("n1").Application("a");
        cluster.Ask("a", Ask(1, Size(2, 1), 1));

        AssertWaits(cluster, WaitingKind.ContainerMaximum, true, "one container may have at most 1024 MiB of memory in queue root.default");
    }

    [Fact]
    public void Ask_for_nothing()
    {
        var cluster = new TestCluster().Node("n1").Application("a");
        cluster.Ask("a", Ask(1, Resources.Zero, 1));

        AssertWaits(cluster, WaitingKind.Invalid, true, "it asks for no resources at all");
    }

    [Fact]
    public void Missing_attribute()
    {
        var cluster = new TestCluster().Node("n1", attributes: ("zone", "a")).Application("a");
        cluster.Ask("a", Ask(1, Size(1, 1), 1) with { Constraints = [new PlacementConstraint(PlacementKind.Attribute, "zone=b", true)] });

        AssertWaits(cluster, WaitingKind.Attribute, true, "1 of 1 node does not satisfy 'zone=b'");
    }

    [Fact]
    public void Anti_affinity()
    {
        var cluster = new TestCluster().Node("n1").Node("n2").Application("a");
        cluster.Ask("a", Ask(1, Size(1, 1), 3) with { Tags = ["x"], Constraints = [new PlacementConstraint(PlacementKind.AntiAffinity, "x", true)] });

        Assert.Equal((1, 1), (cluster.On("n1"), cluster.On("n2")));
        AssertWaits(cluster, WaitingKind.AntiAffinity, false, "2 of 2 nodes have a container tagged 'x', which it must be away from");
    }

    [Fact]
    public void Affinity_to_a_tag_that_is_nowhere()
    {
        var cluster = new TestCluster().Node("n1").Application("a");
        var near = Ask(1, Size(1, 1), 1) with { Constraints = [new PlacementConstraint(PlacementKind.Affinity, "x", true)] };
        cluster.Ask("a", near);

        AssertWaits(cluster, WaitingKind.Affinity, false, "no container tagged 'x', which it must be near");
        cluster.Ask("a", near, Ask(2, Size(1, 1), 1) with { Tags = ["x"] });
        Assert.Equal(2, cluster.Live("a"));
    }

    [Fact]
    public void Maximum_per_node()
    {
        var cluster = new TestCluster().Node("n1").Application("a");
        cluster.Ask("a", Ask(1, Size(1, 1), 3) with { Tags = ["x"], Constraints = [new PlacementConstraint(PlacementKind.MaximumPerNode, "x", true) { Limit = 2 }] });

        Assert.Equal(2, cluster.Live("a"));
        AssertWaits(cluster, WaitingKind.MaximumPerNode, false, "as many containers tagged 'x' as allowed");
    }

    [Fact]
    public void Locality_that_may_not_relax()
    {
        var cluster = new TestCluster().Node("n1").Node("n2").Application("a");
        cluster.Ask("a", Ask(1, Size(8, 4), 2) with { PreferredNodes = [new NodeId("n1")], RelaxLocality = false });

        Assert.Equal((1, 0), (cluster.On("n1"), cluster.On("n2")));
        AssertWaits(cluster, WaitingKind.Locality, false, "1 of 2 nodes is not among the preferred ones, and the ask takes no others");
    }

    [Fact]
    public void Locality_relaxes_with_time_first_to_the_rack_then_to_anywhere()
    {
        var cluster = new TestCluster().Node("far", rack: "r2").Node("near", rack: "r1").Node("full", rack: "r1").Application("a").Application("b");
        cluster.Ask("b", Ask(1, Size(8, 4), 1) with { PreferredNodes = [new NodeId("full")] });
        cluster.Ask("a", Ask(1, Size(8, 4), 2) with { PreferredNodes = [new NodeId("full")], PreferredRacks = ["r1"] });

        Assert.Equal(0, cluster.Live("a"));
        AssertWaits(cluster, WaitingKind.Locality, false, "others will do in 6 s");
        cluster.Pass(3);
        Assert.Equal((1, 0), (cluster.On("near", "a"), cluster.On("far", "a")));
        cluster.Pass(6);
        Assert.Equal((1, 1), (cluster.On("near", "a"), cluster.On("far", "a")));
    }

    [Fact]
    public void Gang_of_which_only_some_fit()
    {
        var cluster = new TestCluster().Node("n1").Application("a");
        cluster.Ask("a", Ask(1, Size(2, 1), 5) with { GangSeconds = 20 });

        Assert.Equal(0, cluster.Live("a"));
        AssertWaits(cluster, WaitingKind.Gang, false, "4 of the 5 containers of the gang fit now, and it is all or none", "within 20 s");
        cluster.Node("n2");
        Assert.Equal(5, cluster.Live("a"));
    }

    [Fact]
    public void Gang_whose_deadline_passed()
    {
        var cluster = new TestCluster().Node("n1").Application("a");
        cluster.Ask("a", Ask(1, Size(2, 1), 5) with { GangSeconds = 20 });

        cluster.Pass(21);
        cluster.Node("n2");

        Assert.Equal(0, cluster.Live("a"));
        AssertWaits(cluster, WaitingKind.GangDeadline, true, "4 of the 5 containers of the gang fitted when its deadline of 20 s passed");
    }

    [Fact]
    public void Node_held_for_a_larger_ask_that_smaller_ones_overtook()
    {
        var cluster = new TestCluster().Node("n1", Size(4, 4)).Application("small").Application("big");
        cluster.Ask("small", Ask(1, Size(1, 1), 3));
        cluster.Ask("big", Ask(1, Size(4, 4), 1));
        cluster.Ask("small", Ask(1, Size(1, 1), 4));
        cluster.Pass(3);
        cluster.Application("a");
        cluster.Exit(cluster.Containers("small")[0]);
        cluster.Ask("a", Ask(1, Size(1, 1), 1));

        AssertWaits(cluster, WaitingKind.NodeReserved, false, "held for larger asks that wait longer (node n1 for ask 1 of big)");
    }

    [Fact]
    public void Settling_after_a_restart()
    {
        var next = new TestCluster().Node("n1").Node("n2").Application("a").Restart();
        next.Register("n1");
        next.Ask("a", Ask(1, Size(1, 1), 1));

        AssertWaits(next, WaitingKind.Settling, false, "1 of 2 are back", "in at most 10 s");
    }

    [Fact]
    public void Too_many_asks()
    {
        var cluster = new TestCluster(new ClusterSettings { AsksPerApplication = 2 }).Node("n1").Application("a");
        cluster.Ask("a", Ask(1, Size(1, 1), 1), Ask(2, Size(1, 1), 1), Ask(3, Size(1, 1), 1));

        Assert.Equal("1 asks are not looked at: an application may have 2 asks; put equal ones together.", cluster.Pass(2).ToDrivers<AsksWaiting>().Single().Waiting.Single().Reason);
    }

    [Fact]
    public void Too_many_partitions()
    {
        var cluster = new TestCluster().Node("n1").Application("a");
        cluster.Ask("a", [.. Enumerable.Range(1, 100).Select(static i => Ask(i, Size(1, 1), 1) with { Partition = "p" + i })]);

        Assert.Contains("already has 64 partitions", cluster.WaitingAsk("a", 99).Sentence, StringComparison.Ordinal);
        Assert.Contains("partition 'p1' has no node; start an agent in it", cluster.WaitingAsk("a").Sentence, StringComparison.Ordinal);
        Assert.Contains("the most it takes", cluster.Register("n2", partition: "p99").ToNodes<NodeRefused>().Single().Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Drivers_are_told_once_when_the_reason_changes()
    {
        var cluster = new TestCluster().Node("n1").Application("a");
        cluster.Ask("a", Ask(1, Size(8, 4), 2));

        var told = cluster.Pass(5).ToDrivers<AsksWaiting>().ToArray();
        Assert.Equal(1, Assert.Single(told).Waiting.Single().Outstanding);

        cluster.Node("n2");
        Assert.Empty(Assert.Single(cluster.Pass(2).ToDrivers<AsksWaiting>()).Waiting);
    }
}
