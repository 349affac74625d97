using System.Collections;
using System.Collections.Immutable;
using System.Collections.ObjectModel;
using System.Globalization;
using System.Net;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.RegularExpressions;

namespace Yarnish.Serialization;

/// <summary>The types of the framework that may be made from bytes: values and containers. Everything else of the framework is refused on both sides.</summary>
internal static class CoreTypes
{
    /// <summary>Values written in place as text; <see cref="Text"/> has how. Numbers, bool and string are JSON's own.</summary>
    private static readonly Dictionary<Type, TextForm> Texts = new TextForm[]
    {
        new TextForm<decimal>(static value => value.ToString(CultureInfo.InvariantCulture), static text => decimal.Parse(text, NumberStyles.Number, CultureInfo.InvariantCulture)),
        new TextForm<Guid>(static value => value.ToString("D"), Guid.Parse),
        new TextForm<DateTime>(static value => string.Create(CultureInfo.InvariantCulture, $"{value.Ticks} {(int)value.Kind}"), static text => new DateTime(Ticks(text, out var kind), (DateTimeKind)kind)),
        new TextForm<DateTimeOffset>(static value => string.Create(CultureInfo.InvariantCulture, $"{value.Ticks} {value.TotalOffsetMinutes}"), static text => new DateTimeOffset(Ticks(text, out var minutes), TimeSpan.FromMinutes(minutes))),
        new TextForm<TimeSpan>(static value => value.ToString("c", CultureInfo.InvariantCulture), static text => TimeSpan.ParseExact(text, "c", CultureInfo.InvariantCulture)),
        new TextForm<DateOnly>(static value => value.ToString("O", CultureInfo.InvariantCulture), static text => DateOnly.ParseExact(text, "O", CultureInfo.InvariantCulture)),
        new TextForm<TimeOnly>(static value => value.ToString("O", CultureInfo.InvariantCulture), static text => TimeOnly.ParseExact(text, "O", CultureInfo.InvariantCulture)),
        new TextForm<BigInteger>(static value => value.ToString("R", CultureInfo.InvariantCulture), static text => BigInteger.Parse(text, CultureInfo.InvariantCulture)),
        new TextForm<Int128>(static value => value.ToString(CultureInfo.InvariantCulture), static text => Int128.Parse(text, CultureInfo.InvariantCulture)),
        new TextForm<UInt128>(static value => value.ToString(CultureInfo.InvariantCulture), static text => UInt128.Parse(text, CultureInfo.InvariantCulture)),
        new TextForm<Half>(static value => BitConverter.HalfToUInt16Bits(value).ToString(CultureInfo.InvariantCulture), static text => BitConverter.UInt16BitsToHalf(ushort.Parse(text, CultureInfo.InvariantCulture))),
        new TextForm<Rune>(static value => value.Value.ToString(CultureInfo.InvariantCulture), static text => new Rune(int.Parse(text, CultureInfo.InvariantCulture))),
        new TextForm<ulong>(static value => value.ToString(CultureInfo.InvariantCulture), static text => ulong.Parse(text, CultureInfo.InvariantCulture)),
        new TextForm<Uri>(static value => value.OriginalString, static text => new Uri(text, UriKind.RelativeOrAbsolute)),
        new TextForm<Version>(static value => value.ToString(), Version.Parse),
        new TextForm<StringBuilder>(static value => value.ToString(), static text => new StringBuilder(text)),
        new TextForm<IPAddress>(static value => value.ToString(), IPAddress.Parse),
        new TextForm<IPEndPoint>(static value => value.ToString(), IPEndPoint.Parse),
        new TextForm<BitArray>(
            static value => string.Create(value.Length, value, static (span, bits) =>
            {
                for (var index = 0; index < span.Length; index++)
                {
                    span[index] = bits[index] ? '1' : '0';
                }
            }),
            static text => new BitArray([.. text.Select(static bit => bit == '1')])),
        new TextForm<Regex>(
            static value => string.Create(CultureInfo.InvariantCulture, $"{(int)value.Options} {value.MatchTimeout.Ticks} {value}"),
            static text => text.Split(' ', 3) is [var options, var timeout, var pattern]
                ? new Regex(pattern, (RegexOptions)int.Parse(options, CultureInfo.InvariantCulture), TimeSpan.FromTicks(long.Parse(timeout, CultureInfo.InvariantCulture)))
                : throw new FormatException("no regular expression")),
    }.ToDictionary(form => form.Type);

    // Written field by field though they are the framework's: their fields have not changed since they exist, and are their meaning.
    private static readonly HashSet<Type> FieldByField =
    [
        typeof(object), typeof(Complex), typeof(Index), typeof(Range), typeof(KeyValuePair<,>), typeof(DictionaryEntry), typeof(ImmutableArray<>), typeof(ArraySegment<>), typeof(Memory<>), typeof(ReadOnlyMemory<>),
        typeof(ReadOnlyCollection<>), typeof(ReadOnlyDictionary<,>), typeof(StrongBox<>), typeof(Vector2), typeof(Vector3), typeof(Vector4),
    ];

    // Whose methods may be named as functions: no way from them to files, processes or code.
    private static readonly HashSet<Type> Callable =
    [
        typeof(bool), typeof(byte), typeof(sbyte), typeof(char), typeof(short), typeof(ushort), typeof(int), typeof(uint), typeof(long), typeof(ulong), typeof(float), typeof(double), typeof(decimal),
        typeof(string), typeof(object), typeof(Guid), typeof(DateTime), typeof(DateTimeOffset), typeof(TimeSpan), typeof(DateOnly), typeof(TimeOnly), typeof(Half), typeof(Int128), typeof(UInt128), typeof(BigInteger),
        typeof(Math), typeof(MathF), typeof(Convert), typeof(BitConverter), typeof(BitOperations), typeof(Enumerable), typeof(Regex), typeof(Uri), typeof(Version), typeof(Path), typeof(KeyValuePair), typeof(Tuple), typeof(ValueTuple),
        typeof(List<>), typeof(Dictionary<,>), typeof(HashSet<>), typeof(SortedDictionary<,>), typeof(SortedSet<>), typeof(IEquatable<>), typeof(IComparable<>), typeof(MemoryExtensions), typeof(StringComparer),
        typeof(KeyValuePair<,>), typeof(Nullable<>), typeof(Rune), typeof(Complex), typeof(WebUtility), typeof(Enum), typeof(Array), typeof(ImmutableArray<>), typeof(ImmutableArray), typeof(StringBuilder),
    ];

    /// <summary>How values of a type are written as text; null when they are not.</summary>
    public static TextForm? Text(Type type) => Texts.GetValueOrDefault(type)
        // Addresses have hidden subclasses.
        ?? (typeof(IPAddress).IsAssignableFrom(type) ? Texts[typeof(IPAddress)] : null);

    /// <summary>True for value types that JSON has itself.</summary>
    public static bool IsNumber(Type type) => type.IsPrimitive && type != typeof(nint) && type != typeof(nuint) && type != typeof(ulong);

    /// <summary>True when a framework type is made from its fields.</summary>
    public static bool ByFields(Type type) => FieldByField.Contains(type.IsGenericType ? type.GetGenericTypeDefinition() : type)
        || (type.FullName is { } name && (name.StartsWith("System.ValueTuple`", StringComparison.Ordinal) || name.StartsWith("System.Tuple`", StringComparison.Ordinal)))
        || type == typeof(ValueTuple);

    /// <summary>True when methods of a framework type may be named as functions.</summary>
    public static bool MayCall(Type type) => Callable.Contains(type.IsGenericType ? type.GetGenericTypeDefinition() : type)
        || type.FullName is { } name && (name.StartsWith("System.ValueTuple`", StringComparison.Ordinal) || name.StartsWith("System.Tuple`", StringComparison.Ordinal));

    private static long Ticks(string text, out int second)
    {
        var space = text.IndexOf(' ', StringComparison.Ordinal);
        second = int.Parse(text.AsSpan(space + 1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture);
        return long.Parse(text.AsSpan(0, space), CultureInfo.InvariantCulture);
    }
}

/// <summary>A value as text and back.</summary>
internal abstract class TextForm(Type type)
{
    public Type Type => type;

    public abstract string Write(object value);

    public abstract object Read(string text);
}

internal sealed class TextForm<T>(Func<T, string> write, Func<string, T> read) : TextForm(typeof(T))
    where T : notnull
{
    public override string Write(object value) => write((T)value);

    public override object Read(string text) => read(text);

    public T ReadValue(string text) => read(text);
}
