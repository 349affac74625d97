using System.Globalization;
using System.Text;
using Xunit;
using Yarnish.Integration.Tests.Fixtures;

namespace Yarnish.Integration.Tests.EndToEnd;

/// <summary>The other examples, as a reader would run them: embedded. LogJoin against the Unix tool <c>join</c>.</summary>
[Trait("Category", "Processes")]
public sealed class ExamplesTests
{
    [Fact]
    public async Task LogJoin_prints_what_join_prints()
    {
        var directory = Directory.CreateTempSubdirectory("yarnish-join-");
        try
        {
            var (left, right) = (Path.Combine(directory.FullName, "left"), Path.Combine(directory.FullName, "right"));
            // Keys on one side only, and keys that several lines of either side have.
            await File.WriteAllTextAsync(left, Lines(3_000, seed: 1, keys: 1_000, "l"));
            await File.WriteAllTextAsync(right, Lines(2_000, seed: 2, keys: 1_500, "r"));

            var expected = await RunAsync("sh", "-c", $"export LC_ALL=C; sort -k1,1 '{left}' > '{left}.sorted'; sort -k1,1 '{right}' > '{right}.sorted'; join '{left}.sorted' '{right}.sorted' | tr ' ' '\\t' | sort");
            Assert.True(expected.Split('\n').Length > 2_000, "the files must have much in common");

            Assert.Equal(expected, await RunAsync("dotnet", Program("LogJoin"), left, right));
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    [Fact]
    public async Task Pi_is_about_three_point_one_four()
    {
        var output = await RunAsync("dotnet", Program("Pi"), "200", "10000");

        Assert.StartsWith("pi is about ", output, StringComparison.Ordinal);
        Assert.Equal(Math.PI, double.Parse(output["pi is about ".Length..], CultureInfo.InvariantCulture), tolerance: 0.01);
    }

    [Fact]
    public async Task KMeans_finds_the_places_that_points_lie_around()
    {
        double[][] places = [[10, -200], [500, 7], [-300, 1_000]];
        var random = new Random(3);
        var points = Enumerable.Range(0, 3_000).Select(i => (Place: i % 3, Point: Array.ConvertAll(places[i % 3], value => value + random.NextDouble() - 0.5))).ToArray();
        var means = points.GroupBy(point => point.Place, point => point.Point).Select(place => (double[])[place.Average(point => point[0]), place.Average(point => point[1])]).ToArray();
        var path = Path.GetTempFileName();
        try
        {
            await File.WriteAllLinesAsync(path, points.Select(point => string.Create(CultureInfo.InvariantCulture, $"{point.Point[0]:R} {point.Point[1]:R}")));

            var lines = (await RunAsync("dotnet", Program("KMeans"), path, "3", "10")).Split('\n', StringSplitOptions.RemoveEmptyEntries);

            var centres = lines.Select(line => Array.ConvertAll(line.Split(' '), value => double.Parse(value, CultureInfo.InvariantCulture))).OrderBy(centre => centre[1]).ToArray();
            Assert.Equal(3, centres.Length);
            foreach (var (centre, mean) in centres.Zip(means.OrderBy(mean => mean[1])))
            {
                Assert.Equal(mean[0], centre[0], tolerance: 1e-5);
                Assert.Equal(mean[1], centre[1], tolerance: 1e-5);
            }
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public async Task PageRank_ranks_as_the_same_loops_do()
    {
        const int Pages = 500;
        var random = new Random(4);
        var lines = Enumerable.Range(0, 5_000).Select(_ => (From: random.Next(Pages), To: (int)(Pages * Math.Pow(random.NextDouble(), 2)))).ToArray();
        var links = lines.Distinct().ToLookup(link => link.From, link => link.To);
        var ranks = links.ToDictionary(page => page.Key, _ => 1d);
        for (var i = 0; i < 5; i++)
        {
            ranks = links.Where(page => ranks.ContainsKey(page.Key)).SelectMany(page => page.Select(target => (target, Share: ranks[page.Key] / page.Count())))
                .GroupBy(share => share.target, share => share.Share).ToDictionary(page => page.Key, page => 0.15 + 0.85 * page.Sum());
        }
        var expected = ranks.OrderByDescending(page => page.Value).Take(10).Select(page => string.Create(CultureInfo.InvariantCulture, $"{page.Key}\t{page.Value:0.000000}\n"));
        var path = Path.GetTempFileName();
        try
        {
            await File.WriteAllLinesAsync(path, lines.Select(link => string.Create(CultureInfo.InvariantCulture, $"{link.From} {link.To}")));

            Assert.Equal(string.Concat(expected), await RunAsync("dotnet", Program("PageRank"), path, "5"));
        }
        finally
        {
            File.Delete(path);
        }
    }

    private static string Lines(int count, int seed, int keys, string side)
    {
        var random = new Random(seed);
        var text = new StringBuilder();
        for (var i = 0; i < count; i++)
        {
            text.Append(CultureInfo.InvariantCulture, $"key{random.Next(keys)} {side}{i}\n");
        }
        return text.ToString();
    }

    private static string Program(string example) => Path.Combine(Repository.Root, "artifacts", "bin", example, new DirectoryInfo(AppContext.BaseDirectory).Name, example + ".dll");

    private static async Task<string> RunAsync(string program, params string[] arguments)
    {
        var (exitCode, output, error) = await Shell.RunAsync(program, arguments);
        Assert.True(exitCode == 0, error);
        return output;
    }
}
