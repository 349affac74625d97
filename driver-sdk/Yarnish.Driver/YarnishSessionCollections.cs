using System.Runtime.CompilerServices;
using Yarnish.Lineage;

namespace Yarnish;

/// <summary>How a session makes collections.</summary>
public static class YarnishSessionCollections
{
    /// <summary>A collection of rows that the driver holds in memory; they travel with the tasks, at most 8 MiB per partition.</summary>
    /// <param name="session">The session.</param>
    /// <param name="rows">The rows; copied.</param>
    /// <param name="partitions">How many partitions; null takes twice the slots, at most one per row.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public static Rdd<T> Parallelize<T>(
        this YarnishSession session, IEnumerable<T> rows, int? partitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        Collections.Parallelize(session.Runner, rows, partitions, SourceLocation.Of(file, line));

    /// <summary>The <paramref name="count"/> whole numbers from <paramref name="start"/>. Nothing is sent: each partition counts by itself.</summary>
    public static Rdd<int> Range(this YarnishSession session, int start, int count, int? partitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        Collections.Range(session.Runner, start, count, partitions, SourceLocation.Of(file, line));

    /// <summary>As <see cref="Range(YarnishSession, int, int, int?, string, int)"/>, for more than two thousand million numbers.</summary>
    public static Rdd<long> Range(this YarnishSession session, long start, long count, int? partitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        Collections.Range(session.Runner, start, count, partitions, SourceLocation.Of(file, line));

    /// <summary>
    /// The lines of text files (UTF-8, <c>\n</c> or <c>\r\n</c>). Large files are split, small ones share a partition, <c>.gz</c> is unpacked. On a fleet every node must see the
    /// files under the same paths.
    /// </summary>
    /// <param name="session">The session.</param>
    /// <param name="path">A file, a directory (its files), or a glob with <c>*</c>, <c>?</c> and <c>**</c>.</param>
    /// <param name="minPartitions">At least about so many partitions; null takes twice the slots.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    /// <exception cref="FileNotFoundException">The path names no file.</exception>
    public static Rdd<string> ReadText(this YarnishSession session, string path, int? minPartitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        Collections.ReadText(session.Runner, [path], minPartitions, SourceLocation.Of(file, line));

    /// <summary>As <see cref="ReadText(YarnishSession, string, int?, string, int)"/>, for several paths.</summary>
    public static Rdd<string> ReadText(
        this YarnishSession session, IEnumerable<string> paths, int? minPartitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        Collections.ReadText(session.Runner, paths, minPartitions, SourceLocation.Of(file, line));
}
