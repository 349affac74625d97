using System.Buffers;
using System.Buffers.Binary;
using System.Text;
using Yarnish.Blocks;
using Yarnish.Executor;
using Yarnish.Protocol;
using Yarnish.Serialization;

namespace Yarnish.Operators;

/// <summary>
/// All rows of a partition, whatever their size: pieces of whole rows are kept on the disk of the node, as if they were persisted partitions of a collection of their own; only where they are, and
/// the rows behind the last one, come back. So neither the executor nor the driver ever holds more than a few pieces.
/// </summary>
internal sealed class StreamAction<T>(int collection) : ResultAction<T>
{
    /// <summary>A piece ends with the row that reaches so many bytes.</summary>
    private const int PieceBytes = 2 << 20;

    private readonly int collection = collection;

    public override void Run(IEnumerable<T> rows, TaskRuntime task, IBufferWriter<byte> result)
    {
        var format = RowFormats.For<T>();
        var piece = new ArrayBufferWriter<byte>();
        var pieces = 0;
        var part = new StreamedPart(collection, task.Context.ExecutorId, StreamedPart.TryOf(task.Context), 0, default);
        foreach (var row in rows)
        {
            format.Write(piece, row);
            if (piece.WrittenCount >= PieceBytes)
            {
                Keep(task, part.NumberOf(pieces++), piece.WrittenSpan.ToArray());
                piece.ResetWrittenCount();
            }
        }
        (part with { Pieces = pieces }).Write(result);
        result.Write(piece.WrittenSpan);
    }

    private void Keep(TaskRuntime task, int number, byte[] piece)
    {
        foreach (var _ in task.Cache.GetOrCompute(collection, number, StorageLevel.Disk, RowFormats.For<byte[]>(), () => [piece]))
        {
        }
        if (!task.Cache.Holds(collection, number))
        {
            throw new IOException($"A piece of {piece.Length >> 20} MiB of the streamed result cannot be kept on the disk of executor {task.Context.ExecutorId}: look for space there.");
        }
    }
}

/// <summary>What came back of a partition that is streamed.</summary>
/// <param name="Collection">Under which number its pieces are kept.</param>
/// <param name="ExecutorId">On whose node.</param>
/// <param name="Try">Which attempt wrote them: two on one node must not mix their pieces, for their rows may differ in order.</param>
/// <param name="Pieces">How many there are.</param>
/// <param name="Rest">The rows behind the last piece.</param>
internal sealed record StreamedPart(int Collection, ExecutorId ExecutorId, int Try, int Pieces, ReadOnlyMemory<byte> Rest)
{
    private const int HeaderLength = 3 * sizeof(int);

    /// <summary>Stage attempts, and attempts of the task in each, that are told apart. Few: the driver keeps a table of the partitions of a collection, by their numbers.</summary>
    private const int StageTries = 4, TaskTries = 8;

    /// <summary>Everything but the rest: try, pieces, length of the executor's id (4 bytes each, little-endian), the id.</summary>
    public void Write(IBufferWriter<byte> output)
    {
        var header = output.GetSpan(HeaderLength);
        BinaryPrimitives.WriteInt32LittleEndian(header, Try);
        BinaryPrimitives.WriteInt32LittleEndian(header[4..], Pieces);
        BinaryPrimitives.WriteInt32LittleEndian(header[8..], Encoding.UTF8.GetByteCount(ExecutorId.Value));
        output.Advance(HeaderLength);
        Encoding.UTF8.GetBytes(ExecutorId.Value, output);
    }

    public static StreamedPart Read(int collection, ReadOnlyMemory<byte> result)
    {
        var header = result.Span;
        var nameLength = BinaryPrimitives.ReadInt32LittleEndian(header[8..]);
        return new(
            collection, new ExecutorId(Encoding.UTF8.GetString(header.Slice(HeaderLength, nameLength))),
            BinaryPrimitives.ReadInt32LittleEndian(header), BinaryPrimitives.ReadInt32LittleEndian(header[4..]), result[(HeaderLength + nameLength)..]);
    }

    public static int TryOf(TaskContext task) => (task.StageAttempt % StageTries * TaskTries) + (task.AttemptNumber % TaskTries);

    /// <summary>A piece as a partition of the collection.</summary>
    public int NumberOf(int piece) => (piece * StageTries * TaskTries) + Try;

    /// <summary>The block of a piece; its content is one row, the bytes of the piece.</summary>
    public BlockId BlockOf(int piece) => BlockId.OfPartition(Collection, NumberOf(piece));
}
