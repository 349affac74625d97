using System.Collections;
using System.Runtime.InteropServices;
using Yarnish.Serialization;

namespace Yarnish.Operators;

/// <summary>
/// The values of each key, keys in the order in which they came first, values in the order in which they came. Counts first and then fills arrays of the right size, so that nothing is grown
/// or copied but once.
/// </summary>
internal sealed class Groups<TKey, TValue> : IEnumerable<KeyValuePair<TKey, TValue[]>>
    where TKey : notnull
{
    private readonly Dictionary<TKey, int> numbers = new(StableEquality<TKey>.Default);
    private readonly TValue[]?[] values;

    public Groups(IEnumerable<ReadOnlyMemory<KeyValuePair<TKey, TValue>>> pairs)
    {
        var counts = new List<int>();
        var read = new List<(int[] Groups, TValue[] Values)>();
        foreach (var block in pairs)
        {
            var rows = block.Span;
            var (groups, kept) = (new int[rows.Length], new TValue[rows.Length]);
            for (var i = 0; i < rows.Length; i++)
            {
                ref var number = ref CollectionsMarshal.GetValueRefOrAddDefault(numbers, rows[i].Key, out var exists);
                if (!exists)
                {
                    number = counts.Count;
                    counts.Add(0);
                }
                CollectionsMarshal.AsSpan(counts)[number]++;
                groups[i] = number;
                kept[i] = rows[i].Value;
            }
            read.Add((groups, kept));
        }
        values = new TValue[]?[counts.Count];
        for (var i = 0; i < values.Length; i++)
        {
            values[i] = new TValue[counts[i]];
            counts[i] = 0;
        }
        var filled = CollectionsMarshal.AsSpan(counts);
        for (var block = 0; block < read.Count; block++)
        {
            var (groups, kept) = read[block];
            for (var i = 0; i < groups.Length; i++)
            {
                values[groups[i]]![filled[groups[i]]++] = kept[i];
            }
            read[block] = default;
        }
    }

    /// <summary>Takes a key's values out, so that what stays are the keys that nobody asked for; empty when there are none.</summary>
    public TValue[] Take(TKey key)
    {
        if (!numbers.TryGetValue(key, out var number) || values[number] is not { } taken)
        {
            return [];
        }
        values[number] = null;
        return taken;
    }

    /// <summary>Each key with its values, but those taken out.</summary>
    public IEnumerator<KeyValuePair<TKey, TValue[]>> GetEnumerator()
    {
        foreach (var (key, number) in numbers)
        {
            if (values[number] is { } left)
            {
                // Not held any longer than whoever reads them holds them.
                values[number] = null;
                yield return new(key, left);
            }
        }
    }

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}

/// <summary>The side of a join that is held: values by key, those of a key in the order in which they came. No object per key.</summary>
internal sealed class JoinTable<TKey, TValue>
    where TKey : notnull
{
    // Of each key its first and last entry; entries of a key are chained.
    private readonly Dictionary<TKey, (int First, int Last)> chains = new(StableEquality<TKey>.Default);
    private TValue[] values = [];
    private int[] next = [];

    public JoinTable(IEnumerable<ReadOnlyMemory<KeyValuePair<TKey, TValue>>> pairs)
    {
        var count = 0;
        foreach (var block in pairs)
        {
            var rows = block.Span;
            if (count + rows.Length > values.Length)
            {
                var capacity = (int)Math.Min(Array.MaxLength, Math.Max(2L * values.Length, (long)count + rows.Length));
                Array.Resize(ref values, capacity);
                Array.Resize(ref next, capacity);
            }
            foreach (ref readonly var pair in rows)
            {
                values[count] = pair.Value;
                next[count] = -1;
                ref var chain = ref CollectionsMarshal.GetValueRefOrAddDefault(chains, pair.Key, out var exists);
                if (exists)
                {
                    next[chain.Last] = count;
                    chain.Last = count;
                }
                else
                {
                    chain = (count, count);
                }
                count++;
            }
        }
    }

    public bool IsEmpty => chains.Count == 0;

    public TValue this[int entry] => values[entry];

    /// <summary>The first entry of a key; negative when there is none.</summary>
    public int Find(TKey key) => chains.TryGetValue(key, out var chain) ? chain.First : -1;

    /// <summary>The next entry of the same key; negative when there is none.</summary>
    public int Next(int entry) => next[entry];
}
