using Xunit;
using Yarnish.Jobs;
using Yarnish.Protocol;

namespace Yarnish.Tests.Shared;

/// <summary>Accumulators as a program sees them: what counts, and how often.</summary>
public sealed class AccumulatorTests
{
    private static JobRunner Runner(YarnishSession session) => (JobRunner)session.Runner;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Each_kind_adds_up_what_tasks_add(bool isolated)
    {
        await using var session = await Sessions.OpenAsync(isolated);
        var rows = session.Counter("rows");
        var total = session.Accumulator<double>("total");
        var exact = session.Accumulator<decimal>();
        var largest = session.MaximumAccumulator(-1);
        var first = session.MinimumAccumulator(DateTime.MaxValue);
        var sample = session.ListAccumulator<string>("odd", capacity: 5);
        var begin = new DateTime(2026, 1, 1, 0, 0, 0, DateTimeKind.Utc);

        await session.Range(0, 1000, 8).ForEachAsync(i =>
        {
            rows.Add(1);
            total.Add(i / 2.0);
            exact.Add(0.1m);
            largest.Add(i);
            first.Add(begin.AddDays(i));
            if (i % 2 == 1)
            {
                sample.Add($"{i}");
            }
        });

        Assert.Equal((1000, 249_750.0, 100m, 999, begin), (rows.Value, total.Value, exact.Value, largest.Value, first.Value));
        Assert.Equal((5, 500), (sample.Value.Items.Count, sample.Value.Count));
        Assert.All(sample.Value.Items, static item => Assert.Equal(1, int.Parse(item, null) % 2));
        Assert.Equal(["rows", "total", "odd"], Runner(session).Accumulators.Snapshot().Select(static one => one.Name));
        Assert.Equal("1000", Runner(session).Accumulators.Snapshot()[0].Value);
    }

    [Fact]
    public async Task Nothing_added_is_the_beginning()
    {
        await using var session = await Sessions.OpenAsync(isolated: false);

        Assert.Equal((0L, int.MinValue, long.MaxValue), (session.Counter().Value, session.MaximumAccumulator(int.MinValue).Value, session.MinimumAccumulator(long.MaxValue).Value));
        Assert.Empty(session.ListAccumulator<string>().Value.Items);
        Assert.Throws<ArgumentOutOfRangeException>(() => session.ListAccumulator<string>("x", 0));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Attempts_that_fail_count_nothing_and_each_partition_counts_once(bool isolated)
    {
        await using var session = await Sessions.OpenAsync(isolated);
        var rows = session.Counter();
        var tries = new Tries();

        await session.Range(0, 100, 10).ForEachPartitionAsync(numbers =>
        {
            foreach (var _ in numbers)
            {
                rows.Add(1);
            }
            tries.FailFirst();
        });

        Assert.Equal(100, rows.Value);
    }

    [Fact]
    public async Task A_stage_that_writes_a_shuffle_counts_once_for_the_life_of_the_shuffle()
    {
        await using var session = await Sessions.OpenAsync(isolated: true);
        var rows = session.Counter("rows");
        var sums = session.Range(0, 100, 10).Select(i =>
        {
            rows.Add(1);
            return KeyValuePair.Create(i % 3, i);
        }).ReduceByKey(static (left, right) => left + right);

        await sums.CountAsync();
        Assert.Equal(100, rows.Value);
        // The output is there: nothing runs again.
        await sums.CountAsync();
        Assert.Equal(100, rows.Value);
        // It is lost: the map tasks run again, and count no second time.
        var directory = ((Yarnish.Embedded.EmbeddedFleet)Runner(session).Fleet).BlockDirectory;
        Directory.Delete(Path.Combine(directory, "shuffle"), recursive: true);
        Assert.Equal(3, await sums.CountAsync());

        Assert.Equal(100, rows.Value);
        Assert.True(session.Progress.TasksSucceeded - (3 * sums.Partitions) >= 20, "the map tasks did not run again");
        Assert.Equal("100", Assert.Single(Assert.Single(Runner(session).Accumulators.Snapshot()).Stages).Added);
    }

    [Fact]
    public async Task A_transformation_that_two_jobs_compute_counts_in_each()
    {
        await using var session = await Sessions.OpenAsync(isolated: true);
        var rows = session.Counter();
        var counted = session.Range(0, 50, 5).Select(i =>
        {
            rows.Add(1);
            return i;
        });

        await counted.CountAsync();
        await counted.CountAsync();

        Assert.Equal(100, rows.Value);
    }

    [Fact]
    public async Task What_a_task_with_a_large_result_added_counts_once()
    {
        await using var session = await Sessions.OpenAsync(isolated: true);
        var rows = session.Counter();

        var collected = await session.Range(0, 4, 4).Select(i =>
        {
            rows.Add(1);
            return new byte[400_000];
        }).CollectAsync();

        Assert.Equal(4, collected.Length);
        Assert.Equal(4, rows.Value);
    }

    [Fact]
    public async Task A_rule_that_throws_when_merged_fails_its_job_and_no_other()
    {
        await using var session = await Sessions.OpenAsync(isolated: false);
        var broken = session.Accumulator(new ThrowsOnMerge(), "broken");

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => session.Range(0, 10, 2).ForEachAsync(broken.Add));
        Assert.Contains("Accumulator 'broken'", error.Message, StringComparison.Ordinal);
        Assert.Contains("no merging today", error.Message, StringComparison.Ordinal);
        error = await Assert.ThrowsAsync<YarnishJobException>(() => session.Range(0, 10, 2).Select(i =>
        {
            broken.Add(i);
            return KeyValuePair.Create(i, i);
        }).ReduceByKey(static (left, right) => left + right).CountAsync());
        Assert.Contains("Accumulator 'broken'", error.Message, StringComparison.Ordinal);

        Assert.Equal(10, await session.Range(0, 10, 2).CountAsync());
    }

    [Fact]
    public async Task A_rule_that_throws_in_a_task_fails_the_task()
    {
        await using var session = await Sessions.OpenAsync(isolated: true, static options => options.MaximumTaskFailures = 1);
        var broken = session.Accumulator(new ThrowsOnAdd());

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => session.Range(0, 10, 2).ForEachAsync(broken.Add));

        Assert.Contains("no adding today", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Unnamed_ones_that_nobody_holds_take_no_memory_for_ever()
    {
        await using var session = await Sessions.OpenAsync(isolated: false);
        for (var i = 0; i < 5000; i++)
        {
            _ = session.Counter();
            if (i % 500 == 0)
            {
                GC.Collect();
            }
        }

        Assert.True(Runner(session).Accumulators.Count < 3000, $"{Runner(session).Accumulators.Count} accumulators are held.");
    }

    /// <summary>Duplicates, reorderings and losses of reports, played to the machine and the table that the driver uses.</summary>
    [Fact]
    public void Whatever_is_reported_twice_a_partition_counts_once()
    {
        var table = new Yarnish.Shared.AccumulatorTable();
        var counter = table.Create(new Yarnish.Executor.SumRule<long>(), "rows");
        var change = System.Collections.Immutable.ImmutableSortedDictionary<int, ReadOnlyMemory<byte>>.Empty.Add(0, new byte[] { 1, 5 });
        MapOutput Output(int map, long attempt, int shuffle = 0) => new(new ShuffleId(shuffle), map, new TaskAttemptId(attempt), new NodeId("n"), "", new byte[1]);

        table.MergeMapTask(new StageId(1), Output(0, 1), change);
        table.MergeMapTask(new StageId(1), Output(0, 2), change);
        table.MergeMapTask(new StageId(9), Output(0, 3), change);
        table.MergeMapTask(new StageId(1), Output(1, 4), change);
        table.MergeMapTask(new StageId(2), Output(0, 5, shuffle: 1), change);
        Assert.Equal(15, counter.Value);

        // The shuffle was dropped: the same collection computed anew is another one.
        table.Forget(new ShuffleId(0));
        table.MergeMapTask(new StageId(10), Output(0, 6), change);
        Assert.Equal(20, counter.Value);
        // One that the program does not know (any more) is passed over.
        table.Merge(new StageId(3), change.Add(77, new byte[] { 1, 1 }));
        Assert.Equal(25, counter.Value);
    }

    private sealed class Tries
    {
        private readonly string folder = Directory.CreateTempSubdirectory("yarnish-tries-").FullName;

        public void FailFirst()
        {
            var path = Path.Combine(folder, $"{Yarnish.Executor.TaskContext.Current!.Partition}");
            if (!File.Exists(path))
            {
                File.WriteAllText(path, "");
                throw new InvalidOperationException("the first try fails");
            }
        }
    }

    private sealed class ThrowsOnMerge : AccumulatorRule<int, int>
    {
        public override int Zero() => 0;

        public override int Add(int value, int added) => value + added;

        public override int Merge(int value, int other) => throw new InvalidOperationException("no merging today");
    }

    private sealed class ThrowsOnAdd : AccumulatorRule<int, int>
    {
        public override int Zero() => 0;

        public override int Add(int value, int added) => throw new InvalidOperationException("no adding today");

        public override int Merge(int value, int other) => value + other;
    }
}
