using Xunit;
using Yarnish.Dataflow;

namespace Yarnish.Tests.Dataflow;

/// <summary>Where tasks fail they are not tried again, after Spark's HealthTrackerSuite, TaskSetExcludelistSuite and the exclusion cases of TaskSchedulerImplSuite.</summary>
public sealed class ExclusionTests
{
    private const string Health = "HealthTrackerSuite";
    private const string TaskScheduler = "TaskSchedulerImplSuite";

    /// <summary>A stage in which two tasks fail on an executor, and which then succeeds.</summary>
    private static void FailTwiceOn(World world, string executor)
    {
        var stage = world.StagesStarted.Length;
        world.Submit(Given.Count(8));
        foreach (var task in world.On(executor).Where(task => task.Stage == stage).Take(2).ToArray())
        {
            world.Report(task, World.Boom());
        }
        world.FinishAll();
    }

    [Fact, SparkCase("TaskSetManagerSuite", "executors should be excluded after task failure, in spite of locality preferences")]
    public void A_task_is_not_tried_again_where_it_failed_while_there_is_another_place()
    {
        var world = new World(null, "a", "b");
        world.Submit(Given.Count(1));
        var first = world.Find(0, 0).Executor;

        world.Fail(0, 0);

        Assert.NotEqual(first, world.Find(0, 0).Executor);
    }

    [Fact, SparkCase(TaskScheduler, "abort stage when all executors are excluded and we cannot acquire new executor")]
    public void With_one_executor_a_task_is_tried_again_where_it_failed()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Count(1));

        world.Fail(0, 0);

        Assert.Equal("a", world.Find(0, 0).Executor);
        world.FinishAll();
        world.AssertSucceeded(job);
    }

    [Fact, SparkCase("TaskSetExcludelistSuite", "only exclude nodes for the task set when all the excluded executors are all on same host")]
    public void A_task_that_failed_on_two_executors_of_a_node_goes_to_another_node()
    {
        var world = new World();
        world.Join("a1", node: "a", slots: 1).Join("a2", node: "a", slots: 1).Join("a3", node: "a", slots: 1).Join("b", node: "b", slots: 1);
        world.Submit(Given.Job().Result(1, near: [["a"]]));
        world.Fail(0, 0);
        Assert.Equal("a", world.Find(0, 0).Node);

        world.Fail(0, 0).Advance(0.4);

        Assert.Equal("b", world.Find(0, 0).Node);
    }

    [Fact, SparkCase("TaskSetExcludelistSuite", "Excluding tasks, executors, and nodes")]
    public void A_stage_avoids_an_executor_on_which_two_of_its_tasks_failed()
    {
        var world = new World();
        world.Join("a", slots: 4).Join("b", slots: 4);
        world.Submit(Given.Count(100));
        foreach (var task in world.On("a").Take(2).ToArray())
        {
            world.Report(task, World.Boom());
        }

        var before = world.All.Count;
        while (world.InFlight.Count > 0)
        {
            world.Succeed(0, world.InFlight[0].Partition);
        }

        Assert.DoesNotContain(world.All.Skip(before).OfType<SendTasks>(), send => send.To.ExecutorId.Value == "a");
        Assert.Equal(ExecutorState.Excluded, world.Snapshot.Executors[0].State);
    }

    [Fact]
    public void A_task_that_failed_on_the_only_executor_its_stage_does_not_avoid_runs_there_again()
    {
        var world = new World(null, "a", "b");
        var job = world.Submit(Given.Count(8));
        foreach (var task in world.On("a").Take(2).Concat(world.On("b").Take(1)).ToArray())
        {
            world.Report(task, World.Boom());
        }

        world.FinishAll();

        world.AssertSucceeded(job);
    }

    [Fact, SparkCase(Health, "executors can be excluded with only a few failures per stage")]
    public void An_executor_that_failed_in_a_stage_that_succeeded_is_excluded()
    {
        var world = new World(null, "a", "b");

        FailTwiceOn(world, "a");

        Assert.Equal(("a", world.Now.AddHours(1)), (world.All.OfType<ExcludeExecutor>().Single().ExecutorId.Value, world.All.OfType<ExcludeExecutor>().Single().Until));
        world.Submit(Given.Count(8));
        Assert.Empty(world.On("a"));
    }

    [Fact, SparkCase(Health, "executors aren't excluded as a result of tasks in failed task sets")]
    public void Failures_of_a_stage_that_failed_exclude_nobody()
    {
        var world = new World(null, "a", "b");
        var job = world.Submit(Given.Count(2));
        while (!world.Ended.ContainsKey(job))
        {
            world.Report(world.InFlight[0], World.Boom());
        }

        Assert.Empty(world.All.OfType<ExcludeExecutor>());
    }

    [Fact, SparkCase(Health, "task failures expire with time")]
    public void Failures_are_forgotten_after_an_hour()
    {
        var world = new World(null, "a", "b");
        for (var i = 0; i < 5; i++)
        {
            var stage = world.StagesStarted.Length;
            world.Submit(Given.Count(4));
            world.Report(world.On("a").First(task => task.Stage == stage), World.Boom()).FinishAll();
            world.AdvanceAlive(3700);
        }

        Assert.Empty(world.All.OfType<ExcludeExecutor>());
    }

    [Fact, SparkCase(Health, "task failure timeout works as expected for long-running tasksets")]
    public void Failures_of_several_stages_add_up()
    {
        var world = new World(null, "a", "b");
        for (var i = 0; i < 2; i++)
        {
            Assert.Empty(world.All.OfType<ExcludeExecutor>());
            var stage = world.StagesStarted.Length;
            world.Submit(Given.Count(4));
            world.Report(world.On("a").First(task => task.Stage == stage), World.Boom()).FinishAll();
        }

        Assert.Single(world.All.OfType<ExcludeExecutor>());
    }

    [Fact, SparkCase(Health, "excluded executors and nodes get recovered with time")]
    public void An_excluded_executor_gets_tasks_again_after_an_hour()
    {
        var world = new World(null, "a", "b");
        FailTwiceOn(world, "a");

        world.AdvanceAlive(3602);
        world.Submit(Given.Count(8));

        Assert.NotEmpty(world.On("a"));
    }

    [Fact, SparkCase(Health, "only exclude nodes for the application when enough executors have failed on that specific host")]
    public void A_node_with_two_excluded_executors_is_excluded_and_readmitted()
    {
        var world = new World();
        world.Join("a1", node: "a").Join("a2", node: "a").Join("a3", node: "a").Join("b", node: "b");

        FailTwiceOn(world, "a1");
        Assert.Empty(world.All.OfType<ExcludeNode>());
        FailTwiceOn(world, "a2");
        Assert.Equal("a", Assert.Single(world.All.OfType<ExcludeNode>()).NodeId.Value);
        world.Submit(Given.Count(20));
        Assert.Empty(world.On("a3"));
        world.FinishAll().AdvanceAlive(3602);

        Assert.Equal("a", Assert.Single(world.All.OfType<ReadmitNode>()).NodeId.Value);
        world.Submit(Given.Count(20));
        Assert.NotEmpty(world.On("a3"));
    }

    [Fact, SparkCase(TaskScheduler, "SPARK-22148 abort timer should kick in when task is completely excluded & no new executor can be acquired")]
    public void When_everybody_is_excluded_for_two_minutes_the_job_fails_and_says_so()
    {
        var world = new World(null, "a", "b");
        FailTwiceOn(world, "a");
        ExcludeLast(world, "b");

        var job = world.Submit(Given.Count(1));
        world.AdvanceAlive(110);
        world.AssertRuns(job);
        world.AdvanceAlive(20);

        Assert.Equal(JobFailureReason.NowhereToRun, world.FailureOf(job).Reason);
        world.AssertEmpty();
    }

    [Fact, SparkCase(TaskScheduler, "SPARK-22148 try to acquire a new executor when task is unschedulable with 1 executor")]
    public void A_new_executor_saves_a_job_that_had_nowhere_to_run()
    {
        var world = new World(new JobMachineOptions { Allocation = new AllocationOptions { SlotsPerExecutor = 2, Initial = 2 } }, "a", "b");
        FailTwiceOn(world, "a");
        ExcludeLast(world, "b");
        var job = world.Submit(Given.Count(1));
        world.AdvanceAlive(10);
        Assert.Equal(3, world.All.OfType<ExecutorsWanted>().Last().Count);

        world.Join("c", node: "n2").FinishAll();

        world.AssertSucceeded(job);
    }

    [Fact]
    public void Without_exclusion_nobody_is_avoided()
    {
        var world = new World(new JobMachineOptions { Exclusion = false }, "a", "b");

        FailTwiceOn(world, "a");

        Assert.Empty(world.All.OfType<ExcludeExecutor>());
    }

    // With "a" excluded, everything runs on "b"; its failures do not make it avoided, because there is nobody else.
    private static void ExcludeLast(World world, string executor)
    {
        FailTwiceOn(world, executor);
        Assert.Equal(executor, world.All.OfType<ExcludeExecutor>().Last().ExecutorId.Value);
    }
}
