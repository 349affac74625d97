using System.Threading.Channels;
using Microsoft.Extensions.Logging;
using Yarnish.Blocks;
using Yarnish.Protocol;

namespace Yarnish.Executor;

/// <summary>
/// Moves persisted partitions between nodes, and tells the driver what is held here without a task having said so: copied for it, written before leaving, pushed out of memory,
/// found missing elsewhere. Thread-safe; bounded by <see cref="Waiting"/> copies, two at a time.
/// </summary>
/// <param name="options">Who this executor is.</param>
/// <param name="store">What it holds.</param>
/// <param name="fetcher">Brings blocks of other nodes here.</param>
/// <param name="send">Sends a message to the driver; false when that is not possible now.</param>
/// <param name="logger">The log.</param>
internal sealed class PartitionMover(ExecutorOptions options, CollectionStore store, BlockFetcher fetcher, Func<Func<ExecutorAddress, ExecutorMessage>, ValueTask<bool>> send, ILogger logger)
    : IAsyncDisposable
{
    /// <summary>Copies that may wait; one more is refused, which the driver sees as failed.</summary>
    public const int Waiting = 4096;

    private const int AtOnce = 2;
    private const int PerMessage = 2000;

    private readonly Channel<PartitionAt> copies = Channel.CreateBounded<PartitionAt>(Waiting);
    private readonly CancellationTokenSource stopping = new();
    private readonly Lock gate = new();
    private readonly HashSet<PartitionAt> lost = [];
    private readonly SemaphoreSlim telling = new(1);
    private Task[]? workers;
    private int allWritten;

    /// <summary>Copies partitions to this node, in the background.</summary>
    public void Copy(CopyPartitions message)
    {
        lock (gate)
        {
            workers ??= [.. Enumerable.Range(0, AtOnce).Select(_ => Task.Run(CopyAllAsync))];
        }
        foreach (var partition in message.Partitions)
        {
            if (!copies.Writer.TryWrite(partition))
            {
                store.Note(partition.Collection, partition.Partition);
            }
        }
    }

    /// <summary>Copies a partition to this node now, from one of the nodes that have it. On the thread of a task. False when it cannot be had: then it is computed.</summary>
    public bool Fetch(int collection, int partition, IReadOnlyList<PartitionAt> elsewhere, CancellationToken cancellation)
    {
        PartitionAt[] places = [.. elsewhere.Where(place => place.Collection == collection && place.Partition == partition)];
        var fetched = places.Length > 0 && TryFetchAsync(collection, partition, places, cancellation).GetAwaiter().GetResult();
        cancellation.ThrowIfCancellationRequested();
        return fetched;
    }

    /// <summary>Writes what is in memory only, as long as it is given time, and tells the driver.</summary>
    public async Task WriteAllAsync(CancellationToken enough)
    {
        await Task.Run(() => store.WriteAll(enough), CancellationToken.None).ConfigureAwait(false);
        Volatile.Write(ref allWritten, 1);
        await TellAsync().ConfigureAwait(false);
    }

    /// <summary>Tells the driver what changed; nothing is sent when nothing did. What cannot be sent now is told later.</summary>
    public async Task TellAsync()
    {
        await telling.WaitAsync().ConfigureAwait(false);
        try
        {
            while (true)
            {
                var changes = store.TakeChanges(PerMessage);
                PartitionAt[] missing;
                lock (gate)
                {
                    missing = [.. lost.Take(PerMessage)];
                    lost.ExceptWith(missing);
                }
                var last = changes.Count < PerMessage;
                var written = last && Interlocked.Exchange(ref allWritten, 0) == 1;
                if (changes.Count == 0 && missing.Length == 0 && !written)
                {
                    return;
                }
                if (!await send(address => new PartitionsHeld(address, options.NodeId, changes) { Lost = missing, AllWritten = written }).ConfigureAwait(false))
                {
                    changes.ForEach(change => store.Note(change.Collection, change.Partition));
                    lock (gate)
                    {
                        lost.UnionWith(missing);
                    }
                    Interlocked.Or(ref allWritten, written ? 1 : 0);
                    return;
                }
                if (last)
                {
                    return;
                }
            }
        }
        finally
        {
            telling.Release();
        }
    }

    /// <summary>Gives up what is being copied.</summary>
    public async ValueTask DisposeAsync()
    {
        if (stopping.IsCancellationRequested)
        {
            return;
        }
        await stopping.CancelAsync().ConfigureAwait(false);
        await Task.WhenAll(workers ?? []).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    private async Task CopyAllAsync()
    {
        await foreach (var place in copies.Reader.ReadAllAsync(stopping.Token).ConfigureAwait(false))
        {
            await TryFetchAsync(place.Collection, place.Partition, [place], stopping.Token).ConfigureAwait(false);
            store.Meet(place.Collection, place.Partition);
            store.Note(place.Collection, place.Partition);
            if (copies.Reader.Count == 0)
            {
                await TellAsync().ConfigureAwait(false);
            }
        }
    }

    private async Task<bool> TryFetchAsync(int collection, int partition, PartitionAt[] places, CancellationToken cancellation)
    {
        if (store.Files.IsDropped(collection))
        {
            return false;
        }
        try
        {
            // The driver knows the holders: no need to ask the registry.
            await fetcher.FetchAsync(new BlockNeed(BlockId.OfPartition(collection, partition), long.MaxValue)
            {
                Holders = [.. places.Select(static place => new BlockLocation(place.NodeId, place.NodeUrl))],
                Missing = Miss,
            }, cancellation).ConfigureAwait(false);
            store.Files.RemoveIfDropped(collection);
            return true;
        }
        catch (OperationCanceledException)
        {
            return false;
        }
        catch (Exception error) when (error is BlockUnavailableException or IOException or UnauthorizedAccessException)
        {
            logger.LogWarning("Persisted partition {Partition} of collection {Collection} cannot be copied to this node: {Problem}", partition, collection, error.Message);
            return false;
        }

        void Miss(BlockLocation holder)
        {
            lock (gate)
            {
                lost.Add(new PartitionAt(collection, partition, holder.NodeId, holder.NodeUrl));
            }
        }
    }
}
