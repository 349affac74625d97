using Xunit;
using Yarnish.Executor;
using Yarnish.Integration.Tests.Fixtures;

namespace Yarnish.Integration.Tests.Jobs;

/// <summary>A task that hangs on one machine gets a second copy on another, and the job does not wait for the first.</summary>
[Trait("Category", "Processes")]
public sealed class SpeculationTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(120);

    [Fact]
    public async Task Slow_task_is_overtaken_by_its_copy_and_stopped()
    {
        await using var cluster = await TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes: 2);
        await using var session = await YarnishSession.CreateBuilder()
            .WithName("speculation").WithAddress(cluster.Address).WithExecutors(2).WithExecutorMemory(256 << 20).WithProgress(ProgressStyle.None)
            .Configure(static options => (options.Speculation, options.SpeculationQuantile, options.SpeculationMultiplier, options.SpeculationMinimum) = (true, 0.5, 2, TimeSpan.FromSeconds(0.5)))
            .ConnectAsync(TestContext.Current.CancellationToken);
        var first = Path.Combine(cluster.Directory, "first");
        var stopped = Path.Combine(cluster.Directory, "stopped");
        await cluster.UntilAsync("both executors are here", async () =>
        {
            await session.Range(0, 4, 4).CountAsync();
            return session.Progress.Executors == 2;
        });

        var rows = await session.Range(0, 20, 20).Select(row =>
        {
            if (row == 7)
            {
                try
                {
                    // Whoever makes the file is the first copy, and hangs until it is told to stop.
                    using (new FileStream(first, FileMode.CreateNew))
                    {
                    }
                    TaskContext.Current!.Cancellation.WaitHandle.WaitOne(TimeSpan.FromMinutes(5));
                    File.WriteAllText(stopped, "");
                }
                catch (IOException)
                {
                    // The second copy is quick.
                }
            }
            Thread.Sleep(5);
            return row;
        }).CollectAsync().WaitAsync(Patience);

        Assert.Equal(Enumerable.Range(0, 20), rows);
        await cluster.UntilAsync("the slow copy was told to stop", () => Task.FromResult(File.Exists(stopped)));
        await cluster.UntilAsync("nothing is left of the job", async () => (await session.LeftoversAsync()).Count == 0);
    }
}
