using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Xunit;
using Yarnish.Protocol;
using Yarnish.ResourceManager.Journal;

namespace Yarnish.Integration.Tests.ResourceManager;

/// <summary>The REST interface over real sockets; the cluster behind it lives on an in-memory bus.</summary>
[Trait("Category", "Services")]
public sealed class RestTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task An_application_is_seen_with_the_reason_why_its_ask_waits_and_can_be_killed()
    {
        await using var rm = await RunningResourceManager.StartAsync();
        await using var driver = await PeerAsync(rm, "app-4711-a");
        await driver.SendAsync(new RegisterApplication(new ApplicationId("app-4711-a"), "job", "ann", ""));
        await driver.NextAsync<ApplicationRegistered>();
        await driver.SendAsync(new UpdateAsks(new ApplicationId("app-4711-a"), 1, [new Ask(1, Resources.Of(1024, 1), 3, new LaunchSpecification("true", []))]));
        await driver.NextAsync<AsksWaiting>();

        var app = await rm.GetAsync<ApplicationInfo>("/api/v1/apps/app-47");
        Assert.Equal("ann", app.User);
        var waiting = Assert.Single(app.Waiting);
        Assert.Equal(3, waiting.Outstanding);
        Assert.NotEqual("", waiting.Reason);
        Assert.Equal(app.Id, Assert.Single(await rm.GetAsync<ApplicationInfo[]>("/api/v1/apps")).Id);
        Assert.Empty(await rm.GetAsync<ApplicationInfo[]>("/api/v1/apps?state=killed"));
        Assert.Empty(await rm.GetAsync<ContainerInfo[]>("/api/v1/apps/app-4711-a/containers"));
        Assert.Equal(3, (await rm.GetAsync<ClusterInfo>("/api/v1/cluster")).Outstanding);

        using var killed = await rm.Client.PostAsJsonAsync("/api/v1/apps/app-4711-a/kill", new KillRequest("too greedy"), Cancellation);
        Assert.Equal("killed", (await killed.Content.ReadFromJsonAsync<ApplicationInfo>(ProtocolJson.Options, Cancellation))!.State);
        Assert.Contains("too greedy", (await driver.NextAsync<KillApplication>()).Reason, StringComparison.Ordinal);
        using var again = await rm.Client.PostAsync(new Uri("/api/v1/apps/app-4711-a/kill", UriKind.Relative), null, Cancellation);
        Assert.Equal(HttpStatusCode.OK, again.StatusCode);
    }

    [Fact]
    public async Task A_prefix_that_fits_two_applications_is_refused_and_an_unknown_one_is_not_found()
    {
        await using var rm = await RunningResourceManager.StartAsync();
        foreach (var id in new[] { "app-1", "app-12", "app-2" })
        {
            await using var driver = await PeerAsync(rm, id);
            await driver.SendAsync(new RegisterApplication(new ApplicationId(id), "job", "ann", ""));
            await driver.NextAsync<ApplicationRegistered>();
        }

        Assert.Equal("app-1", (await rm.GetAsync<ApplicationInfo>("/api/v1/apps/app-1")).Id.Value);
        await ExpectErrorAsync(rm, HttpMethod.Get, "/api/v1/apps/app-", HttpStatusCode.Conflict, "ambiguous", "app-12");
        await ExpectErrorAsync(rm, HttpMethod.Get, "/api/v1/apps/zzz", HttpStatusCode.NotFound, "not-found", "zzz");
        await ExpectErrorAsync(rm, HttpMethod.Post, "/api/v1/apps/zzz/kill", HttpStatusCode.NotFound, "not-found", "zzz");
    }

    [Theory]
    [InlineData("GET", "/nowhere", 404, "not-found")]
    [InlineData("DELETE", "/api/v1/apps", 405, "method-not-allowed")]
    [InlineData("GET", "/api/v1/blobs/nonsense", 400, "invalid")]
    [InlineData("POST", "/api/v1/blobs/missing", 400, "invalid")]
    public async Task Every_error_has_one_shape(string method, string path, int status, string code)
    {
        await using var rm = await RunningResourceManager.StartAsync();
        await ExpectErrorAsync(rm, new HttpMethod(method), path, (HttpStatusCode)status, code, "", method == "POST" ? new StringContent("{", Encoding.UTF8, "application/json") : null);
    }

    [Fact]
    public async Task An_oversized_body_is_refused()
    {
        await using var rm = await RunningResourceManager.StartAsync();
        var body = new StringContent("{\"hashes\": [\"" + new string('a', 2 << 20) + "\"]}", Encoding.UTF8, "application/json");
        await ExpectErrorAsync(rm, HttpMethod.Post, "/api/v1/blobs/missing", HttpStatusCode.RequestEntityTooLarge, "too-large", "", body);
    }

    [Theory]
    [InlineData("/api/v1/cluster")]
    [InlineData("/api/v1/cluster/connection")]
    [InlineData("/api/v1/nodes")]
    [InlineData("/api/v1/apps")]
    [InlineData("/metrics")]
    [InlineData("/openapi/v1.json")]
    [InlineData("/api/v1/blobs/0000000000000000000000000000000000000000000000000000000000000000")]
    public async Task With_a_secret_nothing_is_told_without_the_token(string path)
    {
        await using var rm = await RunningResourceManager.StartAsync(options => options.Secret = "a good secret");
        foreach (var token in new[] { null, "wrong", "a good secret", ClusterSecret.ApiToken("another secret") })
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(rm.Client.BaseAddress!, path));
            using var client = new HttpClient();
            request.Headers.Authorization = token is null ? null : new AuthenticationHeaderValue("Bearer", token);
            using var answer = await client.SendAsync(request, Cancellation);
            Assert.Equal(HttpStatusCode.Unauthorized, answer.StatusCode);
            Assert.Contains("Yarnish__Secret", (await answer.Content.ReadFromJsonAsync<ErrorInfo>(ProtocolJson.Options, Cancellation))!.Error, StringComparison.Ordinal);
        }
        using var open = new HttpClient { BaseAddress = rm.Client.BaseAddress };
        Assert.Equal("ok\n", await open.GetStringAsync(new Uri("/livez", UriKind.Relative), Cancellation));
        Assert.Equal("ok\n", await open.GetStringAsync(new Uri("/readyz", UriKind.Relative), Cancellation));
    }

    [Fact]
    public async Task The_token_opens_the_connection_that_drivers_and_agents_need()
    {
        await using var rm = await RunningResourceManager.StartAsync(options =>
        {
            options.Secret = "a good secret";
            options.ClusterName = "blue";
            options.RabbitMq = "amqp://u:p@broker/";
            options.Redis = "store:6379";
        });
        Assert.Equal(new ClusterConnection("blue", "amqp://u:p@broker/", "store:6379", 1, ""), await rm.GetAsync<ClusterConnection>("/api/v1/cluster/connection"));
    }

    [Theory]
    [InlineData("evil.example", null)]
    [InlineData(null, "https://evil.example")]
    public async Task Without_a_secret_a_web_page_cannot_borrow_the_browser_of_this_machine(string? host, string? origin)
    {
        await using var rm = await RunningResourceManager.StartAsync();
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(rm.Client.BaseAddress!, "/api/v1/apps/x/kill"));
        request.Headers.Host = host;
        if (origin is not null)
        {
            request.Headers.Add("Origin", origin);
        }
        using var answer = await rm.Client.SendAsync(request, Cancellation);
        Assert.Equal(HttpStatusCode.Forbidden, answer.StatusCode);
    }

    [Fact]
    public async Task Blobs_go_in_and_out_and_the_lacking_ones_are_told_in_one_question()
    {
        await using var rm = await RunningResourceManager.StartAsync(options => options.Secret = "a good secret");
        var content = RandomNumberGenerator.GetBytes(3_000_000);
        var hash = Convert.ToHexStringLower(SHA256.HashData(content));
        var other = new string('0', 64);

        Assert.Equal([hash, other], await MissingAsync(rm, hash, other));
        Assert.Equal(HttpStatusCode.NotFound, (await HeadAsync(rm, hash)).StatusCode);
        Assert.Equal(HttpStatusCode.Created, await PutAsync(rm, hash, content));
        Assert.Equal(HttpStatusCode.NoContent, await PutAsync(rm, hash, content));
        Assert.Equal([other], await MissingAsync(rm, hash, other));
        var head = await HeadAsync(rm, hash);
        Assert.Equal(HttpStatusCode.OK, head.StatusCode);
        Assert.Equal(content.Length, head.Content.Headers.ContentLength);
        Assert.Equal(content, await rm.Client.GetByteArrayAsync(new Uri("/api/v1/blobs/" + hash, UriKind.Relative), Cancellation));
        await ExpectErrorAsync(rm, HttpMethod.Get, "/api/v1/blobs/" + other, HttpStatusCode.NotFound, "not-found", other);
    }

    [Fact]
    public async Task A_damaged_upload_is_refused_and_leaves_nothing()
    {
        await using var rm = await RunningResourceManager.StartAsync();
        var hash = Convert.ToHexStringLower(SHA256.HashData("right"u8));

        await ExpectErrorAsync(rm, HttpMethod.Put, "/api/v1/blobs/" + hash, HttpStatusCode.BadRequest, "corrupt", hash, new ByteArrayContent("wrong"u8.ToArray()));

        Assert.Equal([hash], await MissingAsync(rm, hash));
        Assert.Empty(Directory.EnumerateFiles(rm.BlobDirectory, "*", SearchOption.AllDirectories));
    }

    [Fact]
    public async Task A_blob_larger_than_allowed_or_than_the_quota_is_refused()
    {
        await using var rm = await RunningResourceManager.StartAsync(options =>
        {
            options.MaximumBlobBytes = 1000;
            options.BlobQuotaBytes = 1500;
        });
        await ExpectErrorAsync(rm, HttpMethod.Put, "/api/v1/blobs/" + new string('0', 64), HttpStatusCode.RequestEntityTooLarge, "too-large", "", new ByteArrayContent(new byte[2000]));
        var first = new byte[900];
        Assert.Equal(HttpStatusCode.Created, await PutAsync(rm, Convert.ToHexStringLower(SHA256.HashData(first)), first));
        await ExpectErrorAsync(rm, HttpMethod.Put, "/api/v1/blobs/" + new string('0', 64), HttpStatusCode.InsufficientStorage, "quota-full", "Yarnish__BlobQuotaBytes", new ByteArrayContent(new byte[901 - 1]));
    }

    [Fact]
    public async Task A_blob_that_rotted_on_disk_never_arrives_as_if_it_were_whole()
    {
        await using var rm = await RunningResourceManager.StartAsync();
        var content = new byte[500_000];
        var hash = Convert.ToHexStringLower(SHA256.HashData(content));
        await PutAsync(rm, hash, content);
        content[400_000] = 1;
        await File.WriteAllBytesAsync(Path.Combine(rm.BlobDirectory, hash[..2], hash), content, Cancellation);

        await Assert.ThrowsAnyAsync<HttpRequestException>(() => rm.Client.GetByteArrayAsync(new Uri("/api/v1/blobs/" + hash, UriKind.Relative), Cancellation));
        Assert.Equal([hash], await MissingAsync(rm, hash));
    }

    [Fact]
    public async Task Until_the_journal_is_there_it_lives_and_says_what_it_waits_for()
    {
        var journal = new InMemoryJournal { Unreachable = true };
        await using var rm = await RunningResourceManager.StartAsync(journal: journal, waitUntilReady: false);
        await RunningResourceManager.UntilAsync(async () => (await ReadyAsync(rm)).Contains("unreachable", StringComparison.Ordinal), "The reason did not appear in /readyz.");

        Assert.Equal("ok\n", await rm.Client.GetStringAsync(new Uri("/livez", UriKind.Relative), Cancellation));
        await ExpectErrorAsync(rm, HttpMethod.Get, "/api/v1/cluster", HttpStatusCode.ServiceUnavailable, "not-ready", "unreachable");
        journal.Unreachable = false;
        await RunningResourceManager.UntilAsync(async () => (await rm.Client.GetAsync(new Uri("/readyz", UriKind.Relative), Cancellation)).IsSuccessStatusCode, "It did not become ready.");
        using var verbose = JsonDocument.Parse(await rm.Client.GetStringAsync(new Uri("/readyz?verbose", UriKind.Relative), Cancellation));
        Assert.True(verbose.RootElement.GetProperty("ready").GetBoolean());
        Assert.Equal(3, verbose.RootElement.GetProperty("checks").GetArrayLength());
    }

    [Fact]
    public async Task A_journal_that_cannot_be_read_is_named_and_read_again_until_it_can()
    {
        var journal = new InMemoryJournal();
        await journal.OpenAsync(Cancellation);
        await journal.WriteAsync([new JournalChange("app:odd", "not ours")], Cancellation);
        await using var rm = await RunningResourceManager.StartAsync(journal: journal, waitUntilReady: false);
        await RunningResourceManager.UntilAsync(async () => (await ReadyAsync(rm)).Contains("app:odd", StringComparison.Ordinal), "/readyz does not name the entry.");

        await journal.WriteAsync([new JournalChange("app:odd", null)], Cancellation);
        await RunningResourceManager.UntilAsync(async () => (await rm.Client.GetAsync(new Uri("/readyz", UriKind.Relative), Cancellation)).IsSuccessStatusCode, "It did not become ready.");
    }

    [Fact]
    public async Task The_interface_describes_itself()
    {
        await using var rm = await RunningResourceManager.StartAsync();
        using var document = JsonDocument.Parse(await rm.Client.GetStringAsync(new Uri("/openapi/v1.json", UriKind.Relative), Cancellation));
        var paths = document.RootElement.GetProperty("paths").EnumerateObject().Select(path => path.Name).ToHashSet();
        foreach (var path in new[] { "/api/v1/cluster", "/api/v1/cluster/connection", "/api/v1/nodes", "/api/v1/apps", "/api/v1/apps/{id}", "/api/v1/apps/{id}/containers", "/api/v1/apps/{id}/kill", "/api/v1/blobs/{sha256}", "/api/v1/blobs/missing", "/livez", "/readyz" })
        {
            Assert.Contains(path, paths);
        }
        var app = document.RootElement.GetProperty("components").GetProperty("schemas").GetProperty("ApplicationInfo").GetProperty("properties");
        Assert.Contains("string", document.RootElement.GetProperty("components").GetProperty("schemas").GetRawText(), StringComparison.Ordinal);
        Assert.True(app.TryGetProperty("waiting", out _));
    }

    [Fact]
    public async Task Metrics_can_be_scraped()
    {
        await using var rm = await RunningResourceManager.StartAsync();
        await using var driver = await PeerAsync(rm, "app-1");
        await driver.SendAsync(new RegisterApplication(new ApplicationId("app-1"), "job", "ann", ""));
        await driver.NextAsync<ApplicationRegistered>();
        var text = await rm.Client.GetStringAsync(new Uri("/metrics", UriKind.Relative), Cancellation);
        foreach (var name in new[] { "yarnish_apps{", "yarnish_scheduler_pending_containers", "yarnish_memory_capacity_bytes", "yarnish_scheduler_pass_duration_seconds_bucket", "yarnish_ready 1", "yarnish_control_received_total{" })
        {
            Assert.Contains(name, text.Replace("otel_scope_name=\"Yarnish.ResourceManager\",", "", StringComparison.Ordinal).Replace("{otel_scope_name=\"Yarnish.ResourceManager\"}", "", StringComparison.Ordinal), StringComparison.Ordinal);
        }
        Assert.DoesNotContain("app-1", text, StringComparison.Ordinal);
    }

    private static async Task<BusPeer> PeerAsync(RunningResourceManager rm, string application) =>
        await BusPeer.StartAsync(rm.Fabric.CreateBus(ControlAddress.Application(new ApplicationId(application))));

    private static async Task<string> ReadyAsync(RunningResourceManager rm)
    {
        using var answer = await rm.Client.GetAsync(new Uri("/readyz?verbose", UriKind.Relative), Cancellation);
        return await answer.Content.ReadAsStringAsync(Cancellation);
    }

    private static async Task<IEnumerable<string>> MissingAsync(RunningResourceManager rm, params string[] hashes)
    {
        using var answer = await rm.Client.PostAsJsonAsync("/api/v1/blobs/missing", new BlobList([.. hashes]), ProtocolJson.Options, Cancellation);
        return (await answer.EnsureSuccessStatusCode().Content.ReadFromJsonAsync<BlobList>(ProtocolJson.Options, Cancellation))!.Hashes;
    }

    private static Task<HttpResponseMessage> HeadAsync(RunningResourceManager rm, string hash) =>
        rm.Client.SendAsync(new HttpRequestMessage(HttpMethod.Head, "/api/v1/blobs/" + hash), Cancellation);

    private static async Task<HttpStatusCode> PutAsync(RunningResourceManager rm, string hash, byte[] content)
    {
        using var answer = await rm.Client.PutAsync(new Uri("/api/v1/blobs/" + hash, UriKind.Relative), new ByteArrayContent(content), Cancellation);
        return answer.StatusCode;
    }

    private static async Task ExpectErrorAsync(RunningResourceManager rm, HttpMethod method, string path, HttpStatusCode status, string code, string says, HttpContent? body = null)
    {
        using var request = new HttpRequestMessage(method, path) { Content = body };
        using var answer = await rm.Client.SendAsync(request, Cancellation);
        Assert.Equal(status, answer.StatusCode);
        var error = await answer.Content.ReadFromJsonAsync<ErrorInfo>(ProtocolJson.Options, Cancellation);
        Assert.Equal(code, error!.Code);
        Assert.Contains(says, error.Error, StringComparison.Ordinal);
    }
}
