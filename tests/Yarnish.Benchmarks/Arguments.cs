using System.Globalization;
using System.Text.Json;

namespace Yarnish.Benchmarks;

/// <summary><c>--name value</c> pairs and flags of a benchmark, and how it prints.</summary>
internal sealed class Arguments
{
    private readonly Dictionary<string, string> values = new(StringComparer.Ordinal);

    public bool Json => values.ContainsKey("json");

    public static Arguments Parse(string[] arguments)
    {
        var parsed = new Arguments();
        for (var i = 0; i < arguments.Length; i++)
        {
            if (!arguments[i].StartsWith("--", StringComparison.Ordinal))
            {
                throw new ArgumentException($"'{arguments[i]}' is no option: write --name value.");
            }
            var hasValue = i + 1 < arguments.Length && !arguments[i + 1].StartsWith("--", StringComparison.Ordinal);
            parsed.values[arguments[i][2..]] = hasValue ? arguments[i + 1] : "";
            i += hasValue ? 1 : 0;
        }
        return parsed;
    }

    public int Number(string name, int otherwise) => values.TryGetValue(name, out var text) ? int.Parse(text, CultureInfo.InvariantCulture) : otherwise;

    public string Text(string name, string otherwise) => values.GetValueOrDefault(name, otherwise);

    /// <summary>One JSON line, or one <c>name  value</c> line per figure.</summary>
    public void Print(params (string Name, object Value)[] figures)
    {
        if (Json)
        {
            Console.WriteLine(JsonSerializer.Serialize(figures.ToDictionary(figure => figure.Name, figure => figure.Value is double number ? Math.Round(number, 3) : figure.Value)));
            return;
        }
        var width = figures.Max(figure => figure.Name.Length);
        foreach (var (name, value) in figures)
        {
            Console.WriteLine($"{name.PadRight(width)}  {(value is double number ? Math.Round(number, 3).ToString(CultureInfo.InvariantCulture) : value)}");
        }
    }
}

/// <summary>Figures of several runs.</summary>
internal static class Figures
{
    public static double Median(IEnumerable<double> values) => Percentile([.. values], 0.5);

    /// <summary>Nearest rank.</summary>
    public static double Percentile(double[] values, double share)
    {
        Array.Sort(values);
        return values[Math.Clamp((int)Math.Ceiling(share * values.Length) - 1, 0, values.Length - 1)];
    }
}
