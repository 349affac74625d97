using System.Collections.Immutable;
using System.Numerics;
using CsCheck;
using Xunit;
using Yarnish.Serialization;

namespace Yarnish.Tests.Serialization;

public sealed class StableHashTests
{
    private record Animal(string Name);

    private sealed record Dog(string Name, int Age) : Animal(Name);

    private sealed record Basket(int[] Items, List<string> Names);

    private readonly record struct Point(double X, double Y);

    private struct Plain
    {
        public int A;
        public string B;
    }

    private enum Colour
    {
        Red,
        Blue = 7,
    }

    private sealed record Own(string Name)
    {
        public bool Equals(Own? other) => other is not null && string.Equals(Name, other.Name, StringComparison.OrdinalIgnoreCase);

        public override int GetHashCode() => StringComparer.OrdinalIgnoreCase.GetHashCode(Name);
    }

    private sealed class Caseless(string name) : IStableKey, IEquatable<Caseless>
    {
        public ulong StableHash => Yarnish.Serialization.StableHash.Of(name.ToUpperInvariant());

        public bool Equals(Caseless? other) => other is not null && other.StableHash == StableHash;

        public override bool Equals(object? obj) => Equals(obj as Caseless);

        public override int GetHashCode() => StableHash.GetHashCode();
    }

    private sealed class Reference
    {
        public int Id { get; init; }
    }

    private sealed record Holder(int Id, Reference Inner);

    private sealed record Hidden(int Id)
    {
        [field: NonSerialized]
        public int Cached { get; init; }
    }

    private static Gen<T> OneOf<T>(params T[] values) => Gen.Int[0, values.Length - 1].Select(index => values[index]);

    // These values are on disk and in flight: a change here moves every key to another partition.
    [Fact]
    public void Hashes_are_the_ones_of_every_other_process()
    {
        Assert.Equal(0UL, StableHash.Of<string?>(null));
        Assert.Equal(0UL, StableHash.Of<int?>(null));
        Assert.Equal(0UL, StableHash.Of<Animal?>(null));
        Assert.Equal(
            "2D06800538D394C2 E220A8397B1DCDAF 7F44C7C801B047F5 E1D16BC22F8B09E1",
            $"{StableHash.Of(""):X} {StableHash.Of(0):X} {StableHash.Of("word"):X} {StableHash.Of(("a", 1)):X}");
        Assert.Equal("6C660C97A5C211F1 253EF05BFE7D04B0", $"{StableHash.Of(new Dog("Rex", 3)):X} {StableHash.Of(1.5m):X}");
    }

    [Fact]
    public void Equal_keys_have_equal_hashes()
    {
        Law(Gen.String);
        Law(Gen.Int);
        Law(Gen.Double);
        Law(Gen.Decimal);
        Law(Gen.Guid);
        Law(Gen.DateTime);
        Law(Gen.DateTimeOffset);
        Law(Gen.Select(Gen.Int[0, 2], Gen.Int[0, 2]));
        Law(Gen.Select(Gen.Int[0, 2], Gen.Bool, (a, b) => new { a, b }));
        Law(Gen.Select(OneOf(0.0, -0.0, double.NaN, 1), OneOf(0.0, -0.0, double.NaN), (x, y) => new Point(x, y)));
        Law(Gen.Select(OneOf("a", "b"), Gen.Int[0, 1], (name, age) => new Dog(name, age)));
        Law(Gen.Select(Gen.Int[0, 1], OneOf("a", "b"), (a, b) => new Plain { A = a, B = b }));
        Law(OneOf(1.0m, 1.00m, 1m, 0m, -0m, 0.000m, 100m, 1e2m));
        Law(OneOf(Colour.Red, Colour.Blue));
        Law(Gen.Select(Gen.Int[0, 2], OneOf(0.0, -0.0, double.NaN), static (key, value) => KeyValuePair.Create(key, value)));
        Law(Gen.Select(Gen.Int[0, 1], OneOf("a", null), static (key, value) => ((KeyValuePair<int, string?>?)KeyValuePair.Create(key, value), 1)));

        static void Law<T>(Gen<T> keys) => Gen.Select(keys, keys).Sample((left, right) =>
        {
            Assert.Equal(StableEquality<T>.Default.Equals(left, right), EqualityComparer<T>.Default.Equals(left, right));
            return !EqualityComparer<T>.Default.Equals(left, right) || StableHash.Of(left) == StableHash.Of(right);
        });
    }

    [Fact]
    public void Different_keys_have_different_hashes()
    {
        Distinct(Enumerable.Range(-50_000, 100_000));
        Distinct(Enumerable.Range(0, 100_000).Select(number => $"{number}"));
        Distinct(Enumerable.Range(0, 300).SelectMany(first => Enumerable.Range(0, 300).Select(second => (first, second))));
        Distinct(Enumerable.Range(0, 100_000).Select(number => number / 8.0));
        Assert.NotEqual(StableHash.Of<string[]>(["ab", "c"]), StableHash.Of<string[]>(["a", "bc"]));
        Assert.NotEqual(StableHash.Of<int[]>([]), StableHash.Of<int[]?>(null));

        static void Distinct<T>(IEnumerable<T> keys)
        {
            var all = keys.ToArray();
            Assert.Equal(all.Length, all.Select(StableHash.Of).Distinct().Count());
        }
    }

    [Fact]
    public void Sequences_are_equal_when_their_items_are()
    {
        Same<int[]>([1, 2], [1, 2], [2, 1]);
        Same<byte[]>([1, 2], [1, 2], [1]);
        Same<List<string>>(["a"], ["a"], ["b"]);
        Same<ImmutableArray<int>>([1], [1], []);
        Same<ImmutableArray<int>>(default, default, []);
        Same<(string, int[])>(("a", [1]), ("a", [1]), ("a", [2]));
        Same<int[]?>(null, null, []);
        Same(new Basket([1], ["a"]), new Basket([1], ["a"]), new Basket([1], ["b"]));
        Same<(int, int[])?>((1, [2]), (1, [2]), null);
        Same<int[][]>([[1], [2]], [[1], [2]], [[1, 2]]);

        static void Same<T>(T one, T equal, T other)
        {
            Assert.Equal(StableHash.Of(one), StableHash.Of(equal));
            Assert.NotEqual(StableHash.Of(one), StableHash.Of(other));
            Assert.True(StableEquality<T>.Default.Equals(one, equal));
            Assert.False(StableEquality<T>.Default.Equals(one, other));
            if (one is not null)
            {
                Assert.Equal(StableEquality<T>.Default.GetHashCode(one), StableEquality<T>.Default.GetHashCode(equal!));
            }
        }
    }

    [Fact]
    public void Values_of_the_framework_can_be_keys()
    {
        Assert.Equal(StableHash.Of(0.0), StableHash.Of(-0.0));
        Assert.Equal(StableHash.Of(double.NaN), StableHash.Of(BitConverter.Int64BitsToDouble(-1)));
        Assert.Equal(StableHash.Of(1.5f), StableHash.Of(1.5f));
        Assert.Equal(StableHash.Of(BigInteger.Pow(3, 80)), StableHash.Of(BigInteger.Pow(9, 40)));
        Assert.Equal(StableHash.Of(new DateTimeOffset(2020, 1, 1, 2, 0, 0, TimeSpan.FromHours(2))), StableHash.Of(new DateTimeOffset(2020, 1, 1, 0, 0, 0, TimeSpan.Zero)));
        Assert.NotEqual(StableHash.Of(Int128.MinValue), StableHash.Of(Int128.MaxValue));
        Assert.Equal(StableHash.Of(Tuple.Create(1, "a")), StableHash.Of(Tuple.Create(1, "a")));
        Assert.NotEqual(StableHash.Of(KeyValuePair.Create(1, 2)), StableHash.Of(KeyValuePair.Create(2, 1)));
        Assert.Same(EqualityComparer<string>.Default, StableEquality<string>.Default);
    }

    [Fact]
    public void Structs_that_leave_equality_to_the_runtime_are_compared_by_compiled_code()
    {
        Assert.IsType<StructuralComparer<KeyValuePair<int, int>>>(StableEquality<KeyValuePair<int, int>>.Default);
        Assert.IsType<StructuralComparer<(int, KeyValuePair<int, int>)>>(StableEquality<(int, KeyValuePair<int, int>)>.Default);
        Assert.IsType<StructuralComparer<Plain>>(StableEquality<Plain>.Default);
        Assert.Same(EqualityComparer<(int, string)>.Default, StableEquality<(int, string)>.Default);
        Assert.Same(EqualityComparer<Dog>.Default, StableEquality<Dog>.Default);
        Assert.Same(EqualityComparer<int?>.Default, StableEquality<int?>.Default);
    }

    [Fact]
    public void A_derived_record_hashes_by_what_it_is()
    {
        Animal dog = new Dog("Rex", 3);

        Assert.Equal(StableHash.Of(new Dog("Rex", 3)), StableHash.Of(dog));
        Assert.NotEqual(StableHash.Of(new Animal("Rex")), StableHash.Of(dog));
    }

    [Fact]
    public void A_key_with_its_own_equality_brings_its_hash()
    {
        Assert.Equal(StableHash.Of(new Caseless("word")), StableHash.Of(new Caseless("WORD")));
        Assert.Equal(0UL, StableHash.Of<Caseless?>(null));
    }

    [Fact]
    public void What_has_no_value_equality_is_refused_with_the_cure()
    {
        Refused<Reference>(
            "key type Reference needs value equality — two Reference are equal only when they are the same object, and after travelling they never are. "
            + "Make it a record (or a tuple) of values, implement IStableKey, or use one of its members as the key.");
        Refused<Holder>(
            "key type Holder needs value equality: Holder → Inner : Reference — two Reference are equal only when they are the same object, and after travelling they never are. "
            + "Make it a record (or a tuple) of values, implement IStableKey, or use one of its members as the key.");
        Refused<Own>(
            "key type Own needs value equality — Own has an Equals of its own, whose hash no other process could follow. "
            + "Make it a record (or a tuple) of values, implement IStableKey, or use one of its members as the key.");
        Refused<(int, object)>("key type (int, object) needs value equality: (int, object) → Item2 : object — nothing says what it will hold. Use the concrete type.");
        Refused<Func<int>>("key type Func<int> needs value equality — functions have no equality that another process could follow. Use a value as the key.");
        Refused<HashSet<int>>("key type HashSet<int> needs value equality — its items have no order that two executors would agree on. Use an array or a list with the items sorted.");
        Refused<Hidden>("key type Hidden needs value equality — its equality looks at Cached, which is marked not to travel. Take the mark away, or leave the member out of the key.");

        static void Refused<T>(string message)
        {
            Assert.Equal($"ReduceByKey at Program.cs:12: {message}", Assert.Throws<KeyTypeException>(() => StableHash.Require<T>("ReduceByKey", "Program.cs:12")).Message);
            Assert.Throws<KeyTypeException>(() => StableHash.Of(default(T)!));
        }
    }

    [Fact]
    public void Keys_spread_evenly_over_partitions()
    {
        foreach (var partitions in new[] { 1, 2, 7, 64, 1000 })
        {
            var counts = new int[partitions];
            for (var key = 0; key < 200_000; key++)
            {
                counts[Partitioning.Of(StableHash.Of(key), partitions)]++;
            }

            var even = 200_000.0 / partitions;
            Assert.All(counts, count => Assert.InRange(count, even - (6 * Math.Sqrt(even)), even + (6 * Math.Sqrt(even))));
        }

        Assert.Equal(6, Partitioning.Of(ulong.MaxValue, 7));
        Assert.Equal(0, Partitioning.Of(0, int.MaxValue));
        Assert.Throws<ArgumentOutOfRangeException>(() => Partitioning.Of(1, 0));
    }
}
