using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Logging;
using Yarnish.Blocks;
using Yarnish.Cluster;
using Yarnish.Embedded;
using Yarnish.Hosting;
using Yarnish.Jobs;
using Yarnish.Progress;
using Yarnish.Protocol;
using Yarnish.Serialization;
using Yarnish.Shared;
using Yarnish.Status;
using Yarnish.Tracing;
using Yarnish.Transport;

namespace Yarnish;

/// <summary>
/// An application: makes collections and runs their jobs, on a cluster or in this process. Open it with <see cref="CreateBuilder"/>, dispose it at the end: that ends its
/// executors and reports the application as over. Safe for use by several threads; jobs of several callers share the executors.
/// <para>Ctrl-C and SIGTERM cancel the running jobs (their callers see <see cref="OperationCanceledException"/>) and end the application; a program that lets that exception through ends
/// with exit code 130 (143 after SIGTERM) and without a stack trace. A second Ctrl-C ends the process at once.</para>
/// </summary>
public sealed partial class YarnishSession : IAsyncDisposable, IDriverOnly
{
    /// <summary>How long disposing may take when the broker or the resource manager do not answer.</summary>
    private static readonly TimeSpan DisposeTimeout = TimeSpan.FromSeconds(15);

    private readonly JobRunner runner;
    private readonly List<IAsyncDisposable> owned;
    private readonly List<PosixSignalRegistration> signals = [];
    private readonly CancellationTokenSource stopping = new();
    private readonly Lock gate = new();
    private Task? disposal;

    private YarnishSession(ApplicationId application, YarnishOptions options, IReadOnlyList<string> arguments, JobRunner runner, List<IAsyncDisposable> owned)
    {
        ApplicationId = application;
        Options = options;
        Arguments = arguments;
        this.runner = runner;
        this.owned = owned;
        Stopping = stopping.Token;
    }

    /// <summary>Its id: names it in the cluster's tools.</summary>
    public ApplicationId ApplicationId { get; }

    /// <summary>Its name.</summary>
    public string Name => Options.Name;

    /// <summary>True when everything runs in this process.</summary>
    public bool IsEmbedded => Options.Address.Length == 0;

    /// <summary>The program's own arguments: those given to <see cref="CreateBuilder"/> without the session's settings.</summary>
    public IReadOnlyList<string> Arguments { get; }

    /// <summary>Cancelled when the session ends: by Ctrl-C, SIGTERM or <see cref="DisposeAsync"/>.</summary>
    public CancellationToken Stopping { get; }

    /// <summary>What it has done so far. On a cluster at most two seconds old while jobs run; exact when none does.</summary>
    public ApplicationProgress Progress => runner.Progress;

    /// <summary>Where the driver serves its status, such as <c>http://127.0.0.1:40123</c>; empty when it does not, see <see cref="YarnishOptions.StatusUrl"/>.</summary>
    public string StatusUrl { get; private init; } = "";

    /// <summary>The settings it was opened with; changes have no effect.</summary>
    internal YarnishOptions Options { get; }

    /// <summary>Values that executors read.</summary>
    internal BroadcastOrigin Broadcasts => runner.Broadcasts;

    /// <summary>Where blocks are.</summary>
    internal IBlockRegistry Registry => runner.Registry;

    /// <summary>Runs the plans of its collections.</summary>
    internal IJobRunner Runner => runner;

    /// <summary>Starts to collect settings.</summary>
    /// <param name="arguments">Arguments of the program: settings among them are taken, see <see cref="YarnishOptions"/>; the rest is <see cref="Arguments"/>.</param>
    public static YarnishSessionBuilder CreateBuilder(params string[] arguments)
    {
        Sources.CompressedFiles.CountTruncatedAsDamaged();
        return new(arguments ?? []);
    }

    /// <summary>Cancels what runs, ends the executors and the application. Safe to call more than once; never throws because of a cluster that does not answer.</summary>
    public ValueTask DisposeAsync()
    {
        lock (gate)
        {
            return new ValueTask(disposal ??= EndAsync());
        }
    }

    internal static async Task<YarnishSession> OpenAsync(YarnishOptions options, IReadOnlyList<string> arguments, TimeProvider clock, CancellationToken cancellation)
    {
        var owned = new List<IAsyncDisposable>();
        try
        {
            var application = NewApplicationId(clock);
            var display = new ProgressDisplay(ProgressDisplay.Settle(options.Progress), Console.Error, ProgressDisplay.TerminalWidth, clock);
            owned.Add(display);
            var status = StartStatus(application, options, clock, display, owned, out var statusUrl);
            var setting = new Setting(application, options, clock, display, status, statusUrl, owned);
            var runner = options.Address.Length == 0 ? Embed(setting) : await JoinAsync(setting, cancellation).ConfigureAwait(false);
            owned.Add(runner);
            await runner.StartAsync(cancellation).ConfigureAwait(false);
            var session = new YarnishSession(setting.Application, options, arguments, runner, owned) { StatusUrl = statusUrl };
            session.WatchSignals();
            return session;
        }
        catch
        {
            await DisposeAllAsync(owned).ConfigureAwait(false);
            throw;
        }
    }

    private static JobRunner Embed(Setting setting)
    {
        var (application, options, clock, display, status, _, owned) = setting;
        var slots = options.ExecutorCores > 0 ? options.ExecutorCores : Environment.ProcessorCount;
        if (display.Enabled)
        {
            Console.Error.WriteLine($"yarnish: no address set, '{options.Name}' runs embedded in this process on {slots} {(slots == 1 ? "slot" : "slots")}");
        }
        var traces = StartTraces(setting, endpoint: null);
        var logs = Logs(owned);
        var fleet = new EmbeddedFleet(application, slots, options.Isolated, clock, logs.CreateLogger("Yarnish.Executor"));
        owned.Add(fleet);
        var broadcasts = new BroadcastOrigin(options.Isolated, options.MaximumBroadcastBytes, fleet.Registry, fleet.TakeBlockAsync);
        owned.Add(new Disposing(broadcasts));
        return new JobRunner(new JobRunnerParts(application, options, clock, fleet.Link, fleet.Registry, fleet, fleet.Carrier, traces, status, display, fleet.ReadBlockAsync, broadcasts));
    }

    private static async Task<JobRunner> JoinAsync(Setting setting, CancellationToken cancellation)
    {
        var (application, options, clock, display, status, statusUrl, owned) = setting;
        // Hashing the files needs no cluster: it runs while the resource manager is asked.
        var listing = Task.Run(() => ApplicationFiles.OfThisProgram(cancellation), cancellation);
        var client = new ClusterClient(options.Address, options.Secret, clock);
        owned.Add(new Disposing(client));
        var connection = await client.ConnectAsync(options.ConnectTimeout, cancellation).ConfigureAwait(false);
        var traces = StartTraces(setting, connection.OtlpEndpoint);
        var logs = Logs(owned);

        var registry = RedisBlockRegistry.Connect(connection.Redis, application);
        owned.Add(registry);
        var blocks = new BlockClient(application, ClusterSecret.ApplicationToken(options.Secret, application));
        owned.Add(new Disposing(blocks));
        var link = new RabbitMqDriverLink(connection.RabbitMq, application, logs.CreateLogger<RabbitMqDriverLink>());
        owned.Add(link);
        var bus = new RabbitMqControlBus(connection.RabbitMq, connection.ClusterName, options.Secret, ControlAddress.Application(application), logs);

        var environment = ExecutorVariables.Of(connection, application, options, traces.ApplicationParent, Environment.GetEnvironmentVariables());
        var registration = new RegisterApplication(application, options.Name, Environment.UserName, options.Queue)
        {
            Driver = DriverName(),
            TraceParent = traces.ApplicationParent,
            StatusUrl = statusUrl,
        };
        var fleet = new ClusterFleet(registration, PrepareAsync, options, bus, clock, client.ProbeAsync);
        owned.Add(fleet);
        var broadcasts = new BroadcastOrigin(travels: true, options.MaximumBroadcastBytes, registry, blocks.WriteAsync);
        owned.Add(new Disposing(broadcasts));
        return new JobRunner(new JobRunnerParts(
            application, options, clock, link, registry, fleet, new SerializingCarrier(), traces, status, display,
            (nodeUrl, block, token) => blocks.ReadAsync(nodeUrl, block, options.MaximumResultBytes, token), broadcasts));

        async Task<Protocol.LaunchSpecification> PrepareAsync(CancellationToken token)
        {
            var files = await listing.ConfigureAwait(false);
            var (count, bytes) = await client.UploadAsync(files, token).ConfigureAwait(false);
            if (bytes > 1 << 20)
            {
                display.Line($"uploaded {count} files of the program, {bytes / 1048576.0:0.0} MiB");
            }
            return files.ToLaunch(environment);
        }
    }

    private static DriverTraces StartTraces(Setting setting, string? endpoint)
    {
        // A program that listens to the driver's spans itself would get each of them twice.
        if (!DriverTraces.HasListeners)
        {
            try
            {
                setting.Owned.Add(new Disposing(YarnishTelemetry.Start(setting.Options.Name, setting.Application.Value, endpoint)));
            }
            catch (ConfigurationException error)
            {
                throw YarnishConnectException.Because("Traces cannot be sent.", error.Message, "correct the OTEL_ environment variables, or set OTEL_SDK_DISABLED=true", error);
            }
        }
        return new DriverTraces(setting.Application, setting.Options.Name);
    }

    /// <summary>Warnings of the session's parts go to stderr, but those of lost links: the progress tells what is waited for. More with <c>Logging__LogLevel__Yarnish=Information</c>.</summary>
    private static ILoggerFactory Logs(List<IAsyncDisposable> owned)
    {
        var configuration = new ConfigurationBuilder()
            .AddInMemoryCollection([new("Logging:LogLevel:Yarnish", "Warning"), new("Logging:LogLevel:Yarnish.Transport", "Error"), new("Logging:LogLevel:MassTransit", "None")])
            .AddEnvironmentVariables()
            .Build();
        var logs = YarnishLogging.CreateFactory(configuration, standardError: true);
        owned.Add(new Disposing(logs));
        return logs;
    }

    /// <summary><c>app-</c>, the time to the second, and enough randomness for all programs that start within it.</summary>
    private static ApplicationId NewApplicationId(TimeProvider clock) =>
        ApplicationId.Create(string.Create(CultureInfo.InvariantCulture, $"app-{clock.GetUtcNow():yyMMdd-HHmmss}-{RandomNumberGenerator.GetHexString(6, lowercase: true)}"));

    /// <summary>In reverse order of their making; an error of one does not keep the others.</summary>
    private static async Task DisposeAllAsync(List<IAsyncDisposable> owned)
    {
        for (var i = owned.Count - 1; i >= 0; i--)
        {
            try
            {
                await owned[i].DisposeAsync().AsTask().WaitAsync(DisposeTimeout).ConfigureAwait(false);
            }
            catch (Exception error) when (error is TimeoutException or IOException or InvalidOperationException or BlockRegistryException or BrokerUnreachableException)
            {
                // The end of a session must not fail because its cluster is gone.
                Trace.TraceWarning("Yarnish: ending the session: {0}", error.Message);
            }
        }
        owned.Clear();
    }

    private void WatchSignals()
    {
        foreach (var signal in new[] { PosixSignal.SIGINT, PosixSignal.SIGTERM })
        {
            signals.Add(PosixSignalRegistration.Create(signal, OnSignal));
        }
    }

    private void OnSignal(PosixSignalContext context)
    {
        if (stopping.IsCancellationRequested)
        {
            // A second Ctrl-C takes its usual course: the process ends. SIGTERM after Ctrl-C is a parent that passes on what the terminal has told both already.
            context.Cancel = context.Signal == PosixSignal.SIGTERM;
            return;
        }
        context.Cancel = true;
        var exitCode = 128 + (context.Signal == PosixSignal.SIGINT ? 2 : 15);
        // A program that does not catch the cancellation of its job ends as the signal would have ended it, not with a crash.
        AppDomain.CurrentDomain.UnhandledException += (_, unhandled) =>
        {
            if (unhandled.ExceptionObject is OperationCanceledException)
            {
                Environment.Exit(exitCode);
            }
        };
        var busy = runner.HasJobs;
        runner.Interrupted = $"ended by {context.Signal}";
        stopping.Cancel();
        _ = Task.Run(async () =>
        {
            await DisposeAsync().ConfigureAwait(false);
            if (!busy)
            {
                // No job was there to carry the cancellation to the program.
                Environment.Exit(exitCode);
            }
        });
    }

    private async Task EndAsync()
    {
        await Task.Yield();
        if (!stopping.IsCancellationRequested)
        {
            await stopping.CancelAsync().ConfigureAwait(false);
        }
        await DisposeAllAsync(owned).ConfigureAwait(false);
        foreach (var signal in signals)
        {
            signal.Dispose();
        }
        // Not disposed: the token is public, and waiting on it must stay possible.
    }

    /// <summary>What both kinds of sessions begin with.</summary>
    private sealed record Setting(ApplicationId Application, YarnishOptions Options, TimeProvider Clock, ProgressDisplay Display, StatusKeeper Status, string StatusUrl, List<IAsyncDisposable> Owned);

    private sealed class Disposing(IDisposable inner) : IAsyncDisposable
    {
        public ValueTask DisposeAsync()
        {
            inner.Dispose();
            return default;
        }
    }
}
