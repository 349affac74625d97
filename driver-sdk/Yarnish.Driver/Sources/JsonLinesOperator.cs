using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using Yarnish.Operators;

namespace Yarnish.Sources;

/// <summary>A row for each line that is not blank.</summary>
internal sealed class JsonLinesOperator<T>(MalformedRows malformed, Func<JsonSerializerOptions>? options) : Operator<T>
{
    private readonly MalformedRows malformed = malformed;
    private readonly Func<JsonSerializerOptions>? options = options;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition)
    {
        var counters = inputs.Task.Counters;
        var json = options?.Invoke() ?? JsonLines.Options;
        foreach (var split in FileSplit.FromBytes(inputs.SourceInput(partition)))
        {
            using var stream = SourceStream.OpenLines(split, counters);
            using var lines = new LineReader(stream);
            using var problems = new MalformedInput(malformed, split.Path, inputs.Task);
            while (lines.MoveNext())
            {
                if (!lines.Line.ContainsAnyExcept(" \t"u8))
                {
                    continue;
                }
                T? row;
                try
                {
                    row = JsonSerializer.Deserialize<T>(lines.Line, json);
                }
                catch (JsonException error)
                {
                    // Only the first split of a file knows how many lines stand before.
                    problems.Add(split.Offset == 0 ? $"line {lines.Number} (byte {lines.Offset})" : $"the line at byte {lines.Offset}", lines.Line, error.Message);
                    continue;
                }
                counters.InputRows++;
                yield return row!;
            }
        }
    }
}

/// <summary>How rows are JSON.</summary>
internal static class JsonLines
{
    /// <summary>
    /// Names as declared, found whatever their case; fields too, so that tuples are rows; NaN and infinities as their names; text readable.
    /// </summary>
    public static JsonSerializerOptions Options { get; } = new()
    {
        TypeInfoResolver = new DefaultJsonTypeInfoResolver(),
        PropertyNameCaseInsensitive = true,
        IncludeFields = true,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    /// <summary>Refuses, where it is written, a type that is no JSON.</summary>
    public static void Require<T>(string operation)
    {
        try
        {
            _ = Options.GetTypeInfo(typeof(T));
        }
        catch (Exception error) when (error is NotSupportedException or InvalidOperationException)
        {
            throw new ArgumentException($"{operation}: {typeof(T)} cannot be read from or written to JSON: {error.Message}", error);
        }
    }
}
