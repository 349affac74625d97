using System.Buffers;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.Logging;
using Yarnish.Blocks;
using Yarnish.Protocol;

namespace Yarnish.Integration.Tests.Executor;

/// <summary>A node that serves blocks over real HTTP as the agent does, with faults to order.</summary>
internal sealed class BlockNode : IAsyncDisposable
{
    public const string Token = "the-application-token";

    private readonly WebApplication web;
    private readonly BlockServer server = new();
    private int requests;

    private BlockNode(string name)
    {
        Id = new NodeId(name);
        Directory = new BlockDirectory(Path.Combine(Path.GetTempPath(), $"yarnish-{name}-{Guid.NewGuid():N}"));
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        web = builder.Build();
        web.MapPost("/blocks/{application}/fetch", ServeAsync);
        web.MapPut("/blocks/{application}/named/{block}", TakeAsync);
    }

    public static ApplicationId Application { get; } = new("app-1");

    public NodeId Id { get; }

    public string Url => web.Urls.First();

    public BlockDirectory Directory { get; }

    /// <summary>What to do instead of answering, by number of the request from 1; false answers after all.</summary>
    public Func<int, HttpContext, Task<bool>> Fault { get; set; } = static (_, _) => Task.FromResult(false);

    /// <summary>What happens to the bytes of an answer, by number of the request.</summary>
    public Func<int, Stream, Stream> Body { get; set; } = static (_, body) => body;

    public int Requests => requests;

    public static async Task<BlockNode> StartAsync(string name = "node-2")
    {
        var node = new BlockNode(name);
        await node.web.StartAsync();
        return node;
    }

    public MapOutput Write(int map, int reducers, IEnumerable<(int Reducer, byte[] Row)> rows, long memory = 64 * 1024 * 1024)
    {
        var id = new MapOutputId(new ShuffleId(0), map, new TaskAttemptId(map + 100));
        using var writer = new ShuffleFileWriter(Directory, id, reducers, memory);
        foreach (var (reducer, row) in rows)
        {
            writer.GetPart(reducer).Write(row);
            writer.RowWritten(reducer);
        }
        writer.Finish();
        return new MapOutput(id.ShuffleId, map, id.AttemptId, Id, Url, writer.PartBytes.ToArray().Select(SizeClasses.Of).ToArray());
    }

    public async ValueTask DisposeAsync()
    {
        await web.DisposeAsync();
        Directory.DeleteAll();
    }

    private async Task TakeAsync(string application, string block, HttpContext http)
    {
        if (http.Request.Headers.Authorization != $"Bearer {Token}" || application != Application.Value)
        {
            http.Response.StatusCode = 401;
            return;
        }
        await server.ReceiveAsync(Directory.Root, BlockId.Create(block), http.Request.Body, 1 << 30, http.RequestAborted);
        http.Response.StatusCode = 201;
    }

    private async Task ServeAsync(string application, HttpContext http)
    {
        var number = Interlocked.Increment(ref requests);
        if (http.Request.Headers.Authorization != $"Bearer {Token}" || application != Application.Value)
        {
            http.Response.StatusCode = 401;
            return;
        }
        if (await Fault(number, http))
        {
            return;
        }
        var request = await BlockFetchRequest.ReadAsync(http.Request.Body, http.RequestAborted);
        http.Response.ContentType = BlockFetchRequest.ContentType;
        await server.ServeAsync(Directory.Root, request, Body(number, http.Response.Body), http.RequestAborted);
    }
}

/// <summary>Lets bytes pass, then does something at one place of the stream.</summary>
internal sealed class TamperingStream(Stream inner, long at, Func<byte, byte>? change) : Stream
{
    private long position;

    public override bool CanRead => false;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position { get => position; set => throw new NotSupportedException(); }

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        var bytes = buffer.ToArray();
        if (at >= position && at < position + bytes.Length)
        {
            if (change is null)
            {
                await inner.WriteAsync(bytes.AsMemory(0, (int)(at - position)), cancellationToken);
                await inner.FlushAsync(cancellationToken);
                throw new IOException("The node dies here.");
            }
            bytes[at - position] = change(bytes[at - position]);
        }
        position += bytes.Length;
        await inner.WriteAsync(bytes, cancellationToken);
    }

    public override Task FlushAsync(CancellationToken cancellationToken) => inner.FlushAsync(cancellationToken);

    public override void Flush() => throw new NotSupportedException();

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
}
