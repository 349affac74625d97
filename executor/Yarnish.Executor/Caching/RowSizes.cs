using System.Buffers;
using System.Runtime.CompilerServices;
using Yarnish.Serialization;

namespace Yarnish.Executor;

/// <summary>
/// Estimates the memory of rows held as objects: exact for values without references and for strings; else the serialized size of one row in 32 (of each of the first
/// 64), doubled, plus an object's overhead. An estimate bounds the store, nothing depends on it being right.
/// </summary>
internal sealed class RowSizes<T>(IRowFormat<T> rows)
{
    private const int ReferenceBytes = 8;
    private const int ObjectOverhead = 24;

    private readonly ArrayBufferWriter<byte> scratch = new();
    private long count;
    private long latest;

    /// <summary>Estimated bytes so far.</summary>
    public long Total { get; private set; }

    /// <summary>Counts a row.</summary>
    public void Add(T row)
    {
        if (!RuntimeHelpers.IsReferenceOrContainsReferences<T>())
        {
            Total += Unsafe.SizeOf<T>();
            return;
        }
        if (typeof(T) == typeof(string))
        {
            Total += ReferenceBytes + ObjectOverhead + 2L * (Unsafe.As<T, string?>(ref row)?.Length ?? 0);
            return;
        }
        if (count < 64 || count % 32 == 0)
        {
            scratch.ResetWrittenCount();
            rows.Write(scratch, row);
            latest = ReferenceBytes + ObjectOverhead + 2L * scratch.WrittenCount;
        }
        count++;
        Total += latest;
    }
}
