using Xunit;
using Yarnish.Protocol;
using Yarnish.Scheduling;
using static Yarnish.Tests.Scheduling.TestCluster;

namespace Yarnish.Tests.Scheduling;

public sealed class RestartTests
{
    private static TestCluster Running()
    {
        var cluster = new TestCluster().Node("n1").Node("n2").Application("a");
        cluster.Ask("a", Ask(1, Size(2, 1), 4));
        cluster.Pass(2);
        return cluster;
    }

    [Fact]
    public void Agents_and_drivers_are_asked_to_say_everything_again()
    {
        var next = Running().Restart();

        Assert.Equal(2, next.Effects.ToNodes<ResyncNode>().Count());
        Assert.Single(next.Effects.ToDrivers<ResyncApplication>());
        Assert.Equal("settling", next.Snapshot.Cluster.State);
    }

    [Fact]
    public void Containers_are_adopted_and_nothing_is_granted_twice()
    {
        var before = Running();
        var (one, two) = (before.Running("n1"), before.Running("n2"));
        var next = before.Restart();

        next.Ask("a", Ask(1, Size(2, 1), 4));
        next.Register("n1", containers: one);
        Assert.Equal(2, next.Live("a"));
        next.Register("n2", containers: two);

        Assert.Equal(before.Containers("a"), next.Containers("a"));
        Assert.Equal("active", next.Snapshot.Cluster.State);
        Assert.Empty(next.Pass(3).ToNodes<LaunchContainer>());
    }

    [Fact]
    public void Nothing_is_granted_before_all_nodes_are_back_or_ten_seconds_passed()
    {
        var before = Running();
        var one = before.Running("n1");
        var next = before.Restart();
        next.Register("n1", containers: one);
        next.Ask("a", Ask(1, Size(2, 1), 4));

        next.Pass(9, "n2");
        Assert.Equal(2, next.Live("a"));
        next.Pass(1, "n2");
        Assert.Equal(4, next.Live("a"));
        Assert.Equal("c-2-1", next.Containers("a")[^2].Value);
    }

    [Fact]
    public void A_driver_hears_of_the_containers_whose_node_never_came_back()
    {
        var before = Running();
        var (one, two) = (before.Running("n1"), before.Running("n2"));
        var next = before.Restart();
        next.Register("n1", containers: one);
        next.Pass(11, "n2");

        HeldContainer[] held = [.. one.Select(Held("n1")), .. two.Select(Held("n2"))];
        var effects = next.Update("a", [Ask(1, Size(2, 1), 4)], held: held);

        var lost = effects.ToDrivers<ContainersCompleted>().Single().Completions;
        Assert.Equal(two.Select(static report => report.ContainerId), lost.Select(static completion => completion.ContainerId));
        Assert.All(lost, static completion => Assert.True(completion.NodeLost));
    }

    private static Func<ContainerReport, HeldContainer> Held(string node) => report => new HeldContainer(report.ContainerId, report.AskId, new NodeId(node));

    [Fact]
    public void A_container_of_an_unknown_application_is_stopped_once_settled_and_takes_room_until_then()
    {
        var before = Running();
        var next = before.Restart();
        var stranger = new ContainerReport(new ContainerId(1, 99), new ApplicationId("stranger"), Size(8, 4), ContainerState.Running);

        Assert.Empty(next.Register("n1", containers: [stranger]).ToNodes<StopContainer>());
        next.Register("n2");
        next.Ask("a", Ask(1, Size(8, 4), 2));
        var effects = next.Beat("n1", [stranger]);

        Assert.Equal(stranger.ContainerId, Assert.Single(effects.ToNodes<StopContainer>()).ContainerId);
        Assert.Equal((0, 1), (next.On("n1", "a"), next.On("n2", "a")));
    }

    [Fact]
    public void An_end_that_happened_while_nobody_listened_reaches_the_driver()
    {
        var before = Running();
        var one = before.Running("n1");
        var next = before.Restart();

        var effects = next.Register("n1", containers: [one[0] with { State = ContainerState.Exited, Exit = new ContainerExit(ContainerExitCause.OutOfMemory, 137, "") }, one[1]]);

        Assert.Equal(ContainerExitCause.OutOfMemory, Assert.Single(effects.ToDrivers<ContainersCompleted>()).Completions.Single().Exit.Cause);
        Assert.Single(effects.ToNodes<AcknowledgeExits>());
    }

    [Fact]
    public void An_application_that_ended_stays_ended()
    {
        var before = Running();
        before.Apply(new ApplicationFinished(new FinishApplication(new ApplicationId("a"), true, "", new ApplicationProgress())));

        var next = before.Restart();

        Assert.Equal("succeeded", next.Snapshot.Applications.Single().Info.State);
        Assert.Single(next.Application("a").Effects.ToDrivers<ApplicationRefused>());
    }

    [Fact]
    public void A_queue_that_is_gone_after_the_restart_does_not_take_its_applications_along()
    {
        var before = new TestCluster(configuration: new ClusterConfiguration { Root = new("root") { Queues = [new("default"), new("old")] } }).Node("n1").Application("a", "old");
        var next = before.Restart(new ClusterConfiguration { Root = new("root") { Queues = [new("new") { State = QueueState.Draining }] } });

        Assert.Equal("root.recovered", next.Snapshot.Applications.Single().Info.Queue.Value);
    }

    [Fact]
    public void The_same_events_give_the_same_effects()
    {
        string Play()
        {
            var cluster = Running();
            cluster.Application("b");
            cluster.Ask("b", Ask(1, Size(1, 1), 9));
            cluster.Pass(20, "n2");
            return System.Text.Json.JsonSerializer.Serialize(cluster.Pass(5).Select(static effect => effect.ToString())) + cluster.Snapshot.Version;
        }

        Assert.Equal(Play(), Play());
    }
}
