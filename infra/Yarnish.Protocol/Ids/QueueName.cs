using System.Text.Json.Serialization;

namespace Yarnish.Protocol;

/// <summary>A queue of capacity by its full dotted path, such as <c>root.default</c>.</summary>
/// <param name="Value">The text of the id, see <see cref="IdSyntax"/>.</param>
[JsonConverter(typeof(StringIdConverter<QueueName>))]
public readonly record struct QueueName(string Value) : IStringId<QueueName>, IComparable<QueueName>
{
    /// <inheritdoc/>
    public static QueueName Create(string value) => new(IdSyntax.Require(value, "queue name"));

    /// <summary>Ordinal order of the text.</summary>
    public int CompareTo(QueueName other) => string.CompareOrdinal(Value, other.Value);

    /// <inheritdoc/>
    public override string ToString() => Value ?? "";
}
