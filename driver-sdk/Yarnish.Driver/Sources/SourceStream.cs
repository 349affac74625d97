using System.Text;
using Yarnish.Executor;
using ZstdSharp;

namespace Yarnish.Sources;

/// <summary>
/// What a task reads of one file: unpacked, a whole file or the lines that begin within a split, with every error told in terms of the file. A line belongs to the split in which it
/// begins, so that the splits of a file hold each line once wherever they meet.
/// </summary>
internal sealed class SourceStream : Stream
{
    private const int ScanBytes = 1 << 16;

    private readonly FileSplit split;
    private readonly FileStream file;
    private readonly Stream content;
    private readonly FileCompression compression;
    private readonly TaskCounters counters;
    private readonly bool lines;
    private bool ended;

    private SourceStream(FileSplit split, FileStream file, FileCompression compression, TaskCounters counters, bool lines)
    {
        this.split = split;
        this.file = file;
        this.compression = compression;
        this.counters = counters;
        this.lines = lines;
        content = CompressedFiles.Unpack(file, compression);
    }

    /// <summary>Full path of the file.</summary>
    public string Path => split.Path;

    /// <summary>Where the next byte stands in the file, unpacked.</summary>
    public long Offset { get; private set; }

    /// <summary>Where the first byte stood.</summary>
    public long Start { get; private set; }

    /// <summary>Opens the lines that begin within the split; the last one may end beyond it.</summary>
    public static SourceStream OpenLines(FileSplit split, TaskCounters counters)
    {
        // Only whole files are compressed.
        var stream = Open(split, counters, CompressedFiles.Of(split.Path), split.Length < split.FileLength);
        if (split.Offset > 0)
        {
            try
            {
                stream.SkipFirstLine();
            }
            catch
            {
                stream.Dispose();
                throw;
            }
        }
        return stream;
    }

    /// <summary>Opens the bytes of the split, as they are in the file unless they shall be unpacked.</summary>
    public static SourceStream OpenBytes(FileSplit split, TaskCounters counters, bool unpack)
    {
        var stream = Open(split, counters, unpack ? CompressedFiles.Of(split.Path) : FileCompression.None, lines: false);
        stream.file.Position = stream.Start = stream.Offset = split.Offset;
        return stream;
    }

    private static SourceStream Open(FileSplit split, TaskCounters counters, FileCompression compression, bool lines)
    {
        FileStream? file = null;
        try
        {
            file = new FileStream(split.Path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0, FileOptions.SequentialScan);
            if (file.Length != split.FileLength || File.GetLastWriteTimeUtc(file.SafeFileHandle).Ticks != split.ModifiedTicks)
            {
                throw new IOException(
                    $"{split.Path} has changed since the collection was made: it had {split.FileLength} bytes, written {new DateTime(split.ModifiedTicks):u}, and now has {file.Length}, "
                    + $"written {File.GetLastWriteTimeUtc(file.SafeFileHandle):u}. Make the collection again, and let nobody write to files that are being read.");
            }
            return new SourceStream(split, file, compression, counters, lines);
        }
        catch (Exception error) when (error is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new FileNotFoundException(
                $"{split.Path} is not there on {Environment.MachineName}; when the collection was made it had {split.FileLength} bytes. On a fleet every node must see the same files under the same paths.", split.Path);
        }
        catch (UnauthorizedAccessException error)
        {
            throw new IOException($"{split.Path} cannot be read by {Environment.UserName} on {Environment.MachineName}: {error.Message}", error);
        }
        catch
        {
            file?.Dispose();
            throw;
        }
    }

    /// <summary>
    /// A split that begins inside the file looks one byte back: when that byte ends a line, the first line is its own, else it belongs to the split before.
    /// </summary>
    private void SkipFirstLine()
    {
        Offset = split.Offset - 1;
        file.Position = Offset;
        Span<byte> buffer = new byte[ScanBytes];
        while (true)
        {
            var read = ReadContent(buffer);
            if (read == 0)
            {
                (Start, ended) = (Offset, true);
                return;
            }
            if (buffer[..read].IndexOf((byte)'\n') is var newLine and >= 0)
            {
                Offset += newLine + 1;
                Start = Offset;
                file.Position = Offset;
                ended = Offset >= split.Offset + split.Length;
                return;
            }
            Offset += read;
            if (Offset >= split.Offset + split.Length)
            {
                // No line begins here.
                (Start, ended) = (Offset, true);
                return;
            }
        }
    }

    /// <inheritdoc/>
    public override int Read(Span<byte> buffer)
    {
        if (ended || buffer.Length == 0)
        {
            return 0;
        }
        if (!lines)
        {
            if (split.Length < split.FileLength)
            {
                var left = split.Offset + split.Length - Offset;
                if (left == 0)
                {
                    return 0;
                }
                buffer = buffer.Length > left ? buffer[..(int)left] : buffer;
            }
            var read = ReadContent(buffer);
            Offset += read;
            return read > 0 ? read : End(split.Offset + split.Length);
        }
        // The line that holds the last byte of the split is the last one: up to it everything is ours, then everything up to the end of the line.
        var last = split.Offset + split.Length - 1;
        if (Offset < last)
        {
            var read = ReadContent(buffer.Length > last - Offset ? buffer[..(int)(last - Offset)] : buffer);
            Offset += read;
            return read > 0 ? read : End(last);
        }
        var beyond = ReadContent(buffer);
        var end = buffer[..beyond].IndexOf((byte)'\n');
        ended = beyond == 0 || end >= 0;
        beyond = end >= 0 ? end + 1 : beyond;
        Offset += beyond;
        return beyond;
    }

    /// <summary>The file has no more bytes.</summary>
    /// <exception cref="IOException">It had, when the collection was made.</exception>
    private int End(long expected)
    {
        ended = true;
        return compression != FileCompression.None || Offset >= expected ? 0 : throw new IOException(
            $"{split.Path} was shortened while it was read: it ends at byte {Offset}, and had {split.FileLength} bytes when the collection was made. Let nobody write to files that are being read.");
    }

    private int ReadContent(Span<byte> buffer)
    {
        try
        {
            return content.Read(buffer);
        }
        catch (Exception error) when (compression != FileCompression.None && error is InvalidDataException or EndOfStreamException or ZstdException or InvalidOperationException)
        {
            throw new InvalidDataException($"{split.Path} is no whole {CompressedFiles.NameOf(compression)} file, it is damaged, cut off or something else: {error.Message}");
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException && !error.Message.Contains(split.Path, StringComparison.Ordinal))
        {
            throw new IOException($"{split.Path} cannot be read near byte {Offset}: {error.Message}", error);
        }
    }

    /// <summary>Refuses text that is not what the reader takes it for.</summary>
    /// <param name="start">The first bytes of the file.</param>
    public void RequireByteText(ReadOnlySpan<byte> start)
    {
        if (start.StartsWith(Encoding.Unicode.Preamble) || start.StartsWith(Encoding.BigEndianUnicode.Preamble))
        {
            throw new InvalidDataException($"{Path} is UTF-16, which cannot be cut into lines byte by byte. Convert it to UTF-8: iconv -f UTF-16 -t UTF-8.");
        }
    }

    /// <inheritdoc/>
    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing && file.CanRead)
        {
            // What was read of the file itself: packed bytes of packed files, without what was looked at beyond the split.
            counters.InputBytes += compression == FileCompression.None ? Math.Max(0, Offset - Start) : file.Position;
            if (!ReferenceEquals(content, file))
            {
                content.Dispose();
            }
            file.Dispose();
        }
        base.Dispose(disposing);
    }

    /// <inheritdoc/>
    public override bool CanRead => true;

    /// <inheritdoc/>
    public override bool CanSeek => false;

    /// <inheritdoc/>
    public override bool CanWrite => false;

    /// <inheritdoc/>
    public override long Length => throw new NotSupportedException();

    /// <inheritdoc/>
    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    /// <inheritdoc/>
    public override void Flush()
    {
    }

    /// <inheritdoc/>
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    /// <inheritdoc/>
    public override void SetLength(long value) => throw new NotSupportedException();

    /// <inheritdoc/>
    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
}
