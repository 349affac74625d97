using Xunit;
using Yarnish.Dataflow;
using Yarnish.Protocol;

namespace Yarnish.Tests.Dataflow;

/// <summary>Tasks that kill their executor: found by what ran, told from what stood by.</summary>
public sealed class SuspectTests
{
    /// <summary>Everybody works until the poisoned partition gets a slot; then its executor dies with all it runs, and another comes.</summary>
    private static (World World, int Job) Poison(int tasks, int poisoned, int slots, int executors, int deaths, bool known)
    {
        var world = new World();
        for (var i = 0; i < executors; i++)
        {
            world.Join($"e{i}", slots, node: $"n{i % 3}");
        }
        var job = world.Submit(Given.Count(tasks));
        var next = executors;
        for (var step = 0; step < tasks * 3 && !world.Ended.ContainsKey(job); step++)
        {
            // Executors run the oldest they hold.
            var victim = world.InFlight.Select(task => task.Executor).Distinct().FirstOrDefault(name => world.On(name).Take(slots).Any(task => task.Partition == poisoned));
            if (victim is not null && deaths > 0)
            {
                deaths--;
                var running = world.On(victim).Take(slots).Select(task => task.Attempt).ToArray();
                world.Lose(victim, ContainerExitCause.KilledBySignal, known ? running : null);
                world.Join($"e{next}", slots, node: $"n{next % 3}");
                next++;
            }
            else
            {
                var runs = world.InFlight.GroupBy(task => task.Executor).SelectMany(held => held.Take(slots)).ToArray();
                world.Report(runs[step % runs.Length], TaskSucceeded.Instance);
            }
        }
        return (world, job);
    }

    [Theory, SparkCase("DistributedSuite", "repeatedly failing task that crashes JVM with a zero exit code (SPARK-16925)")]
    [InlineData(1, 1, true)]
    [InlineData(1, 2, false)]
    [InlineData(4, 1, true)]
    [InlineData(4, 3, true)]
    [InlineData(4, 2, false)]
    [InlineData(16, 2, true)]
    public void Poisoned_partition_is_named_however_many_ran_beside_it(int slots, int executors, bool known)
    {
        var (world, job) = Poison(tasks: 300, poisoned: 137, slots, executors, deaths: 1000, known);

        var failure = world.FailureOf(job);
        Assert.Equal((JobFailureReason.TaskFailed, 137, 4), (failure.Reason, failure.Partition, failure.Attempts));
        Assert.IsType<TaskExecutorLost>(failure.LastEnd);
        world.AssertEmpty();
    }

    [Theory]
    [InlineData(1, 2)]
    [InlineData(4, 2)]
    [InlineData(8, 1)]
    public void Job_succeeds_when_the_partition_does_at_its_third_try(int slots, int executors)
    {
        var (world, job) = Poison(tasks: 100, poisoned: 42, slots, executors, deaths: 2, known: true);

        world.FinishAll().AssertSucceeded(job);
        Assert.Equal(Enumerable.Range(0, 100), world.Results[job].Keys);
        world.AssertEmpty();
    }

    [Fact]
    public void Suspects_never_run_beside_each_other()
    {
        var world = new World();
        world.Join("a", slots: 3);
        world.Submit(Given.Count(100));
        var first = world.On("a").Take(3).ToArray();
        world.Lose("a", ContainerExitCause.OutOfMemory, [.. first.Select(task => task.Attempt)]);

        world.Join("b", slots: 3).Join("c", slots: 3);

        int[] suspects = [.. first.Select(task => task.Partition)];
        Assert.Single(world.On("b"), task => suspects.Contains(task.Partition));
        Assert.Single(world.On("c"), task => suspects.Contains(task.Partition));
        world.FinishAll();
        world.AssertEmpty();
    }

    [Fact]
    public void Those_that_only_stood_by_do_not_count()
    {
        var world = new World();
        world.Join("a", slots: 2);
        var job = world.Submit(Given.Count(50));
        world.Lose("a", running: [world.On("a")[0].Attempt]);
        var bystanders = new HashSet<int>();
        for (var i = 0; i < 2; i++)
        {
            world.Join($"x{i}", slots: 2);
            var running = world.On($"x{i}").Where(task => task.Partition == 0).Concat(world.On($"x{i}").Where(task => task.Partition != 0).Take(1)).ToArray();
            bystanders.UnionWith(running.Skip(1).Select(task => task.Partition));
            world.Lose($"x{i}", running: [.. running.Select(task => task.Attempt)]);
        }

        var ends = world.All.OfType<TasksSettled>().SelectMany(settled => settled.Tasks).Where(task => task.End is TaskExecutorLost { CausedByTask: true });
        Assert.Equal([0, 0, 0], ends.Select(task => task.Partition));
        Assert.NotEmpty(bystanders);
        world.AssertRuns(job);
    }

    [Fact]
    public void Executor_that_ran_nothing_makes_nobody_suspect()
    {
        var world = new World();
        world.Join("a", slots: 2);
        world.Submit(Given.Count(10));

        world.Lose("a", ContainerExitCause.Failed, running: []);

        Assert.DoesNotContain(world.All.OfType<TasksSettled>().SelectMany(settled => settled.Tasks), task => task.End.CountsAsFailure);
    }
}
