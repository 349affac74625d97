using System.Collections.Immutable;
using Microsoft.AspNetCore.Mvc;
using Yarnish.Protocol;
using Yarnish.ResourceManager.Cluster;
using Yarnish.Scheduling;

namespace Yarnish.ResourceManager.Rest;

/// <summary><c>/api/v1</c>: the cluster, its nodes and applications. Reads come from the published snapshot, writes go through the inbox.</summary>
internal static class ClusterEndpoints
{
    private const int MaximumReason = 1_000;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    /// <summary>Maps the addresses.</summary>
    public static void MapCluster(this IEndpointRouteBuilder routes, ClusterStatus status, ResourceManagerOptions options, string otlpEndpoint)
    {
        routes.MapGet("/cluster", () => Snapshot(status).Cluster)
            .WithName("getCluster").WithSummary("The cluster at a glance.").Produces<ErrorInfo>(503);

        routes.MapGet("/cluster/connection", () => new ClusterConnection(options.ClusterName, options.RabbitMq, options.Redis, Snapshot(status).Cluster.Epoch, otlpEndpoint))
            .WithName("getConnection").WithSummary("What agents and drivers need to join.").Produces<ErrorInfo>(401).Produces<ErrorInfo>(503);

        routes.MapGet("/nodes", () => Snapshot(status).Nodes)
            .WithName("listNodes").WithSummary("Every node, lost ones included until they are forgotten.").Produces<ErrorInfo>(503);

        routes.MapGet("/apps", ([FromQuery] string? state) => ImmutableArray.CreateRange(Snapshot(status).Applications
                .Where(application => state is null || application.Info.State.Equals(state, StringComparison.OrdinalIgnoreCase))
                .Select(application => application.Info)))
            .WithName("listApps").WithSummary("Live applications in the order they registered, then ended ones, last ended first; ?state= keeps one state.").Produces<ErrorInfo>(503);

        routes.MapGet("/apps/{id}", (string id) => Find(status, id).Info)
            .WithName("getApp").WithSummary("One application, by id or a unique prefix of it; says why each of its asks waits.")
            .Produces<ErrorInfo>(404).Produces<ErrorInfo>(409).Produces<ErrorInfo>(503);

        routes.MapGet("/apps/{id}/containers", (string id) => Find(status, id).Containers)
            .WithName("listContainers").WithSummary("Live containers of an application, then recently ended ones.")
            .Produces<ErrorInfo>(404).Produces<ErrorInfo>(409).Produces<ErrorInfo>(503);

        routes.MapPost("/apps/{id}/kill", (string id, [FromBody] KillRequest? request, HttpContext context) => KillAsync(status, id, request, context))
            .WithName("killApp").WithSummary("Ends an application; one that ended already stays as it is.")
            .Produces<ApplicationInfo>().Produces<ErrorInfo>(404).Produces<ErrorInfo>(409).Produces<ErrorInfo>(503);
    }

    private static async Task<ApplicationInfo> KillAsync(ClusterStatus status, string id, KillRequest? request, HttpContext context)
    {
        if (request?.Reason is { Length: > MaximumReason })
        {
            throw RestException.Invalid($"The reason has {request.Reason.Length} characters: at most {MaximumReason} are kept.");
        }
        var application = Find(status, id).Info;
        if (application.FinishedAt is not null)
        {
            return application;
        }
        var reason = $"Killed by an operator from {context.Connection.RemoteIpAddress}" + (string.IsNullOrWhiteSpace(request?.Reason) ? "." : $": {request.Reason}");
        var done = status.Shell?.TryPost(new ApplicationKilled(application.Id, reason))
            ?? throw RestException.Busy("The resource manager has more to do than it can take: try again in a moment.");
        try
        {
            await done.WaitAsync(Patience, context.RequestAborted);
        }
        catch (Exception error) when (error is TimeoutException or TaskCanceledException && !context.RequestAborted.IsCancellationRequested)
        {
            throw RestException.Busy($"The kill of {application.Id} was not confirmed within {Patience.TotalSeconds} s: ask for its state, and try again if it still runs.");
        }
        return Snapshot(status).FindApplication(application.Id)?.Info ?? application;
    }

    internal static ClusterSnapshot Snapshot(ClusterStatus status) => status.Snapshot
        ?? throw RestException.NotReady($"The resource manager is not ready: {string.Join(" ", new[] { status.JournalProblem, status.BrokerProblem }.Where(problem => problem.Length > 0))}");

    internal static ApplicationSnapshot Find(ClusterStatus status, string id)
    {
        var found = new List<ApplicationSnapshot>();
        foreach (var application in Snapshot(status).Applications)
        {
            if (application.Info.Id.Value == id)
            {
                return application;
            }
            if (application.Info.Id.Value.StartsWith(id, StringComparison.Ordinal))
            {
                found.Add(application);
            }
        }
        return found switch
        {
            [] => throw RestException.NotFound($"There is no application '{id}': GET /api/v1/apps lists those of this cluster."),
            [var only] => only,
            _ => throw new RestException(StatusCodes.Status409Conflict, "ambiguous",
                $"'{id}' is the beginning of {found.Count} applications, such as {string.Join(", ", found.Take(3).Select(application => application.Info.Id))}: give more of the id."),
        };
    }
}
