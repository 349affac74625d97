using System.Buffers.Binary;
using System.IO.Hashing;
using K4os.Compression.LZ4;

namespace Yarnish.Blocks;

/// <summary>
/// The unit in which block bytes are compressed and checked. A part of a shuffle, a result or a persisted partition is a sequence of frames; rows never
/// straddle frames, so each can be read by itself, and spills are joined by laying frames side by side.
/// <code>
/// u32 payload length | u32 raw length | u64 XxHash3(payload, seed = both lengths) | payload        (little endian)
/// </code>
/// The payload is LZ4, or the raw bytes when both lengths are equal (too small, or it would not shrink).
/// </summary>
internal static class BlockFrame
{
    /// <summary>Bytes before the payload.</summary>
    public const int HeaderLength = 16;

    /// <summary>Below this, compression costs more than it saves.</summary>
    private const int SmallestCompressed = 64;

    /// <summary>Room that <see cref="Encode"/> may need for so many raw bytes.</summary>
    public static int MaximumLength(int rawLength) => HeaderLength + Math.Max(rawLength, LZ4Codec.MaximumOutputSize(rawLength));

    /// <summary>Writes a frame of <paramref name="raw"/> to the start of <paramref name="target"/>; returns its length.</summary>
    public static int Encode(ReadOnlySpan<byte> raw, Span<byte> target)
    {
        var payload = target[HeaderLength..];
        var length = raw.Length < SmallestCompressed ? -1 : LZ4Codec.Encode(raw, payload);
        if (length <= 0 || length >= raw.Length)
        {
            raw.CopyTo(payload);
            length = raw.Length;
        }
        BinaryPrimitives.WriteInt32LittleEndian(target, length);
        BinaryPrimitives.WriteInt32LittleEndian(target[4..], raw.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(target[8..], Checksum(payload[..length], length, raw.Length));
        return HeaderLength + length;
    }

    /// <summary>
    /// Reads the lengths of the frame that starts <paramref name="header"/>. False when they cannot be true given that <paramref name="available"/> bytes remain,
    /// header included: checked before anything is allocated for them.
    /// </summary>
    public static bool TryReadHeader(ReadOnlySpan<byte> header, long available, out int payloadLength, out int rawLength)
    {
        payloadLength = rawLength = 0;
        if (header.Length < HeaderLength || available < HeaderLength)
        {
            return false;
        }
        payloadLength = BinaryPrimitives.ReadInt32LittleEndian(header);
        rawLength = BinaryPrimitives.ReadInt32LittleEndian(header[4..]);
        // LZ4 shrinks by a factor of 255 at most.
        return payloadLength >= 0 && rawLength >= payloadLength && payloadLength <= available - HeaderLength && rawLength <= 255L * payloadLength + 64;
    }

    /// <summary>Whether header and payload of a whole frame belong together.</summary>
    public static bool IsIntact(ReadOnlySpan<byte> frame)
    {
        if (!TryReadHeader(frame, frame.Length, out var payloadLength, out var rawLength) || frame.Length != HeaderLength + payloadLength)
        {
            return false;
        }
        return BinaryPrimitives.ReadUInt64LittleEndian(frame[8..]) == Checksum(frame.Slice(HeaderLength, payloadLength), payloadLength, rawLength);
    }

    /// <summary>Raw bytes of an intact frame. <paramref name="target"/> must have room for them. False when the payload does not decode.</summary>
    public static bool TryDecode(ReadOnlySpan<byte> frame, Span<byte> target, out int rawLength)
    {
        if (!TryReadHeader(frame, frame.Length, out var payloadLength, out rawLength))
        {
            return false;
        }
        var payload = frame.Slice(HeaderLength, payloadLength);
        if (payloadLength == rawLength)
        {
            payload.CopyTo(target);
            return true;
        }
        return LZ4Codec.Decode(payload, target[..rawLength]) == rawLength;
    }

    private static ulong Checksum(ReadOnlySpan<byte> payload, int payloadLength, int rawLength) =>
        XxHash3.HashToUInt64(payload, ((long)payloadLength << 32) | (uint)rawLength);
}
