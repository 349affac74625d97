using Xunit;
using Yarnish.Integration.Tests.Fixtures;

namespace Yarnish.Integration.Tests.EndToEnd;

/// <summary>What a job needs goes away in its middle and does not come back: one clear error within the bounded time. Once it is back, the cluster works.</summary>
[Trait("Category", "Processes")]
public sealed class ServicesGoneTests(PrivateServices services) : IClassFixture<PrivateServices>
{
    [Fact]
    public async Task RabbitMq() => await FailsAsync(
        "the message broker has not worked for 4 s", _ => services.KillRabbitMqAsync(), _ => services.StartRabbitMqAsync());

    [Fact]
    public async Task Redis() => await FailsAsync(
        "Redis has not worked for 4 s", _ => services.KillRedisAsync(), _ => services.StartRedisAsync());

    [Fact]
    public async Task The_resource_manager_and_every_executor() => await FailsAsync(
        "the resource manager at http://127.0.0.1",
        async cluster =>
        {
            await cluster.KillAsync("resource-manager");
            await cluster.LoseNodeAsync("node-1");
        },
        cluster =>
        {
            cluster.Start("resource-manager");
            cluster.Start("node-1");
            return Task.CompletedTask;
        });

    private async Task FailsAsync(string words, Func<TestCluster, Task> harm, Func<TestCluster, Task> repair)
    {
        await using var cluster = await TestCluster.StartAsync(services.RabbitMq, services.Redis, nodes: 1);
        cluster.DriversMayLeaveWhatExpires = true;
        var gate = Path.Combine(cluster.Directory, "gate");
        await using (var session = await OpenAsync(cluster))
        {
            var job = session.Range(0, 4, 2).Select(row => Wait(row, gate)).CountBy(static row => row % 2).CollectAsync();
            await cluster.UntilAsync("a task runs", () => Task.FromResult(File.Exists(gate + ".reached")));

            await harm(cluster);
            await File.WriteAllTextAsync(gate, "");

            var error = await Assert.ThrowsAsync<YarnishJobException>(() => job.WaitAsync(TimeSpan.FromSeconds(60)));
            Assert.Equal(6, error.ExitCode);
            Assert.Contains(words, error.Message, StringComparison.Ordinal);
            Assert.Contains("again, then the program", error.Message, StringComparison.Ordinal);
        }

        await repair(cluster);
        await cluster.UntilAsync("the node is there again", info => info.Nodes.GetValueOrDefault("running") == 1);
        await using var next = await OpenAsync(cluster);
        Assert.Equal(2, (await next.Range(0, 4, 2).CountBy(static row => row % 2).CollectAsync().WaitAsync(TimeSpan.FromSeconds(60))).Length);
    }

    private static Task<YarnishSession> OpenAsync(TestCluster cluster) => YarnishSession.CreateBuilder([])
        .WithName("gone").WithAddress(cluster.Address).WithExecutors(1).WithExecutorMemory(256 << 20).WithProgress(ProgressStyle.None)
        .Configure(static options => (options.BrokerTimeout, options.ExecutorTimeout) = (TimeSpan.FromSeconds(4), TimeSpan.FromSeconds(5)))
        .ConnectAsync();

    private static int Wait(int row, string gate)
    {
        File.WriteAllText(gate + ".reached", "");
        while (!File.Exists(gate))
        {
            Thread.Sleep(10);
        }
        return row;
    }
}
