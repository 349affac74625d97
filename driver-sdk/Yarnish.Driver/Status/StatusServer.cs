using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using Yarnish.Protocol;

namespace Yarnish.Status;

/// <summary>
/// Serves a status over HTTP with what the base library has, so that a program needs no web framework. Reads nothing but the address and two headers of a request; what is too long is refused by
/// the listener (32 KiB of headers), what is too much at once by <see cref="MaximumRequests"/>.
/// </summary>
internal sealed class StatusServer : IAsyncDisposable
{
    /// <summary>Requests answered at once.</summary>
    private const int MaximumRequests = 32;

    private const int Ports = 20;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    private readonly HttpListener listener;
    private readonly Func<Func<ApplicationStatus, (int, object)>, CancellationToken, Task<(int, object)>> ask;
    private readonly string[] tokens;
    private readonly CancellationTokenSource stopping = new();
    private readonly Task accepting;
    private int requests;

    private StatusServer(HttpListener listener, string url, IEnumerable<string> tokens, Func<Func<ApplicationStatus, (int, object)>, CancellationToken, Task<(int, object)>> ask)
    {
        this.listener = listener;
        this.ask = ask;
        this.tokens = [.. tokens.Where(static token => token.Length > 0)];
        Url = url;
        using (ExecutionContext.SuppressFlow())
        {
            accepting = Task.Run(AcceptAsync);
        }
    }

    /// <summary>Where it can be reached, such as <c>http://127.0.0.1:40123</c>.</summary>
    public string Url { get; }

    /// <summary>Starts to serve.</summary>
    /// <param name="url">Where to listen; port 0 finds a free one, host <c>0.0.0.0</c>, <c>*</c> or <c>+</c> means every interface.</param>
    /// <param name="tokens">Each of them opens it; when all are empty it listens on loopback only.</param>
    /// <param name="ask">Asks the status.</param>
    /// <exception cref="ArgumentException">The URL is none, or needs a token.</exception>
    /// <exception cref="HttpListenerException">It cannot be listened there.</exception>
    public static StatusServer Start(string url, IReadOnlyList<string> tokens, Func<Func<ApplicationStatus, (int, object)>, CancellationToken, Task<(int, object)>> ask)
    {
        var (host, port) = Parse(url);
        var everywhere = host is "*" or "+" or "0.0.0.0" or "[::]";
        if (!IsLoopback(host) && tokens.All(static token => token.Length == 0))
        {
            throw new ArgumentException($"without a secret of the cluster only loopback can be served, not '{host}'");
        }
        for (var attempt = 1; ; attempt++)
        {
            var bound = port > 0 ? port : FreePort();
            var listener = new HttpListener();
            listener.Prefixes.Add(string.Create(CultureInfo.InvariantCulture, $"http://{(everywhere ? "+" : host)}:{bound}/"));
            // A client that sends its request by drops, or none, may not hold a connection.
            listener.TimeoutManager.DrainEntityBody = Patience;
            listener.TimeoutManager.IdleConnection = Patience;
            try
            {
                listener.Start();
                return new StatusServer(listener, string.Create(CultureInfo.InvariantCulture, $"http://{(everywhere ? Dns.GetHostName() : host)}:{bound}"), tokens, ask);
            }
            catch (HttpListenerException) when (port == 0 && attempt < Ports)
            {
                // Somebody else was faster.
                listener.Close();
            }
        }
    }

    /// <summary>Takes a URL apart; <c>*</c> and <c>+</c>, which no URL may have, stand for every interface.</summary>
    /// <exception cref="ArgumentException">It is none.</exception>
    public static (string Host, int Port) Parse(string url)
    {
        var text = url.Replace("//*", "//0.0.0.0", StringComparison.Ordinal).Replace("//+", "//0.0.0.0", StringComparison.Ordinal);
        return Uri.TryCreate(text, UriKind.Absolute, out var parsed) && parsed is { Scheme: "http", PathAndQuery: "/" } && text.LastIndexOf(':') > 5
            ? (parsed.Host, parsed.Port)
            : throw new ArgumentException($"'{url}' is not a URL such as http://127.0.0.1:0");
    }

    /// <summary>Answers what has come and stops.</summary>
    public async ValueTask DisposeAsync()
    {
        await stopping.CancelAsync().ConfigureAwait(false);
        listener.Close();
        await accepting.ConfigureAwait(false);
        stopping.Dispose();
    }

    private static bool IsLoopback(string host) => host == "localhost" || (IPAddress.TryParse(host.Trim('[', ']'), out var address) && IPAddress.IsLoopback(address));

    private static int FreePort()
    {
        using var probe = new TcpListener(IPAddress.Loopback, 0);
        probe.Start();
        return ((IPEndPoint)probe.LocalEndpoint).Port;
    }

    private async Task AcceptAsync()
    {
        while (!stopping.IsCancellationRequested)
        {
            HttpListenerContext context;
            try
            {
                context = await listener.GetContextAsync().ConfigureAwait(false);
            }
            catch (Exception error) when (error is HttpListenerException or ObjectDisposedException or InvalidOperationException)
            {
                if (!listener.IsListening)
                {
                    return;
                }
                continue;
            }
            _ = ServeAsync(context);
        }
    }

    private async Task ServeAsync(HttpListenerContext context)
    {
        try
        {
            var (code, body) = Interlocked.Increment(ref requests) > MaximumRequests
                ? (503, new ErrorInfo($"The driver answers {MaximumRequests} requests at once; try again in a second.", "busy"))
                : await AnswerAsync(context.Request).ConfigureAwait(false);
            await SendAsync(context, code, body).ConfigureAwait(false);
        }
        catch (Exception error) when (error is HttpListenerException or ObjectDisposedException or IOException or InvalidOperationException)
        {
            // The client has gone.
            context.Response.Abort();
        }
        finally
        {
            Interlocked.Decrement(ref requests);
        }
    }

    private async Task<(int, object)> AnswerAsync(HttpListenerRequest request)
    {
        if (request.HttpMethod is not ("GET" or "HEAD"))
        {
            return (405, new ErrorInfo($"{request.HttpMethod} is not possible here: a status can only be read, with GET.", "method-not-allowed"));
        }
        if (tokens.Length > 0)
        {
            var authorization = request.Headers["Authorization"];
            if (!Array.Exists(tokens, token => ClusterSecret.Accepts(authorization, token)))
            {
                return (401, new ErrorInfo("The driver wants 'Authorization: Bearer' with the token of the application or of the cluster; set Yarnish__Secret.", "unauthorized"));
            }
        }
        else if (!IsLoopback(request.Url?.Host ?? "") || (request.Headers["Origin"] is { Length: > 0 } origin && !(Uri.TryCreate(origin, UriKind.Absolute, out var page) && IsLoopback(page.Host))))
        {
            return (403, new ErrorInfo("This application has no secret, so its driver answers requests to localhost only, and none of pages from elsewhere.", "forbidden"));
        }
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(stopping.Token);
        limit.CancelAfter(Patience);
        try
        {
            var (path, query) = (Uri.UnescapeDataString(request.Url!.AbsolutePath), request.QueryString);
            return await ask(status => StatusRoutes.Answer(status, path, name => query[name]), limit.Token).ConfigureAwait(false);
        }
        catch (Exception error) when (error is OperationCanceledException or System.Threading.Channels.ChannelClosedException)
        {
            return (503, new ErrorInfo("The application is ending, or its driver is too busy to answer; see its event log later.", "busy"));
        }
    }

    private static async Task SendAsync(HttpListenerContext context, int code, object body)
    {
        var response = context.Response;
        var content = JsonSerializer.SerializeToUtf8Bytes(body, body.GetType(), ProtocolJson.Options);
        response.StatusCode = code;
        response.ContentType = "application/json; charset=utf-8";
        response.Headers["Cache-Control"] = "no-store";
        response.Headers["X-Content-Type-Options"] = "nosniff";
        if (code == 401)
        {
            response.Headers["WWW-Authenticate"] = "Bearer";
        }
        response.ContentLength64 = content.Length;
        // What a client sends along is not waited for.
        response.KeepAlive = !context.Request.HasEntityBody;
        if (context.Request.HttpMethod != "HEAD")
        {
            await response.OutputStream.WriteAsync(content).ConfigureAwait(false);
        }
        response.Close();
    }
}
