using System.Collections.Immutable;
using Xunit;
using Yarnish.Integration.Tests.Fixtures;
using Yarnish.Serialization;

namespace Yarnish.Integration.Tests.Driver;

/// <summary>Every way to write a function, with what it captures, run by executors of a cluster: each result says that it was not this process.</summary>
[Trait("Category", "Processes")]
public sealed class ClosureTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Functions_of_every_kind_run_on_executors_with_what_they_capture_and_too_much_is_refused_at_the_call_site()
    {
        await using var cluster = await TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes: 1);
        await using var session = await YarnishSession.CreateBuilder()
            .WithName("closures").WithAddress(cluster.Address).WithExecutors(1).WithExecutorMemory(256 << 20).WithProgress(ProgressStyle.None).ConnectAsync(Cancellation);
        var rows = session.Range(0, 4, 2);

        // Generic methods, and generic methods in generic classes.
        Assert.Equal(["Int32 0 9", "Int32 1 9", "Int32 2 9", "Int32 3 9"], await CollectAsync(Tagged(rows, 9)));
        Assert.Equal(["Guid 0", "Guid 1", "Guid 2", "Guid 3"], await CollectAsync(Holder<Guid>.Named<string>(rows)));

        // Nested scopes: each turn of the loop has variables of its own.
        for (var i = 1; i <= 2; i++)
        {
            var factor = i * 10;
            {
                var offset = factor + 1;
                Assert.Equal([$"{offset}", $"{factor + offset}", $"{2 * factor + offset}", $"{3 * factor + offset}"], await CollectAsync(rows.Select(row => $"{row * factor + offset}")));
            }
        }

        // Asynchronous functions, and local functions that call each other.
        var pause = TimeSpan.FromMilliseconds(1);
        Assert.Equal(["0 later", "1 later", "2 later", "3 later"], await CollectAsync(rows.SelectAsync(async row =>
        {
            await Task.Delay(pause);
            return $"{row} later";
        })));
        var threshold = 2;
        bool IsLarge(int row) => row >= threshold;
        string Size(int row) => IsLarge(row) ? "large" : "small";
        Assert.Equal(["small", "small", "large", "large"], await CollectAsync(rows.Select(Size)));

        // 'this' of an object that can travel, its primary constructor's parameters, and captured collections.
        Assert.Equal(["zero!", "one!", "zero!", "one!"], await CollectAsync(new Shout("!", ["zero", "one"]).Apply(rows)));
        var byName = new Dictionary<string, int>(StringComparer.OrdinalIgnoreCase) { ["EVEN"] = 0, ["odd"] = 1 };
        var set = new HashSet<int> { 1, 3 };
        ImmutableArray<(string Name, int[] Numbers)> nested = [("a", [5]), ("b", [6, 7])];
        Assert.Equal(["0 6", "1 7", "0 6", "1 7"], await CollectAsync(rows.Select(row => $"{byName[set.Contains(row) ? "ODD" : "even"]} {nested[1].Numbers[row % 2]}")));

        // Too much: refused here, with what weighs most and the cure, before anything is sent.
        var tasks = session.Progress.TasksSucceeded;
        var (table, small) = (new byte[9 << 20], new[] { 1 });
        var error = Assert.Throws<ClosureException>(() => rows.Select(row => table[row] + small[0]));
        Assert.Contains("Select(row => …) at ClosureTests.cs:", error.Message, StringComparison.Ordinal);
        Assert.Contains("a function may carry 8.0 MiB at most. The largest: 'table' (byte[])", error.Message, StringComparison.Ordinal);
        Assert.Contains("session.Broadcast(value)", error.Message, StringComparison.Ordinal);
        Assert.Equal(tasks, session.Progress.TasksSucceeded);
        await Leftovers.AssertNoneInDriverAsync(session);
    }

    private static Rdd<string> Tagged<T>(Rdd<int> rows, T tag) => rows.Select(row => $"{typeof(T).Name} {row} {tag}");

    private static async Task<string[]> CollectAsync(Rdd<string> rows)
    {
        var here = Environment.ProcessId;
        var results = await rows.Select(row => (Row: row, IsHere: Environment.ProcessId == here)).CollectAsync(Cancellation).WaitAsync(TimeSpan.FromSeconds(60), Cancellation);
        Assert.DoesNotContain(results, static result => result.IsHere);
        return [.. results.Select(static result => result.Row)];
    }

    private static class Holder<T>
    {
        public static Rdd<string> Named<TOther>(Rdd<int> rows)
        {
            var length = typeof(TOther).Name.Length;
            return rows.Select(row => $"{typeof(T).Name} {row}"[..(typeof(T).Name.Length + 2)].PadRight(length));
        }
    }

    private sealed class Shout(string mark, string[] words)
    {
        public Rdd<string> Apply(Rdd<int> rows) => rows.Select(row => words[row % words.Length] + mark);
    }
}
