using System.Runtime.CompilerServices;
using Yarnish.Executor;
using Yarnish.Jobs;
using Yarnish.Lineage;
using Yarnish.Operators;
using Yarnish.Serialization;

namespace Yarnish;

/// <summary>
/// A typed collection spread over partitions: lazily built, computed by executors when an action (a method ending in <c>Async</c>) asks for a result, and computed again from
/// its lineage where parts are lost. Immutable; every transformation gives a new one. Not an <see cref="IEnumerable{T}"/>: the rows are not here.
/// </summary>
/// <remarks>
/// Functions travel to other machines: prefer <c>static</c> lambdas, capture values, never connections. The operators bear LINQ's names where LINQ has the idea; query syntax works.
/// </remarks>
/// <typeparam name="T">The row. Crosses machines as MessagePack: primitives, strings, records, tuples, arrays and lists of such.</typeparam>
public partial class Rdd<T> : IDriverOnly
{
    internal Rdd(IJobRunner runner, LineageNode node, object? partitioner = null)
    {
        Runner = runner;
        Node = node;
        Partitioner = partitioner;
    }

    internal IJobRunner Runner { get; }

    internal LineageNode Node { get; }

    /// <summary>The <see cref="KeyPartitioner{TKey}"/> by which rows (pairs) were assigned to partitions; null when nobody knows.</summary>
    internal object? Partitioner { get; }

    /// <summary>How many partitions it has: the number of tasks that compute it. Known without computing anything.</summary>
    public int Partitions => Node.Partitions;

    // ---- rows of one partition to rows of one partition -------------------------------------------------------------------------------------------

    /// <summary>Each row becomes another.</summary>
    public Rdd<TResult> Select<TResult>(Func<T, TResult> selector, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        Narrow(selector, new SelectOperator<T, TResult>(selector), file, line);

    /// <summary>The rows that satisfy a condition. Partitioning by key is kept.</summary>
    public Rdd<T> Where(Func<T, bool> predicate, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        Narrow(predicate, new WhereOperator<T>(predicate), file, line, Partitioner);

    /// <summary>Each row becomes any number of others.</summary>
    public Rdd<TResult> SelectMany<TResult>(Func<T, IEnumerable<TResult>> selector, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        Narrow(selector, new SelectManyOperator<T, TResult>(selector), file, line);

    /// <summary>Each row becomes any number of others, paired with it: what <c>from … from … select</c> compiles to.</summary>
    public Rdd<TResult> SelectMany<TMiddle, TResult>(
        Func<T, IEnumerable<TMiddle>> selector, Func<T, TMiddle, TResult> resultSelector, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        SourceLocation.RequireTravels(Runner, resultSelector, nameof(SelectMany), SourceLocation.Of(file, line));
        return Narrow(selector, new SelectManyResultOperator<T, TMiddle, TResult>(selector, resultSelector), file, line);
    }

    /// <summary>A whole partition at a time: open a connection, load a model, keep a buffer once per partition instead of once per row.</summary>
    /// <param name="function">Gets the rows of a partition, to be read once, and gives the rows of the result; best written with <c>yield return</c>.</param>
    /// <param name="keepsPartitioning">True when it changes no keys, so that what is known about the partitioning stays true.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public Rdd<TResult> MapPartitions<TResult>(
        Func<IEnumerable<T>, IEnumerable<TResult>> function, bool keepsPartitioning = false, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        Narrow(function, new MapRowsOperator<T, TResult>(function), file, line, keepsPartitioning ? Partitioner : null);

    /// <summary>As <see cref="MapPartitions{TResult}(Func{IEnumerable{T}, IEnumerable{TResult}}, bool, string, int)"/>, with the index of the partition.</summary>
    public Rdd<TResult> MapPartitions<TResult>(
        Func<int, IEnumerable<T>, IEnumerable<TResult>> function, bool keepsPartitioning = false, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        Narrow(function, new MapPartitionsOperator<T, TResult>(function), file, line, keepsPartitioning ? Partitioner : null);

    /// <summary>Each row with a key computed from it.</summary>
    public Rdd<KeyValuePair<TKey, T>> KeyBy<TKey>(Func<T, TKey> keySelector, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        SourceLocation.RequireTravels(Runner, keySelector, nameof(KeyBy), SourceLocation.Of(file, line));
        return Derive(new SelectOperator<T, KeyValuePair<TKey, T>>(row => new(keySelector(row), row)), nameof(KeyBy), SourceLocation.Of(file, line));
    }

    /// <summary>The rows of each partition in arrays of the given size; the last of a partition may be smaller.</summary>
    public Rdd<T[]> Chunk(int size, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(size, 1);
        return Derive(new ChunkOperator<T>(size), nameof(Chunk), SourceLocation.Of(file, line));
    }

    /// <summary>The rows of both, this one's first. Equal rows stay, as with LINQ's <c>Concat</c> and SQL's <c>UNION ALL</c>; add <see cref="Distinct"/> for a set.</summary>
    public Rdd<T> Union(Rdd<T> other, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        ArgumentNullException.ThrowIfNull(other);
        RequireSameSession(other.Runner);
        // A union of unions is one flat union: loops that add to a collection stay cheap.
        LineageNode[] parents = [.. Flat(Node), .. Flat(other.Node)];
        var first = new int[parents.Length];
        var partitions = 0;
        for (var i = 0; i < parents.Length; i++)
        {
            first[i] = partitions;
            partitions = checked(partitions + parents[i].Partitions);
        }
        return new Rdd<T>(Runner, new LineageNode
        {
            Operator = new UnionOperator<T>(first),
            Partitions = partitions,
            Label = nameof(Union),
            CallSite = SourceLocation.Of(file, line),
            Parents = parents,
            ParentPartitions = partition => [UnionOperator<T>.Locate(first, partition)],
            Unordered = parents.Any(parent => parent.Unordered),
        });

        static IReadOnlyList<LineageNode> Flat(LineageNode node)
        {
            using var whole = LineageNode.Gate.EnterScope();
            return node is { Operator: UnionOperator<T>, Collection: null } ? node.Parents : [node];
        }
    }

    /// <summary>Rows of two collections side by side: both need the same number of partitions, and of rows in each.</summary>
    /// <exception cref="ArgumentException">The numbers of partitions differ.</exception>
    public Rdd<TResult> Zip<TOther, TResult>(
        Rdd<TOther> other, Func<T, TOther, TResult> resultSelector, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        SourceLocation.RequireTravels(Runner, resultSelector, nameof(Zip), SourceLocation.Of(file, line));
        return SideBySide(new ZipOperator<T, TOther, TResult>(resultSelector), keepsPartitioning: false, nameof(Zip), SourceLocation.Of(file, line), Side(other));
    }

    /// <summary>Fewer partitions without moving rows between machines by a shuffle: neighbours are read one after the other by one task.</summary>
    /// <param name="partitions">At least 1; no effect when there are no more than that.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public Rdd<T> Coalesce(int partitions, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(partitions, 1);
        if (partitions >= Partitions)
        {
            return this;
        }
        var inputs = Partitions;
        return new Rdd<T>(Runner, new LineageNode
        {
            Operator = new CoalesceOperator<T>(inputs, partitions),
            Partitions = partitions,
            Label = nameof(Coalesce),
            CallSite = SourceLocation.Of(file, line),
            Parents = [Node],
            ParentPartitions = partition => RunOf(partition),
            Unordered = Node.Unordered,
        });

        IEnumerable<(int, int)> RunOf(int partition)
        {
            var (first, end) = CoalesceOperator<T>.Run(inputs, partitions, partition);
            for (var i = first; i < end; i++)
            {
                yield return (0, i);
            }
        }
    }

    // ---- persistence ------------------------------------------------------------------------------------------------------------------------------

    /// <summary>
    /// Keeps the partitions on the executors once they are computed, for every later job that reads this collection. A lost partition is computed again. Default level: memory,
    /// then disk. See docs/persistence.md for all levels.
    /// </summary>
    /// <exception cref="InvalidOperationException">It is persisted with another level already.</exception>
    public Rdd<T> Persist(StorageLevel level = StorageLevel.MemoryAndDisk)
    {
        if ((level & StorageLevel.MemoryAndDisk) == 0)
        {
            throw new ArgumentException($"{level} keeps nothing: name Memory, Disk or both.", nameof(level));
        }
        if (Node.Collection is not null && Node.Level != level)
        {
            throw new InvalidOperationException($"The collection is persisted as {Node.Level} already; call Unpersist first to change the level.");
        }
        _ = RowFormats.For<T>();
        Node.Level = level;
        Node.Collection ??= Runner.NextCollection();
        return this;
    }

    /// <summary>Forgets the kept partitions. Later jobs compute them again.</summary>
    public Rdd<T> Unpersist()
    {
        if (Node.Collection is { } collection)
        {
            Node.Collection = null;
            Node.Level = StorageLevel.None;
            Runner.Unpersist(collection);
        }
        return this;
    }

    // ---- building blocks --------------------------------------------------------------------------------------------------------------------------

    private Rdd<TResult> Narrow<TResult>(Delegate function, Operator<TResult> step, string file, int line, object? partitioner = null, [CallerMemberName] string label = "")
    {
        var callSite = SourceLocation.Of(file, line);
        SourceLocation.RequireTravels(Runner, function, label, callSite);
        return Derive(step, label, callSite, partitioner);
    }

    /// <summary>A step that reads the same partition of this collection.</summary>
    internal Rdd<TResult> Derive<TResult>(Operator<TResult> step, string label, string callSite, object? partitioner = null) =>
        new(Runner, new LineageNode { Operator = step, Partitions = Partitions, Label = label, CallSite = callSite, Parents = [Node], Unordered = Node.Unordered }, partitioner);

    /// <summary>A collection that reads one shuffle of this one.</summary>
    internal Rdd<TResult> Shuffled<TResult>(
        ShuffleDependency shuffle, Func<ShuffleDependency, Operator<TResult>> read, string label, string callSite, object? partitioner = null, bool unordered = true) =>
        new(Runner, new LineageNode
        {
            Operator = read(shuffle),
            Partitions = shuffle.Reducers,
            Label = label,
            CallSite = callSite,
            Shuffles = [shuffle],
            Unordered = unordered,
        }, partitioner);

    internal const string OtherSession = "The two collections belong to different sessions. Collect one and parallelize it in the other, or build both in one session.";

    internal void RequireSameSession(IJobRunner other)
    {
        if (!ReferenceEquals(other, Runner))
        {
            throw new InvalidOperationException(OtherSession);
        }
    }
}
