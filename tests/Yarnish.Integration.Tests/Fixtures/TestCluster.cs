using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Net.Sockets;
using Yarnish.Protocol;

namespace Yarnish.Integration.Tests.Fixtures;

/// <summary>A resource manager and node agents as real processes on this machine, each of which a test may kill and start again.</summary>
internal sealed class TestCluster : IAsyncDisposable
{
    private static readonly TimeSpan StartTimeout = TimeSpan.FromSeconds(60);

    private const string EventLog = "Yarnish__EventLog";

    private readonly Dictionary<string, (ProcessStartInfo Start, Process? Process)> daemons = [];
    private readonly HttpClient http = new() { Timeout = TimeSpan.FromSeconds(10) };

    private readonly Leftovers leftovers;

    private TestCluster(string directory, int port, string secret, string rabbitMq, string redis)
    {
        leftovers = new Leftovers(this, rabbitMq, redis);
        Directory = directory;
        Address = string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{port}");
        // Drivers of this process and of programs it starts: their event logs end with the cluster, not in the developer's home.
        Environment.SetEnvironmentVariable(EventLog, Path.Combine(directory, "events"));
        if (ClusterSecret.ApiToken(secret) is { Length: > 0 } token)
        {
            http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", token);
        }
    }

    /// <summary>URL of the resource manager.</summary>
    public string Address { get; }

    /// <summary>
    /// Set by a test that kills a driver, or ends one while broker or Redis are away: what it could not remove expires there by itself, and must have been given the time when it does.
    /// </summary>
    public bool DriversMayLeaveWhatExpires { get; set; }

    /// <summary>Where the daemons keep their files and logs.</summary>
    public string Directory { get; }

    /// <summary>Its name: clusters of other tests may share the broker.</summary>
    public string Name => "t" + Path.GetFileName(Directory)[^6..].ToLowerInvariant();

    /// <summary>Starts the daemons and returns when every node is registered.</summary>
    /// <param name="rabbitMq">AMQP URI.</param>
    /// <param name="redis">StackExchange.Redis configuration.</param>
    /// <param name="nodes">How many agents, named <c>node-1</c>, <c>node-2</c>, ….</param>
    /// <param name="secret">The cluster's secret; empty for none.</param>
    /// <param name="settings">Further environment variables of every daemon.</param>
    public static async Task<TestCluster> StartAsync(string rabbitMq, string redis, int nodes, string secret = "", params (string Name, string Value)[] settings)
    {
        var directory = System.IO.Directory.CreateTempSubdirectory("yarnish-cluster-").FullName;
        var cluster = new TestCluster(directory, FreePort(), secret, rabbitMq, redis);
        try
        {
            cluster.Define("resource-manager", "resource-manager/Yarnish.ResourceManager.dll", [
                ("Yarnish__RabbitMq", rabbitMq), ("Yarnish__Redis", redis), ("Yarnish__Urls", cluster.Address), ("Yarnish__Secret", secret),
                ("Yarnish__ClusterName", cluster.Name),
                ("Yarnish__DataDirectory", Path.Combine(directory, "resource-manager")), .. settings]);
            for (var i = 1; i <= nodes; i++)
            {
                var name = string.Create(CultureInfo.InvariantCulture, $"node-{i}");
                cluster.Define(name, "node-agent/Yarnish.NodeAgent.dll", [
                    ("Yarnish__Address", cluster.Address), ("Yarnish__Secret", secret), ("Yarnish__NodeId", name), ("Yarnish__Urls", "http://127.0.0.1:0"),
                    ("Yarnish__DataDirectory", Path.Combine(directory, name)), ("Yarnish__MemoryBytes", (4L << 30).ToString(CultureInfo.InvariantCulture)),
                    ("Yarnish__MilliCores", "2000"), .. settings]);
            }
            foreach (var name in cluster.daemons.Keys.ToArray())
            {
                cluster.Start(name);
            }
            await cluster.UntilAsync($"{nodes} nodes are running", info => info.Nodes.GetValueOrDefault("running") == nodes);
            return cluster;
        }
        catch
        {
            await cluster.StopAsync();
            throw;
        }
    }

    /// <summary>SIGKILL to one daemon, as the power cord would.</summary>
    public async Task KillAsync(string name)
    {
        var process = daemons[name].Process ?? throw new InvalidOperationException($"{name} does not run.");
        process.Kill();
        await process.WaitForExitAsync();
        daemons[name] = (daemons[name].Start, null);
    }

    /// <summary>Starts a daemon that was killed.</summary>
    public void Start(string name)
    {
        var (start, _) = daemons[name];
        daemons[name] = (start, Process.Start(start)!);
    }

    /// <summary>Process id of a daemon.</summary>
    public int ProcessId(string name) => daemons[name].Process!.Id;

    /// <summary>GETs a REST record.</summary>
    public async Task<T> GetAsync<T>(string path) => (await http.GetFromJsonAsync<T>($"{Address}/api/v1/{path}", ProtocolJson.Options))!;

    /// <summary>POSTs a REST record.</summary>
    public async Task PostAsync<T>(string path, T body)
    {
        using var response = await http.PostAsJsonAsync($"{Address}/api/v1/{path}", body, ProtocolJson.Options);
        response.EnsureSuccessStatusCode();
    }

    /// <summary>The only application, or the newest.</summary>
    public async Task<ApplicationInfo> NewestApplicationAsync() => (await GetAsync<ApplicationInfo[]>("apps")).OrderBy(application => application.StartedAt).Last();

    /// <summary>Waits until the cluster looks as wanted.</summary>
    public Task UntilAsync(string what, Func<ClusterInfo, bool> condition) => UntilAsync(what, async () => condition(await GetAsync<ClusterInfo>("cluster")));

    /// <summary>Waits for a condition that other processes bring about; fails with the daemons' last words.</summary>
    public async Task UntilAsync(string what, Func<Task<bool>> condition)
    {
        var waited = Stopwatch.StartNew();
        while (true)
        {
            try
            {
                if (await condition())
                {
                    return;
                }
            }
            catch (Exception error) when (error is HttpRequestException or TaskCanceledException && waited.Elapsed < StartTimeout)
            {
                // The resource manager is down or starting.
            }
            if (waited.Elapsed > StartTimeout)
            {
                throw new TimeoutException($"Waited {StartTimeout.TotalSeconds:0} s in vain until {what}.{Environment.NewLine}{Logs()}");
            }
            await Task.Delay(50);
        }
    }

    /// <summary>The last lines of every daemon's log.</summary>
    public string Logs() => string.Join(Environment.NewLine, System.IO.Directory.EnumerateFiles(Directory, "*.log").Order()
        .Select(log => $"==> {Path.GetFileName(log)}{Environment.NewLine}{string.Join(Environment.NewLine, File.ReadLines(log).TakeLast(40))}"));

    /// <summary>SIGKILL to an agent and everything it started: the machine is gone.</summary>
    public async Task LoseNodeAsync(string name)
    {
        await KillAsync(name);
        KillContainers(Path.Combine(Directory, name));
    }

    /// <summary>Fails when an application that ended has left anything behind; stops the daemons in any case.</summary>
    public async ValueTask DisposeAsync()
    {
        try
        {
            // A test that leaves the resource manager dead cannot say which applications there were.
            if (daemons["resource-manager"].Process is { HasExited: false })
            {
                await leftovers.AssertNoneAsync();
            }
        }
        finally
        {
            await StopAsync();
        }
    }

    /// <summary>Processes that work below a directory of this cluster: containers, which outlive a killed agent on purpose.</summary>
    public static IEnumerable<int> ProcessesBelow(string directory)
    {
        foreach (var folder in System.IO.Directory.EnumerateDirectories("/proc"))
        {
            if (int.TryParse(Path.GetFileName(folder), CultureInfo.InvariantCulture, out var id) && id != Environment.ProcessId)
            {
                string? works = null;
                try
                {
                    works = File.ResolveLinkTarget(Path.Combine(folder, "cwd"), returnFinalTarget: false)?.FullName;
                }
                catch (Exception error) when (error is IOException or UnauthorizedAccessException)
                {
                    // It ended meanwhile.
                }
                if (works?.StartsWith(directory + Path.DirectorySeparatorChar, StringComparison.Ordinal) == true)
                {
                    yield return id;
                }
            }
        }
    }

    private async Task StopAsync()
    {
        Environment.SetEnvironmentVariable(EventLog, null);
        // In good order first: the agents stop their containers, else these would outlive the test.
        foreach (var name in daemons.Keys.OrderByDescending(name => name, StringComparer.Ordinal).ToArray())
        {
            if (daemons[name].Process is { HasExited: false } process)
            {
                using var kill = Process.Start("kill", ["-TERM", process.Id.ToString(CultureInfo.InvariantCulture)]);
                using var grace = new CancellationTokenSource(TimeSpan.FromSeconds(20));
                try
                {
                    await process.WaitForExitAsync(grace.Token);
                }
                catch (OperationCanceledException)
                {
                    process.Kill(entireProcessTree: true);
                }
            }
        }
        KillContainers(Directory);
        http.Dispose();
        System.IO.Directory.Delete(Directory, recursive: true);
    }

    private static void KillContainers(string directory)
    {
        foreach (var id in ProcessesBelow(directory))
        {
            try
            {
                using var process = Process.GetProcessById(id);
                process.Kill();
            }
            catch (Exception error) when (error is ArgumentException or InvalidOperationException)
            {
                // It ended meanwhile.
            }
        }
    }

    private void Define(string name, string program, IEnumerable<(string Name, string Value)> settings)
    {
        var log = Path.Combine(Directory, name + ".log");
        var start = new ProcessStartInfo("/bin/sh", ["-c", "exec dotnet \"$0\" >>\"$1\" 2>&1 </dev/null", Path.Combine(Daemons, program), log]) { WorkingDirectory = Directory };
        foreach (var inherited in start.Environment.Keys.Where(key => key.StartsWith("Yarnish__", StringComparison.Ordinal)).ToArray())
        {
            start.Environment.Remove(inherited);
        }
        foreach (var (key, value) in settings)
        {
            start.Environment[key] = value;
        }
        if (name.StartsWith("node-", StringComparison.Ordinal))
        {
            start.Environment["Yarnish__StopContainersOnExit"] = "true";
        }
        daemons.Add(name, (start, null));
    }

    /// <summary>The daemons as the tool ships them, in the configuration these tests were built in.</summary>
    public static string Daemons { get; } = Path.Combine(Path.GetDirectoryName(ToolPath)!, "daemons");

    /// <summary>The <c>yarnish</c> tool, built with these tests.</summary>
    public static string ToolPath => Path.Combine(Repository.Root, "artifacts", "bin", "Yarnish.Cli", new DirectoryInfo(AppContext.BaseDirectory).Name, "yarnish.dll");

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
