using Xunit;
using Yarnish.Protocol;
using Yarnish.Scheduling;
using static Yarnish.Tests.Scheduling.TestCluster;

namespace Yarnish.Tests.Scheduling;

public sealed class QueuesTests
{
    private static ClusterConfiguration Queues(params QueueConfiguration[] queues) => new() { Root = new("root") { Queues = [.. queues] } };

    private static TestCluster Full(ClusterConfiguration configuration, params string[] queues)
    {
        var cluster = new TestCluster(configuration: configuration);
        foreach (var queue in queues)
        {
            cluster.Application(queue, queue);
            cluster.Ask(queue, Ask(1, Size(1, 1), 100));
        }
        return cluster.Node("n1", Size(12, 12));
    }

    [Fact]
    public void Queues_share_by_weight()
    {
        var cluster = Full(Queues(new("a") { Guarantee = Share.Weight(1) }, new("b") { Guarantee = Share.Weight(3) }), "a", "b");

        Assert.Equal((3, 9), (cluster.Live("a"), cluster.Live("b")));
    }

    [Fact]
    public void Queues_share_by_percent_and_use_what_others_leave()
    {
        var configuration = Queues(new("a") { Guarantee = Share.Percent(25) }, new("b") { Guarantee = Share.Percent(75) });

        Assert.Equal((3, 9), (Full(configuration, "a", "b").Live("a"), Full(configuration, "a", "b").Live("b")));
        Assert.Equal(12, Full(configuration, "a").Live("a"));
    }

    [Fact]
    public void A_maximum_holds_even_when_the_rest_is_idle()
    {
        var cluster = Full(Queues(new QueueConfiguration("a") { Maximum = Share.Of(Size(5, 100)) }), "a");

        Assert.Equal(5, cluster.Live("a"));
    }

    [Fact]
    public void Nested_queues_share_what_their_parent_has()
    {
        var cluster = Full(Queues(
            new("p") { Guarantee = Share.Weight(2), Queues = [new("x"), new("y")] },
            new("q") { Guarantee = Share.Weight(1) }), "p.x", "p.y", "q");

        Assert.Equal((4, 4, 4), (cluster.Live("p.x"), cluster.Live("p.y"), cluster.Live("q")));
    }

    [Fact]
    public void The_dominant_resource_decides_what_is_fair()
    {
        // The example of the DRF paper: 9 cores, 18 GiB; A wants (1 core, 4 GiB), B (3 cores, 1 GiB): three of A, two of B.
        var cluster = new TestCluster().Application("a").Application("b");
        cluster.Ask("a", Ask(1, Size(4, 1), 100));
        cluster.Ask("b", Ask(1, Size(1, 3), 100));

        cluster.Node("n1", Size(18, 9));

        Assert.Equal((3, 2), (cluster.Live("a"), cluster.Live("b")));
    }

    [Theory]
    [InlineData(ApplicationOrder.Fifo, 4, 0)]
    [InlineData(ApplicationOrder.Fair, 2, 2)]
    [InlineData(ApplicationOrder.Priority, 0, 4)]
    public void The_order_of_a_leaf_decides_between_its_applications(ApplicationOrder order, int first, int second)
    {
        var cluster = new TestCluster(configuration: Queues(new QueueConfiguration("default") { Order = order })).Application("a").Application("b", priority: 5);
        cluster.Ask("a", Ask(1, Size(1, 1), 4));
        cluster.Ask("b", Ask(1, Size(1, 1), 4));

        cluster.Node("n1", Size(4, 4));

        Assert.Equal((first, second), (cluster.Live("a"), cluster.Live("b")));
    }

    [Fact]
    public void Asks_of_higher_priority_come_first()
    {
        var cluster = new TestCluster().Application("a");
        cluster.Ask("a", Ask(1, Size(1, 1), 4), Ask(2, Size(1, 1), 4) with { Priority = 1 });

        cluster.Node("n1", Size(4, 4));

        Assert.All(cluster.Machine.State.Containers.Values, static container => Assert.Equal(2, container.AskId));
    }

    [Fact]
    public void An_unknown_stopped_or_full_queue_refuses_and_says_what_to_do()
    {
        var cluster = new TestCluster(configuration: Queues(
            new("open"), new("shut") { State = QueueState.Stopped }, new("drain") { State = QueueState.Draining }, new("small") { MaximumApplications = 1 }));
        string Refusal(string queue)
        {
            cluster.Application("app-" + queue + cluster.Journal.Count, queue);
            return cluster.Effects.ToDrivers<ApplicationRefused>().SingleOrDefault()?.Reason ?? "";
        }

        Assert.Equal("There is no queue 'nope': choose one of root.open, root.small.", Refusal("nope"));
        Assert.Contains("is stopped", Refusal("shut"), StringComparison.Ordinal);
        Assert.Contains("is draining", Refusal("drain"), StringComparison.Ordinal);
        Assert.Equal("", Refusal("small"));
        Assert.Contains("1 of at most 1 applications", Refusal("small"), StringComparison.Ordinal);
    }

    [Fact]
    public void Rules_choose_the_queue_and_create_it_from_the_template()
    {
        var cluster = new TestCluster(configuration: Queues(
            new("default"), new("people") { Template = new("template") { Maximum = Share.Percent(50) }, Queues = [] }) with
        {
            Rules =
            [
                new(PlacementAction.Reject) { User = "mallory" },
                new(PlacementAction.Fixed) { Application = "night-*", Queue = "root.default" },
                new(PlacementAction.User) { Queue = "root.people", Create = true },
            ],
        });

        cluster.Application("night-report").Application("x", user: "ada");
        Assert.Equal(["root.default", "root.people.ada"], cluster.Snapshot.Applications.Select(static application => application.Info.Queue.Value));
        cluster.Application("y", user: "mallory");
        Assert.Single(cluster.Effects.ToDrivers<ApplicationRefused>());
    }

    [Fact]
    public void New_queues_apply_whole_while_everything_runs()
    {
        var cluster = Full(Queues(new("a"), new("b")), "a", "b");
        Assert.Equal((6, 6), (cluster.Live("a"), cluster.Live("b")));

        cluster.Apply(new ConfigurationChanged(Queues(new("a") { Guarantee = Share.Weight(3) }, new("b"), new("c"))));

        Assert.Single(cluster.Effects.OfType<ConfigurationApplied>());
        cluster.Exit(cluster.Containers("b")[0]);
        Assert.Equal((7, 5), (cluster.Live("a"), cluster.Live("b")));
    }

    [Fact]
    public void Wrong_queues_change_nothing()
    {
        var cluster = Full(Queues(new("a"), new("b")), "a", "b");
        var before = cluster.Machine.State.Configuration;

        var effects = cluster.Apply(new ConfigurationChanged(Queues(new("a") { Guarantee = Share.Percent(80) }, new("b") { Guarantee = Share.Percent(30) })));

        var error = Assert.Single(Assert.IsType<ConfigurationRefused>(Assert.Single(effects)).Errors);
        Assert.Equal("root.queues[1].guarantee: The shares below 'root' come to 110 %: at most 100 % can be guaranteed.", error.ToString());
        Assert.Same(before, cluster.Machine.State.Configuration);
    }

    [Fact]
    public void A_queue_that_holds_applications_cannot_be_removed()
    {
        var cluster = Full(Queues(new("a"), new("b")), "a", "b");

        var refused = Assert.IsType<ConfigurationRefused>(Assert.Single(cluster.Apply(new ConfigurationChanged(Queues(new QueueConfiguration("a"))))));

        Assert.Contains("Queue root.b holds 1 applications and cannot be removed", refused.Errors[0].Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_application_moves_with_what_it_holds()
    {
        var cluster = Full(Queues(new("a"), new("b")), "a");

        cluster.Apply(new ApplicationMoved(new ApplicationId("a"), new QueueName("root.b"), null));

        var queues = cluster.Snapshot.Queues.ToDictionary(static queue => queue.Name.Value);
        Assert.Equal((0L, 12000L), (queues["root.a"].Allocated[""].MilliCores, queues["root.b"].Allocated[""].MilliCores));
        Assert.Equal("root.b", cluster.Restart().Snapshot.Applications.Single().Info.Queue.Value);
    }

    [Fact]
    public void Applications_end_with_their_lifetime()
    {
        var cluster = Full(Queues(new QueueConfiguration("a") { MaximumLifetime = TimeSpan.FromMinutes(1) }), "a");

        Assert.Empty(cluster.Pass(59).ToDrivers<KillApplication>());
        Assert.Contains("ends applications after 00:01:00", cluster.Pass(2).ToDrivers<KillApplication>().First().Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void An_exclusive_partition_is_for_those_who_ask_for_it_and_a_shared_one_lends_what_is_idle()
    {
        static TestCluster With(bool shared)
        {
            var cluster = new TestCluster(configuration: new ClusterConfiguration { Partitions = [new("gpus", shared)] })
                .Node("plain", Size(2, 2)).Node("special", Size(2, 2), partition: "gpus").Application("a");
            cluster.Ask("a", Ask(1, Size(1, 1), 4));
            return cluster;
        }

        Assert.Equal((2, 0), (With(shared: false).On("plain"), With(shared: false).On("special")));
        Assert.Equal((2, 2), (With(shared: true).On("plain"), With(shared: true).On("special")));
    }

    [Fact]
    public void A_preferred_node_of_another_partition_is_not_taken()
    {
        var cluster = new TestCluster().Node("plain").Node("special", partition: "gpus").Application("a");

        cluster.Ask("a", Ask(1, Size(1, 1), 2) with { PreferredNodes = [new NodeId("special")] });
        cluster.Pass(7);

        Assert.Equal((2, 0), (cluster.On("plain"), cluster.On("special")));
    }

    [Fact]
    public void Soft_rules_yield_and_spreading_stays_even()
    {
        var cluster = new TestCluster().Node("n1", Size(8, 8)).Node("n2", Size(4, 4)).Application("a");
        cluster.Ask("a", Ask(1, Size(1, 1), 6) with { Tags = ["x"], Constraints = [new PlacementConstraint(PlacementKind.Spread, "x", true)] });
        Assert.Equal((3, 3), (cluster.On("n1"), cluster.On("n2")));

        cluster.Ask("a", Ask(1, Size(1, 1), 9) with { Tags = ["x"], Constraints = [new PlacementConstraint(PlacementKind.Spread, "x", false)] });
        Assert.Equal((5, 4), (cluster.On("n1"), cluster.On("n2")));
    }
}
