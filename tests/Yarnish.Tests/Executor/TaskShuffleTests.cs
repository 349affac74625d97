using System.Buffers;
using Xunit;
using Yarnish.Blocks;
using Yarnish.Executor;
using Yarnish.Protocol;

namespace Yarnish.Tests.Executor;

public sealed class TaskShuffleTests
{
    private static readonly ShuffleId Shuffle = new(3);

    private static TaskBatch Reduce(params long[] attempts) => ExecutorHarness.Batch("reduce", attempts) with { Shuffles = [new ShuffleInput(Shuffle, 1)] };

    private static ExecutorHarness MapAndReduce() => new ExecutorHarness()
        .Program("map", static task =>
        {
            var writer = task.OpenShuffleWriter(Shuffle, 100);
            for (var row = 0; row < 1000; row++)
            {
                writer.GetPart(row % 100).Write([(byte)task.Context.Partition]);
                writer.RowWritten(row % 100);
            }
            writer.Complete();
        })
        .Program("reduce", static task =>
        {
            var sum = 0;
            foreach (var block in task.ReadShuffle(Shuffle, 42))
            {
                foreach (var value in block.Content.Span)
                {
                    sum += value;
                }
            }
            task.SetResult(BitConverter.GetBytes(sum));
        });

    private static async Task<MapOutput[]> RunMapsAsync(ExecutorHarness harness)
    {
        await harness.SendTasksAsync("map", 0, 1, 2);
        return [.. (await harness.ReportsAsync(3)).OrderBy(static report => report.Key).Select(static report => report.Value.MapOutput!)];
    }

    [Fact]
    public async Task Map_tasks_register_before_they_report_and_a_reducer_reads_what_they_wrote()
    {
        await using var harness = await MapAndReduce().StartAsync();

        var outputs = await RunMapsAsync(harness);
        Assert.Equal(3, (await harness.Registry.ListMapOutputsAsync(Shuffle, TestContext.Current.CancellationToken)).Count);
        await harness.Registry.PublishLocationsAsync(ShuffleLocations.From(Shuffle, 1, outputs), TestContext.Current.CancellationToken);
        await harness.SendAsync(Reduce(10));
        var report = await harness.ReportAsync();

        Assert.Equal(10 * (0 + 1 + 2), BitConverter.ToInt32(report.Result.Span));
        Assert.True(report.Metrics.ShuffleReadLocalBytes > 0);
    }

    [Fact]
    public async Task Locations_that_the_registry_lacks_are_asked_of_the_driver()
    {
        await using var harness = await MapAndReduce().StartAsync();
        var outputs = await RunMapsAsync(harness);

        await harness.SendAsync(Reduce(10));
        var wanted = await harness.NextAsync<LocationsWanted>();
        await harness.Registry.PublishLocationsAsync(ShuffleLocations.From(Shuffle, 1, outputs), TestContext.Current.CancellationToken);
        await harness.SendAsync(new LocationsPublished(Shuffle, 1));

        Assert.Equal((Shuffle, 1), (wanted.ShuffleId, wanted.Epoch));
        Assert.Equal(TaskSucceeded.Instance, (await harness.ReportAsync()).End);
    }

    [Fact]
    public async Task Locations_that_nobody_has_fail_the_task_and_blame_no_map_task()
    {
        await using var harness = await MapAndReduce().StartAsync();

        await harness.SendAsync(Reduce(10));
        await harness.NextAsync<LocationsWanted>();
        var reported = harness.ReportAsync();
        while (!reported.IsCompleted)
        {
            harness.Clock.Advance(TimeSpan.FromSeconds(1));
            await Task.WhenAny(reported, Task.Delay(10, TestContext.Current.CancellationToken));
        }

        var failed = Assert.IsType<TaskFailed>((await reported).End);
        Assert.Equal(typeof(ShuffleLocationsException).FullName, failed.Error.Type);
        Assert.Contains("within 15 s", failed.Error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_lost_map_output_is_a_fetch_failure_of_that_map_task_even_when_user_code_wraps_it()
    {
        await using var harness = await MapAndReduce().StartAsync();
        harness.Program("swallow", static task =>
        {
            try
            {
                foreach (var _ in task.ReadShuffle(Shuffle, 42))
                {
                }
            }
            catch (Exception error)
            {
                throw new InvalidOperationException("something went wrong", error);
            }
        });
        var outputs = await RunMapsAsync(harness);
        await harness.Registry.PublishLocationsAsync(ShuffleLocations.From(Shuffle, 1, outputs), TestContext.Current.CancellationToken);
        File.Delete(harness.Blocks.IndexPath(new MapOutputId(Shuffle, 1, new TaskAttemptId(1))));

        await harness.SendAsync(ExecutorHarness.Batch("swallow", 10) with { Shuffles = [new ShuffleInput(Shuffle, 1)] });

        var failure = Assert.IsType<FetchFailed>((await harness.ReportAsync()).End);
        Assert.Equal((1, new TaskAttemptId(1), new NodeId("node-1")), (failure.MapPartition, failure.MapAttempt, failure.NodeId));
    }

    [Fact]
    public async Task A_map_task_that_fails_leaves_no_files_and_registers_nothing()
    {
        await using var harness = await new ExecutorHarness().Program("half", static task =>
        {
            var writer = task.OpenShuffleWriter(Shuffle, 4);
            writer.GetPart(0).Write(new byte[100_000]);
            writer.RowWritten(0);
            throw new InvalidDataException("half way");
        }).StartAsync();

        await harness.SendTasksAsync("half", 1);
        var report = await harness.ReportAsync();

        Assert.IsType<TaskFailed>(report.End);
        Assert.Null(report.MapOutput);
        Assert.Empty(await harness.Registry.ListMapOutputsAsync(Shuffle, TestContext.Current.CancellationToken));
        Assert.True(!Directory.Exists(harness.Blocks.Root) || Directory.GetFiles(harness.Blocks.Root, "*", SearchOption.AllDirectories).Length == 0);
    }

    [Fact]
    public async Task Dropped_shuffles_lose_their_files()
    {
        await using var harness = await MapAndReduce().StartAsync();
        await RunMapsAsync(harness);

        await harness.SendAsync(new DropBlocks([Shuffle], []));

        Assert.True(SpinWait.SpinUntil(() => !Directory.Exists(harness.Blocks.ShuffleDirectory(Shuffle)), TimeSpan.FromSeconds(30)));
    }
}
