namespace Yarnish.Serialization;

/// <summary>Finds how the rows of a type become bytes: MessagePack, by fields, for any type made of values.</summary>
public static class RowFormats
{
    /// <summary>
    /// The format of <typeparamref name="T"/>; made once for each type, safe for all threads. Private, nested, anonymous and record types are rows as they are: their fields travel,
    /// their constructors do not run. Dictionaries and sets inside a row must have the default comparer.
    /// </summary>
    /// <exception cref="RowTypeException">The type cannot be a row; the message names the member at fault and the cure.</exception>
    public static IRowFormat<T> For<T>() => Cache<T>.Format ??= Create<T>();

    /// <summary>Says whether a type can be a row, without making its format.</summary>
    /// <exception cref="RowTypeException">The type cannot be a row; the message names the member at fault and the cure.</exception>
    public static void Require(Type type) => RowTypes.Require(type);

    private static class Cache<T>
    {
        // Not an initializer: an exception there would come out as TypeInitializationException.
        public static volatile IRowFormat<T>? Format;
    }

    private static IRowFormat<T> Create<T>()
    {
        RowTypes.Require(typeof(T));
        return Fast<T>() ?? new MessagePackRowFormat<T>(RowFormatters.For<T>());
    }

    private static readonly Dictionary<Type, Type> Codecs = new()
    {
        [typeof(string)] = typeof(StringCodec),
        [typeof(int)] = typeof(Int32Codec),
        [typeof(long)] = typeof(Int64Codec),
        [typeof(double)] = typeof(DoubleCodec),
        [typeof(byte[])] = typeof(BytesCodec),
    };

    // The rows of most jobs: written into spans by code the JIT specializes for the type, without a writer or formatter in between.
    private static IRowFormat<T>? Fast<T>()
    {
        if (Codec(typeof(T)) is { } codec)
        {
            return (IRowFormat<T>)Activator.CreateInstance(typeof(CodecRowFormat<,>).MakeGenericType(typeof(T), codec))!;
        }

        return null;

        static Type? Codec(Type type)
        {
            if (Codecs.TryGetValue(type, out var single))
            {
                return single;
            }

            if (!type.IsGenericType || type.GetGenericArguments() is not [var first, var second] || Codecs.GetValueOrDefault(first) is not { } left
                || Codecs.GetValueOrDefault(second) is not { } right)
            {
                return null;
            }

            var definition = type.GetGenericTypeDefinition();
            return definition == typeof(KeyValuePair<,>) ? typeof(KeyValuePairCodec<,,,>).MakeGenericType(first, second, left, right)
                : definition == typeof(ValueTuple<,>) ? typeof(TupleCodec<,,,>).MakeGenericType(first, second, left, right)
                : null;
        }
    }
}
