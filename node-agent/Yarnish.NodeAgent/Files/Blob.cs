namespace Yarnish.NodeAgent.Files;

/// <summary>The name of a file by its content.</summary>
internal static class Blob
{
    /// <summary>Whether a text is a SHA-256 in lower-case hexadecimal, and so safe as a file name.</summary>
    public static bool IsHash(string? text)
    {
        if (text is not { Length: 64 })
        {
            return false;
        }
        foreach (var c in text)
        {
            if (!char.IsAsciiHexDigitLower(c) && !char.IsAsciiDigit(c))
            {
                return false;
            }
        }
        return true;
    }
}

/// <summary>A file could not be fetched or was not what its name says. The message is for people: what, where, why and what to do.</summary>
internal sealed class BlobException(string message) : Exception(message);
