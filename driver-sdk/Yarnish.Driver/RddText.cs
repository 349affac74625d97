using System.Runtime.CompilerServices;
using Yarnish.Lineage;
using Yarnish.Operators;

namespace Yarnish;

/// <summary>What collections of text can do besides.</summary>
public static class RddText
{
    /// <summary>
    /// Gives each partition to an external program, a row per line of UTF-8, and takes the lines that it writes as rows. It runs once for each partition, with the partition's index in
    /// <c>YARNISH_PARTITION</c>; it is stopped when the task is, or when no more of its lines are wanted. A row that has line breaks becomes several lines.
    /// </summary>
    /// <param name="source">The rows; a null fails the task.</param>
    /// <param name="program">Name or path of the program, as the executors see it. For a pipeline of the shell: <c>"sh"</c> with <c>["-c", "grep x | sort"]</c>.</param>
    /// <param name="arguments">Its arguments, each given as it is.</param>
    /// <param name="environment">Further environment variables.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    /// <remarks>The task fails when the program cannot be started or ends with an exit code other than 0; the error has the end of its standard error.</remarks>
    public static Rdd<string> Pipe(
        this Rdd<string> source, string program, IEnumerable<string>? arguments = null, IReadOnlyDictionary<string, string>? environment = null,
        [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentException.ThrowIfNullOrEmpty(program);
        return source.Derive(new PipeOperator(program, [.. arguments ?? []], [.. environment ?? new Dictionary<string, string>()]), nameof(Pipe), SourceLocation.Of(file, line));
    }
}
