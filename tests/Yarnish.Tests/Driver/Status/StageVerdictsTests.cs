using Xunit;
using Yarnish.Dataflow;
using Yarnish.Protocol;
using Yarnish.Status;

namespace Yarnish.Tests.Driver.Status;

public sealed class StageVerdictsTests
{
    private const int Second = 1_000_000;
    private const int Megabyte = 1 << 20;

    /// <summary>A stage that ran these tasks and lasted so many seconds.</summary>
    private static StageVerdict Of(IEnumerable<TaskMetrics> tasks, int seconds = 10, int failed = 0, int wallOver = 100)
    {
        var ended = tasks.Select((metrics, i) => Given.Task(i, partition: i, metrics: metrics) with { WallMicroseconds = metrics.RunMicroseconds + wallOver }).ToList();
        ended.AddRange(Enumerable.Range(0, failed).Select(i => Given.Task(1_000_000 + i, partition: i, end: TaskEndKind.Failed, error: "System.FormatException: bad\n more")));
        return Given.Status(
            Given.Stage(0, ended.Count),
            new StatusEvent.TasksEnded(Given.Start, [.. ended]),
            new StatusEvent.StageEnded(Given.Start.AddSeconds(seconds), default, 0, StageOutcome.Succeeded, "")).Stages().Single().Verdict;
    }

    private static IEnumerable<TaskMetrics> Even(int count, TaskMetrics metrics) => Enumerable.Repeat(metrics, count);

    [Fact]
    public void Even_tasks_are_healthy() => Assert.Equal(
        (StageVerdictKind.Healthy, "healthy: 50 tasks, median 2 s, slowest 2 s"), Pair(Of(Even(50, new TaskMetrics { RunMicroseconds = 2 * Second }))));

    [Fact]
    public void Nothing_ended_yet_is_too_early() => Assert.Equal(StageVerdictKind.TooEarly, Given.Status(Given.Stage(0, 5)).Stages().Single().Verdict.Kind);

    [Fact]
    public void Task_with_most_of_the_rows_is_skew_by_its_keys()
    {
        var verdict = Of([.. Even(19, new TaskMetrics { RunMicroseconds = Second, ShuffleReadLocalBytes = 10 * Megabyte }), new TaskMetrics { RunMicroseconds = 12 * Second, ShuffleReadLocalBytes = 900 * Megabyte }]);

        Assert.Equal(StageVerdictKind.Skew, verdict.Kind);
        Assert.Contains("partition 19 on x-1 took 12 s, ", verdict.Text, StringComparison.Ordinal);
        Assert.Contains("900 MiB against ", verdict.Text, StringComparison.Ordinal);
        Assert.Contains("ReduceByKey", verdict.Text, StringComparison.Ordinal);
    }

    [Fact]
    public void Slow_task_with_as_much_data_as_the_others_points_at_its_executor()
    {
        var verdict = Of([.. Even(19, new TaskMetrics { RunMicroseconds = Second, InputBytes = 10 * Megabyte }), new TaskMetrics { RunMicroseconds = 12 * Second, InputBytes = 10 * Megabyte }]);

        Assert.Equal(StageVerdictKind.Skew, verdict.Kind);
        Assert.Contains("look at its executor", verdict.Text, StringComparison.Ordinal);
    }

    [Fact]
    public void Slow_task_of_a_second_is_not_worth_a_word() =>
        Assert.Equal(StageVerdictKind.Healthy, Of([.. Even(19, new TaskMetrics { RunMicroseconds = 10_000 }), new TaskMetrics { RunMicroseconds = 900_000 }]).Kind);

    [Fact]
    public void Spilled_bytes_ask_for_memory_or_partitions()
    {
        var verdict = Of(Even(10, new TaskMetrics { RunMicroseconds = Second, SpillBytes = 20 * Megabyte }));

        Assert.Equal(StageVerdictKind.Spill, verdict.Kind);
        Assert.StartsWith("spill: 200 MiB went to disk", verdict.Text, StringComparison.Ordinal);
        Assert.Contains("Yarnish:ExecutorMemory", verdict.Text, StringComparison.Ordinal);
    }

    [Fact]
    public void Collection_of_garbage_is_told_by_its_share()
    {
        var verdict = Of(Even(10, new TaskMetrics { RunMicroseconds = Second, GarbageCollectionMicroseconds = Second / 4 }));

        Assert.Equal(StageVerdictKind.GarbageCollection, verdict.Kind);
        Assert.Contains("25 % of the run time (2.5 s)", verdict.Text, StringComparison.Ordinal);
    }

    [Fact]
    public void Waiting_for_blocks_is_told_by_its_share()
    {
        var verdict = Of(Even(10, new TaskMetrics { RunMicroseconds = Second, ShuffleFetchWaitMicroseconds = Second / 2, ShuffleReadRemoteBytes = 3 * Megabyte }));

        Assert.Equal(StageVerdictKind.FetchWait, verdict.Kind);
        Assert.Contains("50 % of their time for 30 MiB", verdict.Text, StringComparison.Ordinal);
    }

    [Fact]
    public void Failed_attempts_name_the_last_error_in_one_line() => Assert.Equal(
        (StageVerdictKind.Retries, "retries: 2 task attempts failed and ran again: System.FormatException: bad"), Pair(Of(Even(10, new TaskMetrics { RunMicroseconds = Second }), failed: 2)));

    [Fact]
    public void Rows_that_were_left_out_come_before_all_else() => Assert.Equal(
        (StageVerdictKind.MalformedRows, "malformed rows: 30 were left out, 970 were read: the executors' log has the first of each file, and MalformedRows.Fail stops at it (also: retries)"),
        Pair(Of(Even(10, new TaskMetrics { RunMicroseconds = Second, InputRows = 97, SkippedRows = 3 }), failed: 2)));

    [Fact]
    public void Many_tasks_of_nothing_are_tiny_when_they_took_time()
    {
        Assert.Equal(StageVerdictKind.TinyTasks, Of(Even(5000, new TaskMetrics { RunMicroseconds = 800 })).Kind);
        Assert.Contains("5000 tasks of ", Of(Even(5000, new TaskMetrics { RunMicroseconds = 800 })).Text, StringComparison.Ordinal);
        Assert.Equal(StageVerdictKind.Healthy, Of(Even(5000, new TaskMetrics { RunMicroseconds = 800 }), seconds: 0).Kind);
    }

    [Fact]
    public void Time_between_driver_and_executor_is_told()
    {
        var verdict = Of(Even(10, new TaskMetrics { RunMicroseconds = Second }), wallOver: 2 * Second);

        Assert.Equal(StageVerdictKind.SchedulerDelay, verdict.Kind);
        Assert.Contains("67 % of the tasks' time", verdict.Text, StringComparison.Ordinal);
    }

    [Fact]
    public void Uneven_input_that_costs_no_time_yet_is_told_last()
    {
        var verdict = Of([.. Even(19, new TaskMetrics { RunMicroseconds = Second, InputBytes = 2 * Megabyte }), new TaskMetrics { RunMicroseconds = 2 * Second, InputBytes = 200 * Megabyte }]);

        Assert.Equal(StageVerdictKind.InputImbalance, verdict.Kind);
        Assert.Contains("200 MiB", verdict.Text, StringComparison.Ordinal);
    }

    [Fact]
    public void Several_findings_are_one_line_with_the_worst_in_full()
    {
        var verdict = Of(Even(10, new TaskMetrics { RunMicroseconds = Second, SpillBytes = 20 * Megabyte, GarbageCollectionMicroseconds = Second / 4 }), failed: 1);

        Assert.Equal(StageVerdictKind.Spill, verdict.Kind);
        Assert.EndsWith("(also: garbage collection, retries)", verdict.Text, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', verdict.Text);
    }

    [Fact]
    public void Stage_that_was_given_up_says_why() => Assert.Equal(
        (StageVerdictKind.Failed, "failed: partition 3 failed 4 times"),
        Pair(Given.Status(Given.Stage(0, 5), new StatusEvent.StageEnded(Given.Start, default, 0, StageOutcome.Failed, "partition 3 failed 4 times\nmore")).Stages().Single().Verdict));

    private static (StageVerdictKind, string) Pair(StageVerdict verdict) => (verdict.Kind, verdict.Text);
}
