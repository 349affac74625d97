using System.Net.Http.Headers;
using System.Net.Http.Json;
using Xunit;
using Yarnish.Executor;
using Yarnish.Integration.Tests.Chaos;
using Yarnish.Integration.Tests.Fixtures;
using Yarnish.NodeAgent.Http;
using Yarnish.Protocol;

namespace Yarnish.Integration.Tests.Driver;

/// <summary>Broadcasts and accumulators on nodes and executors that are real processes, some of which die.</summary>
[Trait("Category", "Processes")]
public sealed class SharedStateTests
{
    private const string Secret = "shared secret";

    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    /// <summary>Ten pieces that no compression makes smaller.</summary>
    private const int Pieces = 10;

    private const int PieceBytes = 4 << 20;

    private static byte[] Noise { get; } = MakeNoise();

    private static byte[] MakeNoise()
    {
        var bytes = new byte[(Pieces * PieceBytes) - 100_000];
        new Random(7).NextBytes(bytes);
        return bytes;
    }

    private static Task<TestCluster> ClusterAsync(int nodes) => TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes, Secret);

    /// <summary>One executor with two slots on each node.</summary>
    private static Task<YarnishSession> OpenAsync(TestCluster cluster, int executors, Action<YarnishOptions>? change = null) => YarnishSession.CreateBuilder()
        .WithName("shared state").WithAddress(cluster.Address).WithSecret(Secret).WithExecutors(executors).WithExecutorCores(2).WithExecutorMemory(512 << 20).WithProgress(ProgressStyle.None)
        .Configure(options => change?.Invoke(options))
        .ConnectAsync(TestContext.Current.CancellationToken);

    /// <summary>Runs a function on each executor at least once, and on those only: tasks stay until all of them are there.</summary>
    private static async Task<(string Executor, T Value)[]> OnEachAsync<T>(TestCluster cluster, YarnishSession session, int executors, Func<T> function)
    {
        using var field = new Field();
        var path = field.Path;
        var job = session.Range(0, 4 * executors, 4 * executors).Select(_ =>
        {
            Field.Wait(path);
            return (TaskContext.Current!.ExecutorId.Value, function());
        }).CollectAsync();
        await cluster.UntilAsync($"tasks wait on {executors} executors", () => Task.FromResult(job.IsCompleted || field.Waiting.Length == executors));
        field.Open();
        var rows = await job.WaitAsync(Patience);
        return [.. rows.DistinctBy(static row => row.Item1).OrderBy(static row => row.Item1, StringComparer.Ordinal)];
    }

    /// <summary>Reads a broadcast on one executor; tasks elsewhere do nothing. The others may be gone.</summary>
    private static async Task<int> ReadOnAsync(YarnishSession session, string executor, Broadcast<byte[]> broadcast)
    {
        for (var tries = 0; tries < 50; tries++)
        {
            var rows = await session.Range(0, 12, 12).Select(_ =>
            {
                Thread.Sleep(50);
                return TaskContext.Current!.ExecutorId.Value == executor ? broadcast.Value.Length : -1;
            }).CollectAsync().WaitAsync(Patience);
            if (rows.Max() is var length and >= 0)
            {
                return length;
            }
        }
        throw new TimeoutException($"{executor} got no task.");
    }

    private static async Task<long> SentByAgentsAsync(TestCluster cluster)
    {
        using var http = new HttpClient();
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", ClusterSecret.ApiToken(Secret));
        var sent = 0L;
        foreach (var node in await cluster.GetAsync<NodeInfo[]>("nodes"))
        {
            sent += (await http.GetFromJsonAsync<AgentInfo>($"{node.Url.TrimEnd('/')}/api/v1/node", ProtocolJson.Options))!.BlockBytesSent;
        }
        return sent;
    }

    private static async Task<string[]> HoldersAsync(YarnishSession session, int piece = 0) =>
        [.. (await session.Registry.FindHoldersAsync(new($"broadcast-0-{piece}"), 100)).Select(static holder => holder.NodeId.Value).Order(StringComparer.Ordinal)];

    private static string[] PiecesOnNodes(TestCluster cluster) => [.. Directory.EnumerateFiles(cluster.Directory, "broadcast-*", SearchOption.AllDirectories).Order(StringComparer.Ordinal)];

    [Fact]
    public async Task Pieces_leave_the_driver_once_and_come_from_the_other_executors()
    {
        await using var cluster = await ClusterAsync(nodes: 3);
        await using var session = await OpenAsync(cluster, executors: 3);
        await using var broadcast = session.Broadcast(Noise);

        var lengths = await OnEachAsync(cluster, session, 3, () => Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(broadcast.Value)));

        Assert.Equal(3, lengths.Length);
        Assert.All(lengths, row => Assert.Equal(Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(Noise)), row.Value));
        // Thirty copies are on three nodes. Ten had to come from the driver; a few more may where an executor did not find the holder that the driver had just made.
        var given = session.Broadcasts.PiecesGiven;
        Assert.InRange(given, Pieces, Pieces + 4);
        Assert.True(await SentByAgentsAsync(cluster) >= (3 * Pieces - given - 1) * PieceBytes, "The rest did not come from peers.");
        Assert.Equal(3 * Pieces, PiecesOnNodes(cluster).Length);
        for (var piece = 0; piece < Pieces; piece++)
        {
            Assert.Equal(["node-1", "node-2", "node-3"], await HoldersAsync(session, piece));
        }

        // Forgotten by all, it is fetched anew.
        broadcast.Unpersist();
        await cluster.UntilAsync("the pieces are gone", async () => PiecesOnNodes(cluster).Length == 0 && (await HoldersAsync(session)).Length == 0);
        Assert.All(await OnEachAsync(cluster, session, 3, () => broadcast.Value.Length), row => Assert.Equal(Noise.Length, row.Value));
        Assert.InRange(session.Broadcasts.PiecesGiven, given + Pieces, given + Pieces + 4);

        // Disposed, nothing of it is anywhere while the session goes on.
        await broadcast.DisposeAsync();
        await cluster.UntilAsync("the pieces are gone", async () => PiecesOnNodes(cluster).Length == 0 && (await HoldersAsync(session)).Length == 0);
        Assert.Empty(Directory.EnumerateFiles(session.Broadcasts.Directory!, "broadcast-*", SearchOption.AllDirectories));
        Assert.Equal(10, await session.Range(0, 10).CountAsync());
        await Leftovers.AssertNoneInDriverAsync(session);
    }

    [Fact]
    public async Task Holders_that_die_are_replaced_by_others_and_the_last_one_by_the_driver()
    {
        await using var cluster = await ClusterAsync(nodes: 3);
        await using (var session = await OpenAsync(cluster, executors: 3))
        {
            var broadcast = session.Broadcast(Noise);
            var executors = (await OnEachAsync(cluster, session, 3, static () => 0)).Select(static row => row.Executor).ToArray();
            Assert.Equal(Noise.Length, await ReadOnAsync(session, executors[0], broadcast));
            var first = Assert.Single(await HoldersAsync(session));
            Assert.Equal(Pieces, session.Broadcasts.PiecesGiven);

            // Its agent serves nobody any more; the executor there lives on, and the value with it.
            await cluster.KillAsync(first);
            Assert.Equal(Noise.Length, await ReadOnAsync(session, executors[1], broadcast));
            Assert.Equal(2 * Pieces, session.Broadcasts.PiecesGiven);

            // One of two holders is dead: no piece leaves the driver.
            Assert.Equal(Noise.Length, await ReadOnAsync(session, executors[2], broadcast));
            Assert.Equal(2 * Pieces, session.Broadcasts.PiecesGiven);
            cluster.Start(first);
            await cluster.UntilAsync("all nodes are running", info => info.Nodes.GetValueOrDefault("running") == 3);
            GC.KeepAlive(broadcast);
        }
    }

    [Fact]
    public async Task Executors_that_die_in_the_middle_of_a_broadcast_leave_the_others_and_their_successors_whole()
    {
        await using var cluster = await ClusterAsync(nodes: 2);
        using var field = new Field();
        field.Allow("broadcast", 2);
        await using var session = await OpenAsync(cluster, executors: 2);
        var broadcast = session.Broadcast(Noise);
        var path = field.Path;

        var lengths = await session.Range(0, 16, 16).Select(_ =>
        {
            var reading = Task.Run(() => broadcast.Value.Length);
            // Some pieces are there, others on their way.
            while (!reading.IsCompleted && PiecesHere() < 2)
            {
                Thread.Sleep(1);
            }
            Field.DieOf(path, "broadcast");
            return reading.Result;
        }).CollectAsync().WaitAsync(Patience);

        Assert.All(lengths, static length => Assert.Equal(Noise.Length, length));
        Assert.Equal(2, field.Took("broadcast").Length);
        Assert.Equal(2, session.Progress.ExecutorsLost);
        GC.KeepAlive(broadcast);
    }

    private static int PiecesHere()
    {
        var named = Path.Combine(Environment.GetEnvironmentVariable(ContainerEnvironment.BlockDirectory)!, "named");
        return Directory.Exists(named) ? Directory.GetFiles(named, "broadcast-*").Length : 0;
    }

    [Fact]
    public async Task A_broadcast_that_was_disposed_fails_the_tasks_that_read_it_and_no_other_job()
    {
        await using var cluster = await ClusterAsync(nodes: 1);
        await using var session = await OpenAsync(cluster, executors: 1);
        var broadcast = session.Broadcast("gone");
        using var field = new Field();
        var path = field.Path;
        var job = session.Range(0, 2, 2).Select(_ =>
        {
            Field.Wait(path);
            return broadcast.Value;
        }).CollectAsync();
        await cluster.UntilAsync("a task waits", () => Task.FromResult(job.IsCompleted || field.Waiting.Length == 1));

        await broadcast.DisposeAsync();
        field.Open();

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => job.WaitAsync(Patience));
        Assert.Equal("Yarnish.BroadcastException", error.RemoteError!.Type);
        Assert.Contains("Broadcast 0 is over: it was disposed", error.Message, StringComparison.Ordinal);
        Assert.Equal(4, await session.Range(0, 4).CountAsync());
    }

    /// <summary>Each row of the map stage counts once and each of the result stage, whatever dies.</summary>
    private static async Task AssertCountsAsync(TestCluster cluster, YarnishSession session, Field field, Action<string, int>? map = null, Action<string, int>? reduce = null, Func<Task, Task>? harm = null)
    {
        var (rows, keys) = (session.Counter("rows"), session.Counter("keys"));
        var last = session.MaximumAccumulator(-1, "last");
        var path = field.Path;
        var job = session.Range(0, 4_000, SmallJob.Maps)
            .MapPartitions((partition, numbers) => Map(path, map, rows, last, partition, numbers))
            .ReduceByKey(static (left, right) => left + right, SmallJob.Reduces)
            .MapPartitions((partition, sums) => Reduce(path, reduce, keys, partition, sums))
            .CollectAsync();
        if (harm is not null)
        {
            await harm(job);
        }
        await SmallJob.AssertRightAsync(job, cluster);

        Assert.Equal((4_000, 10, 3_999), (rows.Value, keys.Value, last.Value));
    }

    private static IEnumerable<KeyValuePair<int, long>> Map(string field, Action<string, int>? fault, Accumulator<long, long> rows, Accumulator<int, int> last, int partition, IEnumerable<int> numbers)
    {
        Field.Note(field, $"map-{partition}");
        var count = 0;
        foreach (var number in numbers)
        {
            rows.Add(1);
            last.Add(number);
            if (++count == 2_000 / SmallJob.Maps)
            {
                fault?.Invoke(field, partition);
            }
            yield return KeyValuePair.Create(number % 10, (long)number);
        }
    }

    private static IEnumerable<KeyValuePair<int, long>> Reduce(string field, Action<string, int>? fault, Accumulator<long, long> keys, int partition, IEnumerable<KeyValuePair<int, long>> sums)
    {
        Field.Note(field, $"reduce-{partition}");
        fault?.Invoke(field, partition);
        foreach (var sum in sums)
        {
            keys.Add(1);
            yield return sum;
        }
    }

    [Fact]
    public async Task Accumulators_are_exact_when_executors_die_in_the_middle_of_tasks()
    {
        await using var cluster = await ClusterAsync(nodes: 2);
        await using var session = await OpenAsync(cluster, executors: 2);
        using var field = new Field();
        field.Allow("map", 2);
        field.Allow("reduce", 1);

        await AssertCountsAsync(cluster, session, field, map: static (path, _) => Field.DieOf(path, "map"), reduce: static (path, _) => Field.DieOf(path, "reduce"));

        Assert.Equal((2, 1), (field.Took("map").Length, field.Took("reduce").Length));
        await Leftovers.AssertNoneInDriverAsync(session);
    }

    [Fact]
    public async Task Accumulators_are_exact_when_map_output_is_lost_and_computed_again()
    {
        await using var cluster = await ClusterAsync(nodes: 2);
        await using (var session = await OpenAsync(cluster, executors: 2))
        {
            using var field = new Field();
            // Else the one that comes first gets everything, and tasks wait behind others there.
            await cluster.UntilAsync("two executors have joined", async () => await session.Range(0, 2, 2).CountAsync() == 2 && session.Progress.Executors == 2);

            await AssertCountsAsync(cluster, session, field, reduce: static (path, _) => Field.Wait(path), harm: async job =>
            {
                await cluster.UntilAsync("reducers wait on two executors", () => Task.FromResult(job.IsCompleted || field.Waiting.Length == 2));
                await cluster.LoseNodeAsync("node-2");
                field.Open();
            });

            Assert.Contains(field.Runs.GroupBy(static run => run.Work), static work => work.Key.StartsWith("map-", StringComparison.Ordinal) && work.Count() > 1);
            await Leftovers.AssertNoneInDriverAsync(session);
        }
        cluster.Start("node-2");
        await cluster.UntilAsync("both nodes are running", info => info.Nodes.GetValueOrDefault("running") == 2);
    }

    [Fact]
    public async Task Accumulators_are_exact_when_reports_come_twice_and_out_of_order()
    {
        await using var cluster = await ClusterAsync(nodes: 2);
        await using var session = await OpenAsync(cluster, executors: 2);
        await using var mixer = await MessageMixer.StartAsync(SharedServices.RabbitMq, session.ApplicationId, seed: 5);
        for (var i = 0; i < 5; i++)
        {
            using var field = new Field();
            await AssertCountsAsync(cluster, session, field);
        }

        Assert.True(mixer.RepeatedReports > 0, "no report came twice: nothing was tried");
    }

    [Fact]
    public async Task Accumulators_are_exact_when_slow_tasks_run_twice()
    {
        await using var cluster = await ClusterAsync(nodes: 2);
        await using var session = await OpenAsync(cluster, executors: 2, static options =>
        {
            options.Speculation = true;
            options.SpeculationQuantile = 0.5;
            options.SpeculationMultiplier = 1;
        });
        using var field = new Field();

        // The first run of one map task hangs until its copy has begun, then both go on to their end.
        await AssertCountsAsync(cluster, session, field, map: static (path, partition) =>
        {
            if (partition == 3)
            {
                for (var i = 0; i < 6_000 && Directory.GetFiles(Path.Combine(path, "runs"), "map-3~*").Length < 2; i++)
                {
                    Thread.Sleep(10);
                }
            }
        });

        Assert.Equal(2, field.Runs.Count(static run => run.Work == "map-3"));
    }
}
