using System.Text.Json.Serialization;

namespace Yarnish.Protocol;

/// <summary>One machine of the fleet, as its agent names itself. Stable over restarts of the agent.</summary>
/// <param name="Value">The text of the id, see <see cref="IdSyntax"/>.</param>
[JsonConverter(typeof(StringIdConverter<NodeId>))]
public readonly record struct NodeId(string Value) : IStringId<NodeId>, IComparable<NodeId>
{
    /// <inheritdoc/>
    public static NodeId Create(string value) => new(IdSyntax.Require(value, "node id"));

    /// <summary>Ordinal order of the text.</summary>
    public int CompareTo(NodeId other) => string.CompareOrdinal(Value, other.Value);

    /// <inheritdoc/>
    public override string ToString() => Value ?? "";
}
