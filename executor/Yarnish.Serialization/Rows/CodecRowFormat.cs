using System.Buffers;

namespace Yarnish.Serialization;

/// <summary>Rows of one value or one pair of values; nothing is allocated for a row but the row itself.</summary>
internal sealed class CodecRowFormat<T, TCodec> : IRowFormat<T>
    where TCodec : struct, ICodec<T>
{
    public void Write(IBufferWriter<byte> output, T row) => output.Advance(TCodec.Write(output.GetSpan(TCodec.Bound(row)), row));

    public int Read(ReadOnlyMemory<byte> input, ref int position, Span<T> rows)
    {
        var bytes = input.Span;
        var (count, next) = (0, position);
        try
        {
            while (count < rows.Length && next < bytes.Length)
            {
                rows[count] = TCodec.Read(bytes, ref next);
                count++;
                position = next;
            }
        }
        catch (Exception error) when (error is ArgumentException or IndexOutOfRangeException or OverflowException or InvalidDataException)
        {
            throw CorruptRowException.At(typeof(T), position, input.Length, error);
        }
        return count;
    }
}
