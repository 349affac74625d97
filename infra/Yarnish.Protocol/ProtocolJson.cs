using System.Text.Json;
using System.Text.Json.Serialization;

namespace Yarnish.Protocol;

/// <summary>How control messages and REST records are written as JSON: camel-case names, enums as camel-case strings, unknown members ignored.</summary>
public static class ProtocolJson
{
    /// <summary>The options, read-only; share them, since each instance caches what it learnt about the types.</summary>
    public static JsonSerializerOptions Options { get; } = Create();

    /// <summary>Gives <paramref name="options"/> the same shape, for hosts that own their options object.</summary>
    public static void Apply(JsonSerializerOptions options)
    {
        options.PropertyNamingPolicy = JsonNamingPolicy.CamelCase;
        options.PropertyNameCaseInsensitive = true;
        options.Converters.Add(new JsonStringEnumConverter(JsonNamingPolicy.CamelCase, allowIntegerValues: false));
    }

    private static JsonSerializerOptions Create()
    {
        var options = new JsonSerializerOptions();
        Apply(options);
        options.MakeReadOnly(populateMissingResolver: true);
        return options;
    }
}
