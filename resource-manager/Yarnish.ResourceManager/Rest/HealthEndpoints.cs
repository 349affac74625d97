using Yarnish.Protocol;
using Yarnish.ResourceManager.Cluster;

namespace Yarnish.ResourceManager.Rest;

/// <summary><c>/livez</c>: the process answers. <c>/readyz</c>: it recovered its state, and journal and broker can be reached.</summary>
internal static class HealthEndpoints
{
    /// <summary>Maps the addresses.</summary>
    public static void MapHealth(this IEndpointRouteBuilder routes, ClusterStatus status)
    {
        routes.MapGet("/livez", () => Results.Text("ok\n")).WithName("livez").WithSummary("The process answers.");
        routes.MapGet("/readyz", (HttpContext context) => Ready(status, context)).WithName("readyz").WithSummary("Whether it is ready; with ?verbose as JSON with each check.");
        routes.MapGet("/healthz", (HttpContext context) => Ready(status, context)).ExcludeFromDescription();
    }

    private static IResult Ready(ClusterStatus status, HttpContext context)
    {
        Check[] checks =
        [
            new("state", status.Shell is not null, status.Shell is null ? "The state of the cluster is not recovered yet." : ""),
            new("journal", status.JournalProblem.Length == 0, status.JournalProblem),
            new("broker", status.BrokerProblem.Length == 0, status.BrokerProblem),
        ];
        var ready = Array.TrueForAll(checks, check => check.Ok);
        var code = ready ? StatusCodes.Status200OK : StatusCodes.Status503ServiceUnavailable;
        return context.Request.Query.ContainsKey("verbose")
            ? Results.Json(new Readiness(ready, checks), ProtocolJson.Options, statusCode: code)
            : ready
                ? Results.Text("ok\n")
                : Results.Json(new ErrorInfo(string.Join(" ", checks.Where(check => !check.Ok).Select(check => check.Reason)), "not-ready"), ProtocolJson.Options, statusCode: code);
    }

    /// <summary>The verbose answer.</summary>
    internal sealed record Readiness(bool Ready, Check[] Checks);

    /// <summary>One thing that must work.</summary>
    internal sealed record Check(string Name, bool Ok, string Reason);
}
