using System.Text.Json.Serialization;

namespace Yarnish.Protocol;

/// <summary>One executor process. On a cluster it equals the id of its container; an executor that dies never comes back under its id.</summary>
/// <param name="Value">The text of the id, see <see cref="IdSyntax"/>.</param>
[JsonConverter(typeof(StringIdConverter<ExecutorId>))]
public readonly record struct ExecutorId(string Value) : IStringId<ExecutorId>, IComparable<ExecutorId>
{
    /// <inheritdoc/>
    public static ExecutorId Create(string value) => new(IdSyntax.Require(value, "executor id"));

    /// <summary>Ordinal order of the text.</summary>
    public int CompareTo(ExecutorId other) => string.CompareOrdinal(Value, other.Value);

    /// <inheritdoc/>
    public override string ToString() => Value ?? "";
}
