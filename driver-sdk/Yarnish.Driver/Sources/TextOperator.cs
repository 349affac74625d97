using System.Buffers;
using System.IO.Compression;
using System.Text;
using Yarnish.Executor;
using Yarnish.Operators;

namespace Yarnish.Sources;

/// <summary>The lines of the file splits that the driver sends along. UTF-8; what is not becomes U+FFFD. A line belongs to the split in which it begins.</summary>
internal sealed class TextOperator : Operator<string>
{
    /// <summary>Longest line read, in bytes.</summary>
    public const int MaximumLineBytes = 128 << 20;

    private const int BufferBytes = 1 << 16;

    // Without it .NET takes a compressed file that was cut off for one that ends there: rows would be missing from the answer and nobody would know. Read by .NET at the first
    // use of compression in the process, hence also set when a session is made (CountTruncatedAsDamaged).
    static TextOperator() => CountTruncatedAsDamaged();

    /// <summary>Has .NET refuse compressed files that end too early.</summary>
    public static void CountTruncatedAsDamaged() => AppContext.SetSwitch("System.IO.Compression.UseStrictValidation", true);

    public override IEnumerable<string> Open(OperatorInputs inputs, int partition)
    {
        var counters = inputs.Task.Counters;
        foreach (var split in FileSplit.FromBytes(inputs.SourceInput(partition)))
        {
            foreach (var line in split.Path.EndsWith(".gz", StringComparison.OrdinalIgnoreCase) ? ReadCompressed(split.Path, counters) : ReadSplit(split, counters))
            {
                counters.InputRows++;
                yield return line;
            }
        }
    }

    private static IEnumerable<string> ReadCompressed(string path, TaskCounters counters)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, BufferBytes, FileOptions.SequentialScan);
        using var content = new GZipStream(file, CompressionMode.Decompress);
        foreach (var line in Lines(content, long.MaxValue, skipFirst: false, path))
        {
            yield return line;
        }
        counters.InputBytes += file.Length;
    }

    private static IEnumerable<string> ReadSplit(FileSplit split, TaskCounters counters)
    {
        using var file = new FileStream(split.Path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, bufferSize: 0, FileOptions.SequentialScan);
        // A split that begins inside the file starts one byte early: when that byte ends a line, the first line is its own, else it belongs to the split before.
        var inside = split.Offset > 0;
        file.Position = inside ? split.Offset - 1 : 0;
        var budget = split.Length < 0 ? long.MaxValue : split.Length + (inside ? 1 : 0);
        foreach (var line in Lines(file, budget, inside, split.Path))
        {
            yield return line;
        }
        counters.InputBytes += split.Length < 0 ? file.Length - split.Offset : split.Length;
    }

    /// <summary>The lines that begin within the first <paramref name="budget"/> bytes of the stream, without the one the stream begins in when that is to be skipped.</summary>
    internal static IEnumerable<string> Lines(Stream stream, long budget, bool skipFirst, string path)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(BufferBytes);
        try
        {
            int start = 0, end = 0;
            var position = 0L; // of buffer[start] in the stream
            var skip = skipFirst;
            var first = !skipFirst;
            while (true)
            {
                var newLine = buffer.AsSpan(start, end - start).IndexOf((byte)'\n');
                if (newLine < 0)
                {
                    if (start > 0)
                    {
                        buffer.AsSpan(start, end - start).CopyTo(buffer);
                        (start, end) = (0, end - start);
                    }
                    if (end == buffer.Length)
                    {
                        if (end >= MaximumLineBytes)
                        {
                            throw new InvalidDataException($"{path}: a line is longer than {MaximumLineBytes >> 20} MiB, near byte {position}. Is this a text file?");
                        }
                        var larger = ArrayPool<byte>.Shared.Rent(buffer.Length * 2);
                        buffer.AsSpan(0, end).CopyTo(larger);
                        ArrayPool<byte>.Shared.Return(buffer);
                        buffer = larger;
                    }
                    var read = Read(stream, buffer.AsSpan(end), path);
                    if (read > 0)
                    {
                        end += read;
                        continue;
                    }
                    if (end > start && !skip && position < budget)
                    {
                        yield return Decode(buffer, start, end - start, first);
                    }
                    yield break;
                }
                if (!skip)
                {
                    yield return Decode(buffer, start, newLine, first);
                }
                skip = false;
                first = false;
                start += newLine + 1;
                position += newLine + 1;
                if (position >= budget)
                {
                    yield break;
                }
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static int Read(Stream stream, Span<byte> into, string path)
    {
        try
        {
            return stream.Read(into);
        }
        catch (InvalidDataException error)
        {
            throw new InvalidDataException($"{path} is no whole gzip file, it is damaged, cut off or something else: {error.Message}");
        }
    }

    private static string Decode(byte[] buffer, int start, int length, bool first)
    {
        var line = buffer.AsSpan(start, length);
        if (first && line.StartsWith(Encoding.UTF8.Preamble))
        {
            line = line[Encoding.UTF8.Preamble.Length..];
        }
        return Encoding.UTF8.GetString(line.EndsWith("\r"u8) ? line[..^1] : line);
    }
}
