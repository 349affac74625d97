using System.Collections.Concurrent;
using System.Collections.Frozen;
using System.Globalization;
using System.Linq.Expressions;
using System.Reflection;
using System.Text;

namespace Yarnish.Serialization;

/// <summary>An object that is known by name rather than made of parts.</summary>
internal abstract class KnownShape(string kind, Type name) : Shape
{
    public override string Kind => kind;

    public override Type NameOf(object value) => name;

    public override void Visit(object value, IValueVisitor visitor)
    {
    }

    /// <summary>Guards the entry against a type that does not belong to the kind.</summary>
    protected static Type Argument(Type type, params Type[] definitions) => type.IsGenericType && definitions.Contains(type.GetGenericTypeDefinition())
        ? type.GetGenericArguments()[0]
        : throw new CodeIdentityException($"The code of the stage wants a {TypeNames.Of(type)} where it does not belong: the block is damaged.");
}

internal sealed class TypeShape() : KnownShape("type", typeof(Type))
{
    public override Type NameOf(object value) => (Type)value;

    public override object Create(Type type, GraphReader reader)
    {
        reader.SkipToEnd();
        return type;
    }
}

internal sealed class MethodShape() : KnownShape("method", typeof(MethodInfo))
{
    public override void Visit(object value, IValueVisitor visitor) => visitor.Code(((MethodInfo)value).DeclaringType!);

    public override void WriteCreation(object value, GraphWriter writer)
    {
        writer.Name("method");
        writer.Inline(writer.Code.Of((MethodInfo)value), typeof(int));
    }

    public override object Create(Type type, GraphReader reader)
    {
        reader.Expect("method");
        var method = reader.Method(reader.Read<int>());
        reader.SkipToEnd();
        return method;
    }
}

/// <summary>Ordinal and culture comparers of strings.</summary>
internal sealed class StringComparerShape() : KnownShape("stringComparer", typeof(StringComparer))
{
    public override void WriteCreation(object value, GraphWriter writer)
    {
        var comparer = (IEqualityComparer<string?>)value;
        if (StringComparer.IsWellKnownOrdinalComparer(comparer, out var ignoreCase))
        {
            writer.Name("name");
            writer.Inline(ignoreCase ? nameof(StringComparer.OrdinalIgnoreCase) : nameof(StringComparer.Ordinal), typeof(string));
        }
        else if (StringComparer.IsWellKnownCultureAwareComparer(comparer, out var culture, out var options))
        {
            writer.Name("culture");
            writer.Inline(culture.Name, typeof(string));
            writer.Name("options");
            writer.Inline((int)options, typeof(int));
        }
    }

    public override object Create(Type type, GraphReader reader)
    {
        object comparer = StringComparer.Ordinal;
        string? culture = null;
        while (reader.NextName() is { } name)
        {
            switch (name)
            {
                case "name":
                    comparer = reader.Read<string>() == nameof(StringComparer.OrdinalIgnoreCase) ? StringComparer.OrdinalIgnoreCase : StringComparer.Ordinal;
                    break;
                case "culture":
                    culture = reader.Read<string>();
                    break;
                default:
                    comparer = StringComparer.Create(CultureInfo.GetCultureInfo(culture ?? ""), (CompareOptions)reader.Read<int>());
                    break;
            }
        }

        return comparer;
    }
}

/// <summary><see cref="EqualityComparer{T}.Default"/> and <see cref="Comparer{T}.Default"/>.</summary>
internal sealed class DefaultComparerShape() : KnownShape("defaultComparer", typeof(EqualityComparer<>))
{
    private static readonly ConcurrentDictionary<Type, object> Defaults = new();

    public static bool Knows(object value) => BaseOf(value.GetType()) is { } of && DefaultOf(of) == value;

    public override Type NameOf(object value) => BaseOf(value.GetType())!;

    public override object Create(Type type, GraphReader reader)
    {
        reader.SkipToEnd();
        Argument(type, typeof(EqualityComparer<>), typeof(Comparer<>));
        return DefaultOf(type);
    }

    /// <summary>The closed comparer class that a class of the framework derives from.</summary>
    public static Type? BaseOf(Type type)
    {
        for (var at = Framework.Owns(type) ? type : null; at is not null; at = at.BaseType)
        {
            if (at.IsGenericType && at.GetGenericTypeDefinition() is var definition && (definition == typeof(EqualityComparer<>) || definition == typeof(Comparer<>)))
            {
                return at;
            }
        }

        return null;
    }

    private static object DefaultOf(Type comparer) =>
        Defaults.GetOrAdd(comparer, static comparer => comparer.GetProperty(nameof(Comparer<int>.Default), BindingFlags.Public | BindingFlags.Static)!.GetValue(null)!);
}

/// <summary>What <see cref="Comparer{T}.Create"/> and <c>EqualityComparer.Create</c> make of functions.</summary>
internal sealed class MadeComparerShape() : KnownShape("comparer", typeof(Comparer<>))
{
    public static bool Knows(Type type) => DefaultComparerShape.BaseOf(type) is not null && Functions(type).Length is 1 or 2;

    public override Type NameOf(object value) => DefaultComparerShape.BaseOf(value.GetType())!;

    public override void Visit(object value, IValueVisitor visitor)
    {
        foreach (var field in Functions(value.GetType()))
        {
            visitor.Value(field.GetValue(value), field.FieldType, new(null, "comparison"));
        }
    }

    public override void VisitNeeded(object value, IValueVisitor visitor) => Visit(value, visitor);

    public override void WriteCreation(object value, GraphWriter writer)
    {
        writer.Name("functions");
        writer.StartArray();
        foreach (var field in Functions(value.GetType()))
        {
            writer.Value(field.GetValue(value), typeof(object));
        }

        writer.EndArray();
    }

    public override object Create(Type type, GraphReader reader)
    {
        Argument(type, typeof(EqualityComparer<>), typeof(Comparer<>));
        var functions = new List<object?>();
        reader.Expect("functions");
        reader.StartArray();
        while (reader.NextItem())
        {
            functions.Add(reader.Current<object>());
        }

        reader.SkipToEnd();
        return type.GetMethods(BindingFlags.Public | BindingFlags.Static).Single(method => method.Name == "Create" && method.GetParameters().Length == functions.Count).Invoke(null, [.. functions])!;
    }

    private static FieldInfo[] Functions(Type type)
    {
        var fields = type.GetFields(BindingFlags.Instance | BindingFlags.NonPublic | BindingFlags.Public);
        return Array.TrueForAll(fields, field => typeof(Delegate).IsAssignableFrom(field.FieldType)) ? [.. fields.OrderBy(field => field.MetadataToken)] : [];
    }
}

internal sealed class ReferenceEqualityShape() : KnownShape("reference", typeof(ReferenceEqualityComparer))
{
    public override object Create(Type type, GraphReader reader)
    {
        reader.SkipToEnd();
        return ReferenceEqualityComparer.Instance;
    }
}

/// <summary>Cultures by name: changes made to one in the driver stay there.</summary>
internal sealed class CultureShape() : KnownShape("culture", typeof(CultureInfo))
{
    public override void WriteCreation(object value, GraphWriter writer)
    {
        writer.Name("name");
        writer.Inline(((CultureInfo)value).Name, typeof(string));
    }

    public override object Create(Type type, GraphReader reader)
    {
        reader.Expect("name");
        var culture = CultureInfo.GetCultureInfo(reader.Read<string>());
        reader.SkipToEnd();
        return culture;
    }
}

internal sealed class EncodingShape() : KnownShape("encoding", typeof(Encoding))
{
    public override void WriteCreation(object value, GraphWriter writer)
    {
        var encoding = (Encoding)value;
        writer.Name("page");
        writer.Inline(encoding.CodePage, typeof(int));
        writer.Name("mark");
        writer.Inline(encoding.Preamble.Length > 0, typeof(bool));
        writer.Name("strict");
        writer.Inline(encoding.DecoderFallback is DecoderExceptionFallback, typeof(bool));
    }

    public override object Create(Type type, GraphReader reader)
    {
        reader.Expect("page");
        var page = reader.Read<int>();
        reader.Expect("mark");
        var mark = reader.Read<bool>();
        reader.Expect("strict");
        var strict = reader.Read<bool>();
        reader.SkipToEnd();
        return page == Encoding.UTF8.CodePage ? new UTF8Encoding(mark, strict)
            : strict ? Encoding.GetEncoding(page, EncoderFallback.ExceptionFallback, DecoderFallback.ExceptionFallback)
            : Encoding.GetEncoding(page);
    }
}

internal sealed class TimeZoneShape() : KnownShape("timeZone", typeof(TimeZoneInfo))
{
    public override void WriteCreation(object value, GraphWriter writer)
    {
        writer.Name("rules");
        writer.Inline(((TimeZoneInfo)value).ToSerializedString(), typeof(string));
    }

    public override object Create(Type type, GraphReader reader)
    {
        reader.Expect("rules");
        var zone = TimeZoneInfo.FromSerializedString(reader.Read<string>());
        reader.SkipToEnd();
        return zone;
    }
}

/// <summary>Row formats: made anew for their type.</summary>
internal sealed class RowFormatShape() : KnownShape("rows", typeof(IRowFormat<>))
{
    private static readonly ConcurrentDictionary<Type, Func<object>> Makers = new();

    public static bool Knows(object value) => value.GetType().Assembly == typeof(RowFormatShape).Assembly && FormatOf(value.GetType()) is not null;

    public override Type NameOf(object value) => FormatOf(value.GetType())!;

    public override object Create(Type type, GraphReader reader)
    {
        reader.SkipToEnd();
        return Makers.GetOrAdd(
            Argument(type, typeof(IRowFormat<>)),
            static row => Expression.Lambda<Func<object>>(Expression.Call(typeof(RowFormats), nameof(RowFormats.For), [row])).Compile())();
    }

    private static Type? FormatOf(Type type) => Array.Find(type.GetInterfaces(), of => of.IsGenericType && of.GetGenericTypeDefinition() == typeof(IRowFormat<>));
}

/// <summary><see cref="StableEquality{T}.Default"/>: made anew for its type.</summary>
internal sealed class KeyEqualityShape() : KnownShape("keys", typeof(StructuralComparer<>))
{
    private static readonly ConcurrentDictionary<Type, Func<object>> Makers = new();

    public static bool Knows(object value) => value.GetType() is { IsGenericType: true } type && type.GetGenericTypeDefinition() == typeof(StructuralComparer<>);

    public override Type NameOf(object value) => value.GetType();

    public override object Create(Type type, GraphReader reader)
    {
        reader.SkipToEnd();
        return Makers.GetOrAdd(
            Argument(type, typeof(StructuralComparer<>)),
            static key => Expression.Lambda<Func<object>>(Expression.Property(null, typeof(StableEquality<>).MakeGenericType(key), nameof(StableEquality<int>.Default))).Compile())();
    }
}

/// <summary>A lazy value that has been made: it travels as that value.</summary>
internal sealed class LazyShape() : KnownShape("lazy", typeof(Lazy<>))
{
    public static bool Knows(object value) => value.GetType() is { IsGenericType: true } type && type.GetGenericTypeDefinition() == typeof(Lazy<>)
        && (bool)type.GetProperty(nameof(Lazy<int>.IsValueCreated))!.GetValue(value)!;

    public override Type NameOf(object value) => value.GetType();

    public override void Visit(object value, IValueVisitor visitor) => visitor.Value(ValueOf(value), value.GetType().GetGenericArguments()[0], new(null, "Value"));

    public override void VisitNeeded(object value, IValueVisitor visitor) => Visit(value, visitor);

    public override void WriteCreation(object value, GraphWriter writer)
    {
        writer.Name("value");
        writer.Value(ValueOf(value), value.GetType().GetGenericArguments()[0]);
    }

    public override object Create(Type type, GraphReader reader)
    {
        var inside = Argument(type, typeof(Lazy<>));
        reader.Expect("value");
        var value = reader.ReadInline(inside);
        reader.SkipToEnd();
        return type.GetConstructor([inside])!.Invoke([value]);
    }

    private static object? ValueOf(object value) => value.GetType().GetProperty(nameof(Lazy<int>.Value))!.GetValue(value);
}

/// <summary>Frozen sets and dictionaries: frozen anew from their items.</summary>
internal sealed class FrozenShape() : KnownShape("frozen", typeof(FrozenSet<>))
{
    private static readonly ConcurrentDictionary<Type, Shape> Inner = new();

    public static bool Knows(object value) => FrozenOf(value.GetType()) is not null;

    /// <summary>Why it cannot travel.</summary>
    public static string? WhyNot(object value) => CollectionShapes.IsWhole(FrozenOf(value.GetType())!.GetGenericArguments()[0]) ? null : CollectionShapes.WhyNotWhole(FrozenOf(value.GetType())!);

    public override Type NameOf(object value) => FrozenOf(value.GetType())!;

    public override void Visit(object value, IValueVisitor visitor) => Of(NameOf(value)).Visit(value, visitor);

    public override void VisitNeeded(object value, IValueVisitor visitor) => Of(NameOf(value)).VisitNeeded(value, visitor);

    public override void WriteCreation(object value, GraphWriter writer) => Of(NameOf(value)).WriteCreation(value, writer);

    public override object Create(Type type, GraphReader reader)
    {
        Argument(type, typeof(FrozenSet<>), typeof(FrozenDictionary<,>));
        return Of(type).Create(type, reader);
    }

    private static Shape Of(Type type) => Inner.GetOrAdd(type, static type =>
        (Shape)Activator.CreateInstance((type.GetGenericTypeDefinition() == typeof(FrozenSet<>) ? typeof(FrozenSetItems<>) : typeof(FrozenDictionaryItems<,>)).MakeGenericType(type.GetGenericArguments()))!);

    private static Type? FrozenOf(Type type)
    {
        for (var at = Framework.Owns(type) ? type : null; at is not null; at = at.BaseType)
        {
            if (at.IsGenericType && at.GetGenericTypeDefinition() is var definition && (definition == typeof(FrozenSet<>) || definition == typeof(FrozenDictionary<,>)))
            {
                return at;
            }
        }

        return null;
    }
}

internal sealed class FrozenSetItems<T> : ItemsShape<FrozenSet<T>, T>
{
    protected override object ComparerOf(FrozenSet<T> set) => set.Comparer;

    protected override FrozenSet<T> Make(object? comparer, List<T> items) => items.ToFrozenSet((IEqualityComparer<T>?)comparer);
}

internal sealed class FrozenDictionaryItems<TKey, TValue> : ItemsShape<FrozenDictionary<TKey, TValue>, KeyValuePair<TKey, TValue>>
    where TKey : notnull
{
    protected override object ComparerOf(FrozenDictionary<TKey, TValue> map) => map.Comparer;

    protected override FrozenDictionary<TKey, TValue> Make(object? comparer, List<KeyValuePair<TKey, TValue>> items) => items.ToFrozenDictionary((IEqualityComparer<TKey>?)comparer);
}
