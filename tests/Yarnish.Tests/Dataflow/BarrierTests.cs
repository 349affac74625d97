using Xunit;
using Yarnish.Dataflow;
using Yarnish.Protocol;

namespace Yarnish.Tests.Dataflow;

/// <summary>Barrier stages: all tasks at once, meetings, repeats of the whole stage.</summary>
public sealed class BarrierTests
{
    private static World Running(int tasks, out int job)
    {
        var world = new World();
        world.Join("a", slots: 2).Join("b", slots: 8, node: "n2");
        job = world.Submit(Given.Job().Map(0, tasks, barrier: true).Result(1, reads: 0));
        Assert.Equal(tasks, world.Running(0).Length);
        return world;
    }

    private static ReleaseBarrier[] Releases(World world) => [.. world.Last.OfType<ReleaseBarrier>()];

    // ── Meeting.

    [Fact]
    public void Tasks_go_on_when_all_have_come_and_hear_what_each_said()
    {
        var world = Running(3, out var job);

        world.Meet(0, 2, 0, "two").Meet(0, 0, 0, "zero");
        Assert.Empty(Releases(world));
        world.Meet(0, 1, 0, "one");

        Assert.All(Releases(world), release => Assert.Equal(["zero", "one", "two"], release.Messages));
        Assert.Equal(3, Releases(world).Sum(release => release.Attempts.Count));
        Assert.Equal(["a", "b"], Releases(world).Select(release => release.To.ExecutorId.Value).Order());
        world.FinishAll().AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact]
    public void Saying_it_twice_counts_once()
    {
        var world = Running(2, out _);

        world.Meet(0, 0, 0, "first").Meet(0, 0, 0, "again");
        Assert.Empty(Releases(world));
        world.Meet(0, 1, 0);

        Assert.All(Releases(world), release => Assert.Equal(["first", ""], release.Messages));
    }

    [Fact]
    public void Lost_release_is_told_again_with_what_was_said_then()
    {
        var world = Running(2, out _);
        world.Meet(0, 0, 0, "x").Meet(0, 1, 0, "y").Meet(0, 0, 1, "next");

        world.Meet(0, 1, 0, "y");

        var release = Assert.Single(Releases(world));
        Assert.Equal((0, 1), (release.Round, release.Attempts.Count));
        Assert.Equal(["x", "y"], release.Messages);
        world.Meet(0, 1, 1);
        Assert.All(Releases(world), next => Assert.Equal(1, next.Round));
    }

    [Fact]
    public void Meeting_survives_a_new_connection_of_an_executor()
    {
        var world = Running(3, out _);
        world.Meet(0, 0, 0).Meet(0, 2, 0);
        world.Join("a", slots: 2, running: [.. world.On("a").Select(task => task.Attempt)]);

        world.Meet(0, 1, 0);

        Assert.Contains(Releases(world), release => release.To == new ExecutorAddress(new ExecutorId("a"), 2));
    }

    [Fact]
    public void Task_of_an_older_try_of_the_stage_meets_nobody()
    {
        var world = Running(2, out _);
        var old = world.Find(0, 0);
        world.Fail(0, 1).FinishAll().Advance(0.5);

        world.Meet(old, 0).Meet(0, 1, 0);
        Assert.Empty(Releases(world));
        world.Meet(0, 0, 0);

        Assert.NotEmpty(Releases(world));
    }

    [Fact]
    public void Barrier_that_a_task_has_ended_without_coming_to_fails_the_job_and_names_it()
    {
        var world = Running(3, out var job);
        world.Succeed(0, 1);

        world.Meet(0, 0, 0);

        Assert.Equal((JobFailureReason.TaskFailed, 1), (world.FailureOf(job).Reason, world.FailureOf(job).Partition));
        Assert.Contains("equally often", world.FailureOf(job).Message, StringComparison.Ordinal);
        world.AssertEmpty();
    }

    [Fact]
    public void Task_that_ends_while_others_wait_fails_the_job()
    {
        var world = Running(3, out var job);
        world.Meet(0, 0, 0);

        world.Succeed(0, 2);

        Assert.Equal(2, world.FailureOf(job).Partition);
        world.AssertEmpty();
    }

    [Fact]
    public void Waiting_at_a_barrier_of_an_ordinary_stage_changes_nothing()
    {
        var world = new World(null, "a");
        world.Submit(Given.Count(2));

        world.Meet(0, 0, 0).Meet(0, 1, 0);

        Assert.Empty(Releases(world));
    }

    [Fact]
    public void Task_that_was_thought_never_to_have_run_but_had_met_the_others_starts_all_again()
    {
        var world = Running(2, out var job);
        world.Meet(0, 0, 0).Meet(0, 1, 0);
        var first = world.Find(0, 0);

        // Its hello of a new connection does not name it: jobs of seed 1266.
        world.Join(first.Executor, slots: 8);
        world.FinishAll().Advance(0.5);

        Assert.Equal([0, 1], world.Running(0));
        Assert.Equal(2, world.AttemptsOf(0));
        world.FinishAll().AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact]
    public void Task_that_never_ran_is_sent_again_alone_and_meets_the_others()
    {
        var world = Running(2, out var job);
        world.Meet(0, 1, 0);
        var lost = world.Find(0, 0);

        world.Apply(new BatchReturned(lost.To, [new TaskAttemptId(lost.Attempt)], QueueGone: true));
        world.Join(lost.Executor, slots: 8, running: [.. world.On(lost.Executor).Where(task => task != lost).Select(task => task.Attempt)]);
        world.Meet(world.InFlight.Last(task => task.Partition == 0), 0);

        Assert.NotEmpty(Releases(world));
        Assert.Equal(1, world.AttemptsOf(0));
        world.AssertRuns(job);
    }

    // ── Repeating.

    [Fact]
    public void Lost_executor_repeats_all_tasks_of_the_stage()
    {
        var world = Running(4, out var job);
        world.Meet(0, 0, 0).Meet(0, 3, 0);

        world.Lose("a", ContainerExitCause.Preempted);
        world.FinishAll().Advance(0.5);

        Assert.Equal([0, 1, 2, 3], world.Running(0));
        Assert.Equal(2, world.AttemptsOf(0));
        world.FinishAll().AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact]
    public void Losses_that_are_nobodys_fault_do_not_use_up_the_attempts()
    {
        var world = new World();
        world.Join("a", slots: 4);
        var job = world.Submit(Given.Job().Map(0, 2, barrier: true).Result(1, reads: 0));
        for (var i = 0; i < 10; i++)
        {
            world.Lose(i == 0 ? "a" : $"a{i}", ContainerExitCause.Preempted);
            world.Join($"a{i + 1}", slots: 4).Advance(0.5);
        }

        world.FinishAll().AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact]
    public void Output_lost_with_its_node_is_written_again_by_all_tasks_together()
    {
        var world = Running(3, out var job);
        world.SucceedAll(0);
        Assert.Equal([0], world.Running(1));

        world.LoseNode("n2");
        world.Join("c", slots: 8, node: "n3").Advance(0.5);

        Assert.Equal([0, 1, 2], world.Running(0));
        world.FinishAll().AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact]
    public void Output_lost_while_others_still_run_repeats_them_too()
    {
        var world = new World();
        world.Join("a", slots: 1).Join("b", slots: 1, node: "n2");
        var job = world.Submit(Given.Job().Map(0, 2, barrier: true).Result(1, reads: 0));
        world.Succeed(0, world.On("b")[0].Partition);

        world.LoseNode("n2");
        world.FinishAll().Join("c", slots: 1, node: "n3").Advance(0.5);

        Assert.Equal([0, 1], world.Running(0));
        world.FinishAll().AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact, SparkCase("DAGSchedulerSuite", "Retry all the tasks on a resubmitted attempt of a barrier stage caused by FetchFailure")]
    public void Failed_fetch_of_a_barrier_stage_stops_and_repeats_all_its_tasks()
    {
        var world = new World();
        world.Join("a", slots: 4);
        var job = world.Submit(Given.Job().Map(0, 1, reducers: 2).Map(1, 2, reads: [0], barrier: true).Result(1, reads: 1));
        world.SucceedAll(0);
        world.Meet(1, 1, 0);

        world.FetchFail(1, 0, 0, 0);
        Assert.Single(world.Last.OfType<StopTasks>());
        world.Advance(0.5).FinishAll().Advance(0.5).FinishAll();

        world.AssertSucceeded(job);
        Assert.Equal(2, world.AttemptsOf(1));
        world.AssertEmpty();
    }

    [Fact]
    public void Unrepeatable_barrier_output_is_rolled_back_whole()
    {
        var world = new World();
        world.Join("a", slots: 2).Join("b", slots: 2, node: "n2");
        var job = world.Submit(Given.Job().Map(0, 2, barrier: true, indeterminate: true).Result(2, reads: 0));
        world.SucceedAll(0);

        world.LoseNode("n2");
        world.Join("c", slots: 2, node: "n3").Advance(0.5);
        Assert.Equal([0, 1], world.Running(0));
        world.FinishAll().Advance(0.5).FinishAll();

        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    // ── Slots.

    [Fact]
    public void Stage_that_can_never_have_its_slots_fails_at_once()
    {
        var world = new World(new JobMachineOptions { SlotLimit = 4 });

        var job = world.Submit(Given.Job().Result(5, barrier: true));

        Assert.Equal(JobFailureReason.NowhereToRun, world.FailureOf(job).Reason);
        Assert.Contains("all its 5 tasks at the same time", world.FailureOf(job).Message, StringComparison.Ordinal);
        Assert.Contains("4 slots at most", world.FailureOf(job).Message, StringComparison.Ordinal);
        world.AssertEmpty();
    }

    [Fact]
    public void Later_jobs_leave_their_slots_to_a_barrier_stage_whose_turn_it_is()
    {
        var world = new World();
        world.Join("a", slots: 4);
        var long1 = world.Submit(Given.Count(4));
        var barrier = world.Submit(Given.Job().Result(4, barrier: true));
        world.Submit(Given.Count(1000));

        // As the slots come free, the third job must not take them one by one.
        world.Succeed(0, 0, 1, 2);
        Assert.Empty(world.Running(2));
        world.Succeed(0, 3);

        Assert.Equal([0, 1, 2, 3], world.Running(1));
        world.SucceedAll(1);
        world.AssertSucceeded(long1);
        world.AssertSucceeded(barrier);
        Assert.NotEmpty(world.Running(2));
        world.FinishAll();
        world.AssertEmpty();
    }

    [Fact]
    public void Barrier_stage_of_another_pool_gets_its_turn_though_the_first_pool_never_runs_dry()
    {
        var world = new World();
        world.Join("a", slots: 2);
        world.Submit(Given.Count(500, pool: "busy"));
        var barrier = world.Submit(Given.Job().InPool("together").Result(2, barrier: true));

        for (var i = 0; i < 10 && world.Running(1).Length == 0; i++)
        {
            world.Report(world.InFlight[0], TaskSucceeded.Instance);
        }

        Assert.Equal([0, 1], world.Running(1));
        world.SucceedAll(1);
        world.AssertSucceeded(barrier);
        world.FinishAll();
        world.AssertEmpty();
    }

    [Fact]
    public void Waiting_for_slots_that_others_use_is_no_reason_to_fail()
    {
        var world = new World();
        world.Join("a", slots: 2);
        world.Submit(Given.Count(2));
        var barrier = world.Submit(Given.Job().Result(2, barrier: true));

        world.AdvanceAlive(1000);

        world.AssertRuns(barrier);
        world.FinishAll();
        world.AssertSucceeded(barrier);
        world.AssertEmpty();
    }

    [Fact]
    public void Nobody_is_held_back_while_a_barrier_stage_lacks_executors()
    {
        var world = new World();
        world.Join("a", slots: 2);
        world.Submit(Given.Job().Result(3, barrier: true));

        var other = world.Submit(Given.Count(2));

        world.SucceedAll(1);
        world.AssertSucceeded(other);
    }
}
