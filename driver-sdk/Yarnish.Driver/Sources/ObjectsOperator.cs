using System.Buffers.Binary;
using System.Text;
using Yarnish.Blocks;
using Yarnish.Executor;
using Yarnish.Operators;
using Yarnish.Serialization;

namespace Yarnish.Sources;

/// <summary>Reads what <see cref="Sinks.ObjectsFormat{T}"/> wrote.</summary>
internal sealed class ObjectsOperator<T> : Operator<T>
{
    public static ReadOnlySpan<byte> Magic => "YRNROWS1"u8;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition)
    {
        foreach (var split in FileSplit.FromBytes(inputs.SourceInput(partition)))
        {
            foreach (var row in Read(split, inputs.Task.Counters))
            {
                inputs.Task.Counters.InputRows++;
                yield return row;
            }
        }
    }

    private static IEnumerable<T> Read(FileSplit split, TaskCounters counters)
    {
        var format = RowFormats.For<T>();
        using var stream = SourceStream.OpenBytes(split, counters, unpack: true);
        var rowType = ReadHeader(stream);
        var count = 0UL;
        while (ReadFrame(stream) is { Length: > 0 } frame)
        {
            using var rows = format.Read(frame).GetEnumerator();
            while (MoveNext(rows, stream.Path, rowType))
            {
                count++;
                yield return rows.Current;
            }
        }
        var number = new byte[sizeof(ulong)];
        if (stream.ReadAtLeast(number, number.Length, throwOnEndOfStream: false) < number.Length || BinaryPrimitives.ReadUInt64LittleEndian(number) != count || stream.ReadByte() >= 0)
        {
            throw new InvalidDataException($"{stream.Path} is damaged: it does not end after {count} rows as it should.");
        }
    }

    private static string ReadHeader(SourceStream stream)
    {
        var start = new byte[Magic.Length + sizeof(ushort)];
        if (stream.ReadAtLeast(start, start.Length, throwOnEndOfStream: false) < start.Length || !start.AsSpan().StartsWith(Magic))
        {
            throw new InvalidDataException($"{stream.Path} was not written by SaveAsObjectsAsync.");
        }
        var name = new byte[BinaryPrimitives.ReadUInt16LittleEndian(start.AsSpan(Magic.Length))];
        return stream.ReadAtLeast(name, name.Length, throwOnEndOfStream: false) == name.Length ? Encoding.UTF8.GetString(name) : throw CutOff(stream);
    }

    private static ReadOnlyMemory<byte> ReadFrame(SourceStream stream)
    {
        var header = new byte[BlockFrame.HeaderLength];
        if (stream.ReadAtLeast(header, header.Length, throwOnEndOfStream: false) < header.Length)
        {
            throw CutOff(stream);
        }
        // A frame is about 256 KiB, or one row: what claims more than an array holds is damage.
        if (!BlockFrame.TryReadHeader(header, Array.MaxLength, out var payload, out var raw) || raw > Array.MaxLength)
        {
            throw Damaged(stream);
        }
        var frame = new byte[header.Length + payload];
        header.CopyTo(frame, 0);
        if (stream.ReadAtLeast(frame.AsSpan(header.Length), payload, throwOnEndOfStream: false) < payload)
        {
            throw CutOff(stream);
        }
        var content = new byte[raw];
        return BlockFrame.IsIntact(frame) && BlockFrame.TryDecode(frame, content, out _) ? content : throw Damaged(stream);
    }

    private static bool MoveNext(IEnumerator<T> rows, string path, string rowType)
    {
        try
        {
            return rows.MoveNext();
        }
        catch (Exception error) when (error is CorruptRowException or InvalidCastException)
        {
            throw new InvalidDataException($"{path} holds rows of {rowType}, which cannot be read as {typeof(T)}: {error.Message}", error);
        }
    }

    private static InvalidDataException CutOff(SourceStream stream) => new($"{stream.Path} is cut off at byte {stream.Offset}: it is no whole output of SaveAsObjectsAsync.");

    private static InvalidDataException Damaged(SourceStream stream) => new($"{stream.Path} is damaged near byte {stream.Offset}: a checksum differs.");
}
