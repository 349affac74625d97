using StackExchange.Redis;
using Xunit;
using Yarnish.Blocks;
using Yarnish.Integration.Tests.Fixtures;
using Yarnish.Protocol;

namespace Yarnish.Integration.Tests.Executor;

[Trait("Category", "Services")]
public sealed class RedisBlockRegistryTests(PrivateServices services) : IClassFixture<PrivateServices>
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    private readonly ApplicationId application = new($"test-{Guid.NewGuid():N}");

    private static MapOutput Output(int map, int attempt = 1) =>
        new(new ShuffleId(4), map, new TaskAttemptId(attempt), new NodeId("node-1"), "http://127.0.0.1:9", new byte[] { 1, 0, 200 });

    private static ShuffleLocations Locations(int epoch) => ShuffleLocations.From(new ShuffleId(4), epoch, [Output(0), Output(1)]);

    private async Task<string[]> KeysAsync()
    {
        await using var redis = await ConnectionMultiplexer.ConnectAsync(services.Redis);
        return [.. redis.GetServers()[0].Keys(pattern: $"y:{{{application}}}:*").Select(static key => (string)key!).Order(StringComparer.Ordinal)];
    }

    [Fact]
    public async Task Outputs_locations_and_blocks_are_found_by_another_process_until_they_are_deleted()
    {
        await using var executor = RedisBlockRegistry.Connect(services.Redis, application);
        await using var driver = RedisBlockRegistry.Connect(services.Redis, application);
        await executor.RegisterMapOutputAsync(Output(0), Cancellation);
        await executor.RegisterMapOutputAsync(Output(1), Cancellation);
        await executor.RegisterMapOutputAsync(Output(1, attempt: 2), Cancellation);
        await executor.AddHolderAsync(new BlockId("broadcast-1-0"), new BlockLocation(new NodeId("node-1"), "http://127.0.0.1:9"), Cancellation);
        await driver.PublishLocationsAsync(Locations(1), Cancellation);
        await driver.PublishLocationsAsync(Locations(2), Cancellation);

        var outputs = await driver.ListMapOutputsAsync(new ShuffleId(4), Cancellation);
        Assert.Equal([(0, 1L), (1, 2L)], outputs.Select(static output => (output.MapPartition, output.AttemptId.Value)).Order());
        Assert.Equal([1, 0, 200], outputs[0].SizeClasses.ToArray());
        Assert.Equal("http://127.0.0.1:9", outputs[0].NodeUrl);
        Assert.Equal(2, (await executor.FindLocationsAsync(new ShuffleId(4), 2, Cancellation))!.MapPartitions);
        Assert.Null(await executor.FindLocationsAsync(new ShuffleId(4), 3, Cancellation));
        Assert.Equal([new BlockLocation(new NodeId("node-1"), "http://127.0.0.1:9")], await driver.FindHoldersAsync(new BlockId("broadcast-1-0"), cancellation: Cancellation));
        Assert.Empty(await driver.FindHoldersAsync(new BlockId("broadcast-1-1"), cancellation: Cancellation));

        await driver.DeleteShuffleAsync(new ShuffleId(4), Cancellation);
        Assert.Null(await executor.FindLocationsAsync(new ShuffleId(4), 2, Cancellation));
        Assert.Equal([$"y:{{{application}}}:blk:broadcast-1-0", $"y:{{{application}}}:keys"], await KeysAsync());

        await driver.DeleteApplicationAsync(Cancellation);
        Assert.Empty(await KeysAsync());
    }

    [Fact]
    public async Task Holders_of_a_block_are_given_in_random_order_until_they_say_otherwise()
    {
        await using var registry = RedisBlockRegistry.Connect(services.Redis, application);
        BlockId block = new("broadcast-7-0"), other = new("broadcast-7-1");
        var nodes = Enumerable.Range(0, 20).Select(static i => new BlockLocation(new NodeId($"node-{i}"), $"http://127.0.0.1:{i + 1}")).ToArray();
        foreach (var node in nodes)
        {
            await registry.AddHolderAsync(block, node, Cancellation);
            await registry.AddHolderAsync(block, node, Cancellation);
        }
        await registry.AddHolderAsync(other, nodes[0], Cancellation);

        var firsts = new HashSet<BlockLocation>();
        for (var i = 0; i < 50; i++)
        {
            var some = await registry.FindHoldersAsync(block, atMost: 4, Cancellation);
            Assert.Equal(4, some.Distinct().Count());
            firsts.Add(some[0]);
        }
        Assert.True(firsts.Count > 3, $"50 questions began with {firsts.Count} different holders.");
        Assert.Equal(nodes.ToHashSet(), (await registry.FindHoldersAsync(block, atMost: 100, Cancellation)).ToHashSet());

        await registry.RemoveHolderAsync(block, nodes[3], Cancellation);
        Assert.DoesNotContain(nodes[3], await registry.FindHoldersAsync(block, atMost: 100, Cancellation));

        await registry.DeleteBlocksAsync([block, new BlockId("never-there")], Cancellation);
        Assert.Empty(await registry.FindHoldersAsync(block, cancellation: Cancellation));
        Assert.Equal([$"y:{{{application}}}:blk:broadcast-7-1", $"y:{{{application}}}:keys"], await KeysAsync());
    }

    [Fact]
    public async Task Every_key_lives_half_an_hour_and_a_refresh_renews_it()
    {
        await using var registry = RedisBlockRegistry.Connect(services.Redis, application, TimeSpan.FromMinutes(1));
        await registry.RegisterMapOutputAsync(Output(0), Cancellation);
        await registry.PublishLocationsAsync(Locations(1), Cancellation);
        await using var redis = await ConnectionMultiplexer.ConnectAsync(services.Redis);
        foreach (var key in await KeysAsync())
        {
            Assert.InRange((await redis.GetDatabase().KeyTimeToLiveAsync(key))!.Value, TimeSpan.FromSeconds(30), TimeSpan.FromMinutes(1));
        }

        await using var later = RedisBlockRegistry.Connect(services.Redis, application);
        await later.RefreshAsync(Cancellation);

        var keys = await KeysAsync();
        Assert.Equal(3, keys.Length);
        foreach (var key in keys)
        {
            Assert.InRange((await redis.GetDatabase().KeyTimeToLiveAsync(key))!.Value, TimeSpan.FromMinutes(29), TimeSpan.FromMinutes(30));
        }
    }

    [Fact]
    public async Task After_a_flush_what_is_published_again_is_found_again()
    {
        await using var driver = RedisBlockRegistry.Connect(services.Redis, application);
        await using var executor = RedisBlockRegistry.Connect(services.Redis, application);
        await driver.PublishLocationsAsync(Locations(1), Cancellation);
        Assert.NotNull(await executor.FindLocationsAsync(new ShuffleId(4), 1, Cancellation));

        await services.FlushRedisAsync();

        Assert.Null(await executor.FindLocationsAsync(new ShuffleId(4), 1, Cancellation));
        await driver.PublishLocationsAsync(Locations(1), Cancellation);
        Assert.NotNull(await executor.FindLocationsAsync(new ShuffleId(4), 1, Cancellation));
    }

    [Fact]
    public async Task A_redis_that_is_down_is_one_clear_error_and_heals_when_it_is_back()
    {
        await using var registry = RedisBlockRegistry.Connect(services.Redis, application);
        await registry.PublishLocationsAsync(Locations(1), Cancellation);

        await services.KillRedisAsync();
        var error = await Assert.ThrowsAsync<BlockRegistryException>(() => registry.FindLocationsAsync(new ShuffleId(4), 1, Cancellation).AsTask());
        Assert.Contains("did not answer", error.Message, StringComparison.Ordinal);
        await services.StartRedisAsync();

        var deadline = TimeProvider.System.GetTimestamp();
        while (true)
        {
            try
            {
                await registry.PublishLocationsAsync(Locations(2), Cancellation);
                break;
            }
            catch (BlockRegistryException) when (TimeProvider.System.GetElapsedTime(deadline) < TimeSpan.FromSeconds(60))
            {
            }
        }
        Assert.NotNull(await registry.FindLocationsAsync(new ShuffleId(4), 2, Cancellation));
    }

    [Fact]
    public async Task A_redis_that_was_never_there_is_the_same_error()
    {
        await using var registry = RedisBlockRegistry.Connect("127.0.0.1:1,connectTimeout=500,asyncTimeout=500", application);

        await Assert.ThrowsAsync<BlockRegistryException>(() => registry.FindLocationsAsync(new ShuffleId(4), 1, Cancellation).AsTask());
    }

    [Theory]
    [InlineData("")]
    [InlineData("nonsense=1")]
    public void A_configuration_that_cannot_be_read_is_refused(string configuration) =>
        Assert.Throws<BlockRegistryException>(() => RedisBlockRegistry.Connect(configuration, application));
}
