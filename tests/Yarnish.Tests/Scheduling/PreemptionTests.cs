using Xunit;
using Yarnish.Protocol;
using Yarnish.Scheduling;
using static Yarnish.Tests.Scheduling.TestCluster;

namespace Yarnish.Tests.Scheduling;

public sealed class PreemptionTests
{
    private static ClusterConfiguration Queues(params QueueConfiguration[] queues) => new()
    {
        Root = new("root") { Queues = [.. queues] },
        Preemption = new PreemptionConfiguration { Delay = TimeSpan.FromSeconds(10), RoundPercent = 100 },
    };

    private static TestCluster Greedy(ClusterConfiguration configuration, bool drivers = false)
    {
        var cluster = new TestCluster(configuration: configuration).Node("n1", Size(8, 8)).Application("greedy", "a");
        cluster.Ask("greedy", Ask(1, Size(1, 1), 8) with { IsDriver = drivers });
        cluster.Pass(2);
        cluster.Application("late", "b");
        cluster.Ask("late", Ask(1, Size(1, 1), 8));
        return cluster;
    }

    private static StopContainer[] Stops(IEnumerable<ClusterEffect> effects) => [.. effects.ToNodes<StopContainer>().DistinctBy(static stop => stop.ContainerId)];

    [Fact]
    public void A_queue_below_its_guarantee_gets_it_back_and_not_more()
    {
        var cluster = Greedy(Queues(new("a"), new("b")));

        Assert.Empty(Stops(cluster.Pass(9)));
        var stops = Stops(cluster.Pass(4));
        Assert.Equal(4, stops.Length);
        Assert.All(stops, static stop => Assert.Equal(ContainerExitCause.Preempted, stop.Cause));
        Assert.Contains("queue root.b is below its guarantee and queue root.a above its own", stops[0].Reason, StringComparison.Ordinal);
        foreach (var stop in stops)
        {
            cluster.Exit(stop.ContainerId, ContainerExitCause.Preempted);
        }
        Assert.Equal((4, 4), (cluster.Live("greedy"), cluster.Live("late")));
        Assert.Empty(Stops(cluster.Pass(60)));
    }

    [Fact]
    public void Weights_that_change_at_run_time_are_reached()
    {
        var cluster = Greedy(Queues(new("a"), new("b")));
        cluster.Apply(new ConfigurationChanged(Queues(new("a"), new("b") { Guarantee = Share.Weight(3) })));

        Assert.Equal(6, Stops(cluster.Pass(15)).Length);
    }

    [Fact]
    public void The_youngest_go_first()
    {
        Assert.Equal(["c-1-5", "c-1-6", "c-1-7", "c-1-8"], Stops(Greedy(Queues(new("a"), new("b"))).Pass(14)).Select(static stop => stop.ContainerId).Order().Select(static id => id.Value));
    }

    [Fact]
    public void A_round_takes_back_at_most_its_part()
    {
        var configuration = Queues(new("a"), new("b"));
        var cluster = Greedy(configuration with { Preemption = configuration.Preemption with { RoundPercent = 25 } });

        Assert.Equal(2, Stops(cluster.Pass(12)).Length);
    }

    [Fact]
    public void What_is_being_stopped_already_is_not_paid_for_twice()
    {
        var cluster = Greedy(Queues(new("a"), new("b")));
        Assert.Equal(4, Stops(cluster.Pass(14)).Length);

        Assert.Equal(4, cluster.Machine.State.Containers.Values.Count(static container => container.IsStopping));
        cluster.Pass(30);
        Assert.Equal(4, cluster.Machine.State.Containers.Values.Count(static container => container.IsStopping));
    }

    [Fact]
    public void A_queue_that_is_not_preemptible_keeps_what_it_has() =>
        Assert.Empty(Stops(Greedy(Queues(new("a") { Preemptible = false }, new("b"))).Pass(30)));

    // Found by the simulation: the freed room went right back to the queue it was taken from.
    [Fact]
    public void Nothing_is_taken_from_a_queue_that_would_get_it_right_back() =>
        Assert.Empty(Stops(Greedy(Queues(new("a") { Priority = 1 }, new("b"))).Pass(30)));

    [Fact]
    public void Nothing_is_taken_from_higher_priorities()
    {
        var cluster = Greedy(Queues(new("a"), new("b")));
        cluster.Apply(new ApplicationMoved(new ApplicationId("greedy"), null, 1));

        Assert.Empty(Stops(cluster.Pass(30)));
    }

    [Fact]
    public void Drivers_are_taken_only_when_nothing_else_would_do()
    {
        var cluster = new TestCluster(configuration: Queues(new("a"), new("b"))).Node("n1", Size(8, 8)).Application("greedy", "a");
        cluster.Ask("greedy", Ask(1, Size(1, 1), 5), Ask(2, Size(1, 1), 3) with { IsDriver = true });
        cluster.Application("late", "b");
        cluster.Ask("late", Ask(1, Size(1, 1), 2));

        var stopped = Stops(cluster.Pass(14)).Select(stop => cluster.Machine.State.Containers[stop.ContainerId].IsDriver).ToArray();

        Assert.Equal([false, false], stopped);
        Assert.Equal(4, Stops(Greedy(Queues(new("a"), new("b")), drivers: true).Pass(14)).Length);
    }

    [Fact]
    public void Inside_a_leaf_of_priorities_the_higher_one_takes_from_the_lower()
    {
        var cluster = new TestCluster(configuration: Queues(new QueueConfiguration("default") { Order = ApplicationOrder.Priority })).Node("n1", Size(4, 4)).Application("low").Application("high", priority: 1);
        cluster.Ask("low", Ask(1, Size(1, 1), 4));
        cluster.Ask("high", Ask(1, Size(1, 1), 2));

        var stops = Stops(cluster.Pass(14));

        Assert.Equal(2, stops.Length);
        Assert.Contains("whose priority 1 in queue root.default is higher than 0", stops[0].Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void A_dry_run_says_what_would_be_stopped_for_whom_and_does_nothing()
    {
        var cluster = Greedy(Queues(new("a"), new("b")));

        var victims = cluster.Machine.PlanPreemption(cluster.Now.AddSeconds(10));

        Assert.Equal(4, victims.Length);
        Assert.All(victims, static victim => Assert.Equal(("greedy", "late"), (victim.Owner.Value, victim.For.Value)));
        Assert.Equal(8, cluster.Live("greedy"));
        Assert.Equal(victims.Select(static victim => victim.ContainerId).Order(), Stops(cluster.Pass(12)).Select(static stop => stop.ContainerId).Order());
    }
}
