namespace Yarnish.Operators;

/// <summary>Each row becomes another.</summary>
internal sealed class SelectOperator<TInput, T>(Func<TInput, T> function) : Operator<T>
{
    private readonly Func<TInput, T> function = function;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition) => inputs.Open<TInput>(0, partition).Select(function);
}

/// <summary>Rows that satisfy a condition.</summary>
internal sealed class WhereOperator<T>(Func<T, bool> predicate) : Operator<T>
{
    private readonly Func<T, bool> predicate = predicate;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition) => inputs.Open<T>(0, partition).Where(predicate);
}

/// <summary>Each row becomes any number of others.</summary>
internal sealed class SelectManyOperator<TInput, T>(Func<TInput, IEnumerable<T>> function) : Operator<T>
{
    private readonly Func<TInput, IEnumerable<T>> function = function;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition)
    {
        foreach (var row in inputs.Open<TInput>(0, partition))
        {
            var produced = function(row);
            // Arrays and lists, the usual cases, are read without an enumerator on the heap.
            if (produced is T[] array)
            {
                for (var i = 0; i < array.Length; i++)
                {
                    yield return array[i];
                }
            }
            else if (produced is List<T> list)
            {
                foreach (var item in list)
                {
                    yield return item;
                }
            }
            else
            {
                foreach (var item in produced)
                {
                    yield return item;
                }
            }
        }
    }
}

/// <summary>The second half of a query with two sources: <c>from x in xs from y in f(x) select r(x, y)</c>.</summary>
internal sealed class SelectManyResultOperator<TInput, TMiddle, T>(Func<TInput, IEnumerable<TMiddle>> function, Func<TInput, TMiddle, T> result) : Operator<T>
{
    private readonly Func<TInput, IEnumerable<TMiddle>> function = function;
    private readonly Func<TInput, TMiddle, T> result = result;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition) => inputs.Open<TInput>(0, partition).SelectMany(function, result);
}

/// <summary>A whole partition at a time, with its index.</summary>
internal sealed class MapPartitionsOperator<TInput, T>(Func<int, IEnumerable<TInput>, IEnumerable<T>> function) : Operator<T>
{
    private readonly Func<int, IEnumerable<TInput>, IEnumerable<T>> function = function;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition) => function(partition, inputs.Open<TInput>(0, partition));
}

/// <summary>A whole partition at a time.</summary>
internal sealed class MapRowsOperator<TInput, T>(Func<IEnumerable<TInput>, IEnumerable<T>> function) : Operator<T>
{
    private readonly Func<IEnumerable<TInput>, IEnumerable<T>> function = function;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition) => function(inputs.Open<TInput>(0, partition));
}

/// <summary>The partitions of several collections one after the other: partition p is one partition of one input.</summary>
internal sealed class UnionOperator<T>(int[] firstPartitions) : Operator<T>
{
    // firstPartitions[i] is the number of the first partition that belongs to input i.
    private readonly int[] firstPartitions = firstPartitions;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition)
    {
        var (input, inner) = Locate(firstPartitions, partition);
        return inputs.Open<T>(input, inner);
    }

    public static (int Input, int Partition) Locate(int[] firstPartitions, int partition)
    {
        var found = Array.BinarySearch(firstPartitions, partition);
        // Inputs without partitions share their first number with the next: take the last that begins here.
        var input = found >= 0 ? found : ~found - 1;
        while (input + 1 < firstPartitions.Length && firstPartitions[input + 1] == firstPartitions[input])
        {
            input++;
        }
        return (input, partition - firstPartitions[input]);
    }
}

/// <summary>Fewer partitions without a shuffle: each reads a run of neighbours.</summary>
internal sealed class CoalesceOperator<T>(int inputPartitions, int partitions) : Operator<T>
{
    private readonly int inputPartitions = inputPartitions;
    private readonly int partitions = partitions;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition)
    {
        var (first, end) = Run(inputPartitions, partitions, partition);
        for (var i = first; i < end; i++)
        {
            foreach (var row in inputs.Open<T>(0, i))
            {
                yield return row;
            }
        }
    }

    public static (int First, int End) Run(int inputPartitions, int partitions, int partition) =>
        ((int)((long)partition * inputPartitions / partitions), (int)((long)(partition + 1) * inputPartitions / partitions));
}

/// <summary>Rows of two collections side by side; their partitions must have the same number of rows.</summary>
internal sealed class ZipOperator<TFirst, TSecond, T>(Func<TFirst, TSecond, T> result) : Operator<T>
{
    private readonly Func<TFirst, TSecond, T> result = result;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition)
    {
        using var first = inputs.Open<TFirst>(0, partition).GetEnumerator();
        using var second = inputs.Open<TSecond>(1, partition).GetEnumerator();
        while (true)
        {
            var (one, two) = (first.MoveNext(), second.MoveNext());
            if (one != two)
            {
                throw new InvalidOperationException($"Zip: partition {partition} has more rows on the {(one ? "first" : "second")} side; both must have the same number.");
            }
            if (!one)
            {
                yield break;
            }
            yield return result(first.Current, second.Current);
        }
    }
}

/// <summary>Rows in arrays.</summary>
internal sealed class ChunkOperator<T>(int size) : Operator<T[]>
{
    private readonly int size = size;

    public override IEnumerable<T[]> Open(OperatorInputs inputs, int partition) => inputs.Open<T>(0, partition).Chunk(size);
}
