using Yarnish.Serialization;

namespace Yarnish.Operators;

/// <summary>Assigns keys to partitions. Two partitioners that are equal put equal keys into the same partition, so that a join between them needs no shuffle.</summary>
internal abstract class KeyPartitioner<TKey>
{
    public abstract int Partitions { get; }

    public abstract int PartitionOf(TKey key);
}

/// <summary>By <see cref="StableHash"/>: the same in every process, unlike <see cref="object.GetHashCode"/>.</summary>
internal sealed class HashPartitioner<TKey>(int partitions) : KeyPartitioner<TKey>, IEquatable<HashPartitioner<TKey>>
{
    private readonly int partitions = partitions;

    public override int Partitions => partitions;

    public override int PartitionOf(TKey key) => Partitioning.Of(StableHash.Of(key), partitions);

    public bool Equals(HashPartitioner<TKey>? other) => other is not null && other.partitions == partitions;

    public override bool Equals(object? obj) => Equals(obj as HashPartitioner<TKey>);

    public override int GetHashCode() => partitions;
}
