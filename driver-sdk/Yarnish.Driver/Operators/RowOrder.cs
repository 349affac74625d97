namespace Yarnish.Operators;

/// <summary>An order of rows by one or more keys, the first one deciding first; it travels with the stage.</summary>
internal abstract class RowOrder<T> : IComparer<T>
{
    public abstract int Compare(T? left, T? right);

    /// <summary>The keys of rows that shall be sorted, computed once.</summary>
    public abstract SortKeys KeysOf(T[] rows);
}

/// <summary>By one key.</summary>
internal sealed class KeyOrder<T, TKey>(Func<T, TKey> key, IComparer<TKey>? comparer, bool descending) : RowOrder<T>
{
    private readonly Func<T, TKey> key = key;
    private readonly IComparer<TKey>? comparer = comparer;
    private readonly bool descending = descending;

    public override int Compare(T? left, T? right)
    {
        var order = DefaultOrder<TKey>.Compare(comparer, key(left!), key(right!));
        return descending ? -Math.Sign(order) : order;
    }

    public override SortKeys KeysOf(T[] rows) => new SortKeys<TKey>(Array.ConvertAll(rows, row => key(row)), comparer, descending);
}

/// <summary>
/// The order of a key type when nobody names a comparer: <see cref="Comparer{T}.Default"/>, but ordinal for strings, because a culture may differ from machine to machine.
/// </summary>
internal static class DefaultOrder<TKey>
{
    public static int Compare(IComparer<TKey>? comparer, TKey left, TKey right)
    {
        if (comparer is not null)
        {
            return comparer.Compare(left, right);
        }
        return left is string one && right is string two ? string.CompareOrdinal(one, two) : Comparer<TKey>.Default.Compare(left, right);
    }
}

/// <summary>Two orders after each other: <c>ThenBy</c> adds to what is there without changing it.</summary>
internal sealed class ThenOrder<T>(RowOrder<T> first, RowOrder<T> then) : RowOrder<T>
{
    private readonly RowOrder<T> first = first;
    private readonly RowOrder<T> then = then;

    public override int Compare(T? left, T? right) => first.Compare(left, right) is var order and not 0 ? order : then.Compare(left, right);

    public override SortKeys KeysOf(T[] rows) => new ThenSortKeys(first.KeysOf(rows), then.KeysOf(rows));
}
