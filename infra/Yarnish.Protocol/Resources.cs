using System.Collections.Immutable;
using System.Globalization;
using System.Text;

namespace Yarnish.Protocol;

/// <summary>
/// An amount of countable resources, in integer base units: bytes of memory, thousandths of a core, and any further resource by name
/// (<c>gpu</c>, <c>licence-x</c>). A resource that is not named counts as zero.
/// </summary>
/// <param name="MemoryBytes">Memory in bytes.</param>
/// <param name="MilliCores">Processor time in thousandths of a core.</param>
public sealed record Resources(long MemoryBytes, long MilliCores)
{
    /// <summary>Nothing at all.</summary>
    public static Resources Zero { get; } = new(0, 0);

    /// <summary>Further countable resources by name, in ordinal order of the names; values are whole units, never zero.</summary>
    public ImmutableSortedDictionary<string, long> Custom { get; init; } = ImmutableSortedDictionary.Create<string, long>(StringComparer.Ordinal);

    /// <summary>Resources from whole mebibytes and cores.</summary>
    public static Resources Of(long mebibytes, double cores) => new(mebibytes << 20, (long)Math.Round(cores * 1000));

    /// <summary>Value equality, the custom resources included.</summary>
    public bool Equals(Resources? other) =>
        other is not null && MemoryBytes == other.MemoryBytes && MilliCores == other.MilliCores && Custom.SequenceEqual(other.Custom);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(MemoryBytes, MilliCores, Custom.Count);

    /// <summary>For people: <c>2048 MiB, 1.5 cores, 1 gpu</c>.</summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"{MemoryBytes >> 20} MiB, {MilliCores / 1000m:0.###} cores");
        foreach (var (name, amount) in Custom)
        {
            text.Append(CultureInfo.InvariantCulture, $", {amount} {name}");
        }
        return text.ToString();
    }
}
