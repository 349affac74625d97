using System.Collections.Concurrent;
using System.Text;
using Xunit;
using Yarnish.Executor;
using Yarnish.Jobs;
using Yarnish.Protocol;

namespace Yarnish.Tests.Driver.Session;

/// <summary>Plans written by hand, so that these tests need no collections.</summary>
internal static class Plans
{
    /// <summary>A job of one stage; its results are gathered by partition.</summary>
    public static (JobPlan Plan, ConcurrentDictionary<int, string> Results) OneStage(int partitions, Func<TaskRuntime, string> compute, Func<int, string>? input = null)
    {
        var results = new ConcurrentDictionary<int, string>();
        return (new JobPlan
        {
            Name = "test job",
            Stages = [Stage(partitions, compute, input)],
            OnResult = (partition, bytes) => Assert.True(results.TryAdd(partition, Encoding.UTF8.GetString(bytes.Span)), $"partition {partition} came twice"),
        }, results);
    }

    /// <summary>A result stage.</summary>
    public static StagePlan Stage(int partitions, Func<TaskRuntime, string> compute, Func<int, string>? input = null, params ShuffleId[] inputs) => new()
    {
        Name = "result stage",
        Partitions = partitions,
        Program = new TextProgram(compute),
        Inputs = inputs,
        PartitionInput = input is null ? null : partition => Encoding.UTF8.GetBytes(input(partition)),
    };

    /// <summary>A map stage that writes, for each reducer, one row that says who wrote it for whom.</summary>
    public static StagePlan MapStage(int partitions, ShuffleId shuffle, int reducers) => new()
    {
        Name = "map stage",
        Partitions = partitions,
        Program = new MapProgram(shuffle, reducers),
        Output = (shuffle, reducers),
    };

    private sealed class TextProgram(Func<TaskRuntime, string> compute) : StageProgram
    {
        private readonly Func<TaskRuntime, string> compute = compute;

        public override void Run(TaskRuntime task) => task.SetResult(Encoding.UTF8.GetBytes(compute(task)));
    }

    private sealed class MapProgram(ShuffleId shuffle, int reducers) : StageProgram
    {
        private readonly ShuffleId shuffle = shuffle;
        private readonly int reducers = reducers;

        public override void Run(TaskRuntime task)
        {
            var writer = task.OpenShuffleWriter(shuffle, reducers);
            for (var reducer = 0; reducer < reducers; reducer++)
            {
                var row = Encoding.UTF8.GetBytes($"{task.Context.Partition}>{reducer};");
                row.CopyTo(writer.GetPart(reducer).GetSpan(row.Length));
                writer.GetPart(reducer).Advance(row.Length);
                writer.RowWritten(reducer);
            }
            writer.Complete();
        }
    }

    /// <summary>All rows that a reducer finds, in the order of the map tasks.</summary>
    public static string ReadAll(TaskRuntime task, ShuffleId shuffle) =>
        string.Concat(task.ReadShuffle(shuffle, task.Context.Partition).Select(block => (block.MapPartition, Text: Encoding.UTF8.GetString(block.Content.Span))).OrderBy(part => part.MapPartition).Select(part => part.Text));
}
