using Yarnish.Protocol;

namespace Yarnish.Blocks;

/// <summary>The registry of an embedded session: driver and executors share the instance.</summary>
public sealed class InMemoryBlockRegistry : IBlockRegistry
{
    private readonly Lock gate = new();
    private readonly Dictionary<ShuffleId, Dictionary<int, MapOutput>> outputs = [];
    private readonly Dictionary<(ShuffleId Shuffle, int Epoch), ShuffleLocations> locations = [];
    private readonly Dictionary<BlockId, HashSet<BlockLocation>> holders = [];

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
    public ValueTask AddHolderAsync(BlockId block, BlockLocation holder, CancellationToken cancellation = default)
    {
        lock (gate)
        {
            if (!holders.TryGetValue(block, out var known))
            {
                holders[block] = known = [];
            }
            known.Add(holder);
        }
        return default;
    }

    /// <inheritdoc/>
    public ValueTask RemoveHolderAsync(BlockId block, BlockLocation holder, CancellationToken cancellation = default)
    {
        lock (gate)
        {
            if (holders.TryGetValue(block, out var known) && known.Remove(holder) && known.Count == 0)
            {
                holders.Remove(block);
            }
        }
        return default;
    }

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<BlockLocation>> FindHoldersAsync(BlockId block, int atMost = 8, CancellationToken cancellation = default)
    {
        lock (gate)
        {
            BlockLocation[] found = holders.TryGetValue(block, out var known) ? [.. known] : [];
            Random.Shared.Shuffle(found);
            return new(found.Length <= atMost ? found : found[..atMost]);
        }
    }

    /// <inheritdoc/>
    public ValueTask DeleteBlocksAsync(IReadOnlyCollection<BlockId> blocks, CancellationToken cancellation = default)
    {
        lock (gate)
        {
            foreach (var block in blocks)
            {
                holders.Remove(block);
            }
        }
        return default;
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
            holders.Clear();
        }
        return default;
    }

    /// <inheritdoc/>
    public ValueTask RefreshAsync(CancellationToken cancellation = default) => default;

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => default;
}
