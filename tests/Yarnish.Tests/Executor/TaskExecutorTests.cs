using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using Xunit;
using Yarnish.Blocks;
using Yarnish.Executor;
using Yarnish.Protocol;

namespace Yarnish.Tests.Executor;

public sealed class TaskExecutorTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    [Fact]
    public async Task A_task_runs_on_a_slot_thread_with_its_context_and_reports_its_result()
    {
        await using var harness = new ExecutorHarness();
        var onPool = true;
        TaskContext? seen = null;
        harness.Program("sum", task =>
        {
            onPool = Thread.CurrentThread.IsThreadPoolThread;
            seen = TaskContext.Current;
            task.Counters.InputRows = 3;
            task.SetResult(Encoding.ASCII.GetBytes("six"));
        });
        await harness.StartAsync();

        await harness.SendTasksAsync("sum", 7);
        var report = await harness.ReportAsync();

        Assert.Equal(TaskSucceeded.Instance, report.End);
        Assert.Equal("six", Encoding.ASCII.GetString(report.Result.Span));
        Assert.Equal((3, 3), (report.Metrics.InputRows, report.Metrics.ResultBytes));
        Assert.False(onPool);
        Assert.Equal((7, new TaskAttemptId(7), ExecutorHarness.Id), (seen!.Partition, seen.AttemptId, seen.ExecutorId));
        Assert.Null(TaskContext.Current);
    }

    [Fact]
    public async Task An_attempt_delivered_twice_runs_once_and_its_report_is_sent_again()
    {
        await using var harness = new ExecutorHarness();
        var runs = 0;
        harness.Program("once", task => task.SetResult(BitConverter.GetBytes(Interlocked.Increment(ref runs))));
        await harness.StartAsync();

        await harness.SendTasksAsync("once", 1);
        var first = await harness.ReportAsync();
        await harness.SendTasksAsync("once", 1);
        var second = await harness.ReportAsync();

        Assert.Equal(1, runs);
        Assert.Same(first, second);
    }

    [Fact]
    public async Task An_attempt_delivered_again_while_it_runs_or_waits_is_ignored()
    {
        await using var harness = new ExecutorHarness();
        using var go = new ManualResetEventSlim();
        var runs = new ConcurrentBag<int>();
        harness.Program("wait", task =>
        {
            go.Wait(Patience);
            runs.Add(task.Context.Partition);
        });
        await harness.StartAsync();

        await harness.SendTasksAsync("wait", 1, 2);
        await harness.SendTasksAsync("wait", 1, 2);
        go.Set();
        await harness.ReportsAsync(2);

        Assert.True(await harness.IsQuietAsync() || runs.Count == 2);
        Assert.Equal([1, 2], runs.Order());
    }

    [Fact]
    public async Task A_settled_attempt_is_forgotten_and_a_late_copy_of_it_does_not_run()
    {
        await using var harness = new ExecutorHarness();
        var runs = 0;
        harness.Program("count", _ => Interlocked.Increment(ref runs));
        await harness.StartAsync();
        await harness.SendTasksAsync("count", 1);
        await harness.ReportAsync();

        await harness.SendAsync(ExecutorHarness.Batch("count", 2) with { SettledUpTo = 1 });
        await harness.ReportAsync();
        await harness.SendTasksAsync("count", 1);
        await harness.SendAsync(new SayHello(1));
        var hello = await harness.NextAsync<ExecutorHello>();

        Assert.Equal(2, runs);
        Assert.Equal([new TaskAttemptId(2)], hello.Finished);
        Assert.Equal(1, harness.Executor.Dropped);
    }

    [Fact]
    public async Task Reports_are_kept_through_a_lost_connection_and_follow_the_new_hello()
    {
        await using var harness = new ExecutorHarness();
        using var go = new ManualResetEventSlim();
        using var started = new ManualResetEventSlim();
        harness.Program("quick", static _ => { }).Program("slow", _ =>
        {
            started.Set();
            go.Wait(Patience);
        });
        await harness.StartAsync();
        await harness.SendTasksAsync("quick", 1, 2);
        await harness.ReportsAsync(2);
        await harness.SendTasksAsync("slow", 3, 4);
        Assert.True(started.Wait(Patience));

        var hello = await harness.ReconnectAsync();

        Assert.Equal(2, hello.From.Epoch);
        Assert.Equal([new TaskAttemptId(3), new TaskAttemptId(4)], hello.Running);
        Assert.Equal([new TaskAttemptId(1), new TaskAttemptId(2)], hello.Finished);
        Assert.Equal([1L, 2L], (await harness.ReportsAsync(2)).Keys.Order());
        go.Set();
        Assert.Equal([3L, 4L], (await harness.ReportsAsync(2)).Keys.Order());
    }

    [Fact]
    public async Task Asked_for_a_hello_it_says_it_again_on_the_same_epoch()
    {
        await using var harness = await new ExecutorHarness().StartAsync();

        await harness.SendAsync(new SayHello(1));

        Assert.Equal(harness.Address, (await harness.NextAsync<ExecutorHello>()).From);
    }

    [Fact]
    public async Task A_waiting_task_that_is_cancelled_never_runs_and_a_running_one_gets_its_token()
    {
        await using var harness = new ExecutorHarness();
        using var started = new ManualResetEventSlim();
        var ran = new ConcurrentBag<int>();
        harness.Program("wait", task =>
        {
            ran.Add(task.Context.Partition);
            started.Set();
            task.Context.Cancellation.WaitHandle.WaitOne(Patience);
            task.Context.Cancellation.ThrowIfCancellationRequested();
        });
        await harness.StartAsync();
        await harness.SendTasksAsync("wait", 1, 2);
        Assert.True(started.Wait(Patience));

        await harness.SendAsync(new CancelTasks([new TaskAttemptId(1), new TaskAttemptId(2), new TaskAttemptId(99)], "another attempt won"));
        var reports = await harness.ReportsAsync(2);

        Assert.Equal(new TaskKilled("another attempt won"), reports[1].End);
        Assert.Equal(new TaskKilled("another attempt won"), reports[2].End);
        Assert.Equal([1], ran);
    }

    [Fact]
    public async Task What_is_thrown_without_cancellation_is_a_failure_even_when_it_says_cancelled()
    {
        await using var harness = new ExecutorHarness();
        harness.Program("odd", static _ => throw new OperationCanceledException("of my own"));
        await harness.StartAsync();

        await harness.SendTasksAsync("odd", 1);

        var failed = Assert.IsType<TaskFailed>((await harness.ReportAsync()).End);
        Assert.Equal(typeof(OperationCanceledException).FullName, failed.Error.Type);
    }

    [Fact]
    public async Task Code_that_is_not_there_is_reported_and_the_same_attempt_runs_once_it_has_come()
    {
        var content = Encoding.ASCII.GetBytes("program");
        var hash = Convert.ToHexStringLower(SHA256.HashData(content));
        await using var harness = new ExecutorHarness(deserialize: bytes => new FunctionProgram(task => task.SetResult(bytes)));
        await harness.StartAsync();

        await harness.SendTasksAsync(hash, 1);
        Assert.Equal(new TaskCodeMissing(hash), (await harness.ReportAsync()).End);
        await harness.SendAsync(new CodeBlock(ExecutorHarness.Application, hash, content));
        await harness.SendTasksAsync(hash, 1);
        var report = await harness.ReportAsync();

        Assert.Equal(TaskSucceeded.Instance, report.End);
        Assert.Equal(content, report.Result.ToArray());
    }

    [Fact]
    public async Task Code_whose_bytes_are_not_its_hash_is_dropped()
    {
        await using var harness = await new ExecutorHarness().StartAsync();

        await harness.SendAsync(new CodeBlock(ExecutorHarness.Application, new string('a', 64), new byte[] { 1 }));
        await harness.SendTasksAsync(new string('a', 64), 1);

        Assert.IsType<TaskCodeMissing>((await harness.ReportAsync()).End);
        Assert.Equal(1, harness.Executor.Dropped);
    }

    [Fact]
    public async Task A_program_that_does_not_deserialize_fails_its_task_with_the_reason()
    {
        var content = new byte[] { 1 };
        var hash = Convert.ToHexStringLower(SHA256.HashData(content));
        await using var harness = await new ExecutorHarness(deserialize: static _ => throw new FormatException("not mine")).StartAsync();

        await harness.SendAsync(new CodeBlock(ExecutorHarness.Application, hash, content));
        await harness.SendTasksAsync(hash, 1);

        Assert.Equal("not mine", Assert.IsType<TaskFailed>((await harness.ReportAsync()).End).Error.Message);
    }

    [Fact]
    public async Task Tasks_beyond_the_queue_are_refused_as_killed()
    {
        await using var harness = new ExecutorHarness(static options => options with { QueueCapacity = 3 });
        using var started = new ManualResetEventSlim();
        using var go = new ManualResetEventSlim();
        harness.Program("wait", _ =>
        {
            started.Set();
            go.Wait(Patience);
        });
        await harness.StartAsync();
        await harness.SendTasksAsync("wait", 1);
        Assert.True(started.Wait(Patience));

        await harness.SendTasksAsync("wait", 2, 3, 4, 5, 6);
        var refused = await harness.ReportsAsync(2);
        go.Set();
        var ran = await harness.ReportsAsync(4);

        Assert.Equal([5L, 6L], refused.Keys.Order());
        Assert.All(refused.Values, static report => Assert.IsType<TaskKilled>(report.End));
        Assert.Equal([1L, 2L, 3L, 4L], ran.Keys.Order());
        Assert.All(ran.Values, static report => Assert.IsType<TaskSucceeded>(report.End));
    }

    [Fact]
    public async Task Tasks_of_another_application_or_an_older_driver_are_dropped_and_counted()
    {
        await using var harness = new ExecutorHarness();
        harness.Program("any", static _ => { });
        await harness.StartAsync();
        await harness.SendAsync(new DriverAlive(5));

        await harness.SendAsync(ExecutorHarness.Batch("any", 1) with { ApplicationId = new ApplicationId("other"), DriverEpoch = 5 });
        await harness.SendAsync(ExecutorHarness.Batch("any", 2) with { DriverEpoch = 4 });
        await harness.SendAsync(ExecutorHarness.Batch("any", 3) with { DriverEpoch = 5 });

        Assert.Equal(new TaskAttemptId(3), (await harness.ReportAsync()).AttemptId);
        Assert.Equal(2, harness.Executor.Dropped);
    }

    [Fact]
    public async Task A_large_result_becomes_a_block_that_goes_when_it_is_settled()
    {
        await using var harness = new ExecutorHarness(static options => options with { InlineResultBytes = 1000 });
        var result = new byte[100_000];
        new Random(5).NextBytes(result);
        harness.Program("large", task => task.SetResult(result));
        await harness.StartAsync();

        await harness.SendTasksAsync("large", 1);
        var report = await harness.ReportAsync();

        Assert.True(report.Result.IsEmpty);
        Assert.Equal(100_000, report.Metrics.ResultBytes);
        var block = BlockId.Create(report.ResultBlock!);
        Assert.Equal(result, harness.Blocks.ReadNamed(block));

        await harness.SendAsync(ExecutorHarness.Batch("large", 2) with { SettledUpTo = 1 });
        await harness.ReportAsync();
        Assert.True(SpinWait.SpinUntil(() => !File.Exists(Path.Combine(harness.Blocks.Root, "named", block.Value)), Patience));
    }

    [Fact]
    public async Task Results_become_blocks_when_too_many_bytes_wait_for_the_driver()
    {
        await using var harness = new ExecutorHarness(static options => options with { KeptResultBytes = 2500 });
        harness.Program("kilobyte", static task => task.SetResult(new byte[1000]));
        await harness.StartAsync();

        await harness.SendTasksAsync("kilobyte", 1, 2, 3, 4);
        var reports = await harness.ReportsAsync(4);

        Assert.Equal(2, reports.Values.Count(static report => report.ResultBlock is null));
        Assert.Equal(2, reports.Values.Count(static report => report.ResultBlock is not null && report.Result.IsEmpty));
    }

    [Fact]
    public async Task What_user_code_throws_is_described_with_its_own_frames_first_and_the_executor_lives_on()
    {
        await using var harness = new ExecutorHarness();
        harness
            .Program("plain", static _ => throw new InvalidDataException("line 7 is broken", new FormatException("no digit")))
            .Program("wrapped", static _ => Task.Run(static () => throw new InvalidDataException("inside")).Wait())
            .Program("memory", static task => task.SetResult(new byte[int.MaxValue]))
            .Program("hostile", static _ => throw new HostileException())
            .Program("long", static _ => throw new InvalidDataException(new string('x', 10_000_000)))
            .Program("fine", static _ => { });
        await harness.StartAsync();

        async Task<RemoteError> ThrownBy(string program, long attempt)
        {
            await harness.SendTasksAsync(program, attempt);
            return Assert.IsType<TaskFailed>((await harness.ReportAsync()).End).Error;
        }

        var plain = await ThrownBy("plain", 1);
        Assert.Equal((typeof(InvalidDataException).FullName, "line 7 is broken"), (plain.Type, plain.Message));
        Assert.Equal("no digit", plain.Inner!.Message);
        Assert.Contains(nameof(TaskExecutorTests), plain.StackTrace.Split('\n')[0], StringComparison.Ordinal);
        Assert.Contains("--- inside Yarnish ---", plain.StackTrace, StringComparison.Ordinal);
        Assert.Equal("inside", (await ThrownBy("wrapped", 2)).Message);
        Assert.Equal(typeof(OutOfMemoryException).FullName, (await ThrownBy("memory", 3)).Type);
        Assert.Contains(nameof(HostileException), (await ThrownBy("hostile", 4)).Type, StringComparison.Ordinal);
        Assert.InRange((await ThrownBy("long", 5)).Message.Length, 1000, 20_000);
        await harness.SendTasksAsync("fine", 6);
        Assert.Equal(TaskSucceeded.Instance, (await harness.ReportAsync()).End);
    }

    [Fact]
    public async Task A_thousand_quick_tasks_are_reported_in_few_messages_and_each_once()
    {
        await using var harness = new ExecutorHarness(static options => options with { Slots = 2 });
        harness.Program("nothing", static _ => { });
        await harness.StartAsync();
        for (var first = 1L; first <= 1000; first += 50)
        {
            await harness.SendTasksAsync("nothing", [.. Enumerable.Range(0, 50).Select(i => first + i)]);
        }

        var seen = new List<long>();
        while (seen.Count < 1000)
        {
            var message = await harness.NextAsync<TaskReports>();
            Assert.InRange(message.Reports.Count, 1, 64);
            seen.AddRange(message.Reports.Select(static report => report.AttemptId.Value));
        }

        Assert.Equal(Enumerable.Range(1, 1000).Select(static i => (long)i), seen.Order());
    }

    [Fact]
    public async Task It_beats_every_two_seconds_with_what_it_runs()
    {
        await using var harness = new ExecutorHarness();
        using var started = new ManualResetEventSlim();
        using var go = new ManualResetEventSlim();
        harness.Program("wait", _ =>
        {
            started.Set();
            go.Wait(Patience);
        });
        await harness.StartAsync();
        await harness.SendTasksAsync("wait", 1, 2);
        Assert.True(started.Wait(Patience));

        harness.Clock.Advance(TimeSpan.FromSeconds(2));
        var beat = await harness.NextAsync<ExecutorBeat>();
        harness.Clock.Advance(TimeSpan.FromSeconds(2));
        var next = await harness.NextAsync<ExecutorBeat>();

        Assert.Equal([new TaskAttemptId(1)], beat.Running);
        Assert.Equal(1, beat.Queued);
        Assert.True(beat.MemoryBytes > 0);
        Assert.Equal(beat.Sequence + 1, next.Sequence);
        go.Set();
    }

    [Fact]
    public async Task A_silent_driver_is_taken_for_dead_after_thirty_seconds()
    {
        await using var harness = await new ExecutorHarness().StartAsync();

        for (var seconds = 0; seconds < 26; seconds += 2)
        {
            harness.Clock.Advance(TimeSpan.FromSeconds(2));
            await harness.NextAsync<ExecutorBeat>();
        }
        // Any message will do; this one has an answer, which proves that it was heard.
        await harness.SendAsync(new SayHello(1));
        await harness.NextAsync<ExecutorHello>();
        for (var seconds = 0; seconds < 26; seconds += 2)
        {
            harness.Clock.Advance(TimeSpan.FromSeconds(2));
            await harness.NextAsync<ExecutorBeat>();
        }
        Assert.False(harness.Ended.IsCompleted);
        // The loop may need a moment of its own for each tick.
        while (!harness.Ended.IsCompleted)
        {
            harness.Clock.Advance(TimeSpan.FromSeconds(2));
            await Task.WhenAny(harness.Ended, Task.Delay(20, TestContext.Current.CancellationToken));
        }

        var end = await harness.Ended;
        Assert.Equal(10, end.ExitCode);
        Assert.Contains("silent", end.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Told_to_end_it_stops_its_tasks_and_says_goodbye()
    {
        await using var harness = new ExecutorHarness();
        using var started = new ManualResetEventSlim();
        using var cancelled = new ManualResetEventSlim();
        harness.Program("wait", task =>
        {
            started.Set();
            task.Context.Cancellation.WaitHandle.WaitOne(Patience);
            cancelled.Set();
        });
        await harness.StartAsync();
        await harness.SendTasksAsync("wait", 1);
        Assert.True(started.Wait(Patience));

        await harness.SendAsync(new ShutdownExecutor("the application is over"));
        var goodbye = await harness.NextAsync<ExecutorGoodbye>();
        var end = await harness.Ended.WaitAsync(Patience, TestContext.Current.CancellationToken);

        Assert.Equal("the application is over", goodbye.Reason);
        Assert.Equal(new ExecutorEnd(0, "the application is over"), end);
        Assert.True(cancelled.Wait(Patience));
    }

    private sealed class HostileException : Exception
    {
        public override string Message => throw new InvalidOperationException("no message for you");
    }
}
