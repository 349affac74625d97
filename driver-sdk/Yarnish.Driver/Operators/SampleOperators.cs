using System.Buffers.Binary;
using Yarnish.Serialization;

namespace Yarnish.Operators;

/// <summary>
/// Each row whose random number lies in a band of 0 to 1: a task that runs again chooses the same rows, and bands of one seed that do not overlap choose different ones.
/// </summary>
internal sealed class SampleOperator<T>(double from, double to, int seed) : Operator<T>
{
    private readonly double from = from;
    private readonly double to = to;
    private readonly int seed = seed;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition)
    {
        var random = new RowRandom(seed, partition);
        foreach (var row in inputs.Open<T>(0, partition))
        {
            var number = random.NextDouble();
            if (number >= from && number < to)
            {
                yield return row;
            }
        }
    }
}

/// <summary>Each row any number of times, <c>mean</c> times on average: what drawing and putting back gives.</summary>
internal sealed class ResampleOperator<T>(double mean, int seed) : Operator<T>
{
    private readonly double mean = mean;
    private readonly int seed = seed;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition)
    {
        var random = new RowRandom(seed, partition);
        foreach (var row in inputs.Open<T>(0, partition))
        {
            for (var times = random.NextPoisson(mean); times > 0; times--)
            {
                yield return row;
            }
        }
    }
}

/// <summary>Each pair with the chance of its key.</summary>
internal sealed class SampleByKeyOperator<TKey, TValue>(KeyValuePair<TKey, double>[] fractions, int seed) : Operator<KeyValuePair<TKey, TValue>>
    where TKey : notnull
{
    private readonly KeyValuePair<TKey, double>[] fractions = fractions;
    private readonly int seed = seed;

    public override IEnumerable<KeyValuePair<TKey, TValue>> Open(OperatorInputs inputs, int partition)
    {
        var chances = new Dictionary<TKey, double>(fractions, StableEquality<TKey>.Default);
        var random = new RowRandom(seed, partition);
        foreach (var pair in inputs.Open<KeyValuePair<TKey, TValue>>(0, partition))
        {
            // One number for every pair, so that the fraction of one key does not change what is chosen of another.
            var number = random.NextDouble();
            if (chances.TryGetValue(pair.Key, out var chance) && number < chance)
            {
                yield return pair;
            }
        }
    }
}

/// <summary>The random number of each pair whose key is among the given ones.</summary>
internal sealed class NumberPairsOperator<TKey, TValue>(TKey[] keys, int seed) : Operator<KeyValuePair<TKey, ulong>>
    where TKey : notnull
{
    /// <summary>The number's uppermost 12 bits are its band.</summary>
    public const int BandShift = 52;

    private readonly TKey[] keys = keys;
    private readonly int seed = seed;

    public override IEnumerable<KeyValuePair<TKey, ulong>> Open(OperatorInputs inputs, int partition)
    {
        var wanted = new HashSet<TKey>(keys, StableEquality<TKey>.Default);
        var random = new RowRandom(seed, partition);
        foreach (var pair in inputs.Open<KeyValuePair<TKey, TValue>>(0, partition))
        {
            var number = random.NextBits();
            if (wanted.Contains(pair.Key))
            {
                yield return new(pair.Key, number);
            }
        }
    }
}

/// <summary>The numbers that lie in the band of their key.</summary>
internal sealed class NumbersOfBandOperator<TKey>(KeyValuePair<TKey, int>[] bands) : Operator<KeyValuePair<TKey, ulong>>
    where TKey : notnull
{
    private readonly KeyValuePair<TKey, int>[] bands = bands;

    public override IEnumerable<KeyValuePair<TKey, ulong>> Open(OperatorInputs inputs, int partition)
    {
        var wanted = new Dictionary<TKey, int>(bands, StableEquality<TKey>.Default);
        return inputs.Open<KeyValuePair<TKey, ulong>>(0, partition).Where(pair => wanted.TryGetValue(pair.Key, out var band) && (int)(pair.Value >> NumberPairsOperator<TKey, byte>.BandShift) == band);
    }
}

/// <summary>The pairs whose random number, the same as <see cref="NumberPairsOperator{TKey, TValue}"/> gives them, is not above the limit of their key.</summary>
internal sealed class DrawByKeyOperator<TKey, TValue>(int seed) : Operator<KeyValuePair<TKey, TValue>>
    where TKey : notnull
{
    private readonly int seed = seed;

    public override IEnumerable<KeyValuePair<TKey, TValue>> Open(OperatorInputs inputs, int partition)
    {
        var limits = new Dictionary<TKey, ulong>(RowFormats.For<KeyValuePair<TKey, ulong>>().Read(inputs.SourceInput(partition)), StableEquality<TKey>.Default);
        var random = new RowRandom(seed, partition);
        foreach (var pair in inputs.Open<KeyValuePair<TKey, TValue>>(0, partition))
        {
            var number = random.NextBits();
            if (limits.TryGetValue(pair.Key, out var limit) && number <= limit)
            {
                yield return pair;
            }
        }
    }
}

/// <summary>How many rows a partition has, and how many of them to draw: what an exact sample tells each task.</summary>
internal readonly record struct Draw(long Rows, long Wanted)
{
    public byte[] ToBytes()
    {
        var bytes = new byte[2 * sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, Rows);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(sizeof(long)), Wanted);
        return bytes;
    }

    public static Draw FromBytes(ReadOnlyMemory<byte> bytes) =>
        new(BinaryPrimitives.ReadInt64LittleEndian(bytes.Span), BinaryPrimitives.ReadInt64LittleEndian(bytes.Span[sizeof(long)..]));
}

/// <summary>Exactly as many rows as a <see cref="Draw"/> wants, each set of rows as likely as any other.</summary>
internal sealed class DrawOperator<T>(bool withReplacement, int seed) : Operator<T>
{
    private readonly bool withReplacement = withReplacement;
    private readonly int seed = seed;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition)
    {
        var draw = Draw.FromBytes(inputs.SourceInput(partition));
        if (draw.Wanted == 0)
        {
            return [];
        }
        var rows = inputs.Open<T>(0, partition);
        return withReplacement ? Repeated(rows, draw, new RowRandom(seed, partition)) : Once(rows, draw, new RowRandom(seed, partition));
    }

    // Knuth's algorithm S: nothing is held, and the rows come in their order.
    private static IEnumerable<T> Once(IEnumerable<T> rows, Draw draw, RowRandom random)
    {
        var (left, wanted) = draw;
        foreach (var row in rows)
        {
            if (random.NextBelow(left--) < wanted)
            {
                yield return row;
                if (--wanted == 0)
                {
                    yield break;
                }
            }
        }
    }

    private static IEnumerable<T> Repeated(IEnumerable<T> rows, Draw draw, RowRandom random)
    {
        var positions = new long[draw.Wanted];
        for (var i = 0; i < positions.Length; i++)
        {
            positions[i] = random.NextBelow(draw.Rows);
        }
        Array.Sort(positions);
        var (at, next) = (0L, 0);
        foreach (var row in rows)
        {
            for (; next < positions.Length && positions[next] == at; next++)
            {
                yield return row;
            }
            if (next == positions.Length)
            {
                yield break;
            }
            at++;
        }
    }
}
