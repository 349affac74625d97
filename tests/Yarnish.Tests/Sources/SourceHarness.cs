using Microsoft.Extensions.Logging.Abstractions;
using Yarnish.Executor;
using Yarnish.Operators;
using Yarnish.Protocol;
using Yarnish.Serialization;
using Yarnish.Sources;

namespace Yarnish.Tests.Sources;

/// <summary>A source in a task of its own, without a session.</summary>
internal static class SourceHarness
{
    /// <summary>The rows of one split.</summary>
    public static IEnumerable<T> Read<T>(Operator<T> source, TaskCounters counters, params IReadOnlyList<FileSplit> splits)
    {
        var frames = new List<byte>();
        StageInputs.Append(frames, 0, 0, FileSplit.ToBytes(splits));
        var graph = new StageGraph([new StageGraph.Step { Operator = source, Inputs = [] }]);
        return graph.Open<T>(new OneTask(frames.ToArray(), counters));
    }

    private sealed class OneTask(byte[] input, TaskCounters counters) : TaskRuntime
    {
        public override TaskContext Context { get; } = new()
        {
            StageId = new StageId(0), StageAttempt = 0, Partition = 0, AttemptNumber = 0, AttemptId = new TaskAttemptId(1), ExecutorId = new ExecutorId("test"),
            Cancellation = CancellationToken.None, Logger = NullLogger.Instance,
        };

        public override ReadOnlyMemory<byte> Input => input;

        public override TaskCounters Counters => counters;

        public override ICollectionCache Cache => throw new NotSupportedException();

        public override void SetResult(ReadOnlyMemory<byte> result) => throw new NotSupportedException();

        public override IShuffleWriter OpenShuffleWriter(ShuffleId shuffle, int reducers) => throw new NotSupportedException();

        public override IEnumerable<ShuffleBlock> ReadShuffle(ShuffleId shuffle, int reducer) => throw new NotSupportedException();

        public override IEnumerable<ShuffleRowBlock<T>> ReadShuffle<T>(ShuffleId shuffle, int reducer, IRowFormat<T> format, bool inOrder) => throw new NotSupportedException();
    }
}
