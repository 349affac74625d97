using System.Text.Json.Serialization;

namespace Yarnish.Protocol;

/// <summary>One run of a user's program: chosen by its driver, unique for ever.</summary>
/// <param name="Value">The text of the id, see <see cref="IdSyntax"/>.</param>
[JsonConverter(typeof(StringIdConverter<ApplicationId>))]
public readonly record struct ApplicationId(string Value) : IStringId<ApplicationId>, IComparable<ApplicationId>
{
    /// <inheritdoc/>
    public static ApplicationId Create(string value) => new(IdSyntax.Require(value, "application id"));

    /// <summary>Ordinal order of the text.</summary>
    public int CompareTo(ApplicationId other) => string.CompareOrdinal(Value, other.Value);

    /// <inheritdoc/>
    public override string ToString() => Value ?? "";
}
