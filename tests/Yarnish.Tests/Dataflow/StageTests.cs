using Xunit;

namespace Yarnish.Tests.Dataflow;

/// <summary>Stages, after the cases of Spark's DAGSchedulerSuite.</summary>
public sealed class StageTests
{
    [Fact]
    public void A_job_of_no_partitions_succeeds_at_once()
    {
        var world = new World();

        var job = world.Submit(Given.Count(0));

        world.AssertSucceeded(job);
        Assert.Empty(world.StagesStarted);
        world.AssertEmpty();
    }

    [Fact]
    public void A_trivial_job_gives_one_result_per_partition()
    {
        var world = new World(null, "a");

        var job = world.Submit(Given.Count(2));
        world.SucceedAll(0);

        world.AssertSucceeded(job);
        Assert.Equal([0, 1], world.Results[job].Keys);
        world.AssertEmpty();
    }

    [Fact]
    public void A_trivial_shuffle_runs_its_parent_first()
    {
        var world = new World(null, "a");

        var job = world.Submit(Given.Job().Map(0, partitions: 2).Result(1, reads: 0));
        Assert.Equal([0], world.StagesStarted);
        world.SucceedAll(0);
        Assert.Equal([0, 1], world.StagesStarted);
        world.SucceedAll(1);

        world.AssertSucceeded(job);
        world.AssertEmpty();
    }
}
