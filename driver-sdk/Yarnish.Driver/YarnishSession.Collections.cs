using System.Numerics;
using System.Runtime.CompilerServices;
using Yarnish.Lineage;

namespace Yarnish;

/// <content>Where collections begin.</content>
public sealed partial class YarnishSession
{
    /// <summary>A collection of rows that are in the driver's memory. They are copied now, and sent along with the tasks.</summary>
    /// <param name="rows">The rows.</param>
    /// <param name="partitions">Into how many partitions they are cut; null for the session's parallelism, at most one per row.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public Rdd<T> Parallelize<T>(IEnumerable<T> rows, int? partitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        Collections.Parallelize(Runner, rows, partitions, SourceLocation.Of(file, line));

    /// <summary>Consecutive whole numbers.</summary>
    /// <param name="start">The first.</param>
    /// <param name="count">How many; 0 or more.</param>
    /// <param name="partitions">Into how many partitions they are cut; null for the session's parallelism.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public Rdd<T> Range<T>(T start, long count, int? partitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where T : INumber<T> =>
        Collections.Range(Runner, start, count, partitions, SourceLocation.Of(file, line));
}
