using System.Buffers.Binary;

namespace Yarnish.Protocol;

/// <summary>
/// Sizes of shuffle parts in one byte each: class c stands for about 1.1^c bytes, at most 10 % off, up to 35 GB; 0 is exactly empty. Spark's
/// <c>MapStatus.compressSize</c> uses the same code.
/// </summary>
public static class SizeClasses
{
    private const double LogBase = 1.1;

    /// <summary>The class of a size in bytes.</summary>
    public static byte Of(long bytes) => bytes switch
    {
        <= 0 => 0,
        1 => 1,
        _ => (byte)Math.Min(255, (int)Math.Ceiling(Math.Log(bytes) / Math.Log(LogBase))),
    };

    /// <summary>Up to so many reducers each has its own byte; beyond, a map task tells the average and the few that are far above it, as Spark's <c>HighlyCompressedMapStatus</c>.</summary>
    public const int ExactReducers = 2000;

    /// <summary>Most parts told one by one when there are more than <see cref="ExactReducers"/>.</summary>
    private const int MostHuge = 32;

    /// <summary>Classes above the average from where a part is told by itself: five times as large.</summary>
    private const int HugeClasses = 17;

    private const int EntryBytes = 5;

    /// <summary>
    /// The bytes for <see cref="MapOutput.SizeClasses"/>: the classes as they are, or, for more than <see cref="ExactReducers"/>, at most 161 bytes.
    /// <code>
    /// u8 class of the average part that is not empty | up to 32 × ( u32 reducer | u8 class ), the largest, by reducer        (little endian)
    /// </code>
    /// </summary>
    /// <param name="classes">One class per reducer.</param>
    public static byte[] Pack(ReadOnlySpan<byte> classes)
    {
        if (classes.Length <= ExactReducers)
        {
            return classes.ToArray();
        }
        var average = AverageBelow(classes, 256);
        if (average == 0)
        {
            return [0];
        }
        // Once more without those that are far above it: a few of them must not pass for all.
        average = AverageBelow(classes, average + HugeClasses);
        var huge = new List<int>();
        for (var reducer = 0; reducer < classes.Length; reducer++)
        {
            if (classes[reducer] >= average + HugeClasses)
            {
                huge.Add(reducer);
            }
        }
        if (huge.Count > MostHuge)
        {
            var copy = classes.ToArray();
            huge = [.. huge.OrderByDescending(reducer => copy[reducer]).ThenBy(static reducer => reducer).Take(MostHuge).Order()];
        }
        var packed = new byte[1 + (EntryBytes * huge.Count)];
        packed[0] = average;
        for (var i = 0; i < huge.Count; i++)
        {
            BinaryPrimitives.WriteInt32LittleEndian(packed.AsSpan(1 + (EntryBytes * i)), huge[i]);
            packed[EntryBytes * (i + 1)] = classes[huge[i]];
        }
        return packed;
    }

    private static byte AverageBelow(ReadOnlySpan<byte> classes, int limit)
    {
        long bytes = 0;
        var parts = 0;
        foreach (var one in classes)
        {
            if (one > 0 && one < limit)
            {
                bytes += ToBytes(one);
                parts++;
            }
        }
        return parts == 0 ? (byte)0 : Math.Max((byte)1, Of(bytes / parts));
    }

    /// <summary>The class of a reducer's part out of what <see cref="Pack"/> made. For more than <see cref="ExactReducers"/> only 0 for all of them says that a part is empty.</summary>
    public static byte At(ReadOnlySpan<byte> packed, int reducer, int reducers)
    {
        if (packed.Length == reducers)
        {
            return packed[reducer];
        }
        for (var at = 1; at + EntryBytes <= packed.Length; at += EntryBytes)
        {
            if (BinaryPrimitives.ReadInt32LittleEndian(packed[at..]) == reducer)
            {
                return packed[at + EntryBytes - 1];
            }
        }
        return packed[0];
    }

    /// <summary>Whether bytes can be what <see cref="Pack"/> made for so many reducers.</summary>
    public static bool Fits(int length, int reducers) => length == reducers || (reducers > ExactReducers && length <= 1 + (EntryBytes * MostHuge) && length % EntryBytes == 1);

    /// <summary>The size, in bytes, that a class stands for (never too small by more than rounding).</summary>
    public static long ToBytes(byte sizeClass) => sizeClass == 0 ? 0 : (long)Math.Pow(LogBase, sizeClass);
}
