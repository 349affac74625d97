using System.Diagnostics;
using Xunit;
using Yarnish.Executor;
using Yarnish.Integration.Tests.Fixtures;
using Yarnish.Protocol;

namespace Yarnish.Integration.Tests.Driver;

/// <summary>Persisted collections and checkpoints while executors die and nodes are drained or lost: what was computed is counted by marks on the disk that all share.</summary>
[Trait("Category", "Processes")]
public sealed class PersistenceTests : IAsyncLifetime
{
    private const int Partitions = 8;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(90);

    private readonly string marks = Directory.CreateTempSubdirectory("yarnish-marks-").FullName;
    private TestCluster cluster = null!;

    public async ValueTask InitializeAsync() => cluster = await TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes: 2);

    public async ValueTask DisposeAsync()
    {
        await cluster.DisposeAsync();
        Directory.Delete(marks, recursive: true);
    }

    [Fact]
    public async Task Partitions_on_disk_outlive_every_executor_and_are_read_from_the_other_node()
    {
        await using var session = await OpenAsync();
        var rows = await PersistedAsync(session, StorageLevel.Disk);

        // Both executors die, and one of the new ones reads what the other node has.
        await KillExecutorsAsync(session);
        Assert.Equal(800, await rows.CountAsync().WaitAsync(Patience));
        Assert.Equal(800, await rows.Coalesce(1).CountAsync().WaitAsync(Patience));

        AssertComputed(times: 1);
        rows.Unpersist();
        await cluster.UntilAsync("the files are gone", () => Task.FromResult(FilesOf(session) == 0));
    }

    [Fact]
    public async Task Drained_node_hands_its_partitions_over_before_it_is_left()
    {
        await using var session = await OpenAsync();
        var rows = await PersistedAsync(session, StorageLevel.Memory);

        await cluster.PostAsync("nodes/node-1/drain", new DrainRequest("new disks", null));
        await cluster.UntilAsync("no container is left on node-1", async () => !(await LiveAsync(session)).Any(container => container.NodeId.Value == "node-1"));
        // Nothing comes from there any more.
        await cluster.KillAsync("node-1");

        Assert.Equal(800, await rows.CountAsync().WaitAsync(Patience));
        AssertComputed(times: 1);
        // It cleans up.
        cluster.Start("node-1");
    }

    [Fact]
    public async Task Replicated_partitions_survive_the_loss_of_a_node()
    {
        await using var session = await OpenAsync();
        var rows = await PersistedAsync(session, StorageLevel.MemoryAndDisk | StorageLevel.Replicated);
        await cluster.UntilAsync("every partition is on both nodes", () => Task.FromResult(FilesOf(session) == 2 * Partitions));

        await cluster.KillAsync("node-2");
        foreach (var container in (await LiveAsync(session)).Where(container => container.NodeId.Value == "node-2"))
        {
            Kill(container.Id);
        }

        Assert.Equal(800, await rows.CountAsync().WaitAsync(Patience));
        AssertComputed(times: 1);
        // It cleans up.
        cluster.Start("node-2");
    }

    [Fact]
    public async Task Memory_of_a_killed_executor_is_computed_again_and_only_that()
    {
        await using var session = await OpenAsync();
        var rows = await PersistedAsync(session, StorageLevel.Memory);

        Kill((await LiveAsync(session)).First(container => container.NodeId.Value == "node-1").Id);
        Assert.Equal(800, await rows.CountAsync().WaitAsync(Patience));

        var computed = Directory.GetFiles(marks).Select(file => new FileInfo(file).Length).ToArray();
        Assert.Equal(Partitions, computed.Length);
        Assert.InRange(computed.Sum(), Partitions + 1, (2 * Partitions) - 1);
    }

    [Fact]
    public async Task Checkpoint_outlives_everything_that_computed_it_and_goes_with_the_session()
    {
        var storage = Directory.CreateTempSubdirectory("yarnish-checkpoint-").FullName;
        try
        {
            await using (var session = await OpenAsync())
            {
                var rows = Marked(session).CountBy(static row => row % 5);
                await rows.CheckpointAsync(storage).WaitAsync(Patience);

                await KillExecutorsAsync(session);
                Assert.Equal(800, (await rows.CollectAsync().WaitAsync(Patience)).Sum(static pair => pair.Value));

                AssertComputed(times: 1);
                Assert.NotEmpty(Directory.GetFileSystemEntries(storage));
            }
            Assert.Empty(Directory.GetFileSystemEntries(storage));
        }
        finally
        {
            Directory.Delete(storage, recursive: true);
        }
    }

    [Fact]
    public async Task Local_checkpoint_that_is_lost_says_so()
    {
        await using var session = await OpenAsync();
        var rows = Marked(session).Select(static row => row + 1);
        await rows.LocalCheckpointAsync(StorageLevel.Disk).WaitAsync(Patience);
        await KillExecutorsAsync(session);
        Assert.Equal(800, await rows.CountAsync().WaitAsync(Patience));
        AssertComputed(times: 1);

        foreach (var file in Files(session))
        {
            File.Delete(file);
        }
        var error = await Assert.ThrowsAsync<YarnishJobException>(() => rows.CountAsync().WaitAsync(Patience));

        Assert.Contains("local checkpoint", error.Message, StringComparison.Ordinal);
        Assert.Contains("is lost", error.Message, StringComparison.Ordinal);
    }

    private Task<YarnishSession> OpenAsync() => YarnishSession.CreateBuilder().WithName("persistence").WithAddress(cluster.Address).WithExecutors(2).WithExecutorMemory(256 << 20)
        .WithProgress(ProgressStyle.None).ConnectAsync(TestContext.Current.CancellationToken);

    /// <summary>Leaves a mark for each time a partition is computed.</summary>
    private Rdd<int> Marked(YarnishSession session)
    {
        var folder = marks;
        return session.Range(0, 800, Partitions).MapPartitions((partition, rows) =>
        {
            File.AppendAllText(Path.Combine(folder, $"{partition}"), "x");
            // So that both executors get some, and computing takes longer than fetching.
            Thread.Sleep(150);
            return rows;
        });
    }

    private async Task<Rdd<int>> PersistedAsync(YarnishSession session, StorageLevel level)
    {
        // Both executors are there before the first partition is stored.
        var waited = Stopwatch.StartNew();
        while ((await session.Range(0, 8, 8).Select(static _ =>
        {
            Thread.Sleep(20);
            return Environment.GetEnvironmentVariable(ContainerEnvironment.NodeId);
        }).CollectAsync().WaitAsync(Patience)).Distinct().Count() < 2)
        {
            Assert.True(waited.Elapsed < Patience, "only one node runs tasks");
        }
        var rows = Marked(session).Persist(level);
        Assert.Equal(800, await rows.CountAsync().WaitAsync(Patience));
        AssertComputed(times: 1);
        return rows;
    }

    private void AssertComputed(int times) => Assert.Equal(
        Enumerable.Range(0, Partitions).Select(partition => (partition, times)),
        Directory.GetFiles(marks).Select(file => (int.Parse(Path.GetFileName(file), System.Globalization.CultureInfo.InvariantCulture), (int)new FileInfo(file).Length)).Order());

    private IEnumerable<string> Files(YarnishSession session) => Directory.EnumerateFiles(cluster.Directory, "rdd-*", SearchOption.AllDirectories)
        .Where(file => file.Contains(session.ApplicationId.Value, StringComparison.Ordinal) && !file.EndsWith(".tmp", StringComparison.Ordinal));

    private int FilesOf(YarnishSession session) => Files(session).Count();

    private async Task<ContainerInfo[]> LiveAsync(YarnishSession session) =>
        [.. (await cluster.GetAsync<ContainerInfo[]>($"apps/{session.ApplicationId}/containers")).Where(container => container.Exit is null)];

    private async Task KillExecutorsAsync(YarnishSession session)
    {
        var seen = session.Progress.ExecutorsSeen;
        foreach (var container in await LiveAsync(session))
        {
            Kill(container.Id);
        }
        await cluster.UntilAsync("both executors are replaced", () => Task.FromResult(session.Progress.ExecutorsSeen >= seen + 2));
    }

    private void Kill(ContainerId container)
    {
        var marker = $"{ContainerEnvironment.ContainerId}={container}";
        foreach (var id in TestCluster.ProcessesBelow(cluster.Directory))
        {
            try
            {
                using var process = Process.GetProcessById(id);
                // Not its launcher, which has the same environment.
                if (process.ProcessName == "dotnet" && File.ReadAllText($"/proc/{id}/environ").Split('\0').Contains(marker))
                {
                    process.Kill();
                }
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException or InvalidOperationException or ArgumentException)
            {
                // It ended meanwhile.
            }
        }
    }
}
