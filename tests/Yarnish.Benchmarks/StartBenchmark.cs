using System.Globalization;
using Yarnish.Cluster;
using Yarnish.Jobs;

namespace Yarnish.Benchmarks;

/// <summary>
/// How long an application waits for its first executor: from the driver's ask to the executor's hello, files already on the node; and what the idle daemons hold of memory.
/// The baseline beside it is an empty .NET program, from start to end.
/// </summary>
internal static class StartBenchmark
{
    public static async Task<int> RunAsync(Arguments arguments)
    {
        var rounds = arguments.Number("rounds", 7);
        await using var cluster = await BenchmarkCluster.StartAsync(nodes: 1);
        await SettleAsync();
        var idle = cluster.Daemons.ToDictionary(daemon => daemon.Name, daemon => ResidentMebibytes(daemon.ProcessId));

        var hellos = new List<double>();
        var connects = new List<double>();
        for (var round = 0; round <= rounds; round++)
        {
            var clock = System.Diagnostics.Stopwatch.StartNew();
            await using var session = await YarnishSession.CreateBuilder().WithName("start").WithAddress(cluster.Address).WithExecutors(1)
                .Configure(options => options.Progress = ProgressStyle.None).ConnectAsync();
            if (await session.Range(0, 1).CountAsync() != 1)
            {
                throw new InvalidOperationException("The first job gave a wrong answer.");
            }
            // The first round fills the node's cache of files.
            if (round > 0)
            {
                connects.Add(clock.Elapsed.TotalMilliseconds);
                hellos.Add(((ClusterFleet)((JobRunner)session.Runner).Fleet).FirstHello!.Value.TotalMilliseconds);
            }
        }
        arguments.Print(
            ("benchmark", "start"), ("rounds", rounds), ("askToHelloMs", Figures.Median(hellos)), ("maxAskToHelloMs", hellos.Max()), ("connectToFirstResultMs", Figures.Median(connects)),
            ("emptyProcessMs", EmptyProcessMilliseconds()), ("resourceManagerMb", idle["resource-manager"]), ("nodeAgentMb", idle["node-1"]));
        return 0;
    }

    // Idle: heartbeats go on, start-up garbage is gone.
    private static Task SettleAsync() => Task.Delay(TimeSpan.FromSeconds(10));

    private static double ResidentMebibytes(int process) =>
        long.Parse(File.ReadLines($"/proc/{process}/status").First(line => line.StartsWith("VmRSS:", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) / 1024d;

    private static double EmptyProcessMilliseconds()
    {
        var times = new List<double>();
        for (var round = 0; round < 5; round++)
        {
            var clock = System.Diagnostics.Stopwatch.StartNew();
            using var process = System.Diagnostics.Process.Start("dotnet", [typeof(StartBenchmark).Assembly.Location, "nothing"]);
            process.WaitForExit();
            times.Add(clock.Elapsed.TotalMilliseconds);
        }
        return Figures.Median(times);
    }
}
