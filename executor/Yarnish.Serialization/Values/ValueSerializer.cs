using System.Buffers;

namespace Yarnish.Serialization;

/// <summary>
/// Whole values as bytes: broadcasts, and what tasks add to accumulators. A value that can be a row is written as one, which is the fast way; any other one as a graph of objects, as captured
/// variables are. The first byte tells which.
/// </summary>
public static class ValueSerializer
{
    /// <summary>Most bytes of a value that is no row: its text is held in memory while it is written.</summary>
    public const int MaximumGraphBytes = 256 * 1024 * 1024;

    private const int MaximumGraphObjects = 5_000_000;
    private const byte Nothing = 0;
    private const byte Row = 1;
    private const byte Graph = 2;

    /// <summary>Writes a value.</summary>
    /// <param name="open">Gives what to write to; called again when a first try has to be thrown away.</param>
    /// <param name="value">The value.</param>
    /// <param name="subject">What messages begin with, such as <c>Broadcast at Program.cs:12</c>.</param>
    /// <param name="maximumBytes">A graph with more is refused; for rows the output is the one to refuse.</param>
    /// <exception cref="ClosureException">Something in it cannot travel; the message has the path to it.</exception>
    public static void Write<T>(Func<IBufferWriter<byte>> open, T value, string subject, long maximumBytes)
    {
        ArgumentNullException.ThrowIfNull(open);
        var output = open();
        if (value is null)
        {
            output.Write([Nothing]);
            return;
        }
        if (FormatOf<T>() is { } rows)
        {
            try
            {
                output.Write([Row]);
                rows.Write(output, value);
                return;
            }
            catch (Exception error) when (error is RowTypeException or InvalidOperationException or NotSupportedException or MessagePack.MessagePackSerializationException)
            {
                // The type can be a row, this value cannot: a comparer of its own, a cycle, a derived class inside. The graph carries it, or says better why not.
                output = open();
            }
        }
        var bytes = ClosureSerializer.SerializeValue(value, subject, (int)Math.Min(maximumBytes, MaximumGraphBytes), MaximumGraphObjects);
        output.Write([Graph]);
        output.Write(bytes.Span);
    }

    /// <summary>Reads a value; all its objects are new.</summary>
    /// <exception cref="CorruptRowException">The bytes are damaged.</exception>
    /// <exception cref="CodeIdentityException">The bytes are damaged, or were written by another build of the program.</exception>
    public static T Read<T>(ReadOnlyMemory<byte> bytes) => bytes.IsEmpty
        ? throw new CodeIdentityException("A value without a single byte: it is damaged.")
        : bytes.Span[0] switch
        {
            Nothing => default!,
            Row when FormatOf<T>() is { } rows => rows.Read(bytes[1..]).First(),
            Graph => ClosureSerializer.Deserialize<T>(bytes[1..]),
            var kind => throw new CodeIdentityException($"A value begins with {kind}, which no version of this program writes: it is damaged."),
        };

    private static IRowFormat<T>? FormatOf<T>()
    {
        try
        {
            return RowFormats.For<T>();
        }
        catch (RowTypeException)
        {
            return null;
        }
    }
}
