using Xunit;
using Yarnish.Jobs;

namespace Yarnish.Tests.Driver.Session;

public sealed class EmbeddedSessionTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private static Task<YarnishSession> OpenAsync(Action<YarnishOptions>? change = null) =>
        YarnishSession.CreateBuilder().WithName("test").WithProgress(ProgressStyle.None).Configure(options =>
        {
            options.Address = "";
            change?.Invoke(options);
        }).ConnectAsync(TestContext.Current.CancellationToken);

    [Fact]
    public async Task Job_of_one_stage_hands_over_each_result_once()
    {
        await using var session = await OpenAsync();
        var (plan, results) = Plans.OneStage(100, task => $"{task.Context.Partition * 2}");

        await session.Runner.RunAsync(plan, CancellationToken.None).WaitAsync(Patience);

        Assert.Equal(Enumerable.Range(0, 100).Select(partition => $"{partition * 2}"), results.OrderBy(pair => pair.Key).Select(pair => pair.Value));
        Assert.Equal(1, session.Progress.JobsSucceeded);
        Assert.Equal(100, session.Progress.TasksSucceeded);
    }

    [Fact]
    public async Task Each_partition_gets_its_own_input()
    {
        await using var session = await OpenAsync();
        var (plan, results) = Plans.OneStage(300, task => System.Text.Encoding.UTF8.GetString(task.Input.Span), partition => new string('x', partition * 7));

        await session.Runner.RunAsync(plan, CancellationToken.None).WaitAsync(Patience);

        Assert.All(results, pair => Assert.Equal(pair.Key * 7, pair.Value.Length));
        Assert.Equal(300, results.Count);
    }

    [Fact]
    public async Task Input_is_made_when_a_task_is_sent_not_before()
    {
        await using var session = await OpenAsync(options => options.ExecutorCores = 1);
        var made = 0;
        var hold = new TaskCompletionSource();
        var (plan, _) = Plans.OneStage(
            100_000,
            task =>
            {
                Assert.True(hold.Task.Wait(Patience));
                return "";
            },
            partition =>
            {
                Interlocked.Increment(ref made);
                return "";
            });
        using var cancel = new CancellationTokenSource();

        var job = session.Runner.RunAsync(plan, cancel.Token);
        var (probe, _) = Plans.OneStage(0, task => "");
        await session.Runner.RunAsync(probe, CancellationToken.None).WaitAsync(Patience);
        Assert.InRange(Volatile.Read(ref made), 0, 5000);

        await cancel.CancelAsync();
        hold.SetResult();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => job.WaitAsync(Patience));
    }

    [Fact]
    public async Task Reducers_read_what_the_map_stage_wrote()
    {
        await using var session = await OpenAsync();
        var shuffle = session.Runner.NextShuffle();
        var results = new SortedDictionary<int, string>();
        var plan = new JobPlan
        {
            Name = "shuffle",
            Stages = [Plans.MapStage(3, shuffle, 2), Plans.Stage(2, task => Plans.ReadAll(task, shuffle), null, shuffle)],
            OnResult = (partition, bytes) => results.Add(partition, System.Text.Encoding.UTF8.GetString(bytes.Span)),
        };

        await session.Runner.RunAsync(plan, CancellationToken.None).WaitAsync(Patience);

        Assert.Equal(["0>0;1>0;2>0;", "0>1;1>1;2>1;"], results.Values);
        Assert.Equal(5, session.Progress.TasksSucceeded);

        results.Clear();
        await session.Runner.RunAsync(plan, CancellationToken.None).WaitAsync(Patience);
        Assert.Equal(2, results.Count);
        Assert.Equal(7, session.Progress.TasksSucceeded); // The map stage was not run again.
        Assert.True(session.Progress.ShuffleBytesWritten > 0);
    }

    [Fact]
    public async Task Large_results_come_whole()
    {
        await using var session = await OpenAsync();
        var (plan, results) = Plans.OneStage(4, task => new string((char)('a' + task.Context.Partition), 3_000_000));

        await session.Runner.RunAsync(plan, CancellationToken.None).WaitAsync(Patience);

        Assert.All(results, pair => Assert.Equal(new string((char)('a' + pair.Key), 3_000_000), pair.Value));
        Assert.Equal(4, results.Count);
    }

    [Fact]
    public async Task Results_beyond_the_limit_fail_the_job_with_a_cure()
    {
        await using var session = await OpenAsync(options => options.MaximumResultBytes = 1 << 20);
        var (plan, _) = Plans.OneStage(4, task => new string('a', 600_000));

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => session.Runner.RunAsync(plan, CancellationToken.None).WaitAsync(Patience));

        Assert.Contains("MaximumResultBytes", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Task_that_throws_fails_its_job_after_four_tries_and_says_where_and_why()
    {
        await using var session = await OpenAsync();
        var tries = 0;
        var (plan, _) = Plans.OneStage(3, task => task.Context.Partition == 1 ? Throw() : "fine");

        string Throw()
        {
            Interlocked.Increment(ref tries);
            throw new FormatException("line 7 is not a number");
        }

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => session.Runner.RunAsync(plan, CancellationToken.None).WaitAsync(Patience));

        Assert.Equal(4, tries);
        Assert.Equal(4, error.Attempts);
        Assert.Equal(1, error.Partition);
        Assert.Equal("System.FormatException", error.RemoteError?.Type);
        Assert.Contains("partition 1 failed 4 times", error.Message, StringComparison.Ordinal);
        Assert.Contains("System.FormatException: line 7 is not a number", error.Message, StringComparison.Ordinal);
        Assert.Contains("result stage", error.Message, StringComparison.Ordinal);
        Assert.Contains("cure:", error.Message, StringComparison.Ordinal);

        // The session goes on.
        var (next, results) = Plans.OneStage(3, task => "fine");
        await session.Runner.RunAsync(next, CancellationToken.None).WaitAsync(Patience);
        Assert.Equal(3, results.Count);
    }

    [Fact]
    public async Task Task_that_fails_once_is_tried_again()
    {
        await using var session = await OpenAsync();
        var failed = 0;
        var (plan, results) = Plans.OneStage(10, task => task.Context.Partition == 4 && Interlocked.Exchange(ref failed, 1) == 0 ? throw new IOException("once") : "fine");

        await session.Runner.RunAsync(plan, CancellationToken.None).WaitAsync(Patience);

        Assert.Equal(10, results.Count);
        Assert.Equal(1, session.Progress.TasksFailed);
    }

    [Fact]
    public async Task Cancelling_ends_the_job_and_the_tasks()
    {
        await using var session = await OpenAsync(options => options.ExecutorCores = 2);
        var started = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var stopped = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var (plan, _) = Plans.OneStage(2, task =>
        {
            started.TrySetResult();
            task.Context.Cancellation.WaitHandle.WaitOne(Patience);
            stopped.TrySetResult();
            task.Context.Cancellation.ThrowIfCancellationRequested();
            return "";
        });
        using var cancel = new CancellationTokenSource();
        var job = session.Runner.RunAsync(plan, cancel.Token);
        await started.Task.WaitAsync(Patience);

        await cancel.CancelAsync();

        var error = await Assert.ThrowsAnyAsync<OperationCanceledException>(() => job.WaitAsync(Patience));
        Assert.Equal(cancel.Token, error.CancellationToken);
        await stopped.Task.WaitAsync(Patience);
    }

    [Fact]
    public async Task Job_that_is_cancelled_before_it_starts_does_not_run()
    {
        await using var session = await OpenAsync();
        var (plan, results) = Plans.OneStage(2, task => "");

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => session.Runner.RunAsync(plan, new CancellationToken(canceled: true)));

        Assert.Empty(results);
    }

    [Fact]
    public async Task Consumer_that_throws_fails_the_job_with_its_own_exception()
    {
        await using var session = await OpenAsync();
        var plan = new JobPlan { Name = "consumer", Stages = [Plans.Stage(20, task => "x")], OnResult = (_, _) => throw new InvalidCastException("my own") };

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => session.Runner.RunAsync(plan, CancellationToken.None).WaitAsync(Patience));

        Assert.IsType<InvalidCastException>(error.InnerException);
        Assert.Contains("my own", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Consumer_that_throws_on_a_large_result_fails_the_job_too()
    {
        await using var session = await OpenAsync();
        var plan = new JobPlan { Name = "consumer", Stages = [Plans.Stage(1, task => new string('x', 100_000))], OnResult = (_, _) => throw new InvalidCastException("my own") };

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => session.Runner.RunAsync(plan, CancellationToken.None).WaitAsync(Patience));

        Assert.Contains("my own", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Input_that_cannot_be_made_fails_the_job()
    {
        await using var session = await OpenAsync();
        var (plan, _) = Plans.OneStage(5, task => "", partition => partition == 3 ? throw new IOException("no such split") : "");

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => session.Runner.RunAsync(plan, CancellationToken.None).WaitAsync(Patience));

        Assert.Contains("no such split", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Job_without_partitions_ends_at_once()
    {
        await using var session = await OpenAsync();
        var (plan, results) = Plans.OneStage(0, task => "");

        await session.Runner.RunAsync(plan, CancellationToken.None).WaitAsync(Patience);

        Assert.Empty(results);
    }

    [Fact]
    public async Task Only_the_partitions_asked_for_are_computed()
    {
        await using var session = await OpenAsync();
        var results = new SortedSet<int>();
        var plan = new JobPlan { Name = "some", Stages = [Plans.Stage(10, task => "")], Partitions = [2, 7], OnResult = (partition, _) => results.Add(partition) };

        await session.Runner.RunAsync(plan, CancellationToken.None).WaitAsync(Patience);

        Assert.Equal([2, 7], results);
    }

    [Fact]
    public async Task Jobs_of_several_callers_run_side_by_side()
    {
        await using var session = await OpenAsync();

        await Task.WhenAll(Enumerable.Range(0, 20).Select(async number =>
        {
            var (plan, results) = Plans.OneStage(30, task => $"{number}.{task.Context.Partition}");
            await session.Runner.RunAsync(plan, CancellationToken.None);
            Assert.Equal(30, results.Count);
            Assert.All(results, pair => Assert.Equal($"{number}.{pair.Key}", pair.Value));
        })).WaitAsync(Patience);

        Assert.Equal(20, session.Progress.JobsSucceeded);
    }

    [Fact]
    public async Task Disposing_cancels_what_runs_and_removes_the_block_directory()
    {
        var session = await OpenAsync(options => options.ExecutorCores = 1);
        var started = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var (plan, _) = Plans.OneStage(1, task =>
        {
            started.TrySetResult();
            task.Context.Cancellation.WaitHandle.WaitOne(Patience);
            return "";
        });
        var job = session.Runner.RunAsync(plan, CancellationToken.None);
        await started.Task.WaitAsync(Patience);

        await session.DisposeAsync().AsTask().WaitAsync(Patience);
        await session.DisposeAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => job.WaitAsync(Patience));
        Assert.True(session.Stopping.IsCancellationRequested);
        var (late, _) = Plans.OneStage(1, task => "");
        await Assert.ThrowsAsync<ObjectDisposedException>(() => session.Runner.RunAsync(late, CancellationToken.None));
    }

    [Fact]
    public async Task Default_parallelism_is_twice_the_slots()
    {
        await using var session = await OpenAsync(options => options.ExecutorCores = 3);
        Assert.Equal(6, session.Runner.DefaultPartitions);
        Assert.False(session.Runner.ChecksClosures);
        Assert.True(session.IsEmbedded);
    }
}
