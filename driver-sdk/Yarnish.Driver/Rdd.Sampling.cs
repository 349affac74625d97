using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using Yarnish.Lineage;
using Yarnish.Operators;

namespace Yarnish;

/// <content>Rows by chance. A seed always chooses the same rows as long as the input comes in the same order: persist what has no fixed order first.</content>
public partial class Rdd<T>
{
    /// <summary>About the given share of the rows, each chosen by itself: the same ones each time for the same seed and partitions.</summary>
    /// <param name="fraction">From 0 to 1; how often a row comes on average, which may be more than 1, with replacement.</param>
    /// <param name="seed">Another seed chooses other rows.</param>
    /// <param name="withReplacement">True lets a row come several times, as when each is put back before the next is drawn. Default false.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public Rdd<T> Sample(double fraction, int seed = 0, bool withReplacement = false, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        if (!(fraction >= 0 && (withReplacement ? double.IsFinite(fraction) : fraction <= 1)))
        {
            throw new ArgumentOutOfRangeException(nameof(fraction), fraction, withReplacement ? "The average number of times must be 0 or more." : "The share must be between 0 and 1.");
        }
        return Derive<T>(withReplacement ? new ResampleOperator<T>(fraction, seed) : new SampleOperator<T>(0, fraction, seed), nameof(Sample), SourceLocation.Of(file, line), Partitioner);
    }

    /// <summary>Deals the rows out by chance into several collections that have no row in common and together have all, such as for training and testing.</summary>
    /// <remarks>Each part computes this collection again: persist it when that is costly, and when its rows have no fixed order, for else a row could come in two parts or in none.</remarks>
    /// <param name="weights">How large the parts are to each other; <c>[8, 2]</c> gives about 80 % and 20 %. Each 0 or more, their sum above 0.</param>
    /// <param name="seed">Another seed deals otherwise.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public Rdd<T>[] RandomSplit(IReadOnlyList<double> weights, int seed = 0, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        ArgumentNullException.ThrowIfNull(weights);
        var sum = weights.Sum();
        if (!(sum > 0 && double.IsFinite(sum)) || weights.Any(static weight => weight < 0))
        {
            throw new ArgumentException("RandomSplit: every weight must be 0 or more, and their sum above 0.", nameof(weights));
        }
        var parts = new Rdd<T>[weights.Count];
        var from = 0.0;
        var passed = 0.0;
        for (var i = 0; i < parts.Length; i++)
        {
            passed += weights[i];
            var to = i == parts.Length - 1 ? 1 : passed / sum;
            parts[i] = Derive(new SampleOperator<T>(from, to, seed), nameof(RandomSplit), SourceLocation.Of(file, line), Partitioner);
            from = to;
        }
        return parts;
    }

    /// <summary>
    /// Exactly so many rows by chance, in random order; all rows when there are not so many (without replacement). Two jobs: one counts the partitions, one draws from each, so that no more than the
    /// sample travels.
    /// </summary>
    /// <param name="count">How many; 0 or more.</param>
    /// <param name="seed">Another seed chooses other rows.</param>
    /// <param name="withReplacement">True lets a row come several times. Default false.</param>
    /// <param name="cancellation">Cancels the jobs.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public async Task<T[]> TakeSampleAsync(
        int count, int seed = 0, bool withReplacement = false, CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        if (count == 0)
        {
            return [];
        }
        var name = Name(file, line);
        var sizes = new long[Partitions];
        await RunAsync(new CountAction<T>(), $"{name} (counting)", null, (partition, result) => sizes[partition] = BinaryPrimitives.ReadInt64LittleEndian(result.Span), cancellation).ConfigureAwait(false);
        var random = new RowRandom(seed, -1);
        var draws = Deal(sizes, count, withReplacement, ref random);
        var drawn = new Rdd<T>(Runner, new LineageNode
        {
            Operator = new DrawOperator<T>(withReplacement, seed),
            Partitions = Partitions,
            Label = nameof(TakeSampleAsync),
            CallSite = SourceLocation.Of(file, line),
            Parents = [Node],
            Input = partition => new Draw(sizes[partition], draws[partition]).ToBytes(),
        });
        var sample = Decode(await drawn.PartsAsync(new CollectAction<T>(), name, [.. Enumerable.Range(0, Partitions).Where(partition => draws[partition] > 0)], cancellation).ConfigureAwait(false));
        for (var i = sample.Length - 1; i > 0; i--)
        {
            var other = random.NextBelow(i + 1);
            (sample[i], sample[other]) = (sample[other], sample[i]);
        }
        return sample;
    }

    /// <summary>How many rows each partition gives: every draw takes any row that is left (or any row at all) with the same chance.</summary>
    private static long[] Deal(long[] sizes, int count, bool withReplacement, ref RowRandom random)
    {
        // Sums of a binary tree over the partitions (Fenwick 1994), so that a draw costs a few steps even among a hundred thousand of them.
        var tree = new long[sizes.Length + 1];
        var left = 0L;
        for (var i = 1; i <= sizes.Length; i++)
        {
            left += sizes[i - 1];
            tree[i] += sizes[i - 1];
            if (i + (i & -i) is var above && above <= sizes.Length)
            {
                tree[above] += tree[i];
            }
        }
        var draws = new long[sizes.Length];
        for (; count > 0 && left > 0; count--)
        {
            var row = random.NextBelow(left);
            var at = 0;
            for (var step = (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)tree.Length); step > 0; step >>= 1)
            {
                if (at + step <= sizes.Length && tree[at + step] <= row)
                {
                    at += step;
                    row -= tree[at];
                }
            }
            draws[at]++;
            if (!withReplacement)
            {
                left--;
                for (var i = at + 1; i <= sizes.Length; i += i & -i)
                {
                    tree[i]--;
                }
            }
        }
        return draws;
    }
}
