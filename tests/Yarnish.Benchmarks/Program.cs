using Yarnish.Benchmarks;

// One benchmark a call; each prints figures as ratios to something run beside it, or with --json one line for programs. See docs/performance.md.
string[] rest = [.. args.Skip(1)];
return args.FirstOrDefault() switch
{
    "tasks" => await TasksBenchmark.RunAsync(Arguments.Parse(rest)),
    "wordcount" => await WordCountBenchmark.RunAsync(Arguments.Parse(rest)),
    "start" => await StartBenchmark.RunAsync(Arguments.Parse(rest)),
    var unknown => Usage(unknown),
};

static int Usage(string? unknown)
{
    Console.Error.WriteLine($"""
        {(unknown is null ? "Which benchmark?" : $"There is no benchmark '{unknown}'.")} Run with -c Release:
          tasks      [--executors 2] [--tasks 200000] [--json]     no-op tasks through RabbitMQ against raw messages
          wordcount  [--mode embedded|cluster] [--json]            the example's count against PLINQ
          start      [--rounds 7] [--json]                         ask to executor hello, warm; memory of the idle daemons
        """);
    return 2;
}
