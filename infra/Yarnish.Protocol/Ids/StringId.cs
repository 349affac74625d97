using System.Text.Json;
using System.Text.Json.Serialization;

namespace Yarnish.Protocol;

/// <summary>An id that is one string on the wire. Ids are types so that a node can never be passed where an application is meant.</summary>
/// <typeparam name="TSelf">The id type itself.</typeparam>
public interface IStringId<TSelf>
    where TSelf : struct, IStringId<TSelf>
{
    /// <summary>The text of the id; never null for an id made through <see cref="Create"/>.</summary>
    string Value { get; }

    /// <summary>Wraps <paramref name="value"/>; throws <see cref="FormatException"/> when it is not a valid id.</summary>
    static abstract TSelf Create(string value);
}

/// <summary>The rule that every id obeys: 1 to 128 characters of <c>A-Z a-z 0-9 . _ -</c>. Safe in file names, routing keys, URLs and Redis keys.</summary>
public static class IdSyntax
{
    /// <summary>Longest id accepted, in characters.</summary>
    public const int MaximumLength = 128;

    /// <summary>Returns <paramref name="value"/> when it obeys the rule; else throws <see cref="FormatException"/> that names <paramref name="what"/>.</summary>
    public static string Require(string value, string what)
    {
        if (string.IsNullOrEmpty(value) || value.Length > MaximumLength)
        {
            throw new FormatException($"'{value}' is not a valid {what}: it must have 1 to {MaximumLength} characters.");
        }
        foreach (var c in value)
        {
            if (!char.IsAsciiLetterOrDigit(c) && c is not ('.' or '_' or '-'))
            {
                throw new FormatException($"'{value}' is not a valid {what}: only A-Z a-z 0-9 . _ - are allowed, found '{c}'.");
            }
        }
        return value is "." or ".." ? throw new FormatException($"'{value}' is not a valid {what}.") : value;
    }
}

/// <summary>Writes an <see cref="IStringId{TSelf}"/> as a plain JSON string, also as a dictionary key.</summary>
public sealed class StringIdConverter<TId> : JsonConverter<TId>
    where TId : struct, IStringId<TId>
{
    /// <inheritdoc/>
    public override TId Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => Parse(reader.GetString());

    /// <inheritdoc/>
    public override void Write(Utf8JsonWriter writer, TId value, JsonSerializerOptions options) => writer.WriteStringValue(value.Value);

    /// <inheritdoc/>
    public override TId ReadAsPropertyName(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => Parse(reader.GetString());

    /// <inheritdoc/>
    public override void WriteAsPropertyName(Utf8JsonWriter writer, TId value, JsonSerializerOptions options) => writer.WritePropertyName(value.Value);

    private static TId Parse(string? text)
    {
        try
        {
            return TId.Create(text ?? "");
        }
        catch (FormatException error)
        {
            throw new JsonException(error.Message, error);
        }
    }
}
