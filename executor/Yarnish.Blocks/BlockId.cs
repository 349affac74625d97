using System.Globalization;
using Yarnish.Protocol;

namespace Yarnish.Blocks;

/// <summary>
/// Name of a block that is one file: a large result (<c>result-17</c>), a persisted partition (<c>rdd-3-12</c>), a piece of a broadcast (<c>broadcast-3-0</c>). Obeys
/// <see cref="IdSyntax"/>, so it can never leave its directory; may not start with a dot nor end in <c>.tmp</c>, which names files that are being written.
/// </summary>
/// <param name="Value">The name.</param>
public readonly record struct BlockId(string Value) : IStringId<BlockId>
{
    /// <inheritdoc/>
    public static BlockId Create(string value)
    {
        IdSyntax.Require(value, "block id");
        if (value[0] == '.' || value.EndsWith(".tmp", StringComparison.Ordinal))
        {
            throw new FormatException($"'{value}' is not a valid block id: it may not start with '.' nor end in '.tmp'.");
        }
        return new BlockId(value);
    }

    /// <summary>The block of a result too large to ride in its report.</summary>
    public static BlockId OfResult(TaskAttemptId attempt) => new($"result-{attempt}");

    /// <summary>A persisted partition: the same on whichever node it is.</summary>
    public static BlockId OfPartition(int collection, int partition) => new(string.Create(CultureInfo.InvariantCulture, $"{PrefixOf(collection)}{partition}"));

    /// <summary>How the names of all partitions of a persisted collection start.</summary>
    internal static string PrefixOf(int collection) => string.Create(CultureInfo.InvariantCulture, $"rdd-{collection}-");

    /// <inheritdoc/>
    public override string ToString() => Value ?? "";
}

/// <summary>The output of one map task attempt: one data and one index file.</summary>
/// <param name="ShuffleId">The shuffle.</param>
/// <param name="MapPartition">The map task, from 0.</param>
/// <param name="AttemptId">The attempt that wrote it: part of the file names, so that attempts never touch each other's files.</param>
public readonly record struct MapOutputId(ShuffleId ShuffleId, int MapPartition, TaskAttemptId AttemptId)
{
    /// <inheritdoc/>
    public override string ToString() => $"shuffle {ShuffleId} map {MapPartition} attempt {AttemptId}";
}
