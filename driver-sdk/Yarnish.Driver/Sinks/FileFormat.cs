using System.Buffers;
using System.Text;
using System.Text.Json;
using CsvHelper;
using Yarnish.Sources;

namespace Yarnish.Sinks;

/// <summary>How rows are laid into a file. Travels: immutable, data only.</summary>
internal abstract class FileFormat<T>
{
    /// <summary>Ends the names of the files, such as <c>.txt</c>.</summary>
    public abstract string Extension { get; }

    /// <summary>Writes all rows; leaves the stream open, with nothing held back.</summary>
    public abstract void Write(IEnumerable<T> rows, Stream stream);
}

/// <summary>A line of UTF-8 for each row; null is an empty line.</summary>
internal sealed class TextFormat<T> : FileFormat<T>
{
    public override string Extension => ".txt";

    public override void Write(IEnumerable<T> rows, Stream stream)
    {
        using var text = new StreamWriter(stream, new UTF8Encoding(encoderShouldEmitUTF8Identifier: false), 1 << 15, leaveOpen: true) { NewLine = "\n" };
        foreach (var row in rows)
        {
            text.WriteLine(row is IFormattable formattable ? formattable.ToString(null, System.Globalization.CultureInfo.InvariantCulture) : row?.ToString());
        }
    }
}

/// <summary>A JSON value on a line for each row.</summary>
internal sealed class JsonLinesFormat<T>(Func<JsonSerializerOptions>? options) : FileFormat<T>
{
    private const int WriteBytes = 1 << 16;

    private readonly Func<JsonSerializerOptions>? options = options;

    public override string Extension => ".jsonl";

    public override void Write(IEnumerable<T> rows, Stream stream)
    {
        var json = options?.Invoke() ?? JsonLines.Options;
        if (json.WriteIndented)
        {
            json = new JsonSerializerOptions(json) { WriteIndented = false };
        }
        // Many rows go to the stream at once: for one alone even the way there would cost more than the row.
        var buffer = new ArrayBufferWriter<byte>(2 * WriteBytes);
        using var writer = new Utf8JsonWriter(buffer, new JsonWriterOptions { Encoder = json.Encoder });
        foreach (var row in rows)
        {
            JsonSerializer.Serialize(writer, row, json);
            writer.Reset();
            buffer.Write("\n"u8);
            if (buffer.WrittenCount >= WriteBytes)
            {
                stream.Write(buffer.WrittenSpan);
                buffer.ResetWrittenCount();
            }
        }
        stream.Write(buffer.WrittenSpan);
    }
}

/// <summary>CSV, with a header in each file.</summary>
internal sealed class CsvFormat<T>(CsvOptions options) : FileFormat<T>
{
    private readonly CsvOptions options = options;

    public override string Extension => ".csv";

    public override void Write(IEnumerable<T> rows, Stream stream)
    {
        // Fields as they are have no names; what they hold may differ from row to row only where nobody looks for columns.
        using var writer = CsvWriter.Create(stream, new CsvWriterOptions { Separator = options.Separator, NewLine = "\n" }, leaveOpen: true);
        if (options.HasHeader && !CsvColumns<T>.AreFields)
        {
            foreach (var column in CsvColumns<T>.All)
            {
                writer.WriteField(column.Name);
            }
            writer.EndRecord();
        }
        foreach (var row in rows)
        {
            CsvColumns<T>.Write(writer, row ?? throw new InvalidDataException("A null row cannot be written as CSV: leave such rows out with Where."));
            writer.EndRecord();
        }
        writer.Flush();
    }
}

/// <summary>Whatever a function of the user writes.</summary>
internal sealed class CustomFormat<T>(string extension, Action<IEnumerable<T>, Stream> write) : FileFormat<T>
{
    private readonly string extension = extension;
    private readonly Action<IEnumerable<T>, Stream> write = write;

    public override string Extension => extension;

    public override void Write(IEnumerable<T> rows, Stream stream) => write(rows, new Unclosable(stream));

    /// <summary>A writer that closes its stream must not end the file behind our back.</summary>
    private sealed class Unclosable(Stream inner) : Stream
    {
        public override bool CanRead => false;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override void Flush() => inner.Flush();

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => inner.Write(buffer, offset, count);

        public override void Write(ReadOnlySpan<byte> buffer) => inner.Write(buffer);
    }
}
