using System.Net.Http.Headers;
using System.Net.Http.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Xunit;
using Yarnish.Protocol;
using Yarnish.ResourceManager;
using Yarnish.ResourceManager.Journal;
using Yarnish.Transport;

namespace Yarnish.Integration.Tests.ResourceManager;

/// <summary>A resource manager inside the test, with a real HTTP server on a free port and, unless told otherwise, an in-memory bus and journal.</summary>
internal sealed class RunningResourceManager : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly string _directory;

    private RunningResourceManager(WebApplication app, string directory, HttpClient client)
    {
        _app = app;
        _directory = directory;
        Client = client;
    }

    public InMemoryControlFabric Fabric { get; private init; } = null!;

    public InMemoryJournal Journal { get; private init; } = null!;

    /// <summary>Carries the right token.</summary>
    public HttpClient Client { get; }

    public string BlobDirectory => Path.Combine(_directory, "blobs");

    public static async Task<RunningResourceManager> StartAsync(Action<ResourceManagerOptions>? change = null, InMemoryJournal? journal = null, bool waitUntilReady = true)
    {
        var directory = Directory.CreateTempSubdirectory("yarnish-rm-").FullName;
        var options = new ResourceManagerOptions { Urls = "http://127.0.0.1:0", DataDirectory = directory };
        change?.Invoke(options);
        var fabric = new InMemoryControlFabric();
        journal ??= new InMemoryJournal();
        var app = ResourceManagerHost.Build(
            new ConfigurationBuilder().Build(), options,
            new ResourceManagerHost.HostParts(() => journal, () => fabric.CreateBus(ControlAddress.ResourceManager)));
        await app.StartAsync();
        var client = new HttpClient { BaseAddress = new Uri(app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single()) };
        if (options.Secret.Length > 0)
        {
            client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", ClusterSecret.ApiToken(options.Secret));
        }
        var running = new RunningResourceManager(app, directory, client) { Fabric = fabric, Journal = journal };
        if (waitUntilReady)
        {
            await UntilAsync(async () => (await client.GetAsync(new Uri("/readyz", UriKind.Relative))).IsSuccessStatusCode, "The resource manager did not become ready.");
        }
        return running;
    }

    public static async Task UntilAsync(Func<Task<bool>> condition, string otherwise, int seconds = 40)
    {
        var end = Environment.TickCount64 + (seconds * 1000);
        while (!await condition())
        {
            Assert.True(Environment.TickCount64 < end, otherwise);
            await Task.Delay(20, TestContext.Current.CancellationToken);
        }
    }

    public async Task<T> GetAsync<T>(string path) =>
        await Client.GetFromJsonAsync<T>(path, ProtocolJson.Options, TestContext.Current.CancellationToken) ?? throw new InvalidOperationException(path + " is null.");

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await _app.StopAsync();
        await _app.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }
}
