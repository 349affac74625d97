using System.Buffers;

namespace Yarnish.Serialization;

/// <summary>How the rows of a collection become bytes and back.</summary>
/// <typeparam name="T">The row.</typeparam>
public interface IRowFormat<T>
{
    /// <summary>Appends one row.</summary>
    void Write(IBufferWriter<byte> output, T row);

    /// <summary>Reads rows until the bytes end.</summary>
    IEnumerable<T> Read(ReadOnlyMemory<byte> input);
}
