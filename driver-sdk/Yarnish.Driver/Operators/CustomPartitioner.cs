namespace Yarnish.Operators;

/// <summary>Stands before a partitioner that a user wrote, and turns a number out of range into an error that names it.</summary>
internal sealed class CustomPartitioner<TKey>(KeyPartitioner<TKey> inner) : KeyPartitioner<TKey>
{
    private readonly KeyPartitioner<TKey> inner = inner;
    private readonly int partitions = inner.Partitions;

    public override int Partitions => partitions;

    public override int PartitionOf(TKey key)
    {
        var partition = inner.PartitionOf(key);
        return (uint)partition < (uint)partitions
            ? partition
            : throw new InvalidOperationException($"{inner.GetType().Name}.PartitionOf gave {partition} for key '{key}'; it must be from 0 to {partitions - 1}.");
    }

    /// <summary>Only what users write is watched: ours are known to stay in range.</summary>
    public static KeyPartitioner<TKey> Watch(KeyPartitioner<TKey> partitioner) => partitioner is HashPartitioner<TKey> or RangePartitioner<TKey> ? partitioner : new CustomPartitioner<TKey>(partitioner);
}
