using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using Yarnish.Cli;

namespace Yarnish.Benchmarks;

/// <summary>RabbitMQ, Redis, a resource manager and agents as processes, for one benchmark. Uses the services of this checkout, or starts and stops its own.</summary>
internal sealed class BenchmarkCluster : IAsyncDisposable
{
    private readonly string directory = Directory.CreateTempSubdirectory("yarnish-benchmark-").FullName;
    private bool ownServices;
    private LocalCluster? cluster;

    public string Address => cluster!.Address;

    public string RabbitMq { get; private set; } = "";

    /// <summary>Process ids of the daemons by name.</summary>
    public IEnumerable<(string Name, int ProcessId)> Daemons => cluster!.Daemons;

    public static async Task<BenchmarkCluster> StartAsync(int nodes)
    {
        var started = new BenchmarkCluster();
        try
        {
            await started.StartCoreAsync(nodes);
            return started;
        }
        catch
        {
            await started.DisposeAsync();
            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (cluster is not null)
        {
            await cluster.DisposeAsync();
        }
        if (ownServices)
        {
            await ServicesAsync("down");
        }
        Directory.Delete(directory, recursive: true);
    }

    private async Task StartCoreAsync(int nodes)
    {
        if (ClusterSettings.Variable("Yarnish__RabbitMq") is null && ClusterSettings.ReadAbove(ClusterSettings.ServicesFile).Count == 0)
        {
            ownServices = true;
            await ServicesAsync("up");
            foreach (var line in await File.ReadAllLinesAsync(Path.Combine(directory, "services.env")))
            {
                if (line.Split('=', 2) is [var name, var value])
                {
                    Environment.SetEnvironmentVariable(name, value);
                }
            }
        }
        RabbitMq = ClusterSettings.Variable("Yarnish__RabbitMq") ?? ClusterSettings.ReadAbove(ClusterSettings.ServicesFile)["Yarnish__RabbitMq"];
        // The daemons are those of the tool, in the configuration this program was built in.
        var tool = Path.Combine(Root(), "artifacts", "bin", "Yarnish.Cli", new DirectoryInfo(AppContext.BaseDirectory).Name);
        cluster = new LocalCluster(
            new LocalClusterOptions
            {
                Nodes = nodes,
                Port = FreePort(),
                DataDirectory = Path.Combine(directory, "cluster"),
                MilliCores = 4_000,
                MemoryBytes = 6L << 30,
                Secret = "",
                Daemons = Path.Combine(tool, "daemons"),
            },
            Console.Error.WriteLine);
        await cluster.StartAsync(CancellationToken.None);
    }

    private async Task ServicesAsync(string verb)
    {
        var start = new ProcessStartInfo(Path.Combine(Root(), "infra", "services.sh"), [verb]) { RedirectStandardOutput = true };
        start.Environment["YARNISH_RUN_DIRECTORY"] = directory;
        using var process = Process.Start(start)!;
        await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        if (process.ExitCode != 0)
        {
            throw new InvalidOperationException(string.Create(CultureInfo.InvariantCulture, $"infra/services.sh {verb} ended with {process.ExitCode}."));
        }
    }

    private static string Root([CallerFilePath] string here = "") => Path.GetFullPath(Path.Combine(Path.GetDirectoryName(here)!, "..", ".."));

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
