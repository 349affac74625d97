using Xunit;
using Yarnish.Protocol;
using Yarnish.Scheduling;
using static Yarnish.Tests.Scheduling.TestCluster;

namespace Yarnish.Tests.Scheduling;

public sealed class WhatIfTests
{
    private static TestCluster Full()
    {
        var cluster = new TestCluster().Node("n1", Size(4, 4)).Application("a").Application("b");
        cluster.Ask("a", Ask(1, Size(1, 1), 4));
        cluster.Ask("b", Ask(1, Size(1, 1), 3));
        return cluster;
    }

    [Fact]
    public void A_plan_says_where_an_application_would_run()
    {
        var cluster = new TestCluster().Node("n1").Node("n2");

        var outcome = cluster.Machine.WhatIf(new Hypothesis { Submit = new RegisterApplication(new ApplicationId("new"), "new", "ada", ""), Asks = [Ask(1, Size(4, 2), 3)] }, cluster.Now);

        Assert.Equal([("n1", 2), ("n2", 1)], outcome.Grants.Select(static grant => (grant.NodeId.Value, grant.Containers)).Order());
        Assert.Empty(outcome.Waiting);
        Assert.Empty(cluster.Snapshot.Applications);
    }

    [Fact]
    public void A_plan_says_what_would_unblock_what_does_not_fit()
    {
        var cluster = Full();

        var outcome = cluster.Machine.WhatIf(new Hypothesis { Submit = new RegisterApplication(new ApplicationId("new"), "new", "ada", ""), Asks = [Ask(1, Size(64, 2), 1)] }, cluster.Now);

        var waiting = outcome.Waiting.Single(static wait => wait.ApplicationId.Value == "new");
        Assert.True(waiting.Waiting.Impossible);
        Assert.Contains("add a larger node", waiting.Waiting.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Another_node_would_take_what_waits()
    {
        var cluster = Full();
        var before = cluster.Containers("a").Concat(cluster.Containers("b")).ToArray();

        var outcome = cluster.Machine.WhatIf(new Hypothesis { AddNodes = [new RegisterNode(new NodeId("n9"), 1, Size(4, 4), "", "n9")] }, cluster.Now);

        Assert.Equal(3, outcome.Grants.Sum(static grant => grant.Containers));
        Assert.All(outcome.Grants, static grant => Assert.Equal("n9", grant.NodeId.Value));
        Assert.Equal(before, cluster.Containers("a").Concat(cluster.Containers("b")));
    }

    [Fact]
    public void The_end_of_an_application_would_make_room()
    {
        var cluster = Full();

        var outcome = cluster.Machine.WhatIf(new Hypothesis { End = [new ApplicationId("a")] }, cluster.Now);

        Assert.Equal(3, outcome.Grants.Where(static grant => grant.ApplicationId.Value == "b").Sum(static grant => grant.Containers) + cluster.Live("b"));
    }

    [Fact]
    public void A_lost_node_would_leave_its_containers_waiting()
    {
        var cluster = Full();

        var outcome = cluster.Machine.WhatIf(new Hypothesis { RemoveNodes = [new NodeId("n1")] }, cluster.Now);

        Assert.Equal(7, outcome.Waiting.Sum(static wait => wait.Waiting.Outstanding));
    }

    [Fact]
    public void Other_weights_would_take_back()
    {
        var cluster = new TestCluster(configuration: new ClusterConfiguration { Root = new("root") { Queues = [new("x"), new("y")] } }).Node("n1", Size(4, 4)).Application("a", "x").Application("b", "y");
        cluster.Ask("a", Ask(1, Size(1, 1), 4));
        cluster.Ask("b", Ask(1, Size(1, 1), 4));

        var outcome = cluster.Machine.WhatIf(new Hypothesis
        {
            Configuration = new ClusterConfiguration { Root = new("root") { Queues = [new("x"), new("y") { Guarantee = Share.Weight(3) }] } },
        }, cluster.Now);

        Assert.Equal(3, outcome.Preempted.Length);
    }

    [Fact]
    public void An_impossible_hypothesis_says_why()
    {
        var cluster = Full();

        Assert.Contains("root.queues[0].name", cluster.Machine.WhatIf(new Hypothesis { Configuration = new ClusterConfiguration { Root = new("root") { Queues = [new("?")] } } }, cluster.Now).Refusal, StringComparison.Ordinal);
        Assert.Contains("There is no queue 'nope'", cluster.Machine.WhatIf(new Hypothesis { Submit = new RegisterApplication(new ApplicationId("new"), "new", "ada", "nope") }, cluster.Now).Refusal, StringComparison.Ordinal);
    }
}
