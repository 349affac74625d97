using System.Buffers;
using MessagePack;
using MessagePack.Formatters;

namespace Yarnish.Serialization;

/// <summary>Rows of any other type.</summary>
internal sealed class MessagePackRowFormat<T>(IMessagePackFormatter<T> formatter) : IRowFormat<T>
{
    // A reader is a ref struct and cannot live across a yield: rows are read in chunks, so that its making is shared.
    private const int Chunk = 32;

    public void Write(IBufferWriter<byte> output, T row)
    {
        var writer = new MessagePackWriter(output);
        try
        {
            formatter.Serialize(ref writer, row, RowFormatters.Options);
        }
        catch (InsufficientExecutionStackException error)
        {
            throw new InvalidOperationException(
                $"A row of type {TypeNames.Of(typeof(T))} nests too deep to be written: it refers to itself, or is a long linked list. Use ids or a list instead of references.", error);
        }

        writer.Flush();
    }

    public IEnumerable<T> Read(ReadOnlyMemory<byte> input)
    {
        var rows = new T[Math.Min(Chunk, Math.Max(1, input.Length))];
        for (var position = 0; position < input.Length;)
        {
            var count = ReadChunk(input, ref position, rows);
            for (var index = 0; index < count; index++)
            {
                yield return rows[index];
            }
        }
    }

    private int ReadChunk(ReadOnlyMemory<byte> input, ref int position, T[] rows)
    {
        var start = position;
        var reader = new MessagePackReader(input[position..]);
        var count = 0;
        try
        {
            while (count < rows.Length && !reader.End)
            {
                rows[count++] = formatter.Deserialize(ref reader, RowFormatters.Options);
                position = start + (int)reader.Consumed;
            }
        }
        catch (Exception error) when (error is not (OutOfMemoryException or ThreadAbortException))
        {
            throw CorruptRowException.At(typeof(T), position, input.Length, error);
        }

        return count;
    }
}
