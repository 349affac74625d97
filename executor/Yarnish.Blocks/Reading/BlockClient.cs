using System.Buffers;
using System.Buffers.Binary;
using System.Net;
using System.Net.Http.Headers;
using System.Text;

namespace Yarnish.Blocks;

/// <summary>
/// Fetches blocks of one application from the agents that serve them: pooled connections, batches per node, retries with backoff, every frame verified. One per
/// process; thread-safe. The executor reads shuffles and copies of named blocks through it, the driver large results.
/// </summary>
public sealed class BlockClient : IDisposable
{
    private readonly HttpClient http;
    private readonly ApplicationId application;

    /// <summary>For an application.</summary>
    /// <param name="application">The application.</param>
    /// <param name="token">Its token, see <c>ClusterSecret</c>; empty when the cluster has no secret.</param>
    /// <param name="options">Bounds; null for the defaults.</param>
    /// <param name="time">The clock of backoffs; null for the system's.</param>
    public BlockClient(ApplicationId application, string token, BlockClientOptions? options = null, TimeProvider? time = null)
    {
        this.application = application;
        Options = options ?? new BlockClientOptions();
        Time = time ?? TimeProvider.System;
        http = new HttpClient(new SocketsHttpHandler
        {
            ConnectTimeout = TimeSpan.FromSeconds(3),
            PooledConnectionIdleTimeout = TimeSpan.FromMinutes(2),
            MaxConnectionsPerServer = 16,
            UseProxy = false,
            UseCookies = false,
            AllowAutoRedirect = false,
        })
        {
            Timeout = Timeout.InfiniteTimeSpan,
        };
        if (token.Length > 0)
        {
            http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", token);
        }
    }

    internal BlockClientOptions Options { get; }

    internal TimeProvider Time { get; }

    /// <summary>Reads a named block whole: verified and decompressed. Tries again as <see cref="BlockClientOptions"/> says.</summary>
    /// <param name="nodeUrl">Base URL of the agent that serves it.</param>
    /// <param name="block">The block.</param>
    /// <param name="maximumBytes">Largest content accepted, decompressed; more is refused.</param>
    /// <param name="cancellation">Gives up.</param>
    /// <exception cref="BlockMissingException">The node does not have it.</exception>
    /// <exception cref="BlockCorruptException">It is damaged, twice in a row.</exception>
    /// <exception cref="InvalidDataException">It is larger than allowed.</exception>
    /// <exception cref="IOException">The node cannot be reached.</exception>
    /// <exception cref="HttpRequestException">The node refuses, such as for a wrong token.</exception>
    public async Task<byte[]> ReadAsync(string nodeUrl, BlockId block, long maximumBytes = 1024L * 1024 * 1024, CancellationToken cancellation = default)
    {
        var corrupt = 0;
        for (var failures = 0; ;)
        {
            try
            {
                var content = new ArrayBufferWriter<byte>();
                await ReadOnceAsync(nodeUrl, block, frame => Decode(frame.Span, content, nodeUrl, block, maximumBytes), cancellation).ConfigureAwait(false);
                return content.WrittenSpan.ToArray();
            }
            catch (BlockCorruptException) when (corrupt++ == 0)
            {
                // Once more: the network may have been at fault, not the disk.
            }
            catch (Exception error) when (IsTransient(error, cancellation))
            {
                if (failures >= Options.Retries)
                {
                    throw new IOException($"The node at {nodeUrl} did not deliver block {block} after {failures + 1} tries: {error.Message}", error);
                }
                await Task.Delay(Backoff(failures++), Time, cancellation).ConfigureAwait(false);
            }
        }
    }

    /// <summary>
    /// Gives a node a copy of a named block: its agent verifies each frame and keeps it in the application's block directory there. Tries again as <see cref="BlockClientOptions"/> says.
    /// </summary>
    /// <param name="nodeUrl">Base URL of the agent.</param>
    /// <param name="source">Where the block is on this machine.</param>
    /// <param name="block">The block.</param>
    /// <param name="cancellation">Gives up.</param>
    /// <exception cref="BlockMissingException">It is not in <paramref name="source"/>.</exception>
    /// <exception cref="IOException">The node cannot be reached, its disk is full, or the application does not run there (any more).</exception>
    /// <exception cref="HttpRequestException">The node refuses, such as for a wrong token.</exception>
    public async Task WriteAsync(string nodeUrl, BlockDirectory source, BlockId block, CancellationToken cancellation = default)
    {
        for (var failures = 0; ;)
        {
            try
            {
                await WriteOnceAsync(nodeUrl, source, block, cancellation).ConfigureAwait(false);
                return;
            }
            catch (HttpRequestException error) when (error.StatusCode is HttpStatusCode.NotFound or HttpStatusCode.InsufficientStorage)
            {
                throw new IOException(error.Message, error);
            }
            catch (Exception error) when (error is not BlockMissingException && IsTransient(error, cancellation))
            {
                if (failures >= Options.Retries)
                {
                    throw new IOException($"The node at {nodeUrl} did not take block {block} after {failures + 1} tries: {error.Message}", error);
                }
                await Task.Delay(Backoff(failures++), Time, cancellation).ConfigureAwait(false);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose() => http.Dispose();

    /// <summary>Asks a node once for a named block; hands over its frames, verified and still encoded, each valid during the call only.</summary>
    internal async Task ReadOnceAsync(string nodeUrl, BlockId block, Action<ReadOnlyMemory<byte>> take, CancellationToken cancellation)
    {
        await using var answer = await OpenAsync(nodeUrl, new BlockFetchRequest([BlockFetchItem.Named(block)]), cancellation).ConfigureAwait(false);
        var (status, length) = await answer.ReadItemAsync().ConfigureAwait(false);
        if (status != BlockStatus.Found)
        {
            var text = await answer.ReadTextAsync(length).ConfigureAwait(false);
            throw status == BlockStatus.Missing ? new BlockMissingException(text) : new BlockCorruptException(text);
        }
        while (length > 0)
        {
            var frameLength = await answer.ReadFrameHeaderAsync(length).ConfigureAwait(false);
            var frame = await answer.ReadFrameAsync(frameLength).ConfigureAwait(false);
            try
            {
                if (!BlockFrame.IsIntact(frame.AsSpan(0, frameLength)))
                {
                    throw new BlockCorruptException($"A frame of block {block} from {nodeUrl} is damaged.");
                }
                take(frame.AsMemory(0, frameLength));
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(frame);
            }
            length -= frameLength;
        }
    }

    /// <summary>Appends the raw bytes of an intact frame.</summary>
    internal static void Decode(ReadOnlySpan<byte> frame, ArrayBufferWriter<byte> content, string nodeUrl, BlockId block, long maximumBytes)
    {
        _ = BlockFrame.TryReadHeader(frame, frame.Length, out _, out var rawLength);
        if (content.WrittenCount + (long)rawLength > Math.Min(maximumBytes, Array.MaxLength))
        {
            throw new InvalidDataException($"Block {block} from {nodeUrl} is larger than the {maximumBytes} bytes allowed.");
        }
        if (!BlockFrame.TryDecode(frame, content.GetSpan(rawLength + 1), out _))
        {
            throw new BlockCorruptException($"A frame of block {block} from {nodeUrl} does not decompress.");
        }
        content.Advance(rawLength);
    }

    internal TimeSpan Backoff(int failures) => Options.FirstBackoff * Math.Pow(4, failures);

    /// <summary>Whether a failure of the network or the server may go away.</summary>
    internal static bool IsTransient(Exception error, CancellationToken cancellation) =>
        !cancellation.IsCancellationRequested
        && error is HttpRequestException { StatusCode: not (HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden or HttpStatusCode.BadRequest) }
            or (IOException and not (BlockMissingException or BlockCorruptException or MapOutputUnavailableException))
            or TimeoutException;

    private async Task WriteOnceAsync(string nodeUrl, BlockDirectory source, BlockId block, CancellationToken cancellation)
    {
        await using var file = new FileStream(source.OpenNamed(block), FileAccess.Read, bufferSize: 0);
        using var idle = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        using var message = new HttpRequestMessage(HttpMethod.Put, $"{nodeUrl.TrimEnd('/')}/blocks/{application}/named/{block}");
        // A node that refuses says so before the bytes are sent; else the connection would break under them, and the reason with it.
        message.Headers.ExpectContinue = true;
        // The timeout runs anew with each piece that the node takes.
        message.Content = new StreamContent(new WatchedStream(file, () => idle.CancelAfter(Options.IdleTimeout)), 256 * 1024);
        message.Content.Headers.ContentType = new MediaTypeHeaderValue(BlockFetchRequest.ContentType);
        idle.CancelAfter(Options.IdleTimeout);
        try
        {
            using var response = await http.SendAsync(message, HttpCompletionOption.ResponseContentRead, idle.Token).ConfigureAwait(false);
            if (!response.IsSuccessStatusCode)
            {
                var text = await response.Content.ReadAsStringAsync(idle.Token).ConfigureAwait(false);
                throw new HttpRequestException(
                    $"{nodeUrl} answered {(int)response.StatusCode} {response.ReasonPhrase} to block {block}: {(text.Length > 500 ? text[..500] : text)}", null, response.StatusCode);
            }
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            throw new TimeoutException($"{nodeUrl} took nothing of block {block} for {Options.IdleTimeout.TotalSeconds:0} s.");
        }
    }

    /// <summary>Sends a request; the answer is read item by item.</summary>
    internal async Task<BlockAnswer> OpenAsync(string nodeUrl, BlockFetchRequest request, CancellationToken cancellation)
    {
        var idle = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        HttpResponseMessage? response = null;
        try
        {
            using var message = new HttpRequestMessage(HttpMethod.Post, $"{nodeUrl.TrimEnd('/')}/blocks/{application}/fetch");
            message.Content = new ByteArrayContent(request.ToBytes());
            message.Content.Headers.ContentType = new MediaTypeHeaderValue(BlockFetchRequest.ContentType);
            idle.CancelAfter(Options.IdleTimeout);
            try
            {
                response = await http.SendAsync(message, HttpCompletionOption.ResponseHeadersRead, idle.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
            {
                throw new TimeoutException($"{nodeUrl} did not answer within {Options.IdleTimeout.TotalSeconds:0} s.");
            }
            if (!response.IsSuccessStatusCode)
            {
                throw new HttpRequestException($"{nodeUrl} answered {(int)response.StatusCode} {response.ReasonPhrase} to a fetch of blocks.", null, response.StatusCode);
            }
            var stream = await response.Content.ReadAsStreamAsync(cancellation).ConfigureAwait(false);
            return new BlockAnswer(response, stream, idle, Options.IdleTimeout, cancellation);
        }
        catch
        {
            response?.Dispose();
            idle.Dispose();
            throw;
        }
    }
}

/// <summary>The answer to one request, while it is read. The timeout runs only while a read is under way, not while the reader has no room for more.</summary>
internal sealed class BlockAnswer(HttpResponseMessage response, Stream stream, CancellationTokenSource idle, TimeSpan idleTimeout, CancellationToken cancellation) : IAsyncDisposable
{
    private readonly byte[] header = new byte[BlockFrame.HeaderLength];

    /// <summary>How the next item is answered, and how many bytes follow.</summary>
    public async ValueTask<(BlockStatus Status, long Length)> ReadItemAsync()
    {
        await ReadAsync(header.AsMemory(0, 9)).ConfigureAwait(false);
        var length = BinaryPrimitives.ReadInt64LittleEndian(header.AsSpan(1));
        return header[0] <= (byte)BlockStatus.Corrupt && length >= 0
            ? ((BlockStatus)header[0], length)
            : throw new IOException("The answer is not one of a block server.");
    }

    /// <summary>The text of an item that was not found.</summary>
    public async ValueTask<string> ReadTextAsync(long length)
    {
        if (length > 16 * 1024)
        {
            throw new IOException("The answer is not one of a block server.");
        }
        var text = new byte[length];
        await ReadAsync(text).ConfigureAwait(false);
        return Encoding.UTF8.GetString(text);
    }

    /// <summary>One of the lengths before the parts of a map output.</summary>
    public async ValueTask<long> ReadLengthAsync()
    {
        await ReadAsync(header.AsMemory(0, 8)).ConfigureAwait(false);
        return BinaryPrimitives.ReadInt64LittleEndian(header);
    }

    /// <summary>The whole length of the next frame, of which the header has been read.</summary>
    public async ValueTask<int> ReadFrameHeaderAsync(long available)
    {
        await ReadAsync(header.AsMemory(0, (int)Math.Min(BlockFrame.HeaderLength, available))).ConfigureAwait(false);
        return BlockFrame.TryReadHeader(header, available, out var payloadLength, out _)
            ? BlockFrame.HeaderLength + payloadLength
            : throw new BlockCorruptException("A frame has an impossible header.");
    }

    /// <summary>The frame whose header was just read, in a rented array.</summary>
    public async ValueTask<byte[]> ReadFrameAsync(int length)
    {
        var frame = ArrayPool<byte>.Shared.Rent(length);
        header.CopyTo(frame.AsSpan());
        try
        {
            await ReadAsync(frame.AsMemory(BlockFrame.HeaderLength, length - BlockFrame.HeaderLength)).ConfigureAwait(false);
        }
        catch
        {
            ArrayPool<byte>.Shared.Return(frame);
            throw;
        }
        return frame;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await stream.DisposeAsync().ConfigureAwait(false);
        response.Dispose();
        idle.Dispose();
    }

    private async ValueTask ReadAsync(Memory<byte> target)
    {
        idle.CancelAfter(idleTimeout);
        try
        {
            await stream.ReadExactlyAsync(target, idle.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            throw new TimeoutException($"The server sent nothing for {idleTimeout.TotalSeconds:0} s.");
        }
        finally
        {
            idle.CancelAfter(Timeout.InfiniteTimeSpan);
        }
    }
}

/// <summary>Says each time something is read from a stream.</summary>
internal sealed class WatchedStream(Stream inner, Action read) : Stream
{
    public override bool CanRead => true;

    public override bool CanSeek => inner.CanSeek;

    public override bool CanWrite => false;

    public override long Length => inner.Length;

    public override long Position { get => inner.Position; set => inner.Position = value; }

    public override int Read(byte[] buffer, int offset, int count)
    {
        read();
        return inner.Read(buffer, offset, count);
    }

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        read();
        return inner.ReadAsync(buffer, cancellationToken);
    }

    public override long Seek(long offset, SeekOrigin origin) => inner.Seek(offset, origin);

    public override void Flush()
    {
    }

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
}
