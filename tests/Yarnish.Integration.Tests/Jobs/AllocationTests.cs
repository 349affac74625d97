using Xunit;
using Yarnish.Integration.Tests.Fixtures;

namespace Yarnish.Integration.Tests.Jobs;

/// <summary>The number of executors follows the work, and stopped jobs stop.</summary>
[Trait("Category", "Processes")]
public sealed class AllocationTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(120);

    private static Task<YarnishSession> OpenAsync(TestCluster cluster, Action<YarnishOptions> change) => YarnishSession.CreateBuilder()
        .WithName("allocation").WithAddress(cluster.Address).WithExecutorMemory(256 << 20).WithProgress(ProgressStyle.None).Configure(change)
        .ConnectAsync(TestContext.Current.CancellationToken);

    /// <summary>Tasks that run until a file is there.</summary>
    private static Task<long> HoldAsync(YarnishSession session, string open, int tasks, CancellationToken cancellation = default) => session.Range(0, tasks, tasks).Select(row =>
    {
        while (!File.Exists(open))
        {
            Thread.Sleep(20);
        }
        return row;
    }).CountAsync(cancellation);

    [Fact]
    public async Task Executors_come_with_the_backlog_and_go_when_they_idle()
    {
        await using var cluster = await TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes: 2);
        await using var session = await OpenAsync(cluster, static options =>
        {
            options.Executors = new ExecutorRange(0, 4);
            options.ExecutorBacklog = TimeSpan.FromSeconds(0.5);
            options.ExecutorIdle = TimeSpan.FromSeconds(2);
            options.ExecutorCachedIdle = TimeSpan.FromSeconds(600);
        });
        Assert.Equal(0, (await cluster.NewestApplicationAsync()).Containers);
        var open = Path.Combine(cluster.Directory, "open");
        var shuffled = session.Range(0, 100, 4).Select(static row => KeyValuePair.Create(row % 3, row)).ReduceByKey(static (left, right) => left + right);
        Assert.Equal(3, await shuffled.CountAsync().WaitAsync(Patience));

        var job = HoldAsync(session, open, tasks: 100);
        await cluster.UntilAsync("all four executors are here", () => Task.FromResult(session.Progress.Executors == 4));
        File.WriteAllText(open, "");
        Assert.Equal(100, await job.WaitAsync(Patience));

        await cluster.UntilAsync("no container is held any more", async () => (await cluster.NewestApplicationAsync()).Containers == 0);
        // What they wrote to the shuffle is still there: only its readers run.
        var before = session.Progress.TasksSucceeded;
        Assert.Equal(3, await shuffled.CountAsync().WaitAsync(Patience));
        Assert.Equal(shuffled.Partitions, session.Progress.TasksSucceeded - before);
    }

    [Fact]
    public async Task Executor_with_persisted_partitions_stays_while_others_go()
    {
        await using var cluster = await TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes: 2);
        await using var session = await OpenAsync(cluster, static options =>
        {
            options.Executors = new ExecutorRange(0, 3);
            options.ExecutorBacklog = TimeSpan.FromSeconds(0.2);
            options.ExecutorIdle = TimeSpan.FromSeconds(1);
            options.ExecutorCachedIdle = TimeSpan.FromSeconds(600);
        });
        var kept = session.Range(0, 10, 1).Persist();
        Assert.Equal(10, await kept.CountAsync().WaitAsync(Patience));
        var open = Path.Combine(cluster.Directory, "open");
        var job = HoldAsync(session, open, tasks: 50);
        await cluster.UntilAsync("all three executors are here", () => Task.FromResult(session.Progress.Executors == 3));
        File.WriteAllText(open, "");
        Assert.Equal(50, await job.WaitAsync(Patience));

        await cluster.UntilAsync("one container is left", async () => (await cluster.NewestApplicationAsync()).Containers == 1);
        var holder = Assert.Single((await session.SnapshotAsync()).Executors);
        Assert.Equal(1, holder.CachedPartitions);
    }

    [Fact]
    public async Task Ask_that_nobody_needs_any_more_is_taken_back()
    {
        // One executor fits on the node; the others wait.
        await using var cluster = await TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes: 1, "", ("Yarnish__MemoryBytes", (300L << 20).ToString(System.Globalization.CultureInfo.InvariantCulture)));
        await using var session = await OpenAsync(cluster, static options =>
        {
            options.Executors = new ExecutorRange(0, 8);
            options.ExecutorBacklog = TimeSpan.FromSeconds(0.2);
            options.ExecutorIdle = TimeSpan.FromSeconds(1);
        });
        var open = Path.Combine(cluster.Directory, "open");
        using var cancel = new CancellationTokenSource();
        var job = HoldAsync(session, open, tasks: 100, cancel.Token);
        await cluster.UntilAsync("seven executors are asked for in vain", async () => (await cluster.NewestApplicationAsync()).Waiting is [{ Outstanding: 7 }]);

        await cancel.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => job.WaitAsync(Patience));
        await cluster.UntilAsync("nothing is asked for any more", async () => (await cluster.NewestApplicationAsync()).Waiting.IsEmpty);
        File.WriteAllText(open, "");
        await cluster.UntilAsync("no container is held any more", async () => (await cluster.NewestApplicationAsync()).Containers == 0);
        await AssertNothingLeftAsync(cluster, session);
    }

    [Fact]
    public async Task Cancelling_stops_tasks_on_executors_and_leaves_nothing()
    {
        await using var cluster = await TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes: 1);
        await using var session = await OpenAsync(cluster, static options => options.Executors = new ExecutorRange(1, 1));
        var started = Path.Combine(cluster.Directory, "started");
        using var group = session.JobGroup("endless", "counts for ever");
        var job = session.Range(0L, long.MaxValue, 4).Select(row =>
        {
            if (!File.Exists(started))
            {
                File.WriteAllText(started, "");
            }
            Thread.SpinWait(10);
            return KeyValuePair.Create(row % 10, row);
        }).ReduceByKey(static (left, right) => left + right).CountAsync();
        await cluster.UntilAsync("a task runs", () => Task.FromResult(File.Exists(started)));

        session.CancelJobs("endless", "enough");

        var error = await Assert.ThrowsAnyAsync<OperationCanceledException>(() => job.WaitAsync(TimeSpan.FromSeconds(30)));
        Assert.Contains("enough", error.Message, StringComparison.Ordinal);
        await AssertNothingLeftAsync(cluster, session);
        group.Dispose();
        Assert.Equal(10, await session.Range(0, 10, 2).CountAsync().WaitAsync(Patience));
    }

    private static Task AssertNothingLeftAsync(TestCluster cluster, YarnishSession session) => cluster.UntilAsync("the driver holds nothing of ended jobs", async () =>
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        return (await session.LeftoversAsync()).Count == 0;
    });
}
