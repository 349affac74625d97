using System.Numerics;

namespace Yarnish.Operators;

/// <summary>
/// A sketch from which the number of different hashes it was given can be estimated: HyperLogLog (Flajolet et al. 2007) over 64-bit hashes, with the estimator of Ertl, "New cardinality estimation
/// algorithms for HyperLogLog sketches" (2017), algorithm 6, which needs neither tables of corrections nor a switch between ranges. The standard error is 1.04 / sqrt(2^precision).
/// </summary>
/// <remarks>
/// A sketch is a plain byte array, so that it is a row: the precision, then either one register per byte or, while few registers are set, sorted entries of 3 bytes (18 bits of index, 6 bits of
/// rank). <see cref="Add"/> and <see cref="Merge"/> may change their first argument and give what to go on with.
/// </remarks>
internal static class HyperLogLog
{
    private const int MinimumPrecision = 4;
    private const int MaximumPrecision = 18;
    private const int EntryBytes = 3;

    /// <summary>The least precision that keeps the standard error.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The error is not between 0.0021 and 0.4.</exception>
    public static int PrecisionFor(double relativeError) => relativeError is >= 0.0021 and <= 0.4
        ? Math.Clamp((int)Math.Ceiling(2 * Math.Log2(1.04 / relativeError)), MinimumPrecision, MaximumPrecision)
        : throw new ArgumentOutOfRangeException(nameof(relativeError), relativeError, "The relative error must be between 0.0021 and 0.4.");

    /// <summary>A sketch of nothing.</summary>
    public static byte[] Empty(int precision) => [(byte)precision];

    /// <summary>Adds one hash, all of whose bits must be even.</summary>
    public static byte[] Add(byte[] sketch, ulong hash)
    {
        var precision = sketch[0];
        var rank = Math.Min(BitOperations.LeadingZeroCount(hash << precision), 64 - precision) + 1;
        return Raise(sketch, (int)(hash >> (64 - precision)), rank);
    }

    /// <summary>The sketch of everything that either was given.</summary>
    public static byte[] Merge(byte[] left, byte[] right)
    {
        if (left[0] != right[0])
        {
            throw new ArgumentException($"Sketches of precision {left[0]} and {right[0]} cannot be merged.", nameof(right));
        }
        if (IsDense(right))
        {
            if (!IsDense(left))
            {
                (left, right) = (right, left);
            }
            else
            {
                for (var i = 1; i < left.Length; i++)
                {
                    left[i] = Math.Max(left[i], right[i]);
                }
                return left;
            }
        }
        for (var at = 1; at < right.Length; at += EntryBytes)
        {
            var entry = EntryAt(right, at);
            left = Raise(left, entry >> 6, entry & 63);
        }
        return left;
    }

    /// <summary>About how many different hashes were added.</summary>
    public static long Estimate(byte[] sketch)
    {
        var precision = sketch[0];
        var registers = 1 << precision;
        var ranks = 64 - precision;
        var counts = new int[ranks + 2];
        if (IsDense(sketch))
        {
            foreach (var register in sketch.AsSpan(1))
            {
                counts[register]++;
            }
        }
        else
        {
            for (var at = 1; at < sketch.Length; at += EntryBytes)
            {
                counts[EntryAt(sketch, at) & 63]++;
            }
            counts[0] = registers - ((sketch.Length - 1) / EntryBytes);
        }
        if (counts[0] == registers)
        {
            return 0;
        }
        var z = registers * Tau(1 - ((double)counts[ranks + 1] / registers));
        for (var rank = ranks; rank >= 1; rank--)
        {
            z = 0.5 * (z + counts[rank]);
        }
        z += registers * Sigma((double)counts[0] / registers);
        return (long)Math.Round(registers / (2 * Math.Log(2)) * registers / z);
    }

    private static bool IsDense(byte[] sketch) => sketch.Length == 1 + (1 << sketch[0]);

    /// <summary>Entries held at most before all registers are: fewer bytes than those, and few enough to be searched and moved quickly.</summary>
    private static int MaximumEntries(int precision) => Math.Min((1 << precision) / 8, 128);

    private static byte[] Raise(byte[] sketch, int index, int rank)
    {
        if (IsDense(sketch))
        {
            sketch[1 + index] = Math.Max(sketch[1 + index], (byte)rank);
            return sketch;
        }
        int low = 0, high = (sketch.Length - 1) / EntryBytes;
        var entries = high;
        while (low < high)
        {
            var middle = (low + high) >>> 1;
            if (EntryAt(sketch, 1 + (middle * EntryBytes)) >> 6 < index)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }
        var at = 1 + (low * EntryBytes);
        if (low < entries && EntryAt(sketch, at) >> 6 == index)
        {
            if ((EntryAt(sketch, at) & 63) < rank)
            {
                SetEntry(sketch, at, (index << 6) | rank);
            }
            return sketch;
        }
        if (entries < MaximumEntries(sketch[0]))
        {
            var longer = new byte[sketch.Length + EntryBytes];
            sketch.AsSpan(0, at).CopyTo(longer);
            SetEntry(longer, at, (index << 6) | rank);
            sketch.AsSpan(at).CopyTo(longer.AsSpan(at + EntryBytes));
            return longer;
        }
        var dense = new byte[1 + (1 << sketch[0])];
        dense[0] = sketch[0];
        for (var old = 1; old < sketch.Length; old += EntryBytes)
        {
            dense[1 + (EntryAt(sketch, old) >> 6)] = (byte)(EntryAt(sketch, old) & 63);
        }
        dense[1 + index] = (byte)rank;
        return dense;
    }

    private static int EntryAt(byte[] sketch, int at) => (sketch[at] << 16) | (sketch[at + 1] << 8) | sketch[at + 2];

    private static void SetEntry(byte[] sketch, int at, int entry) => (sketch[at], sketch[at + 1], sketch[at + 2]) = ((byte)(entry >> 16), (byte)(entry >> 8), (byte)entry);

    private static double Sigma(double x)
    {
        if (x == 1)
        {
            return double.PositiveInfinity;
        }
        double y = 1, z = x, before;
        do
        {
            x *= x;
            before = z;
            z += x * y;
            y += y;
        }
        while (z != before);
        return z;
    }

    private static double Tau(double x)
    {
        if (x is 0 or 1)
        {
            return 0;
        }
        double y = 1, z = 1 - x, before;
        do
        {
            x = Math.Sqrt(x);
            before = z;
            y *= 0.5;
            z -= (1 - x) * (1 - x) * y;
        }
        while (z != before);
        return z / 3;
    }
}
