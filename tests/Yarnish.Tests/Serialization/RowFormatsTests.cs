using System.Buffers;
using System.Collections.Immutable;
using System.Data.Common;
using System.Numerics;
using CsCheck;
using Xunit;
using Yarnish.Serialization;

namespace Yarnish.Tests.Serialization;

public sealed class RowFormatsTests
{
    [Fact]
    public void Strings_and_numbers_come_back_equal()
    {
        Gen.String.Array.Sample(rows => RoundTrips(rows));
        Gen.Int.Array.Sample(rows => RoundTrips(rows));
        Gen.Long.Array.Sample(rows => RoundTrips(rows));
        Gen.Byte.Array.Array.Sample(rows => Read<byte[]>(Write(rows)).Zip(rows).All(pair => pair.First.AsSpan().SequenceEqual(pair.Second)));
        RoundTrips(new[] { 0L, -1, -32, -33, 127, 128, -128, -129, 255, 32_767, -32_768, 32_768, int.MaxValue, int.MinValue, long.MaxValue, long.MinValue });
        RoundTrips(new[] { int.MaxValue, int.MinValue, 0, -33, 65_535 });
    }

    [Fact]
    public void Doubles_come_back_bit_by_bit()
    {
        Gen.Double.Array.Sample(rows => Read<double>(Write(rows)).Select(BitConverter.DoubleToInt64Bits).SequenceEqual(rows.Select(BitConverter.DoubleToInt64Bits)));
        Assert.Equal([double.NaN, double.NegativeInfinity, double.Epsilon], Read<double>(Write([double.NaN, double.NegativeInfinity, double.Epsilon])));
        Assert.Equal(BitConverter.DoubleToInt64Bits(-0.0), BitConverter.DoubleToInt64Bits(Read<double>(Write([-0.0])).Single()));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(10)]
    [InlineData(11)]
    [InlineData(85)]
    [InlineData(86)]
    [InlineData(1023)]
    [InlineData(1024)]
    [InlineData(21_845)]
    [InlineData(21_846)]
    [InlineData(300_000)]
    public void Strings_of_every_header_width_come_back(int length)
    {
        RoundTrips(new[] { new string('a', length), new string('ß', length), new string('語', length), "after" });
        RoundTrips(new[] { new string('\ud800', length), "after" });
        RoundTrips(new[] { new string('x', length) + '\udc00', "after" });
        RoundTrips(new[] { ("k", new string('語', length)), ("after", "") });
        RoundTrips(new[] { new Word(new string('語', length), 1), new Word(new string('\ud800', length), 2) });
    }

    [Fact]
    public void Null_strings_and_bytes_come_back_null()
    {
        Assert.Equal([null, "", null], Read<string?>(Write<string?>([null, "", null])));
        Assert.Equal([null], Read<byte[]?>(Write<byte[]?>([null])));
        Assert.Equal([(null, 3L)], Read<(string?, long)>(Write<(string?, long)>([(null, 3L)])));
        Assert.Equal([null, new Word("a", 1)], Read<Word?>(Write<Word?>([null, new Word("a", 1)])));
    }

    [Fact]
    public void Pairs_come_back_equal()
    {
        Gen.Select(Gen.String, Gen.Long).Array.Sample(rows => RoundTrips(rows));
        Gen.Select(Gen.Long, Gen.Double).Array.Sample(rows => RoundTrips(rows));
        Gen.Select(Gen.String, Gen.Int).Select(pair => KeyValuePair.Create(pair.Item1, pair.Item2)).Array.Sample(rows => RoundTrips(rows));
        RoundTrips(new[] { (1, "a"), (2, "b") });
    }

    private sealed record Word(string Text, int Count);

    private readonly record struct Point(double X, double Y);

    private sealed record Node(int Value, Node? Next);

    private enum Colour : byte
    {
        Red = 1,
        Blue = 200,
    }

    private class Base
    {
        private readonly int secret = 1;

        public Base(int secret) => this.secret = secret;

        public int Secret => secret;
    }

    private sealed class Derived(int secret, string name) : Base(secret)
    {
        public string Name { get; } = name;

        [YarnishTransient]
        public Stream? Open { get; init; }

        [field: NonSerialized]
        public event EventHandler? Changed;

        public void Raise() => Changed?.Invoke(this, EventArgs.Empty);
    }

    private struct Mutable
    {
        public int A;
        public List<string>? Names;
        public int[]? Numbers { get; set; }
    }

    [Fact]
    public void Private_nested_records_and_structs_are_rows()
    {
        Gen.Select(Gen.String, Gen.Int, (text, count) => new Word(text, count)).Array.Sample(rows => RoundTrips(rows));
        Gen.Select(Gen.Double, Gen.Double, (x, y) => new Point(x, y)).Array.Sample(rows => RoundTrips(rows));
        RoundTrips(new[] { new Node(1, new Node(2, new Node(3, null))) });
        RoundTrips(new[] { KeyValuePair.Create(new Word("a", 1), new Point(1, 2)) });
        RoundTrips(new[] { (Colour.Blue, (Colour?)Colour.Red, (Colour?)null) });
    }

    [Fact]
    public void Fields_travel_private_inherited_and_read_only_ones_too_and_transient_ones_stay()
    {
        var row = new Derived(42, "x") { Open = Stream.Null };
        row.Changed += (_, _) => { };

        var back = Assert.Single(Read<Derived>(Write([row])));

        Assert.Equal(42, back.Secret);
        Assert.Equal("x", back.Name);
        Assert.Null(back.Open);
        back.Raise();
    }

    [Fact]
    public void Fields_are_read_and_written_the_same_without_dynamic_code()
    {
        Same(new Word("a", 7));
        Same(new Point(1, -0.5));
        Same(new { A = 1, B = "x", C = (int?)null });
        Same(new Node(1, new Node(2, null)));

        static void Same<T>(T row)
        {
            var compiled = new MessagePackRowFormat<T>(new FieldFormatter<T>(compiled: true));
            var reflected = new MessagePackRowFormat<T>(new FieldFormatter<T>(compiled: false));
            var (left, right) = (new ArrayBufferWriter<byte>(), new ArrayBufferWriter<byte>());
            compiled.Write(left, row);
            reflected.Write(right, row);

            Assert.Equal(left.WrittenSpan, right.WrittenSpan);
            Assert.Equal(row, Assert.Single(((IRowFormat<T>)reflected).Read(left.WrittenMemory)));
        }
    }

    [Fact]
    public void Anonymous_types_are_rows() => RoundTrips(Enumerable.Range(0, 100).Select(number => new { Number = number, Text = $"{number}", Inner = new { Half = number / 2.0 } }).ToArray());

    [Fact]
    public void Values_of_the_framework_come_back_exactly()
    {
        RoundTrips(new[] { 1.0m, 1.00m, decimal.MaxValue, -0.1m });
        RoundTrips(new[] { Guid.NewGuid() });
        RoundTrips(new[] { DateOnly.MaxValue, new DateOnly(2020, 2, 29) });
        RoundTrips(new[] { TimeOnly.MaxValue });
        RoundTrips(new[] { TimeSpan.MinValue, TimeSpan.MaxValue });
        RoundTrips(new[] { BigInteger.Pow(7, 100), BigInteger.MinusOne });
        RoundTrips(new[] { new Uri("https://example.org/a?b=c") });
        RoundTrips(new[] { Half.MaxValue });
        RoundTrips(new[] { Int128.MinValue, Int128.MaxValue, 5 });
        RoundTrips(new[] { new System.Text.Rune('x') });
        RoundTrips(new[] { 'a', '\uffff' });
        RoundTrips(new[] { true, false });
        RoundTrips(new[] { (byte)200 });
        RoundTrips(new[] { new Version(1, 2, 3) });
        RoundTrips(new[] { DateTimeOffset.MaxValue, new DateTimeOffset(2020, 1, 1, 0, 0, 0, TimeSpan.FromMinutes(-90)) });
        Assert.Equal(TimeSpan.FromMinutes(-90), Read<DateTimeOffset>(Write([new DateTimeOffset(2020, 1, 1, 0, 0, 0, TimeSpan.FromMinutes(-90))])).Single().Offset);
        foreach (var kind in Enum.GetValues<DateTimeKind>())
        {
            var back = Read<DateTime>(Write([new DateTime(1234567890123456789, kind), DateTime.MinValue, DateTime.MaxValue])).ToArray();
            Assert.Equal(new DateTime(1234567890123456789, kind), back[0]);
            Assert.Equal(kind, back[0].Kind);
            Assert.Equal([DateTime.MinValue, DateTime.MaxValue], back[1..]);
        }
    }

    [Fact]
    public void Collections_come_back_equal()
    {
        Same<int[]>([1, 2, 3]);
        Same<string?[]>(["a", null]);
        Same<Word[]>([new("a", 1)]);
        Same<List<string>>(["a", "\ud800"]);
        Same<List<Point>>([new(1, 2)]);
        Same<Dictionary<string, List<int>>>(new() { ["a"] = [1, 2], ["b"] = [] });
        Same<HashSet<Word>>([new("a", 1)]);
        Same<IEnumerable<int>>([1, 2]);
        Same<IReadOnlyList<Word>>([new("a", 1)]);
        Same<ImmutableArray<int>>([1, 2]);
        Same<ImmutableList<string>>(["a"]);
        Same<ImmutableDictionary<string, int>>(ImmutableDictionary<string, int>.Empty.Add("a", 1));
        Same<SortedDictionary<string, int>>(new() { ["a"] = 1 });
        Same<Queue<int>>(new([1, 2]));
        Same<DateTime[]>([new(1, DateTimeKind.Local)]);
        Same<Colour[]>([Colour.Blue]);
        Same<KeyValuePair<string, IEnumerable<long>>[]>([KeyValuePair.Create<string, IEnumerable<long>>("a", [1L, 2])]);
        Assert.Equal(new[,] { { 1, 2 }, { 3, 4 } }, Read<int[,]>(Write([new[,] { { 1, 2 }, { 3, 4 } }])).Single());
        var eight = (1, 2, 3, 4, 5, 6, 7, "eight");
        RoundTrips(new[] { eight });
        RoundTrips(new[] { Tuple.Create(1, "a", new Word("b", 2)) });
        var mutable = Read<Mutable>(Write([new Mutable { A = 1, Names = ["x"], Numbers = [1] }])).Single();
        Assert.Equal((1, "x", 1), (mutable.A, mutable.Names!.Single(), mutable.Numbers!.Single()));

        static void Same<TRows>(TRows rows) => Assert.Equivalent(rows, Read<TRows>(Write([rows])).Single(), strict: true);
    }

    private interface IAnimal;

    private record Animal(string Name) : IAnimal;

    private sealed record Dog(string Name, int Age) : Animal(Name);

    private sealed record Order(int Id, Customer Customer);

    private sealed class Customer
    {
        public DbConnection? Db { get; init; }
    }

    private sealed class Words : List<string>;

    [Fact]
    public void What_cannot_be_a_row_is_refused_with_the_path_and_the_cure()
    {
        Refused<Order>("Order cannot be a row: Order → Customer.Db : DbConnection — connections cannot leave the driver. Open it inside MapPartitions, or copy the value you need to a local first.");
        Refused<Func<int>>("Func<int> cannot be a row: Func<int> — functions are no data. Keep the values it works on, and call it where the row is used.");
        Refused<Stream>("Stream cannot be a row: Stream — streams cannot leave the driver. Capture the path and open the file inside MapPartitions.");
        Refused<object>("object cannot be a row: object — nothing says what it will hold. Use the concrete type.");
        Refused<IAnimal>("IAnimal cannot be a row: IAnimal — an interface does not say which type will arrive. Use the concrete type, or put MessagePack's [Union] on it.");
        Refused<nint>("nint cannot be a row: nint — a native handle means nothing in another process. Open the resource inside MapPartitions.");
        Refused<KeyValuePair<string, List<object>>>("KeyValuePair<string, List<object>> cannot be a row: KeyValuePair<string, List<object>> → Value[] : object — nothing says what it will hold. Use the concrete type.");
        Refused<(int, Task<int>)>("(int, Task<int>) cannot be a row: (int, Task<int>) → Item2 : Task<int> — a running task cannot leave the driver. Await it first and capture its result.");
        Refused<Exception>("Exception cannot be a row: Exception — exceptions hold stack frames of one process. Keep the message, or the whole text by ToString().");
        Refused<Type>("Type cannot be a row: Type — code is no data. Keep its name.");
        Refused<Words>("Words cannot be a row: Words — it derives from List<string>, a type of the framework that keeps its state to itself. Hold a List<string> in a field instead, if that can be a row.");
        Refused<System.Text.RegularExpressions.Regex>(
            "Regex cannot be a row: Regex — it is a type of the framework that keeps its state to itself. Keep the values you need from it in a record.");
        Refused<CancellationToken[]>("CancellationToken[] cannot be a row: CancellationToken[] → [] : CancellationToken — cancellation tokens cannot leave the driver. Pass it to the action, and look at TaskContext.Current.Cancellation inside the function.");

        static void Refused<T>(string message)
        {
            Assert.Equal(message, Assert.Throws<RowTypeException>(() => RowFormats.For<T>()).Message);
            Assert.Equal(message, Assert.Throws<RowTypeException>(() => RowFormats.For<T>()).Message);
        }
    }

    [Fact]
    public void A_derived_object_in_a_row_of_its_base_is_refused_not_cut() =>
        Assert.Equal(
            "A row or member of type Animal holds a Dog: only the fields of Animal would arrive. Use Dog itself as the type, or one type with a field that tells the cases apart, or MessagePack's [Union] on Animal.",
            Assert.Throws<RowTypeException>(() => Write<Animal>([new Dog("a", 1)])).Message);

    [Fact]
    public void A_collection_with_a_comparer_of_its_own_is_refused_not_changed()
    {
        Assert.Equal(
            "A row holds a HashSet<string> with a comparer of its own (OrdinalComparer), and rows do not keep comparers. "
            + "Change the keys so that the default comparer does, for example by ToUpperInvariant, or keep the items in a list.",
            Assert.Throws<RowTypeException>(() => Write<HashSet<string>>([new(StringComparer.OrdinalIgnoreCase)])).Message);
        Assert.Throws<RowTypeException>(() => Write([(1, new SortedDictionary<int, int>(Comparer<int>.Create((left, right) => right - left)))]));
        Assert.Throws<RowTypeException>(() => Write([ImmutableDictionary.Create<string, int>(StringComparer.OrdinalIgnoreCase)]));
        Assert.Equal("a", Read<HashSet<string>>(Write<HashSet<string>>([new(["a"], StringComparer.Ordinal)])).Single().Single());
        Assert.Equal(1, Read<SortedDictionary<string, int>>(Write<SortedDictionary<string, int>>([new() { ["a"] = 1 }])).Single()["a"]);
    }

    [Fact]
    public void A_row_that_refers_to_itself_is_an_error_not_a_crash()
    {
        var rows = new Loop();
        rows.Self = rows;

        Assert.StartsWith("A row of type Loop nests too deep to be written", Assert.Throws<InvalidOperationException>(() => Write([rows])).Message);
    }

    private sealed class Loop
    {
        public Loop? Self { get; set; }
    }

    [Fact]
    public void Damaged_bytes_are_one_clear_error()
    {
        Damaged(Write(["hello", "world"]));
        Damaged(Write([("hello", 123456789L), ("world", 2L)]));
        Damaged(Write([KeyValuePair.Create(1.5, new byte[] { 1, 2, 3 })]));
        Damaged(Write([new Word("hello", 1), new Word("world", 70_000)]));
        Damaged(Write([new Dictionary<string, Word[]> { ["a"] = [new Word("hello", 1)] }]));

        static void Damaged<T>((byte[] Bytes, T[] Rows) written)
        {
            // Cut anywhere, or with any byte changed: the rows that were there, other rows of the type, or the error; nothing else.
            for (var length = 0; length < written.Bytes.Length; length++)
            {
                var bytes = written.Bytes[..length];
                Only(bytes);
                var whole = 0;
                try
                {
                    foreach (var row in RowFormats.For<T>().Read(bytes))
                    {
                        whole++;
                    }
                }
                catch (CorruptRowException)
                {
                }

                Assert.True(whole <= written.Rows.Length);
            }

            var random = new Random(7);
            for (var attempt = 0; attempt < 3_000; attempt++)
            {
                var bytes = written.Bytes.ToArray();
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
                Only(bytes);
            }

            static void Only(byte[] bytes)
            {
                try
                {
                    _ = RowFormats.For<T>().Read(bytes).Count();
                }
                catch (CorruptRowException)
                {
                }
            }
        }
    }

    [Fact]
    public void The_error_of_damaged_bytes_says_where_and_what()
    {
        var bytes = Write(["hello", "world"]).Bytes;
        bytes[6] = 0xc3;

        Assert.Equal(
            "The bytes from 6 on, of 12, are not a row of type string: they are damaged, cut short, or were written by other code (found byte 0xc3 where a string should begin). "
            + "Compute the partition again; if it happens again, driver and executor run different builds of the application.",
            Assert.Throws<CorruptRowException>(() => RowFormats.For<string>().Read(bytes).ToArray()).Message);
    }

    [Fact]
    public void Writing_a_common_row_allocates_nothing()
    {
        var output = new ArrayBufferWriter<byte>(1 << 20);
        Assert.Equal(0, Allocated(RowFormats.For<KeyValuePair<string, long>>(), KeyValuePair.Create("the", 12345L)));
        Assert.Equal(0, Allocated(RowFormats.For<string>(), "some words"));
        Assert.Equal(0, Allocated(RowFormats.For<Word>(), new Word("some words", 7)));
        Assert.Equal(0, Allocated(RowFormats.For<Point>(), new Point(1, 2)));

        long Allocated<T>(IRowFormat<T> format, T row)
        {
            for (var warm = 0; warm < 50; warm++)
            {
                format.Write(output, row);
            }

            output.ResetWrittenCount();
            var before = GC.GetAllocatedBytesForCurrentThread();
            for (var count = 0; count < 1000; count++)
            {
                format.Write(output, row);
            }

            return GC.GetAllocatedBytesForCurrentThread() - before;
        }
    }

    private static bool RoundTrips<T>(T[] rows)
    {
        Assert.Equal(rows, Read<T>(Write(rows)));
        return true;
    }

    private static (byte[] Bytes, T[] Rows) Write<T>(T[] rows)
    {
        var output = new ArrayBufferWriter<byte>();
        foreach (var row in rows)
        {
            RowFormats.For<T>().Write(output, row);
        }

        return (output.WrittenSpan.ToArray(), rows);
    }

    private static IEnumerable<T> Read<T>((byte[] Bytes, T[] Rows) written) => RowFormats.For<T>().Read(written.Bytes);
}
