using System.Numerics;
using Yarnish.Operators;
using Yarnish.Serialization;

namespace Yarnish.Sources;

/// <summary>Rows that the driver sends along: a slice of a parallelized collection.</summary>
internal sealed class ParallelizeOperator<T> : Operator<T>
{
    public override IEnumerable<T> Open(OperatorInputs inputs, int partition) => RowFormats.For<T>().Read(inputs.SourceInput(partition));
}

/// <summary>Consecutive whole numbers; nothing is sent, each partition counts by itself.</summary>
internal sealed class RangeOperator<T>(T start, long count, int partitions) : Operator<T>, IStopsItself
    where T : INumber<T>
{
    private readonly T start = start;
    private readonly long count = count;
    private readonly int partitions = partitions;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition)
    {
        var first = (long)((Int128)count * partition / partitions);
        var end = (long)((Int128)count * (partition + 1) / partitions);
        var cancellation = inputs.Task.Context.Cancellation;
        for (var i = first; i < end; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            yield return start + T.CreateChecked(i);
        }
    }
}

/// <summary>One split of a file.</summary>
/// <param name="Path">Full path.</param>
/// <param name="Offset">First byte.</param>
/// <param name="Length">Bytes; negative means to the end, for files that cannot be split.</param>
internal readonly record struct FileSplit(string Path, long Offset, long Length)
{
    public static byte[] ToBytes(IReadOnlyList<FileSplit> splits)
    {
        using var buffer = new MemoryStream();
        using var writer = new BinaryWriter(buffer);
        foreach (var split in splits)
        {
            writer.Write(split.Path);
            writer.Write(split.Offset);
            writer.Write(split.Length);
        }
        writer.Flush();
        return buffer.ToArray();
    }

    public static IEnumerable<FileSplit> FromBytes(ReadOnlyMemory<byte> bytes)
    {
        var reader = new BinaryReader(new MemoryStream(bytes.ToArray(), writable: false));
        while (reader.BaseStream.Position < reader.BaseStream.Length)
        {
            yield return new FileSplit(reader.ReadString(), reader.ReadInt64(), reader.ReadInt64());
        }
    }
}
