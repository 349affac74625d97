namespace Yarnish.Serialization;

/// <summary>From hashes to partitions.</summary>
public static class Partitioning
{
    /// <summary>The partition of a key, from 0 to <paramref name="partitions"/> - 1: the hash's share of the whole range, without a division.</summary>
    /// <param name="hash">From <see cref="StableHash.Of{T}"/>: all its bits are even.</param>
    /// <param name="partitions">At least 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no partition.</exception>
    public static int Of(ulong hash, int partitions)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(partitions);
        return (int)Math.BigMul(hash, (ulong)partitions, out _);
    }
}
