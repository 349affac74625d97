using System.Numerics;
using System.Reflection;
using System.Runtime.CompilerServices;
using MessagePack;
using MessagePack.Formatters;
using MessagePack.ImmutableCollection;
using MessagePack.Resolvers;

namespace Yarnish.Serialization;

/// <summary>Finds the MessagePack formatter of a type that <see cref="RowTypes"/> accepted: exact ones for values, the package's for collections, by fields for the rest.</summary>
internal sealed class RowFormatters : IFormatterResolver
{
    /// <summary>What all rows are written with.</summary>
    public static readonly MessagePackSerializerOptions Options = MessagePackSerializerOptions.Standard.WithResolver(new RowFormatters());

    private static readonly Dictionary<Type, object> Exact = new()
    {
        [typeof(string)] = new ExactStringFormatter(),
        [typeof(decimal)] = NativeDecimalFormatter.Instance,
        [typeof(Guid)] = NativeGuidFormatter.Instance,
        [typeof(DateTime)] = new ExactDateTimeFormatter(),
        [typeof(BigInteger)] = new ExactBigIntegerFormatter(),
        [typeof(DateTimeOffset)] = new ExactDateTimeOffsetFormatter(),
    };

    private RowFormatters()
    {
    }

    /// <inheritdoc/>
    public IMessagePackFormatter<T> GetFormatter<T>() => For<T>();

    /// <summary>The formatter of an accepted type.</summary>
    public static IMessagePackFormatter<T> For<T>() => Cache<T>.Formatter ??= Create<T>();

    private static class Cache<T>
    {
        public static IMessagePackFormatter<T>? Formatter;
    }

    private static IMessagePackFormatter<T> Create<T>()
    {
        var type = typeof(T);
        if (Exact.TryGetValue(type, out var exact))
        {
            return (IMessagePackFormatter<T>)exact;
        }

        if (RowTypes.IsByFields(type))
        {
            return new FieldFormatter<T>();
        }

        if (type.IsEnum)
        {
            return (IMessagePackFormatter<T>)Activator.CreateInstance(typeof(GenericEnumFormatter<>).MakeGenericType(type))!;
        }

        if (RowTypes.SaysHow(type))
        {
            return StandardResolverAllowPrivate.Instance.GetFormatterWithVerify<T>();
        }

        // The package has ready-made formatters for common collections of strings and dates: they would skip the exact ones above.
        var readyMade = type.IsGenericType || (type.IsArray && !type.GetElementType()!.IsPrimitive) ? null : BuiltinResolver.Instance.GetFormatter<T>();
        var formatter = readyMade
            ?? ImmutableCollectionResolver.Instance.GetFormatter<T>()
            ?? DynamicGenericResolver.Instance.GetFormatter<T>()
            ?? throw new RowTypeException($"No way is known to write {TypeNames.Of(type)} as bytes.") { RowType = type };
        return DefaultComparerFormatter<T>.ComparerOf() is { } comparer ? new DefaultComparerFormatter<T>(formatter, comparer) : formatter;
    }
}

/// <summary>What the code that <see cref="FieldFormatter{T}"/> makes calls for each field.</summary>
internal static class FieldValue
{
    public static void Write<T>(ref MessagePackWriter writer, T value, MessagePackSerializerOptions options)
    {
        // The JIT keeps one branch of these for each type of number.
        if (typeof(T) == typeof(int))
        {
            writer.Write(Unsafe.As<T, int>(ref value));
        }
        else if (typeof(T) == typeof(long))
        {
            writer.Write(Unsafe.As<T, long>(ref value));
        }
        else if (typeof(T) == typeof(double))
        {
            writer.Write(Unsafe.As<T, double>(ref value));
        }
        else if (typeof(T) == typeof(bool))
        {
            writer.Write(Unsafe.As<T, bool>(ref value));
        }
        else
        {
            RowFormatters.For<T>().Serialize(ref writer, value, options);
        }
    }

    public static T Read<T>(ref MessagePackReader reader, MessagePackSerializerOptions options)
    {
        if (typeof(T) == typeof(int))
        {
            var value = reader.ReadInt32();
            return Unsafe.As<int, T>(ref value);
        }

        if (typeof(T) == typeof(long))
        {
            var value = reader.ReadInt64();
            return Unsafe.As<long, T>(ref value);
        }

        if (typeof(T) == typeof(double))
        {
            var value = reader.ReadDouble();
            return Unsafe.As<double, T>(ref value);
        }

        if (typeof(T) == typeof(bool))
        {
            var value = reader.ReadBoolean();
            return Unsafe.As<bool, T>(ref value);
        }

        return RowFormatters.For<T>().Deserialize(ref reader, options);
    }

    public static void Expect(ref MessagePackReader reader, int fields)
    {
        var found = reader.ReadArrayHeader();
        if (found != fields)
        {
            throw new MessagePackSerializationException($"found {found} fields where {fields} should be");
        }
    }

    internal static readonly MethodInfo WriteMethod = typeof(FieldValue).GetMethod(nameof(Write))!;
    internal static readonly MethodInfo ReadMethod = typeof(FieldValue).GetMethod(nameof(Read))!;
}
