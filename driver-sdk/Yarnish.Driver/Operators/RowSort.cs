namespace Yarnish.Operators;

/// <summary>
/// Sorts rows by an order, stable. Keys are computed once for each row. Where the first key has an order-preserving number of 64 bits, those are sorted (the runtime does that without a call per
/// comparison), and only what they leave equal is compared.
/// </summary>
internal static class RowSort
{
    /// <summary>The indexes of the rows, sorted.</summary>
    public static int[] Sort<T>(T[] rows, RowOrder<T> order)
    {
        var sorted = new int[rows.Length];
        for (var i = 0; i < sorted.Length; i++)
        {
            sorted[i] = i;
        }
        var keys = order.KeysOf(rows);
        // Equal rows keep the order of the input.
        Comparison<int> compare = (left, right) => keys.Compare(left, right) is var result and not 0 ? result : left.CompareTo(right);
        var numbers = new ulong[rows.Length];
        if (!keys.TryGetNumbers(numbers, out var isAll))
        {
            sorted.AsSpan().Sort(compare);
            return sorted;
        }
        Array.Sort(numbers, sorted);
        for (var first = 0; first < numbers.Length;)
        {
            var end = first + 1;
            while (end < numbers.Length && numbers[end] == numbers[first])
            {
                end++;
            }
            if (end - first > 1)
            {
                var equal = sorted.AsSpan(first, end - first);
                if (isAll)
                {
                    equal.Sort();
                }
                else
                {
                    equal.Sort(compare);
                }
            }
            first = end;
        }
        return sorted;
    }
}

/// <summary>The keys of rows that are sorted, by the rows' indexes.</summary>
internal abstract class SortKeys
{
    public abstract int Compare(int left, int right);

    /// <summary>
    /// A number for each row such that a smaller number means a row before. False when there are none.
    /// </summary>
    /// <param name="numbers">Filled.</param>
    /// <param name="isAll">True when rows of equal numbers are equal.</param>
    public abstract bool TryGetNumbers(Span<ulong> numbers, out bool isAll);
}

/// <summary>Keys of one type.</summary>
internal sealed class SortKeys<TKey>(TKey[] keys, IComparer<TKey>? comparer, bool descending) : SortKeys
{
    public override int Compare(int left, int right)
    {
        var order = DefaultOrder<TKey>.Compare(comparer, keys[left], keys[right]);
        return descending ? -Math.Sign(order) : order;
    }

    public override bool TryGetNumbers(Span<ulong> numbers, out bool isAll)
    {
        isAll = typeof(TKey) != typeof(string);
        if (comparer is not null)
        {
            return false;
        }
        var known = Fill<int>(numbers, static key => (uint)key ^ 0x8000_0000u)
            || Fill<long>(numbers, static key => (ulong)key ^ 0x8000_0000_0000_0000)
            || Fill<string?>(numbers, static key => OfString(key))
            || Fill<double>(numbers, static key => OfDouble(key))
            || Fill<float>(numbers, static key => OfDouble(key))
            || Fill<byte>(numbers, static key => key)
            || Fill<short>(numbers, static key => (ulong)(key + 0x8000))
            || Fill<char>(numbers, static key => key)
            || Fill<uint>(numbers, static key => key)
            || Fill<ulong>(numbers, static key => key)
            || Fill<DateTime>(numbers, static key => (ulong)key.Ticks)
            || Fill<DateTimeOffset>(numbers, static key => (ulong)key.UtcTicks)
            || Fill<TimeSpan>(numbers, static key => (ulong)key.Ticks ^ 0x8000_0000_0000_0000)
            || Fill<DateOnly>(numbers, static key => (ulong)key.DayNumber);
        if (known && descending)
        {
            for (var i = 0; i < numbers.Length; i++)
            {
                numbers[i] = ~numbers[i];
            }
        }
        return known;
    }

    private bool Fill<TKnown>(Span<ulong> numbers, Func<TKnown, ulong> number)
    {
        if (typeof(TKey) != typeof(TKnown))
        {
            return false;
        }
        var known = (TKnown[])(object)keys;
        for (var i = 0; i < known.Length; i++)
        {
            numbers[i] = number(known[i]);
        }
        return true;
    }

    // The first eight chars, a byte each: chars from 255 on are alike, and nothing behind such a one counts.
    private static ulong OfString(string? text)
    {
        var number = 0UL;
        for (var i = 0; i < 8; i++)
        {
            number <<= 8;
            if (i < text?.Length)
            {
                var next = text[i];
                if (next >= byte.MaxValue)
                {
                    return (number | byte.MaxValue) << (8 * (7 - i));
                }
                number |= next;
            }
        }
        return number;
    }

    // NaN before all others and -0.0 equal to 0.0, as double.CompareTo has it.
    private static ulong OfDouble(double value)
    {
        if (double.IsNaN(value))
        {
            return 0;
        }
        var bits = BitConverter.DoubleToUInt64Bits(value == 0 ? 0 : value);
        return bits >> 63 == 0 ? bits | 0x8000_0000_0000_0000 : ~bits;
    }
}

/// <summary>Two keys after each other.</summary>
internal sealed class ThenSortKeys(SortKeys first, SortKeys then) : SortKeys
{
    public override int Compare(int left, int right) => first.Compare(left, right) is var order and not 0 ? order : then.Compare(left, right);

    public override bool TryGetNumbers(Span<ulong> numbers, out bool isAll)
    {
        isAll = false;
        return first.TryGetNumbers(numbers, out _);
    }
}
