using System.Collections.Concurrent;
using Yarnish.Blocks;
using Yarnish.Embedded;
using Yarnish.Executor;
using Yarnish.Protocol;
using Yarnish.Serialization;

namespace Yarnish.Shared;

/// <summary>
/// Where broadcasts come from: the driver keeps the pieces of each on its disk and gives a piece to the node of an executor that cannot have it from another. In a fleet of a thousand executors
/// each piece leaves the driver about once: who asks while a piece is on its way waits for that, and who asks for the first time for a piece that another node was given is sent to the registry,
/// which by then knows a holder. Thread-safe; nothing of it runs on the driver loop.
/// </summary>
/// <remarks>
/// Why not the resource manager's blob store, where the application's files come from: it keeps blobs for the next application, so that a broadcast would stay there after its end; every
/// job would depend on the resource manager; and executors hold no token for it. Nodes of the application take pieces for the same token that opens its blocks, and forget them with it.
/// </remarks>
internal sealed class BroadcastOrigin : IBroadcastOrigin, IDisposable
{
    /// <summary>Pieces that leave the driver at once.</summary>
    private const int Uploads = 4;

    private readonly bool travels;
    private readonly long maximumBytes;
    private readonly IBlockRegistry registry;
    private readonly Func<string, BlockDirectory, BlockId, CancellationToken, Task> give;
    private readonly ConcurrentDictionary<int, Entry> entries = new();
    private readonly Lazy<BlockDirectoryLease> lease;
    private readonly Lazy<BlockDirectory> directory;
    private readonly SemaphoreSlim uploads = new(Uploads);
    private readonly CancellationTokenSource stopping = new();
    private Action<int> drop = static _ => { };
    private int next;
    private long piecesGiven;

    /// <param name="travels">False when tasks run in this process and get the very object.</param>
    /// <param name="maximumBytes">Most bytes of a serialized value.</param>
    /// <param name="registry">Who holds which piece.</param>
    /// <param name="give">Puts a block onto the node with a URL, from a directory of this machine.</param>
    /// <param name="temporary">Parent of the directory of pieces; null for the usual one.</param>
    public BroadcastOrigin(bool travels, long maximumBytes, IBlockRegistry registry, Func<string, BlockDirectory, BlockId, CancellationToken, Task> give, string? temporary = null)
    {
        (this.travels, this.maximumBytes, this.registry, this.give) = (travels, maximumBytes, registry, give);
        lease = new(() => BlockDirectoryLease.Take(temporary));
        directory = new(() => new BlockDirectory(lease.Value.Path));
    }

    /// <summary>Pieces that went from the driver to a node.</summary>
    public long PiecesGiven => Interlocked.Read(ref piecesGiven);

    /// <summary>Broadcasts that live.</summary>
    public int Count => entries.Count;

    /// <summary>Where pieces are; null while there are none.</summary>
    internal string? Directory => lease.IsValueCreated ? lease.Value.Path : null;

    /// <summary>Who tells all executors to forget a broadcast: the driver loop.</summary>
    public void Attach(Action<int> dropEverywhere) => drop = dropEverywhere;

    /// <summary>Makes a broadcast: the value is serialized now, once.</summary>
    /// <exception cref="BroadcastException">It cannot be serialized, is too large, or this machine's disk does not take it.</exception>
    /// <exception cref="ObjectDisposedException">The session has ended.</exception>
    public Broadcast<T> Create<T>(T value, string callSite)
    {
        ObjectDisposedException.ThrowIf(stopping.IsCancellationRequested, typeof(YarnishSession));
        var number = Interlocked.Increment(ref next) - 1;
        var id = new BroadcastId(number, 0, 0, callSite);
        if (travels)
        {
            id = Serialize(number, value, callSite);
        }
        entries[number] = new Entry(id);
        return new Broadcast<T>(id, new BroadcastLease(number, callSite, this), value);
    }

    /// <summary>Puts a piece onto a node whose executor could have it from nobody, or lets that executor look again when another node was given the piece meanwhile.</summary>
    /// <returns>Empty when the executor shall look again; else why it is in vain.</returns>
    public async Task<string> GiveAsync(NodeId node, string nodeUrl, string block)
    {
        if (BroadcastId.Parse(block) is not var (number, index))
        {
            return $"Block {block} is none that the driver could give.";
        }
        if (!entries.TryGetValue(number, out var entry) || index >= entry.Id.Pieces)
        {
            return $"Broadcast {number} is over: it was disposed, or the program in the driver holds no reference to it any more. Dispose it after the last job that uses it.";
        }
        try
        {
            await entry.Pieces.GetOrAdd(index, static _ => new Piece()).GiveAsync(node, async () =>
            {
                var name = entry.Id.Piece(index);
                await uploads.WaitAsync(stopping.Token).ConfigureAwait(false);
                try
                {
                    await give(nodeUrl, directory.Value, name, stopping.Token).ConfigureAwait(false);
                    Interlocked.Increment(ref piecesGiven);
                }
                finally
                {
                    uploads.Release();
                }
                await IgnoreAsync(() => registry.AddHolderAsync(name, new BlockLocation(node, nodeUrl), stopping.Token)).ConfigureAwait(false);
            }).ConfigureAwait(false);
            return "";
        }
        catch (Exception error) when (error is IOException or HttpRequestException or UnauthorizedAccessException)
        {
            return entries.ContainsKey(number)
                ? $"The driver could not give node {node} block {block} of broadcast {number} ({entry.Id.CallSite}): {error.Message}"
                : $"Broadcast {number} was disposed while its pieces were fetched.";
        }
        catch (OperationCanceledException)
        {
            return $"The session ended while block {block} was on its way.";
        }
    }

    /// <inheritdoc/>
    public void Unpersist(int number)
    {
        if (travels && entries.TryGetValue(number, out var entry))
        {
            entry.Pieces.Clear();
            drop(number);
            _ = IgnoreAsync(() => registry.DeleteBlocksAsync(entry.Id.Blocks(), stopping.Token));
        }
    }

    /// <inheritdoc/>
    public async ValueTask EndAsync(int number)
    {
        if (!entries.TryRemove(number, out var entry) || !travels || stopping.IsCancellationRequested)
        {
            return;
        }
        DeletePieces(number);
        // Before executors forget it: one that looks for it again afterwards finds no holder, and hears from here that it is over.
        await IgnoreAsync(() => registry.DeleteBlocksAsync(entry.Id.Blocks(), stopping.Token)).ConfigureAwait(false);
        drop(number);
    }

    /// <inheritdoc/>
    public void Release(int number) =>
        // Not on the finalizer's thread.
        ThreadPool.UnsafeQueueUserWorkItem(static state => _ = state.Origin.EndAsync(state.Number).AsTask(), (Origin: this, Number: number), preferLocal: false);

    /// <summary>The session has ended: the pieces on this machine go; those on nodes go with the application.</summary>
    public void Dispose()
    {
        if (stopping.IsCancellationRequested)
        {
            return;
        }
        stopping.Cancel();
        entries.Clear();
        if (lease.IsValueCreated)
        {
            lease.Value.Dispose();
        }
    }

    private BroadcastId Serialize<T>(int number, T value, string callSite)
    {
        var subject = $"Broadcast at {callSite}";
        try
        {
            var pieces = new PieceWriter(directory.Value, number, maximumBytes, subject);
            ValueSerializer.Write(pieces.Restart, value, subject, maximumBytes);
            return pieces.Finish(callSite);
        }
        catch (Exception error)
        {
            DeletePieces(number);
            throw error switch
            {
                BroadcastException or ClosureException => error,
                IOException or UnauthorizedAccessException => new BroadcastException($"{subject} cannot be kept on this machine's disk ({lease.Value.Path}): {error.Message}", error),
                OutOfMemoryException => new BroadcastException($"{subject} cannot be serialized: {error.Message}", error),
                _ => error,
            };
        }
    }

    private void DeletePieces(int number)
    {
        try
        {
            directory.Value.DeleteNamed(BroadcastId.PrefixOf(number));
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // They go with the session.
        }
    }

    private static async Task IgnoreAsync(Func<ValueTask> work)
    {
        try
        {
            await work().ConfigureAwait(false);
        }
        catch (Exception error) when (error is BlockRegistryException or OperationCanceledException or ObjectDisposedException)
        {
            // A holder that the registry does not know gives nothing; one that is no holder any more says so.
        }
    }

    private sealed class Entry(BroadcastId id)
    {
        public BroadcastId Id { get; } = id;

        public ConcurrentDictionary<int, Piece> Pieces { get; } = new();
    }

    /// <summary>Which nodes have asked for a piece, and the copy that is on its way.</summary>
    private sealed class Piece
    {
        private readonly Lock gate = new();
        private readonly HashSet<NodeId> asked = [];
        private bool given;
        private Task? underWay;

        public Task GiveAsync(NodeId node, Func<Task> upload)
        {
            lock (gate)
            {
                var first = asked.Add(node);
                if (underWay is { IsCompleted: false } || (given && first))
                {
                    // Whoever waits looks at the registry afterwards; who then finds no holder that lives asks again and gets a copy of his own.
                    return underWay is { IsCompleted: false } copying ? copying.ContinueWith(static _ => { }, TaskScheduler.Default) : Task.CompletedTask;
                }
                return underWay = UploadAsync(upload);
            }
        }

        private async Task UploadAsync(Func<Task> upload)
        {
            await Task.Yield();
            await upload().ConfigureAwait(false);
            lock (gate)
            {
                given = true;
            }
        }
    }
}
