using System.Globalization;
using Yarnish;

namespace KMeans;

/// <summary>Lloyd's k-means: every point goes to its nearest centre, every centre to the mean of its points, and again.</summary>
public static class Clustering
{
    /// <summary>A point: numbers between spaces.</summary>
    public static double[] Parse(string line) => [.. line.Split(' ').Select(static number => double.Parse(number, CultureInfo.InvariantCulture))];

    /// <summary>The centres after some iterations. Each is one job that reads all points: let them be persisted.</summary>
    public static async Task<double[][]> FitAsync(Rdd<double[]> points, double[][] start, int iterations)
    {
        var centres = start;
        for (var i = 0; i < iterations; i++)
        {
            var current = centres;
            var sums = await points.AggregateAsync(
                ClusterSums.Empty(current.Length, current[0].Length),
                (sums, point) => sums.Add(Nearest(current, point), point),
                static (left, right) => left.Add(right));
            centres = sums.Means(current);
        }
        return centres;
    }

    /// <summary>Index of the centre that is nearest to a point; the first of several.</summary>
    public static int Nearest(double[][] centres, double[] point)
    {
        var (nearest, least) = (0, double.MaxValue);
        for (var i = 0; i < centres.Length; i++)
        {
            var centre = centres[i];
            var distance = 0d;
            for (var j = 0; j < point.Length; j++)
            {
                var difference = point[j] - centre[j];
                distance += difference * difference;
            }
            if (distance < least)
            {
                (nearest, least) = (i, distance);
            }
        }
        return nearest;
    }
}

/// <summary>Sums and counts of the points of each cluster: what a partition tells about its points.</summary>
public sealed class ClusterSums
{
    private readonly double[][] sums;
    private readonly long[] counts;

    private ClusterSums(double[][] sums, long[] counts) => (this.sums, this.counts) = (sums, counts);

    /// <summary>Nothing yet.</summary>
    public static ClusterSums Empty(int clusters, int dimensions) => new([.. Enumerable.Range(0, clusters).Select(_ => new double[dimensions])], new long[clusters]);

    /// <summary>Adds a point to a cluster.</summary>
    public ClusterSums Add(int cluster, double[] point)
    {
        Add(sums[cluster], point);
        counts[cluster]++;
        return this;
    }

    /// <summary>Adds what another partition tells.</summary>
    public ClusterSums Add(ClusterSums other)
    {
        for (var cluster = 0; cluster < sums.Length; cluster++)
        {
            Add(sums[cluster], other.sums[cluster]);
            counts[cluster] += other.counts[cluster];
        }
        return this;
    }

    /// <summary>The centre of each cluster; one without points stays where it was.</summary>
    public double[][] Means(double[][] before) =>
        [.. sums.Select((sum, cluster) => counts[cluster] == 0 ? before[cluster] : [.. sum.Select(value => value / counts[cluster])])];

    private static void Add(double[] sum, double[] point)
    {
        for (var i = 0; i < sum.Length; i++)
        {
            sum[i] += point[i];
        }
    }
}
