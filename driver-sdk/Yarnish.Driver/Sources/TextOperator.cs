using System.Text;
using Yarnish.Operators;

namespace Yarnish.Sources;

/// <summary>The lines of the file splits that the driver sends along.</summary>
/// <param name="encoding">Null for UTF-8 in which what is none becomes U+FFFD.</param>
internal sealed class TextOperator(TextEncoding? encoding) : Operator<string>
{
    private readonly TextEncoding? encoding = encoding;

    public override IEnumerable<string> Open(OperatorInputs inputs, int partition)
    {
        var counters = inputs.Task.Counters;
        var other = encoding?.Make();
        foreach (var split in FileSplit.FromBytes(inputs.SourceInput(partition)))
        {
            using var stream = SourceStream.OpenLines(split, counters);
            using var lines = new LineReader(stream);
            while (lines.MoveNext())
            {
                counters.InputRows++;
                yield return other is null ? Encoding.UTF8.GetString(lines.Line) : Decode(other, lines, stream.Path);
            }
        }
    }

    private static string Decode(Encoding encoding, LineReader lines, string path)
    {
        try
        {
            return encoding.GetString(lines.Line);
        }
        catch (DecoderFallbackException error)
        {
            throw new InvalidDataException($"{path}: the line at byte {lines.Offset} is not {encoding.WebName}: {error.Message}");
        }
    }
}

/// <summary>An encoding as it travels: by name.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Strict">Whether bytes that mean nothing in it are an error.</param>
internal sealed record TextEncoding(string Name, bool Strict)
{
    static TextEncoding() => Encoding.RegisterProvider(CodePagesEncodingProvider.Instance);

    /// <summary>What the user gave; null stays null.</summary>
    /// <exception cref="ArgumentException">Its lines do not end with the byte of a newline.</exception>
    public static TextEncoding? From(Encoding? encoding)
    {
        if (encoding is null)
        {
            return null;
        }
        if (!encoding.GetBytes("a\n").AsSpan().SequenceEqual("a\n"u8))
        {
            throw new ArgumentException($"{encoding.WebName} cannot be cut into lines byte by byte. Convert the files to UTF-8, or read them whole with ReadWholeText.", nameof(encoding));
        }
        return Of(encoding);
    }

    /// <summary>As <see cref="From"/>, for text that is read as a whole.</summary>
    public static TextEncoding Of(Encoding encoding) => new(encoding.WebName, encoding.DecoderFallback is DecoderExceptionFallback);

    /// <summary>The encoding again.</summary>
    public Encoding Make() => Encoding.GetEncoding(Name, EncoderFallback.ReplacementFallback, Strict ? DecoderFallback.ExceptionFallback : DecoderFallback.ReplacementFallback);
}
