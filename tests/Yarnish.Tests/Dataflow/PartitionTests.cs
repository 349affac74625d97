using Xunit;
using Yarnish.Dataflow;
using Yarnish.Protocol;

namespace Yarnish.Tests.Dataflow;

/// <summary>Persisted partitions: second copies, reading them from elsewhere, and leaving without losing them.</summary>
public sealed class PartitionTests
{
    private const int Collection = 7;

    /// <summary>Executors a, b, c on nodes n1, n2, n3; every partition of the collection was stored by whoever got its task.</summary>
    private static World Persisted(int partitions, Func<int, CachedPartition> stored, JobMachineOptions? options = null, string[]? executors = null)
    {
        var world = new World(options);
        foreach (var (name, i) in (executors ?? ["a", "b", "c"]).Select((name, i) => (name, i)))
        {
            world.Join(name, node: $"n{i + 1}");
        }
        world.Submit(Given.Job().Result(partitions, persisted: [Collection]));
        while (world.InFlight.Count > 0)
        {
            var task = world.InFlight[0];
            world.Report(task, TaskSucceeded.Instance, cached: [stored(task.Partition)]);
        }
        return world;
    }

    private static CachedPartition InMemory(int partition) => new(Collection, partition, 100, 0);

    private static CachedPartition OnDisk(int partition) => new(Collection, partition, 0, 100);

    private static CachedPartition Twice(int partition) => new(Collection, partition, 100, 100) { Replicate = true };

    private static CachedPartition Nothing(int partition) => new(Collection, partition, 0, 0);

    private static CollectionStatus Status(World world) => Assert.Single(world.Snapshot.Collections);

    /// <summary>Whom copies were asked of, and answers them.</summary>
    private static List<(string Executor, int Partition, string From)> Copy(World world, bool succeed = true)
    {
        List<(string, int, string)> copied = [];
        for (var done = 0; done < world.All.Count; done++)
        {
            if (world.All[done] is SendCopies copies)
            {
                world.All[done] = new WriteOut(default);
                foreach (var partition in copies.Partitions)
                {
                    copied.Add((copies.To.ExecutorId.Value, partition.Partition, partition.NodeId.Value));
                    world.Tell(copies.To.ExecutorId.Value, succeed ? OnDisk(partition.Partition) : Nothing(partition.Partition));
                }
            }
        }
        return copied;
    }

    // ── Second copies.

    [Fact]
    public void A_replicated_partition_is_copied_to_an_executor_of_another_node()
    {
        var world = Persisted(6, Twice);
        var stored = world.All.OfType<TasksSettled>().SelectMany(settled => settled.Tasks).ToDictionary(task => task.Partition, task => task.ExecutorId.Value);

        var copied = Copy(world);

        Assert.Equal([0, 1, 2, 3, 4, 5], copied.Select(copy => copy.Partition).Order());
        Assert.All(copied, copy => Assert.NotEqual(stored[copy.Partition], copy.Executor));
        Assert.Equal((6, 6, 6), (Status(world).InMemory, Status(world).OnDisk, Status(world).Replicated));
        Assert.Empty(Copy(world));
    }

    [Fact]
    public void A_copy_that_fails_is_tried_three_times_and_then_left()
    {
        var world = Persisted(1, Twice);

        Assert.Equal(3, Copy(world, succeed: false).Count);
        Assert.Equal(0, Status(world).Replicated);
        Assert.Empty(Copy(world));
    }

    [Fact]
    public void Without_a_second_node_there_is_no_second_copy_until_there_is_one()
    {
        var world = Persisted(4, Twice, executors: ["a"]);
        Assert.Empty(Copy(world));

        world.Join("d", node: "n1");
        Assert.Empty(Copy(world));
        world.Join("e", node: "n2");

        Assert.Equal(4, Copy(world).Count);
        Assert.Equal(4, Status(world).Replicated);
    }

    [Fact]
    public void A_lost_node_costs_no_partition_and_what_it_had_is_copied_again()
    {
        var world = Persisted(6, Twice);
        Copy(world);
        var sent = world.All.Count;

        world.LoseNode("n1");
        Assert.Equal(6, Status(world).OnDisk);
        Copy(world);

        Assert.Equal((6, 6), (Status(world).OnDisk, Status(world).Replicated));
        Assert.True(world.All.Count > sent);
    }

    [Fact]
    public void Few_copies_are_under_way_at_once_and_one_that_never_answers_is_given_up()
    {
        var world = Persisted(100, Twice, new JobMachineOptions { CopiesPerExecutor = 2 });
        Assert.Equal(6, world.All.OfType<SendCopies>().Sum(copies => copies.Partitions.Count));

        world.AdvanceAlive(61);
        Assert.Equal(12, world.All.OfType<SendCopies>().Sum(copies => copies.Partitions.Count));

        Copy(world);
        Assert.Equal(100, Status(world).Replicated);
    }

    [Fact]
    public void An_executor_that_dies_while_copying_leaves_the_copy_to_another()
    {
        var world = Persisted(1, Twice);
        var copier = Assert.Single(world.All.OfType<SendCopies>()).To.ExecutorId.Value;

        world.Lose(copier);

        Assert.NotEqual(copier, world.All.OfType<SendCopies>().Last().To.ExecutorId.Value);
        Assert.Equal(2, world.All.OfType<SendCopies>().Count());
    }

    [Fact]
    public void What_is_unpersisted_is_not_copied_and_late_words_on_it_are_forgotten()
    {
        var world = Persisted(100, Twice, new JobMachineOptions { CopiesPerExecutor = 1 });

        world.Apply(new CollectionUnpersisted(Collection));
        world.Tell("a", OnDisk(0));
        world.Submit(Given.Job().Result(1, persisted: [Collection]));
        world.Report(world.InFlight[0], TaskSucceeded.Instance, cached: [Twice(0)]);

        Assert.Empty(world.Snapshot.Collections);
        Assert.Equal(3, world.All.OfType<SendCopies>().Sum(copies => copies.Partitions.Count));
    }

    // ── Reading from elsewhere.

    [Fact]
    public void A_file_outlives_its_executor_and_draws_tasks_to_its_node()
    {
        var world = Persisted(2, OnDisk, executors: ["a"]);
        world.Lose("a");
        world.Join("b", node: "n2").Join("c", node: "n1");

        world.Submit(Given.Job().Result(2, persisted: [Collection]));

        Assert.Equal(["c", "c"], world.InFlight.Select(task => task.Executor));
        Assert.All(world.All.OfType<SendTasks>(), batch => Assert.Null(batch.Elsewhere));
    }

    [Fact]
    public void A_task_on_another_node_is_told_where_its_partition_is()
    {
        var world = Persisted(1, OnDisk, executors: ["a"]);
        world.Lose("a");
        world.Join("b", node: "n2");

        world.Submit(Given.Job().Result(1, persisted: [Collection]));

        Assert.Equal([new PartitionOn(Collection, 0, new NodeId("n1"))], world.Last.OfType<SendTasks>().Single().Elsewhere!);
    }

    [Fact]
    public void A_task_that_reads_other_partitions_than_its_own_goes_to_them_and_is_told_of_the_rest()
    {
        var world = Persisted(4, OnDisk, executors: ["a"]);
        world.Lose("a");
        world.Join("b", node: "n2");

        var job = Given.Job().Result(1, persisted: [Collection]);
        world.Submit(job with { Stages = [job.Stages[0] with { PersistedParts = static partition => [(Collection, 1), (Collection, 3)] }] });

        Assert.Equal([1, 3], world.Last.OfType<SendTasks>().Single().Elsewhere!.Select(place => place.Partition).Order());
    }

    [Fact]
    public void A_partition_that_is_computed_faster_than_fetched_is_computed()
    {
        // A gigabyte that took a millisecond.
        var world = Persisted(1, partition => new CachedPartition(Collection, partition, 0, 1 << 30), executors: ["a"]);
        world.Lose("a");
        world.Join("b", node: "n2");

        world.Submit(Given.Job().Result(1, persisted: [Collection]));

        Assert.Null(world.Last.OfType<SendTasks>().Single().Elsewhere);
    }

    [Fact]
    public void A_file_that_is_not_there_is_not_asked_for_twice()
    {
        var world = Persisted(1, OnDisk, executors: ["a"]);
        world.Lose("a");
        world.Join("b", node: "n2");

        world.Apply(new PartitionsTold(world.Address("b"), new NodeId("n2"), []) { Lost = [new PartitionAt(Collection, 0, new NodeId("n1"), "")] });
        world.Submit(Given.Job().Result(1, persisted: [Collection]));

        Assert.Null(world.Last.OfType<SendTasks>().Single().Elsewhere);
    }

    // ── Where executors are wanted.

    [Fact]
    public void Asks_name_the_nodes_that_have_what_waits_and_no_longer_when_nobody_is_to_come()
    {
        var options = new JobMachineOptions { Allocation = new AllocationOptions { Initial = 1, Maximum = 8 } };
        var world = Persisted(4, OnDisk, options, ["a"]);
        world.Lose("a", ContainerExitCause.Released);

        world.Submit(Given.Job().Result(40, persisted: [Collection]));
        Assert.Equal([new NodeId("n1")], world.All.OfType<ExecutorsWanted>().Last().PreferredNodes);

        world.Join("b", node: "n1").FinishAll();
        world.AdvanceAlive(2);
        Assert.Empty(world.All.OfType<ExecutorsWanted>().Last().PreferredNodes);
    }

    [Fact]
    public void Asks_name_the_nodes_that_have_much_of_the_map_output()
    {
        var options = new JobMachineOptions { Allocation = new AllocationOptions { Initial = 1, Maximum = 8 } };
        var world = new World(options);
        world.Join("a", node: "n1");
        world.Submit(Given.Job().Map(0, 4, null, reducers: 40).Result(40, [0]));
        world.SucceedAll(0);

        world.Advance(1.5);

        Assert.Equal([new NodeId("n1")], world.All.OfType<ExecutorsWanted>().Last().PreferredNodes);
        world.Apply(new NodeDraining(new NodeId("n1"), true));
        world.Advance(1.5);
        Assert.Empty(world.All.OfType<ExecutorsWanted>().Last().PreferredNodes);
    }

    // ── Leaving.

    [Fact]
    public void An_idle_executor_writes_what_it_has_in_memory_before_it_goes()
    {
        var options = new JobMachineOptions { Allocation = new AllocationOptions { Initial = 0, IdleWithCache = TimeSpan.FromMinutes(1) } };
        var world = Persisted(4, InMemory, options, ["a"]);

        world.AdvanceAlive(62);
        Assert.Single(world.All.OfType<WriteOut>());
        Assert.Empty(world.All.OfType<ReleaseExecutor>());
        world.TellAllWritten("a", [.. Enumerable.Range(0, 4).Select(OnDisk)]).AdvanceAlive(2);

        Assert.Single(world.All.OfType<ReleaseExecutor>());
        Assert.Equal(4, Status(world).OnDisk);
        Assert.Empty(world.All.OfType<SendCopies>());
    }

    [Fact]
    public void An_executor_that_does_not_answer_goes_after_its_time()
    {
        var world = Persisted(4, InMemory, executors: ["a", "b"]);

        world.Apply(new ExecutorDraining(new ExecutorId("a"))).AdvanceAlive(29);
        Assert.Empty(world.All.OfType<ReleaseExecutor>());
        world.AdvanceAlive(2);

        Assert.Equal("a", Assert.Single(world.All.OfType<ReleaseExecutor>()).ExecutorId.Value);
    }

    [Fact]
    public void A_drained_node_is_left_when_its_tasks_have_ended_and_its_partitions_are_elsewhere()
    {
        var world = Persisted(6, InMemory);
        var job = world.Submit(Given.Job().Result(3, persisted: [8]));
        var mine = Status(world) is { } && world.Snapshot.Executors.Single(executor => executor.ExecutorId.Value == "a").CachedPartitions is var count ? count : 0;
        Assert.True(mine > 0);

        world.Apply(new NodeDraining(new NodeId("n1"), true));
        var held = world.All.OfType<TasksSettled>().SelectMany(settled => settled.Tasks).Where(task => task.ExecutorId.Value == "a").Select(task => task.Partition).Distinct().ToArray();
        world.TellAllWritten("a", [.. held.Select(partition => new CachedPartition(Collection, partition, 100, 100))]);
        world.AdvanceAlive(4);
        Assert.Empty(world.All.OfType<ReleaseExecutor>());

        world.FinishAll();
        var copied = Copy(world);
        world.AdvanceAlive(2);

        world.AssertSucceeded(job);
        Assert.Equal(held.Order(), copied.Select(copy => copy.Partition).Order());
        Assert.All(copied, copy => Assert.Equal("n1", copy.From));
        Assert.All(copied, copy => Assert.NotEqual("a", copy.Executor));
        Assert.Equal("a", Assert.Single(world.All.OfType<ReleaseExecutor>()).ExecutorId.Value);
        world.LoseNode("n1");
        Assert.Equal(6, Status(world).InMemory + Status(world).OnDisk);
    }

    [Fact]
    public void What_tasks_still_store_on_a_draining_executor_is_written_too()
    {
        var world = Persisted(1, InMemory, executors: ["a", "b"]);
        var holder = world.Snapshot.Executors.Single(executor => executor.CachedPartitions == 1).ExecutorId.Value;
        world.Submit(Given.Job().Result(4, persisted: [8]));
        var task = world.On(holder)[0];

        world.Apply(new ExecutorDraining(new ExecutorId(holder))).TellAllWritten(holder, new CachedPartition(Collection, 0, 100, 100));
        world.Report(task, TaskSucceeded.Instance, cached: [new CachedPartition(8, task.Partition, 100, 0)]);
        world.FinishAll().AdvanceAlive(2);
        Assert.Equal(2, world.All.OfType<WriteOut>().Count(write => write.To.ExecutorId.Value == holder));
        Assert.Empty(world.All.OfType<ReleaseExecutor>());

        world.TellAllWritten(holder, new CachedPartition(8, task.Partition, 100, 100)).AdvanceAlive(2);
        Assert.Single(world.All.OfType<ReleaseExecutor>());
    }

    [Fact]
    public void A_drain_that_is_taken_back_lets_the_node_work_on()
    {
        var world = Persisted(4, InMemory, executors: ["a"]);

        world.Apply(new NodeDraining(new NodeId("n1"), true));
        world.Submit(Given.Count(2));
        Assert.Empty(world.InFlight);
        world.Apply(new NodeDraining(new NodeId("n1"), false));

        Assert.Equal(2, world.InFlight.Count);
        world.AdvanceAlive(60);
        Assert.Empty(world.All.OfType<ReleaseExecutor>());
    }

    [Fact]
    public void An_executor_that_joins_a_draining_node_leaves_again()
    {
        var world = new World();
        world.Apply(new NodeDraining(new NodeId("n1"), true)).Join("a", node: "n1").Join("b", node: "n2");

        var job = world.Submit(Given.Count(4));
        Assert.Empty(world.On("a"));
        world.FinishAll().AdvanceAlive(2);

        world.AssertSucceeded(job);
        Assert.Equal("a", Assert.Single(world.All.OfType<ReleaseExecutor>()).ExecutorId.Value);
    }
}
