namespace Yarnish.Sinks;

/// <summary>The file of one attempt: written once, counted, on the disk when it is saved, with every error told in terms of the file.</summary>
internal sealed class OutputStream : Stream
{
    private const int BufferBytes = 1 << 16;

    private readonly FileStream file;
    private readonly string path;

    private OutputStream(FileStream file, string path)
    {
        this.file = file;
        this.path = path;
    }

    /// <summary>Creates a file that must not exist in a directory that must.</summary>
    public static OutputStream Create(string path)
    {
        try
        {
            return new OutputStream(new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.Read, BufferBytes), path);
        }
        catch (DirectoryNotFoundException)
        {
            throw new IOException(
                $"{Path.GetDirectoryName(path)} is not there on {Environment.MachineName}, though the driver made it: either the job has ended meanwhile, or this node does not see the driver's files. "
                + "Output goes to storage that every node and the driver see under the same path.");
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw Failure(path, error);
        }
    }

    /// <summary>Removes a file that nobody wants; what cannot be removed now goes with its directory.</summary>
    public static void TryDelete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // The driver removes the directory at the end.
        }
    }

    /// <summary>Brings everything to the disk; returns how many bytes there are.</summary>
    public long Save() => Try(() =>
    {
        file.Flush(flushToDisk: true);
        return file.Length;
    });

    /// <inheritdoc/>
    public override void Write(ReadOnlySpan<byte> buffer)
    {
        try
        {
            file.Write(buffer);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw Failure(path, error);
        }
    }

    /// <inheritdoc/>
    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    // What is laid over it flushes as it likes; the file is flushed when it is full and when it is saved.
    /// <inheritdoc/>
    public override void Flush()
    {
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _ = Try(() =>
            {
                file.Dispose();
                return 0L;
            });
        }
        base.Dispose(disposing);
    }

    private long Try(Func<long> work)
    {
        try
        {
            return work();
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw Failure(path, error);
        }
    }

    private static IOException Failure(string path, Exception error) => new($"{path} cannot be written on {Environment.MachineName}: {error.Message}", error);

    /// <inheritdoc/>
    public override bool CanRead => false;

    /// <inheritdoc/>
    public override bool CanSeek => false;

    /// <inheritdoc/>
    public override bool CanWrite => true;

    /// <inheritdoc/>
    public override long Length => throw new NotSupportedException();

    /// <inheritdoc/>
    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    /// <inheritdoc/>
    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    /// <inheritdoc/>
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    /// <inheritdoc/>
    public override void SetLength(long value) => throw new NotSupportedException();
}
