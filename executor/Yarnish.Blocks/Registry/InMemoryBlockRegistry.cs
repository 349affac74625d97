using Yarnish.Protocol;

namespace Yarnish.Blocks;

/// <summary>The registry of an embedded session: driver and executors share the instance.</summary>
public sealed class InMemoryBlockRegistry : IBlockRegistry
{
    private readonly Lock gate = new();
    private readonly Dictionary<ShuffleId, Dictionary<int, MapOutput>> outputs = [];
    private readonly Dictionary<(ShuffleId Shuffle, int Epoch), ShuffleLocations> locations = [];
    private readonly Dictionary<BlockId, BlockLocation> blocks = [];

    /// <inheritdoc/>
    public ValueTask RegisterMapOutputAsync(MapOutput output, CancellationToken cancellation = default)
    {
        lock (gate)
        {
            if (!outputs.TryGetValue(output.ShuffleId, out var shuffle))
            {
                outputs[output.ShuffleId] = shuffle = [];
            }
            shuffle[output.MapPartition] = output;
        }
        return default;
    }

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<MapOutput>> ListMapOutputsAsync(ShuffleId shuffle, CancellationToken cancellation = default)
    {
        lock (gate)
        {
            return new(outputs.TryGetValue(shuffle, out var found) ? [.. found.Values] : []);
        }
    }

    /// <inheritdoc/>
    public ValueTask PublishLocationsAsync(ShuffleLocations locations, CancellationToken cancellation = default)
    {
        lock (gate)
        {
            this.locations[(locations.ShuffleId, locations.Epoch)] = locations;
        }
        return default;
    }

    /// <inheritdoc/>
    public ValueTask<ShuffleLocations?> FindLocationsAsync(ShuffleId shuffle, int epoch, CancellationToken cancellation = default)
    {
        lock (gate)
        {
            return new(locations.GetValueOrDefault((shuffle, epoch)));
        }
    }

    /// <inheritdoc/>
    public ValueTask RegisterBlockAsync(BlockId block, BlockLocation location, CancellationToken cancellation = default)
    {
        lock (gate)
        {
            blocks[block] = location;
        }
        return default;
    }

    /// <inheritdoc/>
    public ValueTask<BlockLocation?> FindBlockAsync(BlockId block, CancellationToken cancellation = default)
    {
        lock (gate)
        {
            return new(blocks.TryGetValue(block, out var location) ? location : null);
        }
    }

    /// <inheritdoc/>
    public ValueTask DeleteShuffleAsync(ShuffleId shuffle, CancellationToken cancellation = default)
    {
        lock (gate)
        {
            outputs.Remove(shuffle);
            foreach (var key in locations.Keys.Where(key => key.Shuffle == shuffle).ToArray())
            {
                locations.Remove(key);
            }
        }
        return default;
    }

    /// <inheritdoc/>
    public ValueTask DeleteApplicationAsync(CancellationToken cancellation = default)
    {
        lock (gate)
        {
            outputs.Clear();
            locations.Clear();
            blocks.Clear();
        }
        return default;
    }

    /// <inheritdoc/>
    public ValueTask RefreshAsync(CancellationToken cancellation = default) => default;

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => default;
}
