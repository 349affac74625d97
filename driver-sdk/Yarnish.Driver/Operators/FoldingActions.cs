using System.Buffers;
using Yarnish.Executor;
using Yarnish.Serialization;

namespace Yarnish.Operators;

/// <summary>A sketch of the partition's rows.</summary>
internal sealed class SketchAction<T>(int precision) : ResultAction<T>
{
    private readonly int precision = precision;

    public override void Run(IEnumerable<T> rows, TaskRuntime task, IBufferWriter<byte> result)
    {
        var sketch = HyperLogLog.Empty(precision);
        foreach (var row in rows)
        {
            sketch = HyperLogLog.Add(sketch, StableHash.Of(row));
        }
        result.Write(sketch);
    }
}

/// <summary>Hands each row to user code for its effects.</summary>
internal sealed class ForEachAction<T>(Action<T> action) : ResultAction<T>
{
    private readonly Action<T> action = action;

    public override void Run(IEnumerable<T> rows, TaskRuntime task, IBufferWriter<byte> result)
    {
        foreach (var row in rows)
        {
            action(row);
        }
    }
}
