using System.Globalization;
using Yarnish;

namespace PageRank;

/// <summary>Brin and Page's rank of pages by the pages that link to them.</summary>
public static class Ranking
{
    /// <summary>The pages that each page links to; a line is two pages: from, to.</summary>
    public static Rdd<KeyValuePair<int, int[]>> Links(Rdd<string> lines) => lines.Select(static line => Parse(line)).Distinct().GroupByKey();

    /// <summary>
    /// The ranks after some iterations: in each, a page shares its rank out over its links. Links and ranks are partitioned alike, so only the shares cross a shuffle. Links are
    /// read in every iteration: let them be persisted. A page that nobody links to has no rank, as in Spark's example.
    /// </summary>
    public static Rdd<KeyValuePair<int, double>> Ranks(Rdd<KeyValuePair<int, int[]>> links, int iterations)
    {
        var ranks = links.SelectValues(static _ => 1d);
        for (var i = 0; i < iterations; i++)
        {
            ranks = Next(links, ranks);
        }
        return ranks;
    }

    /// <summary>One iteration.</summary>
    public static Rdd<KeyValuePair<int, double>> Next(Rdd<KeyValuePair<int, int[]>> links, Rdd<KeyValuePair<int, double>> ranks) =>
        links.Join(ranks)
            .SelectMany(static page => Shares(page.Value.Left, page.Value.Right))
            .ReduceByKey(static (left, right) => left + right)
            .SelectValues(static sum => 0.15 + 0.85 * sum);

    /// <summary>What a page gives to each page it links to.</summary>
    public static KeyValuePair<int, double>[] Shares(int[] targets, double rank) => Array.ConvertAll(targets, target => KeyValuePair.Create(target, rank / targets.Length));

    /// <summary>Two page numbers between a space.</summary>
    public static KeyValuePair<int, int> Parse(string line)
    {
        var space = line.IndexOf(' ', StringComparison.Ordinal);
        return new(int.Parse(line.AsSpan(0, space), CultureInfo.InvariantCulture), int.Parse(line.AsSpan(space + 1), CultureInfo.InvariantCulture));
    }
}
