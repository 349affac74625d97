using Xunit;
using Yarnish.Integration.Tests.Fixtures;

namespace Yarnish.Integration.Tests.Chaos;

/// <summary>A node that is gone with its agent, its executor and its shuffle files, at the worst time: its map output is written, nobody has read it yet.</summary>
[Trait("Category", "Processes")]
public sealed class NodeChaosTests
{
    [Fact]
    public async Task Node_that_is_lost_costs_its_own_map_output_and_nothing_else()
    {
        await using var cluster = await TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes: 2);
        using var field = new Field();
        await using (var session = await SmallJob.OpenAsync(cluster))
        {
            var job = SmallJob.RunAsync(session, field, reduce: static (path, _) => Field.Wait(path));
            await cluster.UntilAsync("reducers wait on two executors", () => Task.FromResult(job.IsCompleted || field.Waiting.Length == 2));
            var gone = TestCluster.ProcessesBelow(Path.Combine(cluster.Directory, "node-2")).ToHashSet();
            var before = field.Runs;
            var lost = before.Where(run => gone.Contains(run.Process) && run.Work.StartsWith("map-", StringComparison.Ordinal)).Select(static run => run.Work).Distinct().Order().ToArray();
            Assert.InRange(lost.Length, 1, SmallJob.Maps - 1);

            await cluster.LoseNodeAsync("node-2");
            field.Open();

            await SmallJob.AssertRightAsync(job, cluster);
            var again = field.Runs.Where(static run => run.Work.StartsWith("map-", StringComparison.Ordinal)).GroupBy(static run => run.Work).Where(static work => work.Count() > 1).ToArray();
            Assert.Equal(lost, again.Select(static work => work.Key).Order());
            Assert.All(again, static work => Assert.Equal(2, work.Count()));
            await Leftovers.AssertNoneInDriverAsync(session);
        }
        // The machine comes back: what it holds of the application is removed there too.
        cluster.Start("node-2");
        await cluster.UntilAsync("both nodes are running", info => info.Nodes.GetValueOrDefault("running") == 2);
    }
}
