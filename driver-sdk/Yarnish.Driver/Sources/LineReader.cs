using System.Buffers;
using System.Text;

namespace Yarnish.Sources;

/// <summary>The lines of a stream, one after the other, without copying them: <see cref="Line"/> is valid until the next call of <see cref="MoveNext"/>.</summary>
internal sealed class LineReader(SourceStream stream, int maximumLineBytes = LineReader.MaximumLineBytes) : IDisposable
{
    /// <summary>Longest line read, in bytes.</summary>
    public const int MaximumLineBytes = 128 << 20;

    private const int BufferBytes = 1 << 16;

    private byte[] buffer = ArrayPool<byte>.Shared.Rent(BufferBytes);
    private int start;
    private int end;
    private int lineStart;
    private int lineLength;
    private bool ended;

    /// <summary>The line, without <c>\n</c> or <c>\r\n</c>.</summary>
    public ReadOnlySpan<byte> Line => buffer.AsSpan(lineStart, lineLength);

    /// <summary>Where the line begins in the file, in unpacked bytes.</summary>
    public long Offset { get; private set; }

    /// <summary>Which line of this stream it is, from 1.</summary>
    public long Number { get; private set; }

    /// <summary>Goes to the next line; false at the end.</summary>
    public bool MoveNext()
    {
        // Where the scan goes on: what was looked at already has no end of line.
        var scanned = start;
        while (true)
        {
            var newLine = buffer.AsSpan(scanned, end - scanned).IndexOf((byte)'\n');
            if (newLine >= 0)
            {
                Take(scanned + newLine - start, 1);
                return true;
            }
            if (ended)
            {
                if (end == start)
                {
                    return false;
                }
                Take(end - start, 0);
                return true;
            }
            scanned = Fill(end);
        }
    }

    /// <summary>Reads more; returns where the bytes it was given as scanned end now.</summary>
    private int Fill(int scanned)
    {
        if (start > 0)
        {
            buffer.AsSpan(start, end - start).CopyTo(buffer);
            (scanned, end, start) = (scanned - start, end - start, 0);
        }
        if (end == buffer.Length)
        {
            if (end >= maximumLineBytes)
            {
                throw new InvalidDataException($"{stream.Path}: the line at byte {stream.Offset - end} is longer than {maximumLineBytes >> 20} MiB. Is this a text file?");
            }
            var larger = ArrayPool<byte>.Shared.Rent(buffer.Length * 2);
            buffer.AsSpan(0, end).CopyTo(larger);
            ArrayPool<byte>.Shared.Return(buffer);
            buffer = larger;
        }
        var read = stream.Read(buffer.AsSpan(end));
        ended = read == 0;
        end += read;
        return scanned;
    }

    private void Take(int length, int newLine)
    {
        Offset = stream.Offset - (end - start);
        Number++;
        (lineStart, lineLength) = (start, length);
        start += length + newLine;
        if (Offset == 0)
        {
            stream.RequireByteText(Line);
            if (Line.StartsWith(Encoding.UTF8.Preamble))
            {
                lineStart += Encoding.UTF8.Preamble.Length;
                lineLength -= Encoding.UTF8.Preamble.Length;
            }
        }
        if (lineLength > 0 && buffer[lineStart + lineLength - 1] == '\r')
        {
            lineLength--;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (buffer.Length > 0)
        {
            ArrayPool<byte>.Shared.Return(buffer);
            buffer = [];
            start = end = lineStart = lineLength = 0;
        }
    }
}
