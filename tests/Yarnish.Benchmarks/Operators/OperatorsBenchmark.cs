using System.Diagnostics;

namespace Yarnish.Benchmarks.Operators;

/// <summary>
/// Whole programs, embedded and on two executor processes, each beside the same by PLINQ or loops in the same run. All take turns, so that they meet the same machine, and the
/// ratio is the median of the turns' ratios; results are compared every time.
/// </summary>
internal static class OperatorsBenchmark
{
    public static async Task<int> RunAsync(Arguments arguments)
    {
        using var data = new BenchmarkData();
        IOperatorProgram[] programs =
            [new WordCountProgram(), new JoinProgram(), new GroupProgram(), new SortProgram(), new KMeansProgram(data), new PageRankProgram(data)];
        var only = arguments.Text("only", "");
        var mode = arguments.Text("mode", "all");
        await using var cluster = mode is "all" or "cluster" ? await BenchmarkCluster.StartAsync(nodes: 2) : null;
        foreach (var program in programs.Where(program => only.Length == 0 || only.Split(',').Contains(program.Name)))
        {
            arguments.Print([("benchmark", "operators"), ("name", program.Name), .. await MeasureAsync(program, mode is "all" or "embedded", cluster, arguments.Number("rounds", 5))]);
        }
        return 0;
    }

    /// <summary>Word count alone, in one mode.</summary>
    public static async Task<int> WordCountAsync(Arguments arguments)
    {
        var mode = arguments.Text("mode", "embedded");
        if (mode is not ("embedded" or "cluster"))
        {
            throw new ArgumentException($"--mode {mode}: embedded or cluster.");
        }
        await using var cluster = mode == "cluster" ? await BenchmarkCluster.StartAsync(nodes: 2) : null;
        var figures = (await MeasureAsync(new WordCountProgram(), cluster is null, cluster, arguments.Number("rounds", 5))).ToDictionary(figure => figure.Name, figure => figure.Value);
        arguments.Print(
            ("benchmark", "wordcount"), ("mode", mode), ("seconds", figures[$"{mode}Seconds"]), ("plinqSeconds", figures["baselineSeconds"]), ("ratio", figures[$"{mode}Ratio"]));
        return 0;
    }

    /// <summary>Runs a program by turns; the first two rounds warm up.</summary>
    public static async Task<(string Name, object Value)[]> MeasureAsync(IOperatorProgram program, bool embedded, BenchmarkCluster? cluster, int rounds)
    {
        const int WarmUp = 2;
        var baseline = program.PrepareBaseline();
        await using var embeddedSession = embedded ? await SessionAsync(program.Name, null) : null;
        await using var clusterSession = cluster is not null ? await SessionAsync(program.Name, cluster) : null;
        var runs = new List<Subject>();
        if (embeddedSession is not null)
        {
            runs.Add(new Subject("embedded", await program.PrepareRunAsync(embeddedSession)));
        }
        if (clusterSession is not null)
        {
            runs.Add(new Subject("cluster", await program.PrepareRunAsync(clusterSession)));
        }
        var (baselineSeconds, baselineCpu) = (new List<double>(), new List<double>());
        for (var round = 0; round < rounds + WarmUp; round++)
        {
            var (expected, seconds, cpu) = await TimeAsync(() => Task.FromResult(baseline()));
            var measured = round >= WarmUp;
            if (measured)
            {
                baselineSeconds.Add(seconds);
                baselineCpu.Add(cpu);
            }
            foreach (var subject in runs)
            {
                var (actual, subjectSeconds, subjectCpu) = await TimeAsync(subject.Run);
                program.Compare(expected, actual);
                if (measured)
                {
                    subject.Seconds.Add(subjectSeconds);
                    subject.Ratios.Add(subjectSeconds / seconds);
                    subject.CpuRatios.Add(subjectCpu / cpu);
                }
            }
        }
        var figures = new List<(string, object)> { ("baselineSeconds", Figures.Median(baselineSeconds)), ("baselineCpuSeconds", Figures.Median(baselineCpu)) };
        foreach (var subject in runs)
        {
            figures.Add(($"{subject.Name}Seconds", Figures.Median(subject.Seconds)));
            figures.Add(($"{subject.Name}Ratio", Figures.Median(subject.Ratios)));
            if (subject.Name == "embedded")
            {
                // Executors have processes of their own, whose time is not counted here.
                figures.Add(("embeddedCpuRatio", Figures.Median(subject.CpuRatios)));
            }
        }
        if ((embeddedSession ?? clusterSession) is { } session)
        {
            figures.AddRange(await program.FurtherAsync(session));
        }
        return [.. figures];
    }

    /// <summary>A result, and the time until it was there. Garbage of whoever ran before is not on its bill.</summary>
    public static async Task<(T Result, double Seconds, double CpuSeconds)> TimeAsync<T>(Func<Task<T>> run)
    {
        GC.Collect();
        using var process = Process.GetCurrentProcess();
        var cpu = process.TotalProcessorTime;
        var clock = Stopwatch.StartNew();
        var result = await run();
        var seconds = clock.Elapsed.TotalSeconds;
        process.Refresh();
        return (result, seconds, (process.TotalProcessorTime - cpu).TotalSeconds);
    }

    private static Task<YarnishSession> SessionAsync(string name, BenchmarkCluster? cluster)
    {
        var builder = YarnishSession.CreateBuilder().WithName(name).Configure(options => options.Progress = ProgressStyle.None);
        return (cluster is null ? builder : builder.WithAddress(cluster.Address).WithExecutors(2)).ConnectAsync();
    }

    private sealed record Subject(string Name, Func<Task<object>> Run)
    {
        public List<double> Seconds { get; } = [];

        public List<double> Ratios { get; } = [];

        public List<double> CpuRatios { get; } = [];
    }
}
