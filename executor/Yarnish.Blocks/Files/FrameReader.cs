using System.Buffers;
using Microsoft.Win32.SafeHandles;

namespace Yarnish.Blocks;

/// <summary>Reads frames from extents of a local file: verified and decompressed, in a few large reads. The memory of one frame is used again for the next.</summary>
internal sealed class FrameReader(SafeFileHandle file, string what) : IDisposable
{
    private const int ChunkLength = 256 * 1024;

    private byte[] encoded = [];
    private byte[] raw = [];
    private int start;
    private int end;
    private long position;
    private long remaining;

    /// <summary>Begins an extent.</summary>
    public void Start(long offset, long length)
    {
        position = offset;
        remaining = length;
        start = end = 0;
    }

    /// <summary>The next frame's raw bytes, valid until the next call; false at the end of the extent.</summary>
    /// <exception cref="BlockCorruptException">The extent does not hold whole, intact frames.</exception>
    public bool TryRead(out ReadOnlyMemory<byte> content)
    {
        content = default;
        var available = end - start + remaining;
        if (available == 0)
        {
            return false;
        }
        Fill(BlockFrame.HeaderLength);
        if (!BlockFrame.TryReadHeader(encoded.AsSpan(start, end - start), available, out var payloadLength, out var rawLength))
        {
            throw new BlockCorruptException($"A frame of {what} has an impossible header at byte {position - (end - start)}.");
        }
        var length = BlockFrame.HeaderLength + payloadLength;
        Fill(length);
        var frame = encoded.AsSpan(start, Math.Min(length, end - start));
        if (!BlockFrame.IsIntact(frame))
        {
            throw new BlockCorruptException($"A frame of {what} is damaged: its checksum differs at byte {position - (end - start)}.");
        }
        if (raw.Length < rawLength)
        {
            ReturnToPool(raw);
            raw = ArrayPool<byte>.Shared.Rent(rawLength);
        }
        if (!BlockFrame.TryDecode(frame, raw, out _))
        {
            throw new BlockCorruptException($"A frame of {what} does not decompress.");
        }
        start += length;
        content = raw.AsMemory(0, rawLength);
        return true;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        ReturnToPool(encoded);
        ReturnToPool(raw);
        encoded = raw = [];
    }

    // Afterwards at least 'wanted' bytes are in the buffer, or all there are.
    private void Fill(int wanted)
    {
        if (end - start >= wanted || remaining == 0)
        {
            return;
        }
        var target = (int)Math.Min(Math.Max(wanted, ChunkLength), end - start + remaining);
        if (encoded.Length < target)
        {
            var larger = ArrayPool<byte>.Shared.Rent(target);
            encoded.AsSpan(start, end - start).CopyTo(larger);
            ReturnToPool(encoded);
            encoded = larger;
        }
        else
        {
            encoded.AsSpan(start, end - start).CopyTo(encoded);
        }
        end -= start;
        start = 0;
        var read = ShuffleIndex.ReadFully(file, encoded.AsSpan(end, target - end), position);
        position += read;
        remaining = read < target - end ? 0 : remaining - read;
        end += read;
    }

    private static void ReturnToPool(byte[] array)
    {
        if (array.Length > 0)
        {
            ArrayPool<byte>.Shared.Return(array);
        }
    }
}
