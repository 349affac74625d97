using System.Collections.Concurrent;
using System.Globalization;
using System.IO.Hashing;
using System.Text;
using Newtonsoft.Json;

namespace Yarnish.Serialization;

/// <summary>The code of a stage, ready to be stored as a block.</summary>
/// <param name="Bytes">Two lines of JSON: the code it names, and the objects.</param>
/// <param name="Warning">Set when it is larger than <see cref="ClosureSerializer.WarnBytes"/>: a sentence for the log, with the captured variables that weigh most.</param>
public readonly record struct SerializedCode(ReadOnlyMemory<byte> Bytes, string? Warning);

/// <summary>
/// Turns objects that hold functions into bytes and back: by fields, private and inherited ones too, references kept. The code itself does not travel with them: types and methods are named by
/// the file they come from, and a process that has another file refuses them. Captured variables that no function reads are left behind.
/// </summary>
public static class ClosureSerializer
{
    /// <summary>From this size on a warning is given: 100 KiB.</summary>
    public const int WarnBytes = 100 * 1024;

    /// <summary>More is refused: 8 MiB, what a block of code may have.</summary>
    public const int MaxBytes = 8 * 1024 * 1024;

    // Tables of code by their hash: stages of one application share few. Emptied when full; a stage that comes again is resolved again.
    private const int MaxTables = 512;

    private static readonly ConcurrentDictionary<UInt128, ResolvedCode> Tables = new();

    /// <summary>Serializes a graph.</summary>
    /// <param name="graph">Where it begins, such as a stage program.</param>
    /// <param name="subject">What messages begin with, such as <c>Stage 3 (Where at Program.cs:42)</c>.</param>
    /// <exception cref="ClosureException">Something in it cannot travel, or it is larger than <see cref="MaxBytes"/>.</exception>
    public static SerializedCode Serialize(object graph, string subject)
    {
        ArgumentNullException.ThrowIfNull(graph);
        var verb = graph is Delegate ? "captures" : "holds";
        const string Advice = "Use a Broadcast for large values (session.Broadcast(value), then its Value inside the function), or read them inside MapPartitions.";
        var (bytes, size, heaviest) = Write(graph, subject, MaxBytes, GraphScan.MaxObjects, Advice);
        if (bytes is null)
        {
            throw new ClosureException($"{subject} {verb} {size}, and a function may carry {GraphScan.Bytes(MaxBytes)} at most.{heaviest} {Advice}");
        }

        return new(bytes, bytes.Length > WarnBytes ? $"{subject} {verb} {size}, which every executor fetches and every task reads.{heaviest} {Advice}" : null);
    }

    /// <summary>Serializes a value with bounds of its own. It may hold functions.</summary>
    /// <exception cref="ClosureException">Something in it cannot travel, or it is too large.</exception>
    internal static ReadOnlyMemory<byte> SerializeValue(object value, string subject, int maximumBytes, int maximumObjects)
    {
        const string Advice = "Make it of types that can be rows (records, arrays, lists, dictionaries with the default comparer), which have no such bound, or let tasks read it from a file.";
        var (bytes, size, _) = Write(value, subject, maximumBytes, maximumObjects, Advice);
        return bytes ?? throw new ClosureException($"{subject} holds {size}, and a value that is no row may have {GraphScan.Bytes(maximumBytes)} at most. {Advice}");
    }

    // Null bytes: too large.
    private static (byte[]? Bytes, string Size, string Heaviest) Write(object graph, string subject, int maximumBytes, int maximumObjects, string advice)
    {
        var scan = GraphScan.Of(graph, subject, maximumObjects, advice);
        var writer = new GraphWriter(scan, maximumBytes);
        var content = writer.Write();
        var text = new StringBuilder();
        using (var header = new JsonTextWriter(new StringWriter(text, CultureInfo.InvariantCulture)) { StringEscapeHandling = StringEscapeHandling.EscapeNonAscii })
        {
            writer.Code.Write(header);
        }

        text.Append('\n');
        var size = text.Length + content.Length;
        var heaviest = size > WarnBytes ? scan.Heaviest(writer) : "";
        heaviest = heaviest.Length == 0 ? "" : $" The largest: {heaviest}.";
        if (writer.IsTooLarge || size > maximumBytes)
        {
            return (null, $"{(writer.IsTooLarge ? "more than " : "")}{GraphScan.Bytes(size)}", heaviest);
        }

        var bytes = new byte[size];
        Copy(content, bytes, Copy(text, bytes, 0));
        return (bytes, GraphScan.Bytes(size), heaviest);
    }

    /// <summary>Makes the graph again, all objects new: called once for each task, so that tasks share no captured object. Safe for all threads.</summary>
    /// <exception cref="CodeIdentityException">The bytes were made by other code than this process has, or are damaged. Nothing of them was run.</exception>
    public static T Deserialize<T>(ReadOnlyMemory<byte> bytes)
    {
        var newline = bytes.Span.IndexOf((byte)'\n');
        if (newline < 0)
        {
            throw new CodeIdentityException("The code of the stage has no table of types: the block is damaged.");
        }

        object graph;
        try
        {
            var code = TableOf(bytes.Span[..newline]);
            // MaxDepth: structs within structs only, but their depth is the user's.
            using var json = new JsonTextReader(new AsciiReader(bytes[(newline + 1)..]))
            {
                MaxDepth = null,
                DateParseHandling = DateParseHandling.None,
                FloatParseHandling = FloatParseHandling.Double,
                ArrayPool = CharPool.Instance,
            };
            graph = new GraphReader(json, code, bytes.Length).ReadGraph();
        }
        catch (Exception error) when (error is JsonException or FormatException or ArgumentException or InvalidCastException or IndexOutOfRangeException or OverflowException or NullReferenceException
            or InvalidOperationException or MemberAccessException or TypeLoadException or NotSupportedException)
        {
            throw new CodeIdentityException($"The code of the stage cannot be read, the block is damaged: {error.Message}", error);
        }

        return graph is T result ? result : throw new CodeIdentityException($"The code of the stage is a {TypeNames.Of(graph.GetType())} where a {TypeNames.Of(typeof(T))} was expected.");
    }

    private static ResolvedCode TableOf(ReadOnlySpan<byte> header)
    {
        var hash = XxHash128.HashToUInt128(header);
        if (Tables.TryGetValue(hash, out var known))
        {
            return known;
        }

        var resolved = ResolvedCode.Read(Encoding.Latin1.GetString(header));
        if (Tables.Count >= MaxTables)
        {
            Tables.Clear();
        }

        return Tables.GetOrAdd(hash, resolved);
    }

    private static int Copy(StringBuilder text, byte[] bytes, int at)
    {
        foreach (var chunk in text.GetChunks())
        {
            at += Encoding.Latin1.GetBytes(chunk.Span, bytes.AsSpan(at));
        }

        return at;
    }
}

/// <summary>Reads ASCII bytes as text without a copy of the whole.</summary>
internal sealed class AsciiReader(ReadOnlyMemory<byte> bytes) : TextReader
{
    private int position;

    public override int Peek() => position < bytes.Length ? bytes.Span[position] : -1;

    public override int Read() => position < bytes.Length ? bytes.Span[position++] : -1;

    public override int Read(char[] buffer, int index, int count) => Read(buffer.AsSpan(index, count));

    public override int Read(Span<char> buffer)
    {
        var count = Math.Min(buffer.Length, bytes.Length - position);
        Encoding.Latin1.GetChars(bytes.Span.Slice(position, count), buffer);
        position += count;
        return count;
    }
}

internal sealed class CharPool : IArrayPool<char>
{
    public static readonly CharPool Instance = new();

    public char[] Rent(int minimumLength) => System.Buffers.ArrayPool<char>.Shared.Rent(minimumLength);

    public void Return(char[]? array)
    {
        if (array is not null)
        {
            System.Buffers.ArrayPool<char>.Shared.Return(array);
        }
    }
}
