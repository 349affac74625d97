using System.Net;
using System.Reflection;
using System.Threading.Channels;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Yarnish.Hosting;
using Yarnish.NodeAgent.Containers;
using Yarnish.NodeAgent.Files;
using Yarnish.NodeAgent.Http;
using Yarnish.NodeAgent.Logs;
using Yarnish.NodeAgent.Processes;
using Yarnish.Protocol;
using Yarnish.Transport;

namespace Yarnish.NodeAgent.Node;

/// <summary>
/// A node agent in this process: adopts what its last incarnation left running, serves HTTP, joins the cluster and keeps at it until told to end.
/// Open <see cref="ContainerTable"/> to see what it decides and <see cref="EffectPerformer"/> to see what it does.
/// </summary>
internal sealed class NodeAgentServer : IAsyncDisposable
{
    private static readonly TimeSpan LookEvery = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan DiskEvery = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan HouseEvery = TimeSpan.FromMinutes(5);

    private readonly NodeAgentOptions _options;
    private readonly TimeProvider _clock;
    private readonly ILoggerFactory _loggers;
    private readonly ILogger<NodeAgentServer> _logger;
    private readonly CancellationTokenSource _lifetime = new();
    private readonly TaskCompletionSource<int> _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Channel<ContainerId> _notices = Channel.CreateUnbounded<ContainerId>(new UnboundedChannelOptions { SingleReader = true });
    private readonly List<Task> _tasks = [];

    private DataDirectory _directory = null!;
    private RecordStore _records = null!;
    private BlobCache _cache = null!;
    private HttpClient _http = null!;
    private ContainerCgroups _cgroups = null!;
    private ContainerLogs _logs = null!;
    private MemoryWatch _memory = null!;
    private Outbox _outbox = null!;
    private EffectPerformer _performer = null!;
    private AgentLoop _loop = null!;
    private WebApplication _web = null!;
    private IControlBus? _bus;
    private YarnishTelemetry? _telemetry;

    private NodeAgentServer(NodeAgentOptions options, ILoggerFactory loggers, TimeProvider clock)
    {
        _options = options;
        _loggers = loggers;
        _clock = clock;
        _logger = loggers.CreateLogger<NodeAgentServer>();
    }

    /// <summary>Who it is.</summary>
    public NodeIdentity Identity { get; private set; } = null!;

    /// <summary>Its containers now.</summary>
    public AgentLoop Loop => _loop;

    /// <summary>Its cached files.</summary>
    public BlobCache Cache => _cache;

    /// <summary>Completes with the exit code when the agent has ended.</summary>
    public Task<int> Ended => _ended.Task;

    /// <summary>Why it ended, when not as told.</summary>
    public string EndReason { get; private set; } = "";

    /// <summary>Starts an agent. Returns when it serves HTTP and has adopted its containers; joining goes on beside.</summary>
    /// <param name="options">Its settings.</param>
    /// <param name="createBus">Makes the control bus once the connection is known.</param>
    /// <param name="loggers">Where it logs.</param>
    /// <param name="connect">How it learns the connection; null asks the resource manager at <see cref="NodeAgentOptions.Address"/>.</param>
    /// <param name="clock">Its clock; null is the system's.</param>
    /// <exception cref="AgentStartException">It cannot run.</exception>
    public static async Task<NodeAgentServer> StartAsync(
        NodeAgentOptions options,
        Func<ClusterConnection, IControlBus> createBus,
        ILoggerFactory loggers,
        Func<CancellationToken, Task<ClusterConnection>>? connect = null,
        TimeProvider? clock = null)
    {
        var agent = new NodeAgentServer(options, loggers, clock ?? TimeProvider.System);
        try
        {
            await agent.StartAsync(createBus, connect);
            return agent;
        }
        catch
        {
            await agent.DisposeAsync();
            throw;
        }
    }

    /// <summary>Ends the agent as told by its options: its containers live on, or end first.</summary>
    public async Task<int> StopAsync()
    {
        var grace = TimeSpan.FromSeconds(Math.Clamp(_options.StopGraceSeconds, 0, 3600));
        await _loop.PostAsync(new ShutdownRequested(_options.StopContainersOnExit, grace));
        // The grace time, then SIGKILL, then the moment the system takes: whoever waits for us does not wait for ever.
        var patience = Task.Delay(grace + TimeSpan.FromSeconds(15), _clock);
        if (await Task.WhenAny(_ended.Task, patience) == patience)
        {
            End(AgentExitCode.Failed, "Containers did not end in time; the next agent on this data directory adopts them.");
        }
        if (_options.StopContainersOnExit)
        {
            // Their exits were just queued to be sent.
            await Task.Delay(TimeSpan.FromMilliseconds(200), _clock);
        }
        return await _ended.Task;
    }

    /// <summary>Lets go of everything at once, as if the process had been killed: nothing is told to anybody, containers notice nothing. Also the last step of a regular end.</summary>
    public async ValueTask DisposeAsync()
    {
        await _lifetime.CancelAsync();
        _ended.TrySetResult(AgentExitCode.Success);
        await Task.WhenAll(_tasks).WaitAsync(TimeSpan.FromSeconds(10)).ContinueWith(_ => { }, TaskScheduler.Default);
        _records?.Dispose();
        _performer?.Dispose();
        _cache?.Dispose();
        if (_bus is not null)
        {
            await _bus.DisposeAsync();
        }
        if (_web is not null)
        {
            using var hurry = new CancellationTokenSource(TimeSpan.FromSeconds(1));
            await _web.StopAsync(hurry.Token).ContinueWith(_ => { }, TaskScheduler.Default);
            await _web.DisposeAsync();
        }
        _http?.Dispose();
        _telemetry?.Dispose();
        _directory?.Dispose();
        _lifetime.Dispose();
    }

    private async Task StartAsync(Func<ClusterConnection, IControlBus> createBus, Func<CancellationToken, Task<ClusterConnection>>? connect)
    {
        Check(_options);
        var capacity = DetectedResources.Detect(_options);
        _directory = DataDirectory.Open(_options.DataDirectory);
        _directory.EmptyTrash();
        _records = new RecordStore(_directory, Log<RecordStore>());
        _cgroups = ContainerCgroups.Open(_options.EnforceMemory ? _options.Cgroup : "none", Log<ContainerCgroups>());
        _logs = new ContainerLogs(_options.LogFileBytes, _options.LogFiles, Log<ContainerLogs>());
        _memory = new MemoryWatch(_cgroups);
        _outbox = new Outbox(Log<Outbox>());
        _http = new HttpClient(new SocketsHttpHandler { ConnectTimeout = TimeSpan.FromSeconds(5), PooledConnectionLifetime = TimeSpan.FromMinutes(5) }) { Timeout = Timeout.InfiniteTimeSpan };
        _cache = new BlobCache(
            _directory.Cache, _options.CacheBytes, _options.ParallelFetches,
            new BlobFetcher(_http, ClusterSecret.ApiToken(_options.Secret), _clock, Log<BlobFetcher>()), Log<BlobCache>());
        _performer = new EffectPerformer(
            _directory, _records, _cache, new ContainerLauncher(_options, _directory, _records, _cgroups), _cgroups, _logs, _outbox,
            () => Identity.Url, () => [_options.Address], Log<EffectPerformer>());

        // The web server starts first: its address is part of who we are. Requests wait until the rest is there.
        var ready = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _web = CreateWeb(ready.Task);
        new AgentEndpoints(_options, () => Identity, _directory, () => _loop, _cache, _logs, _memory, _cgroups, _clock).Map(_web);
        var url = await ListenAsync(_web);

        Identity = new NodeIdentity(new NodeId(_options.NodeId), _directory.NextIncarnation(_clock.GetUtcNow()), capacity, url, Dns.GetHostName())
        {
            Rack = _options.Rack,
            Partition = _options.Partition,
            Attributes = System.Collections.Immutable.ImmutableSortedDictionary.CreateRange(StringComparer.Ordinal, _options.Attributes),
            Version = typeof(NodeAgentServer).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "",
        };
        _loop = new AgentLoop(new ContainerTable(Identity), _performer.Perform, _clock, Log<AgentLoop>());
        _performer.Post = happened => _loop.PostAsync(happened, CancellationToken.None);
        _performer.End = End;
        // Before looking at what is there, so that nothing that happens between the look and the watch is missed.
        _records.Watch(container => _notices.Writer.TryWrite(container));
        Adopt();
        ready.SetResult();

        Run(_loop.RunAsync);
        Run(NoticeAsync);
        Run(LookAsync);
        Run(WatchDiskAsync);
        Run(KeepHouseAsync);
        Run(stop => JoinAsync(createBus, connect ?? new ClusterJoin(_http, _options, _clock, Log<ClusterJoin>()).ConnectAsync, stop));
        _logger.LogInformation(
            "Node {Node} offers {Capacity} at {Url}; data in {Directory}; incarnation {Incarnation}.", Identity.NodeId, capacity, url, _directory.Root, Identity.Incarnation);
    }

    private ILogger<T> Log<T>() => _loggers.CreateLogger<T>();

    /// <summary>Refuses settings that cannot work, before anything is touched.</summary>
    internal static void Check(NodeAgentOptions options)
    {
        try
        {
            Protocol.NodeId.Create(options.NodeId);
        }
        catch (FormatException error)
        {
            throw new AgentStartException(AgentExitCode.Usage, $"Yarnish:NodeId: {error.Message}");
        }
        var url = ParseUrl(options.Urls, "Urls");
        if (options.Secret.Length == 0 && !IsLoopback(url.Host))
        {
            throw new AgentStartException(
                AgentExitCode.Usage,
                $"Yarnish:Urls is {options.Urls}, which others can reach, but no cluster secret is set: anybody could start programs here. Set Yarnish__Secret, or listen on 127.0.0.1.");
        }
        if (options.AdvertisedUrl.Length > 0)
        {
            ParseUrl(options.AdvertisedUrl, "AdvertisedUrl");
        }
        ParseUrl(options.Address, "Address");
        if (options.CacheBytes < 0 || options.ParallelFetches is < 1 or > 64 || options.LogFileBytes < 128 * 1024 || options.LogFiles < 2
            || options.DiskFullPercent is not (> 0 and <= 100) || options.LogRetentionHours is not >= 0 || options.LogTotalBytes < 0)
        {
            throw new AgentStartException(
                AgentExitCode.Usage,
                "A setting is out of range: CacheBytes and LogTotalBytes at least 0, ParallelFetches 1 to 64, LogFileBytes at least 131072, LogFiles at least 2, "
                + "DiskFullPercent above 0 and at most 100, LogRetentionHours at least 0.");
        }
    }

    private static Uri ParseUrl(string text, string setting) =>
        Uri.TryCreate(text.Replace("://+", "://0.0.0.0", StringComparison.Ordinal).Replace("://*", "://0.0.0.0", StringComparison.Ordinal), UriKind.Absolute, out var url)
        && url.Scheme is "http" or "https"
            ? url
            : throw new AgentStartException(AgentExitCode.Usage, $"Yarnish:{setting} is '{text}', which is not one http or https URL such as http://127.0.0.1:8042.");

    private static bool IsLoopback(string host) => host == "localhost" || (IPAddress.TryParse(host.Trim('[', ']'), out var address) && IPAddress.IsLoopback(address));

    private WebApplication CreateWeb(Task ready)
    {
        var builder = WebApplication.CreateSlimBuilder(new WebApplicationOptions { ApplicationName = "Yarnish.NodeAgent", ContentRootPath = _directory.Root });
        builder.Logging.ClearProviders();
        builder.Services.AddSingleton(_loggers);
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxConcurrentConnections = 4096;
            kestrel.Limits.MaxRequestBodySize = 4L << 20;
        });
        builder.WebHost.UseUrls(_options.Urls);
        // Signals are the program's business, see Program.cs: two owners of one signal end badly.
        builder.Services.AddSingleton<IHostLifetime, NoLifetime>();
        var application = builder.Build();
        application.Use(async (HttpContext context, RequestDelegate next) =>
        {
            await ready;
            await next(context);
        });
        return application;
    }

    private async Task<string> ListenAsync(WebApplication application)
    {
        try
        {
            await application.StartAsync();
        }
        catch (IOException error)
        {
            throw new AgentStartException(AgentExitCode.Usage, $"The agent cannot listen on {_options.Urls}: {error.Message} Set another port with Yarnish__Urls; port 0 takes a free one.");
        }
        if (_options.AdvertisedUrl.Length > 0)
        {
            return _options.AdvertisedUrl.TrimEnd('/');
        }
        var bound = new Uri(application.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());
        var everywhere = IPAddress.TryParse(bound.Host.Trim('[', ']'), out var address) && (address.Equals(IPAddress.Any) || address.Equals(IPAddress.IPv6Any));
        return $"{bound.Scheme}://{(everywhere ? Dns.GetHostName() : bound.Host)}:{bound.Port}";
    }

    private void Adopt()
    {
        if (_directory.Epoch is > 0 and var epoch)
        {
            _loop.Begin(new EpochSeen(epoch));
        }
        foreach (var application in _directory.HeldApplications())
        {
            _loop.Begin(new ApplicationFound(application));
        }
        foreach (var application in _directory.EndedApplications())
        {
            // Only marked now; it is removed once its containers, which come next, are over.
            _applicationsToEnd.Add(application);
        }
        foreach (var (container, exit) in _records.Former())
        {
            _loop.Begin(new FormerContainerFound(container, exit));
        }
        foreach (var record in _records.Records())
        {
            var id = record.ContainerId;
            var process = _records.Started(id);
            var alive = process is not null
                && (ProcessList.IsAlive(process.ProcessId, process.StartTicks) || ProcessList.IsAlive(process.LauncherId, process.LauncherStartTicks));
            // In this order: a launcher that ended between the two looks has written its code by now.
            var code = _records.ExitCode(id);
            var end = code is not null || (process is not null && !alive) ? _performer.EndOf(record, code) with { Note = "It ended while no agent was there to see." } : null;
            _logger.LogInformation(
                "Container {Container} of application {Application} is adopted: {State}.",
                id, record.ApplicationId, end is not null ? "it ended meanwhile" : process is not null ? $"process {process.ProcessId} runs" : "its process was not seen yet");
            if (end is null)
            {
                _cache.Adopt(id, record.Blobs.IsDefault ? [] : record.Blobs);
            }
            _loop.Begin(new ContainerFound(record, end is null ? process : null, end));
        }
        foreach (var application in _applicationsToEnd)
        {
            _loop.Begin(new EndedApplicationFound(application));
        }
    }

    private readonly List<ApplicationId> _applicationsToEnd = [];

    private void Run(Func<CancellationToken, Task> work) => _tasks.Add(Task.Run(async () =>
    {
        try
        {
            await work(_lifetime.Token);
        }
        catch (OperationCanceledException) when (_lifetime.IsCancellationRequested)
        {
            // The agent ends.
        }
        catch (AgentStartException error)
        {
            End(error.ExitCode, error.Message);
        }
        catch (Exception error)
        {
            _logger.LogCritical(error, "The agent cannot go on.");
            End(AgentExitCode.Failed, $"The agent failed: {error.Message} Its containers live on; start it again.");
        }
    }));

    private void End(int exitCode, string reason)
    {
        if (reason.Length > 0 && EndReason.Length == 0)
        {
            EndReason = reason;
        }
        _ended.TrySetResult(exitCode);
    }

    private async Task JoinAsync(Func<ClusterConnection, IControlBus> createBus, Func<CancellationToken, Task<ClusterConnection>> connect, CancellationToken stop)
    {
        while (true)
        {
            var connection = await connect(stop);
            await _loop.PostAsync(new EpochSeen(connection.Epoch), stop);
            IControlBus? bus = null;
            try
            {
                bus = createBus(connection);
                await bus.StartAsync(ReceiveAsync, stop);
            }
            catch (BrokerUnreachableException error)
            {
                if (bus is not null)
                {
                    await bus.DisposeAsync();
                    bus = null;
                }
                _logger.LogWarning("The control bus cannot be joined: {Error} The agent keeps trying.", error.Message);
                await Task.Delay(TimeSpan.FromSeconds(2), _clock, stop);
                continue;
            }
            finally
            {
                // From here on, also when starting it failed: it is disposed with the agent.
                _bus = bus;
            }
            _telemetry = YarnishTelemetry.Start("yarnish-node-agent", Identity.NodeId.Value, connection.OtlpEndpoint);
            _logger.LogInformation("Joined cluster {Cluster}.", connection.ClusterName);
            await _loop.PostAsync(new BusConnected(), stop);
            await _outbox.RunAsync(bus, stop);
            return;
        }
    }

    private async ValueTask ReceiveAsync(ControlDelivery delivery)
    {
        if (delivery.From.Role != ControlRole.ResourceManager)
        {
            _logger.LogWarning("A {Message} from {From} is ignored: only the resource manager commands agents.", delivery.Message.GetType().Name, delivery.From);
            return;
        }
        await _loop.PostAsync(new MessageReceived(delivery.Message), _lifetime.Token);
    }

    // A launcher wrote something: at once.
    private async Task NoticeAsync(CancellationToken stop)
    {
        await foreach (var container in _notices.Reader.ReadAllAsync(stop))
        {
            await NoticeAsync(container, stop);
        }
    }

    private async Task NoticeAsync(ContainerId container, CancellationToken stop)
    {
        if (_loop.Snapshot.Containers.FirstOrDefault(found => found.Record.ContainerId == container) is { State: not ContainerState.Exited } view)
        {
            try
            {
                await _performer.NoticeAsync(view);
            }
            catch (IOException error)
            {
                _logger.LogWarning("The records of container {Container} could not be read: {Error}", container, error.Message);
            }
            stop.ThrowIfCancellationRequested();
        }
    }

    // Once a second: memory, logs, and whatever the watch on the records missed.
    private async Task LookAsync(CancellationToken stop)
    {
        using var timer = new PeriodicTimer(LookEvery, _clock);
        while (await timer.WaitForNextTickAsync(stop))
        {
            var live = _loop.Snapshot.Containers.Where(container => container.State != ContainerState.Exited).ToArray();
            if (live.Length == 0)
            {
                continue;
            }
            foreach (var view in live)
            {
                _notices.Writer.TryWrite(view.Record.ContainerId);
                _logs.Rotate(_directory.ContainerLogs(view.Record.ApplicationId, view.Record.ContainerId));
            }
            if (_options.EnforceMemory)
            {
                foreach (var (container, used) in _memory.Look(live.Where(view => view.Process is not null), ProcessList.ReadAll()))
                {
                    await _loop.PostAsync(new MemoryExceeded(container, used), stop);
                }
            }
        }
    }

    private async Task WatchDiskAsync(CancellationToken stop)
    {
        var healthy = true;
        using var timer = new PeriodicTimer(DiskEvery, _clock);
        do
        {
            var disk = new DriveInfo(_directory.Root);
            double used;
            try
            {
                // As df counts: what is reserved for root is neither free nor used.
                var taken = disk.TotalSize - disk.TotalFreeSpace;
                used = 100.0 * taken / Math.Max(1, taken + disk.AvailableFreeSpace);
            }
            catch (IOException error)
            {
                _logger.LogWarning("The disk of {Directory} cannot be looked at: {Error}", _directory.Root, error.Message);
                continue;
            }
            // One percent below the bound it counts as free again, so that the node does not flicker.
            var now = used <= _options.DiskFullPercent - (healthy ? 0 : 1);
            if (now != healthy)
            {
                healthy = now;
                var reason = now
                    ? ""
                    : $"The disk of {_directory.Root} is {used:0.0} % full, more than {_options.DiskFullPercent} % (DiskFullPercent): {disk.AvailableFreeSpace >> 20} MiB are free.";
                _logger.LogWarning("{Health}", now ? "The disk has room again." : reason + " The node takes nothing new.");
                await _loop.PostAsync(new HealthChanged(now, reason), stop);
            }
        }
        while (await timer.WaitForNextTickAsync(stop));
    }

    private async Task KeepHouseAsync(CancellationToken stop)
    {
        using var timer = new PeriodicTimer(HouseEvery, _clock);
        while (await timer.WaitForNextTickAsync(stop))
        {
            var live = _loop.Snapshot.Containers.Where(view => view.State != ContainerState.Exited).Select(view => view.Record.ContainerId).ToHashSet();
            try
            {
                LogRetention.Apply(_directory, live, TimeSpan.FromHours(_options.LogRetentionHours), _options.LogTotalBytes, _clock.GetUtcNow());
                _cgroups.Sweep(live);
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                _logger.LogWarning("Cleaning up failed and is tried again: {Error}", error.Message);
            }
        }
    }

    private sealed class NoLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
