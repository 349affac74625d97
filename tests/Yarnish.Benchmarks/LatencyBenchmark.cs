using System.Diagnostics;
using RabbitMQ.Client;
using RabbitMQ.Client.Events;
using Yarnish.Executor;
using Yarnish.Jobs;

namespace Yarnish.Benchmarks;

/// <summary>
/// How long an empty job of one stage takes on a warm session, from the call of the action to its result, one job after the other: of one task and of one for each slot, through RabbitMQ with
/// two executor processes and embedded. Beside it in the same run: one raw message there and back over queues of the same kind, which no job can beat.
/// </summary>
internal static class LatencyBenchmark
{
    private const int ManyTasks = 8;

    public static async Task<int> RunAsync(Arguments arguments)
    {
        var jobs = arguments.Number("jobs", 4_000);
        await using var cluster = await BenchmarkCluster.StartAsync(nodes: 2);
        await using var session = await YarnishSession.CreateBuilder().WithName("latency").WithAddress(cluster.Address).WithExecutors(2)
            .Configure(options => options.Progress = ProgressStyle.None).ConnectAsync();
        await using var embedded = await YarnishSession.CreateBuilder().WithName("latency").Configure(options => options.Progress = ProgressStyle.None).ConnectAsync();

        // Compiled and connected before anything is measured. In turns, so that all meet the same machine.
        await JobsAsync(session.Runner, ManyTasks, jobs / 4);
        await JobsAsync(embedded.Runner, ManyTasks, jobs);
        await ShufflesAsync(embedded, jobs / 4);
        var (raw, one, many, embeddedOne, embeddedMany) = (new List<double>(), new List<double>(), new List<double>(), new List<double>(), new List<double>());
        var (counts, shuffles, embeddedShuffles) = (new List<double>(), new List<double>(), new List<double>());
        const int Turns = 10;
        for (var turn = 0; turn < Turns; turn++)
        {
            raw.AddRange(await RawRoundTripsAsync(cluster.RabbitMq, jobs / Turns));
            one.AddRange(await JobsAsync(session.Runner, 1, jobs / Turns));
            many.AddRange(await JobsAsync(session.Runner, ManyTasks, jobs / Turns));
            embeddedOne.AddRange(await JobsAsync(embedded.Runner, 1, jobs / Turns));
            embeddedMany.AddRange(await JobsAsync(embedded.Runner, ManyTasks, jobs / Turns));
            counts.AddRange(await CountsAsync(session, jobs / Turns / 4));
            shuffles.AddRange(await ShufflesAsync(session, jobs / Turns / 4));
            embeddedShuffles.AddRange(await ShufflesAsync(embedded, jobs / Turns / 4));
        }
        arguments.Print(
            ("benchmark", "latency"), ("jobs", one.Count), ("p50Ms", P(one, 0.5)), ("p99Ms", P(one, 0.99)), ("tasksOfMany", ManyTasks), ("manyP50Ms", P(many, 0.5)), ("manyP99Ms", P(many, 0.99)),
            ("countP50Ms", P(counts, 0.5)), ("shuffleP50Ms", P(shuffles, 0.5)), ("shuffleP99Ms", P(shuffles, 0.99)), ("embeddedP50Ms", P(embeddedOne, 0.5)), ("embeddedP99Ms", P(embeddedOne, 0.99)), ("embeddedManyP50Ms", P(embeddedMany, 0.5)),
            ("embeddedShuffleP50Ms", P(embeddedShuffles, 0.5)), ("embeddedShuffleP99Ms", P(embeddedShuffles, 0.99)),
            ("rawRoundTripP50Ms", P(raw, 0.5)), ("rawRoundTripP99Ms", P(raw, 0.99)), ("ratio", P(one, 0.5) / P(raw, 0.5)));
        return 0;

        static double P(List<double> values, double share) => Figures.Percentile([.. values], share);
    }

    /// <summary>Milliseconds of each job.</summary>
    private static async Task<double[]> JobsAsync(IJobRunner runner, int tasks, int count)
    {
        var taken = new double[count];
        for (var i = 0; i < count; i++)
        {
            var done = 0;
            var started = Stopwatch.GetTimestamp();
            await runner.RunAsync(
                new JobPlan { Name = "nothing", Stages = [new StagePlan { Name = "nothing", Partitions = tasks, Program = new Nothing() }], OnResult = (_, _) => done++ }, CancellationToken.None);
            taken[i] = Stopwatch.GetElapsedTime(started).TotalMilliseconds;
            if (done != tasks)
            {
                throw new InvalidOperationException($"{done} tasks reported instead of {tasks}.");
            }
        }
        return taken;
    }

    /// <summary>The same with a lineage, a function and a result: what a user's smallest job costs.</summary>
    private static async Task<double[]> CountsAsync(YarnishSession session, int count)
    {
        var taken = new double[count];
        var rows = session.Range(0, 100, partitions: 2).Where(static number => number % 2 == 0);
        for (var i = 0; i < count; i++)
        {
            var started = Stopwatch.GetTimestamp();
            if (await rows.CountAsync() != 50)
            {
                throw new InvalidOperationException("The count is wrong.");
            }
            taken[i] = Stopwatch.GetElapsedTime(started).TotalMilliseconds;
        }
        return taken;
    }

    /// <summary>Two stages: two map tasks, two reducers, ten keys.</summary>
    private static async Task<double[]> ShufflesAsync(YarnishSession session, int count)
    {
        var taken = new double[count];
        for (var i = 0; i < count; i++)
        {
            var started = Stopwatch.GetTimestamp();
            if (await session.Range(0, 100, partitions: 2).KeyBy(static number => number % 10).ReduceByKey(static (left, right) => left + right, partitions: 2).CountAsync() != 10)
            {
                throw new InvalidOperationException("The count is wrong.");
            }
            taken[i] = Stopwatch.GetElapsedTime(started).TotalMilliseconds;
        }
        return taken;
    }

    /// <summary>One message to an echo in a connection of its own and back, one after the other.</summary>
    private static async Task<double[]> RawRoundTripsAsync(string uri, int count)
    {
        var factory = new ConnectionFactory { Uri = new Uri(uri) };
        await using var here = await factory.CreateConnectionAsync();
        await using var there = await factory.CreateConnectionAsync();
        await using var asking = await here.CreateChannelAsync();
        await using var echoing = await there.CreateChannelAsync();
        var questions = (await echoing.QueueDeclareAsync(exclusive: true)).QueueName;
        var answers = (await asking.QueueDeclareAsync(exclusive: true)).QueueName;

        var echo = new AsyncEventingBasicConsumer(echoing);
        echo.ReceivedAsync += async (_, message) => await echoing.BasicPublishAsync("", answers, message.Body.ToArray());
        await echoing.BasicConsumeAsync(questions, autoAck: true, echo);
        TaskCompletionSource answered = new();
        var listener = new AsyncEventingBasicConsumer(asking);
        listener.ReceivedAsync += (_, _) =>
        {
            answered.SetResult();
            return Task.CompletedTask;
        };
        await asking.BasicConsumeAsync(answers, autoAck: true, listener);

        var taken = new double[count];
        var content = new byte[200];
        for (var i = 0; i < count; i++)
        {
            answered = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            var started = Stopwatch.GetTimestamp();
            await asking.BasicPublishAsync("", questions, content);
            await answered.Task;
            taken[i] = Stopwatch.GetElapsedTime(started).TotalMilliseconds;
        }
        return taken;
    }

    private sealed class Nothing : StageProgram
    {
        public override void Run(TaskRuntime task)
        {
        }
    }
}
