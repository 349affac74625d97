using System.Buffers;
using System.Text;

namespace Yarnish.Status;

/// <summary>Reads an event log: whole, cut off, or damaged; what can be read is read, what cannot is counted.</summary>
internal sealed class EventLogReader
{
    private readonly IReadOnlyList<string> files;

    /// <param name="path">A directory with the files of one application, or one file.</param>
    /// <exception cref="FileNotFoundException">There is no log.</exception>
    public EventLogReader(string path)
    {
        files = EventLogs.FilesOf(path);
        if (files.Count == 0)
        {
            throw new FileNotFoundException($"There is no event log at '{path}'.", path);
        }
    }

    /// <summary>Lines that were events.</summary>
    public long Events { get; private set; }

    /// <summary>Lines that were none, or of a kind this version does not know.</summary>
    public long Skipped { get; private set; }

    /// <summary>Where and why reading a file ended before its end, for people; empty when none did.</summary>
    public string CutOff { get; private set; } = "";

    /// <summary>The status after all events of a log.</summary>
    /// <exception cref="InvalidDataException">Not even the first event can be read, or the log is of a newer version.</exception>
    public static ApplicationStatus Replay(EventLogReader log)
    {
        var status = new ApplicationStatus();
        foreach (var happened in log.Read())
        {
            status.Apply(happened);
        }
        return status.Id is not null ? status : throw new InvalidDataException(
            $"'{log.files[0]}' holds no beginning of an application{(log.CutOff.Length > 0 ? $" ({log.CutOff})" : "")}: name the directory of the application, or its first file.");
    }

    /// <summary>All events, in their order.</summary>
    /// <exception cref="InvalidDataException">The log is of a newer version.</exception>
    public IEnumerable<StatusEvent> Read()
    {
        foreach (var path in files)
        {
            using var source = new FileStream(path, new FileStreamOptions { Share = FileShare.ReadWrite | FileShare.Delete, BufferSize = 1 << 16 });
            using Stream content = path.EndsWith(".zst", StringComparison.Ordinal) ? new ZstdSharp.DecompressionStream(source) : source;
            var lines = new Lines(content);
            while (Next(lines, path) is { } line)
            {
                if (Parse(line) is { } happened)
                {
                    Events++;
                    yield return happened;
                }
            }
        }
    }

    private string? Next(Lines lines, string path)
    {
        try
        {
            return lines.Next();
        }
        catch (Exception error) when (error is IOException or ZstdSharp.ZstdException or InvalidDataException)
        {
            CutOff = $"{Path.GetFileName(path)} cannot be read beyond its line {lines.Count + 1}: {error.Message.TrimEnd('.')}";
            return null;
        }
    }

    private StatusEvent? Parse(string line)
    {
        StatusEvent? happened = null;
        try
        {
            happened = EventLogFormat.Parse(line);
        }
        catch (NotSupportedException error)
        {
            throw new InvalidDataException(error.Message, error);
        }
        catch (FormatException)
        {
            // Counted below.
        }
        Skipped += happened is null && !line.StartsWith("{\"event\":\"log\"", StringComparison.Ordinal) ? 1 : 0;
        return happened;
    }

    /// <summary>Lines of a bounded length; a last one without its end is not given out.</summary>
    private sealed class Lines(Stream content)
    {
        private readonly byte[] buffer = new byte[1 << 16];
        private readonly ArrayBufferWriter<byte> line = new();
        private int at;
        private int end;

        public long Count { get; private set; }

        public string? Next()
        {
            while (true)
            {
                if (at == end)
                {
                    (at, end) = (0, content.Read(buffer));
                    if (end == 0)
                    {
                        return line.WrittenCount == 0 ? null : throw new InvalidDataException("its last line has no end");
                    }
                }
                var rest = buffer.AsSpan(at, end - at);
                var length = rest.IndexOf((byte)'\n');
                line.Write(length < 0 ? rest : rest[..length]);
                at = length < 0 ? end : at + length + 1;
                if (line.WrittenCount > EventLogFormat.MaximumLine)
                {
                    throw new InvalidDataException($"a line has more than {EventLogFormat.MaximumLine} bytes");
                }
                if (length >= 0)
                {
                    var text = Encoding.UTF8.GetString(line.WrittenSpan);
                    line.ResetWrittenCount();
                    Count++;
                    return text;
                }
            }
        }
    }
}
