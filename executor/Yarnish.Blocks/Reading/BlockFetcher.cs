using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;

namespace Yarnish.Blocks;

/// <summary>A named block that is wanted.</summary>
/// <param name="Block">Its name.</param>
/// <param name="MaximumBytes">More bytes, decompressed, are refused.</param>
/// <param name="Length">How many bytes it must have, decompressed; null when nobody knows.</param>
/// <param name="AskOrigin">
/// Called when no holder could give it: completes when the origin has put it somewhere (onto this node, or onto one that it added to the registry), throws when it will not. Null when the
/// block has no origin.
/// </param>
public sealed record BlockNeed(BlockId Block, long MaximumBytes, long? Length = null, Func<CancellationToken, Task>? AskOrigin = null)
{
    /// <summary>Who holds it, in order of preference, when the asker knows: the registry is then neither asked nor told. Null when it does not.</summary>
    public IReadOnlyList<BlockLocation>? Holders { get; init; }

    /// <summary>Told of each holder that lacks the block, or holds it damaged; null when nobody wants to know.</summary>
    public Action<BlockLocation>? Missing { get; init; }
}

/// <summary>How often blocks were found where.</summary>
/// <param name="Local">Were on this node already.</param>
/// <param name="FromHolders">Copied from another node that holds them.</param>
/// <param name="FromOrigin">Put onto this node by their origin.</param>
/// <param name="Failures">Tries at a holder that failed: dead, without the block, or damaged.</param>
public readonly record struct BlockFetches(long Local, long FromHolders, long FromOrigin, long Failures);

/// <summary>
/// Brings named blocks onto this node from whoever holds them, and makes this node a holder: what a thousand executors want spreads among them instead of coming a thousand times from one place.
/// <code>
/// this node's disk ─▶ holders from the registry, in random order ─▶ the origin ─▶ once more from the start (4 rounds) ─▶ BlockUnavailableException
/// </code>
/// A copy is verified frame by frame while it comes. A holder that lacks the block, or holds it damaged, is taken off the registry; one that does not answer is passed over for half a minute
/// where there are others. One download per block, however many ask at once. Thread-safe; one per process.
/// </summary>
/// <param name="directory">The application's blocks on this node.</param>
/// <param name="self">This node; an empty URL means that there are no others.</param>
/// <param name="registry">Who holds what. One that does not answer costs a look at the origin, no more.</param>
/// <param name="client">Reaches other nodes; made when first needed.</param>
/// <param name="time">Clock.</param>
/// <param name="logger">Log.</param>
public sealed class BlockFetcher(BlockDirectory directory, BlockLocation self, IBlockRegistry registry, Func<BlockClient> client, TimeProvider time, ILogger logger) : IDisposable
{
    private const int Rounds = 4;

    private static readonly TimeSpan PassedOver = TimeSpan.FromSeconds(30);

    private readonly ConcurrentDictionary<BlockId, Lazy<Task>> underWay = new();
    private readonly ConcurrentDictionary<BlockLocation, long> silentUntil = new();
    private readonly CancellationTokenSource stopping = new();
    private long local;
    private long fromHolders;
    private long fromOrigin;
    private long failures;

    /// <summary>What it did so far.</summary>
    public BlockFetches Fetches => new(Interlocked.Read(ref local), Interlocked.Read(ref fromHolders), Interlocked.Read(ref fromOrigin), Interlocked.Read(ref failures));

    /// <summary>Completes when the block is on this node.</summary>
    /// <exception cref="BlockUnavailableException">Nobody could give it; the message says who was asked and what each said.</exception>
    /// <exception cref="IOException">It cannot be written here: the disk is full or broken.</exception>
    public async Task FetchAsync(BlockNeed need, CancellationToken cancellation)
    {
        if (directory.HasNamed(need.Block))
        {
            Interlocked.Increment(ref local);
            return;
        }
        // Who gives up leaves the download to the others.
        await underWay.GetOrAdd(need.Block, _ => new Lazy<Task>(() => Task.Run(() => BringOnceAsync(need)))).Value.WaitAsync(cancellation).ConfigureAwait(false);
    }

    /// <summary>The content of a block, fetched when it is not on this node. A copy here that turns out to be damaged is replaced by another.</summary>
    /// <exception cref="BlockUnavailableException">Nobody could give it; the message says who was asked and what each said.</exception>
    /// <exception cref="IOException">It cannot be written here: the disk is full or broken.</exception>
    public async Task<byte[]> ReadAsync(BlockNeed need, CancellationToken cancellation)
    {
        for (var damaged = 0; ;)
        {
            await FetchAsync(need, cancellation).ConfigureAwait(false);
            try
            {
                var content = directory.ReadNamed(need.Block);
                return need.Length is { } length && content.Length != length
                    ? throw new BlockCorruptException($"Block {need.Block} has {content.Length} bytes on this node where {length} were written.")
                    : content;
            }
            catch (Exception error) when (error is BlockCorruptException or BlockMissingException && damaged++ < 2)
            {
                // Missing: dropped by somebody between the two steps.
                logger.LogWarning("A copy of block {Block} on this node is of no use and is fetched again: {Problem}", need.Block, error.Message);
                await ForgetAsync(need.Block).ConfigureAwait(false);
            }
        }
    }

    /// <summary>Says that this node holds a block that was written here. A registry that does not answer is no error: others ask elsewhere.</summary>
    public Task AddHolderAsync(BlockId block) => TellAsync((registry, patience) => registry.AddHolderAsync(block, self, patience), block);

    /// <summary>Deletes a block on this node, and says so.</summary>
    public async Task ForgetAsync(BlockId block)
    {
        directory.DeleteNamed(block);
        await TellAsync((registry, patience) => registry.RemoveHolderAsync(block, self, patience), block).ConfigureAwait(false);
    }

    /// <summary>Stops what is under way.</summary>
    public void Dispose()
    {
        if (!stopping.IsCancellationRequested)
        {
            // Its token is still looked at by what is under way.
            stopping.Cancel();
        }
    }

    private async Task BringOnceAsync(BlockNeed need)
    {
        try
        {
            await BringAsync(need, stopping.Token).ConfigureAwait(false);
        }
        finally
        {
            underWay.TryRemove(need.Block, out _);
        }
    }

    private async Task BringAsync(BlockNeed need, CancellationToken cancellation)
    {
        var block = need.Block;
        var problems = new List<string>();
        Exception? last = null;
        for (var round = 0; round < Rounds; round++)
        {
            if (directory.HasNamed(block))
            {
                // Only the origin, or another executor of this node, puts it here.
                Interlocked.Increment(ref round > 0 ? ref fromOrigin : ref local);
                await AnnounceAsync(need).ConfigureAwait(false);
                return;
            }
            foreach (var holder in await HoldersAsync(need, problems, cancellation).ConfigureAwait(false))
            {
                if (await TryCopyAsync(need, holder, problems, cancellation).ConfigureAwait(false) is not { } problem)
                {
                    Interlocked.Increment(ref fromHolders);
                    await AnnounceAsync(need).ConfigureAwait(false);
                    return;
                }
                last = problem;
            }
            if (need.AskOrigin is not { } origin)
            {
                break;
            }
            await origin(cancellation).ConfigureAwait(false);
        }
        throw new BlockUnavailableException(
            $"Block {block} could not be had{(problems.Count == 0 ? ": nobody is known to hold it" : $": {string.Join("; ", problems.Distinct().TakeLast(8))}")}.", last);
    }

    private Task AnnounceAsync(BlockNeed need) => need.Holders is null ? AddHolderAsync(need.Block) : Task.CompletedTask;

    private async Task<List<BlockLocation>> HoldersAsync(BlockNeed need, List<string> problems, CancellationToken cancellation)
    {
        IReadOnlyList<BlockLocation> found;
        try
        {
            found = self.NodeUrl.Length == 0 ? [] : need.Holders ?? await registry.FindHoldersAsync(need.Block, cancellation: cancellation).ConfigureAwait(false);
        }
        catch (BlockRegistryException error)
        {
            problems.Add(error.Message);
            return [];
        }
        // This node itself is asked like any other no more: it does not have the file.
        var now = time.GetTimestamp();
        return [.. found.Where(holder => holder.NodeId != self.NodeId && holder.NodeUrl.Length > 0).OrderBy(holder => silentUntil.TryGetValue(holder, out var until) && now < until)];
    }

    private async Task<Exception?> TryCopyAsync(BlockNeed need, BlockLocation holder, List<string> problems, CancellationToken cancellation)
    {
        for (var again = 0; ; again++)
        {
            try
            {
                await CopyAsync(need, holder, cancellation).ConfigureAwait(false);
                return null;
            }
            catch (BlockCorruptException error) when (again == 0)
            {
                // Once more: the network may have been at fault, not the disk.
                Note(error);
            }
            catch (Exception error) when (error is BlockMissingException or BlockCorruptException)
            {
                Note(error);
                need.Missing?.Invoke(holder);
                if (need.Holders is null)
                {
                    await TellAsync((registry, patience) => registry.RemoveHolderAsync(need.Block, holder, patience), need.Block).ConfigureAwait(false);
                }
                return error;
            }
            catch (Exception error) when (error is HttpRequestException or TimeoutException or NodeReadException)
            {
                Note(error);
                silentUntil[holder] = time.GetTimestamp() + (long)(PassedOver.TotalSeconds * time.TimestampFrequency);
                return error;
            }
        }

        void Note(Exception error)
        {
            Interlocked.Increment(ref failures);
            problems.Add($"node {holder.NodeId}: {error.Message}");
            logger.LogInformation("Block {Block} could not be had from node {Node}: {Problem}", need.Block, holder.NodeId, error.Message);
        }
    }

    private async Task CopyAsync(BlockNeed need, BlockLocation holder, CancellationToken cancellation)
    {
        using var file = directory.CreateNamed(need.Block);
        var rawBytes = 0L;
        var written = true;
        try
        {
            await client().ReadOnceAsync(holder.NodeUrl, need.Block, frame =>
            {
                _ = BlockFrame.TryReadHeader(frame.Span, frame.Length, out _, out var rawLength);
                rawBytes += rawLength;
                if (rawBytes > need.MaximumBytes)
                {
                    throw new BlockCorruptException($"Block {need.Block} is larger than the {need.MaximumBytes} bytes allowed.");
                }
                written = false;
                file.AppendEncoded(frame.Span);
                written = true;
            }, cancellation).ConfigureAwait(false);
        }
        catch (IOException error) when (written && error is not (BlockMissingException or BlockCorruptException))
        {
            // Of the network, not of this node's disk, which no other holder could help.
            throw new NodeReadException(error.Message, error);
        }
        if (need.Length is { } length && rawBytes != length)
        {
            throw new BlockCorruptException($"Block {need.Block} has {rawBytes} bytes there where {length} were written.");
        }
        file.Commit();
    }

    private async Task TellAsync(Func<IBlockRegistry, CancellationToken, ValueTask> tell, BlockId block)
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(1), time);
        try
        {
            await tell(registry, patience.Token).ConfigureAwait(false);
        }
        catch (Exception error) when (error is BlockRegistryException or OperationCanceledException)
        {
            logger.LogDebug("The registry does not learn of block {Block}: {Problem}", block, error.Message);
        }
    }

    private sealed class NodeReadException(string message, Exception inner) : Exception(message, inner);
}
