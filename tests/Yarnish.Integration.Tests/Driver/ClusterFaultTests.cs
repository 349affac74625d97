using Xunit;
using Yarnish.Integration.Tests.Fixtures;
using Yarnish.Protocol;

namespace Yarnish.Integration.Tests.Driver;

/// <summary>A job of this process while the services and daemons below it die one at a time. The answer must be right each time, and no job may fail.</summary>
[Trait("Category", "Processes")]
public sealed class ClusterFaultTests(PrivateServices services) : IClassFixture<PrivateServices>
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(120);

    /// <summary>Map tasks of some 4 s in all on two slots, then a shuffle: long enough to be hit in the middle.</summary>
    private static Task<IReadOnlyList<KeyValuePair<int, long>>> SumsAsync(YarnishSession session) => AsList(session.Range(0, 200, 40).Select(static number =>
    {
        Thread.Sleep(40);
        return KeyValuePair.Create(number % 5, (long)number);
    }).ReduceByKey(static (left, right) => left + right).CollectAsync());

    private static async Task<IReadOnlyList<KeyValuePair<int, long>>> AsList<T>(Task<T> rows)
        where T : IEnumerable<KeyValuePair<int, long>> => [.. (await rows).OrderBy(static pair => pair.Key)];

    private static readonly KeyValuePair<int, long>[] Expected =
        [.. Enumerable.Range(0, 5).Select(key => KeyValuePair.Create(key, Enumerable.Range(0, 200).Where(number => number % 5 == key).Sum(number => (long)number)))];

    private Task<TestCluster> ClusterAsync() => TestCluster.StartAsync(services.RabbitMq, services.Redis, nodes: 2);

    private static Task<YarnishSession> OpenAsync(TestCluster cluster) => YarnishSession.CreateBuilder()
        .WithName("fault test").WithAddress(cluster.Address).WithExecutors(2).WithExecutorMemory(256 << 20).WithProgress(ProgressStyle.None)
        .ConnectAsync(TestContext.Current.CancellationToken);

    /// <summary>Waits until some, not all, map tasks are done.</summary>
    private static Task MidwayAsync(TestCluster cluster, YarnishSession session) =>
        cluster.UntilAsync("the job is on its way", () => Task.FromResult(session.Progress is { TasksSucceeded: >= 4 }));

    [Fact]
    public async Task Job_never_notices_a_resource_manager_that_is_killed_and_started_again()
    {
        await using var cluster = await ClusterAsync();
        await using var session = await OpenAsync(cluster);
        var job = SumsAsync(session);
        await MidwayAsync(cluster, session);

        await cluster.KillAsync("resource-manager");
        cluster.Start("resource-manager");

        Assert.Equal(Expected, await job.WaitAsync(Patience));
        Assert.Equal(0, session.Progress.ExecutorsLost);
        // The new one learns the application anew and goes on serving it.
        await cluster.UntilAsync("the application is known again with its executors", async () => (await cluster.GetAsync<ApplicationInfo>($"apps/{session.ApplicationId}")) is { Containers: 2, State: "running" });
        Assert.Equal(Expected, await SumsAsync(session).WaitAsync(Patience));
    }

    [Fact]
    public async Task Job_goes_on_when_the_broker_is_killed_and_started_again()
    {
        await using var cluster = await ClusterAsync();
        await using var session = await OpenAsync(cluster);
        var job = SumsAsync(session);
        await MidwayAsync(cluster, session);

        await services.KillRabbitMqAsync();
        await services.StartRabbitMqAsync();

        Assert.Equal(Expected, await job.WaitAsync(Patience));
        Assert.Equal(0, session.Progress.ExecutorsLost);
        Assert.Equal(0, session.Progress.JobsFailed);
    }

    [Fact]
    public async Task Job_goes_on_when_the_registry_forgets_everything()
    {
        await using var cluster = await ClusterAsync();
        await using var session = await OpenAsync(cluster);
        var shuffled = session.Range(0, 200, 10).Select(static number => KeyValuePair.Create(number % 5, (long)number)).ReduceByKey(static (left, right) => left + right);
        Assert.Equal(Expected, await AsList(shuffled.CollectAsync()).WaitAsync(Patience));

        // The map output exists, so the next job only reads it; its locations are gone.
        await services.FlushRedisAsync();
        var slow = shuffled.Select(static pair =>
        {
            Thread.Sleep(10);
            return pair;
        });

        Assert.Equal(Expected, await AsList(slow.CollectAsync()).WaitAsync(Patience));
        var job = SumsAsync(session);
        await services.FlushRedisAsync();
        Assert.Equal(Expected, await job.WaitAsync(Patience));
        Assert.Equal(0, session.Progress.JobsFailed);
    }

    [Fact]
    public async Task Job_goes_on_when_an_agent_is_killed_and_its_containers_are_adopted()
    {
        await using var cluster = await ClusterAsync();
        await using var session = await OpenAsync(cluster);
        var job = SumsAsync(session);
        await MidwayAsync(cluster, session);

        await cluster.KillAsync("node-1");
        cluster.Start("node-1");

        Assert.Equal(Expected, await job.WaitAsync(Patience));
        Assert.Equal(0, session.Progress.JobsFailed);
    }

    [Fact]
    public async Task Broker_that_is_down_at_the_start_is_one_clear_error()
    {
        await using var cluster = await ClusterAsync();
        await services.KillRabbitMqAsync();
        try
        {
            var error = await Assert.ThrowsAsync<YarnishConnectException>(() => OpenAsync(cluster).WaitAsync(Patience));
            Assert.Contains("broker", error.Message, StringComparison.Ordinal);
            Assert.Contains("cure:", error.Message, StringComparison.Ordinal);
        }
        finally
        {
            await services.StartRabbitMqAsync();
        }
    }

    [Fact]
    public async Task Redis_that_is_down_at_the_start_is_one_clear_error()
    {
        await using var cluster = await ClusterAsync();
        await services.KillRedisAsync();
        try
        {
            var error = await Assert.ThrowsAsync<YarnishConnectException>(() => OpenAsync(cluster).WaitAsync(Patience));
            Assert.Contains("Redis", error.Message, StringComparison.Ordinal);
            Assert.Contains("cure:", error.Message, StringComparison.Ordinal);
        }
        finally
        {
            await services.StartRedisAsync();
        }
    }
}
