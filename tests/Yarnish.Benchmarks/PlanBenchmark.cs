using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Yarnish.Dataflow;
using Yarnish.Protocol;

namespace Yarnish.Benchmarks;

/// <summary>
/// <c>plan [--partitions 100000] [--stages 10] [--executors 32] [--slots 4] [--json]</c>: what the driver's core costs by itself. A chain of stages with a shuffle between each
/// is built, scheduled and finished against a fake back end that answers every message with coalesced reports, on one thread.
/// </summary>
internal static class PlanBenchmark
{
    private static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    /// <summary>Runs it; 0 when the work was done.</summary>
    public static int Run(string[] args)
    {
        var partitions = Option(args, "--partitions", 100_000);
        var stages = Option(args, "--stages", 10);
        var executors = Option(args, "--executors", 32);
        var slots = Option(args, "--slots", 4);

        new Measured(Math.Min(partitions, 20_000), stages, executors, slots).Run(weigh: false);
        GC.Collect();
        var timed = new Measured(partitions, stages, executors, slots);
        timed.Run(weigh: false);
        var weighed = new Measured(partitions, stages, executors, slots);
        weighed.Run(weigh: true);

        var result = new
        {
            benchmark = "plan",
            partitions,
            stages,
            executors,
            slots,
            tasks = (long)partitions * stages,
            seconds = Math.Round(timed.Seconds, 3),
            tasksPerSecond = (long)((long)partitions * stages / timed.Seconds),
            // On a busy machine the wall clock measures the neighbours; this does not.
            tasksPerProcessorSecond = (long)((long)partitions * stages / timed.ProcessorSeconds),
            bytesPerLiveTask = Math.Round(weighed.BytesPerLiveTask, 1),
            bytesAllocatedPerTask = timed.AllocatedBytes / ((long)partitions * stages),
            messages = timed.Messages,
        };
        if (args.Contains("--json"))
        {
            Console.WriteLine(JsonSerializer.Serialize(result));
        }
        else
        {
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"{result.tasks:N0} tasks in {result.stages} stages: {result.seconds} s, {result.tasksPerSecond:N0} tasks/s, {result.tasksPerProcessorSecond:N0} per processor second, {result.bytesPerLiveTask} bytes per live task, {result.bytesAllocatedPerTask:N0} bytes allocated per task, {result.messages:N0} messages"));
        }
        return 0;
    }

    private static int Option(string[] args, string name, int value)
    {
        var at = Array.IndexOf(args, name);
        return at < 0 || at + 1 >= args.Length ? value : int.Parse(args[at + 1], CultureInfo.InvariantCulture);
    }

    /// <summary>One run.</summary>
    private sealed class Measured(int partitions, int stages, int executors, int slots)
    {
        private static readonly TaskMetrics Metrics = new() { RunMicroseconds = 20, ShuffleWriteBytes = 100, ShuffleReadLocalBytes = 100 };
        private static readonly byte[] Sizes = [10];
        private readonly JobMachine _machine = new(new JobMachineOptions());
        private readonly List<JobEffect> _effects = [];
        private readonly Queue<(ExecutorAddress To, TaskReport[] Reports)> _answers = new();
        private readonly NodeId[] _nodes = [.. Enumerable.Range(0, 8).Select(i => new NodeId($"node-{i}"))];
        private DateTimeOffset _now = Start;
        private int _results;
        private bool _succeeded;

        public double Seconds { get; private set; }

        public double ProcessorSeconds { get; private set; }

        public double BytesPerLiveTask { get; private set; }

        public long AllocatedBytes { get; private set; }

        public int Messages { get; private set; }

        public void Run(bool weigh)
        {
            for (var i = 0; i < executors; i++)
            {
                Apply(new ExecutorJoined(new ExecutorAddress(new ExecutorId($"executor-{i}"), 1), _nodes[i % _nodes.Length], slots, [], []));
            }
            var before = weigh ? GC.GetTotalMemory(forceFullCollection: true) : 0;
            var allocated = GC.GetAllocatedBytesForCurrentThread();
            var processor = Environment.CpuUsage.TotalTime;
            var begin = Stopwatch.GetTimestamp();
            Apply(new JobSubmitted(new JobId(0), Definition()));
            if (weigh)
            {
                // All tasks of the first stage wait or are in flight, with the messages that carry them.
                Weigh(before, partitions);
            }
            long done = 0;
            while (_answers.TryDequeue(out var answer))
            {
                done += answer.Reports.Length;
                Apply(new TasksEnded(answer.To, answer.Reports));
                if (weigh && done >= (long)partitions * stages * 9 / 10)
                {
                    // Nearly everything ran: what is kept of each finished task is where its output is.
                    Weigh(before, done);
                    weigh = false;
                }
            }
            Seconds = Stopwatch.GetElapsedTime(begin).TotalSeconds;
            ProcessorSeconds = (Environment.CpuUsage.TotalTime - processor).TotalSeconds;
            AllocatedBytes = GC.GetAllocatedBytesForCurrentThread() - allocated;
            for (var i = 0; i < stages - 1; i++)
            {
                Apply(new ShuffleReleased(new ShuffleId(i)));
            }
            _machine.AssertEmpty();
            if (!_succeeded || _results != partitions || done != (long)partitions * stages)
            {
                throw new InvalidOperationException($"The job did not do its work: {_results} results, {done} tasks.");
            }
        }

        private void Weigh(long before, long tasks) =>
            BytesPerLiveTask = Math.Max(BytesPerLiveTask, (GC.GetTotalMemory(forceFullCollection: true) - before) / (double)tasks);

        private JobDefinition Definition() => new()
        {
            Name = "plan",
            Stages =
            [
                .. Enumerable.Range(0, stages).Select(i => new StageDefinition
                {
                    Name = $"stage {i}",
                    Partitions = partitions,
                    Output = i < stages - 1 ? new ShuffleOutput(new ShuffleId(i), partitions) : null,
                    Inputs = i > 0 ? [new ShuffleId(i - 1)] : [],
                    Code = i,
                }),
            ],
        };

        private void Apply(JobEvent happened)
        {
            _effects.Clear();
            _now = _now.AddTicks(500);
            _machine.Apply(happened, _now, _effects);
            foreach (var effect in _effects)
            {
                switch (effect)
                {
                    case SendTasks send:
                        Messages++;
                        var reports = new TaskReport[send.Tasks.Count];
                        for (var i = 0; i < reports.Length; i++)
                        {
                            var task = send.Tasks[i];
                            reports[i] = new TaskReport(task.AttemptId, TaskSucceeded.Instance, Metrics, default)
                            {
                                MapOutput = send.Stage.Output is { } output
                                    ? new MapOutput(output.Shuffle, task.Partition, task.AttemptId, _nodes[task.Partition % _nodes.Length], "", Sizes)
                                    : null,
                            };
                        }
                        _answers.Enqueue((send.To, reports));
                        break;
                    case PartitionResult:
                        _results++;
                        break;
                    case JobSucceeded:
                        _succeeded = true;
                        break;
                }
            }
        }
    }
}
