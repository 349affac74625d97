using System.Diagnostics;
using Xunit;
using Yarnish.Integration.Tests.Fixtures;

namespace Yarnish.Integration.Tests.Chaos;

/// <summary>Executors and nodes that die at every stage of a job: the answer is right, the fault happened exactly as often as allowed, and only what was lost ran again.</summary>
[Trait("Category", "Processes")]
public sealed class ExecutorChaosTests(ExecutorChaosTests.Cluster shared) : IClassFixture<ExecutorChaosTests.Cluster>
{
    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public async Task Executors_that_die_in_the_middle_of_map_tasks_cost_those_tasks_alone(int times)
    {
        using var field = new Field();
        field.Allow("map", times);
        await using var session = await SmallJob.OpenAsync(shared.Value);

        await SmallJob.AssertRightAsync(SmallJob.RunAsync(session, field, map: static (path, _) => Field.DieOf(path, "map")), shared.Value);

        Assert.Equal(times, field.Took("map").Length);
        Assert.Equal(times, session.Progress.ExecutorsLost);
        AssertOnlyLostWorkRanAgain(field, lost: times);
        await Leftovers.AssertNoneInDriverAsync(session);
    }

    [Fact]
    public async Task Executor_that_dies_after_its_shuffle_write_before_the_reducers_read_costs_no_map_task()
    {
        using var field = new Field();
        field.Allow("reduce", 1);
        await using var session = await SmallJob.OpenAsync(shared.Value);

        await SmallJob.AssertRightAsync(SmallJob.RunAsync(session, field, reduce: static (path, _) => Field.DieOf(path, "reduce")), shared.Value);

        Assert.Single(field.Took("reduce"));
        Assert.Equal(SmallJob.Maps, field.Runs.Count(static run => run.Work.StartsWith("map-", StringComparison.Ordinal)));
        AssertOnlyLostWorkRanAgain(field, lost: 1);
        await Leftovers.AssertNoneInDriverAsync(session);
    }

    [Fact]
    public async Task All_executors_that_die_at_once_cost_what_they_ran()
    {
        using var field = new Field();
        await using var session = await SmallJob.OpenAsync(shared.Value);
        var job = SmallJob.RunAsync(session, field, map: static (path, _) => Field.Wait(path));
        await shared.Value.UntilAsync("tasks wait on two executors", () => Task.FromResult(job.IsCompleted || field.Waiting.Length == 2));

        var killed = field.Waiting;
        foreach (var id in killed)
        {
            using var executor = Process.GetProcessById(id);
            executor.Kill();
        }
        field.Open();

        await SmallJob.AssertRightAsync(job, shared.Value);
        Assert.Equal(2, session.Progress.ExecutorsLost);
        AssertOnlyLostWorkRanAgain(field, lost: 2, killed);
        await Leftovers.AssertNoneInDriverAsync(session);
    }

    [Fact]
    public async Task Executor_that_a_task_kills_each_time_fails_the_job_after_four_and_the_next_job_runs()
    {
        using var field = new Field();
        field.Allow("poison", 100);
        await using var session = await SmallJob.OpenAsync(shared.Value);

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => SmallJob.RunAsync(session, field, map: static (path, partition) =>
        {
            if (partition == 3)
            {
                Field.DieOf(path, "poison");
            }
        }).WaitAsync(TimeSpan.FromMinutes(2)));

        Assert.Contains("4 times", error.Message, StringComparison.Ordinal);
        Assert.Equal(4, field.Took("poison").Length);
        Assert.Equal(4, field.Runs.Count(static run => run.Work == "map-3"));
        using var clean = new Field();
        var lost = session.Progress.ExecutorsLost;
        await SmallJob.AssertRightAsync(SmallJob.RunAsync(session, clean), shared.Value);
        Assert.True(SmallJob.Maps + SmallJob.Reduces == clean.Runs.Length, $"{session.Progress.ExecutorsLost - lost} more executors lost; {Describe(clean.Runs)}");
        await Leftovers.AssertNoneInDriverAsync(session);
    }

    /// <summary>A piece of work has more than one run only when a process that was killed had started it, and all extra runs together are what the killed ones can have held: one slot each.</summary>
    internal static void AssertOnlyLostWorkRanAgain(Field field, int lost, params int[] killed)
    {
        int[] dead = [.. killed, .. field.Took("map"), .. field.Took("reduce")];
        var runs = field.Runs;
        Assert.Equal(SmallJob.Maps + SmallJob.Reduces, runs.Select(static run => run.Work).Distinct().Count());
        Assert.True(runs.Length <= SmallJob.Maps + SmallJob.Reduces + lost, Describe(runs));
        Assert.All(runs.GroupBy(static run => run.Work), work => Assert.True(work.Count() - work.Count(run => dead.Contains(run.Process)) <= 1, $"{work.Key} ran again though nobody who ran it died: {Describe(runs)}"));
    }

    private static string Describe((string Work, int Process)[] runs) => string.Join(", ", runs.Order().Select(static run => $"{run.Work} in {run.Process}"));

    /// <summary>One cluster of two agents for all tests of the class; what they leave is asked at its end.</summary>
    public sealed class Cluster : IAsyncLifetime
    {
        internal TestCluster Value { get; private set; } = null!;

        public async ValueTask InitializeAsync() => Value = await TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes: 2);

        public ValueTask DisposeAsync() => Value.DisposeAsync();
    }
}
