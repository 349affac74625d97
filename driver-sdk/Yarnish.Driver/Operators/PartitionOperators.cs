using System.Buffers.Binary;
using Yarnish.Serialization;

namespace Yarnish.Operators;

/// <summary>Each row with its position; the task is told how many rows stand before its partition.</summary>
internal sealed class IndexOperator<T> : Operator<(long Index, T Item)>
{
    public override IEnumerable<(long Index, T Item)> Open(OperatorInputs inputs, int partition)
    {
        var index = BinaryPrimitives.ReadInt64LittleEndian(inputs.SourceInput(partition).Span);
        foreach (var row in inputs.Open<T>(0, partition))
        {
            yield return (index++, row);
        }
    }
}

/// <summary>Each row with a number of its own: those of partition p of n are p, p + n, p + 2n, ….</summary>
internal sealed class UniqueIdOperator<T>(int partitions) : Operator<(long Id, T Item)>
{
    private readonly int partitions = partitions;

    public override IEnumerable<(long Id, T Item)> Open(OperatorInputs inputs, int partition)
    {
        var id = (long)partition;
        foreach (var row in inputs.Open<T>(0, partition))
        {
            yield return (id, row);
            id += partitions;
        }
    }
}

/// <summary>The whole partition as one row.</summary>
internal sealed class GlomOperator<T> : Operator<T[]>
{
    public override IEnumerable<T[]> Open(OperatorInputs inputs, int partition)
    {
        yield return [.. inputs.Open<T>(0, partition)];
    }
}

/// <summary>Partitions of two collections at a time.</summary>
internal sealed class ZipPartitionsOperator<TFirst, TSecond, T>(Func<IEnumerable<TFirst>, IEnumerable<TSecond>, IEnumerable<T>> function) : Operator<T>
{
    private readonly Func<IEnumerable<TFirst>, IEnumerable<TSecond>, IEnumerable<T>> function = function;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition) => function(inputs.Open<TFirst>(0, partition), inputs.Open<TSecond>(1, partition));
}

/// <summary>Partitions of three collections at a time.</summary>
internal sealed class ZipPartitionsOperator<TFirst, TSecond, TThird, T>(Func<IEnumerable<TFirst>, IEnumerable<TSecond>, IEnumerable<TThird>, IEnumerable<T>> function) : Operator<T>
{
    private readonly Func<IEnumerable<TFirst>, IEnumerable<TSecond>, IEnumerable<TThird>, IEnumerable<T>> function = function;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition) =>
        function(inputs.Open<TFirst>(0, partition), inputs.Open<TSecond>(1, partition), inputs.Open<TThird>(2, partition));
}

/// <summary>Partitions of four collections at a time.</summary>
internal sealed class ZipPartitionsOperator<TFirst, TSecond, TThird, TFourth, T>(
    Func<IEnumerable<TFirst>, IEnumerable<TSecond>, IEnumerable<TThird>, IEnumerable<TFourth>, IEnumerable<T>> function) : Operator<T>
{
    private readonly Func<IEnumerable<TFirst>, IEnumerable<TSecond>, IEnumerable<TThird>, IEnumerable<TFourth>, IEnumerable<T>> function = function;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition) =>
        function(inputs.Open<TFirst>(0, partition), inputs.Open<TSecond>(1, partition), inputs.Open<TThird>(2, partition), inputs.Open<TFourth>(3, partition));
}

/// <summary>Every row of a partition of one side with every row of a partition of the other, which is held in memory: it is computed once per partition of the result, not once per row.</summary>
internal sealed class CrossJoinOperator<TLeft, TRight, T>(int rights, Func<TLeft, TRight, T> result) : Operator<T>
{
    private readonly int rights = rights;
    private readonly Func<TLeft, TRight, T> result = result;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition)
    {
        TRight[] held = [.. inputs.Open<TRight>(1, partition % rights)];
        if (held.Length == 0)
        {
            yield break;
        }
        foreach (var left in inputs.Open<TLeft>(0, partition / rights))
        {
            for (var i = 0; i < held.Length; i++)
            {
                yield return result(left, held[i]);
            }
        }
    }
}

/// <summary>Folds the rows of a partition into one; no row when there is none.</summary>
internal sealed class FoldRowsOperator<T>(Func<T, T, T> function) : Operator<T>
{
    private readonly Func<T, T, T> function = function;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition) => Fold(inputs.Open<T>(0, partition), function);

    public static IEnumerable<T> Fold(IEnumerable<T> rows, Func<T, T, T> function)
    {
        using var row = rows.GetEnumerator();
        if (!row.MoveNext())
        {
            yield break;
        }
        var folded = row.Current;
        while (row.MoveNext())
        {
            folded = function(folded, row.Current);
        }
        yield return folded;
    }
}

/// <summary>One accumulator per partition, from a seed.</summary>
internal sealed class AggregateRowsOperator<T, TAccumulate>(byte[] seed, Func<TAccumulate, T, TAccumulate> function) : Operator<TAccumulate>
{
    private readonly byte[] seed = seed;
    private readonly Func<TAccumulate, T, TAccumulate> function = function;

    public override IEnumerable<TAccumulate> Open(OperatorInputs inputs, int partition)
    {
        var accumulated = Rows.FromBytes<TAccumulate>(seed);
        foreach (var row in inputs.Open<T>(0, partition))
        {
            accumulated = function(accumulated, row);
        }
        yield return accumulated;
    }
}

/// <summary>Rows equal to a given one, as keys are equal.</summary>
internal sealed class EqualRowsOperator<T>(byte[] wanted) : Operator<T>
{
    private readonly byte[] wanted = wanted;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition)
    {
        var row = Rows.FromBytes<T>(wanted);
        return inputs.Open<T>(0, partition).Where(other => StableEquality<T>.Default.Equals(other, row));
    }
}
