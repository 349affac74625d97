using Xunit;
using Yarnish.Dataflow;
using Yarnish.Protocol;

namespace Yarnish.Tests.Dataflow;

/// <summary>Stages and the input they lose, after the cases of Spark's DAGSchedulerSuite.</summary>
public sealed class StageTests
{
    private const string Dag = "DAGSchedulerSuite";

    private static JobDefinition Shuffled(int maps = 2, int reducers = 2) => Given.Job().Map(0, maps).Result(reducers, reads: 0);

    // ── Cutting and submitting.

    [Fact, SparkCase(Dag, "zero split job")]
    public void A_job_of_no_partitions_succeeds_at_once()
    {
        var world = new World();

        var job = world.Submit(Given.Count(0));

        world.AssertSucceeded(job);
        Assert.Empty(world.StagesStarted);
        world.AssertEmpty();
    }

    [Fact, SparkCase(Dag, "run trivial job")]
    public void A_trivial_job_gives_one_result_per_partition()
    {
        var world = new World(null, "a");

        var job = world.Submit(Given.Count(2));
        world.SucceedAll(0);

        world.AssertSucceeded(job);
        Assert.Equal([0, 1], world.Results[job].Keys);
        world.AssertEmpty();
    }

    [Fact, SparkCase(Dag, "run trivial shuffle")]
    public void A_trivial_shuffle_runs_its_parent_first()
    {
        var world = new World(null, "a");

        var job = world.Submit(Shuffled());
        Assert.Equal([0], world.StagesStarted);
        world.SucceedAll(0);
        Assert.Equal([0, 1], world.StagesStarted);
        world.SucceedAll(1);

        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact]
    public void Only_wanted_partitions_of_the_result_are_computed()
    {
        var world = new World(null, "a");

        var job = world.Submit(Given.Job().Map(0, 1).Wanting(3, 1).Result(5, reads: 0));
        world.SucceedAll(0);
        Assert.Equal([1, 3], world.Running(1));
        world.SucceedAll(1);

        world.AssertSucceeded(job);
        Assert.Equal([1, 3], world.Results[job].Keys);
    }

    [Fact, SparkCase(Dag, "[SPARK-3353] parent stage should have lower stage id")]
    public void Parents_have_lower_numbers_than_their_children()
    {
        var world = new World(null, "a");

        world.Submit(Given.Job().Map(0, 1).Map(1, 1, reads: 0).Map(2, 1, reads: 1).Result(1, reads: 2));
        world.FinishAll();

        Assert.Equal([0, 1, 2, 3], world.StagesStarted);
    }

    [Fact, SparkCase(Dag, "SPARK-13902: Ensure no duplicate stages are created")]
    public void A_shuffle_read_by_two_stages_is_computed_once()
    {
        var world = new World(null, "a");

        var job = world.Submit(Given.Job().Map(0, 2).Map(1, 2, reads: 0).Map(2, 2, reads: 0).Result(1, [1, 2]));
        world.FinishAll();

        world.AssertSucceeded(job);
        Assert.Equal([0, 1, 2, 3], world.StagesStarted.Order());
        world.AssertEmpty();
    }

    [Fact]
    public void Siblings_run_at_the_same_time()
    {
        var world = new World(null, "a");

        world.Submit(Given.Job().Map(0, 1).Map(1, 1).Result(1, [0, 1]));

        Assert.Equal([0], world.Running(0));
        Assert.Equal([0], world.Running(1));
    }

    [Fact, SparkCase(Dag, "don't submit stage until its dependencies map outputs are registered (SPARK-5259)")]
    public void A_stage_waits_for_every_output_of_its_parents()
    {
        var world = new World(null, "a");

        world.Submit(Shuffled(maps: 3));
        world.Succeed(0, 0, 1);
        Assert.Equal([0], world.StagesStarted);
        world.Succeed(0, 2);

        Assert.Equal([0, 1], world.StagesStarted);
    }

    [Fact]
    public void Locations_are_published_before_the_tasks_that_read_them()
    {
        var world = new World(null, "a");

        world.Submit(Shuffled());
        world.SucceedAll(0);

        var published = world.All.FindIndex(effect => effect is PublishLocations { Epoch: 1, Outputs.Length: 2 });
        var sent = world.All.FindIndex(effect => effect is SendTasks { StageId.Value: 1 } send && send.Inputs.SequenceEqual([new ShuffleInput(new ShuffleId(0), 1)]));
        Assert.True(published >= 0 && published < sent);
    }

    [Fact]
    public void A_shuffle_that_exists_is_not_computed_again()
    {
        var world = new World(null, "a");

        world.Submit(Shuffled());
        world.FinishAll();
        var again = world.Submit(Shuffled());
        world.FinishAll();

        world.AssertSucceeded(again);
        Assert.Single(world.All.OfType<StageStarted>(), started => started.Stage.Output is not null);
        Assert.Equal(1, world.Snapshot.Jobs.Single(status => status.JobId.Value == again).StagesSkipped);
        world.AssertEmpty();
    }

    [Fact]
    public void Ancestors_of_a_shuffle_that_exists_are_not_looked_at()
    {
        var world = new World(null, "a");
        var job = () => Given.Job().Map(0, 1).Map(1, 1, reads: 0).Result(1, reads: 1);
        world.Submit(job());
        world.FinishAll();
        world.Apply(new NodeWasLost(new NodeId("other"), "unrelated"));

        var again = world.Submit(job());
        world.FinishAll();

        world.AssertSucceeded(again);
        Assert.Equal(4, world.StagesStarted.Length);
    }

    [Fact]
    public void A_map_stage_without_partitions_is_complete_at_once()
    {
        var world = new World(null, "a");

        var job = world.Submit(Given.Job().Map(0, 0).Result(1, reads: 0));
        world.FinishAll();

        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact]
    public void A_lineage_of_ten_thousand_shuffles_runs()
    {
        var world = new World(null, "a");
        var builder = Given.Job().Map(0, 0);
        for (var i = 1; i < 10_000; i++)
        {
            builder.Map(i, i % 2, reads: i - 1);
        }

        var job = world.Submit(builder.Result(1, reads: 9_999));
        world.FinishAll();

        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Theory]
    [InlineData("no stages")]
    [InlineData("unknown shuffle")]
    [InlineData("two writers")]
    [InlineData("no result")]
    [InlineData("partition out of range")]
    [InlineData("partition twice")]
    [InlineData("negative")]
    [InlineData("other size")]
    [SparkCase(Dag, "getPartitions exceptions should not crash DAGScheduler and SparkContext (SPARK-8606)")]
    public void A_definition_that_makes_no_sense_fails_the_job_and_nothing_else(string mistake)
    {
        var world = new World(null, "a");
        world.Submit(Shuffled());
        world.FinishAll();
        var job = mistake switch
        {
            "no stages" => new JobDefinition { Stages = [] },
            "unknown shuffle" => Given.Job().Result(1, reads: 7),
            "two writers" => Given.Job().Map(1, 1).Map(1, 1).Result(1, reads: 1),
            "no result" => new JobDefinition { Stages = [.. Given.Job().Map(1, 1).Result(1, reads: 1).Stages.Take(1)] },
            "partition out of range" => Given.Job().Wanting(2).Result(2),
            "partition twice" => Given.Job().Wanting(1, 1).Result(2),
            "negative" => Given.Job().Result(-1),
            _ => Given.Job().Map(0, 99).Result(1, reads: 0),
        };

        var bad = world.Submit(job);
        Assert.Equal(JobFailureReason.InvalidJob, world.FailureOf(bad).Reason);

        var good = world.Submit(Given.Count(1));
        world.FinishAll();
        world.AssertSucceeded(good);
        world.AssertEmpty();
    }

    // ── Failing and cancelling.

    [Fact, SparkCase(Dag, "trivial job failure")]
    public void A_task_that_keeps_failing_fails_the_job()
    {
        var world = new World(null, "a");

        var job = world.Submit(Given.Count(1));
        for (var i = 0; i < 4; i++)
        {
            world.Fail(0, 0, $"boom {i}");
        }

        var failure = world.FailureOf(job);
        Assert.Equal((JobFailureReason.TaskFailed, 0, 4), (failure.Reason, failure.Partition, failure.Attempts));
        Assert.Equal("boom 3", Assert.IsType<TaskFailed>(failure.LastEnd).Error.Message);
        Assert.Equal("a", failure.ExecutorId?.Value);
        world.AssertEmpty();
    }

    [Fact, SparkCase(Dag, "trivial job cancellation")]
    public void A_cancelled_job_ends_and_its_tasks_are_stopped()
    {
        var world = new World(null, "a");

        var job = world.Submit(Given.Count(2));
        world.Cancel(job);

        Assert.Equal("no longer needed", world.Ended[job]);
        Assert.Equal(2, world.Stopped.Count);
        world.AssertEmpty();
    }

    [Fact, SparkCase(Dag, "job cancellation no-kill backend")]
    public void A_result_that_comes_after_the_cancellation_is_dropped()
    {
        var world = new World(null, "a");

        var job = world.Submit(Given.Count(1));
        var task = world.Find(0, 0);
        world.Cancel(job);
        world.Report(task, TaskSucceeded.Instance);

        Assert.Empty(world.Results[job]);
        Assert.Equal(1, world.Snapshot.Totals.ReportsDropped);
        world.AssertEmpty();
    }

    [Fact]
    public void Cancelling_twice_or_too_late_does_nothing()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Count(1));
        world.FinishAll();

        world.Cancel(job).Cancel(99);

        world.AssertSucceeded(job);
        Assert.Empty(world.Last);
    }

    [Fact, SparkCase(Dag, "misbehaved resultHandler should not crash DAGScheduler and SparkContext")]
    public void A_result_handler_that_throws_fails_its_job_only()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Count(2));
        var other = world.Submit(Given.Count(1));
        world.Succeed(0, 0);

        world.Apply(new ResultHandlerFailed(new JobId(job), 0, new RemoteError("System.FormatException", "bad", "")));

        Assert.Equal(JobFailureReason.ResultHandlerFailed, world.FailureOf(job).Reason);
        Assert.Equal("System.FormatException", world.FailureOf(job).Error?.Type);
        world.FinishAll();
        world.AssertSucceeded(other);
        world.AssertEmpty();
    }

    [Fact]
    public void A_map_stage_that_fails_fails_the_job_before_its_children_start()
    {
        var world = new World(null, "a");

        var job = world.Submit(Shuffled());
        for (var i = 0; i < 4; i++)
        {
            world.Fail(0, 1);
        }

        Assert.Equal(JobFailureReason.TaskFailed, world.FailureOf(job).Reason);
        Assert.Equal("map 0", world.FailureOf(job).StageName);
        Assert.Equal([0], world.StagesStarted);
        world.AssertEmpty();
    }

    // ── Lost input.

    [Fact, SparkCase(Dag, "run trivial shuffle with fetch failure")]
    public void A_lost_map_output_is_computed_again_and_only_it()
    {
        var world = new World(null, "a");
        var job = world.Submit(Shuffled());
        world.SucceedAll(0);

        world.Succeed(1, 0).FetchFail(1, 1, shuffle: 0, map: 1);
        Assert.Equal([0, 1], world.StagesStarted);
        world.Advance(0.2);

        Assert.Equal([0, 1, 0], world.StagesStarted);
        Assert.Equal([1], world.Running(0));
        world.SucceedAll(0);
        Assert.Equal([1], world.Running(1));
        world.SucceedAll(1);
        world.AssertSucceeded(job);
        Assert.Equal([1, 2], world.All.OfType<PublishLocations>().Select(published => published.Epoch));
        world.AssertEmpty();
    }

    [Fact, SparkCase(Dag, "Single stage fetch failure should not abort the stage.")]
    public void One_lost_input_does_not_fail_the_job()
    {
        var world = new World(null, "a");
        var job = world.Submit(Shuffled());
        world.SucceedAll(0);

        world.FetchFail(1, 0, 0, 0).Advance(1).FinishAll();

        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact, SparkCase(Dag, "Multiple consecutive stage fetch failures should lead to job being aborted.")]
    public void Input_lost_four_times_in_a_row_fails_the_job()
    {
        var world = new World(null, "a");
        var job = world.Submit(Shuffled());

        for (var attempt = 0; attempt < 4; attempt++)
        {
            world.AssertRuns(job);
            world.SucceedAll(0).FetchFail(1, 0, 0, 0).Advance(1);
        }

        var failure = world.FailureOf(job);
        Assert.Equal((JobFailureReason.StageFailed, 4), (failure.Reason, failure.Attempts));
        Assert.IsType<FetchFailed>(failure.LastEnd);
        world.AssertEmpty();
    }

    [Fact, SparkCase(Dag, "Failures in different stages should not trigger an overall abort")]
    public void Input_lost_in_different_stages_is_counted_for_each()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Job().Map(0, 1).Map(1, 1, reads: 0).Result(1, reads: 1));

        for (var attempt = 0; attempt < 3; attempt++)
        {
            world.SucceedAll(0).FetchFail(1, 0, 0, 0).Advance(1);
        }
        world.SucceedAll(0).SucceedAll(1);
        for (var attempt = 0; attempt < 3; attempt++)
        {
            world.FetchFail(2, 0, 1, 0).Advance(1).SucceedAll(1);
        }
        world.FinishAll();

        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact, SparkCase(Dag, "Non-consecutive stage failures don't trigger abort")]
    public void A_success_in_between_starts_the_count_again()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Job().Map(0, 1).Map(1, 1, reads: 0).Result(1, reads: 1));

        for (var round = 0; round < 3; round++)
        {
            for (var attempt = 0; attempt < 3; attempt++)
            {
                world.SucceedAll(0).FetchFail(1, 0, 0, 0).Advance(1);
            }
            world.SucceedAll(0).SucceedAll(1);
            if (round < 2)
            {
                world.FetchFail(2, 0, 1, 0);
                world.LoseNode("n1").Join($"again{round}").Advance(1);
            }
        }
        world.FinishAll();

        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact, SparkCase(Dag, "Multiple tasks w/ fetch failures in same stage attempt should not abort the stage.")]
    public void Many_lost_inputs_in_one_attempt_count_once()
    {
        var world = new World(null, "a", "b", "c");
        var job = world.Submit(Shuffled(maps: 8, reducers: 8));
        world.SucceedAll(0);

        var missing = Enumerable.Range(0, 8).Select(map => world.Missing(0, map)).ToArray();
        for (var partition = 0; partition < 6; partition++)
        {
            world.Report(world.Find(1, partition), missing[partition]);
        }
        world.Advance(1);

        Assert.Equal(2, world.AttemptsOf(0));
        world.SucceedAll(0).FinishAll();
        world.AssertSucceeded(job);
        Assert.Equal(2, world.AttemptsOf(1));
        world.AssertEmpty();
    }

    [Fact, SparkCase(Dag, "late fetch failures don't cause multiple concurrent attempts for the same map stage")]
    public void A_late_fetch_failure_causes_no_second_attempt_at_the_same_time()
    {
        var world = new World(null, "a");
        var job = world.Submit(Shuffled());
        world.SucceedAll(0);
        var missing = world.Missing(0, 0);
        var late = world.Find(1, 1);

        world.FetchFail(1, 0, 0, 0).Advance(0.3);
        Assert.Equal(2, world.AttemptsOf(0));
        world.Report(late, missing).Advance(1);

        Assert.Equal(2, world.AttemptsOf(0));
        world.FinishAll();
        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact, SparkCase(Dag, "extremely late fetch failures don't cause multiple concurrent attempts for the same stage")]
    public void An_extremely_late_fetch_failure_leaves_the_next_attempt_alone()
    {
        var world = new World(null, "a");
        var job = world.Submit(Shuffled());
        world.SucceedAll(0);
        var missing = world.Missing(0, 0);
        var late = world.Find(1, 1);
        world.FetchFail(1, 0, 0, 0).Advance(0.3).SucceedAll(0);
        Assert.Equal(2, world.AttemptsOf(1));

        world.Report(late, missing).Advance(1);

        Assert.Equal((2, 2), (world.AttemptsOf(0), world.AttemptsOf(1)));
        world.FinishAll();
        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact, SparkCase(Dag, "ignore late map task completions")]
    public void Map_output_of_a_lost_node_is_not_believed_when_it_is_reported_late()
    {
        var world = new World();
        world.Join("a", node: "n1").Join("b", node: "n2");
        var job = world.Submit(Shuffled());
        var lost = world.InFlight.Single(task => task.Executor == "a");

        world.LoseNode("n1");
        world.Apply(new TasksEnded(lost.To, [world.ReportOf(lost, TaskSucceeded.Instance)]));
        world.FinishAll();

        world.AssertSucceeded(job);
        Assert.All(world.All.OfType<PublishLocations>().Last().Outputs, output => Assert.Equal("n2", output.NodeId.Value));
        world.AssertEmpty();
    }

    [Fact, SparkCase(Dag, "[SPARK-19263] DAGScheduler should not submit multiple active tasksets, even with late completions from earlier stage attempts")]
    public void A_late_success_of_an_old_attempt_counts()
    {
        var world = new World(null, "a");
        var job = world.Submit(Shuffled());
        world.SucceedAll(0);
        var slow = world.Find(1, 1);
        world.FetchFail(1, 0, 0, 0).Advance(0.3).SucceedAll(0);
        Assert.Equal([0, 1], world.Running(1));

        world.Report(slow, TaskSucceeded.Instance);

        Assert.Contains(1, world.Results[job].Keys);
        Assert.Equal([0], world.Running(1));
        world.FinishAll();
        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact, SparkCase("TaskSchedulerImplSuite", "SPARK-23433/25250: completions in zombie tasksets update status of non-zombie taskset")]
    public void A_stage_that_waits_for_its_input_is_done_when_its_old_tasks_finish_it()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Job().Map(0, 1).Map(1, 2, reads: 0).Result(1, reads: 1));
        world.SucceedAll(0);
        var (first, second) = (world.Find(1, 0), world.Find(1, 1));
        world.Report(first, world.Missing(0, 0)).Advance(0.3);
        world.SucceedAll(0);
        var (newer, _) = (world.Find(1, 0), 0);
        world.Report(world.InFlight.Single(task => task.Stage == 1 && task.Partition == 0 && task.StageAttempt == 1), world.Missing(0, 0));

        world.Report(second, TaskSucceeded.Instance);
        world.Advance(1).FinishAll();

        Assert.NotNull(newer);
        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact, SparkCase(Dag, "shuffle fetch failed on speculative task, but original task succeed (SPARK-30388)")]
    public void A_fetch_failure_of_a_copy_whose_original_succeeds_does_no_harm()
    {
        var world = new World(new JobMachineOptions { Speculation = true, SpeculationQuantilePercent = 50 }, "a", "b");
        var job = world.Submit(Shuffled(maps: 2, reducers: 2));
        world.SucceedAll(0);
        var original = world.Find(1, 1);
        world.Succeed(1, 0).Advance(1);
        var copy = world.InFlight.Single(task => task.Stage == 1 && task.Attempt != original.Attempt);

        world.Report(copy, world.Missing(0, 0)).Report(original, TaskSucceeded.Instance).Advance(1);

        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact]
    public void A_fetch_failure_of_a_shuffle_the_stage_does_not_read_counts_as_a_failure()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Count(1));

        for (var i = 0; i < 4; i++)
        {
            world.Report(world.Find(0, 0), new FetchFailed(new ShuffleId(9), 0, new TaskAttemptId(1), new NodeId("n1"), "?"));
        }

        Assert.Equal(JobFailureReason.TaskFailed, world.FailureOf(job).Reason);
        world.AssertEmpty();
    }

    [Fact, SparkCase(Dag, "recursive shuffle failures")]
    public void A_lost_grandparent_is_computed_again_before_the_parent()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Job().Map(0, 2).Map(1, 2, reads: 0).Result(1, reads: 1));
        world.SucceedAll(0).SucceedAll(1);

        world.FetchFail(2, 0, 1, 0).Advance(0.3);
        Assert.Equal([0], world.Running(1));
        world.FetchFail(1, 0, 0, 0).Advance(0.3);
        Assert.Equal([0], world.Running(0));
        world.FinishAll();

        world.AssertSucceeded(job);
        Assert.Equal([0, 1, 2, 1, 0, 1, 2], world.StagesStarted);
        world.AssertEmpty();
    }

    [Fact, SparkCase(Dag, "SPARK-40082: recomputation of shuffle map stage with no pending partitions should not hang")]
    public void A_node_that_takes_parent_and_grandparent_with_it_makes_both_run_again()
    {
        var world = new World();
        world.Join("a", node: "n1");
        var job = world.Submit(Given.Job().Map(0, 2).Map(1, 2, reads: 0).Result(2, reads: 1));
        world.SucceedAll(0).SucceedAll(1).Succeed(2, 0);

        world.LoseNode("n1").Join("b", node: "n2").Advance(0.5).FinishAll();

        world.AssertSucceeded(job);
        Assert.Equal([0, 1, 2, 0, 1, 2], world.StagesStarted);
        world.AssertEmpty();
    }

    [Fact, SparkCase(Dag, "shuffle files lost when worker lost with shuffle service")]
    public void A_lost_node_loses_only_its_own_output()
    {
        var world = new World();
        world.Join("a", node: "n1").Join("b", node: "n2");
        var job = world.Submit(Shuffled(maps: 4, reducers: 4));
        var onLost = world.InFlight.Where(task => task.Stage == 0 && task.Executor == "a").Select(task => task.Partition).Order().ToArray();
        world.SucceedAll(0);

        world.LoseNode("n1").Advance(0.5);

        Assert.Equal(onLost, world.Running(0));
        world.FinishAll();
        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact, SparkCase(Dag, "shuffle files not lost when executor lost with shuffle service")]
    public void A_lost_executor_loses_no_map_output()
    {
        var world = new World(null, "a", "b");
        var job = world.Submit(Shuffled());
        world.SucceedAll(0);

        world.Lose("a").FinishAll();

        world.AssertSucceeded(job);
        Assert.Equal(1, world.AttemptsOf(0));
        world.AssertEmpty();
    }

    [Fact, SparkCase(Dag, "ExecutorLost then Resubmitted")]
    public void Output_lost_while_its_stage_still_runs_runs_again_in_the_same_attempt()
    {
        var world = new World();
        world.Join("a", node: "n1", slots: 1).Join("b", node: "n2", slots: 1);
        var job = world.Submit(Shuffled(maps: 3, reducers: 1));
        world.Report(world.On("a")[0], TaskSucceeded.Instance);

        world.LoseNode("n1").FinishAll();

        world.AssertSucceeded(job);
        Assert.Equal(1, world.AttemptsOf(0));
        Assert.All(world.All.OfType<PublishLocations>().Single().Outputs, output => Assert.Equal("n2", output.NodeId.Value));
        world.AssertEmpty();
    }

    [Fact]
    public void Failures_within_a_fifth_of_a_second_become_one_resubmission()
    {
        var world = new World(null, "a");
        world.Submit(Shuffled(maps: 2, reducers: 2));
        world.SucceedAll(0);
        var missing = world.Missing(0, 1);

        world.FetchFail(1, 0, 0, 0).Advance(0.1);
        world.Report(world.Find(1, 1), missing).Advance(0.05);
        Assert.Equal(1, world.AttemptsOf(0));
        world.Advance(0.05);

        Assert.Equal(2, world.AttemptsOf(0));
        Assert.Equal([0, 1], world.Running(0));
    }

    [Fact]
    public void A_node_that_serves_nothing_loses_all_its_outputs_before_the_attempts_run_out()
    {
        var world = new World();
        world.Join("a", node: "n1", slots: 16).Join("b", node: "n2", slots: 1);
        var job = world.Submit(Shuffled(maps: 16, reducers: 1));
        world.SucceedAll(0);
        var bad = world.All.OfType<PublishLocations>().Last().Outputs.Where(output => output.NodeId.Value == "n1").Select(output => output.MapPartition).ToArray();
        Assert.True(bad.Length > 6);

        // Each attempt meets just one unreachable output; the agent of n1 is dead but its node is not known to be.
        for (var attempt = 0; attempt < 2; attempt++)
        {
            world.FetchFail(1, 0, 0, bad[attempt]);
            world.Lose("a", ContainerExitCause.Preempted).Advance(0.3).SucceedAll(0);
        }
        world.FinishAll();

        world.AssertSucceeded(job);
        Assert.DoesNotContain(world.All.OfType<PublishLocations>().Last().Outputs, output => output.NodeId.Value == "n1");
        world.AssertEmpty();
    }

    [Fact]
    public void A_task_that_looked_for_an_output_that_was_replaced_just_runs_again()
    {
        var world = new World(null, "a");
        var job = world.Submit(Shuffled());
        world.SucceedAll(0);
        var stale = world.Missing(0, 0) with { MapAttempt = new TaskAttemptId(999) };

        world.Report(world.Find(1, 0), stale);

        Assert.Equal([0, 1], world.Running(1));
        Assert.Equal(1, world.AttemptsOf(0));
        world.FinishAll();
        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact]
    public void Locations_that_a_reducer_misses_are_published_again()
    {
        var world = new World(null, "a");
        world.Submit(Shuffled());
        world.SucceedAll(0);

        world.Apply(new LocationsMissing(world.Address("a"), new ShuffleId(0), 1));
        Assert.Equal(world.Address("a"), Assert.IsType<PublishLocations>(Assert.Single(world.Last)).AnswerTo);
        world.Apply(new LocationsMissing(world.Address("a"), new ShuffleId(42), 1));
        Assert.Empty(world.Last);
    }

    // ── Jobs that share stages.

    [Fact, SparkCase(Dag, "map stage submission with reduce stage also depending on the data")]
    public void Two_jobs_share_the_map_stage_they_have_in_common()
    {
        var world = new World(null, "a");

        var one = world.Submit(Shuffled());
        var two = world.Submit(Shuffled());
        Assert.Equal([0, 1], world.Running(0));
        world.FinishAll();

        world.AssertSucceeded(one);
        world.AssertSucceeded(two);
        Assert.Equal(1, world.AttemptsOf(0));
        world.AssertEmpty();
    }

    [Fact, SparkCase(Dag, "stage used by two jobs, the first no longer active (SPARK-6880)")]
    public void A_shared_stage_goes_on_for_the_second_job_when_the_first_is_cancelled()
    {
        var world = new World(null, "a");
        var one = world.Submit(Shuffled());
        var two = world.Submit(Shuffled());

        world.Cancel(one);
        Assert.Empty(world.Stopped);
        world.FinishAll();

        world.AssertSucceeded(two);
        Assert.Equal(1, world.AttemptsOf(0));
        world.AssertEmpty();
    }

    [Fact, SparkCase(Dag, "stage used by two jobs, some fetch failures, and the first job no longer active (SPARK-6880)")]
    public void A_shared_stage_with_lost_output_is_computed_again_for_the_second_job()
    {
        var world = new World(null, "a");
        var one = world.Submit(Shuffled());
        var two = world.Submit(Shuffled());
        world.SucceedAll(0);
        world.FetchFail(1, 0, 0, 0);

        world.Cancel(one).Advance(1).FinishAll();

        world.AssertSucceeded(two);
        Assert.Equal(2, world.AttemptsOf(0));
        world.AssertEmpty();
    }

    [Fact]
    public void Code_of_a_shared_stage_comes_from_a_job_that_still_runs()
    {
        var world = new World(null, "a");
        var one = world.Submit(Shuffled(maps: 6));
        var second = Given.Job().Map(9, 1).Map(0, 6).Result(1, [0, 9]);
        world.Submit(second);

        world.Cancel(one);
        world.Fail(0, 0);

        Assert.Same(second.Stages[1], world.Find(0, 0).Definition);
    }

    [Fact]
    public void What_a_cancelled_job_computed_is_not_lost()
    {
        var world = new World(null, "a");
        var one = world.Submit(Shuffled(maps: 4));
        world.Succeed(0, 0, 1);
        world.Cancel(one).FinishAll();

        world.Submit(Shuffled(maps: 4));

        Assert.Equal([2, 3], world.Running(2));
    }

    [Fact, SparkCase(Dag, "fetch failure in a reused shuffle")]
    public void Output_of_an_earlier_job_that_is_lost_is_computed_again()
    {
        var world = new World(null, "a");
        world.Submit(Shuffled());
        world.FinishAll();
        var again = world.Submit(Shuffled());

        world.FetchFail(3, 0, 0, 1).Advance(0.5);
        Assert.Equal([1], world.Running(2));
        world.FinishAll();

        world.AssertSucceeded(again);
        world.AssertEmpty();
    }

    [Fact]
    public void A_failed_shared_stage_fails_both_jobs()
    {
        var world = new World(null, "a");
        var one = world.Submit(Shuffled());
        var two = world.Submit(Shuffled());

        for (var i = 0; i < 4; i++)
        {
            world.Fail(0, 0);
        }

        Assert.Equal(JobFailureReason.TaskFailed, world.FailureOf(one).Reason);
        Assert.Equal(JobFailureReason.TaskFailed, world.FailureOf(two).Reason);
        world.AssertEmpty();
    }

    [Fact]
    public void A_shuffle_is_dropped_when_its_owner_let_it_go_and_no_job_reads_it()
    {
        var world = new World(null, "a");
        var job = world.Submit(Shuffled());
        world.SucceedAll(0);

        world.Apply(new ShuffleReleased(new ShuffleId(0)));
        Assert.Empty(world.All.OfType<DropShuffle>());
        world.FinishAll();

        world.AssertSucceeded(job);
        Assert.Equal(0, Assert.Single(world.All.OfType<DropShuffle>()).ShuffleId.Value);
        world.Machine.AssertEmpty();
    }

    // ── What cannot be computed again alike.

    [Fact, SparkCase(Dag, "SPARK-25341: continuous indeterminate stage roll back")]
    public void Losing_part_of_an_unrepeatable_output_computes_all_of_it_again_and_what_came_from_it()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Job().Map(0, 2, indeterminate: true).Map(1, 2, reads: 0).Result(1, reads: 1));
        world.SucceedAll(0).Succeed(1, 0);

        world.FetchFail(1, 1, 0, 0).Advance(0.5);

        Assert.Equal([0, 1], world.Running(0));
        world.SucceedAll(0);
        Assert.Equal([0, 1], world.Running(1));
        world.FinishAll();
        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact, SparkCase(Dag, "SPARK-25341: retry all the succeeding stages when the map stage is indeterminate")]
    public void A_whole_chain_after_an_unrepeatable_stage_is_rolled_back()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Job().Map(0, 2, indeterminate: true).Map(1, 2, reads: 0).Map(2, 2, reads: 1).Result(1, reads: 2));
        world.SucceedAll(0).SucceedAll(1).Succeed(2, 0);

        // The second map stage lost a part: to compute it the first must be read, which lost a part too.
        world.FetchFail(2, 1, 1, 0).Advance(0.5);
        Assert.Equal([0], world.Running(1));
        world.FetchFail(1, 0, 0, 0).Advance(0.5);

        Assert.Equal([0, 1], world.Running(0));
        world.SucceedAll(0);
        Assert.Equal([0, 1], world.Running(1));
        world.SucceedAll(1);
        Assert.Equal([0, 1], world.Running(2));
        world.FinishAll();
        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact, SparkCase(Dag, "SPARK-23207: cannot rollback a result stage")]
    public void Results_that_were_handed_out_cannot_be_rolled_back()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Job().Map(0, 2, indeterminate: true).Result(2, reads: 0));
        world.SucceedAll(0).Succeed(1, 0);

        world.FetchFail(1, 1, 0, 0);

        Assert.Equal(JobFailureReason.NotRepeatable, world.FailureOf(job).Reason);
        Assert.Contains("Checkpoint", world.FailureOf(job).Message, StringComparison.Ordinal);
        world.AssertEmpty();
    }

    [Fact]
    public void A_result_stage_without_results_yet_is_rolled_back_and_succeeds()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Job().Map(0, 2, indeterminate: true).Result(2, reads: 0));
        world.SucceedAll(0);
        var old = world.Find(1, 1);

        world.FetchFail(1, 0, 0, 0);
        Assert.Contains(old.Attempt, world.Stopped);
        world.Report(old, TaskSucceeded.Instance);
        Assert.Empty(world.Results[job]);
        world.Advance(0.5).FinishAll();

        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact, SparkCase(Dag, "SPARK-42577: fail the job if a shuffle map stage attempts beyond the limitation")]
    public void Unrepeatable_input_lost_four_times_in_a_row_fails_the_job()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Job().Map(0, 2, indeterminate: true).Map(1, 2, reads: 0).Result(1, reads: 1));

        for (var attempt = 0; attempt < 4; attempt++)
        {
            world.AssertRuns(job);
            world.SucceedAll(0).FetchFail(1, 0, 0, 0).Advance(0.5);
        }

        Assert.Equal(JobFailureReason.StageFailed, world.FailureOf(job).Reason);
        world.AssertEmpty();
    }

    [Fact]
    public void An_unrepeatable_stage_that_nobody_has_read_yet_repeats_only_what_is_lost()
    {
        var world = new World();
        world.Join("a", node: "n1", slots: 1).Join("b", node: "n2", slots: 1);
        var job = world.Submit(Given.Job().Map(0, 3, indeterminate: true).Result(1, reads: 0));
        world.Report(world.On("a")[0], TaskSucceeded.Instance).Report(world.On("b")[0], TaskSucceeded.Instance);

        world.LoseNode("n1").FinishAll();

        world.AssertSucceeded(job);
        Assert.Equal(1, world.AttemptsOf(0));
        world.AssertEmpty();
    }

    [Fact]
    public void Old_tasks_of_a_rolled_back_stage_are_not_believed()
    {
        var world = new World(null, "a");
        world.Submit(Given.Job().Map(0, 1, indeterminate: true).Map(1, 2, reads: 0).Result(1, reads: 1));
        world.SucceedAll(0);
        var old = world.Find(1, 1);
        world.FetchFail(1, 0, 0, 0).Advance(0.5).SucceedAll(0);

        world.Report(old, TaskSucceeded.Instance);

        Assert.Equal([0, 1], world.Running(1));
    }

    [Fact]
    public void Output_left_by_an_earlier_job_is_not_completed_from_other_tries_of_its_unrepeatable_input()
    {
        var world = new World();
        world.Join("a", node: "n1");
        JobDefinition Both() => Given.Job().Map(0, 2, indeterminate: true).Map(1, 2, reads: 0).Result(1, reads: 1);
        var one = world.Submit(Both());
        world.SucceedAll(0).Succeed(1, 0);
        world.Cancel(one).FinishAll();

        // The input is lost in part, so all of it is written again, by a job that knows nothing of the second shuffle.
        world.Submit(Given.Job().Map(0, 2, indeterminate: true).Result(1, reads: 0));
        world.FinishAll();
        var last = world.Submit(Given.Job().Map(0, 2, indeterminate: true).Result(1, reads: 0));
        world.FetchFail(world.StagesStarted[^1], 0, 0, 0).Advance(0.5).FinishAll();
        world.AssertSucceeded(last);

        var again = world.Submit(Both());
        var started = world.All.OfType<StageStarted>().Last(stage => stage.Stage.Output?.Shuffle.Value == 1);

        Assert.Equal(2, started.Tasks);
        world.FinishAll();
        world.AssertSucceeded(again);
        world.AssertEmpty();
    }

    // ── Barrier stages.

    [Fact, SparkCase(Dag, "Retry all the tasks on a resubmitted attempt of a barrier stage caused by TaskKilled")]
    public void One_failed_barrier_task_repeats_the_whole_stage()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Job().Map(0, 2, barrier: true).Result(1, reads: 0));
        world.Succeed(0, 0);

        world.Fail(0, 1).FinishAll().Advance(0.5);

        Assert.Equal([0, 1], world.Running(0));
        world.FinishAll();
        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact, SparkCase(Dag, "Barrier task failures from a previous stage attempt don't trigger stage retry")]
    public void A_late_failure_of_an_old_barrier_attempt_changes_nothing()
    {
        var world = new World(null, "a", "b");
        var job = world.Submit(Given.Job().Map(0, 2, barrier: true).Result(1, reads: 0));
        var late = world.Find(0, 1);
        world.Fail(0, 0).Advance(0.5);
        Assert.Equal(2, world.AttemptsOf(0));

        world.Report(late, World.Boom()).Advance(0.5);

        Assert.Equal(2, world.AttemptsOf(0));
        world.FinishAll();
        world.AssertSucceeded(job);
        world.AssertEmpty();
    }

    [Fact, SparkCase(Dag, "Fail the job if a barrier ResultTask failed")]
    public void A_barrier_result_stage_that_handed_out_results_cannot_be_repeated()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Job().Result(2, barrier: true));
        world.Succeed(0, 0);

        world.Fail(0, 1);

        Assert.Equal(JobFailureReason.NotRepeatable, world.FailureOf(job).Reason);
        world.AssertEmpty();
    }

    [Fact]
    public void A_barrier_stage_that_keeps_failing_fails_the_job()
    {
        var world = new World(null, "a");
        var job = world.Submit(Given.Job().Map(0, 2, barrier: true).Result(1, reads: 0));

        for (var attempt = 0; attempt < 4; attempt++)
        {
            world.AssertRuns(job);
            world.Fail(0, 1).FinishAll().Advance(0.5);
        }

        Assert.Equal(JobFailureReason.StageFailed, world.FailureOf(job).Reason);
        world.AssertEmpty();
    }

    // ── Accumulators.

    [Fact, SparkCase(Dag, "accumulator not calculated for resubmitted result stage")]
    public void Each_partition_counts_once_however_often_it_runs()
    {
        var world = new World(null, "a");
        var job = world.Submit(Shuffled(maps: 2, reducers: 2));
        world.Fail(0, 0).SucceedAll(0);
        world.Succeed(1, 0).FetchFail(1, 1, 0, 0).Advance(0.5).FinishAll();
        world.AssertSucceeded(job);

        var counted = world.All.OfType<TasksSettled>().SelectMany(settled => settled.Tasks).Where(task => task.Counts).ToArray();

        Assert.Equal([(0, 0), (0, 1), (1, 0), (1, 1)], counted.Select(task => (task.StageId.Value, task.Partition)).Order());
    }

    [Fact]
    public void Settled_tasks_are_told_before_the_result_they_bring()
    {
        var world = new World(null, "a");
        world.Submit(Given.Count(1));

        world.SucceedAll(0);

        Assert.Equal(
            [typeof(TasksSettled), typeof(PartitionResult), typeof(StageEnded), typeof(JobSucceeded)],
            world.Last.Where(effect => effect is not StopTasks).Select(effect => effect.GetType()));
    }
}
