using Xunit;

namespace Yarnish.Tests.Analyzers;

public sealed class ClosureAnalyzerTests
{
    [Fact]
    public async Task Functions_that_can_travel_are_left_alone() => await Compiled.HasAsync("""
        sealed class Job(int limit)
        {
            private readonly string prefix = "x";
            private static readonly Dictionary<string, int> Cache = [];

            async Task Run(Rdd<string> lines, CancellationToken cancellation)
            {
                var known = new HashSet<string> { "a" };
                const int Factor = 2;
                var words = lines
                    .SelectMany(static line => line.Split(' '))
                    .Where(word => word.Length > limit && !known.Contains(word))
                    .Select(word => prefix + word + Factor)
                    .Select(word => { var seen = new List<string>(); seen.Add(word); var count = 0; count++; return seen.Count + count; })
                    .Select(number => Double(number))
                    .Select(Double);
                int Double(int number) => number * Factor;
                await words.CountAsync(cancellation);
                var random = from word in lines where word.Length > 2 select word.Length;
            }
        }
        """);

    [Fact]
    public async Task YRN0001_this_with_a_connection() => Assert.Equal(
        ["The function captures 'this' (OrderJob), and OrderJob.db (DbConnection) cannot leave the driver. Copy the members it reads to locals before the call."],
        await Compiled.HasAsync("""
            sealed class OrderJob
            {
                private readonly DbConnection db = null!;
                private readonly int limit = 3;

                public string Name() => db.Database;

                Rdd<string> Run(Rdd<string> lines) => lines.Where(line => line.Length > [|YRN0001:limit|]);
            }
            """));

    [Fact]
    public async Task YRN0001_in_every_disguise() => Assert.Equal(
        [
            "The function captures 'this' (A), and A.connection (DbConnection) cannot leave the driver. Copy the members it reads to locals before the call.",
            "The function captures 'this' (B), and B.Settings → Settings.Log (Stream) cannot leave the driver. Copy the members it reads to locals before the call.",
            "The function captures 'this' (B), and B.Settings → Settings.Log (Stream) cannot leave the driver. Copy the members it reads to locals before the call.",
            "The function captures 'this' (B), and B.Settings → Settings.Log (Stream) cannot leave the driver. Copy the members it reads to locals before the call.",
            "The function captures 'this' (B), and B.Settings → Settings.Log (Stream) cannot leave the driver. Copy the members it reads to locals before the call.",
        ],
        await Compiled.HasAsync("""
            sealed class A(DbConnection connection, int limit)
            {
                public string Name => connection.Database;
                Rdd<string> Run(Rdd<string> lines) => lines.Where(line => line.Length > [|YRN0001:limit|]);
            }

            sealed record Settings(int Limit, Stream Log);

            class B
            {
                public Settings Settings { get; } = null!;
                bool Is(string line) => line.Length > Settings.Limit;
                void Run(Rdd<string> lines)
                {
                    bool Local(string line) => [|YRN0001:Is|](line);
                    lines.Where(Local);
                    lines.Where([|YRN0001:Is|]);
                    lines.Where(line => new[] { line }.Any(inner => [|YRN0001:this|].Is(inner)));
                    lines.Select(line => [|YRN0001:Settings|].Limit);
                }
            }

            sealed class Kept
            {
                [NonSerialized] private DbConnection? db;
                [YarnishTransient] private Stream? Log { get; set; }
                private int limit;
                Rdd<string> Run(Rdd<string> lines) => lines.Where(line => line.Length > limit);
                void Use() => GC.KeepAlive((db, Log, limit++));
            }
            """));

    [Fact]
    public async Task YRN0002_handles_of_the_driver() => Assert.Equal(
        [
            "The function captures 'other' (Rdd<int>), which exists only in the driver. Join the two collections, or collect the small one first and capture its rows.",
            "The function captures 'source' (CancellationTokenSource), which exists only in the driver. Cancel the action instead, and look at TaskContext.Current.Cancellation inside the function.",
            "The function captures 'token' (CancellationToken), which exists only in the driver. Cancel the action instead, and look at TaskContext.Current.Cancellation inside the function.",
            "The function captures 'rdds' (Rdd<int>), which exists only in the driver. Join the two collections, or collect the small one first and capture its rows.",
        ],
        await Compiled.HasAsync("""
            class Program
            {
                void Run(Rdd<string> lines, Rdd<int> other, CancellationToken token, List<Rdd<int>> rdds)
                {
                    using var source = new CancellationTokenSource();
                    lines.Select(line => [|YRN0002:other|].Partitions);
                    lines.Select(line => [|YRN0002:source|].IsCancellationRequested);
                    lines.Where(line => [|YRN0002:token|].CanBeCanceled);
                    lines.Where(line => [|YRN0002:rdds|].Count > 0);
                }
            }
            """));

    [Fact]
    public async Task YRN0003_objects_of_one_process()
    {
        var messages = await Compiled.HasAsync("""
            sealed class Config { public HttpClient Client = new(); }

            class Program
            {
                void Run(Rdd<string> lines, DbConnection connection, Stream stream, Task<int> task, Config config, IServiceProvider services, Func<Thread> make, nint handle)
                {
                    var random = new Random(1);
                    var gate = new Lock();
                    lines.Select(line => [|YRN0003:connection|].Database);
                    lines.Select(line => [|YRN0003:stream|].Length);
                    lines.Select(line => [|YRN0003:task|].Id);
                    lines.Select(line => [|YRN0003:config|].Client.Timeout);
                    lines.Select(line => [|YRN0003:services|].GetService(typeof(int)));
                    lines.Select(line => [|YRN0003:random|].Next());
                    lines.Select(line => [|YRN0003:handle|] + 1);
                    lines.Select(line => [|YRN0003:gate|].IsHeldByCurrentThread);
                    lines.Where([|YRN0003:stream|].Equals);
                    lines.SelectMany(line => from item in line where [|YRN0003:connection|].State == default select item);
                }
            }
            """);
        Assert.Equal("The function captures 'connection' (DbConnection), which cannot leave the driver. Open the connection inside MapPartitions.", messages[0]);
        Assert.Equal("The function captures 'config' (Config.Client (HttpClient)), which cannot leave the driver. Use a static HttpClient, or create one inside MapPartitions.", messages[3]);
    }

    [Fact]
    public async Task YRN0004_collections_that_ride_along_with_this() => Assert.Equal(
        ["The function captures 'this' (Job), so that 'table' travels with every stage though the function does not read it. Copy the members it reads to locals before the call."],
        await Compiled.HasAsync("""
            sealed class Job
            {
                private readonly Dictionary<string, int> table = [];
                private readonly int limit = 3;

                int Look(string word) => table[word];
                void Run(Rdd<string> lines)
                {
                    lines.Where(line => line.Length > [|YRN0004:limit|]);
                    lines.Where(line => table.ContainsKey(line) && line.Length > limit);
                    lines.Where(line => Look(line) > limit);
                }
            }
            """));

    [Fact]
    public async Task YRN0005_changes_that_never_come_back() => await Compiled.HasAsync("""
        class Program
        {
            private static int total;
            private static readonly Dictionary<string, int> Cache = [];
            private int mine;

            void Run(Rdd<string> lines, List<string> found, int[] counts)
            {
                var count = 0;
                string? last = null;
                lines.Where(line => { [|YRN0005:count|]++; return true; });
                lines.Where(line => { [|YRN0005:last|] = line; return true; });
                lines.Where(line => { [|YRN0005:found|].Add(line); return true; });
                lines.Where(line => { [|YRN0005:counts[0]|] += 1; return true; });
                lines.Where(line => { [|YRN0005:total|]++; return true; });
                lines.Where(line => { [|YRN0005:mine|]++; return true; });
                lines.Where(line => Interlocked.Increment(ref [|YRN0005:count|]) > 0);
                lines.Where(line => { Note(line); return true; });
                lines.Where(line => Cache.TryAdd(line, 1));
                void Note(string line) => [|YRN0005:found|].Add(line);
            }
        }
        """);

    [Fact]
    public async Task YRN0007_results_that_differ_when_computed_again()
    {
        var messages = await Compiled.HasAsync("""
            class Program
            {
                async Task Run(Rdd<string> lines)
                {
                    lines.Select(line => [|YRN0007:DateTime.UtcNow|]);
                    lines.Select(line => [|YRN0007:Guid.NewGuid()|]);
                    lines.Select(line => [|YRN0007:new Random()|].Next());
                    lines.Select(line => [|YRN0007:Random.Shared|].Next());
                    lines.Select(line => new Random(line.Length).Next());
                    var now = DateTime.UtcNow;
                    lines.Select(line => now);
                    await lines.ReduceAsync((left, right) => left + DateTime.Now);
                }
            }
            """);
        Assert.Equal("DateTime.UtcNow gives another result when a lost partition is computed again. Take the value before the call, or seed it with TaskContext.Current.Partition.", messages[0]);
        Assert.StartsWith("Guid.NewGuid gives", messages[1]);
        Assert.StartsWith("new Random() gives", messages[2]);
    }

    [Fact]
    public async Task YRN0008_async_functions_and_actions_without_await() => Assert.Equal(
        [
            "This asynchronous function returns tasks, which cannot leave the executor. Give a synchronous one, or use SelectAsync",
            "Nobody awaits CountAsync: its job runs on alone, and its errors are lost. Await it",
        ],
        await Compiled.HasAsync("""
            class Program
            {
                async Task Run(Rdd<string> lines)
                {
                    lines.Select([|YRN0008:async line => { await Task.Yield(); return line; }|]);
                    [|YRN0008:lines.CountAsync()|];
                    await lines.CountAsync();
                    var later = lines.CountAsync();
                    await later;
                }
            }
            """.Replace("async Task Run", "Task Run").Replace("await lines.CountAsync();", "").Replace("await later;", "return later;")));

    [Fact]
    public async Task YRN0009_collected_results_and_loops() => Assert.Equal(
        [
            "'rows' holds a whole result or file and travels with the code of the stage. Use a Broadcast when it is large, or Join the two collections",
            "'stop' holds a whole result or file and travels with the code of the stage. Use a Broadcast when it is large, or Join the two collections",
            "CollectAsync inside a loop brings all rows to the driver each time. Persist the collection, and let the executors reduce it first",
        ],
        await Compiled.HasAsync("""
            class Program
            {
                async Task Run(Rdd<string> lines)
                {
                    var rows = await lines.CollectAsync();
                    var stop = File.ReadAllLines("stop.txt");
                    lines.Where(line => [|YRN0009:rows|].Contains(line));
                    lines.Where(line => ![|YRN0009:stop|].Contains(line));
                    for (var round = 0; round < 3; round++)
                    {
                        await [|YRN0009:lines.CollectAsync()|];
                        await lines.CountAsync();
                    }
                }
            }
            """));

    [Fact]
    public async Task YRN0006_keys_without_value_equality() => Assert.Equal(
        [
            "'Reference' is no key for CountBy: two Reference are equal only when they are the same object, and after travelling they never are. Make it a record, or use one of its members as the key",
            "'(int, object)' is no key for GroupBy: nothing says what a object will hold. Use the concrete type",
            "'Custom' is no key for CountBy: Custom has an Equals of its own, whose hash no other process could follow. Implement IStableKey, or use one of its members as the key",
            "'Changing' is no key for CountBy: Changing.Name can be set after the key was hashed. Make it init-only",
            "'Holder' is no key for CountBy: two Reference are equal only when they are the same object, and after travelling they never are. Make it a record, or use one of its members as the key",
            "'Reference' is no key for Distinct: two Reference are equal only when they are the same object, and after travelling they never are. Make it a record, or use one of its members as the key",
            "'Reference' is no key for ReduceByKey: two Reference are equal only when they are the same object, and after travelling they never are. Make it a record, or use one of its members as the key",
        ],
        await Compiled.HasAsync("""
            sealed class Reference { public int Id; }
            sealed record Holder(int Id, Reference Inner);
            sealed record Changing { public string Name { get; set; } = ""; }
            sealed record Custom(int Id) { public bool Equals(Custom? other) => true; public override int GetHashCode() => 1; }
            sealed record Good(int Id, string Name, int[] Parts, DayOfWeek Day, Guid? Key, Good? Next);
            sealed class Own : IStableKey { public ulong StableHash => 1; }
            enum Colour { Red }

            class Program
            {
                void Run<TKey>(Rdd<string> lines, Rdd<Reference> references, Rdd<KeyValuePair<Reference, int>> pairs, Rdd<KeyValuePair<TKey, int>> open) where TKey : notnull
                {
                    [|YRN0006:lines.CountBy(line => new Reference())|];
                    [|YRN0006:lines.GroupBy(line => (1, new object()))|];
                    [|YRN0006:lines.CountBy(line => new Custom(1))|];
                    [|YRN0006:lines.CountBy(line => new Changing())|];
                    [|YRN0006:lines.CountBy(line => new Holder(1, new Reference()))|];
                    [|YRN0006:references.Distinct()|];
                    [|YRN0006:pairs.ReduceByKey((left, right) => left + right)|];
                    lines.CountBy(line => line.Length);
                    lines.CountBy(line => (line, line.Length, Colour.Red));
                    lines.CountBy(line => new { line, line.Length });
                    lines.CountBy(line => new Good(1, line, [], default, null, null));
                    lines.CountBy(line => new Own());
                    lines.OrderBy(line => line.Length);
                    lines.Distinct();
                    open.ReduceByKey((left, right) => left + right);
                }
            }
            """));
}
