using Xunit;
using Yarnish.Executor;

namespace Yarnish.Tests.Collections;

/// <summary>The orders that docs/collections.md promises, and how much is computed for a few rows.</summary>
public sealed class OrderTests(IsolatedSession isolated) : LinqAgreement(isolated)
{
    [Fact]
    public Task A_join_gives_the_pairs_of_a_key_in_the_order_of_the_input() => EachAsync(async sample =>
    {
        var left = Session.Parallelize(sample.Rows, sample.Partitions).Index().Select(static row => KeyValuePair.Create(row.Item % 4, row.Index));
        var right = left.Where(static pair => pair.Value % 3 != 0);
        var (lefts, rights) = (sample.Rows.Index().ToLookup(row => row.Item % 4, row => (long)row.Index), sample.Rows.Index().Where(row => row.Index % 3 != 0).ToLookup(row => row.Item % 4, row => (long)row.Index));

        foreach (var joined in new[] { await left.Join(right).CollectAsync(), await left.PartitionBy(new HashPartitioner<int>(3)).OrderBy(static pair => pair.Value).Select(static pair => pair).Join(right).CollectAsync() })
        {
            foreach (var key in joined.Select(pair => pair.Key).Distinct())
            {
                Assert.Equal(lefts[key].SelectMany(_ => rights[key], (one, two) => (one, two)), joined.Where(pair => pair.Key == key).Select(pair => pair.Value));
            }
        }
    });

    [Fact]
    public Task What_is_left_of_a_key_keeps_its_order() => EachAsync(async sample =>
    {
        var pairs = Session.Parallelize(sample.Rows, sample.Partitions).Index().Select(static row => KeyValuePair.Create(row.Item % 4, row.Index));
        var left = await pairs.SubtractByKey(Session.Parallelize([KeyValuePair.Create(1, "")])).CollectAsync();

        foreach (var key in left.Select(pair => pair.Key).Distinct())
        {
            Assert.Equal(sample.Rows.Index().Where(row => row.Item % 4 == key).Select(row => (long)row.Index), left.Where(pair => pair.Key == key).Select(pair => pair.Value));
        }
    });

    [Fact]
    public Task Distinct_by_a_key_gives_the_first_row_of_each() => AgreeInAnyOrder(
        rows => rows.Index().DistinctBy(static row => row.Item % 6), rows => rows.Index().DistinctBy(row => row.Item % 6).Select(row => ((long)row.Index, row.Item)));

    [Fact]
    public Task Groups_in_place_keep_the_order_of_the_input() => EachAsync(async sample =>
    {
        var pairs = Session.Parallelize(sample.Rows, sample.Partitions).Index().Select(static row => KeyValuePair.Create(row.Item % 4, row.Index)).RepartitionAndSortWithinPartitions(new HashPartitioner<int>(3));

        Assert.All(await pairs.GroupByKey().CollectAsync(), group => Assert.Equal(group.Value.Order(), group.Value));
    });

    [Fact]
    public Task Then_by_descending_agrees_with_linq() => Agree(
        rows => rows.OrderBy(static row => row % 3).ThenByDescending(static row => row).CollectAsync(), rows => rows.OrderBy(row => row % 3).ThenByDescending(row => row).ToArray());

    [Fact]
    public Task The_first_row_agrees_with_linq() => EachAsync(async sample =>
    {
        var rows = Session.Parallelize(sample.Rows, sample.Partitions);
        if (sample.Rows.Length == 0)
        {
            await Assert.ThrowsAsync<InvalidOperationException>(() => rows.FirstAsync());
            return;
        }
        Assert.Equal(sample.Rows[0], await rows.FirstAsync());
        Assert.Equal(sample.Rows.Max(), await rows.OrderByDescending(static row => row).FirstAsync());
    });

    [Fact]
    public async Task Taking_looks_at_one_partition_then_at_four_times_as_many()
    {
        var rows = Session.Range(0, 100, 50);
        foreach (var (count, tasks) in new[] { (2, 1), (3, 5), (10, 5), (11, 21), (42, 21), (43, 50), (1_000, 50) })
        {
            var before = Session.Progress.TasksSucceeded;
            Assert.Equal(Enumerable.Range(0, Math.Min(count, 100)), await rows.TakeAsync(count));
            Assert.Equal(before + tasks, Session.Progress.TasksSucceeded);
        }
    }

    [Fact]
    public async Task A_job_cancelled_in_the_middle_of_a_shuffle_ends_and_the_next_one_is_right()
    {
        var counts = Session.Range(0, 8, 4).Select(static row =>
        {
            if (row == 5 && blocked)
            {
                reached.Release();
                TaskContext.Current!.Cancellation.WaitHandle.WaitOne();
                TaskContext.Current.Cancellation.ThrowIfCancellationRequested();
            }
            return row;
        }).CountBy(static row => row % 2);
        using var cancellation = new CancellationTokenSource();
        var job = counts.ToDictionaryAsync(cancellation.Token);
        await reached.WaitAsync(TestContext.Current.CancellationToken);
        await cancellation.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => job);
        blocked = false;
        Assert.Equal(new Dictionary<int, long> { [0] = 4, [1] = 4 }, await counts.ToDictionaryAsync());
    }

    private static readonly SemaphoreSlim reached = new(0);
    private static volatile bool blocked = true;
}
