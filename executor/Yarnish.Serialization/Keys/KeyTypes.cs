using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Reflection;
using System.Runtime.CompilerServices;

namespace Yarnish.Serialization;

/// <summary>How keys of a type are told to be equal.</summary>
internal enum KeyKind
{
    None,
    Leaf,
    Enum,
    Nullable,
    Sequence,
    Fields,
    Own,
}

/// <summary>Which types can be keys, and what their equality looks at.</summary>
internal static class KeyTypes
{
    private static readonly ConcurrentDictionary<Type, bool> Accepted = new();

    private static readonly Type[] Sequences = [typeof(List<>), typeof(ImmutableArray<>), typeof(ImmutableList<>), typeof(IList<>), typeof(IReadOnlyList<>)];

    public static void Require(Type type, string prefix)
    {
        if (Accepted.ContainsKey(type))
        {
            return;
        }

        Check(type, TypeNames.Of(type), "", type, prefix, []);
        Accepted.TryAdd(type, true);
    }

    public static KeyKind KindOf(Type type)
    {
        if (StableHash.IsLeaf(type))
        {
            return type == typeof(byte[]) ? KeyKind.Sequence : KeyKind.Leaf;
        }

        return type.IsEnum ? KeyKind.Enum
            : typeof(IStableKey).IsAssignableFrom(type) && !type.IsInterface ? KeyKind.Own
            : System.Nullable.GetUnderlyingType(type) is not null ? KeyKind.Nullable
            : ElementOf(type) is not null ? KeyKind.Sequence
            : IsTuple(type) || IsAnonymous(type) || IsRecord(type) || IsPlainStruct(type) ? KeyKind.Fields
            : KeyKind.None;
    }

    public static Type? ElementOf(Type type) => type.IsSZArray ? type.GetElementType()
        : type.IsGenericType && Sequences.Contains(type.GetGenericTypeDefinition()) ? type.GetGenericArguments()[0]
        : null;

    /// <summary>All instance fields, also those that do not travel: equality looks at them.</summary>
    public static IEnumerable<FieldInfo> FieldsOf(Type type)
    {
        var fields = new List<FieldInfo>();
        for (var at = type; at is not null && at != typeof(object) && at != typeof(ValueType); at = at.BaseType)
        {
            var own = at.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly);
            fields.InsertRange(0, own.OrderBy(field => field.MetadataToken));
        }

        return fields;
    }

    /// <summary>True when the type's own equality would compare an array or list inside it by reference.</summary>
    public static bool HoldsSequence(Type type) => HoldsSequence(type, []);

    private static bool HoldsSequence(Type type, HashSet<Type> seen) => seen.Add(type) && KindOf(type) switch
    {
        KeyKind.Sequence => true,
        KeyKind.Nullable => HoldsSequence(System.Nullable.GetUnderlyingType(type)!, seen),
        KeyKind.Fields => FieldsOf(type).Any(field => HoldsSequence(field.FieldType, seen)),
        _ => false,
    };

    /// <summary>True when the type is a struct that leaves equality to the runtime, which boxes it and looks at its fields by reflection, or holds such a struct; pairs are such.</summary>
    public static bool HoldsReflectedEquality(Type type) => HoldsReflectedEquality(type, []);

    private static bool HoldsReflectedEquality(Type type, HashSet<Type> seen) => seen.Add(type) && KindOf(type) switch
    {
        KeyKind.Nullable => HoldsReflectedEquality(System.Nullable.GetUnderlyingType(type)!, seen),
        KeyKind.Fields => type.IsValueType && (!OverridesEquals(type) || FieldsOf(type).Any(field => HoldsReflectedEquality(field.FieldType, seen))),
        _ => false,
    };

    private static void Check(Type type, string root, string path, Type key, string prefix, HashSet<Type> seen)
    {
        if (!seen.Add(type))
        {
            return;
        }

        switch (KindOf(type))
        {
            case KeyKind.None:
                throw Refused(WhyNot(type));
            case KeyKind.Nullable:
                Check(System.Nullable.GetUnderlyingType(type)!, root, path, key, prefix, seen);
                break;
            case KeyKind.Sequence:
                Check(ElementOf(type)!, root, path + "[]", key, prefix, seen);
                break;
            case KeyKind.Fields:
                if (OwnEquals(type) is { } own)
                {
                    throw Refused($"{TypeNames.Of(own)} has an Equals of its own, whose hash no other process could follow. {Cures}");
                }

                var travelling = InstanceFields.Of(type);
                foreach (var field in FieldsOf(type))
                {
                    if (!travelling.Contains(field))
                    {
                        throw Refused($"its equality looks at {TypeNames.OfField(field.Name)}, which is marked not to travel. Take the mark away, or leave the member out of the key.");
                    }

                    Check(field.FieldType, root, $"{path}.{TypeNames.OfField(field.Name)}", key, prefix, seen);
                }

                break;
        }

        KeyTypeException Refused(string why)
        {
            var where = path.Length == 0 ? "" : $" → {path.TrimStart('.')} : {TypeNames.Of(type)}";
            return new($"{prefix}key type {root} needs value equality{(where.Length == 0 ? "" : $": {root}{where}")} — {why}") { KeyType = key };
        }
    }

    private const string Cures = "Make it a record (or a tuple) of values, implement IStableKey, or use one of its members as the key.";

    private static string WhyNot(Type type)
    {
        if (type == typeof(object) || type.IsInterface)
        {
            return "nothing says what it will hold. Use the concrete type.";
        }

        if (typeof(Delegate).IsAssignableFrom(type))
        {
            return "functions have no equality that another process could follow. Use a value as the key.";
        }

        if (OverridesEquals(type))
        {
            return $"{TypeNames.Of(type)} has an Equals of its own, whose hash no other process could follow. {Cures}";
        }

        return typeof(System.Collections.IEnumerable).IsAssignableFrom(type)
            ? "its items have no order that two executors would agree on. Use an array or a list with the items sorted."
            : $"two {TypeNames.Of(type)} are equal only when they are the same object, and after travelling they never are. {Cures}";
    }

    private static bool OverridesEquals(Type type) =>
        type.GetMethod(nameof(Equals), [typeof(object)])!.DeclaringType is { } declaring && declaring != typeof(object) && declaring != typeof(ValueType)
        || typeof(IEquatable<>).MakeGenericType(type).IsAssignableFrom(type);

    private static bool IsTuple(Type type) => type.IsGenericType && type.FullName is { } name
        && (name.StartsWith("System.ValueTuple`", StringComparison.Ordinal) || name.StartsWith("System.Tuple`", StringComparison.Ordinal) || name.StartsWith("System.Collections.Generic.KeyValuePair`", StringComparison.Ordinal))
        || type == typeof(ValueTuple);

    private static bool IsAnonymous(Type type) => type.Name.StartsWith("<>f__AnonymousType", StringComparison.Ordinal) && type.IsDefined(typeof(CompilerGeneratedAttribute));

    // What the compiler makes for records and nothing else.
    private static bool IsRecord(Type type) => !Framework.Owns(type) && (type.IsValueType
        ? type.GetMethod("PrintMembers", BindingFlags.Instance | BindingFlags.NonPublic)?.IsDefined(typeof(CompilerGeneratedAttribute)) == true
        : type.GetMethod("<Clone>$") is not null);

    private static bool IsPlainStruct(Type type) => type is { IsValueType: true, IsPrimitive: false } && !OverridesEquals(type) && !Framework.Owns(type);

    // The type in a record's chain whose Equals somebody wrote by hand.
    private static Type? OwnEquals(Type type)
    {
        if (!IsRecord(type))
        {
            return null;
        }

        for (var at = type; at is not null && at != typeof(object) && at != typeof(ValueType); at = at.BaseType)
        {
            if (at.GetMethod(nameof(Equals), BindingFlags.Instance | BindingFlags.Public | BindingFlags.DeclaredOnly, [at])?.IsDefined(typeof(CompilerGeneratedAttribute)) != true)
            {
                return at;
            }
        }

        return null;
    }
}
