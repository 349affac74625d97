using Xunit;
using Yarnish.Protocol;
using Yarnish.Scheduling;
using static Yarnish.Tests.Scheduling.TestCluster;

namespace Yarnish.Tests.Scheduling;

public sealed class ConfigurationCheckTests
{
    private static string[] Errors(params QueueConfiguration[] queues) =>
        [.. ConfigurationCheck.Validate(new ClusterConfiguration { Root = new("root") { Queues = [.. queues] } }).Select(static error => error.ToString())];

    [Fact]
    public void The_default_and_a_rich_tree_are_good()
    {
        Assert.Empty(ConfigurationCheck.Validate(new ClusterConfiguration()));
        Assert.Empty(Errors(
            new("a") { Guarantee = Share.Weight(2.5m), Maximum = Share.Percent(80), Queues = [new("x") { Guarantee = Share.Percent(100) }] },
            new("b") { Guarantee = Share.Weight(1), Limits = [new QueueLimit { Users = ["*"], MaximumResources = Size(1, 1) }] }));
    }

    [Fact]
    public void Each_error_names_its_key()
    {
        Assert.Equal(["root.queues[1].name: A second queue 'a' below 'root': names of siblings must differ."], Errors(new("a"), new("a")));
        Assert.StartsWith("root.queues[0].name: 'a.b' is not a queue name", Assert.Single(Errors(new QueueConfiguration("a.b"))), StringComparison.Ordinal);
        Assert.StartsWith("root.queues[0].maximum: The maximum (20 %) is below the guarantee (30 %)", Assert.Single(Errors(new QueueConfiguration("a") { Guarantee = Share.Percent(30), Maximum = Share.Percent(20) })), StringComparison.Ordinal);
        Assert.StartsWith("root.queues[0].maximum: The maximum of memory", Assert.Single(Errors(new QueueConfiguration("a") { Guarantee = Share.Of(Size(2, 1)), Maximum = Share.Of(Size(1, 1)) })), StringComparison.Ordinal);
        Assert.StartsWith("root.queues[1].guarantee: Siblings below 'root' say their shares in different ways", Assert.Single(Errors(new("a") { Guarantee = Share.Percent(30) }, new("b") { Guarantee = Share.Weight(1) })), StringComparison.Ordinal);
        Assert.StartsWith("root.queues[1].guarantee: The shares below 'root' come to 120 %", Assert.Single(Errors(new("a") { Guarantee = Share.Percent(60) }, new("b") { Guarantee = Share.Percent(60) })), StringComparison.Ordinal);
        Assert.Contains("root.queues[0].guarantee: 120 % is not a share: use 0 to 100 %.", Errors(new QueueConfiguration("a") { Guarantee = Share.Percent(120) }));
        Assert.StartsWith("root.queues[0].maximum: A maximum cannot be a weight", Assert.Single(Errors(new QueueConfiguration("a") { Maximum = Share.Weight(1) })), StringComparison.Ordinal);
        Assert.StartsWith("root.queues[0].guarantee: The queues below 'a' are guaranteed", Assert.Single(Errors(new QueueConfiguration("a") { Guarantee = Share.Of(Size(2, 2)), Queues = [new("x") { Guarantee = Share.Of(Size(3, 1)) }] })), StringComparison.Ordinal);
        Assert.StartsWith("root.queues[0].maximumApplications: 0 lets nothing in", Assert.Single(Errors(new QueueConfiguration("a") { MaximumApplications = 0 })), StringComparison.Ordinal);
        Assert.StartsWith("root.queues[0].limits[0]: A limit must name users or groups", Errors(new QueueConfiguration("a") { Limits = [new QueueLimit { MaximumActiveApplications = 1 }] })[0], StringComparison.Ordinal);
        Assert.StartsWith("root.queues[0].maximumContainer: ", Assert.Single(Errors(new QueueConfiguration("a") { MaximumContainer = new Resources(-1, 0) })), StringComparison.Ordinal);
    }

    [Fact]
    public void Rules_and_partitions_are_checked_against_the_tree()
    {
        var errors = ConfigurationCheck.Validate(new ClusterConfiguration
        {
            Rules = [new(PlacementAction.Fixed) { Queue = "root.nope" }, new(PlacementAction.Fixed) { Queue = "root" }, new(PlacementAction.User) { Create = true }],
            Partitions = [new("x", true), new("x", false)],
        });

        Assert.Equal(["partitions[1].name", "rules[0].queue", "rules[1].queue", "rules[2].create"], errors.Select(static error => error.Path).Order());
    }

    [Fact]
    public void Absurd_sizes_are_refused_with_one_error_each()
    {
        var deep = new QueueConfiguration("x");
        for (var i = 0; i < 40; i++)
        {
            deep = new QueueConfiguration("x") { Queues = [deep] };
        }

        Assert.Contains("nested deeper", Assert.Single(Errors(deep)), StringComparison.Ordinal);
        Assert.Contains("more than 10000 queues", Assert.Single(Errors([.. Enumerable.Range(0, 20_000).Select(static i => new QueueConfiguration("q" + i))])), StringComparison.Ordinal);
    }
}
