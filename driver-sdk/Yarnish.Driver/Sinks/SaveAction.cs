using System.Buffers;
using Yarnish.Executor;
using Yarnish.Operators;
using Yarnish.Serialization;

namespace Yarnish.Sinks;

/// <summary>Writes a partition to a sink; the result is its receipt.</summary>
internal sealed class SaveAction<T>(Sink<T> sink) : ResultAction<T>
{
    private readonly Sink<T> sink = sink;

    public override void Run(IEnumerable<T> rows, TaskRuntime task, IBufferWriter<byte> result)
    {
        // The slot's thread is the task's own; nothing else runs on it, so waiting blocks nobody.
        var receipt = sink.WriteAsync(Counted(rows, task.Counters), task.Context).GetAwaiter().GetResult();
        task.Counters.OutputBytes += receipt.Bytes;
        RowFormats.For<SinkReceipt>().Write(result, receipt);
    }

    private static IEnumerable<T> Counted(IEnumerable<T> rows, TaskCounters counters)
    {
        foreach (var row in rows)
        {
            counters.OutputRows++;
            yield return row;
        }
    }
}
