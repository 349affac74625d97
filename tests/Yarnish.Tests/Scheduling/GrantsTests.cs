using Xunit;
using Yarnish.Protocol;
using Yarnish.Scheduling;
using static Yarnish.Tests.Scheduling.TestCluster;

namespace Yarnish.Tests.Scheduling;

public sealed class GrantsTests
{
    [Fact]
    public void An_ask_is_granted_at_once_and_both_sides_are_told()
    {
        var cluster = new TestCluster().Node("n1").Application("a");

        var effects = cluster.Ask("a", Ask(7, Size(2, 1), 3));

        Assert.Equal(3, effects.ToNodes<LaunchContainer>().Count());
        var grants = Assert.Single(effects.ToDrivers<ContainersGranted>()).Grants;
        Assert.Equal(["c-1-1", "c-1-2", "c-1-3"], grants.Select(static grant => grant.ContainerId.Value));
        Assert.All(grants, static grant => Assert.Equal((7, "n1", "http://n1"), (grant.AskId, grant.NodeId.Value, grant.NodeUrl)));
    }

    [Fact]
    public void Two_applications_of_one_queue_share_evenly()
    {
        var cluster = new TestCluster().Application("a").Application("b");
        cluster.Ask("a", Ask(1, Size(1, 1), 100));
        cluster.Ask("b", Ask(1, Size(1, 1), 100));

        cluster.Node("n1", Size(10, 10)).Node("n2", Size(10, 10));

        Assert.Equal((10, 10), (cluster.Live("a"), cluster.Live("b")));
    }

    [Fact]
    public void A_container_that_ends_is_replaced_while_it_is_desired()
    {
        var cluster = new TestCluster().Node("n1").Application("a");
        cluster.Ask("a", Ask(1, Size(1, 1), 2));

        var effects = cluster.Exit(cluster.Containers("a")[0]);

        Assert.Single(effects.ToDrivers<ContainersCompleted>());
        Assert.Equal("c-1-3", Assert.Single(effects.ToNodes<LaunchContainer>()).ContainerId.Value);
        Assert.Single(effects.ToNodes<AcknowledgeExits>());
    }

    [Fact]
    public void A_released_container_keeps_its_room_until_its_end_is_known()
    {
        var cluster = new TestCluster().Node("n1", Size(2, 2)).Application("a");
        cluster.Ask("a", Ask(1, Size(2, 2), 1));
        var first = cluster.Containers("a")[0];

        var released = cluster.Update("a", [Ask(1, Size(2, 2), 1)], release: [first]);

        Assert.Equal(ContainerExitCause.Released, Assert.Single(released.ToNodes<StopContainer>()).Cause);
        Assert.Empty(released.ToNodes<LaunchContainer>());
        Assert.Single(cluster.Exit(first, ContainerExitCause.Released).ToNodes<LaunchContainer>());
    }

    [Fact]
    public void Memory_cores_and_custom_resources_all_count()
    {
        var cluster = new TestCluster().Node("plain", Size(64, 64)).Node("gpus", Size(64, 64, ("gpu", 2))).Application("a");

        cluster.Ask("a", Ask(1, Size(1, 1, ("gpu", 1)), 5));

        Assert.Equal((0, 2), (cluster.On("plain"), cluster.On("gpus")));
    }

    [Fact]
    public void Containers_are_told_the_numbers_of_their_devices_and_keep_them_over_a_restart()
    {
        var cluster = new TestCluster().Node("n1", Size(8, 8, ("gpu", 4), ("licence", 100_000))).Application("a");
        var one = Ask(1, Size(1, 1, ("gpu", 1), ("licence", 5)), 2);
        var two = Ask(2, Size(1, 1, ("gpu", 2)), 1);

        Assert.Equal(["gpu=0", "gpu=1"], cluster.Ask("a", one).ToNodes<LaunchContainer>().Select(static launch => launch.Devices));
        cluster.Ask("a", one with { Desired = 1 });
        cluster.Exit(cluster.Containers("a")[0]);
        Assert.Equal(["gpu=0,2"], cluster.Ask("a", one with { Desired = 1 }, two).ToNodes<LaunchContainer>().Select(static launch => launch.Devices));

        var reports = cluster.Running("n1");
        var next = cluster.Restart();
        next.Register("n1", Size(8, 8, ("gpu", 4), ("licence", 100_000)), containers: reports);
        Assert.Equal(["gpu=3"], next.Ask("a", one, two).ToNodes<LaunchContainer>().Select(static launch => launch.Devices));
    }

    [Fact]
    public void A_burst_of_asks_is_granted_in_bounded_steps()
    {
        var cluster = new TestCluster(new ClusterSettings { GrantsPerStep = 10 }).Node("n1", Size(100, 100)).Application("a");

        cluster.Machine.Apply(new AsksUpdated(new UpdateAsks(new ApplicationId("a"), 1, [Ask(1, Size(1, 1), 50)])), cluster.Now, cluster.Effects);

        Assert.Equal(10, cluster.Live("a"));
        Assert.True(cluster.Machine.HasMoreWork);
        cluster.Apply(new ContinuePlacing());
        Assert.Equal(50, cluster.Live("a"));
    }

    [Fact]
    public void Containers_spread_over_nodes_by_default_and_pack_when_told_to()
    {
        var spread = new TestCluster().Node("n1").Node("n2").Application("a");
        var pack = new TestCluster(configuration: new ClusterConfiguration { NodeOrder = NodeOrder.Pack }).Node("n1").Node("n2").Application("a");

        spread.Ask("a", Ask(1, Size(1, 1), 4));
        pack.Ask("a", Ask(1, Size(1, 1), 4));

        Assert.Equal((2, 2), (spread.On("n1"), spread.On("n2")));
        Assert.Equal((4, 0), (pack.On("n1"), pack.On("n2")));
    }
}
