namespace Yarnish.Operators;

/// <summary>
/// Random numbers for the rows of one partition: splitmix64 (Steele, Lea, Flood 2014) from a seed and the partition, so a task that runs again draws the same. The numbers never change with the
/// version of the runtime.
/// </summary>
internal struct RowRandom
{
    private const ulong Step = 0x9e3779b97f4a7c15;

    private ulong state;

    public RowRandom(int seed, int partition)
    {
        // Two rounds in between, so that neighbouring partitions and seeds are no shifted copies of each other.
        state = (uint)seed;
        state = NextBits() ^ (uint)partition;
        state = NextBits();
    }

    public ulong NextBits()
    {
        var bits = state += Step;
        bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9;
        bits = (bits ^ (bits >> 27)) * 0x94d049bb133111eb;
        return bits ^ (bits >> 31);
    }

    /// <summary>From 0 to 1, without 1.</summary>
    public double NextDouble() => (NextBits() >> 11) * (1.0 / (1UL << 53));

    /// <summary>From 0 to <paramref name="bound"/>, without it.</summary>
    public long NextBelow(long bound) => (long)Math.BigMul(NextBits(), (ulong)bound, out _);

    /// <summary>How often an event happens that happens <paramref name="mean"/> times on average: Knuth's method, in pieces where the exponential would vanish.</summary>
    public int NextPoisson(double mean)
    {
        var count = 0;
        while (mean > 0)
        {
            var piece = Math.Min(mean, 16);
            mean -= piece;
            var limit = Math.Exp(-piece);
            for (var product = NextDouble(); product > limit; product *= NextDouble())
            {
                count++;
            }
        }
        return count;
    }
}
