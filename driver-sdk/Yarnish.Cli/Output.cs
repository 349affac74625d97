using System.Globalization;
using System.Text.Json;
using Spectre.Console;
using Yarnish.Protocol;

namespace Yarnish.Cli;

/// <summary>What commands print: tables for people, the REST records as JSON for programs.</summary>
internal static class Output
{
    private static readonly JsonSerializerOptions Json = new(ProtocolJson.Options) { WriteIndented = true };

    public static void PrintJson<T>(T value) => Console.Out.WriteLine(JsonSerializer.Serialize(value, Json));

    /// <summary>A table on stdout. Piped, columns are as wide as they need to be and nothing is cut.</summary>
    public static void PrintTable(string[] headers, IEnumerable<string[]> rows, string whenEmpty)
    {
        var table = new Table { Border = TableBorder.None, ShowHeaders = true };
        foreach (var header in headers)
        {
            table.AddColumn(new TableColumn(Markup.Escape(header)).NoWrap());
        }
        var any = false;
        foreach (var row in rows)
        {
            any = true;
            table.AddRow([.. row.Select(cell => new Text(cell))]);
        }
        if (!any)
        {
            Console.Out.WriteLine(whenEmpty);
            return;
        }
        if (Console.IsOutputRedirected)
        {
            AnsiConsole.Profile.Width = 10_000;
        }
        AnsiConsole.Write(table);
    }

    /// <summary><c>name: value</c> lines.</summary>
    public static void PrintFields(params (string Name, string Value)[] fields)
    {
        var width = fields.Max(field => field.Name.Length) + 1;
        foreach (var (name, value) in fields)
        {
            Console.Out.WriteLine($"{(name + ":").PadRight(width)} {Indent(value, width + 1)}");
        }
    }

    /// <summary>A text of several lines, those after the first moved in.</summary>
    public static string Indent(string text, int columns) => text.ReplaceLineEndings("\n").TrimEnd('\n').Replace("\n", "\n" + new string(' ', columns), StringComparison.Ordinal);

    /// <summary><c>1.4 MiB</c>.</summary>
    public static string Bytes(long bytes) => bytes switch
    {
        < 1 << 10 => string.Create(CultureInfo.InvariantCulture, $"{bytes} B"),
        < 1 << 20 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1024d:0.0} KiB"),
        < 1 << 30 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1048576d:0.0} MiB"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1073741824d:0.0} GiB"),
    };

    /// <summary><c>2h03m</c>, <c>3m07s</c>, <c>4.2s</c>.</summary>
    public static string Duration(TimeSpan time) => time switch
    {
        { TotalMinutes: < 1 } => string.Create(CultureInfo.InvariantCulture, $"{time.TotalSeconds:0.0}s"),
        { TotalHours: < 1 } => string.Create(CultureInfo.InvariantCulture, $"{time.Minutes}m{time.Seconds:00}s"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{(int)time.TotalHours}h{time.Minutes:00}m"),
    };
}
