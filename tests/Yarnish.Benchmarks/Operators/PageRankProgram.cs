using System.Diagnostics;
using System.Runtime.InteropServices;
using PageRank;

namespace Yarnish.Benchmarks.Operators;

/// <summary>
/// The example's PageRank, 10 iterations on persisted links, against PLINQ over an array of pages with a dictionary of shares per worker; and what an iteration takes that
/// makes the links again: parses the text, removes what is there twice, groups by page.
/// </summary>
internal sealed class PageRankProgram(BenchmarkData data) : OperatorProgram<Rdd<KeyValuePair<int, int[]>>, KeyValuePair<int, double>[]>
{
    private const int Iterations = 10;

    private readonly Lazy<KeyValuePair<int, int[]>[]> links = new(() =>
        [.. File.ReadLines(data.Links).AsParallel().Select(static line => Ranking.Parse(line)).Distinct().GroupBy(static link => link.Key, static link => link.Value)
            .Select(static page => KeyValuePair.Create(page.Key, page.ToArray()))]);

    public override string Name => "pagerank";

    protected override async Task<Rdd<KeyValuePair<int, int[]>>> PrepareAsync(YarnishSession session)
    {
        var persisted = Links(session).Persist();
        await persisted.CountAsync();
        return persisted;
    }

    protected override async Task<KeyValuePair<int, double>[]> RunAsync(Rdd<KeyValuePair<int, int[]>> state) => await Ranking.Ranks(state, Iterations).CollectAsync();

    protected override KeyValuePair<int, double>[] Baseline()
    {
        var pages = links.Value;
        var ranks = pages.ToDictionary(static page => page.Key, static _ => 1d);
        for (var i = 0; i < Iterations; i++)
        {
            var current = ranks;
            ranks = pages.AsParallel().Aggregate(
                static () => new Dictionary<int, double>(),
                (shares, page) =>
                {
                    if (current.TryGetValue(page.Key, out var rank))
                    {
                        foreach (var target in page.Value)
                        {
                            CollectionsMarshal.GetValueRefOrAddDefault(shares, target, out _) += rank / page.Value.Length;
                        }
                    }
                    return shares;
                },
                static (left, right) =>
                {
                    foreach (var (page, share) in right)
                    {
                        CollectionsMarshal.GetValueRefOrAddDefault(left, page, out _) += share;
                    }
                    return left;
                },
                static shares =>
                {
                    foreach (var page in shares.Keys)
                    {
                        CollectionsMarshal.GetValueRefOrNullRef(shares, page) = 0.15 + 0.85 * shares[page];
                    }
                    return shares;
                });
        }
        return [.. ranks];
    }

    protected override string? Difference(KeyValuePair<int, double>[] expected, KeyValuePair<int, double>[] actual)
    {
        var (one, two) = (expected.OrderBy(static page => page.Key).ToArray(), actual.OrderBy(static page => page.Key).ToArray());
        return one.Length != two.Length ? $"{two.Length} pages instead of {one.Length}"
            : one.Zip(two).FirstOrDefault(static pair => pair.First.Key != pair.Second.Key || Math.Abs(pair.First.Value - pair.Second.Value) > 1e-9 * pair.First.Value)
                is { First.Value: > 0 } wrong ? $"{wrong.Second} instead of {wrong.First}" : null;
    }

    public override async Task<(string Name, object Value)[]> FurtherAsync(YarnishSession session)
    {
        const int Few = 3;
        var persisted = Links(session).Persist();
        await Ranking.Ranks(persisted, 1).CountAsync();
        var (again, kept) = (new List<double>(), new List<double>());
        for (var round = 0; round < 3; round++)
        {
            var clock = Stopwatch.StartNew();
            var ranks = Ranking.Ranks(Links(session), 1);
            for (var i = 1; i < Few; i++)
            {
                ranks = Ranking.Next(Links(session), ranks);
            }
            await ranks.CountAsync();
            again.Add(clock.Elapsed.TotalSeconds / Few);
            clock.Restart();
            await Ranking.Ranks(persisted, Iterations).CountAsync();
            kept.Add(clock.Elapsed.TotalSeconds / Iterations);
        }
        return
        [
            ("persistedIterationMs", 1_000 * Figures.Median(kept)), ("recomputingIterationMs", 1_000 * Figures.Median(again)),
            ("persistedIterationSpeedup", Figures.Median(again.Zip(kept, static (one, two) => one / two))),
        ];
    }

    private Rdd<KeyValuePair<int, int[]>> Links(YarnishSession session) => Ranking.Links(session.ReadText(data.Links));
}
