using System.Globalization;
using System.Text;
using System.Threading.Channels;
using Newtonsoft.Json;
using ZstdSharp.Unsafe;

namespace Yarnish.Status;

/// <summary>
/// Writes the event log of one application: files <c>events-000001.jsonl.zst</c> and so on in a directory of its own. Lines are gathered to chunks, each a Zstandard frame of its own with a
/// checksum, so that a file that was cut off can be read up to the cut, and <c>zstd -dc</c> reads it whole. A task of its own writes; a disk that is slow or full costs lines, which
/// are counted in the log, never time or a job.
/// </summary>
internal sealed class EventLogWriter : IStatusLog
{
    /// <summary>A chunk this large is written at once; below what the garbage collector calls large.</summary>
    private const int ChunkBytes = 72 << 10;

    /// <summary>Chunks that may wait for the disk.</summary>
    private const int MaximumChunks = 128;

    /// <summary>How long lines may wait for more: what a killed driver may miss in its log.</summary>
    private static readonly TimeSpan MaximumDelay = TimeSpan.FromSeconds(1);

    private readonly string directory;
    private readonly ApplicationId application;
    private readonly TimeProvider clock;
    private readonly Action<string> warn;
    private readonly long rollBytes;
    private readonly int maximumFiles;
    private readonly Channel<Chunk> chunks = Channel.CreateBounded<Chunk>(new BoundedChannelOptions(MaximumChunks) { SingleReader = true, SingleWriter = true });
    private readonly MemoryStream gathered = new();
    private readonly StreamWriter text;
    private readonly JsonTextWriter json;
    private readonly ZstdSharp.Compressor compressor = new(level: 3);
    private readonly Task writing;

    // Of the task that appends.
    private int lines;
    private long gatheringSince;
    private long unwritten;

    // Of the task that writes.
    private FileStream? file;
    private int fileNumber;
    private long fileRawBytes;
    private long goodBytes;
    private long failedLines;
    private bool warned;
    private bool full;

    /// <param name="directory">Of this application alone; made when it is missing.</param>
    /// <param name="application">The application.</param>
    /// <param name="clock">Paces the chunks.</param>
    /// <param name="warn">Told once when lines cannot be written.</param>
    /// <param name="rollBytes">A new file is begun after so many bytes before compression.</param>
    /// <param name="maximumFiles">After so many files the log ends.</param>
    public EventLogWriter(string directory, ApplicationId application, TimeProvider clock, Action<string> warn, long rollBytes = 128 << 20, int maximumFiles = 64)
    {
        this.directory = directory;
        this.application = application;
        this.clock = clock;
        this.warn = warn;
        this.rollBytes = rollBytes;
        this.maximumFiles = maximumFiles;
        compressor.SetParameter(ZSTD_cParameter.ZSTD_c_checksumFlag, 1);
        text = new StreamWriter(gathered, new UTF8Encoding(encoderShouldEmitUTF8Identifier: false), 4096) { NewLine = "\n" };
        json = new JsonTextWriter(text) { CloseOutput = false };
        writing = Task.Run(WriteAsync);
    }

    /// <inheritdoc/>
    public void Append(StatusEvent happened)
    {
        foreach (var part in EventLogFormat.Cut(happened))
        {
            if (lines == 0)
            {
                gatheringSince = clock.GetTimestamp();
            }
            EventLogFormat.Write(json, part);
            text.Write('\n');
            lines++;
            // Some of it may still be in the writers; a chunk may be a little larger than it should.
            if (gathered.Length >= ChunkBytes)
            {
                Give();
            }
        }
    }

    /// <inheritdoc/>
    public void Tick(bool idle)
    {
        if (lines > 0 && (idle || clock.GetElapsedTime(gatheringSince) >= MaximumDelay))
        {
            Give();
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        Tick(idle: true);
        if (unwritten > 0)
        {
            // The disk gets a moment to take what waits, so that the gap is told.
            Task room = chunks.Writer.WaitToWriteAsync().AsTask();
            await room.WaitAsync(TimeSpan.FromSeconds(2)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            Give();
        }
        chunks.Writer.TryComplete();
        // A disk that hangs must not hold the end of the program.
        await writing.WaitAsync(TimeSpan.FromSeconds(10)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (writing.IsCompleted)
        {
            compressor.Dispose();
        }
        await text.DisposeAsync().ConfigureAwait(false);
    }

    private void Give()
    {
        json.Flush();
        text.Flush();
        if (unwritten > 0)
        {
            // Told before the lines that follow the gap.
            if (!chunks.Writer.TryWrite(new Chunk(Encode(new StatusEvent.EventsLost(clock.GetUtcNow(), unwritten)), 1)))
            {
                Drop();
                return;
            }
            unwritten = 0;
        }
        if (gathered.Length > 0 && !chunks.Writer.TryWrite(new Chunk(gathered.ToArray(), lines)))
        {
            Drop();
            return;
        }
        gathered.SetLength(0);
        lines = 0;
    }

    private void Drop()
    {
        unwritten += lines;
        gathered.SetLength(0);
        lines = 0;
    }

    private static byte[] Encode(StatusEvent happened)
    {
        using var line = new StringWriter(CultureInfo.InvariantCulture);
        using (var writer = new JsonTextWriter(line))
        {
            EventLogFormat.Write(writer, happened);
        }
        return Encoding.UTF8.GetBytes(line.ToString() + "\n");
    }

    private async Task WriteAsync()
    {
        await foreach (var chunk in chunks.Reader.ReadAllAsync().ConfigureAwait(false))
        {
            if (full)
            {
                continue;
            }
            try
            {
                Write(chunk);
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException or NotSupportedException)
            {
                failedLines += chunk.Lines;
                CloseDamaged();
                if (!warned)
                {
                    warned = true;
                    warn($"warning: the event log in {directory} cannot be written: {error.Message.TrimEnd('.')}. The program goes on without it; free the disk, or set Yarnish:EventLog to another directory or 'off'.");
                }
            }
        }
        if (file is not null)
        {
            await file.DisposeAsync().ConfigureAwait(false);
        }
    }

    private void Write(Chunk chunk)
    {
        if (file is null || fileRawBytes >= rollBytes)
        {
            if (fileNumber >= maximumFiles)
            {
                full = true;
                Frame(Encode(new StatusEvent.EventsLost(clock.GetUtcNow(), 0)));
                warn($"warning: the event log in {directory} has reached its {maximumFiles} files and ends; the program goes on.");
                return;
            }
            OpenNext();
        }
        if (failedLines > 0)
        {
            Frame(Encode(new StatusEvent.EventsLost(clock.GetUtcNow(), failedLines)));
            failedLines = 0;
        }
        Frame(chunk.Bytes);
    }

    private void OpenNext()
    {
        file?.Dispose();
        file = null;
        MakeDirectory();
        file = new FileStream(
            Path.Combine(directory, EventLogs.FileName(fileNumber + 1)),
            new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write, Share = FileShare.Read | FileShare.Delete, BufferSize = 0 });
        fileRawBytes = 0;
        goodBytes = 0;
        using var line = new StringWriter(CultureInfo.InvariantCulture);
        using (var writer = new JsonTextWriter(line))
        {
            EventLogFormat.WriteHeader(writer, application.Value, fileNumber + 1);
        }
        Frame(Encoding.UTF8.GetBytes(line.ToString() + "\n"));
        fileNumber++;
    }

    /// <summary>Settings, names and errors are nobody's business but the owner's and their group's.</summary>
    private void MakeDirectory()
    {
        if (OperatingSystem.IsWindows())
        {
            Directory.CreateDirectory(directory);
            return;
        }
        Directory.CreateDirectory(
            directory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.GroupRead | UnixFileMode.GroupExecute);
    }

    private void Frame(byte[] bytes)
    {
        var frame = compressor.Wrap(bytes);
        file!.Write(frame);
        goodBytes += frame.Length;
        fileRawBytes += bytes.Length;
    }

    /// <summary>Takes back half a frame, so that the file can be read to its end; the next lines go to the next file.</summary>
    private void CloseDamaged()
    {
        try
        {
            file?.SetLength(goodBytes);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or NotSupportedException)
        {
            // Then it is read up to there.
        }
        file?.Dispose();
        file = null;
    }

    private readonly record struct Chunk(byte[] Bytes, int Lines);
}
