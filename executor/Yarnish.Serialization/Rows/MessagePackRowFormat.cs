using System.Buffers;
using MessagePack;
using MessagePack.Formatters;

namespace Yarnish.Serialization;

/// <summary>Rows of any other type.</summary>
internal sealed class MessagePackRowFormat<T>(IMessagePackFormatter<T> formatter) : IRowFormat<T>
{
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

    public int Read(ReadOnlyMemory<byte> input, ref int position, Span<T> rows)
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
