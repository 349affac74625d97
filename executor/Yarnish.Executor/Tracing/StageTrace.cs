using System.Diagnostics;

namespace Yarnish.Executor;

/// <summary>
/// Which task spans of one stage attempt this executor keeps: a trace with a span for each of 100,000 tasks can be opened by nobody. Kept are the first task here, failed
/// and killed ones, slow ones, and a sample of the rest. A sampled task is a live activity from its start; the others become spans at their end, when it is known how they ended.
/// Thread-safe.
/// </summary>
internal sealed class StageTrace(ActivityContext parent)
{
    // Per executor and stage attempt; a trace shall stay below some 2,000 spans.
    private const int FullySampled = 48;
    private const int MostUnusual = 96;

    private readonly Lock gate = new();
    private readonly int[] durations = new int[256];
    private long seen;
    private long measured;
    private int unusual;

    /// <summary>The stage span.</summary>
    public ActivityContext Parent { get; } = parent;

    /// <summary>Whether an attempt is traced however it ends. The more tasks have come the rarer: 48, then 48 per doubling.</summary>
    public bool SampleAtStart(long attemptId)
    {
        var number = Interlocked.Increment(ref seen);
        if (number <= FullySampled)
        {
            return true;
        }
        // The same attempt is sampled or not wherever it is asked (a stable hash, splitmix64).
        var hash = unchecked((ulong)attemptId + 0x9E3779B97F4A7C15UL);
        hash = unchecked((hash ^ (hash >> 30)) * 0xBF58476D1CE4E5B9UL);
        hash = unchecked((hash ^ (hash >> 27)) * 0x94D049BB133111EBUL);
        return (hash >> 11) % (ulong)number < FullySampled;
    }

    /// <summary>Whether an attempt that was not sampled is kept after all: it did not succeed, or it was slow.</summary>
    public bool KeepAtEnd(bool succeeded, long microseconds)
    {
        lock (gate)
        {
            var slow = succeeded && IsSlow(microseconds);
            if (succeeded)
            {
                durations[Bucket(microseconds)]++;
                measured++;
            }
            return (!succeeded || slow) && unusual++ < MostUnusual;
        }
    }

    // Slower than three times the median and than 99 of 100, and long enough that someone might care.
    private bool IsSlow(long microseconds)
    {
        if (microseconds < 20_000 || measured < 20)
        {
            return false;
        }
        var bucket = Bucket(microseconds);
        long below = 0;
        long median = -1;
        for (var i = 0; i < bucket; i++)
        {
            below += durations[i];
            if (median < 0 && below * 2 >= measured)
            {
                median = Lowest(i);
            }
        }
        return median >= 0 && microseconds > 3 * median && below * 100 >= measured * 99;
    }

    // Four buckets for each doubling.
    private static int Bucket(long microseconds)
    {
        var value = (ulong)Math.Max(microseconds, 4);
        var log = System.Numerics.BitOperations.Log2(value);
        return Math.Min(255, log * 4 + (int)((value >> (log - 2)) & 3));
    }

    private static long Lowest(int bucket) => (4L + (bucket & 3)) << Math.Max(0, bucket / 4 - 2);
}
