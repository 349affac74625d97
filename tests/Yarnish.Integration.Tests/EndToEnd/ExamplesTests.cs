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
