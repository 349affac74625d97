using System.Collections.Immutable;
using Yarnish.Executor;
using Yarnish.Protocol;

namespace Yarnish.Shared;

/// <summary>
/// The accumulators of a session, and which partitions have been counted. Merging belongs to the driver loop; making and looking are for any thread. Unnamed ones live as long as the program, or
/// a function, refers to them; named ones as long as the session.
/// </summary>
internal sealed class AccumulatorTable
{
    private readonly Lock gate = new();
    private readonly Dictionary<int, WeakReference<IAccumulatorTotal>> totals = [];
    private readonly List<IAccumulatorTotal> named = [];
    private readonly Dictionary<ShuffleId, HashSet<int>> counted = [];
    private int next;
    private int prunedAt = 256;

    /// <summary>How many are known; some of them may be gone.</summary>
    public int Count
    {
        get
        {
            lock (gate)
            {
                return totals.Count;
            }
        }
    }

    /// <summary>Shuffles whose map tasks added something; the loop's.</summary>
    public int CountedShuffles => counted.Count;

    /// <summary>Makes one.</summary>
    public Accumulator<TAdded, TValue> Create<TAdded, TValue>(AccumulatorRule<TAdded, TValue> rule, string name)
    {
        ArgumentNullException.ThrowIfNull(rule);
        lock (gate)
        {
            var total = new AccumulatorTotal<TAdded, TValue>(next++, name ?? "", rule);
            if (totals.Count >= prunedAt)
            {
                foreach (var (number, reference) in totals.ToArray())
                {
                    if (!reference.TryGetTarget(out _))
                    {
                        totals.Remove(number);
                    }
                }
                prunedAt = 2 * totals.Count + 256;
            }
            totals.Add(total.Number, new(total));
            if (total.Name.Length > 0)
            {
                named.Add(total);
            }
            return new Accumulator<TAdded, TValue>(total);
        }
    }

    /// <summary>
    /// The first success of a map task in its stage: counts unless the same partition of the same shuffle was counted before, by an earlier job whose output was lost since.
    /// </summary>
    /// <exception cref="AccumulatorException">The user's rule threw.</exception>
    public void MergeMapTask(StageId stage, MapOutput output, ImmutableSortedDictionary<int, ReadOnlyMemory<byte>> changes)
    {
        if (!counted.TryGetValue(output.ShuffleId, out var partitions))
        {
            counted.Add(output.ShuffleId, partitions = []);
        }
        if (partitions.Add(output.MapPartition))
        {
            Merge(stage, changes);
        }
    }

    /// <summary>The one result of a partition of a job.</summary>
    /// <exception cref="AccumulatorException">The user's rule threw.</exception>
    public void Merge(StageId stage, ImmutableSortedDictionary<int, ReadOnlyMemory<byte>> changes)
    {
        foreach (var (number, change) in changes)
        {
            Find(number)?.Merge(stage, change);
        }
    }

    /// <summary>A shuffle is over: nobody computes its partitions again.</summary>
    public void Forget(ShuffleId shuffle) => counted.Remove(shuffle);

    /// <summary>How the named ones stand, in the order in which they were made.</summary>
    public IReadOnlyList<AccumulatorSnapshot> Snapshot()
    {
        IAccumulatorTotal[] shown;
        lock (gate)
        {
            shown = [.. named];
        }
        return [.. shown.Select(static total => total.Snapshot())];
    }

    private IAccumulatorTotal? Find(int number)
    {
        lock (gate)
        {
            // Null: the program holds it no more, so nobody can read it.
            return totals.TryGetValue(number, out var reference) && reference.TryGetTarget(out var total) ? total : null;
        }
    }
}
