using System.Buffers.Binary;
using System.Diagnostics;
using Yarnish.Executor;
using Yarnish.Jobs;

namespace Yarnish.Benchmarks;

/// <summary>
/// Tasks that do nothing, from the driver through RabbitMQ to executor processes and back, against raw messages through the same broker in the same run: one message each way
/// per task, queues of the same kind. Then the time from the dispatch of a task to its first instruction, in a run that keeps the slots busy but not swamped.
/// </summary>
internal static class TasksBenchmark
{
    public static async Task<int> RunAsync(Arguments arguments)
    {
        var executors = arguments.Number("executors", 2);
        var tasks = arguments.Number("tasks", 200_000);
        await using var cluster = await BenchmarkCluster.StartAsync(nodes: executors);
        var raw = await RawMessages.RunAsync(cluster.RabbitMq, executors, Math.Min(tasks, 100_000), CancellationToken.None);

        await using var session = await YarnishSession.CreateBuilder().WithName("tasks").WithAddress(cluster.Address).WithExecutors(executors)
            .Configure(options => options.Progress = ProgressStyle.None).ConnectAsync();
        // Everybody says hello and compiles what is hot before anything is measured.
        for (var round = 0; round < 3; round++)
        {
            await NoOpsAsync(session.Runner, Math.Max(tasks / 10, 10_000));
        }

        GC.Collect();
        var allocatedBefore = GC.GetTotalAllocatedBytes(precise: true);
        var clock = Stopwatch.StartNew();
        var done = await NoOpsAsync(session.Runner, tasks);
        var seconds = clock.Elapsed.TotalSeconds;
        var allocated = GC.GetTotalAllocatedBytes(precise: true) - allocatedBefore;
        if (done != tasks)
        {
            throw new InvalidOperationException($"{done} tasks reported instead of {tasks}.");
        }
        var peak = Process.GetCurrentProcess().PeakWorkingSet64;
        var starts = await StartMillisecondsAsync(session.Runner, executors);

        arguments.Print(
            ("benchmark", "tasks"), ("executors", executors), ("tasks", tasks), ("tasksPerSecond", tasks / seconds), ("rawMessagesPerSecond", raw),
            ("ratio", tasks / seconds / raw), ("p50StartMs", Figures.Percentile(starts, 0.5)), ("p99StartMs", Figures.Percentile(starts, 0.99)),
            ("bytesAllocatedPerTask", (double)allocated / tasks), ("driverPeakMb", peak / 1048576d));
        return 0;
    }

    private static async Task<int> NoOpsAsync(IJobRunner runner, int tasks)
    {
        var done = 0;
        await runner.RunAsync(
            new JobPlan { Name = "no-ops", Stages = [new StagePlan { Name = "no-op", Partitions = tasks, Program = new NoOp() }], OnResult = (_, _) => done++ }, CancellationToken.None);
        return done;
    }

    /// <summary>Milliseconds from the moment the driver makes a task's input to its first instruction: all processes of a machine share the monotonic clock.</summary>
    private static async Task<double[]> StartMillisecondsAsync(IJobRunner runner, int executors)
    {
        var starts = new List<double>();
        for (var round = 0; round < 500; round++)
        {
            await runner.RunAsync(
                new JobPlan
                {
                    Name = "starts",
                    Stages = [new StagePlan { Name = "start", Partitions = executors, Program = new Stamp(), PartitionInput = static _ => Stamp.Now() }],
                    OnResult = (_, result) => starts.Add(BinaryPrimitives.ReadInt64LittleEndian(result.Span) * 1000d / Stopwatch.Frequency),
                },
                CancellationToken.None);
        }
        return [.. starts.Skip(starts.Count / 5)];
    }

    private sealed class NoOp : StageProgram
    {
        public override void Run(TaskRuntime task)
        {
        }
    }

    private sealed class Stamp : StageProgram
    {
        public static ReadOnlyMemory<byte> Now()
        {
            var bytes = new byte[sizeof(long)];
            BinaryPrimitives.WriteInt64LittleEndian(bytes, Stopwatch.GetTimestamp());
            return bytes;
        }

        public override void Run(TaskRuntime task)
        {
            var now = Stopwatch.GetTimestamp();
            var bytes = new byte[sizeof(long)];
            BinaryPrimitives.WriteInt64LittleEndian(bytes, now - BinaryPrimitives.ReadInt64LittleEndian(task.Input.Span));
            task.SetResult(bytes);
        }
    }
}
