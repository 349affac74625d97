using System.Collections.Concurrent;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;
using Yarnish.NodeAgent.Node;
using Yarnish.Protocol;
using Yarnish.Transport;

namespace Yarnish.Integration.Tests.NodeAgent;

/// <summary>An agent in this process with real processes below it, a resource manager played by the test over the in-memory control bus, and a blob store.</summary>
internal sealed class GivenAgent : IAsyncDisposable
{
    public const string Secret = "s3cret";
    public static readonly ApplicationId Application = new("app-1");
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly InMemoryControlFabric _fabric = new();
    private readonly IControlBus _resourceManager;
    private readonly List<ControlMessage> _received = [];
    private readonly SemaphoreSlim _arrived = new(0);
    private readonly ConcurrentDictionary<string, byte[]> _blobs = new();
    private readonly Action<NodeAgentOptions>? _configure;
    private int _sequence;
    private WebApplication? _store;

    private GivenAgent(Action<NodeAgentOptions>? configure)
    {
        _configure = configure;
        _resourceManager = _fabric.CreateBus(ControlAddress.ResourceManager);
        Directory = System.IO.Directory.CreateTempSubdirectory("yarnish-agent-").FullName;
    }

    public string Directory { get; }

    public NodeAgentServer Agent { get; private set; } = null!;

    public int Epoch { get; set; } = 1;

    public string StoreUrl { get; private set; } = "";

    public int StoreRequests { get; private set; }

    public HttpClient Http { get; } = new();

    public static async Task<GivenAgent> StartAsync(Action<NodeAgentOptions>? configure = null)
    {
        var given = new GivenAgent(configure);
        await given._resourceManager.StartAsync(given.ReceiveAsync, CancellationToken.None);
        await given.StartStoreAsync();
        await given.StartAgentAsync();
        return given;
    }

    /// <summary>Starts an agent on the same directory, as after a crash.</summary>
    public async Task StartAgentAsync()
    {
        var options = new NodeAgentOptions { NodeId = "node-1", DataDirectory = Directory, Address = StoreUrl, Secret = Secret, MemoryBytes = 1L << 30, MilliCores = 2000 };
        _configure?.Invoke(options);
        Agent = await NodeAgentServer.StartAsync(
            options, _ => _fabric.CreateBus(ControlAddress.Node(new NodeId("node-1"))), NullLoggerFactory.Instance);
        await Agent.Loop.WaitAsync(snapshot => snapshot.Registered, new CancellationTokenSource(Patience).Token);
        Http.DefaultRequestHeaders.Authorization = new("Bearer", ClusterSecret.ApiToken(Secret));
        Http.BaseAddress ??= new Uri(Agent.Identity.Url);
    }

    /// <summary>The agent is gone from one moment to the next; its containers are not its children in any way that matters.</summary>
    public async Task KillAgentAsync() => await Agent.DisposeAsync();

    public LaunchContainer Command(string command, params string[] arguments) => new(
        Epoch, new ContainerId(Epoch, Interlocked.Increment(ref _sequence)), Application, 1, Resources.Of(256, 1), new LaunchSpecification(command, [.. arguments]), "")
    {
        BlobSources = [StoreUrl],
    };

    public LaunchContainer Shell(string script) => Command("sh", "-c", script);

    /// <summary>Puts a file into the blob store.</summary>
    public LaunchFile File(string path, string content, bool executable = false)
    {
        var bytes = Encoding.UTF8.GetBytes(content);
        var hash = Convert.ToHexStringLower(SHA256.HashData(bytes));
        _blobs[hash] = bytes;
        return new LaunchFile(path, hash, bytes.Length, executable);
    }

    /// <summary>From now on the store sends something else under this hash.</summary>
    public void Corrupt(LaunchFile file) => _blobs[file.Sha256] = [.. _blobs[file.Sha256].Select(b => (byte)(b ^ 1))];

    public async Task SendAsync(ControlMessage message) =>
        Assert.True(await _resourceManager.SendAsync(ControlAddress.Node(new NodeId("node-1")), message));

    public async Task<ContainerId> LaunchAsync(LaunchContainer launch)
    {
        await SendAsync(launch);
        return launch.ContainerId;
    }

    public async Task<int> StartedAsync(ContainerId container) => (await ExpectAsync<ContainerStarted>(message => message.ContainerId == container)).ProcessId;

    /// <summary>The exit as the resource manager is told of it, by its own message or by a report.</summary>
    public async Task<ContainerExit> ExitAsync(ContainerId container)
    {
        var found = await ExpectAsync<ControlMessage>(message => Of(message) is not null);
        return Of(found)!;

        ContainerExit? Of(ControlMessage message) => message switch
        {
            ContainerExited exited when exited.ContainerId == container => exited.Exit,
            NodeHeartbeat heartbeat => heartbeat.Containers.FirstOrDefault(report => report.ContainerId == container)?.Exit,
            RegisterNode register => register.Containers.FirstOrDefault(report => report.ContainerId == container)?.Exit,
            _ => null,
        };
    }

    public async Task<T> ExpectAsync<T>(Func<T, bool> condition)
        where T : ControlMessage
    {
        using var patience = new CancellationTokenSource(Patience);
        for (var seen = 0; ;)
        {
            lock (_received)
            {
                for (; seen < _received.Count; seen++)
                {
                    if (_received[seen] is T message && condition(message))
                    {
                        return message;
                    }
                }
            }
            Assert.False(Agent.Ended.IsCompleted && Agent.EndReason.Length > 0, Agent.EndReason);
            await _arrived.WaitAsync(TimeSpan.FromSeconds(1), patience.Token);
        }
    }

    public async Task<string> LogAsync(ContainerId container, string stream, string query = "")
    {
        using var response = await Http.GetAsync($"{Agent.Identity.Url}/containers/{container}/logs/{stream}{query}");
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        return await response.Content.ReadAsStringAsync();
    }

    public string Work(ContainerId container) => Path.Combine(Directory, "apps", Application.Value, "containers", container.Value, "work");

    public static async Task EventuallyAsync(Func<bool> condition, string what)
    {
        var end = DateTime.UtcNow + Patience;
        while (!condition())
        {
            Assert.True(DateTime.UtcNow < end, $"Not within {Patience.TotalSeconds} s: {what}.");
            await Task.Delay(10);
        }
    }

    public static bool IsAlive(int process) => Yarnish.NodeAgent.Processes.ProcessList.Read(process) is { State: not ('Z' or 'X') };

    public async ValueTask DisposeAsync()
    {
        foreach (var container in Agent.Loop.Snapshot.Containers.Where(view => view.Exit is null && view.Process is not null))
        {
            Yarnish.NodeAgent.Processes.NativeMethods.SignalGroup(container.Process!.ProcessId, Yarnish.NodeAgent.Processes.NativeMethods.Kill);
        }
        await Agent.DisposeAsync();
        await _resourceManager.DisposeAsync();
        if (_store is not null)
        {
            await _store.DisposeAsync();
        }
        Http.Dispose();
        System.IO.Directory.Delete(Directory, recursive: true);
    }

    private async ValueTask ReceiveAsync(ControlDelivery delivery)
    {
        lock (_received)
        {
            _received.Add(delivery.Message);
        }
        _arrived.Release();
        if (delivery.Message is RegisterNode)
        {
            await SendAsync(new NodeRegistered(Epoch, 0.2));
        }
    }

    private async Task StartStoreAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        _store = builder.Build();
        _store.MapGet("/api/v1/blobs/{sha256}", (string sha256, HttpContext http) =>
        {
            StoreRequests++;
            return !ClusterSecret.Accepts(http.Request.Headers.Authorization, ClusterSecret.ApiToken(Secret)) ? Results.Unauthorized()
                : _blobs.TryGetValue(sha256, out var bytes) ? Results.Bytes(bytes)
                : Results.NotFound();
        });
        _store.MapGet("/api/v1/cluster/connection", (HttpContext http) =>
            ClusterSecret.Accepts(http.Request.Headers.Authorization, ClusterSecret.ApiToken(Secret))
                ? Results.Json(new ClusterConnection("test", "", "", Epoch, ""), ProtocolJson.Options)
                : Results.Unauthorized());
        await _store.StartAsync();
        StoreUrl = _store.Urls.First();
    }
}
