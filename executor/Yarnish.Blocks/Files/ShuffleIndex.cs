using System.Buffers;
using System.Buffers.Binary;
using System.IO.Hashing;

namespace Yarnish.Blocks;

/// <summary>
/// Where each reducer's bytes are in the data file of one map task attempt. A data file is one segment after another: each time the writer's memory was short, and
/// once at the end, it appended the frames of all reducers in order. So no byte is written twice to merge spills; a reducer's part is one extent per segment.
/// <code>
/// u32 'YSIX' | u32 version | i32 shuffle | i32 map | i64 attempt | i32 reducers | i32 segments | i64[segments][reducers + 1] offsets | u64 XxHash3 of all before
/// </code>
/// </summary>
internal sealed class ShuffleIndex
{
    private const uint Magic = 0x58495359;
    private const uint Version = 1;
    private const int HeaderLength = 32;

    // Bounds what a corrupt or hostile header may make us allocate: 128 MiB.
    private const long LongestOffsets = 16 * 1024 * 1024;

    private readonly long[] offsets;

    /// <summary>With the offsets of all segments, one after another.</summary>
    public ShuffleIndex(MapOutputId id, int reducers, long[] offsets)
    {
        Id = id;
        Reducers = reducers;
        this.offsets = offsets;
        Segments = offsets.Length / (reducers + 1);
    }

    /// <summary>Whose output.</summary>
    public MapOutputId Id { get; }

    /// <summary>How many parts there are.</summary>
    public int Reducers { get; }

    /// <summary>How many segments the data file has.</summary>
    public int Segments { get; }

    /// <summary>Length that the data file must have.</summary>
    public long DataLength => offsets.Length == 0 ? 0 : offsets[^1];

    /// <summary>Memory this takes, for caches.</summary>
    public long MemoryBytes => 64 + offsets.Length * 8L;

    /// <summary>Bytes of a reducer's part, over all segments.</summary>
    public long LengthOf(int reducer)
    {
        var sum = 0L;
        for (var segment = 0; segment < Segments; segment++)
        {
            sum += Extent(segment, reducer).Length;
        }
        return sum;
    }

    /// <summary>Where a reducer's frames of one segment are.</summary>
    public (long Offset, long Length) Extent(int segment, int reducer)
    {
        var at = segment * (Reducers + 1) + reducer;
        return (offsets[at], offsets[at + 1] - offsets[at]);
    }

    /// <summary>The bytes of the index file.</summary>
    public byte[] ToBytes()
    {
        var bytes = new byte[HeaderLength + offsets.Length * 8 + 8];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(4), Version);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(8), Id.ShuffleId.Value);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(12), Id.MapPartition);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(16), Id.AttemptId.Value);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(24), Reducers);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(28), Segments);
        for (var i = 0; i < offsets.Length; i++)
        {
            BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(HeaderLength + i * 8), offsets[i]);
        }
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(bytes.Length - 8), XxHash3.HashToUInt64(bytes.AsSpan(0, bytes.Length - 8)));
        return bytes;
    }

    /// <summary>Reads the index file of an output.</summary>
    /// <exception cref="BlockMissingException">There is none.</exception>
    /// <exception cref="BlockCorruptException">It is truncated, damaged or another's.</exception>
    public static ShuffleIndex Read(string path, MapOutputId expected)
    {
        try
        {
            using var file = File.OpenHandle(path);
            var length = RandomAccess.GetLength(file);
            if (length is < HeaderLength + 8 or > HeaderLength + 8 + LongestOffsets * 8)
            {
                throw new BlockCorruptException($"The index of {expected} has {length} bytes, which no index has: {path}.");
            }
            var bytes = ArrayPool<byte>.Shared.Rent((int)length);
            try
            {
                var read = ReadFully(file, bytes.AsSpan(0, (int)length), 0);
                return Parse(bytes.AsSpan(0, read), expected, path);
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(bytes);
            }
        }
        catch (Exception error) when (error is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new BlockMissingException($"No output of {expected} at {path}.", error);
        }
    }

    /// <summary>Reads until the span is full or the file ends; returns the count.</summary>
    internal static int ReadFully(Microsoft.Win32.SafeHandles.SafeFileHandle file, Span<byte> target, long offset)
    {
        var total = 0;
        while (total < target.Length)
        {
            var read = RandomAccess.Read(file, target[total..], offset + total);
            if (read == 0)
            {
                break;
            }
            total += read;
        }
        return total;
    }

    private static ShuffleIndex Parse(ReadOnlySpan<byte> bytes, MapOutputId expected, string path)
    {
        if (bytes.Length < HeaderLength + 8
            || BinaryPrimitives.ReadUInt32LittleEndian(bytes) != Magic
            || BinaryPrimitives.ReadUInt64LittleEndian(bytes[^8..]) != XxHash3.HashToUInt64(bytes[..^8]))
        {
            throw new BlockCorruptException($"The index of {expected} is damaged: its checksum differs ({path}).");
        }
        if (BinaryPrimitives.ReadUInt32LittleEndian(bytes[4..]) is var version and not Version)
        {
            throw new BlockCorruptException($"The index of {expected} has format {version}; this program reads format {Version} ({path}).");
        }
        var id = new MapOutputId(
            new(BinaryPrimitives.ReadInt32LittleEndian(bytes[8..])),
            BinaryPrimitives.ReadInt32LittleEndian(bytes[12..]),
            new(BinaryPrimitives.ReadInt64LittleEndian(bytes[16..])));
        var reducers = BinaryPrimitives.ReadInt32LittleEndian(bytes[24..]);
        var segments = BinaryPrimitives.ReadInt32LittleEndian(bytes[28..]);
        if (id != expected || reducers < 1 || segments < 0 || (long)segments * (reducers + 1L) * 8 != bytes.Length - HeaderLength - 8)
        {
            throw new BlockCorruptException($"The index at {path} belongs to {id} with {reducers} reducers and {segments} segments; expected {expected}.");
        }
        var offsets = new long[segments * (reducers + 1)];
        for (var i = 0; i < offsets.Length; i++)
        {
            offsets[i] = BinaryPrimitives.ReadInt64LittleEndian(bytes[(HeaderLength + i * 8)..]);
            if (offsets[i] < (i == 0 ? 0 : offsets[i - 1]))
            {
                throw new BlockCorruptException($"The index of {expected} has offsets that shrink ({path}).");
            }
        }
        return new ShuffleIndex(id, reducers, offsets);
    }
}
