using System.Runtime.CompilerServices;
using Xunit;
using Yarnish.Executor;
using Yarnish.Serialization;

namespace Yarnish.Tests.Shared;

/// <summary>Broadcasts as a program sees them, in this process: by reference, and isolated, where they go through pieces as on a cluster.</summary>
public sealed class BroadcastTests
{
    private static readonly Dictionary<int, string> Names = Enumerable.Range(0, 100).ToDictionary(static i => i, static i => $"name {i}");

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Tasks_read_the_value_by_its_number(bool isolated)
    {
        await using var session = await Sessions.OpenAsync(isolated);
        var names = session.Broadcast(Names);

        var found = await session.Range(0, 100, 8).Select(i => names.Value[i]).CollectAsync();

        Assert.Equal(Names.Values, found);
        Assert.Same(Names, names.Value);
    }

    [Fact]
    public async Task Embedded_tasks_get_the_very_object_that_was_given()
    {
        await using var session = await Sessions.OpenAsync(isolated: false);
        var seen = new List<object>();
        var value = new object();
        var broadcast = session.Broadcast(value);

        await session.Range(0, 4, 4).ForEachAsync(_ =>
        {
            lock (seen)
            {
                seen.Add(broadcast.Value);
            }
        });

        Assert.All(seen, one => Assert.Same(value, one));
        Assert.Equal(4, seen.Count);
        Assert.Null(session.Broadcasts.Directory);
    }

    [Fact]
    public async Task All_tasks_of_an_executor_share_one_object_made_once()
    {
        await using var session = await Sessions.OpenAsync(isolated: true);
        var broadcast = session.Broadcast(new int[3_000_000]);

        var identities = await session.Range(0, 64, 64).Select(_ => RuntimeHelpers.GetHashCode(broadcast.Value)).CollectAsync();

        Assert.Single(identities.Distinct());
        Assert.NotEqual(RuntimeHelpers.GetHashCode(broadcast.Value), identities[0]);
        Assert.Equal(1, session.Broadcasts.PiecesGiven);
    }

    public static TheoryData<object> Values => [
        1, "text", Array.Empty<byte>(), new byte[4 * 1024 * 1024], new byte[(4 * 1024 * 1024) + 1], new List<(string, double?)> { ("a", 1.5), ("b", null) },
        new HashSet<string>(StringComparer.OrdinalIgnoreCase) { "Case" }, new Person("Ada", new Person("Byron", null)), Enumerable.Range(0, 2_000_000).ToArray()];

    [Theory]
    [MemberData(nameof(Values), DisableDiscoveryEnumeration = true)]
    public async Task A_value_arrives_as_it_was(object value)
    {
        await using var session = await Sessions.OpenAsync(isolated: true);

        await (Task)typeof(BroadcastTests).GetMethod(nameof(ArrivesAsync), System.Reflection.BindingFlags.NonPublic | System.Reflection.BindingFlags.Static)!
            .MakeGenericMethod(value.GetType()).Invoke(null, [session, value])!;
    }

    private static async Task ArrivesAsync<T>(YarnishSession session, T value)
    {
        var broadcast = session.Broadcast(value);
        var same = await session.Range(0, 1, 1).Select(_ => Text(broadcast.Value)).FirstAsync();
        Assert.Equal(Text(value), same);
    }

    private static string Text<T>(T value) => value switch
    {
        byte[] bytes => Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(bytes)) + bytes.Length,
        HashSet<string> set => string.Join(',', set) + set.Contains("CASE"),
        System.Collections.IEnumerable items and not string => string.Join(',', items.Cast<object>()),
        _ => $"{value}",
    };

    [Fact]
    public async Task Null_arrives_as_null()
    {
        await using var session = await Sessions.OpenAsync(isolated: true);
        var broadcast = session.Broadcast<string?>(null);

        Assert.True(await session.Range(0, 1, 1).Select(_ => broadcast.Value is null).FirstAsync());
    }

    [Fact]
    public async Task Functions_and_shared_references_arrive_in_a_value_that_is_no_row()
    {
        await using var session = await Sessions.OpenAsync(isolated: true);
        var shared = new List<int> { 1 };
        var broadcast = session.Broadcast(new Model { Score = static x => x * 2, Left = shared, Right = shared });

        var (score, same) = await session.Range(0, 1, 1).Select(_ => (broadcast.Value.Score(21), ReferenceEquals(broadcast.Value.Left, broadcast.Value.Right))).FirstAsync();

        Assert.Equal((42, true), (score, same));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task What_cannot_travel_is_refused_where_it_is_given_with_the_path_to_it(bool asynchronously)
    {
        await using var session = await Sessions.OpenAsync(isolated: true);
        using var stream = new MemoryStream();
        var value = new Dictionary<string, object> { ["log"] = stream };

        var error = await Assert.ThrowsAsync<ClosureException>(async () => _ = asynchronously ? await session.BroadcastAsync(value) : session.Broadcast(value));

        Assert.Contains("Broadcast at BroadcastTests.cs:", error.Message, StringComparison.Ordinal);
        Assert.Contains("MemoryStream", error.Message, StringComparison.Ordinal);
        Assert.Contains("streams cannot leave the driver", error.Message, StringComparison.Ordinal);
        AssertNoPieces(session);
    }

    [Fact]
    public async Task A_value_beyond_the_bound_is_refused_with_the_cure()
    {
        await using var session = await Sessions.OpenAsync(isolated: true, static options => options.MaximumBroadcastBytes = 5 << 20);

        var error = Assert.Throws<BroadcastException>(() => session.Broadcast(Enumerable.Range(0, 100_000).Select(static i => $"some text {i} {new string('x', 100)}").ToList()));

        Assert.Contains("more than 5,242,880 bytes", error.Message, StringComparison.Ordinal);
        Assert.Contains("Yarnish:MaximumBroadcastBytes", error.Message, StringComparison.Ordinal);
        AssertNoPieces(session);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Disposed_it_is_an_error_in_the_driver_and_in_tasks(bool isolated)
    {
        await using var session = await Sessions.OpenAsync(isolated);
        var broadcast = session.Broadcast(Names);
        var names = session.Range(0, 4, 4).Select(i => broadcast.Value[i]);
        Assert.Equal(4, (await names.CollectAsync()).Length);

        await broadcast.DisposeAsync();
        await broadcast.DisposeAsync();

        Assert.Contains("was disposed", Assert.Throws<BroadcastException>(() => broadcast.Value).Message, StringComparison.Ordinal);
        Assert.Throws<BroadcastException>(broadcast.Unpersist);
        var error = await Assert.ThrowsAsync<YarnishJobException>(() => names.CollectAsync());
        Assert.Contains("was disposed", error.Message, StringComparison.Ordinal);
        if (isolated)
        {
            Assert.Contains("was disposed", Assert.Throws<ClosureException>(() => session.Range(0, 1, 1).Select(_ => broadcast.Value.Count)).Message, StringComparison.Ordinal);
            AssertNoPieces(session);
        }
        Assert.Equal(0, session.Broadcasts.Count);
    }

    [Fact]
    public async Task Disposed_under_a_running_job_its_tasks_say_so()
    {
        await using var session = await Sessions.OpenAsync(isolated: true, static options => options.MaximumTaskFailures = 1);
        var broadcast = session.Broadcast(Names);
        var gate = Path.Combine(Path.GetTempPath(), $"yarnish-gate-{Guid.NewGuid():N}");
        var running = session.Range(0, 1, 1).Select(_ =>
        {
            File.WriteAllText(gate, "");
            while (File.Exists(gate))
            {
                Thread.Sleep(5);
            }
            return broadcast.Value.Count;
        }).CollectAsync();
        await Sessions.WaitUntilAsync("the task runs", () => File.Exists(gate));

        await broadcast.DisposeAsync();
        File.Delete(gate);

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => running);
        Assert.Equal("Yarnish.BroadcastException", error.RemoteError!.Type);
        Assert.Contains("is over: it was disposed", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Unpersisted_it_is_forgotten_by_executors_and_fetched_again()
    {
        await using var session = await Sessions.OpenAsync(isolated: true);
        var broadcast = session.Broadcast(new byte[9_000_000]);
        var lengths = session.Range(0, 4, 4).Select(_ => broadcast.Value.Length);
        await lengths.CollectAsync();
        Assert.Equal(3, session.Broadcasts.PiecesGiven);
        Assert.Equal(3, ExecutorPieces(session).Length);

        broadcast.Unpersist();
        await Sessions.WaitUntilAsync("the pieces are gone", () => ExecutorPieces(session).Length == 0);
        Assert.All(await lengths.CollectAsync(), static length => Assert.Equal(9_000_000, length));

        Assert.Equal(6, session.Broadcasts.PiecesGiven);
    }

    [Fact]
    public async Task Held_by_nobody_it_goes_by_itself()
    {
        await using var session = await Sessions.OpenAsync(isolated: true);
        await UseAndForgetAsync(session);

        await Sessions.WaitUntilAsync("the broadcast is gone", () =>
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            return session.Broadcasts.Count == 0 && ExecutorPieces(session).Length == 0 && OriginPieces(session).Length == 0;
        });
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static async Task UseAndForgetAsync(YarnishSession session)
    {
        var broadcast = session.Broadcast(new byte[5_000_000]);
        Assert.Equal(5_000_000, await session.Range(0, 1, 1).Select(_ => broadcast.Value.Length).FirstAsync());
        Assert.Equal((2, 2), (OriginPieces(session).Length, ExecutorPieces(session).Length));
    }

    [Fact]
    public async Task A_collection_that_uses_it_keeps_it_alive()
    {
        await using var session = await Sessions.OpenAsync(isolated: true);
        var lengths = LengthsOf(session);
        for (var i = 0; i < 3; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }

        Assert.Equal(10, await lengths.SumAsync());
        GC.KeepAlive(lengths);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static Rdd<int> LengthsOf(YarnishSession session)
    {
        var broadcast = session.Broadcast("12345");
        return session.Range(0, 2, 2).Select(_ => broadcast.Value.Length);
    }

    [Fact]
    public async Task The_end_of_the_session_leaves_no_file()
    {
        var session = await Sessions.OpenAsync(isolated: true);
        var broadcast = session.Broadcast(new byte[5_000_000]);
        await session.Range(0, 2, 2).Select(_ => broadcast.Value.Length).CollectAsync();
        var (origin, executor) = (session.Broadcasts.Directory!, ExecutorDirectory(session));

        await session.DisposeAsync();

        Assert.False(Directory.Exists(origin));
        Assert.False(Directory.Exists(executor));
        Assert.Throws<ObjectDisposedException>(() => session.Broadcast(1));
        // The driver's own reference is as good as before.
        Assert.Equal(5_000_000, broadcast.Value.Length);
        broadcast.Unpersist();
        await broadcast.DisposeAsync();
    }

    [Fact]
    public async Task A_piece_that_is_damaged_on_the_node_is_fetched_again()
    {
        await using var session = await Sessions.OpenAsync(isolated: true);
        var broadcast = session.Broadcast(Enumerable.Range(0, 3_000_000).ToArray());
        var sums = session.Range(0, 2, 2).Select(_ => broadcast.Value.Sum(static i => (long)i));
        var expected = await sums.CollectAsync();
        var given = session.Broadcasts.PiecesGiven;
        // The value is let go, the pieces stay; then one of them rots.
        Executor(session).Broadcasts.ForgetValues();
        await using (var file = File.Open(ExecutorPieces(session)[1], FileMode.Open))
        {
            file.Position = 100_000;
            file.WriteByte(0xff);
        }

        Assert.Equal(expected, await sums.CollectAsync());

        Assert.Equal(given + 1, session.Broadcasts.PiecesGiven);
    }

    [Fact]
    public async Task Pieces_that_are_gone_from_the_driver_are_a_clear_error()
    {
        await using var session = await Sessions.OpenAsync(isolated: true, static options => options.MaximumTaskFailures = 1);
        var broadcast = session.Broadcast(new byte[5_000_000]);
        foreach (var piece in OriginPieces(session))
        {
            File.Delete(piece);
        }

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => session.Range(0, 1, 1).Select(_ => broadcast.Value.Length).CollectAsync());

        Assert.Contains("could not give node local block broadcast-0-", error.Message, StringComparison.Ordinal);
        Assert.Contains("BroadcastTests.cs:", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_driver_without_a_disk_says_so_where_the_broadcast_is_made()
    {
        await using var session = await Sessions.OpenAsync(isolated: true);
        _ = session.Broadcast(1);
        var directory = Path.Combine(session.Broadcasts.Directory!, "named");
        Directory.Delete(directory, recursive: true);
        await File.WriteAllTextAsync(directory, "in the way", TestContext.Current.CancellationToken);

        var error = Assert.Throws<BroadcastException>(() => session.Broadcast(2));

        Assert.Contains("cannot be kept on this machine's disk", error.Message, StringComparison.Ordinal);
        File.Delete(directory);
    }

    [Fact]
    public async Task A_task_may_read_the_value_and_nothing_else()
    {
        await using var session = await Sessions.OpenAsync(isolated: true, static options => options.MaximumTaskFailures = 1);
        var broadcast = session.Broadcast("x");

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => session.Range(0, 1, 1).ForEachAsync(_ => broadcast.Unpersist()));

        Assert.Contains("belongs to the driver", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Asynchronous_functions_read_it_too()
    {
        await using var session = await Sessions.OpenAsync(isolated: true);
        var names = session.Broadcast(Names);

        var found = await session.Range(0, 100, 4).SelectAsync(async (i, cancellation) =>
        {
            await Task.Delay(1, cancellation);
            return names.Value[i];
        }).CollectAsync();

        Assert.Equal(Names.Values, found.Order(Comparer<string>.Create(static (a, b) => int.Parse(a[5..], null).CompareTo(int.Parse(b[5..], null)))));
    }

    [Fact]
    public async Task A_large_capture_is_told_of_the_method_that_helps()
    {
        await using var session = await Sessions.OpenAsync(isolated: true);
        var large = Enumerable.Range(0, 200_000).ToArray();

        var warning = ClosureGuard.Check((Func<int, int>)(i => large[i]), "Select", "Program.cs:1");

        Assert.Contains("'large'", warning, StringComparison.Ordinal);
        Assert.Contains("session.Broadcast(value)", warning, StringComparison.Ordinal);
    }

    private static TaskExecutor Executor(YarnishSession session) => ((Yarnish.Embedded.EmbeddedFleet)((Yarnish.Jobs.JobRunner)session.Runner).Fleet).Executor;

    private static string ExecutorDirectory(YarnishSession session) => ((Yarnish.Embedded.EmbeddedFleet)((Yarnish.Jobs.JobRunner)session.Runner).Fleet).BlockDirectory;

    private static string[] ExecutorPieces(YarnishSession session) => Pieces(ExecutorDirectory(session));

    private static string[] OriginPieces(YarnishSession session) => session.Broadcasts.Directory is { } directory ? Pieces(directory) : [];

    private static void AssertNoPieces(YarnishSession session) => Assert.Empty(OriginPieces(session));

    private static string[] Pieces(string directory) =>
        Directory.Exists(Path.Combine(directory, "named")) ? [.. Directory.GetFiles(Path.Combine(directory, "named"), "broadcast-*").Order()] : [];

    public sealed record Person(string Name, Person? Parent);

    public sealed class Model
    {
        public required Func<int, int> Score { get; init; }

        public required List<int> Left { get; init; }

        public required List<int> Right { get; init; }
    }
}
