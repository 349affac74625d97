using System.Buffers;
using System.Collections.Concurrent;
using System.Threading.Channels;
using Yarnish.Protocol;

namespace Yarnish.Blocks;

/// <summary>A verified frame from another node, in a rented array.</summary>
internal readonly record struct RemoteFrame(int MapPartition, byte[] Bytes, int Length);

/// <summary>
/// Fetches one reducer's parts from other nodes while its task reads: some requests at once, each for many map outputs of one node; frames wait in memory up to a
/// bound, beyond it the network waits. After a failure only what has not arrived is asked for again.
/// </summary>
internal sealed class RemoteParts : IDisposable
{
    private readonly BlockClient client;
    private readonly int reducer;
    private readonly Channel<RemoteFrame> frames = Channel.CreateUnbounded<RemoteFrame>(new UnboundedChannelOptions { SingleReader = true });
    private readonly ByteGate gate;
    private readonly CancellationTokenSource stop;
    private readonly Task pump;

    /// <summary>Begins to fetch.</summary>
    public RemoteParts(BlockClient client, ShuffleLocations locations, int reducer, IReadOnlyList<int> maps, CancellationToken cancellation)
    {
        this.client = client;
        this.reducer = reducer;
        gate = new ByteGate(client.Options.BytesInFlight);
        stop = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        var requests = Batch(locations, reducer, maps);
        var workers = Math.Min(client.Options.Requests, requests.Count);
        pump = Task.Run(() => FetchAllAsync(requests, workers), CancellationToken.None);
    }

    /// <summary>What arrives; ends after the last frame, or with a <see cref="MapOutputUnavailableException"/>.</summary>
    public ChannelReader<RemoteFrame> Frames => frames.Reader;

    /// <summary>The reader is done with a frame.</summary>
    public void Release(RemoteFrame frame)
    {
        ArrayPool<byte>.Shared.Return(frame.Bytes);
        gate.Leave(frame.Length);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        stop.Cancel();
        _ = pump.ContinueWith(_ => stop.Dispose(), CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
        while (frames.Reader.TryRead(out var frame))
        {
            ArrayPool<byte>.Shared.Return(frame.Bytes);
        }
    }

    // One request: parts of one node, up to a fifth of what may be in flight, so that several nodes deliver at once. Reducers start at different nodes.
    private ConcurrentQueue<Request> Batch(ShuffleLocations locations, int reducer, IReadOnlyList<int> maps)
    {
        var target = Math.Max(1, client.Options.BytesInFlight / 5);
        var requests = new List<Request>();
        foreach (var node in maps.GroupBy(locations.Node))
        {
            var request = new Request(node.Key.Id, node.Key.Url);
            foreach (var map in node)
            {
                if (request.Parts.Count >= Math.Min(client.Options.ItemsPerRequest, BlockFetchRequest.MaximumItems) || request.Bytes >= target)
                {
                    requests.Add(request);
                    request = new Request(node.Key.Id, node.Key.Url);
                }
                request.Parts.Add(new Part(locations.Output(map)));
                request.Bytes += SizeClasses.ToBytes(locations.SizeClass(map, reducer));
            }
            requests.Add(request);
        }
        var queue = new ConcurrentQueue<Request>();
        for (var i = 0; i < requests.Count; i++)
        {
            queue.Enqueue(requests[(int)(((uint)reducer * 7919L + i) % requests.Count)]);
        }
        return queue;
    }

    private async Task FetchAllAsync(ConcurrentQueue<Request> requests, int workers)
    {
        try
        {
            await Task.WhenAll(Enumerable.Range(0, workers).Select(_ => WorkAsync(requests))).ConfigureAwait(false);
            frames.Writer.TryComplete();
        }
        catch (Exception error)
        {
            // The reader gets it; the other workers have been stopped by the first that failed.
            frames.Writer.TryComplete(error);
        }
    }

    private async Task WorkAsync(ConcurrentQueue<Request> requests)
    {
        try
        {
            while (requests.TryDequeue(out var request))
            {
                await FetchAsync(request).ConfigureAwait(false);
            }
        }
        catch (Exception error)
        {
            frames.Writer.TryComplete(error);
            await stop.CancelAsync().ConfigureAwait(false);
            throw;
        }
    }

    private async Task FetchAsync(Request request)
    {
        for (var failures = 0; ;)
        {
            var missing = request.Parts.Where(static part => !part.Done).ToList();
            if (missing.Count == 0)
            {
                return;
            }
            var before = request.Delivered;
            Exception problem;
            try
            {
                await FetchOnceAsync(request, missing).ConfigureAwait(false);
                continue;
            }
            catch (BlockCorruptException)
            {
                // Counted against its part, which gives up the second time: ask again at once.
                continue;
            }
            catch (HttpRequestException error) when (error.StatusCode is System.Net.HttpStatusCode.Unauthorized or System.Net.HttpStatusCode.Forbidden)
            {
                throw new IOException($"The node {request.NodeId} at {request.NodeUrl} refused the application's token: its cluster secret differs from the driver's.", error);
            }
            catch (Exception error) when (BlockClient.IsTransient(error, stop.Token))
            {
                problem = error;
            }
            failures = request.Delivered > before ? 0 : failures;
            if (failures >= client.Options.Retries)
            {
                throw new MapOutputUnavailableException(
                    missing[0].Output, request.NodeId, $"The node {request.NodeId} at {request.NodeUrl} did not deliver {missing[0].Output} after {failures + 1} tries: {problem.Message}", problem);
            }
            await Task.Delay(client.Backoff(failures++), client.Time, stop.Token).ConfigureAwait(false);
        }
    }

    private async Task FetchOnceAsync(Request request, List<Part> parts)
    {
        var asked = new BlockFetchRequest([.. parts.Select(part => BlockFetchItem.Parts(part.Output, reducer))]);
        await using var answer = await client.OpenAsync(request.NodeUrl, asked, stop.Token).ConfigureAwait(false);
        foreach (var part in parts)
        {
            var (status, length) = await answer.ReadItemAsync().ConfigureAwait(false);
            if (status == BlockStatus.Found)
            {
                var bytes = await answer.ReadLengthAsync().ConfigureAwait(false);
                if (bytes != length - 8)
                {
                    throw new IOException("The answer is not one of a block server.");
                }
                await ReadPartAsync(request, part, bytes, answer).ConfigureAwait(false);
                continue;
            }
            var text = await answer.ReadTextAsync(length).ConfigureAwait(false);
            if (status == BlockStatus.Missing)
            {
                throw new MapOutputUnavailableException(part.Output, request.NodeId, $"The node {request.NodeId} does not have it: {text}");
            }
            CountCorrupt(request, part, text, null);
        }
    }

    private async Task ReadPartAsync(Request request, Part part, long remaining, BlockAnswer answer)
    {
        try
        {
            for (var index = 0; remaining > 0; index++)
            {
                var length = await answer.ReadFrameHeaderAsync(remaining).ConfigureAwait(false);
                await gate.EnterAsync(length, stop.Token).ConfigureAwait(false);
                byte[]? frame = null;
                try
                {
                    frame = await answer.ReadFrameAsync(length).ConfigureAwait(false);
                    if (index >= part.FramesDelivered)
                    {
                        if (!BlockFrame.IsIntact(frame.AsSpan(0, length)))
                        {
                            throw new BlockCorruptException($"A frame of {part.Output} is damaged: its checksum differs.");
                        }
                        part.FramesDelivered++;
                        request.Delivered++;
                        if (frames.Writer.TryWrite(new RemoteFrame(part.Output.MapPartition, frame, length)))
                        {
                            frame = null;
                        }
                    }
                }
                catch
                {
                    gate.Leave(length);
                    throw;
                }
                if (frame is not null)
                {
                    ArrayPool<byte>.Shared.Return(frame);
                    gate.Leave(length);
                }
                remaining -= length;
            }
            part.Done = true;
        }
        catch (BlockCorruptException error)
        {
            CountCorrupt(request, part, error.Message, error);
            throw;
        }
    }

    private static void CountCorrupt(Request request, Part part, string text, Exception? inner)
    {
        if (++part.TimesCorrupt > 1)
        {
            throw new MapOutputUnavailableException(part.Output, request.NodeId, $"{part.Output} from node {request.NodeId} is corrupt, twice in a row: {text}", inner);
        }
    }

    private sealed class Part(MapOutputId output)
    {
        public MapOutputId Output { get; } = output;

        public int FramesDelivered { get; set; }

        public int TimesCorrupt { get; set; }

        public bool Done { get; set; }
    }

    private sealed class Request(NodeId nodeId, string nodeUrl)
    {
        public NodeId NodeId { get; } = nodeId;

        public string NodeUrl { get; } = nodeUrl;

        public List<Part> Parts { get; } = [];

        public long Bytes { get; set; }

        public long Delivered { get; set; }
    }
}
