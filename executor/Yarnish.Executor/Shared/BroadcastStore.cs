using System.Collections.Concurrent;
using System.IO.Hashing;
using Microsoft.Extensions.Logging;
using Yarnish.Blocks;
using Yarnish.Serialization;

namespace Yarnish.Executor;

/// <summary>
/// Values of broadcasts in this process: fetched in pieces when a task first asks, made once, shared by all tasks. What is held is counted by its serialized bytes and bounded; beyond the bound the
/// value used longest ago is let go (tasks that have it keep it), and made again from the pieces on this node's disk when it is asked for. Thread-safe.
/// </summary>
/// <param name="fetcher">Brings pieces onto this node.</param>
/// <param name="directory">Blocks of this node.</param>
/// <param name="askDriver">Asks the driver to put a piece onto this node; completes when it has.</param>
/// <param name="memoryBytes">Bytes of values held; the one made last is held whatever its size.</param>
/// <param name="logger">Log.</param>
internal sealed class BroadcastStore(BlockFetcher fetcher, BlockDirectory directory, Func<BlockId, CancellationToken, Task> askDriver, long memoryBytes, ILogger logger)
{
    /// <summary>Pieces on their way at once.</summary>
    private const int Fetches = 4;

    private readonly Lock gate = new();
    private readonly Dictionary<int, LinkedListNode<Held>> byNumber = [];
    private readonly LinkedList<Held> recent = new();
    private readonly ConcurrentDictionary<int, int> timesDropped = new();
    private long heldBytes;
    private long loads;

    /// <summary>Serialized bytes of the values held.</summary>
    public long HeldBytes => Interlocked.Read(ref heldBytes);

    /// <summary>How often a value was made from its pieces.</summary>
    public long Loads => Interlocked.Read(ref loads);

    /// <summary>Where pieces came from.</summary>
    public BlockFetches Fetched => fetcher.Fetches;

    /// <summary>The value; waits for it. One download and one object, however many tasks ask at once.</summary>
    /// <exception cref="BroadcastException">It was disposed, or nobody has it any more.</exception>
    public T Get<T>(BroadcastId id, CancellationToken cancellation)
    {
        Held held;
        lock (gate)
        {
            if (byNumber.TryGetValue(id.Number, out var node))
            {
                recent.Remove(node);
                recent.AddFirst(node);
                held = node.Value;
            }
            else
            {
                held = new Held(id.Number, id.Length, new Lazy<Task<object?>>(() => Task.Run(async () => (object?)await LoadAsync<T>(id).ConfigureAwait(false))));
                byNumber[id.Number] = recent.AddFirst(held);
                heldBytes += held.Bytes;
                while (heldBytes > memoryBytes && recent.Count > 1)
                {
                    Forget(recent.Last!.Value);
                }
            }
        }
        try
        {
            return (T)held.Value.Value.WaitAsync(cancellation).GetAwaiter().GetResult()!;
        }
        catch (Exception) when (held.Value.Value.IsFaulted || held.Value.Value.IsCanceled)
        {
            lock (gate)
            {
                // The next task tries again.
                Forget(held);
            }
            throw;
        }
    }

    /// <summary>Lets a broadcast go: the value now, its pieces on this node soon.</summary>
    public void Drop(int number)
    {
        timesDropped.AddOrUpdate(number, 1, static (_, times) => times + 1);
        lock (gate)
        {
            if (byNumber.TryGetValue(number, out var node))
            {
                Forget(node.Value);
            }
        }
        _ = Task.Run(() => Delete(number));
    }

    /// <summary>Lets all values go; their pieces stay on the node.</summary>
    public void ForgetValues()
    {
        lock (gate)
        {
            while (recent.Last is { } last)
            {
                Forget(last.Value);
            }
        }
    }

    private void Forget(Held held)
    {
        if (byNumber.TryGetValue(held.Number, out var node) && ReferenceEquals(node.Value, held))
        {
            byNumber.Remove(held.Number);
            recent.Remove(node);
            heldBytes -= held.Bytes;
        }
    }

    private async Task<T> LoadAsync<T>(BroadcastId id)
    {
        var dropped = timesDropped.GetValueOrDefault(id.Number);
        try
        {
            for (var again = false; ; again = true)
            {
                var content = await ReadAsync(id).ConfigureAwait(false);
                if ((long)XxHash64.HashToUInt64(content) == id.Hash)
                {
                    Interlocked.Increment(ref loads);
                    return ValueSerializer.Read<T>(content);
                }
                for (var piece = 0; piece < id.Pieces; piece++)
                {
                    await fetcher.ForgetAsync(id.Piece(piece)).ConfigureAwait(false);
                }
                if (again)
                {
                    throw new BroadcastException($"The pieces of {Describe(id)} are each intact and together not what the driver wrote, twice: report this.");
                }
            }
        }
        catch (Exception error) when (error is BlockUnavailableException or IOException or HttpRequestException)
        {
            throw new BroadcastException($"The value of {Describe(id)} cannot be had on this node: {error.Message}", error);
        }
        finally
        {
            if (timesDropped.GetValueOrDefault(id.Number) != dropped)
            {
                // Dropped while it came: what came since must not stay, nor be looked for here.
                for (var piece = 0; piece < id.Pieces; piece++)
                {
                    await fetcher.ForgetAsync(id.Piece(piece)).ConfigureAwait(false);
                }
            }
        }
    }

    private async Task<byte[]> ReadAsync(BroadcastId id)
    {
        var content = GC.AllocateUninitializedArray<byte>(checked((int)id.Length));
        // In random order: executors that start together then soon have different pieces to give each other.
        var pieces = Enumerable.Range(0, id.Pieces).ToArray();
        Random.Shared.Shuffle(pieces);
        await Parallel.ForEachAsync(pieces, new ParallelOptions { MaxDegreeOfParallelism = Fetches }, async (piece, cancellation) =>
        {
            var block = id.Piece(piece);
            var bytes = await fetcher.ReadAsync(new BlockNeed(block, BroadcastId.PieceBytes, id.LengthOf(piece), token => askDriver(block, token)), cancellation).ConfigureAwait(false);
            bytes.CopyTo(content, (long)piece * BroadcastId.PieceBytes);
        }).ConfigureAwait(false);
        return content;
    }

    private void Delete(int number)
    {
        try
        {
            directory.DeleteNamed(BroadcastId.PrefixOf(number));
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // Another executor of this node deletes the same; what stays goes with the application's directory.
            logger.LogDebug(error, "Pieces of broadcast {Number} are not all deleted", number);
        }
    }

    private static string Describe(BroadcastId id) => $"broadcast {id.Number} ({id.CallSite})";

    private sealed record Held(int Number, long Bytes, Lazy<Task<object?>> Value);
}
