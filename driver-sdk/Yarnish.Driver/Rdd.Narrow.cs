using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using Yarnish.Jobs;
using Yarnish.Lineage;
using Yarnish.Operators;

namespace Yarnish;

/// <content>More steps that need no shuffle.</content>
public partial class Rdd<T>
{
    /// <summary>
    /// Each row with its position in the whole collection, from 0, as LINQ's <c>Index</c>. Rows before a partition must be counted first: the first job that needs it runs one that counts, unless
    /// there is a single partition. <see cref="ZipWithUniqueId"/> needs none.
    /// </summary>
    public Rdd<(long Index, T Item)> Index([CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        var callSite = SourceLocation.Of(file, line);
        var before = new long[Math.Max(Partitions, 1)];
        return new Rdd<(long, T)>(Runner, new LineageNode
        {
            Operator = new IndexOperator<T>(),
            Partitions = Partitions,
            Label = nameof(Index),
            CallSite = callSite,
            Parents = [Node],
            Unordered = Node.Unordered,
            Preparation = Partitions <= 1 ? null : new Preparation(CountAsync),
            Input = partition =>
            {
                var bytes = new byte[sizeof(long)];
                BinaryPrimitives.WriteInt64LittleEndian(bytes, before[partition]);
                return bytes;
            },
        });

        async Task CountAsync(CancellationToken cancellation)
        {
            var sizes = new long[Partitions];
            await RunAsync(
                new CountAction<T>(), $"{nameof(Index)} (counting) at {callSite}", [.. Enumerable.Range(0, Partitions - 1)],
                (partition, result) => sizes[partition] = BinaryPrimitives.ReadInt64LittleEndian(result.Span), cancellation).ConfigureAwait(false);
            for (var i = 1; i < before.Length; i++)
            {
                before[i] = before[i - 1] + sizes[i - 1];
            }
        }
    }

    /// <summary>Each row with a number that no other row has: row k of partition p of n gets k · n + p. No job is needed, but there may be gaps.</summary>
    public Rdd<(long Id, T Item)> ZipWithUniqueId([CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        Derive(new UniqueIdOperator<T>(Partitions), nameof(ZipWithUniqueId), SourceLocation.Of(file, line));

    /// <summary>Each partition as one row: an array of its rows, empty when it has none. Held in memory as a whole.</summary>
    public Rdd<T[]> Glom([CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        Derive(new GlomOperator<T>(), nameof(Glom), SourceLocation.Of(file, line));

    /// <summary>Partitions of two collections side by side, each pair as a whole: unlike <see cref="Zip"/> they may have different numbers of rows.</summary>
    /// <param name="other">Has as many partitions.</param>
    /// <param name="function">Gets the rows of both partitions, each to be read once, and gives the rows of the result.</param>
    /// <param name="keepsPartitioning">True when the keys stay in the partitions where this collection has them.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    /// <exception cref="ArgumentException">The numbers of partitions differ.</exception>
    public Rdd<TResult> ZipPartitions<TOther, TResult>(
        Rdd<TOther> other, Func<IEnumerable<T>, IEnumerable<TOther>, IEnumerable<TResult>> function, bool keepsPartitioning = false,
        [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        SourceLocation.RequireTravels(Runner, function, nameof(ZipPartitions), SourceLocation.Of(file, line));
        return SideBySide(new ZipPartitionsOperator<T, TOther, TResult>(function), keepsPartitioning, nameof(ZipPartitions), SourceLocation.Of(file, line), Side(other));
    }

    /// <summary>Partitions of three collections side by side, see <see cref="ZipPartitions{TOther, TResult}"/>.</summary>
    public Rdd<TResult> ZipPartitions<TSecond, TThird, TResult>(
        Rdd<TSecond> second, Rdd<TThird> third, Func<IEnumerable<T>, IEnumerable<TSecond>, IEnumerable<TThird>, IEnumerable<TResult>> function, bool keepsPartitioning = false,
        [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        SourceLocation.RequireTravels(Runner, function, nameof(ZipPartitions), SourceLocation.Of(file, line));
        return SideBySide(new ZipPartitionsOperator<T, TSecond, TThird, TResult>(function), keepsPartitioning, nameof(ZipPartitions), SourceLocation.Of(file, line), Side(second), Side(third));
    }

    /// <summary>Partitions of four collections side by side, see <see cref="ZipPartitions{TOther, TResult}"/>.</summary>
    public Rdd<TResult> ZipPartitions<TSecond, TThird, TFourth, TResult>(
        Rdd<TSecond> second, Rdd<TThird> third, Rdd<TFourth> fourth,
        Func<IEnumerable<T>, IEnumerable<TSecond>, IEnumerable<TThird>, IEnumerable<TFourth>, IEnumerable<TResult>> function, bool keepsPartitioning = false,
        [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        SourceLocation.RequireTravels(Runner, function, nameof(ZipPartitions), SourceLocation.Of(file, line));
        return SideBySide(new ZipPartitionsOperator<T, TSecond, TThird, TFourth, TResult>(function), keepsPartitioning, nameof(ZipPartitions), SourceLocation.Of(file, line), Side(second), Side(third), Side(fourth));
    }

    /// <summary>
    /// Every row of this collection with every row of another: as many partitions, and rows, as the product of both. Of the other one a partition at a time is held in memory: let it be the smaller one.
    /// Both are computed many times over; persist what is costly.
    /// </summary>
    /// <param name="other">The other side.</param>
    /// <param name="resultSelector">What becomes of a pair.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public Rdd<TResult> CrossJoin<TOther, TResult>(
        Rdd<TOther> other, Func<T, TOther, TResult> resultSelector, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        ArgumentNullException.ThrowIfNull(other);
        RequireSameSession(other.Runner);
        SourceLocation.RequireTravels(Runner, resultSelector, nameof(CrossJoin), SourceLocation.Of(file, line));
        var others = other.Partitions;
        return new Rdd<TResult>(Runner, new LineageNode
        {
            Operator = new CrossJoinOperator<T, TOther, TResult>(others, resultSelector),
            Partitions = checked(Partitions * others),
            Label = nameof(CrossJoin),
            CallSite = SourceLocation.Of(file, line),
            Parents = [Node, other.Node],
            ParentPartitions = partition => [(0, partition / others), (1, partition % others)],
            Unordered = Node.Unordered || other.Node.Unordered,
        });
    }

    private static (IJobRunner Runner, LineageNode Node) Side<TOther>(Rdd<TOther> other, [CallerArgumentExpression(nameof(other))] string name = "")
    {
        ArgumentNullException.ThrowIfNull(other, name);
        return (other.Runner, other.Node);
    }

    /// <summary>A step that reads the same partition of this collection and of others.</summary>
    private Rdd<TResult> SideBySide<TResult>(Operator<TResult> step, bool keepsPartitioning, string label, string callSite, params ReadOnlySpan<(IJobRunner Runner, LineageNode Node)> others)
    {
        var parents = new List<LineageNode> { Node };
        foreach (var other in others)
        {
            RequireSameSession(other.Runner);
            if (other.Node.Partitions != Partitions)
            {
                throw new ArgumentException($"{label} needs the same number of partitions on all sides; here are {Partitions} and {other.Node.Partitions}.", nameof(others));
            }
            parents.Add(other.Node);
        }
        return new Rdd<TResult>(Runner, new LineageNode
        {
            Operator = step,
            Partitions = Partitions,
            Label = label,
            CallSite = callSite,
            Parents = parents,
            Unordered = parents.Exists(static parent => parent.Unordered),
        }, keepsPartitioning ? Partitioner : null);
    }
}
