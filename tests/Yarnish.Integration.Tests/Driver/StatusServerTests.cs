using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text;
using Xunit;
using Yarnish.Protocol;
using Yarnish.Status;

namespace Yarnish.Integration.Tests.Driver;

/// <summary>The HTTP side of the status, with real sockets and clients that mean no good.</summary>
[Trait("Category", "Services")]
public sealed class StatusServerTests
{
    private static readonly ApplicationId Application = ApplicationId.Create("app-1");

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private static StatusServer Start(string url = "http://127.0.0.1:0", string token = "", Task? hold = null)
    {
        var status = new ApplicationStatus();
        status.Apply(new StatusEvent.ApplicationStarted(DateTimeOffset.UnixEpoch, Application, "test", "someone", "host/1", "1", ""));
        return StatusServer.Start(url, [token], async (read, cancellation) =>
        {
            await (hold ?? Task.CompletedTask).WaitAsync(cancellation);
            lock (status)
            {
                return read(status);
            }
        });
    }

    private static async Task<(HttpStatusCode Code, string Error)> GetAsync(StatusServer server, string path, string? bearer = null, string? origin = null, string? host = null, HttpMethod? method = null)
    {
        using var http = new HttpClient();
        using var request = new HttpRequestMessage(method ?? HttpMethod.Get, server.Url + path);
        request.Headers.Authorization = bearer is null ? null : new AuthenticationHeaderValue("Bearer", bearer);
        request.Headers.Host = host;
        if (origin is not null)
        {
            request.Headers.Add("Origin", origin);
        }
        using var response = await http.SendAsync(request, TestContext.Current.CancellationToken).WaitAsync(Patience);
        var error = response.IsSuccessStatusCode || response.Content.Headers.ContentType?.MediaType != "application/json"
            ? "" : (await response.Content.ReadFromJsonAsync<ErrorInfo>(ProtocolJson.Options, TestContext.Current.CancellationToken))!.Code;
        return (response.StatusCode, error);
    }

    [Fact]
    public async Task Paths_that_are_not_there_and_verbs_that_change_are_json_errors()
    {
        await using var server = Start();

        Assert.Equal((HttpStatusCode.OK, ""), await GetAsync(server, "/api/v1/applications/app-1"));
        Assert.Equal((HttpStatusCode.OK, ""), await GetAsync(server, "/api/v1/applications/app-1", method: HttpMethod.Head));
        Assert.Equal((HttpStatusCode.NotFound, "not-found"), await GetAsync(server, "/api/v1/applications/app-1/%2e%2e/%2e%2e/etc/passwd"));
        Assert.Equal((HttpStatusCode.NotFound, "not-found"), await GetAsync(server, "/api/v1/applications/app-1/stages/1/1/%00"));
        Assert.Equal((HttpStatusCode.BadRequest, "invalid"), await GetAsync(server, "/api/v1/applications/app-1/jobs?length=1000000"));
        Assert.Equal((HttpStatusCode.MethodNotAllowed, "method-not-allowed"), await GetAsync(server, "/api/v1/applications/app-1", method: HttpMethod.Post));
        Assert.Equal((HttpStatusCode.MethodNotAllowed, "method-not-allowed"), await GetAsync(server, "/api/v1/applications/app-1", method: HttpMethod.Delete));
    }

    [Fact]
    public async Task Without_a_secret_pages_from_elsewhere_and_foreign_names_are_refused()
    {
        await using var server = Start();

        Assert.Equal((HttpStatusCode.Forbidden, "forbidden"), await GetAsync(server, "/api/v1/applications", origin: "https://evil.example"));
        Assert.Equal(HttpStatusCode.OK, (await GetAsync(server, "/api/v1/applications", origin: "http://localhost:3000")).Code);
        // A name that was rebound to this machine.
        Assert.False((int)(await GetAsync(server, "/api/v1/applications", host: "evil.example")).Code is >= 200 and < 300);
        Assert.Throws<ArgumentException>(() => Start("http://0.0.0.0:0"));
        Assert.Throws<ArgumentException>(() => Start("http://*:0"));
    }

    [Fact]
    public async Task With_a_secret_only_its_token_opens()
    {
        await using var server = Start("http://0.0.0.0:0", token: "right");

        var local = $"http://127.0.0.1:{new Uri(server.Url).Port}";
        using var http = new HttpClient();
        Assert.Equal(HttpStatusCode.Unauthorized, (await http.GetAsync(local + "/api/v1/applications", TestContext.Current.CancellationToken)).StatusCode);
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", "wrong");
        Assert.Equal(HttpStatusCode.Unauthorized, (await http.GetAsync(local + "/api/v1/applications", TestContext.Current.CancellationToken)).StatusCode);
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", "right");
        Assert.Equal(HttpStatusCode.OK, (await http.GetAsync(local + "/api/v1/applications", TestContext.Current.CancellationToken)).StatusCode);
    }

    [Fact]
    public async Task Endless_headers_are_cut_off_and_the_next_client_is_served()
    {
        await using var server = Start();
        using var client = new TcpClient();
        await client.ConnectAsync(IPAddress.Loopback, new Uri(server.Url).Port, TestContext.Current.CancellationToken);
        var stream = client.GetStream();
        var sent = 0L;
        try
        {
            await stream.WriteAsync(Encoding.ASCII.GetBytes("GET /api/v1/applications HTTP/1.1\r\nHost: 127.0.0.1\r\n"), TestContext.Current.CancellationToken);
            var line = Encoding.ASCII.GetBytes($"X: {new string('x', 4000)}\r\n");
            while (sent < 64 << 20)
            {
                await stream.WriteAsync(line, TestContext.Current.CancellationToken).AsTask().WaitAsync(Patience);
                sent += line.Length;
            }
        }
        catch (IOException)
        {
            // The server has had enough.
        }
        Assert.InRange(sent, 1, 16 << 20);
        Assert.Equal(HttpStatusCode.OK, (await GetAsync(server, "/api/v1/applications")).Code);
    }

    [Fact]
    public async Task More_clients_than_it_serves_at_once_are_told_to_come_again()
    {
        var hold = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var server = Start(hold: hold.Task);

        var answers = Enumerable.Range(0, 60).Select(_ => GetAsync(server, "/api/v1/applications")).ToList();
        // Those beyond the bound are answered while the others wait.
        var busy = await Task.WhenAny(answers).WaitAsync(Patience);
        Assert.Equal((HttpStatusCode.ServiceUnavailable, "busy"), await busy);
        hold.SetResult();
        var codes = (await Task.WhenAll(answers).WaitAsync(Patience)).CountBy(answer => answer.Code).ToDictionary();

        Assert.InRange(codes[HttpStatusCode.OK], 1, 59);
        Assert.Equal(60, codes[HttpStatusCode.OK] + codes[HttpStatusCode.ServiceUnavailable]);
        Assert.Equal(HttpStatusCode.OK, (await GetAsync(server, "/api/v1/applications")).Code);
    }

    [Fact]
    public async Task Ports_that_are_taken_are_told_and_free_ones_are_found()
    {
        await using var one = Start();
        await using var two = Start();

        Assert.NotEqual(one.Url, two.Url);
        Assert.Throws<HttpListenerException>(() => Start(one.Url));
        foreach (var wrong in new[] { "", "127.0.0.1", "https://127.0.0.1:0", "http://127.0.0.1:0/path", "ftp://x:1" })
        {
            Assert.Throws<ArgumentException>(() => Start(wrong));
        }
    }

    [Fact]
    public async Task Embedded_session_serves_its_status_when_asked_to()
    {
        await using var session = await YarnishSession.CreateBuilder().WithName("embedded").WithProgress(ProgressStyle.None)
            .Configure(options => (options.Address, options.StatusUrl) = ("", "http://127.0.0.1:0")).ConnectAsync(TestContext.Current.CancellationToken);
        Assert.Equal(100, await session.Range(0, 100, 4).CountAsync());

        using var http = new HttpClient { BaseAddress = new Uri($"{session.StatusUrl}/api/v1/applications/{session.ApplicationId}/") };
        var job = Assert.Single((await http.GetFromJsonAsync<JobInfo[]>("jobs", ProtocolJson.Options, TestContext.Current.CancellationToken))!);
        Assert.Equal(("succeeded", 4), (job.State, job.TasksDone));
        Assert.StartsWith("CountAsync at StatusServerTests.cs:", job.Name, StringComparison.Ordinal);
        await session.DisposeAsync();
        await Assert.ThrowsAnyAsync<HttpRequestException>(() => http.GetAsync("jobs", TestContext.Current.CancellationToken));
    }
}
