using System.Buffers;
using System.IO.Hashing;
using Yarnish.Blocks;
using Yarnish.Executor;

namespace Yarnish.Shared;

/// <summary>Cuts what is written to it into the pieces of a broadcast, each a block on the driver's disk: the serialized value is never in memory as a whole.</summary>
/// <param name="directory">Where pieces go.</param>
/// <param name="number">Of the broadcast.</param>
/// <param name="maximumBytes">More is refused.</param>
/// <param name="subject">What messages begin with.</param>
internal sealed class PieceWriter(BlockDirectory directory, int number, long maximumBytes, string subject) : IBufferWriter<byte>
{
    private readonly XxHash64 hash = new();
    private byte[] buffer = new byte[64 * 1024];
    private int filled;
    private int pieces;

    /// <summary>Bytes written.</summary>
    public long Length { get; private set; }

    /// <summary>Begins anew: what was written is thrown away.</summary>
    public PieceWriter Restart()
    {
        (filled, pieces, Length) = (0, 0, 0);
        hash.Reset();
        directory.DeleteNamed(BroadcastId.PrefixOf(number));
        return this;
    }

    /// <inheritdoc/>
    public void Advance(int count)
    {
        filled += count;
        Length += count;
        if (Length > maximumBytes)
        {
            throw new BroadcastException(
                $"{subject} has more than {maximumBytes:N0} bytes when serialized, the largest a broadcast may have. Broadcast less, join the two collections instead, or raise Yarnish:MaximumBroadcastBytes (executors hold it in memory).");
        }
        var written = 0;
        while (filled - written >= BroadcastId.PieceBytes)
        {
            Cut(buffer.AsSpan(written, BroadcastId.PieceBytes));
            written += BroadcastId.PieceBytes;
        }
        if (written > 0)
        {
            filled -= written;
            buffer.AsSpan(written, filled).CopyTo(buffer);
            if (buffer.Length > 2 * BroadcastId.PieceBytes)
            {
                // Something large was written in one go: the room for it is not kept.
                Array.Resize(ref buffer, 2 * BroadcastId.PieceBytes);
            }
        }
    }

    /// <inheritdoc/>
    public Memory<byte> GetMemory(int sizeHint = 0)
    {
        Reserve(sizeHint);
        return buffer.AsMemory(filled);
    }

    /// <inheritdoc/>
    public Span<byte> GetSpan(int sizeHint = 0)
    {
        Reserve(sizeHint);
        return buffer.AsSpan(filled);
    }

    /// <summary>Writes the last piece.</summary>
    public BroadcastId Finish(string callSite)
    {
        if (filled > 0 || pieces == 0)
        {
            Cut(buffer.AsSpan(0, filled));
        }
        buffer = [];
        return new BroadcastId(number, Length, (long)hash.GetCurrentHashAsUInt64(), callSite);
    }

    private void Cut(ReadOnlySpan<byte> content)
    {
        hash.Append(content);
        directory.WriteNamed(new BroadcastId(number, 0, 0, "").Piece(pieces++), content);
    }

    private void Reserve(int sizeHint)
    {
        var wanted = Math.Max(sizeHint, 1);
        if (buffer.Length - filled < wanted)
        {
            Array.Resize(ref buffer, (int)Math.Min(Array.MaxLength, Math.Max((long)filled + wanted, Math.Min(2L * buffer.Length, 2L * BroadcastId.PieceBytes))));
        }
    }
}
