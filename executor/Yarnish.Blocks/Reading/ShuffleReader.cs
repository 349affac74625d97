using System.Buffers;
using System.Diagnostics;
using Microsoft.Win32.SafeHandles;
using Yarnish.Protocol;

namespace Yarnish.Blocks;

/// <summary>
/// Reads one reducer's part of a shuffle on the calling thread: local files in the order of map tasks, then what has meanwhile come from other nodes. Each block is
/// whole rows of one map task; a large part comes as several blocks. Used by one thread.
/// </summary>
internal sealed class ShuffleReader : IDisposable
{
    private readonly BlockDirectory directory;
    private readonly ShuffleLocations locations;
    private readonly int reducer;
    private readonly CancellationToken cancellation;
    private readonly List<int> local = [];
    private readonly RemoteParts? remote;
    private byte[] raw = [];
    private long waitTicks;
    private bool disposed;

    /// <summary>Begins to fetch what is on other nodes.</summary>
    /// <param name="directory">Blocks on this node.</param>
    /// <param name="self">This node.</param>
    /// <param name="client">For other nodes; null when there can be none.</param>
    /// <param name="locations">Where the shuffle is.</param>
    /// <param name="reducer">Whose part.</param>
    /// <param name="cancellation">Stops waiting and fetching.</param>
    public ShuffleReader(BlockDirectory directory, NodeId self, BlockClient? client, ShuffleLocations locations, int reducer, CancellationToken cancellation)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)reducer, (uint)Math.Max(locations.Reducers, 1));
        (this.directory, this.locations, this.reducer, this.cancellation) = (directory, locations, reducer, cancellation);
        List<int>? elsewhere = null;
        for (var map = 0; map < locations.MapPartitions; map++)
        {
            if (locations.SizeClass(map, reducer) == 0)
            {
                continue;
            }
            var (node, url) = locations.Node(map);
            if (node == self || url.Length == 0)
            {
                local.Add(map);
            }
            else
            {
                (elsewhere ??= []).Add(map);
            }
        }
        if (elsewhere is not null)
        {
            remote = new RemoteParts(
                client ?? throw new InvalidOperationException("Blocks of other nodes need a block client."), locations, reducer, elsewhere, cancellation);
        }
        Parts = local.Count + (elsewhere?.Count ?? 0);
    }

    /// <summary>How many map tasks wrote something for this reducer.</summary>
    public int Parts { get; }

    /// <summary>True when nothing is on other nodes: then blocks come in the order of map tasks.</summary>
    public bool IsLocal => remote is null;

    /// <summary>Compressed bytes read from this node.</summary>
    public long LocalBytes { get; private set; }

    /// <summary>Compressed bytes read from other nodes.</summary>
    public long RemoteBytes { get; private set; }

    /// <summary>Spent waiting for other nodes.</summary>
    public long WaitMicroseconds => waitTicks * 1_000_000 / Stopwatch.Frequency;

    /// <summary>The blocks; the content of each is valid until the next is asked for.</summary>
    /// <param name="isHeld">Tells that the caller has the rows of a map output on this node in memory: it stands in its place as one block without content. Null when nothing is.</param>
    /// <exception cref="MapOutputUnavailableException">A map output is missing, or corrupt after a second try.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public IEnumerable<(int MapPartition, ReadOnlyMemory<byte> Content)> Read(Func<MapOutputId, bool>? isHeld = null)
    {
        foreach (var map in local)
        {
            if (isHeld?.Invoke(locations.Output(map)) == true)
            {
                yield return (map, default);
                continue;
            }
            foreach (var content in ReadLocal(map))
            {
                yield return (map, content);
            }
        }
        if (remote is null)
        {
            yield break;
        }
        while (WaitForFrame())
        {
            while (remote.Frames.TryRead(out var frame))
            {
                ReadOnlyMemory<byte> content;
                try
                {
                    content = Decode(frame);
                    RemoteBytes += frame.Length;
                }
                finally
                {
                    remote.Release(frame);
                }
                yield return (frame.MapPartition, content);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (!disposed)
        {
            disposed = true;
            remote?.Dispose();
        }
        if (raw.Length > 0)
        {
            ArrayPool<byte>.Shared.Return(raw);
            raw = [];
        }
    }

    // A damaged frame is read once more, from where it is: frames already handed out are skipped.
    private IEnumerable<ReadOnlyMemory<byte>> ReadLocal(int map)
    {
        var output = locations.Output(map);
        var delivered = 0;
        for (var attempt = 0; ; attempt++)
        {
            SafeFileHandle? file = null;
            FrameReader? frames = null;
            var segment = 0;
            ShuffleIndex? index = null;
            var skip = delivered;
            var damaged = false;
            try
            {
                while (true)
                {
                    cancellation.ThrowIfCancellationRequested();
                    ReadOnlyMemory<byte> content = default;
                    var have = false;
                    try
                    {
                        if (file is null)
                        {
                            index = directory.ReadIndex(output);
                            if (reducer >= index.Reducers)
                            {
                                throw new BlockCorruptException($"{output} has {index.Reducers} reducers; its locations say {locations.Reducers}.");
                            }
                            file = directory.OpenData(index);
                            frames = new FrameReader(file, $"{output} reducer {reducer}");
                        }
                        while (!(have = frames!.TryRead(out content)) && segment < index!.Segments)
                        {
                            var (offset, length) = index.Extent(segment++, reducer);
                            frames.Start(offset, length);
                            LocalBytes += skip > 0 ? 0 : length;
                        }
                    }
                    catch (Exception error) when (error is IOException or UnauthorizedAccessException)
                    {
                        if (error is BlockMissingException || attempt > 0)
                        {
                            throw new MapOutputUnavailableException(output, locations.Node(map).Id, error.Message, error);
                        }
                        damaged = true;
                    }
                    if (damaged || !have)
                    {
                        break;
                    }
                    if (skip > 0)
                    {
                        skip--;
                        continue;
                    }
                    delivered++;
                    yield return content;
                }
            }
            finally
            {
                frames?.Dispose();
                file?.Dispose();
            }
            if (!damaged)
            {
                yield break;
            }
        }
    }

    private bool WaitForFrame()
    {
        var ready = remote!.Frames.WaitToReadAsync(cancellation);
        if (ready.IsCompletedSuccessfully)
        {
            return ready.Result;
        }
        var started = Stopwatch.GetTimestamp();
        try
        {
            return ready.AsTask().GetAwaiter().GetResult();
        }
        finally
        {
            waitTicks += Stopwatch.GetTimestamp() - started;
        }
    }

    private ReadOnlyMemory<byte> Decode(RemoteFrame frame)
    {
        var bytes = frame.Bytes.AsSpan(0, frame.Length);
        BlockFrame.TryReadHeader(bytes, frame.Length, out _, out var rawLength);
        if (raw.Length < rawLength)
        {
            if (raw.Length > 0)
            {
                ArrayPool<byte>.Shared.Return(raw);
            }
            raw = ArrayPool<byte>.Shared.Rent(rawLength);
        }
        if (!BlockFrame.TryDecode(bytes, raw, out _))
        {
            var (node, _) = locations.Node(frame.MapPartition);
            throw new MapOutputUnavailableException(locations.Output(frame.MapPartition), node, $"A frame of {locations.Output(frame.MapPartition)} from node {node} does not decompress.");
        }
        return raw.AsMemory(0, rawLength);
    }
}
