using System.Buffers;
using System.Buffers.Binary;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Yarnish.Blocks;

/// <summary>
/// Serves the blocks of applications on one node, without any web framework: the node agent maps <c>POST /blocks/{application}/fetch</c> and
/// <c>PUT /blocks/{application}/named/{block}</c> to it.
/// One instance per agent; thread-safe. Frames are sent as they are on disk, never decompressed or verified here: the reader does that.
/// <code>
/// per item, in the order of the request:
/// u8 status | i64 length | bytes                          status 0: found; 1: missing, 2: corrupt, bytes are then a text for people
/// bytes of a map output: i64[reducers] lengths, then the parts one after another; of a named block: the file
/// </code>
/// </summary>
/// <remarks>
/// <code>
/// app.MapPost("/blocks/{application}/fetch", async (string application, HttpContext http) =>
/// {
///     // 401 unless the bearer token is the application's, 404 when the node has no block directory of it
///     BlockFetchRequest request;
///     try { request = await BlockFetchRequest.ReadAsync(http.Request.Body, http.RequestAborted); }
///     catch (BlockRequestException error) { /* 400 with error.Message */ }
///     http.Response.ContentType = BlockFetchRequest.ContentType;
///     await server.ServeAsync(directory, request, http.Response.Body, http.RequestAborted);
/// });
/// </code>
/// </remarks>
public sealed class BlockServer
{
    private const int ChunkLength = 256 * 1024;

    private readonly ShuffleIndexCache indexes = new();
    private long bytesSent;
    private long itemsFound;
    private long itemsNotFound;
    private long itemsTaken;

    /// <summary>Bytes sent since the start.</summary>
    public long BytesSent => Interlocked.Read(ref bytesSent);

    /// <summary>Items served since the start.</summary>
    public long ItemsFound => Interlocked.Read(ref itemsFound);

    /// <summary>Items that were missing or corrupt since the start.</summary>
    public long ItemsNotFound => Interlocked.Read(ref itemsNotFound);

    /// <summary>Named blocks taken from others since the start.</summary>
    public long ItemsTaken => Interlocked.Read(ref itemsTaken);

    /// <summary>Writes the answer to a request. An I/O error after an item's bytes have begun is thrown: abort the connection, the reader asks again.</summary>
    /// <param name="blockDirectory">The application's block directory on this node; need not exist.</param>
    /// <param name="request">What is asked for.</param>
    /// <param name="response">The response body.</param>
    /// <param name="cancellation">The requester has gone.</param>
    public async Task ServeAsync(string blockDirectory, BlockFetchRequest request, Stream response, CancellationToken cancellation)
    {
        var directory = new BlockDirectory(blockDirectory, indexes);
        var buffer = ArrayPool<byte>.Shared.Rent(ChunkLength);
        try
        {
            foreach (var item in request.Items)
            {
                cancellation.ThrowIfCancellationRequested();
                SafeFileHandle? file = null;
                try
                {
                    ShuffleIndex? index = null;
                    string? problem = null;
                    var status = BlockStatus.Found;
                    var length = 0L;
                    try
                    {
                        (file, index, length) = Open(directory, item);
                    }
                    catch (BlockMissingException error)
                    {
                        (status, problem) = (BlockStatus.Missing, error.Message);
                    }
                    catch (Exception error) when (error is IOException or UnauthorizedAccessException)
                    {
                        (status, problem) = (BlockStatus.Corrupt, error.Message);
                    }

                    if (problem is not null)
                    {
                        Interlocked.Increment(ref itemsNotFound);
                        await SendProblemAsync(status, problem, response, cancellation).ConfigureAwait(false);
                        continue;
                    }

                    buffer[0] = (byte)BlockStatus.Found;
                    BinaryPrimitives.WriteInt64LittleEndian(buffer.AsSpan(1), length);
                    var filled = 9;
                    if (index is null)
                    {
                        await CopyAsync(file!, 0, length, buffer, filled, response, cancellation).ConfigureAwait(false);
                    }
                    else
                    {
                        for (var reducer = item.FirstReducer; reducer < item.FirstReducer + item.Reducers; reducer++)
                        {
                            if (filled + 8 > ChunkLength)
                            {
                                await response.WriteAsync(buffer.AsMemory(0, filled), cancellation).ConfigureAwait(false);
                                filled = 0;
                            }
                            BinaryPrimitives.WriteInt64LittleEndian(buffer.AsSpan(filled), index.LengthOf(reducer));
                            filled += 8;
                        }
                        for (var reducer = item.FirstReducer; reducer < item.FirstReducer + item.Reducers; reducer++)
                        {
                            for (var segment = 0; segment < index.Segments; segment++)
                            {
                                var (offset, extent) = index.Extent(segment, reducer);
                                if (extent > 0)
                                {
                                    await CopyAsync(file!, offset, extent, buffer, filled, response, cancellation).ConfigureAwait(false);
                                    filled = 0;
                                }
                            }
                        }
                        if (filled > 0)
                        {
                            await response.WriteAsync(buffer.AsMemory(0, filled), cancellation).ConfigureAwait(false);
                        }
                    }
                    Interlocked.Increment(ref itemsFound);
                    Interlocked.Add(ref bytesSent, length);
                }
                finally
                {
                    file?.Dispose();
                }
            }
            await response.FlushAsync(cancellation).ConfigureAwait(false);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>Takes a copy of a named block: verifies each frame while it comes, and gives the file its name when all is there. A block of that name is replaced.</summary>
    /// <param name="blockDirectory">The application's block directory on this node; must exist, so that nothing comes to life again after the application's end.</param>
    /// <param name="block">The block.</param>
    /// <param name="body">Its frames, as they are in the sender's file.</param>
    /// <param name="maximumBytes">More is refused.</param>
    /// <param name="cancellation">The sender has gone; nothing remains.</param>
    /// <exception cref="BlockRequestException">Not whole, intact frames, or too large: answer 400 with the message.</exception>
    /// <exception cref="BlockMissingException">The application does not run here: answer 404.</exception>
    /// <exception cref="IOException">The disk is full or broken: answer 507.</exception>
    public async Task ReceiveAsync(string blockDirectory, BlockId block, Stream body, long maximumBytes, CancellationToken cancellation)
    {
        if (!Directory.Exists(blockDirectory))
        {
            throw new BlockMissingException("This node has no blocks of the application: it never ran here, or it is over.");
        }
        var header = new byte[BlockFrame.HeaderLength];
        using var file = new BlockDirectory(blockDirectory, indexes).CreateNamed(block);
        while (await body.ReadAtLeastAsync(header, header.Length, throwOnEndOfStream: false, cancellation).ConfigureAwait(false) is var read and > 0)
        {
            var available = maximumBytes - file.Length;
            if (read < header.Length || !BlockFrame.TryReadHeader(header, available, out var payloadLength, out _))
            {
                throw new BlockRequestException($"Block {block} does not consist of whole frames, or has more than {maximumBytes} bytes.");
            }
            var length = BlockFrame.HeaderLength + payloadLength;
            var frame = ArrayPool<byte>.Shared.Rent(length);
            try
            {
                header.CopyTo(frame.AsSpan());
                var payload = await body.ReadAtLeastAsync(frame.AsMemory(BlockFrame.HeaderLength, payloadLength), payloadLength, throwOnEndOfStream: false, cancellation).ConfigureAwait(false);
                if (payload < payloadLength || !BlockFrame.IsIntact(frame.AsSpan(0, length)))
                {
                    throw new BlockRequestException($"A frame of block {block} was damaged on the way, at byte {file.Length}: send it again.");
                }
                file.AppendEncoded(frame.AsSpan(0, length));
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(frame);
            }
        }
        file.Commit();
        Interlocked.Increment(ref itemsTaken);
    }

    private static (SafeFileHandle File, ShuffleIndex? Index, long Length) Open(BlockDirectory directory, BlockFetchItem item)
    {
        if (item.Block.Value is not null)
        {
            var named = directory.OpenNamed(item.Block);
            return (named, null, RandomAccess.GetLength(named));
        }
        var index = directory.ReadIndex(item.Output);
        if (item.FirstReducer + item.Reducers > index.Reducers)
        {
            throw new BlockMissingException($"{item.Output} has {index.Reducers} reducers; asked for {item.FirstReducer} to {item.FirstReducer + item.Reducers - 1}.");
        }
        var file = directory.OpenData(index);
        var length = 8L * item.Reducers;
        for (var reducer = item.FirstReducer; reducer < item.FirstReducer + item.Reducers; reducer++)
        {
            length += index.LengthOf(reducer);
        }
        return (file, index, length);
    }

    // What is already in the buffer goes out with the first chunk.
    private static async Task CopyAsync(SafeFileHandle file, long offset, long length, byte[] buffer, int filled, Stream response, CancellationToken cancellation)
    {
        while (length > 0 || filled > 0)
        {
            var wanted = (int)Math.Min(length, ChunkLength - filled);
            if (wanted > 0)
            {
                var read = RandomAccess.Read(file, buffer.AsSpan(filled, wanted), offset);
                if (read == 0)
                {
                    throw new EndOfStreamException("The block became shorter while it was sent.");
                }
                filled += read;
                offset += read;
                length -= read;
            }
            await response.WriteAsync(buffer.AsMemory(0, filled), cancellation).ConfigureAwait(false);
            filled = 0;
        }
    }

    private static async Task SendProblemAsync(BlockStatus status, string problem, Stream response, CancellationToken cancellation)
    {
        var text = Encoding.UTF8.GetBytes(problem.Length > 2048 ? problem[..2048] : problem);
        var bytes = new byte[9 + text.Length];
        bytes[0] = (byte)status;
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(1), text.Length);
        text.CopyTo(bytes.AsSpan(9));
        await response.WriteAsync(bytes, cancellation).ConfigureAwait(false);
    }
}
