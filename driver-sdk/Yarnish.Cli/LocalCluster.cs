using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Yarnish.Protocol;

namespace Yarnish.Cli;

/// <summary>What <see cref="LocalCluster"/> starts.</summary>
internal sealed class LocalClusterOptions
{
    public required int Nodes { get; init; }

    public required int Port { get; init; }

    public required string DataDirectory { get; init; }

    public required long? MilliCores { get; init; }

    public required long MemoryBytes { get; init; }

    public required string Secret { get; init; }

    /// <summary>Full path of the queue file; null for one queue, <c>root.default</c>.</summary>
    public string? QueueFile { get; init; }

    /// <summary>Folder of the daemons' programs; by default the one that ships inside the tool.</summary>
    public string Daemons { get; init; } = Path.Combine(AppContext.BaseDirectory, "daemons");
}

/// <summary>A resource manager and node agents as child processes. Their logs are files in the data directory; all of them end with it.</summary>
internal sealed class LocalCluster(LocalClusterOptions options, Action<string> say) : IAsyncDisposable
{
    private static readonly TimeSpan StartTimeout = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan StopGrace = TimeSpan.FromSeconds(15);

    private readonly List<(string Name, Process Process, string Log)> daemons = [];
    private string? clusterFile;

    public string Address { get; } = string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{options.Port}");

    /// <summary>The daemons that run, by name.</summary>
    public IEnumerable<(string Name, int ProcessId)> Daemons => daemons.Select(daemon => (daemon.Name, daemon.Process.Id));

    /// <summary>Starts everything and returns when every node is registered.</summary>
    public async Task StartAsync(CancellationToken cancellation)
    {
        var services = ClusterSettings.ReadAbove(ClusterSettings.ServicesFile);
        var rabbit = ClusterSettings.Variable("Yarnish__RabbitMq") ?? services.GetValueOrDefault("Yarnish__RabbitMq");
        var redis = ClusterSettings.Variable("Yarnish__Redis") ?? services.GetValueOrDefault("Yarnish__Redis");
        if (rabbit is null || redis is null)
        {
            throw new CommandException(
                ExitCodes.Unreachable,
                "A cluster needs RabbitMQ and Redis, and nobody said where they are. Run 'infra/services.sh up' here, or set Yarnish__RabbitMq (amqp://…) and Yarnish__Redis (host:port).");
        }
        RequireFreePort();
        await ServiceCheck.RequireAsync(rabbit, redis, cancellation).ConfigureAwait(false);
        Directory.CreateDirectory(options.DataDirectory);
        var manager = new Dictionary<string, string?>
        {
            ["Yarnish__RabbitMq"] = rabbit,
            ["Yarnish__Redis"] = redis,
            ["Yarnish__Urls"] = Address,
            ["Yarnish__DataDirectory"] = Path.Combine(options.DataDirectory, "resource-manager"),
            ["Yarnish__Secret"] = options.Secret,
        };
        if (options.QueueFile is { } queues)
        {
            manager["Yarnish__QueueFile"] = queues;
        }
        Start("resource-manager", "Yarnish.ResourceManager.dll", "resource-manager", manager);
        using var client = new ClusterClient(new ClusterSettings(Address, options.Secret));
        await UntilAsync(client, "the resource manager", async () => await TryAsync(client, cancellation).ConfigureAwait(false) is not null, cancellation).ConfigureAwait(false);
        for (var i = 1; i <= options.Nodes; i++)
        {
            var name = string.Create(CultureInfo.InvariantCulture, $"node-{i}");
            var settings = new Dictionary<string, string?>
            {
                ["Yarnish__Address"] = Address,
                ["Yarnish__Secret"] = options.Secret,
                ["Yarnish__NodeId"] = name,
                ["Yarnish__Urls"] = "http://127.0.0.1:0",
                ["Yarnish__DataDirectory"] = Path.Combine(options.DataDirectory, name),
                ["Yarnish__MemoryBytes"] = options.MemoryBytes.ToString(CultureInfo.InvariantCulture),
                ["Yarnish__StopContainersOnExit"] = "true",
            };
            if (options.MilliCores is { } cores)
            {
                settings["Yarnish__MilliCores"] = cores.ToString(CultureInfo.InvariantCulture);
            }
            Start("node-agent", "Yarnish.NodeAgent.dll", name, settings);
        }
        await UntilAsync(client, "the node agents", async () =>
            await TryAsync(client, cancellation).ConfigureAwait(false) is { } info && info.Nodes.GetValueOrDefault("running") >= options.Nodes, cancellation).ConfigureAwait(false);
        WriteClusterFile();
    }

    /// <summary>Waits until the user stops it (0) or a daemon ends by itself (1).</summary>
    public async Task<int> WaitAsync(CancellationToken cancellation)
    {
        var ends = daemons.Select(async daemon =>
        {
            await daemon.Process.WaitForExitAsync(cancellation).ConfigureAwait(false);
            return daemon;
        }).ToArray();
        try
        {
            var (name, process, log) = await (await Task.WhenAny(ends).ConfigureAwait(false)).ConfigureAwait(false);
            say($"error: {name} ended by itself with code {process.ExitCode}. Its last words, from {log}:{Environment.NewLine}{Tail(log)}");
            return ExitCodes.ApplicationFailed;
        }
        catch (OperationCanceledException)
        {
            say("stopping the cluster …");
            return ExitCodes.Success;
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (clusterFile is not null)
        {
            File.Delete(clusterFile);
        }
        // Agents first: they stop their containers and say so while there is someone to hear it.
        await Task.WhenAll(daemons.Skip(1).Select(daemon => ProcessSignals.TerminateAsync(daemon.Process, StopGrace))).ConfigureAwait(false);
        foreach (var daemon in daemons)
        {
            await ProcessSignals.TerminateAsync(daemon.Process, StopGrace).ConfigureAwait(false);
            daemon.Process.Dispose();
        }
    }

    // Else a resource manager that runs there already would be taken for ours.
    private void RequireFreePort()
    {
        try
        {
            using var listener = new TcpListener(IPAddress.Loopback, options.Port);
            listener.Start();
        }
        catch (SocketException error)
        {
            throw new CommandException(ExitCodes.Usage, $"Port {options.Port} on 127.0.0.1 cannot be used: {error.Message}. Is another cluster up? Choose another port with --port.");
        }
    }

    private void Start(string folder, string program, string name, Dictionary<string, string?> settings)
    {
        var path = Path.Combine(options.Daemons, folder, program);
        if (!File.Exists(path))
        {
            throw new CommandException(ExitCodes.Unreachable, $"The program '{path}' is missing: the tool is not installed whole. Build the solution again.");
        }
        var log = Path.Combine(options.DataDirectory, name + ".log");
        // A shell redirects to the log file, so that a daemon never blocks on a pipe nobody reads, and then becomes the daemon.
        var start = new ProcessStartInfo("/bin/sh") { WorkingDirectory = options.DataDirectory };
        foreach (var argument in new[] { "-c", "exec dotnet \"$0\" >>\"$1\" 2>&1 </dev/null", path, log })
        {
            start.ArgumentList.Add(argument);
        }
        foreach (var (key, value) in settings)
        {
            start.Environment[key] = value;
        }
        daemons.Add((name, Process.Start(start)!, log));
    }

    private async Task UntilAsync(ClusterClient client, string what, Func<Task<bool>> condition, CancellationToken cancellation)
    {
        var started = Stopwatch.StartNew();
        var told = "";
        while (!await condition().ConfigureAwait(false))
        {
            if (started.Elapsed > Patience && await client.NotReadyAsync(cancellation).ConfigureAwait(false) is { Length: > 0 } reason && reason != told)
            {
                say($"waiting for {what}: {told = reason}");
            }
            foreach (var (name, process, log) in daemons)
            {
                if (process.HasExited)
                {
                    throw new CommandException(ExitCodes.Unreachable, $"{name} ended with code {process.ExitCode} while starting. Its last words, from {log}:{Environment.NewLine}{Tail(log)}");
                }
            }
            if (started.Elapsed > StartTimeout)
            {
                throw new CommandException(ExitCodes.Timeout, $"{what} did not come up within {StartTimeout.TotalSeconds:0} s{(told.Length > 0 ? $": {told}" : ".")} See the logs in {options.DataDirectory}.");
            }
            await Task.Delay(50, cancellation).ConfigureAwait(false);
        }
    }

    private static async Task<ClusterInfo?> TryAsync(ClusterClient client, CancellationToken cancellation)
    {
        try
        {
            return await client.ClusterAsync(cancellation).ConfigureAwait(false);
        }
        catch (CommandException error) when (error.ExitCode is ExitCodes.Unreachable or ExitCodes.Timeout)
        {
            return null;
        }
    }

    private void WriteClusterFile()
    {
        var path = Path.GetFullPath(ClusterSettings.ClusterFile);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        if (!OperatingSystem.IsWindows())
        {
            // It may hold the secret: for its owner's eyes only.
            using var file = new FileStream(path, new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite });
        }
        File.WriteAllText(path, $"Yarnish__Address={Address}\n{(options.Secret.Length > 0 ? $"Yarnish__Secret={options.Secret}\n" : "")}");
        clusterFile = path;
    }

    private static string Tail(string log) => File.Exists(log) ? string.Join(Environment.NewLine, File.ReadLines(log).TakeLast(15)) : "(no log)";
}
