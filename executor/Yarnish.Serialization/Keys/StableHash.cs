using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.IO.Hashing;
using System.Linq.Expressions;
using System.Numerics;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;

namespace Yarnish.Serialization;

/// <summary>
/// Hashes of keys that are the same in every process, on every machine and for every run: what rows are partitioned by. Equal keys have equal hashes; 0.0 and -0.0 are equal,
/// so are all NaNs; decimals ignore trailing zeros as their equality does; null is 0.
/// </summary>
public static class StableHash
{
    private static readonly ConcurrentDictionary<Type, Func<object, ulong>> ByRuntimeType = new();

    private static readonly Dictionary<Type, Delegate> Ready = new Delegate[]
    {
        Leaf<bool>(static value => Mix(value ? 1UL : 0)),
        Leaf<byte>(static value => Mix(value)),
        Leaf<sbyte>(static value => Mix((ulong)value)),
        Leaf<char>(static value => Mix(value)),
        Leaf<short>(static value => Mix((ulong)value)),
        Leaf<ushort>(static value => Mix(value)),
        Leaf<int>(static value => Mix((ulong)value)),
        Leaf<uint>(static value => Mix(value)),
        Leaf<long>(static value => Mix((ulong)value)),
        Leaf<ulong>(static value => Mix(value)),
        Leaf<Int128>(static value => Combine(Mix((ulong)value), (ulong)(value >> 64))),
        Leaf<UInt128>(static value => Combine(Mix((ulong)value), (ulong)(value >> 64))),
        Leaf<Half>(static value => OfDouble((double)value)),
        Leaf<float>(static value => OfDouble(value)),
        Leaf<double>(OfDouble),
        Leaf<decimal>(OfDecimal),
        Leaf<string>(OfString),
        Leaf<Rune>(static value => Mix((ulong)value.Value)),
        Leaf<Guid>(OfGuid),
        Leaf<DateTime>(static value => Mix((ulong)value.Ticks)),
        Leaf<DateTimeOffset>(static value => Mix((ulong)value.UtcTicks)),
        Leaf<TimeSpan>(static value => Mix((ulong)value.Ticks)),
        Leaf<DateOnly>(static value => Mix((ulong)value.DayNumber)),
        Leaf<TimeOnly>(static value => Mix((ulong)value.Ticks)),
        Leaf<BigInteger>(static value => XxHash3.HashToUInt64(value.ToByteArray())),
        Leaf<byte[]>(static value => value is null ? 0 : XxHash3.HashToUInt64(value)),
    }.ToDictionary(function => function.GetType().GetGenericArguments()[0]);

    /// <summary>The hash of a key.</summary>
    /// <exception cref="KeyTypeException">The type has no value equality: ask <see cref="Require{T}"/> when the plan is made.</exception>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Of<T>(T value)
    {
        if (typeof(T) == typeof(int))
        {
            return Mix((ulong)(int)(object)value!);
        }

        if (typeof(T) == typeof(long))
        {
            return Mix((ulong)(long)(object)value!);
        }

        if (typeof(T) == typeof(string))
        {
            return OfString((string?)(object?)value);
        }

        return (Hasher<T>.Function ??= Create<T>())(value);
    }

    /// <summary>Refuses key types whose equality another process could not follow; called where a plan is made.</summary>
    /// <param name="operation">Who needs the key, such as <c>ReduceByKey</c>.</param>
    /// <param name="callSite">Where it was called, such as <c>Program.cs:42</c>; may be empty.</param>
    /// <exception cref="KeyTypeException">The type has no value equality; the message names the member at fault and the cure.</exception>
    public static void Require<T>(string operation, string callSite) => KeyTypes.Require(typeof(T), callSite.Length == 0 ? $"{operation}: " : $"{operation} at {callSite}: ");

    /// <summary>One hash of two, their order counts.</summary>
    public static ulong Combine(ulong first, ulong second) => Mix(BitOperations.RotateLeft(first, 23) ^ second);

    internal static bool IsLeaf(Type type) => Ready.ContainsKey(type);

    private static class Hasher<T>
    {
        public static Func<T, ulong>? Function;
    }

    private static Func<T, ulong> Leaf<T>(Func<T, ulong> function) => function;

    private static Func<T, ulong> Create<T>()
    {
        if (Ready.TryGetValue(typeof(T), out var ready))
        {
            return (Func<T, ulong>)ready;
        }

        KeyTypes.Require(typeof(T), "");
        var key = Expression.Parameter(typeof(T), "key");
        return Expression.Lambda<Func<T, ulong>>(HashOf(key), key).Compile();
    }

    private static Expression HashOf(ParameterExpression key)
    {
        var type = key.Type;
        var zero = Expression.Constant(0UL);
        switch (KeyTypes.KindOf(type))
        {
            case KeyKind.Own:
                var own = Expression.Property(Expression.Convert(key, typeof(IStableKey)), nameof(IStableKey.StableHash));
                return type.IsValueType ? own : Expression.Condition(Expression.ReferenceEqual(key, Expression.Constant(null)), zero, own);
            case KeyKind.Enum:
                return CallOf(Expression.Convert(key, Enum.GetUnderlyingType(type)));
            case KeyKind.Nullable:
                return Expression.Condition(Expression.Property(key, "HasValue"), CallOf(Expression.Property(key, "Value")), zero);
            case KeyKind.Sequence:
                return Expression.Call(Method(nameof(OfSequence)).MakeGenericMethod(KeyTypes.ElementOf(type)!), Expression.Convert(key, typeof(IEnumerable<>).MakeGenericType(KeyTypes.ElementOf(type)!)));
        }

        var hash = KeyTypes.FieldsOf(type).Aggregate(
            (Expression)Expression.Constant(Mix(0x5eed)),
            (sofar, field) => Expression.Call(Method(nameof(Combine)), sofar, CallOf(Expression.Field(key, field))));
        if (type.IsValueType)
        {
            return hash;
        }

        var other = Expression.Call(Method(nameof(OfRuntimeType)), key);
        return Expression.Condition(
            Expression.ReferenceEqual(key, Expression.Constant(null)),
            zero,
            type.IsSealed ? hash : Expression.Condition(Expression.TypeEqual(key, type), hash, other));
    }

    private static MethodCallExpression CallOf(Expression value) => Expression.Call(Method(nameof(Of)).MakeGenericMethod(value.Type), value);

    private static MethodInfo Method(string name) =>
        typeof(StableHash).GetMethods(BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic).Single(method => method.Name == name && method.ReturnType == typeof(ulong));

    // A record derived from the key type.
    private static ulong OfRuntimeType(object value) => ByRuntimeType.GetOrAdd(value.GetType(), static type =>
    {
        var key = Expression.Parameter(typeof(object));
        return Expression.Lambda<Func<object, ulong>>(CallOf(Expression.Convert(key, type)), key).Compile();
    })(value);

    private static ulong OfSequence<T>(IEnumerable<T>? items)
    {
        if (items is null or System.Collections.Immutable.ImmutableArray<T> { IsDefault: true })
        {
            return 0;
        }

        var hash = Mix(0xa88a);
        foreach (var item in items)
        {
            hash = Combine(hash, Of(item));
        }

        return hash;
    }

    private static ulong OfString(string? value) => value is null ? 0 : XxHash3.HashToUInt64(MemoryMarshal.AsBytes(value.AsSpan()));

    private static ulong OfDouble(double value) => Mix(value == 0 ? 0 : BitConverter.DoubleToUInt64Bits(double.IsNaN(value) ? double.NaN : value));

    private static ulong OfDecimal(decimal value)
    {
        Span<int> parts = stackalloc int[4];
        // Dividing by one with all its zeros takes away the trailing ones.
        decimal.GetBits(value == 0 ? 0 : value / 1.0000000000000000000000000000m, parts);
        return Combine(Mix((uint)parts[0] | ((ulong)(uint)parts[1] << 32)), (uint)parts[2] | ((ulong)(uint)parts[3] << 32));
    }

    private static ulong OfGuid(Guid value)
    {
        Span<byte> bytes = stackalloc byte[16];
        value.TryWriteBytes(bytes);
        return Combine(Mix(BinaryPrimitives.ReadUInt64LittleEndian(bytes)), BinaryPrimitives.ReadUInt64LittleEndian(bytes[8..]));
    }

    // The finalizer of splitmix64 (Steele, Lea, Flood 2014): every bit of the key moves every bit of the hash.
    private static ulong Mix(ulong value)
    {
        value += 0x9e3779b97f4a7c15;
        value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
        value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
        return value ^ (value >> 31);
    }
}
