using System.Numerics;
using System.Runtime.CompilerServices;

namespace Yarnish;

/// <summary>What collections of numbers can do besides. Partitions are added up in parallel, then their sums in order: floating-point results are the same each time for the same partitions.</summary>
public static class RddNumbers
{
    /// <summary>The sum; zero without rows.</summary>
    /// <exception cref="YarnishJobException">A partition's sum does not fit the type.</exception>
    /// <exception cref="OverflowException">The sum does not fit the type: <c>Select</c> to a wider one first.</exception>
    public static Task<T> SumAsync<T>(this Rdd<T> source, CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where T : INumber<T>
    {
        ArgumentNullException.ThrowIfNull(source);
        return source.FoldAsync(T.Zero, static (left, right) => checked(left + right), cancellation, file, line);
    }

    /// <summary>The arithmetic mean, as LINQ's: whole numbers are added up as <see cref="long"/>, others as <see cref="double"/>.</summary>
    /// <exception cref="InvalidOperationException">There are no rows.</exception>
    /// <exception cref="OverflowException">The sum of whole numbers does not fit <see cref="long"/>.</exception>
    public static async Task<double> AverageAsync<T>(this Rdd<T> source, CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where T : INumber<T>
    {
        ArgumentNullException.ThrowIfNull(source);
        if (IsWhole<T>())
        {
            var (whole, rows) = await source.AggregateAsync(
                (Sum: 0L, Count: 0L), static (sum, number) => checked((sum.Sum + long.CreateChecked(number), sum.Count + 1)),
                static (left, right) => checked((left.Sum + right.Sum, left.Count + right.Count)), cancellation, file, line).ConfigureAwait(false);
            return Mean(whole, rows);
        }
        var statistics = await source.AggregateAsync(
            (Sum: 0.0, Count: 0L), static (sum, number) => (sum.Sum + double.CreateChecked(number), sum.Count + 1),
            static (left, right) => (left.Sum + right.Sum, left.Count + right.Count), cancellation, file, line).ConfigureAwait(false);
        return Mean(statistics.Sum, statistics.Count);
    }

    /// <summary>The arithmetic mean, exact in decimals.</summary>
    /// <exception cref="InvalidOperationException">There are no rows.</exception>
    public static async Task<decimal> AverageAsync(this Rdd<decimal> source, CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        ArgumentNullException.ThrowIfNull(source);
        var (sum, count) = await source.AggregateAsync(
            (Sum: 0m, Count: 0L), static (sum, number) => (sum.Sum + number, sum.Count + 1),
            static (left, right) => (left.Sum + right.Sum, left.Count + right.Count), cancellation, file, line).ConfigureAwait(false);
        return count > 0 ? sum / count : throw NoRows(nameof(AverageAsync));
    }

    /// <summary>Count, mean, spread and extremes in one pass.</summary>
    public static Task<NumberStatistics> StatisticsAsync<T>(this Rdd<T> source, CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where T : INumber<T>
    {
        ArgumentNullException.ThrowIfNull(source);
        return source.AggregateAsync(
            NumberStatistics.None, static (statistics, number) => statistics.Add(double.CreateChecked(number)), static (left, right) => left.Combine(right), cancellation, file, line);
    }

    /// <summary>How many numbers lie in each of several ranges.</summary>
    /// <param name="source">The numbers; those outside of all ranges, and NaN, are not counted.</param>
    /// <param name="bounds">The ends of the ranges in strictly ascending order, two at least: range i holds what is from bound i on and below bound i + 1, the last one its upper bound too.</param>
    /// <param name="cancellation">Cancels the job.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    /// <returns>One number less than there are bounds.</returns>
    public static Task<long[]> HistogramAsync<T>(
        this Rdd<T> source, IReadOnlyList<T> bounds, CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where T : INumber<T>
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(bounds);
        T[] ends = [.. bounds];
        if (ends.Length < 2 || Enumerable.Range(1, ends.Length - 1).Any(i => !(ends[i - 1] < ends[i])))
        {
            throw new ArgumentException("HistogramAsync needs two bounds at least, in strictly ascending order.", nameof(bounds));
        }
        return source.AggregateAsync(
            new long[ends.Length - 1],
            (counts, number) =>
            {
                if (number >= ends[0] && number <= ends[^1])
                {
                    var found = Array.BinarySearch(ends, number);
                    counts[Math.Min(found >= 0 ? found : ~found - 1, counts.Length - 1)]++;
                }
                return counts;
            },
            static (left, right) =>
            {
                for (var i = 0; i < left.Length; i++)
                {
                    left[i] += right[i];
                }
                return left;
            },
            cancellation, file, line);
    }

    // One half becomes zero where there are no halves.
    private static bool IsWhole<T>()
        where T : INumber<T> => T.IsZero(T.CreateTruncating(0.5));

    private static double Mean(double sum, long count) => count > 0 ? sum / count : throw NoRows(nameof(AverageAsync));

    private static InvalidOperationException NoRows(string action) => new($"{action}: the collection has no rows.");
}

/// <summary>What <see cref="RddNumbers.StatisticsAsync"/> found.</summary>
/// <param name="Count">How many numbers.</param>
/// <param name="Mean">Their arithmetic mean; 0 when there are none.</param>
/// <param name="SquaredDeviations">Sum of the squares of their distances from the mean, by Welford's method, which does not lose digits as a sum of squares would.</param>
/// <param name="Minimum">The smallest; positive infinity when there are none.</param>
/// <param name="Maximum">The largest; negative infinity when there are none.</param>
public readonly record struct NumberStatistics(long Count, double Mean, double SquaredDeviations, double Minimum, double Maximum)
{
    /// <summary>Of no numbers.</summary>
    internal static NumberStatistics None { get; } = new(0, 0, 0, double.PositiveInfinity, double.NegativeInfinity);

    /// <summary>Their sum.</summary>
    public double Sum => Mean * Count;

    /// <summary>Their variance as a whole population; NaN when there are none.</summary>
    public double Variance => Count > 0 ? SquaredDeviations / Count : double.NaN;

    /// <summary>Their variance as a sample of more; NaN when there are less than two.</summary>
    public double SampleVariance => Count > 1 ? SquaredDeviations / (Count - 1) : double.NaN;

    /// <summary>Square root of <see cref="Variance"/>.</summary>
    public double StandardDeviation => Math.Sqrt(Variance);

    internal NumberStatistics Add(double number)
    {
        var count = Count + 1;
        var mean = Mean + ((number - Mean) / count);
        return new(count, mean, SquaredDeviations + ((number - Mean) * (number - mean)), Math.Min(Minimum, number), Math.Max(Maximum, number));
    }

    // Chan, Golub, LeVeque 1979.
    internal NumberStatistics Combine(NumberStatistics other)
    {
        if (Count == 0 || other.Count == 0)
        {
            return Count == 0 ? other : this;
        }
        var count = Count + other.Count;
        var distance = other.Mean - Mean;
        return new(
            count, Mean + (distance * other.Count / count), SquaredDeviations + other.SquaredDeviations + (distance * distance * Count / count * other.Count),
            Math.Min(Minimum, other.Minimum), Math.Max(Maximum, other.Maximum));
    }
}
