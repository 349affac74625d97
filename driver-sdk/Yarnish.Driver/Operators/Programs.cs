using System.Buffers;
using Yarnish.Executor;
using Yarnish.Protocol;

namespace Yarnish.Operators;

/// <summary>A map stage: computes a partition and writes its rows to a shuffle.</summary>
internal sealed class ShuffleMapProgram(StageGraph graph, ShuffleId shuffle, int reducers, ShuffleWrite write) : StageProgram
{
    private readonly StageGraph graph = graph;
    private readonly ShuffleId shuffle = shuffle;
    private readonly int reducers = reducers;
    private readonly ShuffleWrite write = write;

    public override void Run(TaskRuntime task)
    {
        var writer = task.OpenShuffleWriter(shuffle, reducers);
        write.Run(graph, task, writer);
        writer.Complete();
    }
}

/// <summary>The result stage of an action: what to do with the rows of a partition, and the bytes that go back to the driver.</summary>
internal sealed class ResultProgram<T>(StageGraph graph, ResultAction<T> action) : StageProgram
{
    private readonly StageGraph graph = graph;
    private readonly ResultAction<T> action = action;

    public override void Run(TaskRuntime task)
    {
        var output = new ArrayBufferWriter<byte>();
        action.Run(graph.Open<T>(task), task, output);
        task.SetResult(output.WrittenMemory);
    }
}

/// <summary>What an action does with the rows of one partition.</summary>
internal abstract class ResultAction<T>
{
    /// <summary>Reads the rows and writes the partition's result.</summary>
    public abstract void Run(IEnumerable<T> rows, TaskRuntime task, IBufferWriter<byte> result);
}
