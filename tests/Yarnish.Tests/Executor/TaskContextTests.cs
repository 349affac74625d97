using System.Collections.Concurrent;
using Xunit;
using Yarnish.Executor;
using Yarnish.Protocol;

namespace Yarnish.Tests.Executor;

/// <summary>What a task knows of itself and leaves with it.</summary>
public sealed class TaskContextTests
{
    private static string MessageOf(TaskReport report) => Assert.IsType<TaskFailed>(report.End).Error.Message;

    [Fact]
    public async Task The_context_flows_into_what_a_task_awaits_and_starts_and_not_beyond_it()
    {
        await using var harness = new ExecutorHarness(static options => options with { Slots = 2 });
        var seen = new ConcurrentBag<(int Partition, int? Seen, bool OnPool)>();
        harness.Program("async", task => Task.Run(async () =>
        {
            await Task.Yield();
            await Parallel.ForEachAsync(Enumerable.Range(0, 8), async (_, cancellation) =>
            {
                await Task.Delay(1, cancellation);
                seen.Add((task.Context.Partition, TaskContext.Current?.Partition, Thread.CurrentThread.IsThreadPoolThread));
            });
        }).GetAwaiter().GetResult());
        var after = new ConcurrentBag<TaskContext?>();
        harness.Program("plain", _ => after.Add(TaskContext.Current));
        await harness.StartAsync();

        await harness.SendTasksAsync("async", 1, 2, 3, 4);
        await harness.ReportsAsync(4);
        await harness.SendTasksAsync("plain", 5);
        await harness.ReportAsync();

        Assert.Equal(32, seen.Count);
        Assert.All(seen, one => Assert.Equal((one.Partition, true), (one.Seen, one.OnPool)));
        Assert.Equal(5, Assert.Single(after)!.Partition);
        Assert.Null(TaskContext.Current);
    }

    [Fact]
    public async Task Completion_listeners_are_called_last_first_with_what_ended_the_task()
    {
        await using var harness = new ExecutorHarness();
        var calls = new List<string>();
        harness.Program("good", task =>
        {
            task.Context.OnCompletion(error => calls.Add($"first {error?.Message ?? "succeeded"}"));
            task.Context.OnCompletion(error => calls.Add($"second {error?.Message ?? "succeeded"}"));
            calls.Add("ran");
        });
        harness.Program("bad", task =>
        {
            task.Context.OnCompletion(error => calls.Add($"told {error!.Message}"));
            throw new InvalidOperationException("no");
        });
        await harness.StartAsync();

        await harness.SendTasksAsync("good", 1);
        Assert.IsType<TaskSucceeded>((await harness.ReportAsync()).End);
        await harness.SendTasksAsync("bad", 2);
        Assert.Equal("no", MessageOf(await harness.ReportAsync()));

        Assert.Equal(["ran", "second succeeded", "first succeeded", "told no"], calls);
    }

    [Fact]
    public async Task A_listener_that_throws_fails_a_task_that_succeeded_and_keeps_no_other_from_its_call()
    {
        await using var harness = new ExecutorHarness();
        var called = false;
        harness.Program("commit", task =>
        {
            task.Context.OnCompletion(_ => called = true);
            task.Context.OnCompletion(_ => throw new InvalidOperationException("could not commit"));
        });
        harness.Program("both", task =>
        {
            task.Context.OnCompletion(_ => throw new InvalidOperationException("could not roll back"));
            throw new InvalidOperationException("the reason");
        });
        await harness.StartAsync();

        await harness.SendTasksAsync("commit", 1);
        Assert.Equal("could not commit", MessageOf(await harness.ReportAsync()));
        Assert.True(called);
        await harness.SendTasksAsync("both", 2);
        Assert.Equal("the reason", MessageOf(await harness.ReportAsync()));
    }

    [Fact]
    public async Task A_listener_hears_of_a_task_that_is_stopped()
    {
        await using var harness = new ExecutorHarness();
        Exception? heard = null;
        var started = new TaskCompletionSource();
        harness.Program("long", task =>
        {
            task.Context.OnCompletion(error => heard = error);
            started.SetResult();
            task.Context.Cancellation.WaitHandle.WaitOne();
            task.Context.Cancellation.ThrowIfCancellationRequested();
        });
        await harness.StartAsync();
        await harness.SendTasksAsync("long", 1);
        await started.Task;

        await harness.SendAsync(new CancelTasks([new TaskAttemptId(1)], "not needed"));

        Assert.IsType<TaskKilled>((await harness.ReportAsync()).End);
        Assert.IsType<OperationCanceledException>(heard);
    }

    [Fact]
    public async Task The_temporary_directory_goes_with_the_task_however_it_ends()
    {
        await using var harness = new ExecutorHarness();
        var paths = new List<string>();
        harness.Program("writes", task =>
        {
            Assert.Same(task.Context.TemporaryDirectory, task.Context.TemporaryDirectory);
            paths.Add(task.Context.TemporaryDirectory);
            File.WriteAllText(Path.Combine(task.Context.TemporaryDirectory, "part"), "half");
            task.Context.OnCompletion(_ => File.WriteAllText(Path.Combine(task.Context.TemporaryDirectory, "late"), ""));
            if (task.Context.Partition == 2)
            {
                throw new InvalidOperationException();
            }
        });
        harness.Program("plain", static _ => { });
        await harness.StartAsync();

        await harness.SendTasksAsync("writes", 1, 2);
        await harness.SendTasksAsync("plain", 3);
        await harness.ReportsAsync(3);

        Assert.Equal(2, paths.Distinct().Count());
        Assert.All(paths, static path => Assert.False(Directory.Exists(path)));
        Assert.Single(Directory.GetDirectories(Path.Combine(harness.Blocks.Root, "tmp")));
        await harness.Executor.DisposeAsync();
        Assert.Empty(Directory.GetDirectories(Path.Combine(harness.Blocks.Root, "tmp")));
    }

    [Fact]
    public async Task What_a_task_leaves_running_gets_nothing_of_it_any_more()
    {
        await using var harness = new ExecutorHarness();
        TaskContext? context = null;
        harness.Program("forgets", task => context = task.Context);
        await harness.StartAsync();
        await harness.SendTasksAsync("forgets", 1);
        await harness.ReportAsync();

        Assert.Throws<InvalidOperationException>(() => context!.TemporaryDirectory);
        Assert.Throws<InvalidOperationException>(() => context!.OnCompletion(static _ => { }));
    }

    [Fact]
    public async Task Rows_that_its_own_code_counts_are_in_its_metrics_and_its_share_of_the_executor_is_told()
    {
        await using var harness = new ExecutorHarness(static options => options with { Slots = 4, MemoryBytes = 1L << 30 });
        var resources = default(TaskResources);
        harness.Program("counts", task =>
        {
            resources = TaskContext.Current!.Resources;
            task.Counters.InputRows = 5;
            Parallel.For(0, 1000, _ => TaskContext.Current!.AddInput(1, 10));
            TaskContext.Current!.AddOutput(7, 70);
            Assert.Equal((1000, 10_000, 7, 70), (task.Context.InputRows, task.Context.InputBytes, task.Context.OutputRows, task.Context.OutputBytes));
        });
        await harness.StartAsync();

        await harness.SendTasksAsync("counts", 1);
        var metrics = (await harness.ReportAsync()).Metrics;

        Assert.Equal((1005, 10_000, 7, 70), (metrics.InputRows, metrics.InputBytes, metrics.OutputRows, metrics.OutputBytes));
        Assert.Equal(new TaskResources(4, 1L << 30, 1L << 28), resources);
    }
}
