using Yarnish.Executor;
using Yarnish.Protocol;
using Yarnish.Serialization;

namespace Yarnish.Operators;

/// <summary>All rows of neighbouring partitions to the same reducer: the edges of a tree.</summary>
internal sealed class NeighbourWrite<T>(int partitions, int reducers) : ShuffleWrite
{
    private readonly int partitions = partitions;
    private readonly int reducers = reducers;

    public override void Run(StageGraph graph, TaskRuntime task, IShuffleWriter writer)
    {
        var rows = writer.RowsOf(RowFormats.For<T>());
        var reducer = (int)((long)task.Context.Partition * reducers / partitions);
        foreach (var row in graph.Open<T>(task))
        {
            rows.Write(reducer, row);
        }
    }
}

/// <summary>A node of the tree: folds what its children sent, in their order.</summary>
internal sealed class FoldReadOperator<T>(ShuffleId shuffle, Func<T, T, T> function) : Operator<T>
{
    private readonly ShuffleId shuffle = shuffle;
    private readonly Func<T, T, T> function = function;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition) => FoldRowsOperator<T>.Fold(ShuffleRows.ReadInOrder<T>(inputs, shuffle, partition), function);
}
