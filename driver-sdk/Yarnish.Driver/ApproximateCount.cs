namespace Yarnish;

/// <summary>What <see cref="Rdd{T}.CountApproxAsync"/> could say in its time.</summary>
/// <param name="Estimate">The likeliest number of rows; exact when <see cref="IsExact"/>.</param>
/// <param name="Low">With the confidence asked for there are not less; never below what was counted.</param>
/// <param name="High">With the confidence asked for there are not more; <see cref="long.MaxValue"/> while less than two partitions were counted.</param>
/// <param name="CountedPartitions">How many partitions were counted.</param>
/// <param name="IsExact">Whether all were.</param>
public readonly record struct ApproximateCount(long Estimate, long Low, long High, int CountedPartitions, bool IsExact)
{
    /// <summary>Takes the partitions that were counted for a random sample of all.</summary>
    internal static ApproximateCount From(IReadOnlyCollection<long> counts, int partitions, double confidence)
    {
        var counted = counts.Sum();
        if (counts.Count == partitions)
        {
            return new(counted, counted, counted, partitions, IsExact: true);
        }
        if (counts.Count < 2)
        {
            return new(counts.Count * counted * partitions, counted, long.MaxValue, counts.Count, IsExact: false);
        }
        var mean = (double)counted / counts.Count;
        var variance = counts.Sum(count => (count - mean) * (count - mean)) / (counts.Count - 1);
        // Cochran, Sampling Techniques (1977), 2.2: a total estimated from a sample without replacement out of a finite population.
        var margin = StudentQuantile(confidence, counts.Count - 1) * partitions * Math.Sqrt(variance / counts.Count * (1 - ((double)counts.Count / partitions)));
        var estimate = mean * partitions;
        return new((long)Math.Round(estimate), Math.Max(counted, (long)Math.Floor(estimate - margin)), (long)Math.Ceiling(estimate + margin), counts.Count, IsExact: false);
    }

    /// <summary>The two-sided quantile of Student's t, by the expansion of Abramowitz and Stegun 26.7.5 over the normal quantile 26.2.23 (error below 0.0005).</summary>
    private static double StudentQuantile(double confidence, int freedom)
    {
        var root = Math.Sqrt(-2 * Math.Log((1 - confidence) / 2));
        var normal = root - ((2.515517 + (0.802853 * root) + (0.010328 * root * root)) / (1 + (1.432788 * root) + (0.189269 * root * root) + (0.001308 * root * root * root)));
        var cube = normal * normal * normal;
        var fifth = cube * normal * normal;
        return normal + ((cube + normal) / (4 * freedom)) + (((5 * fifth) + (16 * cube) + (3 * normal)) / (96.0 * freedom * freedom));
    }
}
