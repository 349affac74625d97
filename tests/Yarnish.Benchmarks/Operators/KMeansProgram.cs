using System.Diagnostics;
using KMeans;

namespace Yarnish.Benchmarks.Operators;

/// <summary>The example's k-means, 20 iterations on persisted points, against the same loops over an array; and what an iteration takes that parses the points again.</summary>
internal sealed class KMeansProgram(BenchmarkData data) : OperatorProgram<Rdd<double[]>, double[][]>
{
    private const int Iterations = 20;
    private const int Clusters = 10;

    private readonly Lazy<double[][]> points = new(() => [.. File.ReadLines(data.Points).AsParallel().AsOrdered().Select(static line => Clustering.Parse(line))]);

    public override string Name => "kmeans";

    protected override async Task<Rdd<double[]>> PrepareAsync(YarnishSession session)
    {
        var persisted = Points(session).Persist();
        await persisted.CountAsync();
        return persisted;
    }

    protected override Task<double[][]> RunAsync(Rdd<double[]> state) => Clustering.FitAsync(state, Start(), Iterations);

    protected override double[][] Baseline()
    {
        var centres = Start();
        for (var i = 0; i < Iterations; i++)
        {
            var current = centres;
            centres = points.Value.AsParallel().Aggregate(
                static () => ClusterSums.Empty(Clusters, BenchmarkData.Dimensions),
                (sums, point) => sums.Add(Clustering.Nearest(current, point), point),
                static (left, right) => left.Add(right),
                sums => sums.Means(current));
        }
        return centres;
    }

    protected override string? Difference(double[][] expected, double[][] actual)
    {
        for (var i = 0; i < expected.Length; i++)
        {
            if (!expected[i].Zip(actual[i]).All(static pair => Math.Abs(pair.First - pair.Second) <= 1e-9 * Math.Abs(pair.First)))
            {
                return $"centre {i} is at {string.Join(' ', actual[i])} instead of {string.Join(' ', expected[i])}";
            }
        }
        return null;
    }

    public override async Task<(string Name, object Value)[]> FurtherAsync(YarnishSession session)
    {
        const int Few = 4;
        var persisted = Points(session).Persist();
        await Clustering.FitAsync(persisted, Start(), Few);
        var (again, kept) = (new List<double>(), new List<double>());
        for (var round = 0; round < 3; round++)
        {
            var clock = Stopwatch.StartNew();
            await Clustering.FitAsync(Points(session), Start(), Few);
            again.Add(clock.Elapsed.TotalSeconds / Few);
            clock.Restart();
            await Clustering.FitAsync(persisted, Start(), Iterations);
            kept.Add(clock.Elapsed.TotalSeconds / Iterations);
        }
        return
        [
            ("persistedIterationMs", 1_000 * Figures.Median(kept)), ("recomputingIterationMs", 1_000 * Figures.Median(again)),
            ("persistedIterationSpeedup", Figures.Median(again.Zip(kept, static (one, two) => one / two))),
        ];
    }

    private double[][] Start() => points.Value[..Clusters];

    private Rdd<double[]> Points(YarnishSession session) => session.ReadText(data.Points).Select(static line => Clustering.Parse(line));
}
