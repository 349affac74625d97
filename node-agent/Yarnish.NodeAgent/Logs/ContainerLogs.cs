using System.Globalization;
using Yarnish.NodeAgent.Processes;

namespace Yarnish.NodeAgent.Logs;

/// <summary>
/// The stdout and stderr of containers. A process appends to one file for its whole life; when that grows past its bound its head is moved into a piece
/// beside it, named by the offset of its first byte: <c>stdout.00000000000000000000</c>, <c>stdout.00000000000016777216</c>, <c>stdout</c>. Offsets count from the first byte
/// ever written and never change, so a reader that follows notices nothing of the rotation; the oldest pieces go.
/// </summary>
/// <remarks>
/// On ext4 and XFS the head is cut off without a moment in which a writer could lose anything. Elsewhere the file is emptied after it was copied, and
/// what was written between those two steps is lost. An agent that is killed between copying and cutting leaves a piece that is seen twice.
/// </remarks>
internal sealed class ContainerLogs(long fileBytes, int pieces, ILogger<ContainerLogs> logger)
{
    /// <summary>The streams there are.</summary>
    public static readonly string[] Streams = ["stdout", "stderr"];

    /// <summary>Most bytes read at a time.</summary>
    public const int MaximumRead = 64 * 1024;

    // File systems cut in whole blocks; 64 KiB is a multiple of every block size in use.
    private const long CutUnit = 64 * 1024;

    // Rotation and reading of one stream exclude each other; a few locks shared by all streams are enough.
    private readonly Lock[] _gates = [.. Enumerable.Range(0, 32).Select(_ => new Lock())];
    private bool _saidCannotCut;

    /// <summary>Rotates the streams in a container's log directory that are over their bound.</summary>
    public void Rotate(string directory)
    {
        foreach (var stream in Streams)
        {
            var path = Path.Combine(directory, stream);
            try
            {
                if (new FileInfo(path) is { Exists: true } file && file.Length > fileBytes)
                {
                    lock (Gate(path))
                    {
                        RotateOne(directory, stream, path);
                    }
                }
            }
            catch (IOException error)
            {
                logger.LogWarning("The log {Path} could not be rotated: {Error}", path, error.Message);
            }
        }
    }

    /// <summary>Reads a part of a stream.</summary>
    /// <param name="directory">The container's log directory.</param>
    /// <param name="stream">One of <see cref="Streams"/>.</param>
    /// <param name="offset">First byte wanted, counted from the first ever written; negative counts from the end. What is no longer there is skipped.</param>
    /// <param name="limit">Most bytes wanted.</param>
    public LogPart Read(string directory, string stream, long offset, int limit)
    {
        var path = Path.Combine(directory, stream);
        lock (Gate(path))
        {
            var parts = Parts(directory, stream);
            if (parts.Count == 0)
            {
                return new LogPart(0, 0, ReadOnlyMemory<byte>.Empty);
            }
            var end = parts[^1].Start + parts[^1].Length;
            var start = Math.Clamp(offset < 0 ? end + offset : offset, parts[0].Start, end);
            var buffer = new byte[(int)Math.Min(Math.Clamp(limit, 0, MaximumRead), end - start)];
            var filled = 0;
            foreach (var part in parts)
            {
                var from = start + filled - part.Start;
                if (from < 0 || from >= part.Length || filled == buffer.Length)
                {
                    continue;
                }
                using var file = File.OpenHandle(part.Path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
                int read;
                while (filled < buffer.Length && (read = RandomAccess.Read(file, buffer.AsSpan(filled), from)) > 0)
                {
                    filled += read;
                    from += read;
                }
            }
            return new LogPart(start, end, buffer.AsMemory(0, filled));
        }
    }

    /// <summary>The last characters of a stream, for diagnostics.</summary>
    public string Tail(string directory, string stream, int characters)
    {
        var part = Read(directory, stream, -4L * characters, 4 * characters);
        var text = System.Text.Encoding.UTF8.GetString(part.Bytes.Span).TrimEnd();
        return text.Length > characters ? text[^characters..] : text;
    }

    private void RotateOne(string directory, string stream, string path)
    {
        var start = Parts(directory, stream)[^1].Start;
        var name = string.Create(CultureInfo.InvariantCulture, $"{path}.{start:D20}");
        using var file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
        var length = RandomAccess.GetLength(file) / CutUnit * CutUnit;
        Copy(file, name, 0, length, append: false);
        if (!NativeMethods.RemoveHead(file, length))
        {
            if (!_saidCannotCut)
            {
                _saidCannotCut = true;
                logger.LogInformation("The file system of {Directory} cannot cut the head off a file: a log that is written while it is rotated may lose a few lines.", directory);
            }
            long grown;
            while ((grown = RandomAccess.GetLength(file)) > length)
            {
                Copy(file, name, length, grown - length, append: true);
                length = grown;
            }
            RandomAccess.SetLength(file, 0);
        }
        foreach (var old in Pieces(directory, stream).SkipLast(Math.Max(1, pieces - 1)))
        {
            File.Delete(old.Path);
        }
    }

    private static void Copy(Microsoft.Win32.SafeHandles.SafeFileHandle file, string name, long offset, long length, bool append)
    {
        using var piece = new FileStream(name, append ? FileMode.Append : FileMode.Create, FileAccess.Write, FileShare.Read, bufferSize: 0);
        var buffer = new byte[256 * 1024];
        while (length > 0)
        {
            var read = RandomAccess.Read(file, buffer.AsSpan(0, (int)Math.Min(buffer.Length, length)), offset);
            if (read == 0)
            {
                return;
            }
            piece.Write(buffer, 0, read);
            offset += read;
            length -= read;
        }
    }

    // The pieces, then the file that is being written.
    private static List<Part> Parts(string directory, string stream)
    {
        var parts = Pieces(directory, stream);
        var current = new FileInfo(Path.Combine(directory, stream));
        if (current.Exists)
        {
            parts.Add(new Part(current.FullName, parts.Count == 0 ? 0 : parts[^1].Start + parts[^1].Length, current.Length));
        }
        return parts;
    }

    private static List<Part> Pieces(string directory, string stream)
    {
        if (!Directory.Exists(directory))
        {
            return [];
        }
        return [.. new DirectoryInfo(directory).EnumerateFiles(stream + ".?*")
            // The pattern of this method also finds names without a dot.
            .Where(file => file.Name.StartsWith(stream + ".", StringComparison.Ordinal))
            .Select(file => (File: file, Start: long.TryParse(file.Name.AsSpan(stream.Length + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var start) ? start : -1))
            .Where(piece => piece.Start >= 0)
            .OrderBy(piece => piece.Start)
            .Select(piece => new Part(piece.File.FullName, piece.Start, piece.File.Length))];
    }

    private Lock Gate(string path) => _gates[(uint)path.GetHashCode(StringComparison.Ordinal) % (uint)_gates.Length];

    private readonly record struct Part(string Path, long Start, long Length);
}

/// <summary>A part of a log.</summary>
/// <param name="Start">Offset of its first byte.</param>
/// <param name="End">Offset behind the last byte there is now.</param>
/// <param name="Bytes">The part.</param>
internal readonly record struct LogPart(long Start, long End, ReadOnlyMemory<byte> Bytes)
{
    /// <summary>Where to read on.</summary>
    public long Next => Start + Bytes.Length;
}
