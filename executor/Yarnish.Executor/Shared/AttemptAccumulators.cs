using System.Collections.Immutable;

namespace Yarnish.Executor;

/// <summary>What one attempt adds to accumulators. They are few: found by going through an array that is replaced when it grows. Safe for all threads of the attempt.</summary>
internal sealed class AttemptAccumulators
{
    /// <summary>Most bytes that one task may report for all accumulators together: 1 MiB. They ride in its report.</summary>
    public const int MaximumBytes = 1024 * 1024;

    private readonly Lock gate = new();
    private volatile IAccumulatorSlot[] slots = [];
    private bool closed;

    /// <summary>What the attempt has added to an accumulator, made when it is the first.</summary>
    public TSlot Get<TSlot>(int number, Func<TSlot> create)
        where TSlot : class, IAccumulatorSlot => Find(number) is { } found ? (TSlot)found : Add(number, create);

    /// <summary>What the attempt added, for its report; nothing can be added afterwards. Null when it used no accumulator.</summary>
    /// <exception cref="AccumulatorException">It is too much.</exception>
    public ImmutableSortedDictionary<int, ReadOnlyMemory<byte>>? Close()
    {
        lock (gate)
        {
            closed = true;
        }
        if (slots.Length == 0)
        {
            return null;
        }
        var changes = ImmutableSortedDictionary.CreateBuilder<int, ReadOnlyMemory<byte>>();
        var bytes = 0L;
        foreach (var slot in slots)
        {
            var change = slot.Close();
            changes[slot.Number] = change;
            bytes += change.Length;
            if (bytes > MaximumBytes)
            {
                throw new AccumulatorException(
                    $"{slot.Description} and {slots.Length - 1} others of this task hold {bytes:N0} bytes, and a task may report {MaximumBytes:N0} at most. Return what is large as rows, or let the accumulator keep less.");
            }
        }
        return changes.ToImmutable();
    }

    private IAccumulatorSlot? Find(int number)
    {
        foreach (var slot in slots)
        {
            if (slot.Number == number)
            {
                return slot;
            }
        }
        return null;
    }

    private TSlot Add<TSlot>(int number, Func<TSlot> create)
        where TSlot : class, IAccumulatorSlot
    {
        lock (gate)
        {
            if (Find(number) is { } found)
            {
                return (TSlot)found;
            }
            if (closed)
            {
                throw new InvalidOperationException("An accumulator is added to after the end of the task: what is added now could not be reported. Await what a task starts before its function returns.");
            }
            var slot = create();
            slots = [.. slots, slot];
            return slot;
        }
    }
}
