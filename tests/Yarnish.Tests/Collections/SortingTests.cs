using CsCheck;
using Xunit;
using Yarnish.Operators;

namespace Yarnish.Tests.Collections;

/// <summary>The order of rows within a partition is LINQ's, whatever the keys.</summary>
public sealed class SortingTests
{
    // Alike in their first chars, empty, null, outside of Latin-1, with zeros inside.
    private static readonly Gen<string?> Texts = Gen.OneOf(
        Gen.Int.Select(static _ => (string?)null),
        Gen.String[Gen.Char["ab\0\u00fe\u00ff\u0100\u4e2d\ud800"], 0, 12].Select(text => (string?)text),
        Gen.String[Gen.Char["xy"], 0, 3].Select(text => (string?)("prefix of " + text)));

    private static readonly Gen<double> Numbers = Gen.OneOf(
        One(double.NaN, 0d, -0d, double.MaxValue, double.MinValue, double.Epsilon, -double.Epsilon, double.NegativeInfinity, double.PositiveInfinity), Gen.Int[-3, 3].Select(number => (double)number));

    [Fact]
    public void Strings_then_numbers() => Agrees(Gen.Select(Texts, Gen.Int[-2, 2]), Order<(string?, int), string?>(static row => row.Item1), static row => row.Item2,
        static rows => rows.OrderBy(static row => row.Item1, StringComparer.Ordinal).ThenBy(static row => row.Item2));

    [Fact]
    public void Strings_descending() => Agrees(Texts, Order<string?, string?>(static row => row, descending: true), null,
        static rows => rows.OrderByDescending(static row => row, StringComparer.Ordinal));

    [Fact]
    public void Doubles() => Agrees(Numbers, Order<double, double>(static row => row), null, static rows => rows.Order());

    [Fact]
    public void Doubles_descending_then_a_number() => Agrees(Gen.Select(Numbers, Gen.Int[-2, 2]), Order<(double, int), double>(static row => row.Item1, descending: true), static row => row.Item2,
        static rows => rows.OrderByDescending(static row => row.Item1).ThenBy(static row => row.Item2));

    [Fact]
    public void Equal_keys_keep_the_order_of_the_input()
    {
        Agrees(Gen.Select(One(int.MinValue, -1, 0, 1, int.MaxValue), Gen.Int), Order<(int, int), int>(static row => row.Item1), null, static rows => rows.OrderBy(static row => row.Item1));
        Agrees(Gen.Select(One(long.MinValue, -1, 0, 1, long.MaxValue), Gen.Int), Order<(long, int), long>(static row => row.Item1, descending: true), null,
            static rows => rows.OrderByDescending(static row => row.Item1));
        Agrees(Gen.Select(One(TimeSpan.MinValue, TimeSpan.Zero, TimeSpan.MaxValue), Gen.Int), Order<(TimeSpan, int), TimeSpan>(static row => row.Item1), null,
            static rows => rows.OrderBy(static row => row.Item1));
        Agrees(Gen.Select(Gen.Short, Gen.Byte, Gen.Char, Gen.Bool), Order<(short, byte, char, bool), short>(static row => row.Item1), null, static rows => rows.OrderBy(static row => row.Item1));
    }

    [Fact]
    public void Keys_without_numbers_and_comparers_of_ones_own()
    {
        Agrees(Gen.Select(Gen.Decimal, Gen.Int), Order<(decimal, int), decimal>(static row => decimal.Round(row.Item1)), null, static rows => rows.OrderBy(static row => decimal.Round(row.Item1)));
        Agrees(Texts, new KeyOrder<string?, string?>(static row => row, StringComparer.OrdinalIgnoreCase, descending: false), null, static rows => rows.Order(StringComparer.OrdinalIgnoreCase));
    }

    private static Gen<T> One<T>(params T[] values) => Gen.Int[0, values.Length - 1].Select(index => values[index]);

    private static KeyOrder<T, TKey> Order<T, TKey>(Func<T, TKey> key, bool descending = false) => new(key, null, descending);

    private static void Agrees<T>(Gen<T> rows, RowOrder<T> order, Func<T, int>? then, Func<T[], IEnumerable<T>> linq) => rows.Array[0, 40].Sample(sample =>
    {
        var all = then is null ? order : new ThenOrder<T>(order, new KeyOrder<T, int>(then, null, descending: false));
        Assert.Equal(linq(sample), RowSort.Sort(sample, all).Select(index => sample[index]));
    }, iter: 500, threads: 1);
}
