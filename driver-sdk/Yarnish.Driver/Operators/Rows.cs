using System.Buffers;
using Yarnish.Serialization;

namespace Yarnish.Operators;

/// <summary>Rows to bytes and back, a few at a time.</summary>
internal static class Rows
{
    public static byte[] OneToBytes<T>(T row)
    {
        var output = new ArrayBufferWriter<byte>();
        RowFormats.For<T>().Write(output, row);
        return output.WrittenSpan.ToArray();
    }

    public static byte[] ToBytes<T>(IEnumerable<T> rows)
    {
        var output = new ArrayBufferWriter<byte>();
        var format = RowFormats.For<T>();
        foreach (var row in rows)
        {
            format.Write(output, row);
        }
        return output.WrittenSpan.ToArray();
    }

    public static T FromBytes<T>(ReadOnlyMemory<byte> bytes) => RowFormats.For<T>().Read(bytes).First();
}
