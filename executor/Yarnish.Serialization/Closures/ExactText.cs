using System.Runtime.InteropServices;
using System.Text;

namespace Yarnish.Serialization;

/// <summary>
/// JSON readers replace lone surrogates, which cut text has. Such strings are written as <see cref="Mark"/> and the base64 of their UTF-16; so is text that begins with the mark.
/// </summary>
internal static class ExactText
{
    private const char Mark = '\u0001';

    public static string Encode(string text) => IsPlain(text) ? text : Mark + Convert.ToBase64String(MemoryMarshal.AsBytes(text.AsSpan()));

    public static string Decode(string text) => text.Length > 0 && text[0] == Mark ? new(MemoryMarshal.Cast<byte, char>(Convert.FromBase64String(text[1..]))) : text;

    private static bool IsPlain(string text)
    {
        if (text.Length > 0 && text[0] == Mark)
        {
            return false;
        }

        for (var rest = text.AsSpan(); ;)
        {
            var surrogate = rest.IndexOfAnyInRange('\ud800', '\udfff');
            if (surrogate < 0)
            {
                return true;
            }

            if (Rune.DecodeFromUtf16(rest[surrogate..], out _, out var used) != System.Buffers.OperationStatus.Done)
            {
                return false;
            }

            rest = rest[(surrogate + used)..];
        }
    }
}
