using System.Net;
using Yarnish.Protocol;

namespace Yarnish.ResourceManager.Rest;

/// <summary>Who may call: whoever knows the cluster's token; without a secret, programs of this machine but no web page that a browser here happens to show.</summary>
internal static class RestAuthorization
{
    /// <summary>Adds the step: everything but <c>/livez</c>, <c>/readyz</c> and <c>/healthz</c> needs the token.</summary>
    /// <param name="app">The program.</param>
    /// <param name="secret">The cluster's secret; empty when it has none.</param>
    public static void UseRestAuthorization(this WebApplication app, string secret)
    {
        var token = ClusterSecret.ApiToken(secret);
        app.Use((context, next) =>
        {
            if (secret.Length == 0)
            {
                RefuseForeignPages(context);
            }
            else if (!IsOpen(context.Request.Path) && !ClusterSecret.Accepts(context.Request.Headers.Authorization, token))
            {
                throw new RestException(StatusCodes.Status401Unauthorized, "unauthorized",
                    context.Request.Headers.Authorization.Count == 0
                        ? $"{context.Request.Path} needs the cluster's token: set Yarnish__Secret to the secret that the resource manager was started with."
                        : "The token is not that of this cluster: Yarnish__Secret here and at the resource manager differ.");
            }
            return next(context);
        });
    }

    private static bool IsOpen(PathString path) => path == "/livez" || path == "/readyz" || path == "/healthz";

    /// <summary>Without a secret the bound address is all the protection there is, and a browser on this machine would lend it to any page: refuse foreign origins and rebound names.</summary>
    private static void RefuseForeignPages(HttpContext context)
    {
        var origin = context.Request.Headers.Origin.ToString();
        var host = context.Request.Host.Host;
        if (!IsLoopbackName(host) || (origin.Length > 0 && !(Uri.TryCreate(origin, UriKind.Absolute, out var uri) && IsLoopbackName(uri.Host))))
        {
            throw new RestException(StatusCodes.Status403Forbidden, "forbidden",
                $"This cluster has no secret, so it answers requests to localhost only; this one came for '{host}'{(origin.Length > 0 ? $" from a page of {origin}" : "")}. Set Yarnish__Secret to open it to others.");
        }
    }

    private static bool IsLoopbackName(string host) =>
        host.Equals("localhost", StringComparison.OrdinalIgnoreCase) || (IPAddress.TryParse(host.Trim('[', ']'), out var address) && IPAddress.IsLoopback(address));
}
