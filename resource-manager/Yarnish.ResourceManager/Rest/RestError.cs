using System.Text.Json;
using Yarnish.Protocol;

namespace Yarnish.ResourceManager.Rest;

/// <summary>An answer that is not a success, thrown where it is found and written in one place.</summary>
/// <param name="status">HTTP status.</param>
/// <param name="code">Stable code for programs.</param>
/// <param name="message">For people: what, where, why, what to do.</param>
internal sealed class RestException(int status, string code, string message) : Exception(message)
{
    /// <summary>HTTP status.</summary>
    public int Status { get; } = status;

    /// <summary>Stable code for programs.</summary>
    public string Code { get; } = code;

    public static RestException NotFound(string message) => new(StatusCodes.Status404NotFound, "not-found", message);

    public static RestException Invalid(string message) => new(StatusCodes.Status400BadRequest, "invalid", message);

    public static RestException Busy(string message) => new(StatusCodes.Status503ServiceUnavailable, "busy", message);

    public static RestException NotReady(string message) => new(StatusCodes.Status503ServiceUnavailable, "not-ready", message);
}

/// <summary>Gives every answer that is not a success the body <see cref="ErrorInfo"/>, whoever produced it.</summary>
internal static partial class RestErrors
{
    /// <summary>Adds the step; it belongs first, so that it covers all others.</summary>
    public static void UseRestErrors(this WebApplication app)
    {
        var logger = app.Services.GetRequiredService<ILoggerFactory>().CreateLogger("Yarnish.ResourceManager.Rest");
        app.Use(async (context, next) =>
        {
            try
            {
                await next(context);
            }
            catch (Exception error) when (!context.Response.HasStarted)
            {
                if (context.RequestAborted.IsCancellationRequested)
                {
                    return;
                }
                await WriteAsync(context, error switch
                {
                    RestException known => known,
                    BadHttpRequestException bad => FromBadRequest(bad),
                    _ => Unexpected(logger, context, error),
                });
                return;
            }
            if (context.Response is { HasStarted: false, StatusCode: >= 400, ContentLength: null, ContentType: null } && !HttpMethods.IsHead(context.Request.Method))
            {
                await WriteAsync(context, FromStatus(context));
            }
        });
    }

    private static Task WriteAsync(HttpContext context, RestException error)
    {
        var response = context.Response;
        response.Clear();
        response.StatusCode = error.Status;
        if (error.Status == StatusCodes.Status401Unauthorized)
        {
            response.Headers.WWWAuthenticate = "Bearer realm=\"yarnish\"";
        }
        if (context.Request.ContentLength is not 0 && error.Status is StatusCodes.Status401Unauthorized or StatusCodes.Status403Forbidden or StatusCodes.Status413PayloadTooLarge or StatusCodes.Status507InsufficientStorage)
        {
            // The body was not read to its end: say so, or the client sends its next request into a connection that is being closed.
            response.Headers.Connection = "close";
        }
        if (error.Status == StatusCodes.Status503ServiceUnavailable)
        {
            response.Headers.RetryAfter = "1";
        }
        return HttpMethods.IsHead(context.Request.Method)
            ? Task.CompletedTask
            : response.WriteAsJsonAsync(new ErrorInfo(error.Message, error.Code), ProtocolJson.Options, context.RequestAborted);
    }

    private static RestException FromBadRequest(BadHttpRequestException error) => error.StatusCode switch
    {
        StatusCodes.Status413PayloadTooLarge => new RestException(error.StatusCode, "too-large", $"The body is larger than this address takes. {error.Message}"),
        _ when error.InnerException is JsonException json => new RestException(error.StatusCode, "invalid", $"The body is not the JSON expected here: {json.Message}"),
        _ => new RestException(error.StatusCode, "invalid", error.Message),
    };

    private static RestException FromStatus(HttpContext context) => context.Response.StatusCode switch
    {
        StatusCodes.Status413PayloadTooLarge => new RestException(413, "too-large", $"The body is larger than {context.Request.Path} takes."),
        StatusCodes.Status404NotFound => RestException.NotFound($"There is nothing at {context.Request.Method} {context.Request.Path}. The addresses are listed at /openapi/v1.json."),
        StatusCodes.Status405MethodNotAllowed => new RestException(405, "method-not-allowed", $"{context.Request.Path} does not take {context.Request.Method}. The addresses are listed at /openapi/v1.json."),
        StatusCodes.Status415UnsupportedMediaType => new RestException(415, "invalid", "The body must be JSON, with Content-Type: application/json."),
        StatusCodes.Status400BadRequest => RestException.Invalid("The request could not be read."),
        var status => new RestException(status, "failed", $"The request ended with status {status}."),
    };

    private static RestException Unexpected(ILogger logger, HttpContext context, Exception error)
    {
        Log.Failed(logger, context.Request.Method, context.Request.Path, error);
        return new RestException(StatusCodes.Status500InternalServerError, "internal", $"The resource manager failed to answer {context.Request.Method} {context.Request.Path}: {error.GetType().Name}. Its log has the details.");
    }

    private static partial class Log
    {
        [LoggerMessage(110, LogLevel.Error, "{Method} {Path} failed")]
        public static partial void Failed(ILogger logger, string method, string path, Exception error);
    }
}
