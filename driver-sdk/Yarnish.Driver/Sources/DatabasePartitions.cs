using System.Globalization;

namespace Yarnish;

/// <summary>
/// How a query is cut into partitions, each of which reads its part by a condition of its own. The parts together hold every row once: bounds only decide how wide the parts are, never
/// which rows are read; rows outside of them belong to the first and the last part, rows without a key to the first.
/// </summary>
/// <remarks>Columns and conditions are SQL as you write it: never make them from what strangers typed.</remarks>
public sealed class DatabasePartitions
{
    private DatabasePartitions(IReadOnlyList<DatabasePart> parts) => Parts = parts;

    /// <summary>The condition of each partition.</summary>
    internal IReadOnlyList<DatabasePart> Parts { get; }

    /// <summary>By a column of whole numbers, best one with an index.</summary>
    /// <param name="column">A column of the query, or an expression of its columns.</param>
    /// <param name="lower">About the least value.</param>
    /// <param name="upper">About the greatest value; above <paramref name="lower"/>.</param>
    /// <param name="partitions">How many; at least 1. Each is a connection of its own while it is read.</param>
    public static DatabasePartitions ByNumber(string column, long lower, long upper, int partitions) =>
        By(column, lower, upper, partitions, static value => (value.ToString(CultureInfo.InvariantCulture), null));

    /// <summary>By a column of dates or times.</summary>
    /// <param name="column">A column of the query, or an expression of its columns.</param>
    /// <param name="lower">About the first.</param>
    /// <param name="upper">About the last; after <paramref name="lower"/>.</param>
    /// <param name="partitions">How many; at least 1. Each is a connection of its own while it is read.</param>
    public static DatabasePartitions ByTime(string column, DateTime lower, DateTime upper, int partitions) =>
        By(column, lower.Ticks, upper.Ticks, partitions, value => (null, new DateTime(value, lower.Kind)));

    /// <summary>By conditions of your own, one per partition. They must not overlap, and nobody reads the rows that meet none.</summary>
    /// <param name="conditions">Such as <c>region = 'north'</c>.</param>
    public static DatabasePartitions ByConditions(params IReadOnlyList<string> conditions)
    {
        ArgumentNullException.ThrowIfNull(conditions);
        return conditions.Count > 0 && conditions.All(condition => !string.IsNullOrWhiteSpace(condition))
            ? new DatabasePartitions([.. conditions.Select(condition => new DatabasePart($"({condition})", []))])
            : throw new ArgumentException("Give a condition for each partition.", nameof(conditions));
    }

    private static DatabasePartitions By(string column, long lower, long upper, int partitions, Func<long, (string? Literal, DateTime? Value)> bound)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(column);
        ArgumentOutOfRangeException.ThrowIfLessThan(partitions, 1);
        if (upper <= lower)
        {
            throw new ArgumentException("The upper bound must be above the lower one.", nameof(upper));
        }
        // More partitions than values would be empty ones.
        var count = (int)Int128.Min(partitions, (Int128)upper - lower);
        var parts = new DatabasePart[count];
        for (var i = 0; i < count; i++)
        {
            var values = new List<DateTime>();
            var from = i == 0 ? null : $"{column} >= {Bound(i, values)}";
            var to = i == count - 1 ? null : $"{column} < {Bound(i + 1, values)}";
            parts[i] = new DatabasePart((from, to) switch
            {
                (null, null) => "",
                (null, { } below) => $"({below} OR {column} IS NULL)",
                ({ } above, null) => above,
                ({ } above, { } below) => $"{above} AND {below}",
            }, values);
        }
        return new DatabasePartitions(parts);

        string Bound(int index, List<DateTime> values)
        {
            var (literal, value) = bound((long)(lower + (((Int128)upper - lower) * index / count)));
            if (value is { } time)
            {
                values.Add(time);
                return $"@yarnish{values.Count - 1}";
            }
            return literal!;
        }
    }
}

/// <summary>One part of a query.</summary>
/// <param name="Condition">Which rows; empty for all.</param>
/// <param name="Values">The values of the parameters <c>@yarnish0</c>, <c>@yarnish1</c>.</param>
internal sealed record DatabasePart(string Condition, IReadOnlyList<DateTime> Values);
