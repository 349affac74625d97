using System.Collections.Concurrent;
using Xunit;
using Yarnish.Tests.Driver.Session;

namespace Yarnish.Tests.Driver.Jobs;

/// <summary>Several jobs at once on an embedded session: pools, groups, cancellation.</summary>
public sealed class SharingTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private static Task<YarnishSession> OpenAsync(Func<YarnishSessionBuilder, YarnishSessionBuilder>? more = null)
    {
        var builder = YarnishSession.CreateBuilder().WithName("test").WithProgress(ProgressStyle.None).WithExecutorCores(1).Configure(static options => options.Address = "");
        return (more?.Invoke(builder) ?? builder).ConnectAsync(TestContext.Current.CancellationToken);
    }

    /// <summary>Runs two jobs of forty tasks that wait until both were submitted; the order in which their tasks ran.</summary>
    private static async Task<string> OrderAsync(YarnishSession session, string poolOfFirst, string poolOfSecond)
    {
        var order = new ConcurrentQueue<char>();
        using var both = new ManualResetEventSlim();
        using var running = new SemaphoreSlim(0);
        var (first, _) = Plans.OneStage(40, _ =>
        {
            running.Release();
            Assert.True(both.Wait(Patience));
            order.Enqueue('A');
            Thread.Sleep(1);
            return "";
        });
        var (second, _) = Plans.OneStage(40, _ =>
        {
            order.Enqueue('B');
            Thread.Sleep(1);
            return "";
        });
        Task one, two;
        using (session.InPool(poolOfFirst))
        {
            one = session.Runner.RunAsync(first, CancellationToken.None);
        }
        Assert.True(await running.WaitAsync(Patience));
        using (session.InPool(poolOfSecond))
        {
            two = session.Runner.RunAsync(second, CancellationToken.None);
        }
        await session.LeftoversAsync(); // Whoever asks after them has them before.
        both.Set();
        await Task.WhenAll(one, two).WaitAsync(Patience);
        return string.Concat(order);
    }

    [Fact]
    public async Task Earlier_job_of_a_pool_goes_first()
    {
        await using var session = await OpenAsync();

        Assert.Equal(new string('A', 40) + new string('B', 40), await OrderAsync(session, "same", "same"));
    }

    [Fact]
    public async Task Pools_share_by_weight()
    {
        await using var session = await OpenAsync(static builder => builder.WithPool("heavy", weight: 3));

        var order = await OrderAsync(session, "light", "heavy");

        // What was sent before the second job came is the first one's; then three of the heavy pool to one of the light.
        var heavyDone = order.LastIndexOf('B');
        var lightMeanwhile = order[..heavyDone].Count(static c => c == 'A');
        Assert.InRange(lightMeanwhile, 5, 30);
    }

    [Fact]
    public async Task Choice_of_a_pool_flows_with_the_caller_and_ends_with_its_scope()
    {
        await using var session = await OpenAsync();
        using (session.JobGroup("outer", "loads customers"))
        using (session.InPool("reports"))
        {
            await RunOneAsync(session);
            using (session.DescribeJobs("counts them"))
            {
                await RunOneAsync(session);
            }
        }
        await RunOneAsync(session);

        var jobs = (await session.SnapshotAsync()).Jobs.OrderBy(static job => job.JobId).Select(static job => (job.Pool, job.Group, job.Description));
        Assert.Equal([("reports", "outer", "loads customers"), ("reports", "outer", "counts them"), ("default", "", "")], jobs);

        static async Task RunOneAsync(YarnishSession session)
        {
            await Task.Yield();
            var (plan, _) = Plans.OneStage(1, _ => "");
            await session.Runner.RunAsync(plan, CancellationToken.None).WaitAsync(Patience);
        }
    }

    [Fact]
    public async Task Cancelling_a_group_ends_its_jobs_and_only_these()
    {
        await using var session = await OpenAsync(static builder => builder.WithExecutorCores(2));
        using var hold = new ManualResetEventSlim();
        using var running = new SemaphoreSlim(0);
        var (doomed, _) = Plans.OneStage(1, task =>
        {
            running.Release();
            task.Context.Cancellation.WaitHandle.WaitOne(Patience);
            task.Context.Cancellation.ThrowIfCancellationRequested();
            return "";
        });
        var (other, results) = Plans.OneStage(1, _ =>
        {
            running.Release();
            hold.Wait(Patience);
            return "kept";
        });
        Task lost;
        using (session.JobGroup("nightly"))
        {
            lost = session.Runner.RunAsync(doomed, CancellationToken.None);
        }
        var kept = session.Runner.RunAsync(other, CancellationToken.None);
        Assert.True(await running.WaitAsync(Patience));
        Assert.True(await running.WaitAsync(Patience));

        session.CancelJobs("nightly", "it is morning");

        var error = await Assert.ThrowsAnyAsync<OperationCanceledException>(() => lost.WaitAsync(Patience));
        Assert.Contains("its group 'nightly' was cancelled: it is morning", error.Message, StringComparison.Ordinal);
        hold.Set();
        await kept.WaitAsync(Patience);
        Assert.Equal("kept", results[0]);
        await AssertNothingLeftAsync(session);
    }

    [Fact]
    public async Task Cancelled_group_takes_no_further_job()
    {
        await using var session = await OpenAsync();
        using (var group = session.JobGroup("once"))
        {
            group.Cancel("changed my mind");
            var (plan, _) = Plans.OneStage(1, _ => "");
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => session.Runner.RunAsync(plan, CancellationToken.None));
        }
        var (after, _) = Plans.OneStage(1, _ => "");
        await session.Runner.RunAsync(after, CancellationToken.None).WaitAsync(Patience);
    }

    [Fact]
    public async Task Cancelling_stops_tasks_that_never_look_at_their_cancellation()
    {
        await using var session = await OpenAsync();
        using var running = new SemaphoreSlim(0);
        using var cancel = new CancellationTokenSource();
        var counting = session.Range(0L, long.MaxValue, 2).Select(row =>
        {
            if (row == 0)
            {
                running.Release();
            }
            return row;
        }).CountAsync(cancel.Token);
        Assert.True(await running.WaitAsync(Patience));

        await cancel.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => counting.WaitAsync(Patience));
        // Its slot is free again: the only one.
        Assert.Equal(10, await session.Range(0, 10, 3).CountAsync().WaitAsync(Patience));
        await AssertNothingLeftAsync(session);
    }

    [Fact]
    public async Task Many_jobs_at_once_leave_nothing()
    {
        await using var session = await OpenAsync(static builder => builder.WithExecutorCores(4));
        using var cancel = new CancellationTokenSource();
        var jobs = Enumerable.Range(0, 40).Select(async number =>
        {
            using var pool = session.InPool($"pool {number % 3}");
            var pairs = session.Range(0, 2000, 8).GroupBy(static row => row % 7);
            try
            {
                return await pairs.CountAsync(number % 4 == 0 ? cancel.Token : CancellationToken.None);
            }
            catch (OperationCanceledException)
            {
                return 7;
            }
        }).ToArray();
        await cancel.CancelAsync();

        Assert.All(await Task.WhenAll(jobs).WaitAsync(Patience), static groups => Assert.Equal(7, groups));
        jobs = [];
        await AssertNothingLeftAsync(session);
    }

    private static async Task AssertNothingLeftAsync(YarnishSession session)
    {
        IReadOnlyList<string> left = [];
        for (var i = 0; i < 300; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            left = await session.LeftoversAsync();
            if (left.Count == 0)
            {
                return;
            }
            await Task.Delay(20, TestContext.Current.CancellationToken);
        }
        Assert.Fail($"left: {string.Join(", ", left)}");
    }
}
