using Microsoft.AspNetCore.Http.Features;
using Yarnish.Blocks;
using Yarnish.NodeAgent.Containers;
using Yarnish.NodeAgent.Files;
using Yarnish.NodeAgent.Logs;
using Yarnish.NodeAgent.Node;
using Yarnish.NodeAgent.Processes;
using Yarnish.Protocol;

namespace Yarnish.NodeAgent.Http;

/// <summary>
/// What an agent serves: its own state, logs of containers, cached files for peers, blocks of applications. Everything but the two probes wants the API
/// token as bearer when the cluster has a secret; blocks want the token of their application instead.
/// </summary>
internal sealed class AgentEndpoints(
    NodeAgentOptions options, Func<NodeIdentity> identity, DataDirectory directory, Func<AgentLoop> loop, BlobCache cache, ContainerLogs logs, MemoryWatch memory, ContainerCgroups cgroups, TimeProvider clock)
{
    /// <summary>Offset of the first byte in an answer with a log.</summary>
    public const string LogStart = "Yarnish-Log-Start";

    /// <summary>Where to read on after an answer with a log that was not followed.</summary>
    public const string LogNext = "Yarnish-Log-Next";

    /// <summary>Most bytes of one named block that is put here: a persisted partition, a piece of a broadcast.</summary>
    private const long MaximumBlockBytes = 2L << 30;

    private static readonly TimeSpan FollowPause = TimeSpan.FromMilliseconds(200);

    private readonly BlockServer _blocks = new();
    private readonly DateTimeOffset _startedAt = clock.GetUtcNow();
    private readonly string _token = ClusterSecret.ApiToken(options.Secret);

    /// <summary>Maps all routes.</summary>
    public void Map(WebApplication application)
    {
        application.MapGet("/livez", () => Results.Text("ok\n"));
        application.MapGet("/readyz", () => loop().Snapshot.Registered
            ? Results.Text("ok\n")
            : Results.Text("not registered: the resource manager does not know this node yet\n", statusCode: StatusCodes.Status503ServiceUnavailable));

        var guarded = application.MapGroup("").AddEndpointFilter(async (context, next) =>
            ClusterSecret.Accepts(context.HttpContext.Request.Headers.Authorization, _token) ? await next(context) : Unauthorized("the API token of the cluster"));
        guarded.MapGet("/api/v1/node", Node);
        guarded.MapGet("/containers", () => Json(new AgentContainers([.. loop().Snapshot.Containers.Select(View)])));
        guarded.MapGet("/containers/{id}", (string id) => loop().Snapshot.Containers.FirstOrDefault(container => container.Record.ContainerId.Value == id) is { } found
            ? Json(View(found))
            : NotFound($"Container '{id}' is not on this node (any more). Its logs may be: /containers/{id}/logs/stdout"));
        guarded.MapGet("/containers/{id}/logs/{stream}", LogsAsync);
        // Both spellings: peers take an agent like a resource manager as a source of files.
        guarded.MapMethods("/blobs/{sha256}", ["GET", "HEAD"], BlobFile);
        guarded.MapMethods("/api/v1/blobs/{sha256}", ["GET", "HEAD"], BlobFile);

        application.MapPost("/blocks/{application}/fetch", BlocksAsync);
        application.MapPut("/blocks/{application}/named/{block}", TakeBlockAsync);
    }

    private static IResult Json<T>(T value) => Results.Json(value, ProtocolJson.Options);

    private static IResult Error(int status, string error, string code) => Results.Json(new ErrorInfo(error, code), ProtocolJson.Options, statusCode: status);

    private static IResult NotFound(string error) => Error(StatusCodes.Status404NotFound, error, "not-found");

    private static IResult Invalid(string error) => Error(StatusCodes.Status400BadRequest, error, "invalid");

    private static IResult Unauthorized(string wanted) =>
        Error(StatusCodes.Status401Unauthorized, $"This request needs {wanted} as bearer token. Is Yarnish__Secret the same on both sides?", "unauthorized");

    private IResult Node()
    {
        var snapshot = loop().Snapshot;
        var self = identity();
        var live = snapshot.Containers.Where(container => container.State != ContainerState.Exited).ToArray();
        return Json(new AgentInfo
        {
            Id = self.NodeId,
            Incarnation = self.Incarnation,
            Version = self.Version,
            Url = self.Url,
            Host = self.Host,
            Rack = self.Rack,
            Partition = self.Partition,
            Registered = snapshot.Registered,
            Epoch = snapshot.Epoch,
            Healthy = snapshot.Healthy,
            HealthReason = snapshot.HealthReason,
            Capacity = self.Capacity,
            Allocated = new Resources(live.Sum(container => container.Record.Resources.MemoryBytes), live.Sum(container => container.Record.Resources.MilliCores)),
            Containers = live.Length,
            Cgroups = cgroups.Available,
            CachedFiles = cache.Count,
            CachedBytes = cache.Bytes,
            BlockBytesSent = _blocks.BytesSent,
            ResidentBytes = Environment.WorkingSet,
            StartedAt = _startedAt,
        });
    }

    private AgentContainer View(ContainerView view) => new()
    {
        Id = view.Record.ContainerId,
        ApplicationId = view.Record.ApplicationId,
        AskId = view.Record.AskId,
        State = view.State,
        Resources = view.Record.Resources,
        MemoryUsedBytes = memory.UsedBy(view.Record.ContainerId),
        ProcessId = view.Process?.ProcessId,
        LaunchedAt = view.Record.LaunchedAt,
        Exit = view.Exit,
    };

    private async Task<IResult> LogsAsync(string id, string stream, HttpContext http, long offset = 0, long limit = long.MaxValue, bool follow = false)
    {
        if (!ContainerLogs.Streams.Contains(stream))
        {
            return Invalid($"There is no log '{stream}': ask for {string.Join(" or ", ContainerLogs.Streams)}.");
        }
        if (limit < 0)
        {
            return Invalid("limit may not be negative.");
        }
        ContainerId container;
        try
        {
            container = ContainerId.Create(id);
        }
        catch (FormatException error)
        {
            return Invalid(error.Message);
        }
        var path = directory.FindLogs(container);
        if (path is null)
        {
            // Between its launch and its start a container has no log yet; followers wait for it.
            if (!follow || !IsLive(container))
            {
                return NotFound($"This node has no logs of container {id}: it never ran here, or its logs were removed {options.LogRetentionHours} hours after its end.");
            }
            await loop().WaitAsync(_ => directory.FindLogs(container) is not null || !IsLive(container), http.RequestAborted);
            path = directory.FindLogs(container);
            if (path is null)
            {
                return NotFound($"Container {id} ended before it wrote a log.");
            }
        }

        var first = logs.Read(path, stream, offset, 0);
        var next = first.Start;
        var end = follow ? long.MaxValue : first.End;
        var stop = limit > end - next ? end : next + limit;
        http.Response.ContentType = "text/plain; charset=utf-8";
        http.Response.Headers[LogStart] = next.ToString(System.Globalization.CultureInfo.InvariantCulture);
        if (!follow)
        {
            http.Response.Headers[LogNext] = stop.ToString(System.Globalization.CultureInfo.InvariantCulture);
            http.Response.ContentLength = null;
        }
        http.Features.Get<IHttpResponseBodyFeature>()?.DisableBuffering();
        try
        {
            while (next < stop)
            {
                // Looked at before the read: what a container wrote before it ended is then surely in what is read.
                var live = IsLive(container);
                var part = logs.Read(path, stream, next, (int)Math.Min(ContainerLogs.MaximumRead, stop - next));
                if (part.Bytes.Length > 0)
                {
                    await http.Response.Body.WriteAsync(part.Bytes, http.RequestAborted);
                    next = part.Next;
                }
                else if (!follow || !live)
                {
                    break;
                }
                else
                {
                    await http.Response.Body.FlushAsync(http.RequestAborted);
                    await Task.Delay(FollowPause, clock, http.RequestAborted);
                }
            }
        }
        catch (OperationCanceledException) when (http.RequestAborted.IsCancellationRequested)
        {
            // The reader has gone.
        }
        return Results.Empty;
    }

    private bool IsLive(ContainerId container) =>
        loop().Snapshot.Containers.Any(view => view.Record.ContainerId == container && view.State != ContainerState.Exited);

    private IResult BlobFile(string sha256)
    {
        if (!Blob.IsHash(sha256))
        {
            return Invalid($"'{sha256}' is not a SHA-256: 64 lower-case hexadecimal digits are wanted.");
        }
        return cache.OpenRead(sha256) is { } file ? Results.Stream(file, "application/octet-stream", enableRangeProcessing: true) : NotFound($"File {sha256} is not in the cache of this node.");
    }

    private async Task<IResult> TakeBlockAsync(string application, string block, HttpContext http)
    {
        try
        {
            var id = ApplicationId.Create(application);
            if (!ClusterSecret.Accepts(http.Request.Headers.Authorization, ClusterSecret.ApplicationToken(options.Secret, id)))
            {
                return Unauthorized($"the token of application {id}");
            }
            http.Features.Get<IHttpMaxRequestBodySizeFeature>()!.MaxRequestBodySize = MaximumBlockBytes;
            await _blocks.ReceiveAsync(directory.Blocks(id), BlockId.Create(block), http.Request.Body, MaximumBlockBytes, http.RequestAborted);
            return Results.StatusCode(StatusCodes.Status201Created);
        }
        catch (Exception error) when (error is FormatException or BlockRequestException or BadHttpRequestException)
        {
            return Invalid(error.Message);
        }
        catch (BlockMissingException error)
        {
            return NotFound(error.Message);
        }
        catch (OperationCanceledException) when (http.RequestAborted.IsCancellationRequested)
        {
            return Results.Empty;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException && !http.RequestAborted.IsCancellationRequested)
        {
            return Error(StatusCodes.Status507InsufficientStorage, $"Block {block} cannot be written on this node: {error.Message}", "disk");
        }
    }

    private async Task BlocksAsync(string application, HttpContext http)
    {
        ApplicationId id;
        BlockFetchRequest request;
        try
        {
            id = ApplicationId.Create(application);
            if (!ClusterSecret.Accepts(http.Request.Headers.Authorization, ClusterSecret.ApplicationToken(options.Secret, id)))
            {
                await Unauthorized($"the token of application {id}").ExecuteAsync(http);
                return;
            }
            if (!Directory.Exists(directory.Blocks(id)))
            {
                await NotFound($"This node has no blocks of application {id}: it never ran here, or it is over.").ExecuteAsync(http);
                return;
            }
            request = await BlockFetchRequest.ReadAsync(http.Request.Body, http.RequestAborted);
        }
        catch (Exception error) when (error is FormatException or BlockRequestException)
        {
            await Invalid(error.Message).ExecuteAsync(http);
            return;
        }
        http.Response.ContentType = BlockFetchRequest.ContentType;
        try
        {
            await _blocks.ServeAsync(directory.Blocks(id), request, http.Response.Body, http.RequestAborted);
        }
        catch (OperationCanceledException) when (http.RequestAborted.IsCancellationRequested)
        {
            // The reader has gone.
        }
        catch (IOException)
        {
            // In the middle of an item nothing else can be said: the reader sees a broken answer and asks again.
            http.Abort();
        }
    }
}
