using System.Buffers;
using Microsoft.Win32.SafeHandles;

namespace Yarnish.Blocks;

/// <summary>A file of frames while it is written: under a temporary name, which <see cref="Commit"/> turns into the real one. Disposed without that, nothing is left.</summary>
internal sealed class FrameFile : IDisposable
{
    private const int StageLength = 256 * 1024;

    private readonly string path;
    private readonly string temporaryPath;
    private readonly SafeFileHandle file;
    private byte[] stage;
    private int staged;
    private long written;
    private bool ended;

    /// <summary>Creates the temporary file; the directory must exist.</summary>
    public FrameFile(string path)
    {
        this.path = path;
        temporaryPath = $"{path}.{Guid.NewGuid():N}.tmp";
        file = File.OpenHandle(temporaryPath, FileMode.CreateNew, FileAccess.Write, FileShare.None);
        stage = ArrayPool<byte>.Shared.Rent(StageLength);
    }

    /// <summary>Bytes appended so far.</summary>
    public long Length => written + staged;

    /// <summary>Compresses and appends one frame; returns its length.</summary>
    public int AppendFrame(ReadOnlySpan<byte> raw)
    {
        var room = BlockFrame.MaximumLength(raw.Length);
        if (room > stage.Length - staged)
        {
            Flush();
            if (room > stage.Length)
            {
                ArrayPool<byte>.Shared.Return(stage);
                stage = ArrayPool<byte>.Shared.Rent(room);
            }
        }
        var length = BlockFrame.Encode(raw, stage.AsSpan(staged));
        staged += length;
        return length;
    }

    /// <summary>Appends frames that are already encoded.</summary>
    public void AppendEncoded(ReadOnlySpan<byte> frames)
    {
        if (frames.Length > stage.Length - staged)
        {
            Flush();
        }
        if (frames.Length >= stage.Length)
        {
            RandomAccess.Write(file, frames, written);
            written += frames.Length;
            return;
        }
        frames.CopyTo(stage.AsSpan(staged));
        staged += frames.Length;
    }

    /// <summary>Gives the file its name. No fsync: what a crash of the machine damages, checksums find, and the map task runs again.</summary>
    public void Commit()
    {
        Flush();
        Close();
        File.Move(temporaryPath, path, overwrite: true);
        ended = true;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Close();
        if (!ended)
        {
            ended = true;
            try
            {
                File.Delete(temporaryPath);
            }
            catch (IOException)
            {
                // The whole directory is gone: the application has ended.
            }
        }
    }

    private void Flush()
    {
        if (staged > 0)
        {
            RandomAccess.Write(file, stage.AsSpan(0, staged), written);
            written += staged;
            staged = 0;
        }
    }

    private void Close()
    {
        if (stage.Length > 0)
        {
            ArrayPool<byte>.Shared.Return(stage);
            stage = [];
        }
        file.Dispose();
    }
}
