using System.Linq.Expressions;
using System.Numerics;
using System.Reflection;
using System.Runtime.CompilerServices;

namespace Yarnish.Serialization;

/// <summary>
/// Whether rows of a type may be handed from task to task within a process as they are. They may when nobody can change them: numbers, strings, dates, enums, structs of such (handed on by
/// copying), and classes all of whose fields are read-only and of such types, as those of records with positional parameters are. Arrays and collections may not.
/// </summary>
public static class RowSharing<T>
{
    /// <summary>True when rows of the type cannot be changed.</summary>
    public static bool IsPossible { get; } = RowImmutability.Of(typeof(T)) is { } unsealed && (unsealed.Length == 0 || RuntimeFeature.IsDynamicCodeSupported);

    /// <summary>
    /// Tells a row in which every object is of the very type its member declares from one that holds an object of a derived type, of which nothing is known. Null when there can be none,
    /// because all types are sealed.
    /// </summary>
    public static Func<T, bool>? IsExact { get; } = IsPossible ? RowImmutability.Exactness<T>() : null;
}

internal static class RowImmutability
{
    private static readonly HashSet<Type> Values =
    [
        typeof(string), typeof(decimal), typeof(Guid), typeof(DateTime), typeof(DateTimeOffset), typeof(TimeSpan), typeof(DateOnly), typeof(TimeOnly), typeof(Half), typeof(BigInteger),
        typeof(Complex), typeof(Int128), typeof(UInt128), typeof(Version),
    ];

    /// <summary>The classes in a type that are not sealed, when rows of it cannot be changed; else null.</summary>
    public static Type[]? Of(Type type)
    {
        var open = new List<Type>();
        return IsImmutable(type, [], open) ? [.. open] : null;
    }

    /// <summary>The test of <see cref="RowSharing{T}.IsExact"/>.</summary>
    public static Func<T, bool>? Exactness<T>()
    {
        var row = Expression.Parameter(typeof(T), "row");
        return Exact(row) is { } test ? Expression.Lambda<Func<T, bool>>(test, row).Compile() : null;
    }

    private static bool IsImmutable(Type type, HashSet<Type> inside, List<Type> open)
    {
        if (type.IsPrimitive || type.IsEnum || Values.Contains(type))
        {
            return !type.IsPointer && type != typeof(nint) && type != typeof(nuint);
        }
        // A type that holds itself may be a ring, or a list as long as you please: nothing to look through for each row.
        if (type.IsArray || type.IsInterface || type.IsAbstract || type.IsPointer || type.IsByRefLike || (type.IsClass && Framework.Owns(type)) || RowTypes.SaysHow(type) || !inside.Add(type))
        {
            return false;
        }
        if (type.IsClass && !type.IsSealed)
        {
            open.Add(type);
        }
        // The fields of a struct in a row may be assigned, but to a copy only. A field that does not travel must not arrive.
        var immutable = FieldCount(type) == InstanceFields.Of(type).Length && InstanceFields.Of(type).All(field => (type.IsValueType || field.IsInitOnly) && IsImmutable(field.FieldType, inside, open));
        inside.Remove(type);
        return immutable;
    }

    private static int FieldCount(Type type)
    {
        var count = 0;
        for (var at = type; at is not null && at != typeof(object) && at != typeof(ValueType); at = at.BaseType)
        {
            count += at.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly).Length;
        }
        return count;
    }

    private static Expression? Exact(Expression value)
    {
        var type = value.Type;
        if (type.IsPrimitive || type.IsEnum || Values.Contains(type))
        {
            return null;
        }
        var members = InstanceFields.Of(type).Select(field => Exact(Expression.Field(value, field))).OfType<Expression>().ToArray();
        Expression? test = members.Length == 0 ? null : members.Aggregate(Expression.AndAlso);
        if (type.IsValueType)
        {
            return test;
        }
        var isNull = Expression.ReferenceEqual(value, Expression.Constant(null));
        if (!type.IsSealed)
        {
            var same = Expression.TypeEqual(value, type);
            test = test is null ? same : Expression.AndAlso(same, test);
        }
        return test is null ? null : Expression.OrElse(isNull, test);
    }
}
