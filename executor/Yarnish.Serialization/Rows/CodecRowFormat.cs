using System.Buffers;

namespace Yarnish.Serialization;

/// <summary>Rows of one value or one pair of values; nothing is allocated for a row but the row itself.</summary>
internal sealed class CodecRowFormat<T, TCodec> : IRowFormat<T>
    where TCodec : struct, ICodec<T>
{
    public void Write(IBufferWriter<byte> output, T row) => output.Advance(TCodec.Write(output.GetSpan(TCodec.Bound(row)), row));

    public IEnumerable<T> Read(ReadOnlyMemory<byte> input)
    {
        var position = 0;
        while (position < input.Length)
        {
            yield return Next(input, ref position);
        }
    }

    private static T Next(ReadOnlyMemory<byte> input, ref int position)
    {
        var start = position;
        try
        {
            return TCodec.Read(input.Span, ref position);
        }
        catch (Exception error) when (error is ArgumentException or IndexOutOfRangeException or OverflowException or InvalidDataException)
        {
            throw CorruptRowException.At(typeof(T), start, input.Length, error);
        }
    }
}
