using Yarnish.Executor;
using Yarnish.Operators;

namespace Yarnish.Lineage;

/// <summary>
/// One step of a collection's lineage, on the driver: the operator it adds, where its input comes from, and how its partitions map onto its parents'.
/// Immutable, apart from being marked as persisted; the operator is what travels, the node never does.
/// </summary>
internal sealed class LineageNode
{
    /// <summary>What executors run.</summary>
    public required Operator Operator { get; init; }

    /// <summary>How many partitions it has; known when the lineage is built, for a range-partitioned shuffle the most there can be.</summary>
    public required int Partitions { get; init; }

    /// <summary>The transformation, such as <c>Select</c>.</summary>
    public required string Label { get; init; }

    /// <summary>Where the user called it, such as <c>Program.cs:12</c>.</summary>
    public required string CallSite { get; init; }

    /// <summary>Collections computed in the same task.</summary>
    public IReadOnlyList<LineageNode> Parents { get; init; } = [];

    /// <summary>Which partitions of which parents one partition reads; null means the same partition of every parent.</summary>
    public Func<int, IEnumerable<(int Parent, int Partition)>>? ParentPartitions { get; init; }

    /// <summary>Shuffles it reads.</summary>
    public IReadOnlyList<ShuffleDependency> Shuffles { get; init; } = [];

    /// <summary>What must be done before the first job that computes it; null when nothing.</summary>
    public Preparation? Preparation { get; init; }

    /// <summary>The bytes that only one partition needs, such as a source's; null when there are none.</summary>
    public Func<int, ReadOnlyMemory<byte>>? Input { get; init; }

    /// <summary>True when computing it again may give other rows or another order of rows than before.</summary>
    public bool Unordered { get; init; }

    /// <summary>True when the tasks that compute it wait for each other.</summary>
    public bool Barrier { get; init; }

    /// <summary>Number of the persisted collection; null when it is not persisted.</summary>
    public int? Collection { get; set; }

    /// <summary>Where persisted partitions may be held.</summary>
    public StorageLevel Level { get; set; }

    /// <summary>The label and the call site.</summary>
    public override string ToString() => $"{Label} at {CallSite}";
}
