using System.Collections.Concurrent;
using System.Collections.Frozen;
using System.Collections.Immutable;
using System.Data.Common;
using System.Globalization;
using System.Numerics;
using System.Text;
using System.Text.RegularExpressions;
using Xunit;
using Yarnish.Serialization;

namespace Yarnish.Tests.Serialization;

public sealed class ClosureSerializerTests
{
    private static T Travel<T>(T graph)
        where T : notnull => ClosureSerializer.Deserialize<T>(ClosureSerializer.Serialize(graph, "Test").Bytes);

    private static string JsonOf(object graph) => Encoding.ASCII.GetString(ClosureSerializer.Serialize(graph, "Test").Bytes.Span);

    [Fact]
    public void Lambdas_travel_with_what_they_capture()
    {
        var factor = 3;
        var words = new List<string> { "a", "b" };
        Func<int, int> times = x => x * factor;
        Func<string, bool> known = word => words.Contains(word);
        Func<int, int> nothing = static x => x + 1;

        Assert.Equal(21, Travel(times)(7));
        Assert.True(Travel(known)("b"));
        Assert.False(Travel(known)("c"));
        Assert.Equal(2, Travel(nothing)(1));
    }

    [Fact]
    public void A_zero_in_a_nullable_is_not_null()
    {
        int? zero = 0;
        bool? no = false;
        double? none = null;
        Func<string> told = () => $"{zero?.ToString() ?? "null"} {no?.ToString() ?? "null"} {none?.ToString() ?? "null"}";

        Assert.Equal("0 False null", Travel(told)());
    }

    [Fact]
    public void Captured_objects_are_new_each_time()
    {
        var seen = new List<int>();
        Func<int, int> count = x =>
        {
            seen.Add(x);
            return seen.Count;
        };
        var bytes = ClosureSerializer.Serialize(count, "Test").Bytes;

        Assert.Equal(1, ClosureSerializer.Deserialize<Func<int, int>>(bytes)(5));
        Assert.Equal(1, ClosureSerializer.Deserialize<Func<int, int>>(bytes)(5));
        Assert.Empty(seen);
    }

    [Fact]
    public void Nested_scopes_travel()
    {
        var outer = 10;
        Func<int, int>? found = null;
        foreach (var middle in new[] { 5 })
        {
            var inner = middle + 1;
            found = x => outer + middle + inner + x;
        }

        Assert.Equal(22, Travel(found!)(1));
    }

    [Fact]
    public async Task Async_lambdas_travel()
    {
        var wait = TimeSpan.FromTicks(1);
        var name = "x";
        Func<int, Task<string>> work = async number =>
        {
            await Task.Delay(wait);
            return await Inner(number);

            async Task<string> Inner(int value)
            {
                await Task.Yield();
                return name + value;
            }
        };

        Assert.Equal("x5", await Travel(work)(5));
    }

    [Fact]
    public void Local_functions_and_iterators_travel()
    {
        var step = 2;
        int Twice(int x) => x * step;
        IEnumerable<int> Steps(int count)
        {
            for (var index = 0; index < count; index++)
            {
                yield return Twice(index);
            }
        }

        Func<int, int> twice = Twice;
        Func<int, IEnumerable<int>> steps = Steps;

        Assert.Equal(8, Travel(twice)(4));
        Assert.Equal([0, 2, 4], Travel(steps)(3));
    }

    private static int Half(int number) => number / 2;

    [Fact]
    public void Method_groups_travel()
    {
        var prefix = "ab";
        Func<int, int> half = Half;
        Func<string, int> parse = int.Parse;
        Func<string, bool> starts = prefix.StartsWith;
        Func<string, string> upper = new Greeter("Hello").Greet;
        Func<int, IEnumerable<int>> first = new[] { 1, 2, 3 }.Take;

        Assert.Equal(4, Travel(half)(8));
        Assert.Equal(12, Travel(parse)("12"));
        Assert.True(Travel(starts)("a"));
        Assert.Equal("Hello you", Travel(upper)("you"));
        Assert.Equal([1, 2], Travel(first)(2));
    }

    private sealed class Greeter(string greeting)
    {
        public string Greet(string name) => $"{greeting} {name}";
    }

    private class Job
    {
        private readonly int limit;

        public Job(int limit) => this.limit = limit;

        public virtual Func<int, bool> Small() => x => x < limit;
    }

    private sealed class DerivedJob(int limit, int extra) : Job(limit)
    {
        private int calls;

        public override Func<int, bool> Small()
        {
            var lower = base.Small();
            return x => lower(x) || x == extra + calls++;
        }
    }

    [Fact]
    public void This_travels_when_it_can()
    {
        var small = Travel(new Job(10).Small());
        var either = Travel(new DerivedJob(10, 77).Small());

        Assert.True(small(9));
        Assert.False(small(10));
        Assert.True(either(77));
        Assert.False(either(80));
    }

    private sealed class Box<T>(T value)
    {
        public Func<TOther, (T, TOther)> Pair<TOther>() => other => (value, other);

        public static Func<T, TOther, string> Text<TOther>()
        {
            var kinds = $"{typeof(T).Name} {typeof(TOther).Name}";
            return (first, second) => $"{first} {second} {kinds} {Name<TOther>()}";
        }

        private static string Name<TOther>() => typeof(TOther).Name;
    }

    private static Func<T, List<T>> Generic<T>(T fixedItem)
        where T : notnull
    {
        return item => [fixedItem, item];
    }

    [Fact]
    public void Generic_methods_and_classes_travel()
    {
        Assert.Equal(["a", "b"], Travel(Generic("a"))("b"));
        Assert.Equal([1, 2], Travel(Generic(1))(2));
        Assert.Equal((5, "x"), Travel(new Box<int>(5).Pair<string>())("x"));
        Assert.Equal("1 True Int32 Boolean Boolean", Travel(Box<int>.Text<bool>())(1, true));
        Assert.Equal([(1, "a"), (2, "b")], Travel(Generic((1, "a")))((2, "b")));
    }

    [Fact]
    public void A_neighbours_captured_connection_is_left_behind()
    {
        using var connection = new FakeConnection();
        var limit = 5;
        var table = new byte[1_000_000];
        Func<int, bool> small = x => x < limit;
        Action other = () => GC.KeepAlive((connection, table));
        other();

        var bytes = ClosureSerializer.Serialize(small, "Test").Bytes;

        Assert.True(bytes.Length < 2_000, $"{bytes.Length}");
        Assert.True(ClosureSerializer.Deserialize<Func<int, bool>>(bytes)(4));
        Assert.Throws<ClosureException>(() => ClosureGuard.Check(other, "Select", ""));
    }

    [Fact]
    public async Task What_a_nested_lambda_local_function_or_state_machine_reads_is_kept()
    {
        using var connection = new FakeConnection();
        var limit = 5;
        var name = "n";
        var unit = "kg";
        Action other = () => GC.KeepAlive(connection);
        other();
        string Unit() => unit;
        Func<int, Func<string>> nested = x => () => $"{name}{x}{limit}{Unit()}";
        Func<int, Task<string>> machine = async x =>
        {
            await Task.Yield();
            return name + x + Unit();
        };
        Func<int, IEnumerable<string>> query = x => from item in Enumerable.Range(0, x) where item < limit select name + item;

        Assert.Equal("n15kg", Travel(nested)(1)());
        Assert.Equal("n2kg", await Travel(machine)(2));
        Assert.Equal(["n0", "n1"], Travel(query)(2));
    }

    [Fact]
    public void A_captured_delegate_keeps_what_it_reads_itself()
    {
        using var connection = new FakeConnection();
        var a = 1;
        var b = 2;
        Func<int> inner = () => b;
        Func<int> outer = () => a + inner();
        Action other = () => GC.KeepAlive(connection);
        other();

        Assert.Equal(3, Travel(outer)());
    }

    private sealed class Node
    {
        public string Name { get; set; } = "";

        public Node? Next { get; set; }

        public List<Node> Others { get; } = [];
    }

    [Fact]
    public void References_and_cycles_are_kept()
    {
        var first = new Node { Name = "first" };
        var second = new Node { Name = "second", Next = first };
        first.Next = second;
        first.Others.AddRange([first, second, second]);

        var back = Travel(first);

        Assert.Same(back, back.Next!.Next);
        Assert.Same(back, back.Others[0]);
        Assert.Same(back.Others[1], back.Others[2]);
        Assert.Equal("second", back.Next.Name);
    }

    [Fact]
    public void A_chain_of_forty_thousand_steps_needs_no_stack()
    {
        Node? last = null;
        for (var step = 0; step < 40_000; step++)
        {
            last = new Node { Next = last };
        }

        var count = 0;
        for (var at = Travel(last!); at is not null; at = at.Next)
        {
            count++;
        }

        Assert.Equal(40_000, count);
    }

    [Fact]
    public void Ten_thousand_composed_functions_travel()
    {
        Func<int, int> function = static x => x;
        for (var step = 0; step < 10_000; step++)
        {
            var before = function;
            function = x => before(x) + 1;
        }

        var back = Travel(function);
        var result = 0;
        var deep = new Thread(() => result = back(0), 256 << 20);
        deep.Start();
        deep.Join();

        Assert.Equal(10_000, result);
    }

    private record Animal(string Name);

    private sealed record Dog(string Name, int Age) : Animal(Name);

    private struct Point
    {
        public int X;
        public string? Label;
        public Animal? Owner;
    }

    private enum Colour : ulong
    {
        Red,
        Huge = ulong.MaxValue,
    }

    [Fact]
    public void Values_of_every_kind_travel()
    {
        Same<object>(true, (byte)1, (sbyte)-1, 'x', '\ud800', (short)-2, (ushort)2, -3, 3u, long.MinValue, ulong.MaxValue, 1.5f, double.NaN, double.NegativeInfinity, double.Epsilon, 0.1, 1.10m, "text", "lone \ud800 ü 語", "\u0001", "");
        Same<object>(Guid.NewGuid(), new DateTime(5, DateTimeKind.Utc), DateTimeOffset.MaxValue, TimeSpan.MinValue, DateOnly.MaxValue, TimeOnly.MaxValue, BigInteger.Pow(3, 99), Int128.MinValue, UInt128.MaxValue, System.Half.Epsilon, new Rune('x'));
        Same<object>(Colour.Huge, DayOfWeek.Friday, (int?)5, new Uri("http://x/y?z"), new Uri("a/b", UriKind.Relative), new Version(1, 2), 1..^2, (1, "a", 2.5), Tuple.Create(1, "b"), KeyValuePair.Create("k", 1), new Complex(1, 2));
        Same<object>(new Dog("Rex", 3), new { A = 1, B = "x" }, typeof(Dictionary<string, int[]>), typeof(List<>), typeof(Dog[,]), typeof(Dog), System.Net.IPAddress.IPv6Loopback, CultureInfo.GetCultureInfo(""), TimeZoneInfo.Utc);
        Assert.Equal(DateTimeKind.Local, Travel(new DateTime[] { new(7, DateTimeKind.Local) })[0].Kind);
        Assert.Equal("1.10", Travel(new[] { 1.10m })[0].ToString(CultureInfo.InvariantCulture));
        Assert.True(double.IsNegative(Travel(new[] { -0.0 })[0]));
        Assert.Equal([1, null, 3], Travel(new int?[] { 1, null, 3 }));
        Assert.Equal([1, 2, 3], Travel(new byte[] { 1, 2, 3 }));
        Assert.Equal(new[,] { { 1, 2, 3 }, { 4, 5, 6 } }, Travel(new[,] { { 1, 2, 3 }, { 4, 5, 6 } }));
        Assert.Equal([[1], [], [2, 3]], Travel(new int[][] { [1], [], [2, 3] }));
        Assert.Equal([DayOfWeek.Friday], Travel(new[] { DayOfWeek.Friday }));
        Assert.Equal("a b", Travel(new StringBuilder("a b")).ToString());
        Assert.Matches(Travel(new Regex("^a.c$", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant, TimeSpan.FromSeconds(1))), "ABC");
        var point = Travel(new Point[] { new() { X = 1, Label = "l", Owner = new Dog("Rex", 2) } })[0];
        Assert.Equal((1, "l", (Animal?)new Dog("Rex", 2)), (point.X, point.Label, point.Owner));
        var lazy = new Lazy<string>(() => "made");
        _ = lazy.Value;
        Assert.Equal("made", Travel(lazy).Value);
        Assert.Equal([1, 2], Travel(new ReadOnlyMemory<int>([0, 1, 2])[1..].ToArray()));
        Assert.Equal(1252.GetHashCode(), Travel(new object[] { 1252 })[0].GetHashCode());
        Assert.Equal("ü", Travel<Encoding>(new UTF8Encoding(false, true)).GetString([0xc3, 0xbc]));
        Assert.Throws<DecoderFallbackException>(() => Travel<Encoding>(new UTF8Encoding(false, true)).GetString([0xff]));

        static void Same<T>(params T[] values) => Assert.Equal(values, Travel(values));
    }

    [Fact]
    public void Collections_travel_with_their_comparers()
    {
        Assert.Equal([1, 2], Travel(new List<int> { 1, 2 }));
        Assert.Equal([1, 2], Travel(new Queue<int>([1, 2])));
        Assert.Equal([2, 1], Travel(new Stack<int>([1, 2])));
        Assert.Equal(["a", "b"], Travel(new LinkedList<string>(["a", "b"])));
        Assert.Equal(1, Travel(new Dictionary<string, int>(StringComparer.OrdinalIgnoreCase) { ["KEY"] = 1 })["key"]);
        Assert.Equal(2, Travel(new Dictionary<Dog, int> { [new("Rex", 1)] = 2 })[new("Rex", 1)]);
        Assert.Contains("A", Travel(new HashSet<string>(StringComparer.OrdinalIgnoreCase) { "a" }));
        Assert.DoesNotContain("A", Travel(new HashSet<string> { "a" }));
        Assert.Equal([3, 2, 1], Travel(new SortedSet<int>(Comparer<int>.Create((left, right) => right.CompareTo(left))) { 1, 2, 3 }));
        Assert.Equal([1, 2], Travel(new SortedDictionary<int, string> { [2] = "b", [1] = "a" }).Keys);
        Assert.Equal(["b", "a"], Travel(new SortedList<string, int>(StringComparer.Ordinal) { ["a"] = 1, ["b"] = 2 }).Keys.Reverse());
        Assert.Equal(7, Travel(new ConcurrentDictionary<string, int>([KeyValuePair.Create("x", 7)]))["x"]);
        Assert.Equal(["z", "a"], Travel(new OrderedDictionary<string, int> { ["z"] = 1, ["a"] = 2 }).Keys);
        Assert.Equal([1, 2], Travel(ImmutableArray.Create(1, 2)));
        Assert.Equal(["a"], Travel(ImmutableList.Create("a")));
        Assert.Equal([2, 1], Travel(ImmutableStack.Create(1, 2)).ToArray());
        Assert.Equal(1, Travel(ImmutableDictionary.Create<string, int>(StringComparer.OrdinalIgnoreCase).Add("A", 1))["a"]);
        Assert.Equal([(1, "x")], Travel(ImmutableHashSet.Create((1, "x"))));
        Assert.Equal(1, Travel(new Dictionary<string, int>(StringComparer.OrdinalIgnoreCase) { ["A"] = 1 }.ToFrozenDictionary(StringComparer.OrdinalIgnoreCase))["a"]);
        Assert.Equal(["a"], Travel(new[] { "a" }.ToFrozenSet()));
        Assert.Equal([new Dog("a", 1)], Travel(new List<Dog> { new("a", 1) }.AsReadOnly()));
        IEnumerable<int> expression = [1, 2, 3];
        Assert.Equal([1, 2, 3], Travel(expression));
        var nested = new Dictionary<HashSet<string>, List<string>>(HashSet<string>.CreateSetComparer()) { };
        Assert.Empty(nested);
    }

    [Fact]
    public void Comparers_travel_as_themselves()
    {
        Assert.Same(EqualityComparer<string>.Default, Travel<IEqualityComparer<string>>(EqualityComparer<string>.Default));
        Assert.Same(EqualityComparer<Dog>.Default, Travel<IEqualityComparer<Dog>>(EqualityComparer<Dog>.Default));
        Assert.Same(EqualityComparer<int?>.Default, Travel<IEqualityComparer<int?>>(EqualityComparer<int?>.Default));
        Assert.Same(EqualityComparer<DayOfWeek>.Default, Travel<IEqualityComparer<DayOfWeek>>(EqualityComparer<DayOfWeek>.Default));
        Assert.Same(Comparer<int>.Default, Travel<IComparer<int>>(Comparer<int>.Default));
        Assert.Same(StringComparer.Ordinal, Travel(StringComparer.Ordinal));
        Assert.Same(StringComparer.OrdinalIgnoreCase, Travel(StringComparer.OrdinalIgnoreCase));
        Assert.True(Travel(StringComparer.InvariantCultureIgnoreCase).Equals("A", "a"));
        Assert.Same(ReferenceEqualityComparer.Instance, Travel<object>(ReferenceEqualityComparer.Instance));
        Assert.Same(RowFormats.For<Dog>(), Travel(RowFormats.For<Dog>()));
        Assert.Same(RowFormats.For<(string, long)>(), Travel(RowFormats.For<(string, long)>()));
        Assert.Same(StableEquality<int[]>.Default, Travel(StableEquality<int[]>.Default));
        Assert.Same(StableEquality<string>.Default, Travel(StableEquality<string>.Default));
        var length = EqualityComparer<string>.Create((left, right) => left?.Length == right?.Length, text => text.Length);
        Assert.True(Travel<IEqualityComparer<string>>(length).Equals("ab", "cd"));
    }

    [Fact]
    public void Hash_tables_whose_keys_lead_back_to_them_are_whole()
    {
        var node = new Keyed("k");
        node.Table[node] = 5;

        var back = Travel(node);

        Assert.Equal(5, back.Table[back]);
        Assert.Equal(5, back.Table[new Keyed("k")]);
    }

    private sealed class Keyed(string name) : IEquatable<Keyed>
    {
        public Dictionary<Keyed, int> Table { get; } = [];

        private string Name { get; } = name;

        public bool Equals(Keyed? other) => other?.Name == Name;

        public override bool Equals(object? obj) => Equals(obj as Keyed);

        public override int GetHashCode() => Name.GetHashCode(StringComparison.Ordinal);
    }

#pragma warning disable CA1001
    private sealed class Transient
#pragma warning restore CA1001
    {
        [NonSerialized]
        public DbConnection? Field = new FakeConnection();

        [YarnishTransient]
        public DbConnection? Property { get; init; } = new FakeConnection();

        public int Kept { get; init; }
    }

    [Fact]
    public void Transient_fields_stay_behind()
    {
        var back = Travel(new Transient { Kept = 3 });

        Assert.Null(back.Field);
        Assert.Null(back.Property);
        Assert.Equal(3, back.Kept);
    }

    [Fact]
    public void Delegates_of_delegates_and_methods_travel()
    {
        Func<int, int> half = Half;
        Func<Func<int, int>, int, int> apply = (function, x) => function(x);
        Func<int, int> curried = x => apply(half, x);

        Assert.Equal(2, Travel(curried)(4));
        Assert.Equal(half.Method, Travel(half.Method));
    }

    [Fact]
    public void The_bytes_are_readable_and_the_same_each_time()
    {
        var limit = 5;
        Func<int, bool> small = x => x < limit;

        var json = JsonOf(small);

        Assert.Equal(json, JsonOf(small));
        Assert.Contains("\"limit\":5", json, StringComparison.Ordinal);
        Assert.Contains("\"name\":\"Yarnish.Tests\",\"mvid\":\"", json, StringComparison.Ordinal);
    }

    [Fact]
    public void Code_of_another_build_is_refused_with_both_identities()
    {
        Func<int, int> half = Half;
        var json = JsonOf(half);
        var identity = CodeIdentity.Of(typeof(ClosureSerializerTests).Assembly);
        var other = json.Replace(identity.Sha256, new string('0', 64), StringComparison.Ordinal);

        var error = Assert.Throws<CodeIdentityException>(() => ClosureSerializer.Deserialize<Func<int, int>>(Encoding.ASCII.GetBytes(other)));

        Assert.Equal(
            $"Yarnish.Tests is not the file the driver runs: the driver has MVID {identity.Mvid}, SHA-256 {new string('0', 64)}; this process has MVID {identity.Mvid}, SHA-256 {identity.Sha256}, "
            + $"from {typeof(ClosureSerializerTests).Assembly.Location}. Never build again on an executor: start the application again, so that its files are shipped anew.",
            error.Message);
    }

    [Fact]
    public void Code_built_again_while_the_program_runs_is_refused_in_the_driver()
    {
        var folder = Directory.CreateTempSubdirectory("yarnish-closures-");
        try
        {
            var file = Path.Combine(folder.FullName, "Yarnish.Protocol.dll");
            File.Copy(Path.Combine(AppContext.BaseDirectory, "Yarnish.Protocol.dll"), file);
            var loaded = new System.Runtime.Loader.AssemblyLoadContext("rebuilt").LoadFromAssemblyPath(file);
            File.Copy(Path.Combine(AppContext.BaseDirectory, "Yarnish.Blocks.dll"), file + ".new");
            File.Move(file + ".new", file, overwrite: true);

            Assert.Matches(
                "^.*Yarnish.Protocol.dll was built again while the program runs: this process runs MVID [0-9a-f-]{36}, the file has [0-9a-f-]{36}, and executors would be given the file. Start the program again.$",
                Assert.Throws<ClosureException>(() => CodeIdentity.Of(loaded)).Message);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    [Fact]
    public void A_method_that_is_not_the_named_one_is_refused()
    {
        Func<int, int> half = Half;
        var json = JsonOf(half);

        Refused(json.Replace("\"Half\"", "\"Other\"", StringComparison.Ordinal), "has no method Other (Int32 Half(Int32))");
        Refused(json.Replace($"\"token\":{half.Method.MetadataToken}", "\"token\":100663297", StringComparison.Ordinal), "has no method Half (Int32 Half(Int32)) with token 0x06000001; found ");
        Refused(json.Replace("\"version\":1", "\"version\":9", StringComparison.Ordinal), "has format 9, this process reads 1");
        Refused(json.Replace("\"name\":\"Yarnish.Tests\"", "\"name\":\"No.Such\"", StringComparison.Ordinal), "needs No.Such, which this process does not have");
    }

    [Fact]
    public void Types_outside_the_application_and_the_core_list_are_not_made()
    {
        // What an attacker who can write to the queue would try.
        var json = JsonOf(new List<object> { new Uri("http://x") });
        Refused(json.Replace("\"System.Uri\"", "\"System.Net.CookieContainer\"", StringComparison.Ordinal).Replace("\"assembly\":1", "\"assembly\":1", StringComparison.Ordinal), "has no type");
        var core = typeof(object).Assembly.GetName().Name!;
        Refused($$"""{"version":1,"assemblies":[{"name":"{{core}}"}],"types":[{"assembly":0,"name":"System.IO.FileStream"}],"methods":[]}""" + "\n" + """{"root":"#0","objects":[{"$id":0,"$type":0}],"content":[]}""", "wants an object of type FileStream, which may not be made from bytes");
        Refused(
            $$"""{"version":1,"assemblies":[{"name":"{{core}}"}],"types":[{"assembly":0,"name":"System.IO.File"},{"assembly":0,"name":"System.String"},{"assembly":0,"name":"System.Action`1","arguments":[1]}],"methods":[{"type":0,"name":"Delete","signature":"Void Delete(System.String)"}]}"""
            + "\n" + """{"root":"#0","objects":[{"$id":0,"$type":2,"method":0}],"content":[]}""",
            "File.Delete may not be called from outside");
    }

    private static void Refused(string json, string message) =>
        Assert.Contains(message, Assert.Throws<CodeIdentityException>(() => ClosureSerializer.Deserialize<object>(Encoding.ASCII.GetBytes(json))).Message, StringComparison.Ordinal);

    [Fact]
    public void Damaged_bytes_are_one_clear_error()
    {
        var names = new Dictionary<string, int[]> { ["a"] = [1, 2], ["b"] = [] };
        Func<string, int> sum = name => names[name].Sum();
        var bytes = ClosureSerializer.Serialize(sum, "Test").Bytes.ToArray();
        var newline = Array.IndexOf(bytes, (byte)'\n');
        var random = new Random(5);

        for (var attempt = 0; attempt < 2_000; attempt++)
        {
            var damaged = bytes.ToArray();
            damaged[random.Next(newline, bytes.Length)] = (byte)random.Next(256);
            Only(damaged);
        }

        for (var length = 0; length < bytes.Length; length += 3)
        {
            Only(bytes[..length]);
        }

        static void Only(byte[] bytes)
        {
            try
            {
                ClosureSerializer.Deserialize<Func<string, int>>(bytes);
            }
            catch (CodeIdentityException)
            {
            }
        }
    }

    internal sealed class FakeConnection : DbConnection
    {
#pragma warning disable CS8765
        public override string ConnectionString { get; set; } = "";
#pragma warning restore CS8765

        public override string Database => "";

        public override string DataSource => "";

        public override string ServerVersion => "";

        public override System.Data.ConnectionState State => default;

        public override void ChangeDatabase(string databaseName) => throw new NotSupportedException();

        public override void Close()
        {
        }

        public override void Open() => throw new NotSupportedException();

        protected override DbTransaction BeginDbTransaction(System.Data.IsolationLevel isolationLevel) => throw new NotSupportedException();

        protected override DbCommand CreateDbCommand() => throw new NotSupportedException();
    }
}
