using System.Buffers;

namespace Yarnish.Serialization;

/// <summary>How the rows of a collection become bytes and back.</summary>
/// <typeparam name="T">The row.</typeparam>
public interface IRowFormat<T>
{
    /// <summary>Appends one row.</summary>
    void Write(IBufferWriter<byte> output, T row);

    /// <summary>Reads rows from a position on, which moves with them, until the bytes end or the room for rows does.</summary>
    /// <returns>How many rows were read; 0 at the end of the bytes.</returns>
    /// <exception cref="CorruptRowException">The bytes there are no row.</exception>
    int Read(ReadOnlyMemory<byte> input, ref int position, Span<T> rows);

    /// <summary>Reads rows until the bytes end, some at a time.</summary>
    /// <exception cref="CorruptRowException">The bytes hold something else.</exception>
    IEnumerable<T> Read(ReadOnlyMemory<byte> input)
    {
        var rows = new T[Math.Clamp(input.Length, 1, 32)];
        for (var position = 0; position < input.Length;)
        {
            var count = Read(input, ref position, rows);
            for (var i = 0; i < count; i++)
            {
                yield return rows[i];
            }
        }
    }
}
