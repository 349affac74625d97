using System.Globalization;
using Yarnish.Serialization;

namespace Yarnish.Benchmarks.Operators;

/// <summary>Text files that programs read, made when they are wanted, removed at the end.</summary>
internal sealed class BenchmarkData : IDisposable
{
    public const int Dimensions = 8;

    private readonly string directory = Directory.CreateTempSubdirectory("yarnish-data-").FullName;

    /// <summary>Points of some dimensions, 1,000,000, around sixteen places.</summary>
    public string Points => Make("points.txt", 1_000_000, static number =>
    {
        var random = new Random(number);
        var cluster = random.Next(16);
        return string.Join(' ', Enumerable.Range(0, Dimensions).Select(i =>
            ((StableHash.Of(cluster * Dimensions + i) % 1_000) + 100 * random.NextDouble()).ToString("0.0000", CultureInfo.InvariantCulture)));
    });

    /// <summary>2,000,000 links between 200,000 pages; some pages have many more links to them than others.</summary>
    public string Links => Make("links.txt", 2_000_000, static number =>
    {
        var random = new Random(number);
        return string.Create(CultureInfo.InvariantCulture, $"{number % 200_000} {(int)(200_000 * Math.Pow(random.NextDouble(), 3))}");
    });

    public void Dispose() => Directory.Delete(directory, recursive: true);

    private string Make(string name, int lines, Func<int, string> line)
    {
        var path = Path.Combine(directory, name);
        if (!File.Exists(path))
        {
            File.WriteAllLines(path, Enumerable.Range(0, lines).Select(line));
        }
        return path;
    }
}
