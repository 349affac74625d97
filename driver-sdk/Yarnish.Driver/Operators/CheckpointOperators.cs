using System.Buffers;
using Yarnish.Executor;
using Yarnish.Sources;

namespace Yarnish.Operators;

/// <summary>Reads a checkpoint. What cannot be read cannot be computed again, and the error says so.</summary>
internal sealed class CheckpointOperator<T>(string what) : Operator<T>
{
    private readonly ObjectsOperator<T> files = new();
    private readonly string what = what;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition)
    {
        using var rows = files.Open(inputs, partition).GetEnumerator();
        while (MoveNext(rows, partition))
        {
            yield return rows.Current;
        }
    }

    private bool MoveNext(IEnumerator<T> rows, int partition)
    {
        try
        {
            return rows.MoveNext();
        }
        catch (Exception error) when (error is IOException or InvalidDataException or UnauthorizedAccessException)
        {
            throw new InvalidDataException(
                $"Partition {partition} of the checkpoint of {what} cannot be read: {error.Message} What it was computed from is forgotten, so it cannot be computed again. "
                + "Checkpoints belong on storage that lasts and that every node sees; run the program again.",
                error);
        }
    }
}

/// <summary>Stands where the lineage of a local checkpoint was: whoever comes here found the partition nowhere.</summary>
internal sealed class LocalCheckpointOperator<T>(string what) : Operator<T>
{
    private readonly string what = what;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition) => throw new InvalidDataException(
        $"Partition {partition} of the local checkpoint of {what} is lost: the executor or node that held it is gone, its file is damaged, or the collection was unpersisted. What it was computed from is "
        + "forgotten, so it cannot be computed again. Use CheckpointAsync, or StorageLevel.Replicated, where nodes may go; run the program again.");
}

/// <summary>Computes a persisted partition for the sake of storing it; the result tells whether it is stored.</summary>
internal sealed class StoreAction<T>(int collection) : ResultAction<T>
{
    private readonly int collection = collection;

    public override void Run(IEnumerable<T> rows, TaskRuntime task, IBufferWriter<byte> result)
    {
        foreach (var _ in rows)
        {
            task.Context.Cancellation.ThrowIfCancellationRequested();
        }
        result.GetSpan(1)[0] = task.Cache.Holds(collection, task.Context.Partition) ? (byte)1 : (byte)0;
        result.Advance(1);
    }
}
