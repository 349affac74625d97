using System.Collections.Concurrent;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;
using Yarnish.Blocks;
using Yarnish.Executor;
using Yarnish.Protocol;
using Yarnish.Shared;
using Yarnish.Tests.Blocks;
using Yarnish.Tests.ResourceManager;

namespace Yarnish.Tests.Shared;

/// <summary>The driver's end of broadcasts and the executor's, without anything between them.</summary>
public sealed class BroadcastOriginTests : IDisposable
{
    private readonly InMemoryBlockRegistry registry = new();
    private readonly ConcurrentQueue<(string Node, string Block)> given = new();
    private readonly TemporaryBlocks blocks = new();
    private readonly BroadcastOrigin origin;
    private TaskCompletionSource gate = new();

    public BroadcastOriginTests()
    {
        gate.SetResult();
        Directory.CreateDirectory(blocks.Directory.Root);
        origin = new BroadcastOrigin(travels: true, 64 << 20, registry, async (url, source, block, cancellation) =>
        {
            await gate.Task.WaitAsync(cancellation);
            given.Enqueue((url, block.Value));
            if (url == "unreachable")
            {
                throw new IOException("no route");
            }
            blocks.Directory.WriteNamed(block, source.ReadNamed(block));
        }, blocks.Directory.Root);
    }

    public void Dispose()
    {
        origin.Dispose();
        blocks.Dispose();
    }

    private Task<string> AskAsync(int node, string block = "broadcast-0-0") => origin.GiveAsync(new NodeId($"node-{node}"), $"http://node-{node}", block);

    [Fact]
    public async Task A_thousand_that_ask_for_a_piece_at_once_cost_the_driver_one_copy()
    {
        await using var broadcast = origin.Create(new byte[100], "Program.cs:1");
        gate = new TaskCompletionSource();

        var asking = Enumerable.Range(0, 1000).Select(node => AskAsync(node)).ToArray();
        gate.SetResult();

        Assert.All(await Task.WhenAll(asking), Assert.Empty);
        Assert.Single(given);
        Assert.Equal(1, origin.PiecesGiven);
        Assert.Single(await registry.FindHoldersAsync(new BlockId("broadcast-0-0"), 10, TestContext.Current.CancellationToken));
        // Those who come later are sent to the registry; who comes again found nothing there and gets a copy.
        Assert.Empty(await AskAsync(5000));
        Assert.Single(given);
        Assert.Empty(await AskAsync(5000));
        Assert.Equal("http://node-5000", given.Last().Node);
    }

    [Fact]
    public async Task A_node_that_cannot_be_reached_hears_why_and_keeps_no_other_from_its_copy()
    {
        await using var broadcast = origin.Create("value", "Program.cs:1");

        var problem = await origin.GiveAsync(new NodeId("far"), "unreachable", "broadcast-0-0");

        Assert.Contains("could not give node far block broadcast-0-0 of broadcast 0 (Program.cs:1): no route", problem, StringComparison.Ordinal);
        Assert.Empty(await AskAsync(1));
        Assert.Equal(2, given.Count);
    }

    [Theory]
    [InlineData("broadcast-7-0", "Broadcast 7 is over")]
    [InlineData("broadcast-0-1", "Broadcast 0 is over")]
    [InlineData("result-1", "none that the driver could give")]
    [InlineData("broadcast-x-0", "none that the driver could give")]
    [InlineData("broadcast-0-99999999999999", "none that the driver could give")]
    [InlineData("../../etc/passwd", "none that the driver could give")]
    public async Task What_the_driver_does_not_have_is_answered_with_the_reason(string block, string reason)
    {
        await using var broadcast = origin.Create("value", "Program.cs:1");

        Assert.Contains(reason, await AskAsync(1, block), StringComparison.Ordinal);
        Assert.Empty(given);
    }

    [Fact]
    public async Task Values_in_memory_are_bounded_and_made_again_from_the_pieces_on_the_node()
    {
        var first = origin.Create(new byte[3_000_000], "Program.cs:1");
        var second = origin.Create(new byte[3_000_000], "Program.cs:2");
        using var fetcher = new BlockFetcher(blocks.Directory, new BlockLocation(new NodeId("node-1"), ""), registry, static () => throw new InvalidOperationException(), TimeProvider.System, NullLogger.Instance);
        var store = new BroadcastStore(fetcher, blocks.Directory, (block, _) => AskAsync(1, block.Value), memoryBytes: 4_000_000, NullLogger.Instance);
        var (one, two) = (IdOf(first), IdOf(second));

        var held = store.Get<byte[]>(one, default);
        Assert.Same(held, store.Get<byte[]>(one, default));
        store.Get<byte[]>(two, default);
        Assert.InRange(store.HeldBytes, 3_000_000, 3_100_000);
        // Let go, and made again without the driver.
        Assert.NotSame(held, store.Get<byte[]>(one, default));
        Assert.Equal((3, 2), (store.Loads, given.Count));

        store.Drop(one.Number);
        Assert.Equal(0, store.HeldBytes);
        await Sessions.WaitUntilAsync("its piece is gone", () => !blocks.Directory.HasNamed(one.Piece(0)));
        Assert.True(blocks.Directory.HasNamed(two.Piece(0)));
        GC.KeepAlive((first, second));
    }

    [Fact]
    public void Pieces_that_are_not_what_was_written_together_are_no_value()
    {
        var broadcast = origin.Create(new byte[1000], "Program.cs:1");
        using var fetcher = new BlockFetcher(blocks.Directory, new BlockLocation(new NodeId("node-1"), ""), registry, static () => throw new InvalidOperationException(), TimeProvider.System, NullLogger.Instance);
        var store = new BroadcastStore(fetcher, blocks.Directory, (block, _) => AskAsync(1, block.Value), memoryBytes: 4_000_000, NullLogger.Instance);
        var id = IdOf(broadcast);

        var error = Assert.Throws<BroadcastException>(() => store.Get<byte[]>(id with { Hash = id.Hash + 1 }, default));

        Assert.Contains("broadcast 0 (Program.cs:1)", error.Message, StringComparison.Ordinal);
        Assert.Equal(1000, store.Get<byte[]>(id, default).Length);
        GC.KeepAlive(broadcast);
    }

    [Fact]
    public async Task A_driver_that_does_not_answer_is_asked_again_and_then_an_error()
    {
        var clock = new TestClock();
        var asked = 0;
        var driver = new DriverBlocks(_ =>
        {
            Interlocked.Increment(ref asked);
            return default;
        }, TimeSpan.FromSeconds(10), clock);
        var waiting = driver.AskAsync(new BlockId("broadcast-0-0"), TestContext.Current.CancellationToken);
        for (var second = 0; second < 12 && !waiting.IsCompleted; second++)
        {
            await Task.Delay(20, TestContext.Current.CancellationToken);
            clock.Advance(TimeSpan.FromSeconds(1));
        }

        var error = await Assert.ThrowsAsync<BroadcastException>(() => waiting.WaitAsync(TimeSpan.FromSeconds(30)));
        Assert.Contains("did not give it within 10 s", error.Message, StringComparison.Ordinal);
        Assert.InRange(asked, 3, 5);

        var another = driver.AskAsync(new BlockId("broadcast-0-1"), TestContext.Current.CancellationToken);
        driver.OnGiven("broadcast-0-1", "");
        await another.WaitAsync(TimeSpan.FromSeconds(30));
        driver.OnGiven("broadcast-0-1", "nobody waits");
    }

    private static BroadcastId IdOf<T>(Broadcast<T> broadcast) =>
        (BroadcastId)typeof(Broadcast<T>).GetField("id", System.Reflection.BindingFlags.NonPublic | System.Reflection.BindingFlags.Instance)!.GetValue(broadcast)!;
}
