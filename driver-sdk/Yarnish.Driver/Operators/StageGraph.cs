using System.Buffers.Binary;
using Yarnish.Executor;
using Yarnish.Protocol;
using Yarnish.Serialization;

namespace Yarnish.Operators;

/// <summary>The operators of one stage in an order in which inputs stand before their readers; the last one is the root.</summary>
internal sealed class StageGraph(StageGraph.Step[] steps)
{
    private readonly Step[] steps = steps;

    /// <summary>The rows of one partition of the root.</summary>
    public IEnumerable<T> Open<T>(TaskRuntime task) => Open<T>(new StageInputs(task), steps.Length - 1, task.Context.Partition);

    internal IEnumerable<T> Open<T>(StageInputs stage, int index, int partition)
    {
        var step = steps[index];
        var inputs = new OperatorInputs(this, stage, index);
        if (step.Collection is not { } collection)
        {
            return Compute();
        }
        return stage.Task.Cache.GetOrCompute(collection, partition, step.Level, RowFormats.For<T>(), Compute);

        IEnumerable<T> Compute()
        {
            var rows = ((Operator<T>)step.Operator).Open(inputs, partition);
            return step.Inputs.Length > 0 || step.Operator is IStopsItself ? rows : UntilStopped(rows, stage.Task.Context.Cancellation);
        }
    }

    /// <summary>Where rows come from, a task that was told to stop ends: user code behind it need not look.</summary>
    private static IEnumerable<T> UntilStopped<T>(IEnumerable<T> rows, CancellationToken cancellation)
    {
        foreach (var row in rows)
        {
            cancellation.ThrowIfCancellationRequested();
            yield return row;
        }
    }

    internal Step At(int index) => steps[index];

    /// <summary>One operator and its place in the graph.</summary>
    internal sealed class Step
    {
        public required Operator Operator { get; init; }

        /// <summary>Indexes of the steps it reads.</summary>
        public required int[] Inputs { get; init; }

        /// <summary>Number of the persisted collection it computes, if any.</summary>
        public int? Collection { get; init; }

        public StorageLevel Level { get; init; }
    }
}

/// <summary>What one task hands to the sources of its stage.</summary>
internal sealed class StageInputs(TaskRuntime task)
{
    public TaskRuntime Task { get; } = task;

    /// <summary>
    /// The bytes for one source of a stage. <see cref="TaskRuntime.Input"/> is a sequence of frames: step (4 bytes), partition of that step (4), length (4), bytes; all little-endian.
    /// </summary>
    public ReadOnlyMemory<byte> For(int step, int partition)
    {
        var rest = Task.Input;
        while (rest.Length >= HeaderLength)
        {
            var header = rest.Span;
            var length = BinaryPrimitives.ReadInt32LittleEndian(header[8..]);
            if (BinaryPrimitives.ReadInt32LittleEndian(header) == step && BinaryPrimitives.ReadInt32LittleEndian(header[4..]) == partition)
            {
                return rest.Slice(HeaderLength, length);
            }
            rest = rest[(HeaderLength + length)..];
        }
        throw new InvalidDataException($"The task for partition {Task.Context.Partition} carries no input for source {step}, partition {partition}.");
    }

    internal const int HeaderLength = 12;

    /// <summary>Appends one frame.</summary>
    internal static void Append(List<byte> frames, int step, int partition, ReadOnlySpan<byte> content)
    {
        Span<byte> header = stackalloc byte[HeaderLength];
        BinaryPrimitives.WriteInt32LittleEndian(header, step);
        BinaryPrimitives.WriteInt32LittleEndian(header[4..], partition);
        BinaryPrimitives.WriteInt32LittleEndian(header[8..], content.Length);
        frames.AddRange(header);
        frames.AddRange(content);
    }
}

/// <summary>Reads the inputs of one operator within one task.</summary>
internal readonly struct OperatorInputs(StageGraph graph, StageInputs stage, int index)
{
    public TaskRuntime Task => stage.Task;

    /// <summary>The rows of a partition of the given input.</summary>
    public IEnumerable<TInput> Open<TInput>(int input, int partition) => graph.Open<TInput>(stage, graph.At(index).Inputs[input], partition);

    /// <summary>How many inputs there are.</summary>
    public int Count => graph.At(index).Inputs.Length;

    /// <summary>The bytes that only this partition of this source needs.</summary>
    public ReadOnlyMemory<byte> SourceInput(int partition) => stage.For(index, partition);

    /// <summary>The rows of a reducer, block by block: in the order of the map tasks that wrote them, or as they arrive, which is faster.</summary>
    public IEnumerable<ShuffleRowBlock<T>> ReadShuffle<T>(ShuffleId shuffle, int reducer, bool inOrder) => stage.Task.ReadShuffle(shuffle, reducer, RowFormats.For<T>(), inOrder);
}
