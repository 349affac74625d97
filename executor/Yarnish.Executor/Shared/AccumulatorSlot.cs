using System.Buffers;
using Yarnish.Serialization;

namespace Yarnish.Executor;

/// <summary>What one attempt has added to one accumulator, whatever its types.</summary>
internal interface IAccumulatorSlot
{
    /// <summary>The accumulator.</summary>
    int Number { get; }

    /// <summary>The accumulator, for people.</summary>
    string Description { get; }

    /// <summary>What was added, for the report; nothing can be added afterwards.</summary>
    ReadOnlyMemory<byte> Close();
}

/// <summary>What one attempt has added to one accumulator. Safe for all threads of the attempt.</summary>
internal sealed class AccumulatorSlot<TAdded, TValue>(int number, string name, AccumulatorRule<TAdded, TValue> rule) : IAccumulatorSlot
{
    private readonly Lock gate = new();
    private TValue value = rule.Zero();
    private bool closed;

    /// <inheritdoc/>
    public int Number => number;

    /// <inheritdoc/>
    public string Description => AccumulatorText.Describe(number, name);

    /// <summary>Adds.</summary>
    public void Add(TAdded added)
    {
        lock (gate)
        {
            if (closed)
            {
                throw new InvalidOperationException($"{Description} is added to after the end of the task: what is added now could not be reported. Await what a task starts before its function returns.");
            }
            value = rule.Add(value, added);
        }
    }

    /// <inheritdoc/>
    public ReadOnlyMemory<byte> Close()
    {
        lock (gate)
        {
            closed = true;
            var output = new ArrayBufferWriter<byte>();
            ValueSerializer.Write(() =>
            {
                output.ResetWrittenCount();
                return output;
            }, value, Description, AttemptAccumulators.MaximumBytes);
            return output.WrittenMemory;
        }
    }
}
