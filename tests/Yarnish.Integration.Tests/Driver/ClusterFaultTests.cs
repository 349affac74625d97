using Xunit;
using Yarnish.Integration.Tests.Fixtures;

namespace Yarnish.Integration.Tests.Driver;

/// <summary>Services that are away when a session starts, or forget what they knew between two jobs. What dies in the middle of a job is in EndToEnd/FaultTests.</summary>
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
