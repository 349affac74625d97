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

    /// <summary>The size, in bytes, that a class stands for (never too small by more than rounding).</summary>
    public static long ToBytes(byte sizeClass) => sizeClass == 0 ? 0 : (long)Math.Pow(LogBase, sizeClass);
}
