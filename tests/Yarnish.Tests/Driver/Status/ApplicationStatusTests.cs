using CsCheck;
using Xunit;
using Yarnish.Dataflow;
using Yarnish.Protocol;
using Yarnish.Status;

namespace Yarnish.Tests.Driver.Status;

public sealed class ApplicationStatusTests
{
    [Fact]
    public void Replay_of_a_log_shows_what_the_running_driver_showed_through_failures_retries_speculation_and_losses()
    {
        var (failed, lost, speculative, repeated, removed) = (0L, 0L, 0L, 0L, 0L);
        for (var seed = 1UL; seed <= 16; seed++)
        {
            var events = Given.EventsOf(seed);
            var (live, replayed) = (new ApplicationStatus(), new ApplicationStatus());
            foreach (var happened in events)
            {
                live.Apply(happened);
                foreach (var part in EventLogFormat.Cut(happened))
                {
                    replayed.Apply(EventLogFormat.Parse(Given.LineOf(part))!);
                }
            }

            Assert.Equal(Given.Everything(live), Given.Everything(replayed));
            var detail = live.ToDetail();
            failed += detail.Tasks["failed"];
            lost += detail.Tasks["lost"];
            repeated += detail.Stages["repeated"];
            removed += detail.Executors["lost"];
            speculative += live.Stages().Sum(stage => stage.Speculative);
            // Every job has ended: nothing may be left that looks alive.
            Assert.Equal((0, 0, 0), (detail.Jobs["running"], detail.Stages["running"], detail.Tasks["running"]));
            Assert.All(live.Executors(), executor => Assert.Equal(0, executor.Running));
        }
        // The seeds must keep meeting each of them.
        Assert.All([failed, lost, speculative, repeated, removed], count => Assert.NotEqual(0, count));
    }

    [Fact]
    public void Counts_of_a_simulated_run_agree_with_the_job_machine()
    {
        var events = Given.EventsOf(11);
        var status = Given.Status(events);

        var ended = events.OfType<StatusEvent.TasksEnded>().SelectMany(happened => happened.Tasks).ToList();
        var detail = status.ToDetail();
        Assert.Equal(ended.LongCount(task => task.Kind == TaskEndKind.Succeeded), detail.Tasks["succeeded"]);
        Assert.Equal(ended.Count, detail.Tasks.Values.Sum());
        Assert.Equal(events.OfType<StatusEvent.JobEnded>().Count(job => job.Outcome == JobState.Succeeded), detail.Jobs["succeeded"]);
        Assert.All(status.Stages().Where(stage => stage.State == "succeeded"), stage => Assert.Equal(stage.Tasks, stage.Done));
    }

    [Fact]
    public void Events_in_any_order_and_number_never_break_the_status() => Gen.Int[0, Given.OneOfEach.Length - 1].List[0, 60].Sample(
        order =>
        {
            var status = Given.Status(order.Select(i => Given.OneOfEach[i]));
            return Given.Everything(status).Length > 0;
        },
        iter: 300);

    [Fact]
    public void Events_of_a_run_shuffled_and_repeated_never_break_the_status()
    {
        var events = Given.EventsOf(3, jobs: 2);
        Gen.Shuffle(events.Concat(events).ToArray()).Sample(shuffled => Given.Everything(Given.Status(shuffled)).Length > 0, iter: 8);
    }

    [Fact]
    public void Percentiles_are_those_of_the_tasks_zeros_included()
    {
        var tasks = Enumerable.Range(1, 100).Select(i => Given.Task(i, partition: i - 1, metrics: new TaskMetrics { RunMicroseconds = i * 1000, SpillBytes = i > 90 ? 1 << 20 : 0 }));
        var status = Given.Status(Given.Stage(0, 100), new StatusEvent.TasksEnded(Given.Start, [.. tasks]));

        var summary = status.Stage(0, 0)!.ToSummary();
        var run = summary.Metrics.Single(metric => metric.Name == "runMicroseconds");
        Assert.Equal((1000, 100_000, 5_050_000), (run.Minimum, run.Maximum, run.Sum));
        Assert.InRange(run.Median, 50_000, 57_000);
        Assert.InRange(run.LowerQuartile, 25_000, 29_000);
        var spill = summary.Metrics.Single(metric => metric.Name == "spillBytes");
        Assert.Equal((0, 0, 1 << 20, 10L << 20), (spill.Minimum, spill.Median, spill.Maximum, spill.Sum));
        Assert.DoesNotContain(summary.Metrics, metric => metric.Name == "inputBytes");
        // The end of the stage changes nothing about them.
        var before = summary.Metrics;
        status.Apply(new StatusEvent.StageEnded(Given.Start, default, 0, StageOutcome.Succeeded, ""));
        Assert.Equal(before, status.Stage(0, 0)!.ToSummary().Metrics);
        Assert.Equal(5_050_000, status.Stages().Single().Totals.RunMicroseconds);
    }

    [Fact]
    public void Task_list_keeps_what_runs_what_failed_and_the_slowest()
    {
        var status = Given.Status(
            Given.Stage(0, 10_000),
            new StatusEvent.TasksSent(Given.Start, default, 0, ExecutorId.Create("x-1"), [new TaskToSend(new TaskAttemptId(77_777), 9, 2, Speculative: true)]),
            new StatusEvent.TasksEnded(Given.Start, [.. Enumerable.Range(0, 10_000).Select(i => Given.Task(
                i, partition: i, end: i == 500 ? TaskEndKind.Failed : TaskEndKind.Succeeded, error: i == 500 ? "boom" : "", metrics: new TaskMetrics { RunMicroseconds = i == 42 ? 1_000_000 : 10 }))]));

        var list = status.Stage(0, 0)!.ToList(null, 0, 1000);

        Assert.Equal(10_001, list.Total);
        Assert.InRange(list.Kept, 100, 301);
        Assert.Equal("boom", list.Tasks.Single(task => task.AttemptId.Value == 500).Error);
        Assert.Equal(1_000_000, list.Tasks.Single(task => task.AttemptId.Value == 42).Metrics.RunMicroseconds);
        var running = list.Tasks.Single(task => task.State == "running");
        Assert.Equal((77_777, 9, 2, true), (running.AttemptId.Value, running.Partition, running.Attempt, running.Speculative));
        Assert.Equal(["failed"], status.Stage(0, 0)!.ToList("failed", 0, 1000).Tasks.Select(task => task.State).Distinct());
        Assert.Equal(list.Tasks.Skip(10).Take(5), status.Stage(0, 0)!.ToList(null, 10, 5).Tasks);
    }

    [Fact]
    public void Job_shows_which_of_its_stages_were_not_needed()
    {
        var status = Given.Status(
            new StatusEvent.JobStarted(Given.Start, new JobId(0), "CountAsync", "", [new PlannedStage(new StageId(0), "map", 5, [], 3), new PlannedStage(new StageId(1), "reduce", 2, [3], null)]),
            Given.Stage(1, 2),
            new StatusEvent.TasksEnded(Given.Start, [Given.Task(1, 1, 0), Given.Task(2, 1, 1)]));
        Assert.Equal(["waiting", "running"], status.Job(0)!.Stages.Select(stage => stage.State));

        status.Apply(new StatusEvent.StageEnded(Given.Start, new StageId(1), 0, StageOutcome.Succeeded, ""));
        status.Apply(new StatusEvent.JobEnded(Given.Start, new JobId(0), JobState.Succeeded, ""));

        Assert.Equal(["skipped", "succeeded"], status.Job(0)!.Stages.Select(stage => stage.State));
        Assert.Equal((2, 2), (status.Job(0)!.Tasks, status.Job(0)!.TasksDone));
    }

    [Fact]
    public void Cached_partitions_follow_their_executors()
    {
        var x1 = ExecutorId.Create("x-1");
        var status = Given.Status(
            new StatusEvent.ExecutorAdded(Given.Start, x1, NodeId.Create("n-1"), "h", 1, 2, ""),
            new StatusEvent.ExecutorAdded(Given.Start, ExecutorId.Create("x-2"), NodeId.Create("n-1"), "h", 1, 2, ""),
            new StatusEvent.CollectionPersisted(Given.Start, 4, "Select", "MemoryAndDisk", 2),
            Given.Stage(0, 2),
            new StatusEvent.TasksEnded(Given.Start, [
                Given.Task(1) with { Cached = [new CachedPartition(4, 0, 10, 1)] },
                Given.Task(2, partition: 1) with { Cached = [new CachedPartition(4, 1, 20, 2)], ExecutorId = ExecutorId.Create("x-2") },
                Given.Task(3, partition: 0) with { Cached = [new CachedPartition(4, 0, 30, 3)], ExecutorId = ExecutorId.Create("x-2") }]));
        Assert.Equal((2, 60, 6), (status.Collections().Single().CachedPartitions, status.Collections().Single().MemoryBytes, status.Collections().Single().DiskBytes));

        status.Apply(new StatusEvent.ExecutorRemoved(Given.Start, ExecutorId.Create("x-2"), ContainerExitCause.KilledBySignal, ""));

        // What is on the disk of the node stays.
        Assert.Equal((2, 10, 6), (status.Collections().Single().CachedPartitions, status.Collections().Single().MemoryBytes, status.Collections().Single().DiskBytes));
        Assert.Equal((1, "active"), (status.Executors().First().CachedPartitions, status.Executors().First().State));
        Assert.Equal((2, "lost", "killedBySignal"), (status.Executors().Last().CachedPartitions, status.Executors().Last().State, status.Executors().Last().Cause));
        status.Apply(new StatusEvent.PartitionsHeld(Given.Start, x1, [new CachedPartition(4, 0, 0, 0)]));
        Assert.Equal((2, 0, 5), (status.Collections().Single().CachedPartitions, status.Collections().Single().MemoryBytes, status.Collections().Single().DiskBytes));
        status.Apply(new StatusEvent.CollectionUnpersisted(Given.Start, 4));
        Assert.Empty(status.Collections());
    }

    [Fact]
    public void Lost_node_takes_what_was_on_its_disk()
    {
        var status = Given.Status(
            new StatusEvent.ExecutorAdded(Given.Start, ExecutorId.Create("x-1"), NodeId.Create("n-1"), "h", 1, 2, ""),
            new StatusEvent.CollectionPersisted(Given.Start, 4, "Select", "MemoryAndDisk", 2),
            Given.Stage(0, 1),
            new StatusEvent.TasksEnded(Given.Start, [Given.Task(1) with { Cached = [new CachedPartition(4, 0, 10, 1)] }]),
            new StatusEvent.ExecutorRemoved(Given.Start, ExecutorId.Create("x-1"), ContainerExitCause.NodeLost, ""));

        Assert.Equal((0, 0, 0), (status.Collections().Single().CachedPartitions, status.Collections().Single().MemoryBytes, status.Collections().Single().DiskBytes));
    }

    [Fact]
    public void Every_end_of_a_task_has_a_kind_of_its_own()
    {
        var ends = typeof(TaskEnd).Assembly.GetTypes().Where(type => type.IsSubclassOf(typeof(TaskEnd)))
            .Select(type => EndedTask.KindOf((TaskEnd)System.Runtime.CompilerServices.RuntimeHelpers.GetUninitializedObject(type))).ToList();

        Assert.Equal(Enum.GetValues<TaskEndKind>(), ends.Order());
    }

    [Fact]
    public void Million_tasks_and_thousands_of_jobs_leave_little_behind()
    {
        var status = Given.Status(Given.Stage(0, 1_000_000));
        var batch = new EndedTask[1000];
        for (var i = 0; i < 1000; i++)
        {
            for (var k = 0; k < batch.Length; k++)
            {
                batch[k] = Given.Task((i * 1000L) + k, partition: (i * 1000) + k, metrics: new TaskMetrics { RunMicroseconds = k, ShuffleReadLocalBytes = k * 7 });
            }
            status.Apply(new StatusEvent.TasksEnded(Given.Start, batch));
        }
        Assert.Equal(1_000_000, status.Stages().Single().Done);
        status.Apply(new StatusEvent.StageEnded(Given.Start, default, 0, StageOutcome.Succeeded, ""));
        for (var job = 0; job < 5000; job++)
        {
            status.Apply(new StatusEvent.JobStarted(Given.Start, new JobId(job), "CountAsync", "", [new PlannedStage(new StageId(job + 1), "s", 200, [], null)]));
            status.Apply(Given.Stage(job + 1, 200));
            status.Apply(new StatusEvent.TasksEnded(Given.Start, [.. Enumerable.Range(0, 200).Select(i => Given.Task((job * 200) + i, job + 1, i, metrics: new TaskMetrics { RunMicroseconds = i }))]));
            status.Apply(new StatusEvent.StageEnded(Given.Start, new StageId(job + 1), 0, StageOutcome.Succeeded, ""));
            status.Apply(new StatusEvent.JobEnded(Given.Start, new JobId(job), JobState.Succeeded, ""));
        }

        var detail = status.ToDetail();
        Assert.Equal((2_000_000, 5000, 5001), (detail.Tasks["succeeded"], detail.Jobs["succeeded"], detail.Stages["succeeded"]));
        Assert.Equal((ApplicationStatus.MaximumEnded, ApplicationStatus.MaximumEnded), (status.Jobs().Count(), status.Stages().Count()));
        Assert.Equal(4000 + 4001, detail.Forgotten);
        Assert.InRange(status.Stages().Sum(stage => status.Stage(stage.Id.Value, stage.Attempt)!.ToList(null, 0, 0).Kept), 1000, 1000 * 60);
    }
}
