using Yarnish.Operators;
using Yarnish.Serialization;

namespace Yarnish;

/// <summary>
/// Assigns keys to partitions: derive from it to decide yourself which keys belong together, and give it to <c>PartitionBy</c>. Collections whose partitioners are equal
/// (<see cref="object.Equals(object)"/>) are joined and grouped without a shuffle; override it, and <see cref="object.GetHashCode"/>, when two objects may stand for the same assignment.
/// </summary>
/// <remarks>It travels to the executors with its fields. It must give equal keys the same partition in every process: never use <see cref="object.GetHashCode"/> of a string.</remarks>
/// <typeparam name="TKey">The key.</typeparam>
public abstract class KeyPartitioner<TKey>
{
    /// <summary>How many partitions there are; at least 1, always the same.</summary>
    public abstract int Partitions { get; }

    /// <summary>The partition of a key, from 0 to <see cref="Partitions"/> - 1; another number fails the task.</summary>
    public abstract int PartitionOf(TKey key);
}

/// <summary>By the stable hash of the key, the same in every process: what every operator uses when nobody says. Any two with the same number of partitions are equal.</summary>
/// <typeparam name="TKey">The key; needs value equality.</typeparam>
public sealed class HashPartitioner<TKey> : KeyPartitioner<TKey>, IEquatable<HashPartitioner<TKey>>
{
    private readonly int partitions;

    /// <summary>Over a number of partitions.</summary>
    /// <exception cref="KeyTypeException">The key type has no value equality.</exception>
    /// <exception cref="ArgumentOutOfRangeException">There are less than one partitions.</exception>
    public HashPartitioner(int partitions)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(partitions, 1);
        StableHash.Require<TKey>(nameof(HashPartitioner<>), "");
        this.partitions = partitions;
    }

    /// <inheritdoc/>
    public override int Partitions => partitions;

    /// <inheritdoc/>
    public override int PartitionOf(TKey key) => Partitioning.Of(StableHash.Of(key), partitions);

    /// <inheritdoc/>
    public bool Equals(HashPartitioner<TKey>? other) => other is not null && other.partitions == partitions;

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as HashPartitioner<TKey>);

    /// <inheritdoc/>
    public override int GetHashCode() => partitions;
}

/// <summary>
/// By ranges of keys: each partition holds what lies between two bounds, so the partitions are in order. <c>RangePartitionerAsync</c> of a collection samples bounds that make them
/// about equally large. Equal when bounds and comparer are.
/// </summary>
/// <typeparam name="TKey">The key.</typeparam>
public sealed class RangePartitioner<TKey> : KeyPartitioner<TKey>, IEquatable<RangePartitioner<TKey>>
{
    private readonly TKey[] bounds;
    private readonly IComparer<TKey>? comparer;

    /// <summary>With the given bounds: one partition more than there are of them.</summary>
    /// <param name="bounds">The largest key of each partition but the last, in strictly ascending order.</param>
    /// <param name="comparer">The order; null for the default of the type, strings by ordinal. It must travel.</param>
    /// <exception cref="ArgumentException">The bounds are not in strictly ascending order.</exception>
    public RangePartitioner(IEnumerable<TKey> bounds, IComparer<TKey>? comparer = null)
    {
        ArgumentNullException.ThrowIfNull(bounds);
        this.bounds = [.. bounds];
        this.comparer = comparer;
        for (var i = 1; i < this.bounds.Length; i++)
        {
            if (DefaultOrder<TKey>.Compare(comparer, this.bounds[i - 1], this.bounds[i]) >= 0)
            {
                throw new ArgumentException($"The bounds must be in strictly ascending order; number {i} is not above the one before.", nameof(bounds));
            }
        }
    }

    /// <summary>The largest key of each partition but the last.</summary>
    public IReadOnlyList<TKey> Bounds => bounds;

    /// <inheritdoc/>
    public override int Partitions => bounds.Length + 1;

    /// <inheritdoc/>
    public override int PartitionOf(TKey key)
    {
        int low = 0, high = bounds.Length;
        while (low < high)
        {
            var middle = (low + high) >>> 1;
            if (DefaultOrder<TKey>.Compare(comparer, bounds[middle], key) < 0)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }
        return low;
    }

    /// <inheritdoc/>
    public bool Equals(RangePartitioner<TKey>? other)
    {
        if (other is null || other.bounds.Length != bounds.Length || !Equals(other.comparer, comparer))
        {
            return false;
        }
        for (var i = 0; i < bounds.Length; i++)
        {
            if (DefaultOrder<TKey>.Compare(comparer, bounds[i], other.bounds[i]) != 0)
            {
                return false;
            }
        }
        return true;
    }

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as RangePartitioner<TKey>);

    /// <inheritdoc/>
    public override int GetHashCode() => bounds.Length;
}
