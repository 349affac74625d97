using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Yarnish.Benchmarks;

/// <summary>The word count of the example over the SDK's documentation, against the same count by PLINQ in this process.</summary>
internal static class WordCountBenchmark
{
    private const int Rounds = 5;

    public static async Task<int> RunAsync(Arguments arguments)
    {
        var mode = arguments.Text("mode", "embedded");
        await using var cluster = mode switch
        {
            "embedded" => null,
            "cluster" => await BenchmarkCluster.StartAsync(nodes: 2),
            _ => throw new ArgumentException($"--mode {mode}: embedded or cluster."),
        };
        var builder = YarnishSession.CreateBuilder().WithName("word-count").Configure(options => options.Progress = ProgressStyle.None);
        if (cluster is not null)
        {
            builder = builder.WithAddress(cluster.Address).WithExecutors(2);
        }
        await using var session = await builder.ConnectAsync();

        // In turn, so that both meet the same machine; the first round of each warms up.
        var (ours, theirs) = (new List<double>(), new List<double>());
        for (var round = 0; round <= Rounds; round++)
        {
            var clock = Stopwatch.StartNew();
            var expected = PlinqTopTen();
            var plinq = clock.Elapsed.TotalSeconds;
            clock.Restart();
            var counted = await YarnishTopTenAsync(session);
            var yarnish = clock.Elapsed.TotalSeconds;
            if (!expected.SequenceEqual(counted))
            {
                throw new InvalidOperationException($"The counts differ: {string.Join(", ", counted)} instead of {string.Join(", ", expected)}");
            }
            if (round > 0)
            {
                ours.Add(yarnish);
                theirs.Add(plinq);
            }
        }
        arguments.Print(
            ("benchmark", "wordcount"), ("mode", mode), ("seconds", Figures.Median(ours)), ("plinqSeconds", Figures.Median(theirs)),
            ("ratio", Figures.Median(ours.Zip(theirs, (one, two) => one / two))));
        return 0;
    }

    private static string Documentation => Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "..", "..", "..", "packs", "*", "*", "ref", "*", "*.xml"));

    private static Task<KeyValuePair<string, long>[]> YarnishTopTenAsync(YarnishSession session) => session.ReadText(Documentation)
        .SelectMany(static line => Words(line))
        .CountBy(static word => word)
        .OrderByDescending(static pair => pair.Value)
        .ThenBy(static pair => pair.Key)
        .TakeAsync(10);

    // PLINQ at its best: a dictionary per worker, merged at the end. Its GroupBy, which keeps every word, takes more than twice as long.
    private static KeyValuePair<string, long>[] PlinqTopTen() => [.. Files()
        .AsParallel()
        .SelectMany(File.ReadLines)
        .SelectMany(Words)
        .Aggregate(
            static () => new Dictionary<string, long>(),
            static (counts, word) =>
            {
                CollectionsMarshal.GetValueRefOrAddDefault(counts, word, out _)++;
                return counts;
            },
            static (left, right) =>
            {
                foreach (var (word, count) in right)
                {
                    CollectionsMarshal.GetValueRefOrAddDefault(left, word, out _) += count;
                }
                return left;
            },
            static counts => counts)
        .OrderByDescending(pair => pair.Value)
        .ThenBy(pair => pair.Key, StringComparer.Ordinal)
        .Take(10)];

    private static string[] Files()
    {
        var packs = Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "..", "..", "..", "packs"));
        return [.. Directory.EnumerateFiles(packs, "*.xml", SearchOption.AllDirectories).Where(path => path[packs.Length..].Split('/') is [_, _, _, "ref", _, _])];
    }

    private static IEnumerable<string> Words(string line)
    {
        for (var start = 0; start < line.Length; start++)
        {
            if (char.IsAsciiLetter(line[start]))
            {
                var end = start + 1;
                while (end < line.Length && char.IsAsciiLetter(line[end]))
                {
                    end++;
                }
                yield return line[start..end].ToLowerInvariant();
                start = end;
            }
        }
    }
}
