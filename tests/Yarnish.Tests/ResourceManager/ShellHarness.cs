using System.Collections.Immutable;
using System.Diagnostics.Metrics;
using System.Threading.Channels;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;
using Yarnish.Protocol;
using Yarnish.ResourceManager.Blobs;
using Yarnish.ResourceManager.Cluster;
using Yarnish.ResourceManager.Journal;
using Yarnish.ResourceManager.Telemetry;
using Yarnish.Scheduling;
using Yarnish.Transport;

namespace Yarnish.Tests.ResourceManager;

/// <summary>A cluster shell on an in-memory bus, journal and clock, one life after another.</summary>
internal sealed class ShellHarness : IAsyncDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("yarnish-shell-").FullName;
    private readonly ServiceProvider _services = new ServiceCollection().AddMetrics().BuildServiceProvider();
    private readonly ClusterStatus _status = new();
    private CancellationTokenSource? _stop;
    private IControlBus? _bus;

    public TestClock Clock { get; } = new();

    public InMemoryControlFabric Fabric { get; } = new();

    public InMemoryJournal Journal { get; } = new();

    public ClusterSettings Settings { get; set; } = new() { ClusterName = "test", BlobSources = ["http://rm.test"] };

    public ClusterShell Shell => _status.Shell!;

    public BlobStore Blobs { get; private set; } = null!;

    public Task Running { get; private set; } = Task.CompletedTask;

    public async Task StartAsync(int inboxCapacity = 1024)
    {
        Blobs ??= new BlobStore(_directory, new BlobLimits(1 << 20, 1 << 20, 4, TimeSpan.Zero), Clock);
        var instruments = new ClusterInstruments(_services.GetRequiredService<IMeterFactory>(), _status, Blobs);
        _bus = Fabric.CreateBus(ControlAddress.ResourceManager);
        var parts = new ClusterShell.Parts(_bus, Journal, Blobs, instruments, Clock, NullLogger.Instance, TimeSpan.FromMilliseconds(250), inboxCapacity);
        var image = await Journal.OpenAsync(TestContext.Current.CancellationToken);
        var shell = await ClusterShell.RecoverAsync(parts, Settings, image, TestContext.Current.CancellationToken);
        _status.Shell = shell;
        await _bus.StartAsync(shell.ReceiveAsync, TestContext.Current.CancellationToken);
        _stop = new CancellationTokenSource();
        Running = shell.RunAsync(_stop.Token);
    }

    public async Task StopAsync()
    {
        await _bus!.DisposeAsync();
        await _stop!.CancelAsync();
        await Running.WaitAsync(TimeSpan.FromSeconds(20));
    }

    public async ValueTask DisposeAsync()
    {
        if (_stop is { IsCancellationRequested: false } && !Running.IsCompleted)
        {
            await StopAsync();
        }
        _stop?.Dispose();
        await _services.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    /// <summary>Waits until readers see what is wanted; moves the clock so that ticks happen.</summary>
    public async Task<ClusterSnapshot> UntilAsync(Func<ClusterSnapshot, bool> condition)
    {
        var end = Environment.TickCount64 + 20_000;
        while (!condition(Shell.Snapshot))
        {
            Assert.True(Environment.TickCount64 < end, "The cluster did not come to the wanted state.");
            await Task.Delay(5, TestContext.Current.CancellationToken);
        }
        return Shell.Snapshot;
    }

    public async Task<Peer> JoinAsync(ControlAddress address)
    {
        var peer = new Peer(Fabric.CreateBus(address));
        await peer.StartAsync();
        return peer;
    }

    public static RegisterNode Node(string id, long incarnation = 1, params ContainerReport[] containers) =>
        new(new NodeId(id), incarnation, Resources.Of(8192, 8), $"http://{id}", id) { Containers = [.. containers] };

    public static NodeHeartbeat Beat(string id, long sequence, long incarnation = 1, params ContainerReport[] containers) =>
        new(new NodeId(id), incarnation, sequence, [.. containers], true, "");

    public static RegisterApplication Application(string id, string traceParent = "") => new(new ApplicationId(id), "job", "ann", "") { TraceParent = traceParent };

    public static UpdateAsks Asks(string id, long sequence, int desired, string traceParent = "", params string[] files) =>
        new(new ApplicationId(id), sequence,
        [
            new Ask(1, Resources.Of(1024, 1), desired, new LaunchSpecification("dotnet", ["x.dll"])
            {
                Files = [.. files.Select((hash, index) => new LaunchFile("f" + index, hash, 1))],
            })
            {
                TraceParent = traceParent,
            },
        ]);
}

/// <summary>An agent or driver on the bus: what it receives waits here until the test looks.</summary>
internal sealed class Peer(IControlBus bus) : IAsyncDisposable
{
    private readonly Channel<ControlMessage> _received = Channel.CreateUnbounded<ControlMessage>();

    public Task StartAsync() => bus.StartAsync(delivery => _received.Writer.WriteAsync(delivery.Message), TestContext.Current.CancellationToken);

    public async Task SendAsync(ControlMessage message) => Assert.True(await bus.SendAsync(ControlAddress.ResourceManager, message, TestContext.Current.CancellationToken));

    /// <summary>The next message of a kind; others before it are skipped.</summary>
    public async Task<T> NextAsync<T>()
        where T : ControlMessage
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        patience.CancelAfter(TimeSpan.FromSeconds(20));
        var seen = ImmutableArray.CreateBuilder<string>();
        try
        {
            while (true)
            {
                var message = await _received.Reader.ReadAsync(patience.Token);
                if (message is T wanted)
                {
                    return wanted;
                }
                seen.Add(message.GetType().Name);
            }
        }
        catch (OperationCanceledException)
        {
            throw new TimeoutException($"No {typeof(T).Name} came to {bus.Self}; seen: {string.Join(", ", seen)}.");
        }
    }

    /// <summary>Everything that is there now.</summary>
    public List<ControlMessage> Drain()
    {
        var all = new List<ControlMessage>();
        while (_received.Reader.TryRead(out var message))
        {
            all.Add(message);
        }
        return all;
    }

    public ValueTask DisposeAsync() => bus.DisposeAsync();
}
