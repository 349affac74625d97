using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Yarnish.ResourceManager.Blobs;
using Yarnish.ResourceManager.Journal;
using Yarnish.ResourceManager.Telemetry;
using Yarnish.Scheduling;
using Yarnish.Transport;

namespace Yarnish.ResourceManager.Cluster;

/// <summary>
/// Brings the cluster up and keeps it up: journal, then broker, then the shell. What is not there yet is tried again, while the program already answers
/// <c>/livez</c> and says in <c>/readyz</c> what it waits for. A shell that broke is replaced by one with the next epoch; agents and drivers resync.
/// </summary>
internal sealed partial class ClusterService(
    ResourceManagerOptions options,
    ClusterSettings settings,
    ClusterStatus status,
    BlobStore blobs,
    ClusterInstruments instruments,
    Func<IClusterJournal> openJournal,
    Func<IControlBus> openBus,
    IServer server,
    IHostApplicationLifetime lifetime,
    TimeProvider clock,
    ILogger<ClusterService> logger,
    QueuesInForce? queuesOfFile = null) : BackgroundService
{
    private static readonly TimeSpan FirstPause = TimeSpan.FromSeconds(0.5);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(5);

    // The shell that receives; while there is none, messages wait here, and behind them in the broker.
    private TaskCompletionSource<ClusterShell> _receiver = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Set when the program ended because another resource manager took over.</summary>
    public bool Deposed { get; private set; }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            await StartedAsync(stoppingToken);
            status.BaseUrl = AdvertisedUrl(options, server.Features.Get<IServerAddressesFeature>()?.Addresses ?? []);
            Log.Listening(logger, options.ClusterName, status.BaseUrl);
            await using var journal = openJournal();
            await using var bus = new BusHolder();
            var pause = FirstPause;
            var queues = queuesOfFile;
            while (true)
            {
                // Both at once, so that /readyz names everything that is missing.
                var opening = OpenJournalAsync(journal, stoppingToken);
                await Task.WhenAll(opening, bus.Bus is null ? ConnectAsync(bus, stoppingToken) : Task.CompletedTask);
                var parts = new ClusterShell.Parts(bus.Bus!, journal, blobs, instruments, clock, logger, options.TickInterval, options.InboxCapacity);
                var started = clock.GetTimestamp();
                var problem = "The scheduler stopped.";
                try
                {
                    var shell = await ClusterShell.RecoverAsync(parts, settings with { BlobSources = [status.BaseUrl] }, await opening, stoppingToken, queues);
                    status.Shell = shell;
                    _receiver.SetResult(shell);
                    await shell.RunAsync(stoppingToken);
                    return;
                }
                catch (Exception error) when (error is not (DeposedException or OperationCanceledException))
                {
                    Log.Broke(logger, error);
                    problem = $"The scheduler broke and is started again: {error.Message}";
                }
                finally
                {
                    // A shell that broke hands its queues on: a file that became wrong meanwhile must not take them away.
                    queues = status.Shell?.Queues ?? queues;
                    if (_receiver.Task.IsCompleted)
                    {
                        _receiver = new(TaskCreationOptions.RunContinuationsAsynchronously);
                    }
                    status.Shell = null;
                    status.JournalProblem = problem;
                }
                pause = clock.GetElapsedTime(started) > TimeSpan.FromMinutes(1) ? FirstPause : Longer(pause);
                await Task.Delay(pause, clock, stoppingToken);
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
        }
        catch (DeposedException error)
        {
            Deposed = true;
            Log.Deposed(logger, error.Message);
            lifetime.StopApplication();
        }
    }

    /// <summary>The URL that others are told: the configured one, or the first bound one with the host's name for a wildcard.</summary>
    internal static string AdvertisedUrl(ResourceManagerOptions options, IEnumerable<string> bound)
    {
        if (options.AdvertisedUrl.Length > 0)
        {
            return options.AdvertisedUrl.TrimEnd('/');
        }
        var url = bound.FirstOrDefault() ?? options.Urls.Split(';')[0];
        foreach (var wildcard in (ReadOnlySpan<string>)["://0.0.0.0", "://[::]", "://*", "://+"])
        {
            url = url.Replace(wildcard, "://" + Environment.MachineName, StringComparison.Ordinal);
        }
        return url.TrimEnd('/');
    }

    private static TimeSpan Longer(TimeSpan pause) => pause * 2 < LongestPause ? pause * 2 : LongestPause;

    private async Task StartedAsync(CancellationToken cancellation)
    {
        // Port 0 has its number only when the server is bound.
        var started = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var registration = lifetime.ApplicationStarted.Register(started.SetResult);
        await started.Task.WaitAsync(cancellation);
    }

    private async Task<JournalImage> OpenJournalAsync(IClusterJournal journal, CancellationToken cancellation)
    {
        for (var pause = FirstPause; ; pause = Longer(pause))
        {
            try
            {
                var image = await journal.OpenAsync(cancellation);
                status.JournalProblem = "";
                return image;
            }
            catch (JournalUnavailableException error)
            {
                status.JournalProblem = error.Message;
                Log.Waiting(logger, error.Message, pause.TotalSeconds);
            }
            await Task.Delay(pause, clock, cancellation);
        }
    }

    private async Task ConnectAsync(BusHolder holder, CancellationToken cancellation)
    {
        for (var pause = FirstPause; ; pause = Longer(pause))
        {
            var bus = openBus();
            try
            {
                await bus.StartAsync(ReceiveAsync, cancellation);
                holder.Bus = bus;
                status.BrokerProblem = "";
                return;
            }
            catch (BrokerUnreachableException error)
            {
                status.BrokerProblem = error.Message;
                Log.Waiting(logger, error.Message, pause.TotalSeconds);
            }
            finally
            {
                if (holder.Bus is null)
                {
                    await bus.DisposeAsync();
                }
            }
            await Task.Delay(pause, clock, cancellation);
        }
    }

    private async ValueTask ReceiveAsync(ControlDelivery delivery)
    {
        while (true)
        {
            var shell = await _receiver.Task;
            try
            {
                await shell.ReceiveAsync(delivery);
                return;
            }
            catch (System.Threading.Channels.ChannelClosedException)
            {
                // That shell broke while the message waited at its door: the next one takes it, unless the program ends.
                if (lifetime.ApplicationStopping.IsCancellationRequested)
                {
                    return;
                }
                await Task.Delay(FirstPause, clock);
            }
        }
    }

    /// <summary>Owns the bus over the lives of several shells.</summary>
    private sealed class BusHolder : IAsyncDisposable
    {
        public IControlBus? Bus { get; set; }

        public ValueTask DisposeAsync() => Bus?.DisposeAsync() ?? ValueTask.CompletedTask;
    }

    private static partial class Log
    {
        [LoggerMessage(102, LogLevel.Information, "Cluster {Cluster} at {Url}.")]
        public static partial void Listening(ILogger logger, string cluster, string url);

        [LoggerMessage(103, LogLevel.Warning, "Not ready: {Problem} Trying again in {Seconds} s.")]
        public static partial void Waiting(ILogger logger, string problem, double seconds);

        [LoggerMessage(104, LogLevel.Critical, "The scheduler broke. It starts again from the journal; agents and drivers resync.")]
        public static partial void Broke(ILogger logger, Exception error);

        [LoggerMessage(105, LogLevel.Critical, "{Problem} Stopping: two resource managers of one cluster must not run at a time. Give one of them another Yarnish__ClusterName.")]
        public static partial void Deposed(ILogger logger, string problem);
    }
}
