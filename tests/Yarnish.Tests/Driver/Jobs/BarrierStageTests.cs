using System.Collections.Concurrent;
using Xunit;

namespace Yarnish.Tests.Driver.Jobs;

/// <summary>Barrier stages as a program sees them, embedded.</summary>
public sealed class BarrierStageTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private static Task<YarnishSession> OpenAsync(int slots = 4) => YarnishSession.CreateBuilder().WithName("test").WithProgress(ProgressStyle.None).WithExecutorCores(slots)
        .Configure(static options => options.Address = "").ConnectAsync(TestContext.Current.CancellationToken);

    [Fact]
    public async Task Tasks_hear_what_all_of_them_said_round_after_round()
    {
        await using var session = await OpenAsync();

        var heard = await session.Range(0, 8, 4).Barrier().MapPartitions(static (context, rows) =>
        {
            var sum = rows.Sum();
            for (var round = 0; round < 20; round++)
            {
                sum = context.AllGather($"{sum}").Sum(static text => int.Parse(text, System.Globalization.CultureInfo.InvariantCulture)) % 1009;
            }
            return new[] { (context.Partition, context.Participants, sum) };
        }).CollectAsync().WaitAsync(Patience);

        // The same by hand.
        int[] sums = [1, 5, 9, 13];
        for (var round = 0; round < 20; round++)
        {
            var next = sums.Sum() % 1009;
            sums = [next, next, next, next];
        }
        Assert.Equal([(0, 4, sums[0]), (1, 4, sums[0]), (2, 4, sums[0]), (3, 4, sums[0])], heard);
    }

    [Fact]
    public async Task Nobody_passes_a_barrier_before_the_last_has_come()
    {
        await using var session = await OpenAsync();
        var order = new ConcurrentQueue<string>();

        await session.Range(0, 4, 4).Barrier().MapPartitions((context, rows) =>
        {
            Thread.Sleep(20 * context.Partition);
            order.Enqueue("before");
            context.Barrier();
            order.Enqueue("after");
            return rows;
        }).CountAsync().WaitAsync(Patience);

        Assert.Equal([.. Enumerable.Repeat("before", 4), .. Enumerable.Repeat("after", 4)], order);
    }

    [Fact]
    public async Task One_failure_starts_all_again()
    {
        await using var session = await OpenAsync();
        var starts = new ConcurrentBag<(int Partition, int StageAttempt)>();

        var rows = await session.Range(0, 4, 4).Barrier().MapPartitions((context, rows) =>
        {
            starts.Add((context.Partition, context.Task.StageAttempt));
            if (context is { Partition: 2, Task.StageAttempt: < 2 })
            {
                throw new InvalidOperationException("not yet");
            }
            context.Barrier();
            return rows;
        }).CollectAsync().WaitAsync(Patience);

        Assert.Equal([0, 1, 2, 3], rows);
        Assert.Equal(
            from attempt in Enumerable.Range(0, 3) from partition in Enumerable.Range(0, 4) select (partition, attempt),
            starts.OrderBy(start => start.StageAttempt).ThenBy(start => start.Partition));
    }

    [Fact]
    public async Task Failure_that_stays_fails_the_job_with_the_words_of_the_task()
    {
        await using var session = await OpenAsync();

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => session.Range(0, 3, 3).Barrier().MapPartitions(static (context, rows) =>
        {
            if (context.Partition == 1)
            {
                throw new InvalidOperationException("no such luck");
            }
            context.Barrier();
            return rows;
        }).CountAsync().WaitAsync(Patience));

        Assert.Contains("no such luck", error.Message, StringComparison.Ordinal);
        Assert.Contains("partition 1 failed 4 times", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Barrier_that_one_task_does_not_call_is_an_error_not_a_hang()
    {
        await using var session = await OpenAsync();

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => session.Range(0, 3, 3).Barrier().MapPartitions(static (context, rows) =>
        {
            if (context.Partition != 1)
            {
                context.Barrier();
            }
            return rows;
        }).CountAsync().WaitAsync(Patience));

        Assert.Contains("partition 1 ended without coming to barrier 0", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Waiting_longer_than_the_timeout_fails_the_task()
    {
        await using var session = await OpenAsync();
        using var done = new ManualResetEventSlim();

        var job = session.Range(0, 2, 2).Barrier(TimeSpan.FromMilliseconds(50)).MapPartitions((context, rows) =>
        {
            if (context.Partition == 0)
            {
                done.Wait(context.Task.Cancellation);
            }
            context.Barrier();
            return rows;
        }).CountAsync();

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => job.WaitAsync(Patience));
        Assert.Contains("Partition 1 waited 0.05 s at a barrier and not all 2 tasks came", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task More_partitions_than_slots_fail_at_once_and_say_so()
    {
        await using var session = await OpenAsync(slots: 2);

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => session.Range(0, 3, 3).Barrier().MapPartitions(static (_, rows) => rows).CountAsync().WaitAsync(Patience));

        Assert.Contains("all its 3 tasks at the same time", error.Message, StringComparison.Ordinal);
        Assert.Contains("2 slots at most", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Some_partitions_of_a_barrier_collection_cannot_be_had()
    {
        await using var session = await OpenAsync();
        var together = session.Range(0, 3, 3).Barrier().MapPartitions(static (_, rows) => rows);

        Assert.Contains("all together", (await Assert.ThrowsAsync<InvalidOperationException>(() => together.TakeAsync(1))).Message, StringComparison.Ordinal);
        Assert.Contains("one task for each partition", (await Assert.ThrowsAsync<InvalidOperationException>(() => together.Union(together).CountAsync())).Message, StringComparison.Ordinal);
        var first = await together.Repartition(2).OrderBy(static row => row).TakeAsync(1).WaitAsync(Patience);
        Assert.Equal(0, Assert.Single(first));
    }

    [Fact]
    public async Task Message_beyond_the_limit_is_refused()
    {
        await using var session = await OpenAsync();

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => session.Range(0, 2, 2).Barrier().MapPartitions(static (context, rows) =>
        {
            context.AllGather(new string('x', 65 << 10));
            return rows;
        }).CountAsync().WaitAsync(Patience));

        Assert.Contains("66,560 bytes; 65,536 are allowed", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Cancelling_frees_tasks_that_wait_at_a_barrier()
    {
        await using var session = await OpenAsync();
        using var cancel = new CancellationTokenSource();
        using var waiting = new SemaphoreSlim(0);
        var job = session.Range(0, 3, 3).Barrier().MapPartitions((context, rows) =>
        {
            waiting.Release();
            if (context.Partition == 0)
            {
                context.Task.Cancellation.WaitHandle.WaitOne(Patience);
            }
            context.Barrier();
            return rows;
        }).CountAsync(cancel.Token);
        for (var i = 0; i < 3; i++)
        {
            Assert.True(await waiting.WaitAsync(Patience));
        }

        await cancel.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => job.WaitAsync(Patience));
        Assert.Equal(12, await session.Range(0, 12, 4).CountAsync().WaitAsync(Patience));
    }
}
