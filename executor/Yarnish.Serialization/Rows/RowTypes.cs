using System.Collections;
using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Collections.ObjectModel;
using System.Globalization;
using System.Numerics;
using System.Text;
using MessagePack;

namespace Yarnish.Serialization;

/// <summary>Which types can be rows. Looks at types only, so that a bad one is refused before anything is sent.</summary>
internal static class RowTypes
{
    private static readonly ConcurrentDictionary<Type, bool> Accepted = new();

    private static readonly HashSet<Type> Values =
    [
        typeof(bool), typeof(byte), typeof(sbyte), typeof(char), typeof(short), typeof(ushort), typeof(int), typeof(uint), typeof(long), typeof(ulong), typeof(float), typeof(double),
        typeof(decimal), typeof(string), typeof(Guid), typeof(DateTime), typeof(DateTimeOffset), typeof(TimeSpan), typeof(DateOnly), typeof(TimeOnly), typeof(Half),
        typeof(BigInteger), typeof(Complex), typeof(Version), typeof(Uri), typeof(StringBuilder), typeof(BitArray), typeof(Nil),
    ];

    private static readonly HashSet<Type> Collections =
    [
        typeof(Nullable<>), typeof(KeyValuePair<,>),
        typeof(List<>), typeof(Dictionary<,>), typeof(HashSet<>), typeof(Queue<>), typeof(Stack<>), typeof(LinkedList<>), typeof(SortedDictionary<,>), typeof(SortedList<,>), typeof(SortedSet<>),
        typeof(ReadOnlyCollection<>), typeof(ObservableCollection<>), typeof(Collection<>),
        typeof(ConcurrentDictionary<,>), typeof(ConcurrentQueue<>), typeof(ConcurrentStack<>), typeof(ConcurrentBag<>),
        typeof(ArraySegment<>), typeof(Memory<>), typeof(ReadOnlyMemory<>),
        typeof(IEnumerable<>), typeof(ICollection<>), typeof(IList<>), typeof(IReadOnlyCollection<>), typeof(IReadOnlyList<>), typeof(ISet<>), typeof(IReadOnlySet<>), typeof(IDictionary<,>), typeof(IReadOnlyDictionary<,>), typeof(ILookup<,>),
        typeof(IGrouping<,>),
        typeof(ImmutableArray<>), typeof(ImmutableList<>), typeof(ImmutableDictionary<,>), typeof(ImmutableHashSet<>), typeof(ImmutableSortedDictionary<,>), typeof(ImmutableSortedSet<>),
        typeof(ImmutableQueue<>), typeof(ImmutableStack<>), typeof(IImmutableList<>), typeof(IImmutableDictionary<,>), typeof(IImmutableSet<>), typeof(IImmutableQueue<>), typeof(IImmutableStack<>),
    ];

    /// <summary>Throws unless the type and everything in it can be a row.</summary>
    public static void Require(Type type)
    {
        if (Accepted.ContainsKey(type))
        {
            return;
        }

        Check(type, [TypeNames.Of(type)], []);
        Accepted.TryAdd(type, true);
    }

    /// <summary>True when the type says itself how MessagePack writes it.</summary>
    public static bool SaysHow(Type type) =>
        type.IsDefined(typeof(MessagePackObjectAttribute), inherit: false) || type.IsDefined(typeof(MessagePackFormatterAttribute), inherit: false) || type.IsDefined(typeof(UnionAttribute), inherit: false);

    /// <summary>True when the type is written field by field.</summary>
    public static bool IsByFields(Type type) =>
        !Values.Contains(type) && !type.IsPrimitive && !type.IsEnum && !type.IsArray && !type.IsInterface && !type.IsAbstract && !SaysHow(type)
        && !(type.IsGenericType && (Collections.Contains(type.GetGenericTypeDefinition()) || IsTuple(type)))
        && (!Framework.Owns(type) || type.IsValueType);

    private static bool IsTuple(Type type) =>
        type.FullName is { } name && (name.StartsWith("System.ValueTuple`", StringComparison.Ordinal) || name.StartsWith("System.Tuple`", StringComparison.Ordinal));

    private static void Check(Type type, List<string> path, HashSet<Type> seen)
    {
        if (Values.Contains(type) || !seen.Add(type))
        {
            return;
        }

        if (Unshippable.Reason(type) is { } reason)
        {
            throw Refused(type, path, reason);
        }

        if (type.IsEnum || SaysHow(type))
        {
            return;
        }

        if (typeof(Delegate).IsAssignableFrom(type))
        {
            throw Refused(type, path, "functions are no data. Keep the values it works on, and call it where the row is used.");
        }

        if (type == typeof(object) || type == typeof(ValueType) || type == typeof(Enum) || type == typeof(Array))
        {
            throw Refused(type, path, "nothing says what it will hold. Use the concrete type.");
        }

        if (typeof(Type).IsAssignableFrom(type) || typeof(System.Reflection.MemberInfo).IsAssignableFrom(type))
        {
            throw Refused(type, path, "code is no data. Keep its name.");
        }

        if (typeof(Exception).IsAssignableFrom(type))
        {
            throw Refused(type, path, "exceptions hold stack frames of one process. Keep the message, or the whole text by ToString().");
        }

        if (type.IsArray)
        {
            if (type.GetArrayRank() > 4)
            {
                throw Refused(type, path, "arrays of more than four dimensions are not supported. Use an array of arrays.");
            }

            Inside(type.GetElementType()!, "[]", path, seen);
            return;
        }

        if (type.IsGenericType && (Collections.Contains(type.GetGenericTypeDefinition()) || IsTuple(type)))
        {
            var arguments = type.GetGenericArguments();
            for (var index = 0; index < arguments.Length; index++)
            {
                Inside(arguments[index], Part(type, index), path, seen);
            }

            return;
        }

        if (type.IsInterface || type.IsAbstract)
        {
            var kind = type.IsInterface ? "an interface" : "an abstract class";
            throw Refused(type, path, $"{kind} does not say which type will arrive. Use the concrete type, or put MessagePack's [Union] on it.");
        }

        if (typeof(CultureInfo).IsAssignableFrom(type))
        {
            throw Refused(type, path, "a culture is code and tables. Keep its name.");
        }

        for (var at = type; at is not null && at != typeof(object) && at != typeof(ValueType); at = at.BaseType)
        {
            if (!Framework.Owns(at) || at.IsValueType)
            {
                continue;
            }

            throw Refused(type, path, at == type
                ? "it is a type of the framework that keeps its state to itself. Keep the values you need from it in a record."
                : $"it derives from {TypeNames.Of(at)}, a type of the framework that keeps its state to itself. Hold a {TypeNames.Of(at)} in a field instead, if that can be a row.");
        }

        foreach (var field in InstanceFields.Of(type))
        {
            Inside(field.FieldType, "." + TypeNames.OfField(field.Name), path, seen);
        }
    }

    private static string Part(Type type, int index) => IsTuple(type) ? $".Item{index + 1}"
        : type.GetGenericTypeDefinition() == typeof(Nullable<>) ? ""
        : type.GetGenericArguments().Length == 2 ? (index == 0 ? ".Key" : ".Value")
        : "[]";

    private static void Inside(Type type, string step, List<string> path, HashSet<Type> seen)
    {
        path.Add(step);
        Check(type, path, seen);
        path.RemoveAt(path.Count - 1);
    }

    private static RowTypeException Refused(Type type, List<string> path, string reason)
    {
        var where = path.Count == 1 ? TypeNames.Of(type) : $"{path[0]} → {string.Concat(path.Skip(1)).TrimStart('.')} : {TypeNames.Of(type)}";
        return new($"{path[0]} cannot be a row: {where} — {reason}") { RowType = type };
    }
}
