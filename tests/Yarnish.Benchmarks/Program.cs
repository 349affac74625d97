using Yarnish.Benchmarks;
using Yarnish.Benchmarks.Operators;

// One benchmark a call; each prints figures as ratios to something run beside it, or with --json one line for programs. See docs/performance.md.
string[] rest = [.. args.Skip(1)];
try
{
    return args.FirstOrDefault() switch
    {
        "tasks" => await TasksBenchmark.RunAsync(Arguments.Parse(rest)),
        "latency" => await LatencyBenchmark.RunAsync(Arguments.Parse(rest)),
        "operators" => await OperatorsBenchmark.RunAsync(Arguments.Parse(rest)),
        "wordcount" => await OperatorsBenchmark.WordCountAsync(Arguments.Parse(rest)),
        "start" => await StartBenchmark.RunAsync(Arguments.Parse(rest)),
        "plan" => PlanBenchmark.Run(rest),
        "grants" => Grants.Run(rest),
        "idle-pass" => IdlePass.Run(rest),
        // What benchmarks start as processes of their own.
        RawMessages.EchoMode => await RawMessages.EchoAsync(rest),
        "nothing" => 0,
        var unknown => Usage(unknown is null ? "Which benchmark?" : $"There is no benchmark '{unknown}'."),
    };
}
catch (Exception error) when (error is ArgumentException or FormatException)
{
    return Usage(error.Message);
}

static int Usage(string problem)
{
    Console.Error.WriteLine($"""
        {problem} Run with -c Release:
          tasks      [--executors 2] [--tasks 200000] [--json]     no-op tasks through RabbitMQ against raw messages
          latency    [--jobs 4000] [--json]                        an empty job on a warm session against a raw message there and back
          operators  [--mode all|embedded|cluster] [--only NAME,NAME] [--rounds 5] [--json]   whole programs against PLINQ or loops
          wordcount  [--mode embedded|cluster] [--json]            the example's count against PLINQ
          start      [--rounds 7] [--json]                         ask to executor hello, warm; memory of the idle daemons
          plan       [--partitions 100000] [--stages 10] [--json]  the driver's core against a fake back end
          grants     [--nodes 5000] [--asks 100000] [--queues 100] [--constraints] [--scale] [--json]   the cluster core alone
          idle-pass  [--json]                                      heartbeats when everybody is at a limit
        """);
    return 2;
}
