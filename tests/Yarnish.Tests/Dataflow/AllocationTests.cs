using Xunit;
using Yarnish.Dataflow;
using Yarnish.Protocol;

namespace Yarnish.Tests.Dataflow;

/// <summary>How many executors are wanted and which are given back, after Spark's ExecutorAllocationManagerSuite and ExecutorMonitorSuite.</summary>
public sealed class AllocationTests
{
    private const string Suite = "ExecutorAllocationManagerSuite";
    private const string Monitor = "ExecutorMonitorSuite";

    private long _now;

    private int After(ExecutorAllocation allocation, double seconds, int pending, int running = 0, int slots = 1, int live = 0)
    {
        _now += (long)(seconds * TimeSpan.TicksPerSecond);
        return allocation.Update(_now, pending, running, slots, live);
    }

    private static ExecutorAllocation Allocation(int initial = 1, int minimum = 0, int maximum = 10_000, bool dynamic = true) =>
        new(new AllocationOptions { Initial = initial, Minimum = minimum, Maximum = maximum, Dynamic = dynamic });

    [Fact, SparkCase(Suite, "starting state")]
    public void At_the_start_the_initial_number_is_wanted()
    {
        Assert.Equal(3, Allocation(initial: 3).Target);
        Assert.Equal(5, Allocation(initial: 1, minimum: 5).Target);
        Assert.Equal(2, Allocation(initial: 10, maximum: 2).Target);
        Assert.Equal(long.MaxValue, Allocation().NextWake);
    }

    [Fact, SparkCase(Suite, "add executors")]
    public void A_backlog_adds_one_then_two_then_four()
    {
        var allocation = Allocation();

        Assert.Equal(1, After(allocation, 0, pending: 1000));
        Assert.Equal(1, After(allocation, 0.9, pending: 1000));
        Assert.Equal(2, After(allocation, 0.1, pending: 1000));
        Assert.Equal(4, After(allocation, 1, pending: 1000));
        Assert.Equal(8, After(allocation, 1, pending: 1000));
        Assert.Equal(16, After(allocation, 1, pending: 1000));
    }

    [Fact, SparkCase(Suite, "starting/canceling add timer")]
    public void A_backlog_that_clears_starts_the_clock_and_the_ramp_again()
    {
        var allocation = Allocation();
        After(allocation, 0, pending: 100);
        After(allocation, 1, pending: 100);
        Assert.Equal(4, After(allocation, 1, pending: 100));

        After(allocation, 0.5, pending: 0, running: 100);
        Assert.Equal(long.MaxValue, allocation.NextWake);
        Assert.Equal(1, allocation.NextStep);
        After(allocation, 0, pending: 100, running: 100);
        Assert.Equal(4, After(allocation, 0.9, pending: 100, running: 100));
        Assert.Equal(5, After(allocation, 0.1, pending: 100, running: 100));
    }

    [Fact, SparkCase(Suite, "add executors capped by num pending tasks")]
    public void No_more_are_wanted_than_waiting_tasks_can_use()
    {
        var allocation = Allocation();

        After(allocation, 0, pending: 10, slots: 4);
        After(allocation, 1, pending: 10, slots: 4);
        Assert.Equal(3, After(allocation, 1, pending: 10, slots: 4));
        Assert.Equal(3, After(allocation, 10, pending: 10, slots: 4));
        Assert.Equal(long.MaxValue, allocation.NextWake);
    }

    [Fact]
    public void Running_tasks_are_needed_too()
    {
        var allocation = Allocation(initial: 2);

        After(allocation, 0, pending: 1, running: 2, live: 2);

        Assert.Equal(3, After(allocation, 1, pending: 1, running: 2, live: 2));
    }

    [Fact, SparkCase(Suite, "avoid ramp up when target < running executors")]
    public void The_ramp_starts_at_what_is_there()
    {
        var allocation = Allocation(initial: 1);

        After(allocation, 0, pending: 100, live: 10);

        Assert.Equal(11, After(allocation, 1, pending: 100, live: 10));
    }

    [Fact, SparkCase(Suite, "cancel pending executors when no longer needed"), SparkCase(Suite, "avoid ramp down initial executors until first job is submitted")]
    public void What_is_no_longer_needed_is_no_longer_wanted()
    {
        var allocation = Allocation(initial: 5);
        Assert.Equal(5, After(allocation, 100, pending: 0));

        After(allocation, 0, pending: 100);
        Assert.Equal(6, After(allocation, 1, pending: 100));
        Assert.Equal(2, After(allocation, 0, pending: 0, running: 2));

        Assert.Equal(0, After(allocation, 0, pending: 0));
    }

    [Fact, SparkCase(Suite, "verify min/max executors")]
    public void The_bounds_hold()
    {
        var allocation = Allocation(minimum: 2, maximum: 4);
        After(allocation, 0, pending: 100);
        for (var i = 0; i < 10; i++)
        {
            After(allocation, 1, pending: 100);
        }
        Assert.Equal(4, allocation.Target);

        Assert.Equal(2, After(allocation, 0, pending: 0));
    }

    [Fact]
    public void With_none_at_all_the_first_is_wanted_at_once()
    {
        var allocation = Allocation(initial: 0);

        Assert.Equal(1, After(allocation, 0, pending: 5));
    }

    [Fact]
    public void A_fixed_number_stays()
    {
        var allocation = Allocation(initial: 3, dynamic: false);

        Assert.Equal(3, After(allocation, 0, pending: 1000));
        Assert.Equal(3, After(allocation, 100, pending: 1000));
        Assert.Equal(3, After(allocation, 100, pending: 0));
        Assert.False(allocation.MayRelease(10));
    }

    [Fact, SparkCase(Suite, "remove executors")]
    public void Nobody_goes_while_as_many_are_needed()
    {
        var allocation = Allocation(initial: 2, minimum: 1);

        Assert.True(allocation.MayRelease(3));
        Assert.False(allocation.MayRelease(2));
    }

    // ── In the machine.

    private static JobMachineOptions Options(int initial = 1) => new() { Allocation = new AllocationOptions { Initial = initial, SlotsPerExecutor = 2 } };

    private static int Wanted(World world) => world.All.OfType<ExecutorsWanted>().Last().Count;

    [Fact]
    public void The_initial_number_is_asked_for_at_the_first_event_and_said_once()
    {
        var world = new World(Options(initial: 3));

        world.Apply(TimePassed.Instance).Apply(TimePassed.Instance);

        Assert.Equal(3, Assert.Single(world.All.OfType<ExecutorsWanted>()).Count);
    }

    [Fact, SparkCase(Suite, "interleaving add and remove")]
    public void A_job_with_a_backlog_asks_for_more_each_second()
    {
        var world = new World(Options());
        world.Join("a");

        world.Submit(Given.Count(100));
        List<int> wanted = [];
        for (var i = 0; i < 4; i++)
        {
            world.Advance(1);
            wanted.Add(Wanted(world));
        }

        Assert.Equal([2, 4, 8, 16], wanted);
    }

    [Fact, SparkCase(Monitor, "basic executor timeout"), SparkCase(Suite, "mock polling loop remove behavior")]
    public void An_idle_executor_is_given_back_after_a_minute()
    {
        var world = new World(Options(), "a", "b");
        world.Submit(Given.Count(4));
        world.FinishAll();

        world.AdvanceAlive(58);
        Assert.Equal(2, world.Snapshot.Executors.Length);
        world.AdvanceAlive(4);

        Assert.Empty(world.Snapshot.Executors);
        Assert.Equal(["a", "b"], world.All.OfType<ReleaseExecutor>().Select(release => release.ExecutorId.Value));
        Assert.Equal(0, Wanted(world));
        Assert.Equal(0, world.Snapshot.Totals.ExecutorsLost);
    }

    [Fact, SparkCase(Monitor, "track tasks running on executor")]
    public void An_executor_that_works_is_not_idle()
    {
        var world = new World(Options(), "a", "b");
        world.Submit(Given.Count(1));

        world.AdvanceAlive(300);

        Assert.Equal(world.InFlight[0].Executor, Assert.Single(world.Snapshot.Executors).ExecutorId.Value);
    }

    [Fact, SparkCase(Monitor, "use appropriate time out depending on whether blocks are stored")]
    public void An_executor_that_holds_persisted_partitions_is_kept_longer()
    {
        var world = new World(Options(), "a", "b");
        world.Submit(Given.Job().Result(1, persisted: [1]));
        var holder = world.InFlight[0].Executor;
        world.Report(world.InFlight[0], TaskSucceeded.Instance, cached: [new CachedPartition(1, 0, 10, 0)]);

        world.AdvanceAlive(120);
        Assert.Equal(holder, Assert.Single(world.Snapshot.Executors).ExecutorId.Value);
        world.AdvanceAlive(1800);

        Assert.Empty(world.Snapshot.Executors);
    }

    [Fact]
    public void Map_output_keeps_no_executor()
    {
        var world = new World(Options(), "a");
        world.Submit(Given.Job().Map(0, 2).Result(2, reads: 0));
        world.FinishAll().AdvanceAlive(70);
        Assert.Empty(world.Snapshot.Executors);

        world.Join("b");
        var again = world.Submit(Given.Job().Map(0, 2).Result(2, reads: 0));
        world.FinishAll();

        world.AssertSucceeded(again);
        Assert.Equal(1, world.AttemptsOf(0));
    }

    [Fact]
    public void An_executor_given_back_gets_nothing_more_and_its_end_is_no_loss()
    {
        var world = new World(Options(), "a");
        world.Submit(Given.Count(1));
        world.FinishAll().AdvanceAlive(70);

        world.Apply(new ExecutorLost(new ExecutorId("a"), ContainerExitCause.Released, "released"));
        world.Submit(Given.Count(1));

        Assert.Empty(world.InFlight);
        Assert.Equal(0, world.Snapshot.Totals.ExecutorsLost);
    }

    [Fact]
    public void Executors_that_get_no_tasks_are_replaced()
    {
        var world = new World(Options(initial: 2), "a", "b");
        world.Submit(Given.Count(4));

        world.Apply(new ExecutorDraining(new ExecutorId("a")));

        Assert.Equal(3, Wanted(world));
    }

    [Fact]
    public void Without_allocation_nothing_is_asked_for_or_given_back()
    {
        var world = new World(null, "a");
        world.Submit(Given.Count(100));
        world.AdvanceAlive(10);
        world.FinishAll().AdvanceAlive(4000);

        Assert.Empty(world.All.OfType<ExecutorsWanted>());
        Assert.Single(world.Snapshot.Executors);
    }
}
