using System.Text.Json;
using StackExchange.Redis;
using Yarnish.Protocol;

namespace Yarnish.Blocks;

/// <summary>
/// The registry of a cluster, in Redis.
/// <code>
/// y:{app}:sh:SHUFFLE:m          hash: map partition → output, written by executors
/// y:{app}:sh:SHUFFLE:b:EPOCH    packed locations, written by the driver
/// y:{app}:blk:BLOCK             set: nodes that hold the named block
/// y:{app}:keys                  set of the keys above, so that the end of an application needs no scan
/// </code>
/// The tag {app} keeps an application in one slot of a Redis cluster. Every key lives 30 minutes from its last write or refresh.
/// </summary>
public sealed class RedisBlockRegistry : IBlockRegistry
{
    private readonly Task<ConnectionMultiplexer> connection;
    private readonly string prefix;
    private readonly string endpoint;
    private readonly TimeSpan timeToLive;

    private RedisBlockRegistry(ConfigurationOptions options, ApplicationId application, TimeSpan timeToLive)
    {
        prefix = $"y:{{{application}}}:";
        endpoint = string.Join(',', options.EndPoints.Select(static point => point.ToString()));
        this.timeToLive = timeToLive;
        connection = Task.Run(async () => await ConnectionMultiplexer.ConnectAsync(options).ConfigureAwait(false));
    }

    /// <summary>Starts connecting in the background and returns at once; a Redis that is down is tried again for ever, calls meanwhile fail after 5 s.</summary>
    /// <param name="configuration">StackExchange.Redis configuration string, such as <c>127.0.0.1:6379</c>.</param>
    /// <param name="application">The application.</param>
    /// <param name="timeToLive">How long entries live without refresh; default 30 minutes.</param>
    /// <exception cref="BlockRegistryException">The configuration cannot be read.</exception>
    public static RedisBlockRegistry Connect(string configuration, ApplicationId application, TimeSpan? timeToLive = null)
    {
        ConfigurationOptions options;
        try
        {
            options = ConfigurationOptions.Parse(configuration);
        }
        catch (ArgumentException error)
        {
            throw new BlockRegistryException("The Redis configuration cannot be read: expected something like '127.0.0.1:6379,password=…'.", error);
        }
        if (options.EndPoints.Count == 0)
        {
            throw new BlockRegistryException("The Redis configuration names no server: expected something like '127.0.0.1:6379'.");
        }
        options.AbortOnConnectFail = false;
        options.ClientName = $"yarnish-blocks-{application}";
        return new RedisBlockRegistry(options, application, timeToLive ?? TimeSpan.FromMinutes(30));
    }

    private RedisKey KeysKey => prefix + "keys";

    private RedisKey HoldersKey(BlockId block) => $"{prefix}blk:{block}";

    /// <inheritdoc/>
    public ValueTask RegisterMapOutputAsync(MapOutput output, CancellationToken cancellation = default)
    {
        var value = JsonSerializer.SerializeToUtf8Bytes(output);
        return RunAsync("register map output", db =>
        {
            var key = OutputsKey(output.ShuffleId);
            var written = db.HashSetAsync(key, output.MapPartition, value);
            Keep(db, key);
            return written;
        }, cancellation);
    }

    /// <inheritdoc/>
    public async ValueTask<IReadOnlyList<MapOutput>> ListMapOutputsAsync(ShuffleId shuffle, CancellationToken cancellation = default)
    {
        var entries = await RunAsync("list map outputs", db => db.HashGetAllAsync(OutputsKey(shuffle)), cancellation).ConfigureAwait(false);
        return [.. entries.Select(static entry => JsonSerializer.Deserialize<MapOutput>((byte[])entry.Value!)!)];
    }

    /// <inheritdoc/>
    public ValueTask PublishLocationsAsync(ShuffleLocations locations, CancellationToken cancellation = default)
    {
        var value = locations.Pack();
        return RunAsync("publish locations", db =>
        {
            var key = LocationsKey(locations.ShuffleId, locations.Epoch);
            var written = db.StringSetAsync(key, value, timeToLive);
            Keep(db, key);
            return written;
        }, cancellation);
    }

    /// <inheritdoc/>
    public async ValueTask<ShuffleLocations?> FindLocationsAsync(ShuffleId shuffle, int epoch, CancellationToken cancellation = default)
    {
        var value = await RunAsync("find locations", db => db.StringGetAsync(LocationsKey(shuffle, epoch)), cancellation).ConfigureAwait(false);
        return value.IsNull ? null : ShuffleLocations.Unpack((byte[])value!);
    }

    /// <inheritdoc/>
    public ValueTask AddHolderAsync(BlockId block, BlockLocation holder, CancellationToken cancellation = default)
    {
        var value = JsonSerializer.SerializeToUtf8Bytes(holder);
        return RunAsync("add holder of block", async db =>
        {
            var key = HoldersKey(block);
            var written = db.SetAddAsync(key, value);
            Keep(db, key);
            // False says that it was there already.
            await written.ConfigureAwait(false);
            return true;
        }, cancellation);
    }

    /// <inheritdoc/>
    public ValueTask RemoveHolderAsync(BlockId block, BlockLocation holder, CancellationToken cancellation = default)
    {
        var value = JsonSerializer.SerializeToUtf8Bytes(holder);
        return RunAsync("remove holder of block", db => db.SetRemoveAsync(HoldersKey(block), value), cancellation);
    }

    /// <inheritdoc/>
    public async ValueTask<IReadOnlyList<BlockLocation>> FindHoldersAsync(BlockId block, int atMost = 8, CancellationToken cancellation = default)
    {
        var values = await RunAsync("find holders of block", db => db.SetRandomMembersAsync(HoldersKey(block), atMost), cancellation).ConfigureAwait(false);
        var found = values.Select(static value => JsonSerializer.Deserialize<BlockLocation>((byte[])value!)).ToArray();
        // Redis picks at random, but returns what it picked in the order of the set.
        Random.Shared.Shuffle(found);
        return found;
    }

    /// <inheritdoc/>
    public ValueTask DeleteBlocksAsync(IReadOnlyCollection<BlockId> blocks, CancellationToken cancellation = default) =>
        DeleteAsync("delete blocks", [.. blocks.Select(block => (RedisValue)(string)HoldersKey(block)!)], cancellation);

    /// <inheritdoc/>
    public async ValueTask DeleteShuffleAsync(ShuffleId shuffle, CancellationToken cancellation = default)
    {
        var mine = $"{prefix}sh:{shuffle}:";
        var keys = await RunAsync("delete shuffle", db => db.SetMembersAsync(KeysKey), cancellation).ConfigureAwait(false);
        var doomed = keys.Where(key => ((string)key!).StartsWith(mine, StringComparison.Ordinal)).ToArray();
        await DeleteAsync("delete shuffle", doomed, cancellation).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public async ValueTask DeleteApplicationAsync(CancellationToken cancellation = default)
    {
        var keys = await RunAsync("delete application", db => db.SetMembersAsync(KeysKey), cancellation).ConfigureAwait(false);
        await DeleteAsync("delete application", keys, cancellation).ConfigureAwait(false);
        await RunAsync("delete application", db => db.KeyDeleteAsync(KeysKey), cancellation).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public async ValueTask RefreshAsync(CancellationToken cancellation = default)
    {
        var keys = await RunAsync("refresh", db => db.SetMembersAsync(KeysKey), cancellation).ConfigureAwait(false);
        await RunAsync("refresh", async db =>
        {
            var alive = await Task.WhenAll(keys.Select(key => db.KeyExpireAsync((string)key!, timeToLive))).ConfigureAwait(false);
            await db.KeyExpireAsync(KeysKey, timeToLive).ConfigureAwait(false);
            return alive.Length;
        }, cancellation).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        // One that still tries to connect is not waited for: the process is about to end.
        if (connection.IsCompletedSuccessfully)
        {
            await (await connection.ConfigureAwait(false)).DisposeAsync().ConfigureAwait(false);
        }
    }

    private string OutputsKey(ShuffleId shuffle) => $"{prefix}sh:{shuffle}:m";

    private string LocationsKey(ShuffleId shuffle, int epoch) => $"{prefix}sh:{shuffle}:b:{epoch}";

    // Rides in the same round trip as the write before it.
    private void Keep(IDatabase db, RedisKey key)
    {
        db.KeyExpire(key, timeToLive, flags: CommandFlags.FireAndForget);
        db.SetAdd(KeysKey, (string)key!, CommandFlags.FireAndForget);
        db.KeyExpire(KeysKey, timeToLive, flags: CommandFlags.FireAndForget);
    }

    private async ValueTask DeleteAsync(string what, RedisValue[] keys, CancellationToken cancellation)
    {
        foreach (var page in keys.Chunk(500))
        {
            await RunAsync(what, db => db.KeyDeleteAsync([.. page.Select(static key => (RedisKey)(string)key!)]), cancellation).ConfigureAwait(false);
            await RunAsync(what, db => db.SetRemoveAsync(KeysKey, page), cancellation).ConfigureAwait(false);
        }
    }

    private async ValueTask RunAsync(string what, Func<IDatabase, Task<bool>> action, CancellationToken cancellation) =>
        await RunAsync<bool>(what, action, cancellation).ConfigureAwait(false);

    private async ValueTask<T> RunAsync<T>(string what, Func<IDatabase, Task<T>> action, CancellationToken cancellation)
    {
        try
        {
            var multiplexer = await connection.WaitAsync(cancellation).ConfigureAwait(false);
            return await action(multiplexer.GetDatabase()).WaitAsync(cancellation).ConfigureAwait(false);
        }
        catch (Exception error) when (error is RedisException or TimeoutException or ObjectDisposedException)
        {
            throw new BlockRegistryException($"Redis at {endpoint} did not answer ({what}): is it running, and reachable from here? {error.GetType().Name}.", error);
        }
    }
}
