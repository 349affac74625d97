using Xunit;
using Yarnish.Dataflow;
using Yarnish.Protocol;

namespace Yarnish.Tests.Dataflow;

/// <summary>Executors join, fall silent, return and leave: the failure semantics of the data path, as the machine sees them.</summary>
public sealed class ExecutorTests
{
    private const string TaskScheduler = "TaskSchedulerImplSuite";

    [Fact]
    public void Tasks_wait_for_the_first_executor()
    {
        var world = new World();
        world.Submit(Given.Count(2));
        Assert.Empty(world.InFlight);

        world.Join("a");

        Assert.Equal([0, 1], world.Running(0));
    }

    [Fact]
    public void After_a_new_hello_only_what_did_not_arrive_is_sent_again()
    {
        var world = new World();
        world.Join("a", slots: 4);
        world.Submit(Given.Count(3));
        var (running, finished, lost) = (world.Find(0, 0), world.Find(0, 1), world.Find(0, 2));
        ((List<SentTask>)world.InFlight).Remove(lost);

        world.Join("a", slots: 4, running: [running.Attempt], finished: [finished.Attempt]);

        var again = Assert.Single(Assert.Single(world.Last.OfType<SendTasks>()).Tasks);
        Assert.Equal(2, again.Partition);
        Assert.NotEqual(lost.Attempt, again.AttemptId.Value);
        Assert.Equal(2, world.Last.OfType<SendTasks>().Single().To.Epoch);
        world.FinishAll();
        world.AssertSucceeded(0);
        world.AssertEmpty();
    }

    [Fact]
    public void What_never_arrived_does_not_count_as_a_failure_however_often()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Count(1));

        for (var i = 0; i < 200; i++)
        {
            ((List<SentTask>)world.InFlight).Clear();
            world.Join("a");
        }
        world.FinishAll();

        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact]
    public void A_hello_said_twice_or_of_the_past_changes_nothing()
    {
        var world = new World(null, "a");
        world.Join("a");
        world.Submit(Given.Count(2));

        world.Join("a", epoch: 2);
        Assert.Empty(world.Last);
        world.Join("a", epoch: 1);
        Assert.Empty(world.Last);
    }

    [Fact]
    public void Attempts_nobody_wants_are_stopped_at_the_hello()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Count(1));
        var task = world.Find(0, 0);
        world.Cancel(job);

        world.Join("a", running: [task.Attempt, 4711]);

        Assert.Equal([task.Attempt, 4711], Assert.Single(world.Last.OfType<StopTasks>()).Attempts.Select(id => id.Value));
    }

    [Fact, SparkCase(TaskScheduler, "if an executor is lost then the state for its running tasks is cleaned up (SPARK-18553)")]
    public void Nothing_of_a_lost_executor_is_kept()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Count(4));

        world.Lose("a");
        Assert.Equal(0, world.Snapshot.Totals.TasksRunning);
        Assert.Empty(world.Snapshot.Executors);
        world.Cancel(job);

        world.AssertEmpty();
    }

    [Fact, SparkCase(TaskScheduler, "if a task finishes with TaskState.LOST its executor is marked as dead"), SparkCase("HeartbeatReceiverSuite", "expire dead hosts")]
    public void A_silent_executor_is_given_up_and_given_back()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Count(1));

        world.Advance(14);
        Assert.Single(world.InFlight);
        world.Advance(2);

        Assert.Equal("a", Assert.Single(world.All.OfType<ReleaseExecutor>()).ExecutorId.Value);
        Assert.Empty(world.InFlight);
        world.Join("b");
        world.FinishAll();
        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact, SparkCase("HeartbeatReceiverSuite", "normal heartbeat")]
    public void An_executor_that_beats_is_kept()
    {
        var world = new World(null, "a");
        world.Submit(Given.Count(1));

        world.AdvanceAlive(120);

        Assert.Single(world.InFlight);
    }

    [Fact, SparkCase("HeartbeatReceiverSuite", "reregister if heartbeat from removed executor")]
    public void An_executor_that_was_given_up_is_shown_the_door()
    {
        var world = new World(null, "a");
        world.Advance(16);

        world.Apply(new ExecutorJoined(new ExecutorAddress(new ExecutorId("a"), 2), new NodeId("n1"), 2, [], []));
        Assert.IsType<ReleaseExecutor>(Assert.Single(world.Last));
        world.Apply(new ExecutorAlive(new ExecutorAddress(new ExecutorId("a"), 2), [], 0));
        Assert.IsType<ReleaseExecutor>(Assert.Single(world.Last));
    }

    [Fact]
    public void A_hello_that_comes_after_the_end_of_its_container_is_shown_the_door()
    {
        var world = new World();
        world.Apply(new ExecutorLost(new ExecutorId("a"), ContainerExitCause.Failed, "exit 1"));

        world.Apply(new ExecutorJoined(new ExecutorAddress(new ExecutorId("a"), 1), new NodeId("n1"), 2, [], []));

        Assert.IsType<ReleaseExecutor>(Assert.Single(world.Last));
        Assert.Empty(world.Snapshot.Executors);
    }

    [Fact]
    public void Losing_an_executor_twice_is_losing_it_once()
    {
        var world = new World(null, "a", "b");
        var job = world.Submit(Given.Count(2));

        world.Lose("a").Lose("a");

        Assert.Equal(1, world.Snapshot.Totals.ExecutorsLost);
        world.FinishAll();
        world.AssertSucceeded(job);
    }

    [Fact, SparkCase("HeartbeatReceiverSuite", "reregister if scheduler is not ready yet")]
    public void A_beat_of_an_unknown_executor_is_answered_by_asking_for_its_hello()
    {
        var world = new World();
        var stranger = new ExecutorAddress(new ExecutorId("x"), 3);

        world.Apply(new ExecutorAlive(stranger, [], 0));

        Assert.Equal(stranger, Assert.IsType<HelloWanted>(Assert.Single(world.Last)).To);
    }

    [Fact]
    public void Nobody_is_given_up_while_the_link_is_interrupted()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Count(1));

        world.Apply(new LinkInterrupted("broker restarts")).Advance(300);
        Assert.Empty(world.All.OfType<ReleaseExecutor>());
        world.Apply(new LinkRestored(MessagesMayBeLost: true));
        Assert.Equal("a", Assert.Single(world.Last.OfType<HelloWanted>()).To.ExecutorId.Value);
        world.Advance(14);

        Assert.Empty(world.All.OfType<ReleaseExecutor>());
        world.FinishAll();
        world.AssertSucceeded(job);
    }

    [Fact]
    public void A_message_lost_with_the_drivers_connection_is_found_by_the_hello_it_asks_for()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Count(2));
        var (arrived, lost) = (world.Find(0, 0), world.Find(0, 1));
        world.Apply(new LinkInterrupted("gone")).Apply(new LinkRestored(MessagesMayBeLost: true));
        ((List<SentTask>)world.InFlight).Remove(lost);

        // The same epoch: only the driver's own connection was lost.
        world.Join("a", epoch: 1, running: [arrived.Attempt]);

        Assert.Equal([0, 1], world.Running(0));
        world.FinishAll();
        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact]
    public void A_hello_that_was_asked_for_does_not_take_back_what_was_sent_since()
    {
        var world = new World();
        world.Join("a", slots: 4);
        world.Apply(new LinkInterrupted("gone")).Apply(new LinkRestored(MessagesMayBeLost: true));
        world.Submit(Given.Count(1));

        world.Join("a", slots: 4, epoch: 1);

        Assert.Empty(world.Last.OfType<SendTasks>());
        Assert.Single(world.InFlight);
    }

    [Fact]
    public void Beats_that_know_of_fewer_tasks_than_were_sent_long_ago_lead_to_a_hello()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Count(1));
        ((List<SentTask>)world.InFlight).Clear();

        world.Advance(6).Beat("a");
        Assert.Empty(world.Last);
        world.Advance(2).Beat("a");
        Assert.IsType<HelloWanted>(Assert.Single(world.Last));
        world.Join("a", epoch: 1);

        Assert.Equal([0], world.Running(0));
        world.FinishAll();
        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact]
    public void A_batch_that_found_no_queue_goes_elsewhere_and_its_executor_gets_nothing_until_it_says_hello()
    {
        var world = new World(null, "a", "b");
        var job = world.Submit(Given.Count(2));
        var returned = world.On("a").ToArray();
        Assert.NotEmpty(returned);
        ((List<SentTask>)world.InFlight).RemoveAll(task => task.Executor == "a");

        world.Apply(new BatchReturned(returned[0].To, [.. returned.Select(task => new TaskAttemptId(task.Attempt))], QueueGone: true));

        Assert.All(world.InFlight, task => Assert.Equal("b", task.Executor));
        Assert.Equal(ExecutorState.Disconnected, world.Snapshot.Executors[0].State);
        world.Submit(Given.Count(8));
        Assert.Empty(world.On("a"));
        world.Join("a");
        Assert.NotEmpty(world.On("a"));
        world.FinishAll();
        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact]
    public void A_batch_returned_from_an_epoch_of_the_past_changes_nothing()
    {
        var world = new World(null, "a");
        world.Submit(Given.Count(1));
        var old = world.Find(0, 0);
        ((List<SentTask>)world.InFlight).Clear();
        world.Join("a");
        var again = world.Find(0, 0);

        world.Apply(new BatchReturned(old.To, [new TaskAttemptId(old.Attempt)], QueueGone: true));

        Assert.Equal(again, world.Find(0, 0));
        Assert.Equal(ExecutorState.Active, world.Snapshot.Executors[0].State);
    }

    [Fact]
    public void A_batch_that_was_never_sent_is_not_sent_in_circles()
    {
        var world = new World(null, "a");
        world.Submit(Given.Count(1));
        var task = world.Find(0, 0);
        ((List<SentTask>)world.InFlight).Clear();

        world.Apply(new BatchReturned(task.To, [new TaskAttemptId(task.Attempt)], QueueGone: false));

        Assert.Empty(world.Last.OfType<SendTasks>());
        Assert.Single(world.Last.OfType<HelloWanted>());
        world.Join("a", epoch: 1);
        Assert.Equal([0], world.Running(0));
    }

    [Fact, SparkCase(TaskScheduler, "scheduler should keep the decommission state where host was decommissioned")]
    public void A_draining_executor_finishes_what_it_has_and_gets_nothing_more()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Count(10));
        var before = world.On("a").Count;

        world.Apply(new ExecutorDraining(new ExecutorId("a"))).Apply(new ExecutorDraining(new ExecutorId("nobody")));
        world.SucceedAll(0);
        Assert.Equal(before, world.Results[job].Count);
        world.Join("b").FinishAll();

        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact]
    public void A_lost_node_takes_its_executors_with_it_and_counts_against_no_task()
    {
        var world = new World();
        world.Join("a", node: "n1").Join("b", node: "n1").Join("c", node: "n2");
        var job = world.Submit(Given.Count(6));

        world.LoseNode("n1").LoseNode("n1");

        Assert.Equal("c", Assert.Single(world.Snapshot.Executors).ExecutorId.Value);
        Assert.Equal(2, world.Snapshot.Totals.ExecutorsLost);
        Assert.Equal(0, world.Snapshot.Totals.TasksFailed);
        world.FinishAll();
        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact]
    public void The_clock_may_step_back()
    {
        var world = new World();
        world.Machine.Apply(TimePassed.Instance, world.Now.AddHours(1), []);

        var job = world.Join("a").Submit(Given.Count(1));
        world.FinishAll();

        world.AssertSucceeded(job);
    }
}
