using Xunit;
using Yarnish.Executor;
using Yarnish.Protocol;
using Yarnish.Serialization;

namespace Yarnish.Tests.Executor;

/// <summary>What an executor does with persisted partitions when its driver says so, and what it tells.</summary>
public sealed class PartitionMoverTests
{
    private static ExecutorHarness Storing(StorageLevel level, Func<ExecutorOptions, ExecutorOptions>? adjust = null) => new ExecutorHarness(adjust)
        .Program("store", task => Assert.Equal(100, task.Cache.GetOrCompute(1, task.Context.Partition, level, RowFormats.For<int>(), () => Enumerable.Range(0, 100)).Count()));

    [Fact]
    public async Task Who_shall_leave_writes_what_is_in_memory_only_and_then_says_that_all_is_written()
    {
        await using var harness = await Storing(StorageLevel.Memory).StartAsync();
        await harness.SendTasksAsync("store", 0, 1);
        Assert.All((await harness.ReportsAsync(2)).Values, report => Assert.True(Assert.Single(report.Cached!) is { MemoryBytes: > 0, DiskBytes: 0 }));

        await harness.SendAsync(WritePartitions.Instance);
        var held = await harness.NextAsync<PartitionsHeld>();

        Assert.True(held.AllWritten);
        Assert.Equal(new NodeId("node-1"), held.NodeId);
        Assert.Equal([0, 1], held.Partitions.Where(partition => partition is { MemoryBytes: > 0, DiskBytes: > 0 }).Select(partition => partition.Partition).Order());
    }

    [Fact]
    public async Task Who_has_nothing_says_so_at_once()
    {
        await using var harness = await Storing(StorageLevel.Memory).StartAsync();

        await harness.SendAsync(WritePartitions.Instance);

        Assert.True(await harness.NextAsync<PartitionsHeld>() is { AllWritten: true, Partitions.Count: 0 });
    }

    [Fact]
    public async Task A_copy_that_cannot_be_had_is_told_as_not_held()
    {
        await using var harness = await Storing(StorageLevel.Disk, options => options with { NodeUrl = "http://127.0.0.1:1" }).StartAsync();

        await harness.SendAsync(new CopyPartitions([new PartitionAt(7, 3, new NodeId("node-2"), "http://127.0.0.1:1")]));
        var held = await harness.NextAsync<PartitionsHeld>();

        Assert.Equal([new CachedPartition(7, 3, 0, 0)], held.Partitions);
        Assert.False(held.AllWritten);
    }

    [Fact]
    public async Task A_partition_that_no_node_gives_is_computed()
    {
        await using var harness = await Storing(StorageLevel.Disk, options => options with { NodeUrl = "http://127.0.0.1:1" }).StartAsync();

        await harness.SendAsync(ExecutorHarness.Batch("store", 4) with { Elsewhere = [new PartitionAt(1, 4, new NodeId("node-2"), "http://127.0.0.1:1")] });
        var report = await harness.ReportAsync();

        Assert.IsType<TaskSucceeded>(report.End);
        Assert.True(Assert.Single(report.Cached!) is { Collection: 1, Partition: 4, DiskBytes: > 0 });
    }

    [Fact]
    public async Task After_a_new_connection_everything_held_is_told_again()
    {
        await using var harness = await Storing(StorageLevel.Memory).StartAsync();
        await harness.SendTasksAsync("store", 0);
        await harness.ReportAsync();

        await harness.ReconnectAsync();
        await harness.SendAsync(WritePartitions.Instance);

        Assert.Equal([0], (await harness.NextAsync<PartitionsHeld>()).Partitions.Select(partition => partition.Partition));
    }
}
