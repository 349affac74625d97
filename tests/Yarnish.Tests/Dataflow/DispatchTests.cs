using Xunit;
using Yarnish.Dataflow;
using Yarnish.Protocol;

namespace Yarnish.Tests.Dataflow;

/// <summary>Who gets which task next: slots, windows, locality, pools, barriers. After Spark's TaskSchedulerImplSuite, TaskSetManagerSuite and PoolSuite.</summary>
public sealed class DispatchTests
{
    private const string TaskScheduler = "TaskSchedulerImplSuite";
    private const string TaskSet = "TaskSetManagerSuite";
    private const string Pools = "PoolSuite";

    // ── Windows and batches.

    [Fact]
    public void Tasks_for_one_executor_leave_in_one_message()
    {
        var world = new World();
        world.Join("a", slots: 4);

        world.Submit(Given.Count(8));

        Assert.Equal(8, Assert.Single(world.Last.OfType<SendTasks>()).Tasks.Count);
    }

    [Fact]
    public void A_message_has_at_most_64_tasks()
    {
        var world = new World();
        world.Join("a", slots: 50);

        world.Submit(Given.Count(500));

        Assert.Equal([64, 36], world.Last.OfType<SendTasks>().Select(send => send.Tasks.Count));
    }

    [Fact, SparkCase(TaskScheduler, "Scheduler does not always schedule tasks on the same workers")]
    public void A_few_tasks_do_not_all_queue_at_the_first_executor()
    {
        var world = new World(null, "a", "b");

        world.Submit(Given.Count(4));

        Assert.Equal((2, 2), (world.On("a").Count, world.On("b").Count));
    }

    [Fact]
    public void Nobody_gets_more_than_twice_its_slots_while_the_length_of_tasks_is_unknown()
    {
        var world = new World();
        world.Join("a", slots: 2);

        world.Submit(Given.Count(100));

        Assert.Equal(4, world.InFlight.Count);
    }

    [Fact]
    public void The_window_grows_while_short_tasks_drain_it_and_never_beyond_512()
    {
        var world = new World();
        world.Join("a", slots: 2);
        world.Submit(Given.Count(10_000));
        var most = 0;

        for (var i = 0; i < 20; i++)
        {
            var all = world.On("a").ToArray();
            most = Math.Max(most, all.Length);
            ((List<SentTask>)world.InFlight).Clear();
            world.Apply(new TasksEnded(world.Address("a"), [.. all.Select(task => world.ReportOf(task, TaskSucceeded.Instance, runMicroseconds: 5))]));
        }

        Assert.InRange(most, 400, 512);
    }

    [Fact]
    public void Long_tasks_are_only_sent_to_free_slots()
    {
        var world = new World();
        world.Join("a", slots: 2);
        world.Submit(Given.Count(100));

        for (var i = 0; i < 20; i++)
        {
            world.Report(world.InFlight[0], TaskSucceeded.Instance, runMicroseconds: 1_000_000);
        }

        Assert.Equal(2, world.InFlight.Count);
    }

    [Fact]
    public void Short_tasks_do_not_queue_behind_long_ones_that_hold_all_slots()
    {
        var world = new World();
        world.Join("a", slots: 2);
        world.Submit(Given.Count(100, "long"));
        for (var i = 0; i < 6; i++)
        {
            world.Report(world.InFlight[0], TaskSucceeded.Instance, runMicroseconds: 1_000_000);
        }

        world.Submit(Given.Count(100, "short"));

        Assert.Empty(world.Running(1));
        Assert.Equal(2, world.InFlight.Count);
    }

    [Fact]
    public void The_window_of_tasks_of_some_milliseconds_is_worth_a_round_trip_not_seconds()
    {
        var world = new World();
        world.Join("a", slots: 2);
        world.Submit(Given.Count(10_000));

        for (var i = 0; i < 200; i++)
        {
            world.Report(world.InFlight[0], TaskSucceeded.Instance, runMicroseconds: 10_000);
        }

        Assert.InRange(world.InFlight.Count, 4, 8);
    }

    [Fact]
    public void Nothing_is_sent_while_the_link_is_interrupted()
    {
        var world = new World(null, "a");
        world.Apply(new LinkInterrupted("broker is away"));

        world.Submit(Given.Count(2));
        Assert.Empty(world.InFlight);
        world.Apply(new LinkRestored(MessagesMayBeLost: false));

        Assert.Equal([0, 1], world.Running(0));
    }

    // ── Locality.

    private static World WithCache(int partitions, JobMachineOptions? options = null)
    {
        var world = new World(options);
        world.Join("a", node: "n1").Join("b", node: "n2");
        world.Submit(Given.Job().Result(partitions, persisted: [7]));
        while (world.InFlight.Count > 0)
        {
            // Every second partition on each, whoever ran it.
            var task = world.InFlight[0];
            world.Report(task, TaskSucceeded.Instance, cached: [new CachedPartition(7, task.Partition, 100, 0)]);
        }
        return world;
    }

    [Fact, SparkCase("DAGSchedulerSuite", "cache location preferences w/ dependency")]
    public void Tasks_go_to_the_executor_that_holds_their_persisted_partition()
    {
        var world = WithCache(8);
        var held = world.All.OfType<TasksSettled>().SelectMany(settled => settled.Tasks).ToDictionary(task => task.Partition, task => task.ExecutorId.Value);

        world.Submit(Given.Job().Result(8, persisted: [7]));

        Assert.Equal(8, world.InFlight.Count);
        Assert.All(world.InFlight, task => Assert.Equal(held[task.Partition], task.Executor));
    }

    [Fact, SparkCase("DAGSchedulerSuite", "regression test for getCacheLocs")]
    public void Where_an_unpersisted_collection_was_does_not_matter()
    {
        var world = WithCache(4);
        world.Apply(new CollectionUnpersisted(7));

        world.Submit(Given.Job().Result(4, persisted: [7]));

        Assert.Equal(0, world.Snapshot.Executors.Sum(executor => executor.CachedPartitions));
        Assert.Equal((2, 2), (world.On("a").Count, world.On("b").Count));
    }

    [Fact, SparkCase(TaskSet, "basic delay scheduling")]
    public void A_task_waits_a_little_for_its_executor_and_then_takes_any()
    {
        var world = WithCache(8);
        world.Join("c", node: "n3");
        world.Apply(new CollectionUnpersisted(7));
        world.Submit(Given.Job().Result(1, persisted: [8]));
        world.Report(world.InFlight[0], TaskSucceeded.Instance, cached: [.. Enumerable.Range(0, 8).Select(partition => new CachedPartition(8, partition, 1, 0))]);
        var holder = world.Snapshot.Executors.Single(executor => executor.CachedPartitions == 8).ExecutorId.Value;

        world.Submit(Given.Job().Result(8, persisted: [8]));
        Assert.All(world.InFlight, task => Assert.Equal(holder, task.Executor));
        // As many as it has slots: behind those none waits while others have nothing to do.
        Assert.Equal(2, world.InFlight.Count);
        world.Advance(0.29);
        Assert.Equal(2, world.InFlight.Count);
        world.Advance(0.02);

        Assert.Equal(8, world.InFlight.Count);
    }

    [Fact]
    public void A_task_does_not_wait_for_an_executor_that_is_busy_for_longer_than_the_wait()
    {
        var world = WithCache(8);
        world.Apply(new CollectionUnpersisted(7));
        world.Submit(Given.Job().Result(1, persisted: [8]));
        world.Report(world.InFlight[0], TaskSucceeded.Instance, cached: [.. Enumerable.Range(0, 100).Select(partition => new CachedPartition(8, partition, 1, 0))]);
        var holder = world.Snapshot.Executors.Single(executor => executor.CachedPartitions > 0).ExecutorId.Value;
        world.Submit(Given.Job().Result(100, persisted: [8]));

        world.Report(world.InFlight[0], TaskSucceeded.Instance, runMicroseconds: 40_000);
        world.Join("c", node: "n3");

        Assert.Contains(world.InFlight, task => task.Executor != holder);
    }

    [Fact, SparkCase(TaskSet, "delay scheduling with failed hosts"), SparkCase(TaskSet, "new executors get added and lost")]
    public void A_task_does_not_wait_for_an_executor_that_is_gone()
    {
        var world = WithCache(8);
        world.Lose("a", ContainerExitCause.Preempted);

        world.Submit(Given.Job().Result(8, persisted: [7]));
        world.FinishAll().Advance(0.4).FinishAll();

        Assert.All(world.All.OfType<JobSucceeded>(), succeeded => Assert.InRange(succeeded.JobId.Value, 0, 1));
        world.AssertSucceeded(1);
        world.AssertEmpty();
    }

    [Fact]
    public void A_task_whose_executor_is_lost_while_it_waits_is_not_forgotten()
    {
        var world = WithCache(8);
        var job = world.Submit(Given.Job().Result(8, persisted: [7]));

        world.Lose("a", ContainerExitCause.Preempted);
        while (!world.Ended.ContainsKey(job))
        {
            world.FinishAll().AdvanceAlive(0.4);
        }

        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact]
    public void An_evicted_partition_has_no_place_to_prefer()
    {
        var world = WithCache(2);
        var holder = world.All.OfType<TasksSettled>().SelectMany(settled => settled.Tasks).Single(task => task.Partition == 0).ExecutorId;

        world.Tell(holder.Value, new CachedPartition(7, 0, 0, 0)).Tell(holder.Value, new CachedPartition(7, 0, 0, 0), new CachedPartition(9, 0, 0, 0));

        Assert.Equal(1, world.Snapshot.Executors.Sum(executor => executor.CachedPartitions));
    }

    [Fact]
    public void Tasks_go_to_the_node_that_holds_their_input()
    {
        var world = new World();
        world.Join("a", node: "n1").Join("b", node: "n2");

        world.Submit(Given.Job().Result(4, near: [["n2"], ["n1", "n9"], ["n2"], []]));

        Assert.Equal("b", world.Find(0, 0).Executor);
        Assert.Equal("a", world.Find(0, 1).Executor);
        Assert.Equal("b", world.Find(0, 2).Executor);
    }

    [Fact, SparkCase("DAGSchedulerSuite", "reduce tasks should be placed locally with map output")]
    public void A_reducer_prefers_the_node_that_holds_much_of_its_input()
    {
        var world = new World();
        world.Join("a", node: "n1", slots: 1).Join("b", node: "n2", slots: 1);
        world.Submit(Given.Job().Map(0, 1).Result(1, reads: 0));
        var where = world.Find(0, 0).Node;
        Assert.Equal("n1", where);
        world.Submit(Given.Job().Map(1, 2).Result(1, reads: 1));

        world.Succeed(0, 0);

        Assert.Equal("n1", world.Find(1, 0).Node);
    }

    [Fact, SparkCase("DAGSchedulerSuite", "reduce task locality preferences should only include machines with largest map outputs")]
    public void A_reducer_does_not_care_when_its_input_is_spread_thin()
    {
        var world = new World(new JobMachineOptions { LocalityWait = TimeSpan.FromHours(1) });
        for (var i = 0; i < 10; i++)
        {
            world.Join($"e{i}", node: $"n{i}", slots: 1);
        }
        world.Submit(Given.Job().Map(0, 10).Result(20, reads: 0));

        world.SucceedAll(0);

        Assert.Equal(20, world.Running(1).Length);
    }

    // ── Pools.

    [Fact, SparkCase(Pools, "FIFO Scheduler Test")]
    public void Within_a_pool_the_first_job_goes_first()
    {
        var world = new World();
        world.Submit(Given.Count(3));
        world.Submit(Given.Count(3));

        world.Join("a", slots: 2);

        Assert.Equal([0, 0, 0, 1], world.InFlight.Select(task => task.Stage));
    }

    [Fact, SparkCase(Pools, "Fair Scheduler Test")]
    public void Pools_share_by_weight()
    {
        var world = new World();
        world.Submit(Given.Job().InPool("heavy", weight: 3).Result(100));
        world.Submit(Given.Job().InPool("light", weight: 1).Result(100));

        world.Join("a", slots: 20);

        Assert.Equal((30, 10), (world.Running(0).Length, world.Running(1).Length));
    }

    [Fact, SparkCase(Pools, "Nested Pool Test")]
    public void A_pool_below_its_minimum_share_goes_first()
    {
        var world = new World();
        world.Submit(Given.Job().InPool("a", weight: 100).Result(100));
        world.Submit(Given.Job().InPool("b", minimumShare: 6).Result(100));

        world.Join("x", slots: 4);

        Assert.True(world.Running(1).Length >= 6);
    }

    [Fact]
    public void A_pool_with_nothing_to_do_leaves_its_share_to_others()
    {
        var world = new World();
        world.Submit(Given.Job().InPool("heavy", weight: 100).Result(1));
        world.Submit(Given.Job().InPool("light", weight: 1).Result(100));

        world.Join("a", slots: 4);

        Assert.Equal((1, 7), (world.Running(0).Length, world.Running(1).Length));
    }

    [Fact]
    public void Pools_vanish_with_their_last_job()
    {
        var world = new World(null, "a");
        for (var i = 0; i < 50; i++)
        {
            world.Submit(Given.Count(1, $"pool {i}"));
            world.FinishAll();
        }

        world.AssertEmpty();
    }

    // ── Barriers.

    [Fact, SparkCase(TaskScheduler, "schedule tasks for a barrier taskSet if all tasks can be launched together"), SparkCase(TaskScheduler, "don't schedule for a barrier taskSet if available slots are less than pending tasks")]
    public void A_barrier_stage_starts_when_all_its_tasks_find_slots_together()
    {
        var world = new World();
        world.Join("a", slots: 2);
        var job = world.Submit(Given.Job().Result(3, barrier: true));
        Assert.Empty(world.InFlight);

        world.Join("b", slots: 1);

        Assert.Equal([0, 1, 2], world.Running(0));
        Assert.Equal((2, 1), (world.On("a").Count, world.On("b").Count));
        world.FinishAll();
        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact]
    public void A_barrier_stage_starts_when_tasks_of_others_leave_enough_slots()
    {
        var world = new World();
        world.Join("a", slots: 2);
        world.Submit(Given.Count(2));
        world.Submit(Given.Job().Result(2, barrier: true));

        world.Succeed(0, 0);
        Assert.Empty(world.Running(1));
        world.Succeed(0, 1);

        Assert.Equal([0, 1], world.Running(1));
    }

    [Fact, SparkCase("BarrierStageOnSubmittedSuite", "submit a barrier ShuffleMapStage that requires more slots than current total")]
    public void A_barrier_stage_that_never_gets_its_slots_fails_with_the_number_it_needs()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Job().Result(50, barrier: true));

        world.AdvanceAlive(100);
        world.AssertRuns(job);
        world.AdvanceAlive(30);

        Assert.Equal(JobFailureReason.NowhereToRun, world.FailureOf(job).Reason);
        Assert.Contains("50", world.FailureOf(job).Message, StringComparison.Ordinal);
        world.AssertEmpty();
    }
}
