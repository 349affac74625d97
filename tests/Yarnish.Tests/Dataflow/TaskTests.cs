using Xunit;
using Yarnish.Dataflow;
using Yarnish.Protocol;

namespace Yarnish.Tests.Dataflow;

/// <summary>Single tasks: how they fail, are lost, and are tried again, after Spark's TaskSetManagerSuite.</summary>
public sealed class TaskTests
{
    private const string TaskSet = "TaskSetManagerSuite";

    [Fact, SparkCase(TaskSet, "TaskSet with no preferences")]
    public void Tasks_without_preferences_go_where_slots_are_free()
    {
        var world = new World(null, "a", "b");

        world.Submit(Given.Count(4));

        Assert.Equal((2, 2), (world.On("a").Count, world.On("b").Count));
    }

    [Fact, SparkCase(TaskSet, "multiple offers with no preferences")]
    public void Few_tasks_are_spread_over_executors_before_they_share_one()
    {
        var world = new World(null, "a", "b", "c");

        world.Submit(Given.Count(3));

        Assert.All(["a", "b", "c"], executor => Assert.Single(world.On(executor)));
    }

    [Fact, SparkCase(TaskSet, "task result lost")]
    public void A_result_block_that_is_lost_makes_the_task_run_again()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Count(1));
        var task = world.Find(0, 0);

        world.Report(task, TaskSucceeded.Instance, block: true);
        Assert.Equal(new TaskAttemptId(task.Attempt), Assert.Single(world.Last.OfType<FetchResult>()).Report.AttemptId);
        world.AssertRuns(job);
        world.Apply(new ResultLost(new TaskAttemptId(task.Attempt), "its node is gone"));

        Assert.Equal([0], world.Running(0));
        world.FinishAll();
        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact, SparkCase("TaskResultGetterSuite", "task retried if result missing from block manager")]
    public void A_result_that_is_always_lost_fails_the_job()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Count(1));

        for (var i = 0; i < 4; i++)
        {
            var task = world.Find(0, 0);
            world.Report(task, TaskSucceeded.Instance, block: true).Apply(new ResultLost(new TaskAttemptId(task.Attempt), "gone"));
        }

        Assert.IsType<TaskResultLost>(world.FailureOf(job).LastEnd);
        world.AssertEmpty();
    }

    [Fact, SparkCase("TaskResultGetterSuite", "handling results larger than max RPC message size")]
    public void A_large_result_is_fetched_before_it_counts()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Count(1));
        var task = world.Find(0, 0);
        world.Report(task, TaskSucceeded.Instance, block: true);

        world.Apply(new ResultFetched(new TaskAttemptId(task.Attempt), world.ReportOf(task, TaskSucceeded.Instance) with { Result = new byte[] { 7 } }));

        world.AssertSucceeded(job);
        Assert.Equal(7, world.Results[job][0].Result.Span[0]);
        world.AssertEmpty();
    }

    [Fact]
    public void A_result_fetched_after_the_job_was_cancelled_is_forgotten()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Count(1));
        var task = world.Find(0, 0);
        world.Report(task, TaskSucceeded.Instance, block: true);

        world.Cancel(job).Apply(new ResultFetched(new TaskAttemptId(task.Attempt), world.ReportOf(task, TaskSucceeded.Instance)));

        Assert.Empty(world.Results[job]);
        world.AssertEmpty();
    }

    [Fact, SparkCase(TaskSet, "repeated failures lead to task set abortion")]
    public void Four_failures_of_one_task_fail_the_job()
    {
        var world = new World(null, "a", "b");
        var job = world.Submit(Given.Count(2));

        for (var i = 0; i < 3; i++)
        {
            world.Fail(0, 1);
            world.AssertRuns(job);
        }
        world.Fail(0, 1);

        Assert.Equal(4, world.FailureOf(job).Attempts);
        world.AssertEmpty();
    }

    [Fact, SparkCase("FailureSuite", "failure in a single-stage job")]
    public void Failures_of_different_tasks_are_counted_apart()
    {
        var world = new World(null, "a", "b");
        var job = world.Submit(Given.Count(3));

        for (var i = 0; i < 3; i++)
        {
            world.Fail(0, 0).Fail(0, 1).Fail(0, 2);
        }
        world.FinishAll();

        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact]
    public void A_task_is_tried_again_before_others_start()
    {
        var world = new World(null);
        world.Join("a", slots: 1);
        world.Submit(Given.Count(8));

        world.Fail(0, 0);

        Assert.Equal([0, 1], world.Running(0));
        Assert.Equal(1, world.Find(0, 0).Number);
    }

    [Fact, SparkCase(TaskSet, "[SPARK-13931] taskSetManager should not send Resubmitted tasks after being a zombie")]
    public void Nothing_more_is_sent_of_an_attempt_that_lost_its_input()
    {
        var world = new World();
        world.Join("a", slots: 1);
        world.Submit(Given.Job().Map(0, 1).Result(8, reads: 0));
        world.SucceedAll(0);
        var (first, second) = (world.Find(1, 0), world.Find(1, 1));

        world.Report(first, world.Missing(0, 0));
        world.Report(second, World.Boom());

        Assert.Empty(world.Running(1));
    }

    [Fact, SparkCase(TaskSet, "Kill other task attempts when one attempt belonging to the same task succeeds")]
    public void When_one_attempt_succeeds_the_others_of_the_task_are_stopped()
    {
        var world = new World(new JobMachineOptions { Speculation = true, SpeculationQuantilePercent = 50 }, "a", "b");
        var job = world.Submit(Given.Count(3));
        world.Succeed(0, 0, 1).Advance(1);
        var attempts = world.InFlight.Where(task => task.Partition == 2).ToArray();
        Assert.Equal(2, attempts.Length);

        world.Report(attempts[1], TaskSucceeded.Instance);

        Assert.Contains(attempts[0].Attempt, world.Stopped);
        world.AssertSucceeded(job);
        Assert.Equal(0, world.Snapshot.Totals.TasksFailed);
        world.AssertEmpty();
    }

    [Fact, SparkCase(TaskSet, "Killing speculative tasks does not count towards aborting the taskset")]
    public void Killed_tasks_run_again_and_do_not_count()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Count(1));

        for (var i = 0; i < 10; i++)
        {
            world.Report(world.Find(0, 0), new TaskKilled("by an operator"));
        }
        world.FinishAll();

        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact]
    public void Ends_that_do_not_count_do_not_go_on_for_ever()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Count(1));

        for (var i = 0; i < 1000 && !world.Ended.ContainsKey(job); i++)
        {
            world.Report(world.Find(0, 0), new TaskCodeMissing("abc"));
        }

        Assert.IsType<TaskCodeMissing>(world.FailureOf(job).LastEnd);
        world.AssertEmpty();
    }

    [Fact]
    public void A_denied_commit_does_not_count()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Count(1));

        for (var i = 0; i < 5; i++)
        {
            world.Report(world.Find(0, 0), TaskCommitDenied.Instance);
        }
        world.FinishAll();

        world.AssertSucceeded(job);
    }

    [Fact, SparkCase("TaskResultGetterSuite", "total size of results exceeds max result size"), SparkCase(TaskSet, "abort the job if total size of results is too large")]
    public void Results_beyond_the_limit_fail_the_job()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Job().LimitedTo(1000).Result(3));

        world.Report(world.Find(0, 0), TaskSucceeded.Instance, resultBytes: 600);
        world.AssertRuns(job);
        world.Report(world.Find(0, 1), TaskSucceeded.Instance, resultBytes: 600);

        Assert.Equal(JobFailureReason.ResultsTooLarge, world.FailureOf(job).Reason);
        Assert.Contains("1,200 bytes", world.FailureOf(job).Message, StringComparison.Ordinal);
        world.AssertEmpty();
    }

    [Fact, SparkCase(TaskSet, "[SPARK-22074] Task killed by other attempt task should not be resubmitted")]
    public void A_stopped_attempt_is_not_tried_again()
    {
        var world = new World(new JobMachineOptions { Speculation = true, SpeculationQuantilePercent = 50 }, "a", "b");
        world.Submit(Given.Job().Map(0, 4).Result(1, reads: 0));
        world.Succeed(0, 0, 1, 2).Advance(1);
        var attempts = world.InFlight.Where(task => task.Partition == 3).ToArray();
        world.Report(attempts[1], TaskSucceeded.Instance);

        world.Report(attempts[0], new TaskKilled("another attempt was faster"));

        Assert.DoesNotContain(world.InFlight, task => task.Stage == 0);
    }

    // ── Executors that go away.

    [Fact, SparkCase(TaskSet, "executors get lost"), SparkCase(TaskSet, "Executor Exit for reason unrelated to running tasks")]
    public void Losing_an_executor_for_no_fault_of_its_tasks_does_not_count()
    {
        var world = new World();
        world.Join("e0", slots: 1);
        var job = world.Submit(Given.Count(1));

        for (var i = 1; i <= 10; i++)
        {
            world.Lose($"e{i - 1}", ContainerExitCause.Preempted).Join($"e{i}", slots: 1);
            world.AssertRuns(job);
        }
        world.FinishAll();

        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact, SparkCase("DistributedSuite", "repeatedly failing task that crashes JVM")]
    public void A_task_that_keeps_killing_its_executor_fails_the_job()
    {
        var world = new World();
        world.Join("e0", slots: 1);
        var job = world.Submit(Given.Count(1));

        for (var i = 1; i <= 4; i++)
        {
            world.AssertRuns(job);
            world.Lose($"e{i - 1}", ContainerExitCause.Failed).Join($"e{i}", slots: 1);
        }

        var failure = world.FailureOf(job);
        Assert.Equal((JobFailureReason.TaskFailed, 4), (failure.Reason, failure.Attempts));
        Assert.True(Assert.IsType<TaskExecutorLost>(failure.LastEnd).CausedByTask);
        world.AssertEmpty();
    }

    [Fact]
    public void A_poison_task_is_told_from_those_that_queued_behind_it()
    {
        var world = new World();
        world.Join("e0", slots: 1);
        var job = world.Submit(Given.Count(2));

        for (var i = 1; i <= 4; i++)
        {
            var poison = world.On($"e{i - 1}").Single(task => task.Partition == 0);
            Assert.Equal(2, world.On($"e{i - 1}").Count);
            world.Lose($"e{i - 1}", ContainerExitCause.KilledBySignal, running: [poison.Attempt]).Join($"e{i}", slots: 1);
        }

        Assert.Equal((0, 4), (world.FailureOf(job).Partition, world.FailureOf(job).Attempts));
    }

    [Fact]
    public void When_nobody_knows_what_ran_the_longest_sent_are_suspected()
    {
        var world = new World();
        world.Join("e0", slots: 1);
        world.Submit(Given.Count(2));

        world.Lose("e0", ContainerExitCause.Failed);

        var ends = world.All.OfType<TasksSettled>().SelectMany(settled => settled.Tasks).ToDictionary(task => task.Partition, task => (TaskExecutorLost)task.End);
        Assert.True(ends[0].CausedByTask);
        Assert.False(ends[1].CausedByTask);
    }

    [Fact]
    public void What_a_lost_executor_ran_goes_to_the_others_first()
    {
        var world = new World();
        world.Join("a", slots: 2).Join("b", slots: 2);
        world.Submit(Given.Count(20));
        var lost = world.On("a").Select(task => task.Partition).ToArray();

        world.Lose("a", ContainerExitCause.Preempted).SucceedAll(0);

        var resent = world.All.OfType<SendTasks>().SelectMany(send => send.Tasks).Where(task => task.AttemptNumber == 1).Select(task => task.Partition);
        Assert.Equal(lost, resent);
    }

    [Fact]
    public void A_success_of_a_lost_executor_that_comes_late_still_counts()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Job().Map(0, 1).Result(1, reads: 0));
        var task = world.Find(0, 0);

        world.Lose("a", ContainerExitCause.Unknown).Join("b");
        Assert.Equal([0], world.Running(0));
        world.Apply(new TasksEnded(task.To, [world.ReportOf(task, TaskSucceeded.Instance)]));

        Assert.Equal([0], world.Running(1));
        world.FinishAll();
        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact]
    public void A_failure_of_a_lost_executor_that_comes_late_is_dropped()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Count(1));
        var task = world.Find(0, 0);
        world.Lose("a", ContainerExitCause.Unknown).Join("b");

        for (var i = 0; i < 5; i++)
        {
            world.Apply(new TasksEnded(task.To, [world.ReportOf(task, World.Boom())]));
        }
        world.FinishAll();

        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact]
    public void A_report_said_twice_counts_once()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Count(2));
        var task = world.Find(0, 0);

        world.Report(task, TaskSucceeded.Instance);
        world.Apply(new TasksEnded(task.To, [world.ReportOf(task, TaskSucceeded.Instance), world.ReportOf(task, World.Boom())]));

        Assert.Single(world.Results[job]);
        Assert.Equal(2, world.Snapshot.Totals.ReportsDropped);
        world.FinishAll();
        world.AssertSucceeded(job);
    }

    [Fact]
    public void A_report_from_an_executor_the_attempt_was_not_sent_to_is_dropped()
    {
        var world = new World(null, "a", "b");
        var job = world.Submit(Given.Count(1));
        var task = world.Find(0, 0);

        world.Apply(new TasksEnded(world.Address("b"), [world.ReportOf(task, TaskSucceeded.Instance)]));

        Assert.Empty(world.Results[job]);
        world.FinishAll();
        world.AssertSucceeded(job);
    }

    [Fact]
    public void A_map_task_that_does_not_say_where_its_output_is_failed()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Job().Map(0, 1).Result(1, reads: 0));

        for (var i = 0; i < 4; i++)
        {
            var task = world.Find(0, 0);
            world.Apply(new TasksEnded(task.To, [new TaskReport(new TaskAttemptId(task.Attempt), TaskSucceeded.Instance, TaskMetrics.Empty, default)]));
            ((List<SentTask>)world.InFlight).Remove(task);
        }

        Assert.Equal(JobFailureReason.TaskFailed, world.FailureOf(job).Reason);
        world.AssertEmpty();
    }

    [Fact]
    public void Attempt_numbers_are_never_used_twice_and_settle_in_order()
    {
        var world = new World();
        world.Join("a", slots: 4);
        world.Submit(Given.Count(3));
        var (first, second) = (world.Find(0, 0), world.Find(0, 1));
        world.Report(second, TaskSucceeded.Instance);

        world.Submit(Given.Count(1));
        Assert.Equal(0, Assert.Single(world.Last.OfType<SendTasks>()).SettledUpTo);
        world.Report(first, TaskSucceeded.Instance);
        world.Submit(Given.Count(1));

        Assert.Equal(2, Assert.Single(world.Last.OfType<SendTasks>()).SettledUpTo);
        var ids = world.All.OfType<SendTasks>().SelectMany(send => send.Tasks).Select(task => task.AttemptId.Value).ToArray();
        Assert.Equal(ids.Length, ids.Distinct().Count());
    }

    // ── Slow tasks.

    [Fact]
    public void A_slow_task_gets_a_second_copy_on_another_executor()
    {
        var world = new World(new JobMachineOptions { Speculation = true }, "a", "b");
        world.Submit(Given.Count(20));
        while (world.Running(0).Length > 1)
        {
            world.Advance(0.01).Succeed(0, world.Running(0)[^1]);
        }
        var original = Assert.Single(world.InFlight);

        world.Advance(2);

        var copy = Assert.Single(world.InFlight, task => task != original);
        Assert.Equal((original.Partition, 1), (copy.Partition, copy.Number));
        Assert.NotEqual(original.Executor, copy.Executor);
    }

    [Fact, SparkCase(TaskSet, "SPARK-24677: MedianHeap should not be empty when speculation is enabled")]
    public void Nothing_is_slow_before_most_of_the_stage_is_done()
    {
        var world = new World(new JobMachineOptions { Speculation = true }, "a", "b");
        world.Submit(Given.Count(4));
        world.Succeed(0, 0, 1);

        world.Advance(10);

        Assert.Equal(2, world.InFlight.Count);
    }

    [Fact]
    public void Without_speculation_slow_tasks_are_left_alone()
    {
        var world = new World(null, "a", "b");
        world.Submit(Given.Count(4));
        world.Succeed(0, 0, 1, 2);

        world.Advance(10);

        Assert.Single(world.InFlight);
    }

    [Fact, SparkCase(TaskSet, "SPARK-33741 Test minimum amount of time a task runs before being considered for speculation")]
    public void A_task_shorter_than_the_minimum_is_not_slow()
    {
        var world = new World(new JobMachineOptions { Speculation = true, SpeculationMinimum = TimeSpan.FromSeconds(5), SpeculationQuantilePercent = 50 }, "a", "b");
        world.Submit(Given.Count(2));
        world.Succeed(0, 0);

        world.Advance(4.9);
        Assert.Single(world.InFlight);
        world.AdvanceAlive(10.5);

        Assert.Equal(2, world.InFlight.Count);
    }

    [Fact, SparkCase(TaskSet, "SPARK-26755 Ensure that a speculative task is submitted only once for execution")]
    public void A_slow_task_gets_only_one_copy()
    {
        var world = new World(new JobMachineOptions { Speculation = true, SpeculationQuantilePercent = 50 }, "a", "b", "c");
        world.Submit(Given.Count(2));
        world.Succeed(0, 0);

        world.AdvanceAlive(30);

        Assert.Equal(2, world.InFlight.Count);
    }

    [Fact]
    public void A_copy_never_goes_to_the_executor_of_its_original()
    {
        var world = new World(new JobMachineOptions { Speculation = true, SpeculationQuantilePercent = 50 }, "a");
        world.Submit(Given.Count(2));
        world.Succeed(0, 0);

        world.AdvanceAlive(10);
        Assert.Single(world.InFlight);
        world.Join("b", node: "n2");

        Assert.Equal("b", Assert.Single(world.InFlight, task => task.Number == 1).Executor);
    }

    [Fact]
    public void Large_result_counts_when_it_is_here_not_when_it_is_told_of()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Count(2));
        world.Report(world.Find(0, 0), TaskSucceeded.Instance, block: true);
        var fetch = Assert.Single(world.Last.OfType<FetchResult>());
        Assert.Empty(Settled(world));

        world.Apply(new ResultFetched(fetch.Report.AttemptId, fetch.Report));

        var settled = Assert.Single(Settled(world));
        Assert.Equal((0, true), (settled.Partition, settled.Counts));
        world.FinishAll().AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact]
    public void Large_result_that_is_lost_ends_its_attempt_as_lost()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Count(1));
        world.Report(world.Find(0, 0), TaskSucceeded.Instance, block: true);

        world.Apply(new ResultLost(world.Last.OfType<FetchResult>().Single().Report.AttemptId, "gone"));

        var settled = Assert.Single(Settled(world));
        Assert.Equal((typeof(TaskResultLost), false), (settled.End.GetType(), settled.Counts));
        world.FinishAll().AssertSucceeded(job);
        Assert.Single(world.All.OfType<TasksSettled>().SelectMany(all => all.Tasks), task => task.Counts);
        world.AssertEmpty();
    }

    private static SettledTask[] Settled(World world) => [.. world.Last.OfType<TasksSettled>().SelectMany(settled => settled.Tasks)];
}
