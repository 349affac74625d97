using System.Globalization;
using System.Text.Json.Serialization;

namespace Yarnish.Protocol;

/// <summary>
/// One granted container: <c>c-{epoch}-{sequence}</c>. The epoch is that of the resource manager which granted it, so no id is ever
/// granted twice, also not after a restart or a failover; within an epoch sequences increase strictly.
/// </summary>
/// <param name="Epoch">Epoch of the granting resource manager, 1 or more.</param>
/// <param name="Sequence">Number of the grant within that epoch, 1 or more.</param>
[JsonConverter(typeof(StringIdConverter<ContainerId>))]
public readonly record struct ContainerId(int Epoch, long Sequence) : IStringId<ContainerId>, IComparable<ContainerId>
{
    /// <inheritdoc/>
    public string Value => string.Create(CultureInfo.InvariantCulture, $"c-{Epoch}-{Sequence}");

    /// <summary>The id of the executor that runs in this container.</summary>
    public ExecutorId ToExecutorId() => new(Value);

    /// <inheritdoc/>
    public static ContainerId Create(string value)
    {
        var parts = (value ?? "").Split('-');
        return parts is ["c", var epoch, var sequence]
            && int.TryParse(epoch, NumberStyles.None, CultureInfo.InvariantCulture, out var e)
            && long.TryParse(sequence, NumberStyles.None, CultureInfo.InvariantCulture, out var s)
                ? new ContainerId(e, s)
                : throw new FormatException($"'{value}' is not a valid container id: it must read c-<epoch>-<sequence>.");
    }

    /// <summary>Older grants first.</summary>
    public int CompareTo(ContainerId other) => Epoch != other.Epoch ? Epoch.CompareTo(other.Epoch) : Sequence.CompareTo(other.Sequence);

    /// <inheritdoc/>
    public override string ToString() => Value;
}
