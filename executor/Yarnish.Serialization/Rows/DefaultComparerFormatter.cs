using System.Linq.Expressions;
using System.Reflection;
using MessagePack;
using MessagePack.Formatters;

namespace Yarnish.Serialization;

/// <summary>
/// Dictionaries and sets in rows come back with the default comparer of their keys. One with another comparer would silently find other keys on executors than in the driver: it is refused.
/// </summary>
internal sealed class DefaultComparerFormatter<T>(IMessagePackFormatter<T> inner, Func<T, object> comparerOf) : IMessagePackFormatter<T>
{
    private static readonly object[] Defaults = DefaultsOf();

    /// <summary>Reads the comparer of a collection; null for types that have none.</summary>
    public static Func<T, object>? ComparerOf()
    {
        if (typeof(T).IsInterface || !typeof(T).IsGenericType || (typeof(T).GetProperty("Comparer") ?? typeof(T).GetProperty("KeyComparer")) is not { } property)
        {
            return null;
        }

        var collection = Expression.Parameter(typeof(T));
        return Expression.Lambda<Func<T, object>>(Expression.Convert(Expression.Property(collection, property), typeof(object)), collection).Compile();
    }

    public void Serialize(ref MessagePackWriter writer, T value, MessagePackSerializerOptions options)
    {
        if (value is not null && Array.IndexOf(Defaults, comparerOf(value)) < 0)
        {
            throw new RowTypeException(
                $"A row holds a {TypeNames.Of(typeof(T))} with a comparer of its own ({TypeNames.OfVisible(comparerOf(value).GetType())}), and rows do not keep comparers. "
                + "Change the keys so that the default comparer does, for example by ToUpperInvariant, or keep the items in a list.");
        }

        inner.Serialize(ref writer, value, options);
    }

    public T Deserialize(ref MessagePackReader reader, MessagePackSerializerOptions options) => inner.Deserialize(ref reader, options);

    private static object[] DefaultsOf()
    {
        var key = typeof(T).GetGenericArguments()[0];
        return key == typeof(string)
            ? [EqualityComparer<string>.Default, Comparer<string>.Default, StringComparer.Ordinal]
            : [Default(typeof(EqualityComparer<>)), Default(typeof(Comparer<>))];

        object Default(Type definition) => definition.MakeGenericType(key).GetProperty("Default", BindingFlags.Public | BindingFlags.Static)!.GetValue(null)!;
    }
}
