using System.Runtime.InteropServices;

namespace Yarnish.Benchmarks.Operators;

/// <summary>The word count of the example over the SDK's documentation, against the same count by PLINQ in this process.</summary>
internal sealed class WordCountProgram : OperatorProgram<YarnishSession, KeyValuePair<string, long>[]>
{
    public override string Name => "wordcount";

    protected override Task<YarnishSession> PrepareAsync(YarnishSession session) => Task.FromResult(session);

    protected override Task<KeyValuePair<string, long>[]> RunAsync(YarnishSession state) => YarnishTopTenAsync(state);

    protected override KeyValuePair<string, long>[] Baseline() => PlinqTopTen();

    protected override string? Difference(KeyValuePair<string, long>[] expected, KeyValuePair<string, long>[] actual) =>
        expected.SequenceEqual(actual) ? null : $"the counts are {string.Join(", ", actual)} instead of {string.Join(", ", expected)}";

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
