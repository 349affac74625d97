using System.Numerics;

namespace Yarnish.Dataflow;

/// <summary>
/// How a figure is spread, in constant memory: eight buckets to each power of two (a value is at most 13 % off), the extremes exact. Integers only, so that decisions
/// taken from it are the same everywhere.
/// </summary>
internal sealed class Histogram
{
    private const int SubBits = 3;
    private readonly int[] _buckets = new int[64 << SubBits];
    private long _minimum = long.MaxValue;
    private long _maximum;

    public int Count { get; private set; }

    public void Add(long value) => Add(value, 1);

    /// <summary>Adds the same value several times; nothing when that is not even once.</summary>
    public void Add(long value, int times)
    {
        if (times <= 0)
        {
            return;
        }
        value = Math.Max(0, value);
        _buckets[BucketOf(value)] += times;
        Count += times;
        _minimum = Math.Min(_minimum, value);
        _maximum = Math.Max(_maximum, value);
    }

    /// <summary>The value below which that many percent of the values are; 0 when there are none.</summary>
    public long Percentile(int percent)
    {
        if (Count == 0)
        {
            return 0;
        }
        var rank = ((long)Count * percent + 99) / 100;
        long seen = 0;
        for (var bucket = 0; bucket < _buckets.Length; bucket++)
        {
            seen += _buckets[bucket];
            if (seen >= rank && seen > 0)
            {
                return Math.Clamp(UpperEnd(bucket), _minimum, _maximum);
            }
        }
        return _maximum;
    }

    public Distribution ToDistribution() =>
        Count == 0 ? default : new Distribution(_minimum, Percentile(25), Percentile(50), Percentile(75), _maximum);

    private static int BucketOf(long value)
    {
        if (value < 1 << SubBits)
        {
            return (int)value;
        }
        var log = BitOperations.Log2((ulong)value);
        return ((log - SubBits + 1) << SubBits) + (int)((value >> (log - SubBits)) & ((1 << SubBits) - 1));
    }

    private static long UpperEnd(int bucket)
    {
        if (bucket < 1 << SubBits)
        {
            return bucket;
        }
        var log = (bucket >> SubBits) + SubBits - 1;
        var low = (1L << log) + ((long)(bucket & ((1 << SubBits) - 1)) << (log - SubBits));
        return low + (1L << (log - SubBits)) - 1;
    }
}
