using System.Text.Json;
using Yarnish.Protocol;

namespace Yarnish.Transport;

/// <summary>The JSON of control messages: <see cref="ProtocolJson"/>, with a bound on size and one kind of error.</summary>
internal static class ControlJson
{
    /// <summary>Longest message accepted, in characters; a launch with thousands of files stays far below.</summary>
    public const int MaximumLength = 8 << 20;

    /// <exception cref="ArgumentException">The message is larger than <see cref="MaximumLength"/>.</exception>
    public static string Encode(ControlMessage message)
    {
        var json = JsonSerializer.Serialize(message, ProtocolJson.Options);
        return json.Length <= MaximumLength
            ? json
            : throw new ArgumentException($"A {message.GetType().Name} of {json.Length:N0} characters is larger than the {MaximumLength:N0} a control message may have.");
    }

    /// <exception cref="FormatException">It is not a control message; the text says why.</exception>
    public static ControlMessage Decode(string json)
    {
        if (json.Length > MaximumLength)
        {
            throw new FormatException($"A control message of {json.Length:N0} characters is larger than {MaximumLength:N0}.");
        }
        try
        {
            return JsonSerializer.Deserialize<ControlMessage>(json, ProtocolJson.Options) ?? throw new FormatException("A control message was null.");
        }
        catch (Exception error) when (error is JsonException or NotSupportedException or ArgumentException or InvalidOperationException)
        {
            throw new FormatException($"Not a control message: {error.Message}", error);
        }
    }
}
