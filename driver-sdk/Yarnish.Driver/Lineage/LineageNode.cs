using Yarnish.Executor;
using Yarnish.Operators;

namespace Yarnish.Lineage;

/// <summary>
/// One step of a collection's lineage, on the driver: the operator it adds, where its input comes from, and how its partitions map onto its parents'.
/// Immutable, apart from being marked as persisted, and from being cut when its rows were checkpointed; the operator is what travels, the node never does.
/// </summary>
internal sealed class LineageNode
{
    private volatile Checkpoint? checkpoint;

    /// <summary>Held while a plan is made of nodes, and while one is cut: no plan sees half of either.</summary>
    public static Lock Gate { get; } = new();

    /// <summary>What executors run.</summary>
    public required Operator Operator { get => checkpoint?.Source ?? field; init; }

    /// <summary>How many partitions it has; known when the lineage is built, for a range-partitioned shuffle the most there can be.</summary>
    public required int Partitions { get; init; }

    /// <summary>The transformation, such as <c>Select</c>.</summary>
    public required string Label { get; init; }

    /// <summary>Where the user called it, such as <c>Program.cs:12</c>.</summary>
    public required string CallSite { get; init; }

    /// <summary>Collections computed in the same task.</summary>
    public IReadOnlyList<LineageNode> Parents { get => checkpoint is null ? field : []; init; } = [];

    /// <summary>Which partitions of which parents one partition reads; null means the same partition of every parent.</summary>
    public Func<int, IEnumerable<(int Parent, int Partition)>>? ParentPartitions { get => checkpoint is null ? field : null; init; }

    /// <summary>Shuffles it reads.</summary>
    public IReadOnlyList<ShuffleDependency> Shuffles { get => checkpoint is null ? field : []; init; } = [];

    /// <summary>What must be done before the first job that computes it; null when nothing.</summary>
    public Preparation? Preparation { get => checkpoint is null ? field : null; init; }

    /// <summary>The bytes that only one partition needs, such as a source's; null when there are none.</summary>
    public Func<int, ReadOnlyMemory<byte>>? Input { get => checkpoint is null ? field : checkpoint.Input; init; }

    /// <summary>True when computing it again may give other rows or another order of rows than before.</summary>
    public bool Unordered { get => checkpoint is null && field; init; }

    /// <summary>True when the tasks that compute it wait for each other.</summary>
    public bool Barrier { get => checkpoint is null && field; init; }

    /// <summary>Number of the persisted collection; null when it is not persisted.</summary>
    public int? Collection { get; set; }

    /// <summary>Where persisted partitions may be held.</summary>
    public StorageLevel Level { get; set; }

    /// <summary>Whether its rows come from a checkpoint.</summary>
    public bool IsCut => checkpoint is not null;

    /// <summary>From here its rows come from a checkpoint, and nothing it was made of is needed any more. The first cut stays.</summary>
    /// <param name="source">Reads the checkpoint.</param>
    /// <param name="input">The bytes that the source needs for a partition; null for none.</param>
    public void Cut(Operator source, Func<int, ReadOnlyMemory<byte>>? input)
    {
        lock (Gate)
        {
            checkpoint ??= new Checkpoint(source, input);
        }
    }

    /// <summary>The label and the call site.</summary>
    public override string ToString() => $"{Label} at {CallSite}";

    private sealed record Checkpoint(Operator Source, Func<int, ReadOnlyMemory<byte>>? Input);
}
