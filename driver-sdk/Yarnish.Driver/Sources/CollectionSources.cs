using System.Numerics;
using Yarnish.Operators;
using Yarnish.Serialization;

namespace Yarnish.Sources;

/// <summary>Rows that the driver sends along: a slice of a parallelized collection.</summary>
internal sealed class ParallelizeOperator<T> : Operator<T>
{
    public override IEnumerable<T> Open(OperatorInputs inputs, int partition) => RowFormats.For<T>().Read(inputs.SourceInput(partition));
}

/// <summary>Consecutive whole numbers; nothing is sent, each partition counts by itself.</summary>
internal sealed class RangeOperator<T>(T start, long count, int partitions) : Operator<T>, IStopsItself
    where T : INumber<T>
{
    private readonly T start = start;
    private readonly long count = count;
    private readonly int partitions = partitions;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition)
    {
        var first = (long)((Int128)count * partition / partitions);
        var end = (long)((Int128)count * (partition + 1) / partitions);
        var cancellation = inputs.Task.Context.Cancellation;
        for (var i = first; i < end; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            yield return start + T.CreateChecked(i);
        }
    }
}
