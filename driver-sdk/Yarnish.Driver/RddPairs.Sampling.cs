using System.Runtime.CompilerServices;
using Yarnish.Lineage;
using Yarnish.Operators;
using Yarnish.Serialization;

namespace Yarnish;

/// <content>Rows of chosen keys by chance.</content>
public static partial class RddPairs
{
    /// <summary>A sample with another share for each key; see <see cref="Rdd{T}.Sample"/>.</summary>
    /// <param name="source">The pairs.</param>
    /// <param name="fractions">The share of each key, from 0 to 1; keys that are not named are left out.</param>
    /// <param name="seed">Another seed chooses other pairs.</param>
    /// <param name="exact">
    /// False (default) chooses each pair by itself: about the share of each key comes. True gives exactly the share of each key, rounded up: the first job that needs it runs two more, which count the
    /// keys and find out which pairs these are. Let the pairs come in a fixed order then: persist them when they do not.
    /// </param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public static Rdd<KeyValuePair<TKey, TValue>> SampleByKey<TKey, TValue>(
        this Rdd<KeyValuePair<TKey, TValue>> source, IReadOnlyDictionary<TKey, double> fractions, int seed = 0, bool exact = false, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where TKey : notnull
    {
        ArgumentNullException.ThrowIfNull(source);
        var callSite = SourceLocation.Of(file, line);
        StableHash.Require<TKey>(nameof(SampleByKey), callSite);
        var shares = Shares(fractions);
        if (!exact)
        {
            return source.Derive(new SampleByKeyOperator<TKey, TValue>(shares, seed), nameof(SampleByKey), callSite, source.Partitioner);
        }
        byte[] limits = [];
        return new Rdd<KeyValuePair<TKey, TValue>>(source.Runner, new LineageNode
        {
            Operator = new DrawByKeyOperator<TKey, TValue>(seed),
            Partitions = source.Partitions,
            Label = nameof(SampleByKey),
            CallSite = callSite,
            Parents = [source.Node],
            Unordered = source.Node.Unordered,
            Preparation = new Preparation(async cancellation => limits = Rows.ToBytes(await source.LimitsAsync(shares, seed, file, line, cancellation).ConfigureAwait(false))),
            Input = _ => limits,
        }, source.Partitioner);
    }

    /// <summary>
    /// Every pair has a random number of its own; of each key those with the smallest are chosen. This finds, for each key, the largest number that is: first the band of numbers in which it lies, by
    /// counting the pairs in each of 4096, then the number itself among those few of the band.
    /// </summary>
    private static async Task<List<KeyValuePair<TKey, ulong>>> LimitsAsync<TKey, TValue>(
        this Rdd<KeyValuePair<TKey, TValue>> source, KeyValuePair<TKey, double>[] shares, int seed, string file, int line, CancellationToken cancellation)
        where TKey : notnull
    {
        var numbers = source.Derive(new NumberPairsOperator<TKey, TValue>([.. shares.Where(static share => share.Value > 0).Select(static share => share.Key)], seed), nameof(SampleByKey), SourceLocation.Of(file, line));
        var counts = await numbers.CountBy(static pair => (pair.Key, Band: (int)(pair.Value >> NumberPairsOperator<TKey, TValue>.BandShift)), null, file, line).CollectAsync(cancellation, file, line).ConfigureAwait(false);
        var bands = counts.GroupBy(static count => count.Key.Key, StableEquality<TKey>.Default)
            .ToDictionary(static group => group.Key, static group => group.OrderBy(static count => count.Key.Band).Select(static count => (count.Key.Band, Count: count.Value)).ToArray(), StableEquality<TKey>.Default);
        var wanted = new List<(KeyValuePair<TKey, int> Band, int Rank)>();
        foreach (var (key, share) in shares)
        {
            if (share > 0 && bands.TryGetValue(key, out var ofKey))
            {
                // A product such as 0.1 × 30 that is a hair above 3 means 3.
                var left = (long)Math.Ceiling((share * ofKey.Sum(static band => band.Count)) - 1e-9);
                var at = 0;
                while (left > ofKey[at].Count)
                {
                    left -= ofKey[at++].Count;
                }
                wanted.Add((new(key, ofKey[at].Band), (int)left));
            }
        }
        var inBand = await numbers.Derive(new NumbersOfBandOperator<TKey>([.. wanted.Select(static one => one.Band)]), nameof(SampleByKey), SourceLocation.Of(file, line)).CollectAsync(cancellation, file, line).ConfigureAwait(false);
        var byKey = inBand.ToLookup(static pair => pair.Key, static pair => pair.Value, StableEquality<TKey>.Default);
        return wanted.ConvertAll(one => new KeyValuePair<TKey, ulong>(one.Band.Key, byKey[one.Band.Key].Order().ElementAt(one.Rank - 1)));
    }

    private static KeyValuePair<TKey, double>[] Shares<TKey>(IReadOnlyDictionary<TKey, double> fractions)
        where TKey : notnull
    {
        ArgumentNullException.ThrowIfNull(fractions);
        foreach (var (key, fraction) in fractions)
        {
            if (fraction is not (>= 0 and <= 1))
            {
                throw new ArgumentOutOfRangeException(nameof(fractions), fraction, $"The share of key '{key}' must be between 0 and 1.");
            }
        }
        return [.. fractions];
    }
}
