using Yarnish.Protocol;

namespace Yarnish.Blocks;

/// <summary>
/// Where the blocks of one application are. A cache of what the driver knows: losing it is never fatal, the driver publishes again. On a fleet it is Redis
/// (<see cref="RedisBlockRegistry"/>), embedded it is memory (<see cref="InMemoryBlockRegistry"/>). Thread-safe. Every method throws
/// <see cref="BlockRegistryException"/> when the registry cannot be reached within its timeout (5 s).
/// </summary>
public interface IBlockRegistry : IAsyncDisposable
{
    /// <summary>Executor, before it reports success: this output exists. A later attempt of the same map task replaces an earlier one.</summary>
    ValueTask RegisterMapOutputAsync(MapOutput output, CancellationToken cancellation = default);

    /// <summary>The outputs registered for a shuffle, in no order. For a view from outside; the driver's truth is the task reports.</summary>
    ValueTask<IReadOnlyList<MapOutput>> ListMapOutputsAsync(ShuffleId shuffle, CancellationToken cancellation = default);

    /// <summary>Driver, when a map stage is complete, and again when asked: one value that reducers read at once.</summary>
    ValueTask PublishLocationsAsync(ShuffleLocations locations, CancellationToken cancellation = default);

    /// <summary>Reducer: the locations at this epoch; null when they are not there.</summary>
    ValueTask<ShuffleLocations?> FindLocationsAsync(ShuffleId shuffle, int epoch, CancellationToken cancellation = default);

    /// <summary>Whoever put it there: this node holds a copy of a named block. Said twice, it counts once.</summary>
    ValueTask AddHolderAsync(BlockId block, BlockLocation holder, CancellationToken cancellation = default);

    /// <summary>Whoever noticed: this node does not hold the named block (any more).</summary>
    ValueTask RemoveHolderAsync(BlockId block, BlockLocation holder, CancellationToken cancellation = default);

    /// <summary>Nodes that hold a named block: some of them when there are many, in random order, so that readers spread over them; empty when nobody is known.</summary>
    /// <param name="block">The block.</param>
    /// <param name="atMost">How many are wanted, at least 1.</param>
    /// <param name="cancellation">Gives up.</param>
    ValueTask<IReadOnlyList<BlockLocation>> FindHoldersAsync(BlockId block, int atMost = 8, CancellationToken cancellation = default);

    /// <summary>Driver: forget who holds these named blocks.</summary>
    ValueTask DeleteBlocksAsync(IReadOnlyCollection<BlockId> blocks, CancellationToken cancellation = default);

    /// <summary>Driver: forget a shuffle, all epochs.</summary>
    ValueTask DeleteShuffleAsync(ShuffleId shuffle, CancellationToken cancellation = default);

    /// <summary>Driver, at the end: forget everything of the application.</summary>
    ValueTask DeleteApplicationAsync(CancellationToken cancellation = default);

    /// <summary>Driver, every 5 minutes: entries live another 30 minutes.</summary>
    ValueTask RefreshAsync(CancellationToken cancellation = default);
}

/// <summary>A node that holds a named block.</summary>
/// <param name="NodeId">The node.</param>
/// <param name="NodeUrl">Base URL of its block server; empty when embedded.</param>
public readonly record struct BlockLocation(NodeId NodeId, string NodeUrl);

/// <summary>The registry cannot be reached, or refused.</summary>
public sealed class BlockRegistryException : Exception
{
    /// <summary>With a message for people; never holds a password.</summary>
    public BlockRegistryException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}
