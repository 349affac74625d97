using System.Linq.Expressions;
using System.Reflection;
using System.Runtime.CompilerServices;

namespace Yarnish.Serialization;

/// <summary>The equality of keys that goes with <see cref="StableHash"/>: the type's own, but sequences (arrays, lists) are equal when their items are.</summary>
/// <typeparam name="T">A key type, see <see cref="StableHash.Require{T}"/>.</typeparam>
public static class StableEquality<T>
{
    private static IEqualityComparer<T>? comparer;

    /// <summary>
    /// For dictionaries and sets of keys. It is <see cref="EqualityComparer{T}.Default"/> itself wherever that says the same, so that collections keep their fast paths;
    /// its hash codes hold for this process only.
    /// </summary>
    /// <exception cref="KeyTypeException">The type has no value equality.</exception>
    public static IEqualityComparer<T> Default => comparer ??= Create();

    private static IEqualityComparer<T> Create()
    {
        KeyTypes.Require(typeof(T), "");
        // Where the runtime makes no code, the runtime's own way is the faster one.
        return KeyTypes.HoldsSequence(typeof(T)) || (RuntimeFeature.IsDynamicCodeSupported && KeyTypes.HoldsReflectedEquality(typeof(T))) ? new StructuralComparer<T>() : EqualityComparer<T>.Default;
    }
}

internal sealed class StructuralComparer<T> : IEqualityComparer<T>
{
    private readonly Func<T, T, bool> equals = Compile();

    public bool Equals(T? left, T? right)
    {
        if (left is null || right is null)
        {
            return left is null && right is null;
        }

        return equals(left, right);
    }

    public int GetHashCode(T key) => StableHash.Of(key).GetHashCode();

    private static Func<T, T, bool> Compile()
    {
        var left = Expression.Parameter(typeof(T), "left");
        var right = Expression.Parameter(typeof(T), "right");
        return Expression.Lambda<Func<T, T, bool>>(Body(left, right), left, right).Compile();
    }

    private static Expression Body(ParameterExpression left, ParameterExpression right)
    {
        switch (KeyTypes.KindOf(typeof(T)))
        {
            case KeyKind.Sequence:
                var element = KeyTypes.ElementOf(typeof(T))!;
                var sequence = typeof(IEnumerable<>).MakeGenericType(element);
                var method = typeof(StructuralComparer<T>).GetMethod(nameof(SameItems), BindingFlags.Static | BindingFlags.NonPublic)!.MakeGenericMethod(element);
                return Expression.Call(method, Expression.Convert(left, sequence), Expression.Convert(right, sequence));
            case KeyKind.Nullable:
                return Expression.AndAlso(
                    Expression.Equal(Expression.Property(left, "HasValue"), Expression.Property(right, "HasValue")),
                    Expression.OrElse(Expression.Not(Expression.Property(left, "HasValue")), Same(Expression.Property(left, "Value"), Expression.Property(right, "Value"))));
        }

        var sameType = typeof(T).IsValueType || typeof(T).IsSealed ? (Expression)Expression.Constant(true) : Expression.TypeEqual(left, typeof(T));
        return KeyTypes.FieldsOf(typeof(T)).Aggregate(sameType, (sofar, field) => Expression.AndAlso(sofar, Same(Expression.Field(left, field), Expression.Field(right, field))));
    }

    private static MethodCallExpression Same(Expression left, Expression right)
    {
        var comparer = Expression.Property(null, typeof(StableEquality<>).MakeGenericType(left.Type), nameof(StableEquality<int>.Default));
        return Expression.Call(comparer, typeof(IEqualityComparer<>).MakeGenericType(left.Type).GetMethod(nameof(IEqualityComparer<int>.Equals))!, left, right);
    }

    private static bool SameItems<TItem>(IEnumerable<TItem> left, IEnumerable<TItem> right)
    {
        var leftNone = left is System.Collections.Immutable.ImmutableArray<TItem> { IsDefault: true };
        var rightNone = right is System.Collections.Immutable.ImmutableArray<TItem> { IsDefault: true };
        return leftNone || rightNone ? leftNone && rightNone : left.SequenceEqual(right, StableEquality<TItem>.Default);
    }
}
