using System.Net;
using System.Net.Sockets;
using Xunit;
using Yarnish.Blocks;
using Yarnish.Protocol;

namespace Yarnish.Integration.Tests.Executor;

[Trait("Category", "Services")]
public sealed class BlockFetchTests
{
    private static readonly NodeId Self = new("node-1");

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    private static BlockClient Client(BlockClientOptions? options = null, string token = BlockNode.Token) =>
        new(BlockNode.Application, token, (options ?? new()) with { FirstBackoff = TimeSpan.FromMilliseconds(5) });

    private static Dictionary<int, byte[]> Read(BlockClient client, ShuffleLocations locations, int reducer, out long remoteBytes)
    {
        var nowhere = new BlockDirectory(Path.Combine(Path.GetTempPath(), $"yarnish-nowhere-{Guid.NewGuid():N}"));
        using var reader = new ShuffleReader(nowhere, Self, client, locations, reducer, Cancellation);
        var parts = new Dictionary<int, MemoryStream>();
        foreach (var (map, content) in reader.Read())
        {
            if (!parts.TryGetValue(map, out var part))
            {
                parts[map] = part = new MemoryStream();
            }
            part.Write(content.Span);
        }
        remoteBytes = reader.RemoteBytes;
        return parts.ToDictionary(static part => part.Key, static part => part.Value.ToArray());
    }

    private static byte[] Noise(int seed, int length)
    {
        var bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    // Rows that do not compress, so that sizes are known.
    private static IEnumerable<(int Reducer, byte[] Row)> NoisyRows(int count) => Enumerable.Range(0, count).Select(static i => (0, Noise(i, 10_000)));

    [Fact]
    public async Task A_reducer_reads_many_map_outputs_of_several_nodes_in_few_requests()
    {
        await using var first = await BlockNode.StartAsync("node-2");
        await using var second = await BlockNode.StartAsync("node-3");
        var rows = Enumerable.Range(0, 200).Select(static map => Noise(map, 100 + map)).ToArray();
        var outputs = rows.Select((row, map) => (map % 2 == 0 ? first : second).Write(map, 3, [(map % 3 == 2 ? 2 : 1, row)])).ToArray();
        using var client = Client();

        var parts = Read(client, ShuffleLocations.From(new ShuffleId(0), 1, outputs), reducer: 1, out var bytes);

        Assert.Equal(Enumerable.Range(0, 200).Where(static map => map % 3 != 2), parts.Keys.Order());
        Assert.All(parts, part => Assert.Equal(rows[part.Key], part.Value));
        Assert.Equal((1, 1), (first.Requests, second.Requests));
        Assert.True(bytes > 0);
    }

    [Fact]
    public async Task Large_parts_pass_through_a_small_window()
    {
        await using var node = await BlockNode.StartAsync();
        var outputs = Enumerable.Range(0, 4).Select(map => node.Write(map, 1, NoisyRows(500), memory: 1_000_000)).ToArray();
        using var client = Client(new BlockClientOptions { BytesInFlight = 300_000 });

        var parts = Read(client, ShuffleLocations.From(new ShuffleId(0), 1, outputs), 0, out var bytes);

        Assert.Equal(4, parts.Count);
        Assert.All(parts.Values, static part => Assert.Equal(5_000_000, part.Length));
        Assert.InRange(bytes, 20_000_000, 21_000_000);
    }

    [Fact]
    public async Task A_node_that_dies_in_the_middle_is_asked_again_for_the_rest_only()
    {
        await using var node = await BlockNode.StartAsync();
        var outputs = Enumerable.Range(0, 3).Select(map => node.Write(map, 1, NoisyRows(100))).ToArray();
        node.Body = static (number, body) => number <= 2 ? new TamperingStream(body, 1_500_000, change: null) : body;
        using var client = Client();

        var parts = Read(client, ShuffleLocations.From(new ShuffleId(0), 1, outputs), 0, out _);

        Assert.All(parts.Values, part => Assert.Equal(NoisyRows(100).SelectMany(static row => row.Row), part));
        Assert.Equal(3, parts.Count);
        Assert.InRange(node.Requests, 2, 3);
    }

    [Fact]
    public async Task An_overloaded_node_is_asked_again_and_answers_in_the_end()
    {
        await using var node = await BlockNode.StartAsync();
        var outputs = new[] { node.Write(0, 1, [(0, [1, 2, 3])]) };
        node.Fault = Overloaded;
        using var client = Client();

        Assert.Equal([1, 2, 3], Read(client, ShuffleLocations.From(new ShuffleId(0), 1, outputs), 0, out _)[0]);
        Assert.Equal(4, node.Requests);

        static Task<bool> Overloaded(int number, Microsoft.AspNetCore.Http.HttpContext http)
        {
            if (number <= 3)
            {
                http.Response.StatusCode = 503;
            }
            return Task.FromResult(number <= 3);
        }
    }

    [Fact]
    public async Task Bytes_changed_on_the_way_are_fetched_once_more_and_then_the_map_output_is_given_up()
    {
        await using var node = await BlockNode.StartAsync();
        var outputs = new[] { node.Write(0, 1, [(0, Noise(3, 5000))]) };
        var locations = ShuffleLocations.From(new ShuffleId(0), 1, outputs);
        using var client = Client();

        node.Body = static (number, body) => number == 1 ? new TamperingStream(body, 2000, static value => (byte)~value) : body;
        Assert.Equal(Noise(3, 5000), Read(client, locations, 0, out _)[0]);
        Assert.Equal(2, node.Requests);

        node.Body = static (_, body) => new TamperingStream(body, 2000, static value => (byte)~value);
        var error = Assert.Throws<MapOutputUnavailableException>(() => Read(client, locations, 0, out _));
        Assert.Equal((outputs[0].AttemptId, node.Id), (error.Output.AttemptId, error.Node));
        Assert.Equal(4, node.Requests);
    }

    [Fact]
    public async Task A_missing_map_output_is_given_up_at_once()
    {
        await using var node = await BlockNode.StartAsync();
        var outputs = new[] { node.Write(0, 1, [(0, [1])]), node.Write(1, 1, [(0, [2])]) };
        File.Delete(node.Directory.IndexPath(new MapOutputId(new ShuffleId(0), 1, outputs[1].AttemptId)));
        using var client = Client();

        var error = Assert.Throws<MapOutputUnavailableException>(() => Read(client, ShuffleLocations.From(new ShuffleId(0), 1, outputs), 0, out _));

        Assert.Equal(1, error.Output.MapPartition);
        Assert.Equal(1, node.Requests);
    }

    [Fact]
    public async Task A_node_that_is_gone_is_given_up_after_its_retries()
    {
        var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var url = $"http://{listener.LocalEndpoint}";
        listener.Stop();
        using var client = Client();
        var output = new MapOutput(new ShuffleId(0), 0, new TaskAttemptId(7), new NodeId("gone"), url, new byte[] { 10 });

        var error = Assert.Throws<MapOutputUnavailableException>(() => Read(client, ShuffleLocations.From(new ShuffleId(0), 1, [output]), 0, out _));

        Assert.Equal(new NodeId("gone"), error.Node);
        Assert.Contains("4 tries", error.Message, StringComparison.Ordinal);
        await Assert.ThrowsAsync<IOException>(() => client.ReadAsync(url, new BlockId("result-1"), cancellation: Cancellation));
    }

    [Fact]
    public async Task A_wrong_token_is_said_clearly_and_not_repeated()
    {
        await using var node = await BlockNode.StartAsync();
        var outputs = new[] { node.Write(0, 1, [(0, [1])]) };
        using var client = Client(token: "wrong");

        var error = Assert.Throws<IOException>(() => Read(client, ShuffleLocations.From(new ShuffleId(0), 1, outputs), 0, out _));

        Assert.Contains("token", error.Message, StringComparison.Ordinal);
        Assert.Equal(1, node.Requests);
    }

    [Fact]
    public async Task A_reader_that_leaves_early_stops_its_fetches()
    {
        await using var node = await BlockNode.StartAsync();
        var outputs = Enumerable.Range(0, 10).Select(map => node.Write(map, 1, NoisyRows(300))).ToArray();
        using var client = Client(new BlockClientOptions { BytesInFlight = 500_000, ItemsPerRequest = 1 });
        var reader = new ShuffleReader(node.Directory, Self, client, ShuffleLocations.From(new ShuffleId(0), 1, outputs), 0, Cancellation);

        Assert.NotEqual(0, reader.Read().First().Content.Length);
        reader.Dispose();
        reader.Dispose();

        Assert.InRange(node.Requests, 1, 6);
    }

    [Fact]
    public async Task A_large_result_is_read_whole_and_refused_when_it_is_too_large_or_damaged()
    {
        await using var node = await BlockNode.StartAsync();
        var content = Noise(9, 5_000_000);
        var block = new BlockId("result-9");
        node.Directory.WriteNamed(block, content);
        using var client = Client();

        Assert.Equal(content, await client.ReadAsync(node.Url, block, cancellation: Cancellation));
        await Assert.ThrowsAsync<InvalidDataException>(() => client.ReadAsync(node.Url, block, maximumBytes: 1_000_000, Cancellation));
        await Assert.ThrowsAsync<BlockMissingException>(() => client.ReadAsync(node.Url, new BlockId("result-10"), cancellation: Cancellation));
        node.Body = static (_, body) => new TamperingStream(body, 3_000_000, static value => (byte)~value);
        await Assert.ThrowsAsync<BlockCorruptException>(() => client.ReadAsync(node.Url, block, cancellation: Cancellation));
    }
}
