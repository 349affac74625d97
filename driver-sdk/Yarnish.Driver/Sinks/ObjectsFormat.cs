using System.Buffers;
using System.Buffers.Binary;
using System.Text;
using Yarnish.Blocks;
using Yarnish.Serialization;
using Yarnish.Sources;

namespace Yarnish.Sinks;

/// <summary>
/// Rows as they travel between tasks, in checked and compressed frames.
/// <code>
/// "YRNROWS1" | u16 length, UTF-8 of the row type's name | frames, each of whole rows | an empty frame | u64 number of rows        (little endian)
/// </code>
/// </summary>
internal sealed class ObjectsFormat<T> : FileFormat<T>
{
    private const int FrameBytes = 1 << 18;

    public override string Extension => ".rows";

    public override void Write(IEnumerable<T> rows, Stream stream)
    {
        var format = RowFormats.For<T>();
        var name = Encoding.UTF8.GetBytes(typeof(T).ToString());
        name = name.Length <= ushort.MaxValue ? name : name[..ushort.MaxValue];
        Span<byte> number = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt16LittleEndian(number, (ushort)name.Length);
        stream.Write(ObjectsOperator<T>.Magic);
        stream.Write(number[..sizeof(ushort)]);
        stream.Write(name);

        var buffer = new ArrayBufferWriter<byte>(FrameBytes);
        var count = 0UL;
        foreach (var row in rows)
        {
            format.Write(buffer, row);
            count++;
            if (buffer.WrittenCount >= FrameBytes)
            {
                WriteFrame(stream, buffer.WrittenSpan);
                buffer.ResetWrittenCount();
            }
        }
        if (buffer.WrittenCount > 0)
        {
            WriteFrame(stream, buffer.WrittenSpan);
        }
        WriteFrame(stream, []);
        BinaryPrimitives.WriteUInt64LittleEndian(number, count);
        stream.Write(number);
    }

    private static void WriteFrame(Stream stream, ReadOnlySpan<byte> raw)
    {
        var frame = ArrayPool<byte>.Shared.Rent(BlockFrame.MaximumLength(raw.Length));
        stream.Write(frame, 0, BlockFrame.Encode(raw, frame));
        ArrayPool<byte>.Shared.Return(frame);
    }
}
