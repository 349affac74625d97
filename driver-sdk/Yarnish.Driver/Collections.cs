using System.Numerics;
using System.Runtime.CompilerServices;
using Yarnish.Jobs;
using Yarnish.Lineage;
using Yarnish.Operators;
using Yarnish.Sources;

namespace Yarnish;

/// <summary>Where collections come from. The session's public methods forward here.</summary>
internal static class Collections
{
    /// <summary>A collection of rows that are in the driver's memory. They are sent along with the tasks, 8 MiB per partition at most.</summary>
    public static Rdd<T> Parallelize<T>(IJobRunner runner, IEnumerable<T> rows, int? partitions, string callSite)
    {
        ArgumentNullException.ThrowIfNull(rows);
        // A copy: the collection must not change when the caller's list does.
        T[] all = [.. rows];
        var count = Positive(partitions) ?? Math.Max(1, Math.Min(runner.DefaultPartitions, all.Length));
        return new Rdd<T>(runner, new LineageNode
        {
            Operator = new ParallelizeOperator<T>(),
            Partitions = count,
            Label = nameof(Parallelize),
            CallSite = callSite,
            Input = partition =>
            {
                var first = (int)((long)all.Length * partition / count);
                var end = (int)((long)all.Length * (partition + 1) / count);
                return Rows.ToBytes(new ArraySegment<T>(all, first, end - first));
            },
        });
    }

    /// <summary>Consecutive whole numbers.</summary>
    public static Rdd<T> Range<T>(IJobRunner runner, T start, long count, int? partitions, string callSite)
        where T : INumber<T>
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        var parts = Positive(partitions) ?? (int)Math.Clamp(count, 1, Math.Max(runner.DefaultPartitions, 1));
        return new Rdd<T>(runner, new LineageNode { Operator = new RangeOperator<T>(start, count, parts), Partitions = parts, Label = nameof(Range), CallSite = callSite });
    }

    private static int? Positive(int? partitions, [CallerArgumentExpression(nameof(partitions))] string name = "")
    {
        if (partitions is { } wanted)
        {
            ArgumentOutOfRangeException.ThrowIfLessThan(wanted, 1, name);
        }
        return partitions;
    }
}
