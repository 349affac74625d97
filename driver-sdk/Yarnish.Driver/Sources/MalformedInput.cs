using System.Text;
using Microsoft.Extensions.Logging;
using Yarnish.Executor;

namespace Yarnish.Sources;

/// <summary>Meets malformed rows of one file as the user wants it: one error that says where and what, or a count and one example in the log.</summary>
internal sealed class MalformedInput(MalformedRows policy, string path, TaskRuntime task) : IDisposable
{
    private const int ExcerptBytes = 120;

    private long skipped;
    private string example = "";

    /// <summary>A piece of input is no row.</summary>
    /// <param name="place">Where, such as <c>line 3 (byte 120)</c>.</param>
    /// <param name="text">The piece.</param>
    /// <param name="why">What is wrong with it.</param>
    /// <exception cref="InvalidDataException">Malformed rows fail the task.</exception>
    public void Add(string place, ReadOnlySpan<byte> text, string why)
    {
        if (policy == MalformedRows.Fail)
        {
            throw Error(place, text, why, "leave such rows out with MalformedRows.Skip, or correct the file");
        }
        if (skipped++ == 0)
        {
            example = $"{place}: {why} In: {Excerpt(text)}";
        }
        task.Counters.SkippedRows++;
    }

    /// <summary>An error that nothing can be skipped over.</summary>
    public InvalidDataException Error(string place, ReadOnlySpan<byte> text, string why, string cure) => new($"{path}, {place}: {why} In: {Excerpt(text)}. Cure: {cure}.");

    /// <summary>Tells the log.</summary>
    public void Dispose()
    {
        if (skipped > 0)
        {
            task.Context.Logger.LogWarning("{Path}: {Count} malformed rows left out. The first: {Example}", path, skipped, example);
        }
    }

    private static string Excerpt(ReadOnlySpan<byte> text)
    {
        var shown = Encoding.UTF8.GetString(text[..Math.Min(text.Length, ExcerptBytes)]).TrimEnd('\uFFFD').ReplaceLineEndings("⏎");
        return text.Length > ExcerptBytes ? $"'{shown}…' ({text.Length} bytes)" : $"'{shown}'";
    }
}
