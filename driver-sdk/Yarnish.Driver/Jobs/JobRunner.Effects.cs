using System.Collections.Immutable;
using Yarnish.Blocks;
using Yarnish.Dataflow;
using Yarnish.Lineage;
using Yarnish.Progress;
using Yarnish.Protocol;
using Yarnish.Status;
using Yarnish.Tracing;

namespace Yarnish.Jobs;

/// <content>What goes out: tasks, locations, results, asks, the ends of jobs.</content>
internal sealed partial class JobRunner
{
    /// <summary>A driver lives once: its restart is a new application.</summary>
    private const int DriverEpoch = 1;

    /// <summary>Most bytes of task input in one message.</summary>
    private const int BatchBytes = 96 << 10;

    /// <summary>Most bytes of input of one task that travel: what a broker takes in one message, with room to spare.</summary>
    private const int MaximumInputBytes = 12 << 20;

    /// <summary>Codes remembered as sent to one executor, which keeps 64 itself.</summary>
    private const int MaximumCodeSent = 256;

    /// <summary>Tries to write locations, and the pause after each; then reducers ask for them.</summary>
    private static readonly TimeSpan[] PublishPauses = [TimeSpan.FromMilliseconds(100), TimeSpan.FromMilliseconds(400), TimeSpan.FromSeconds(1)];

    private readonly SortedSet<NodeId> excluded = [];
    private readonly List<JobEffect> effects = [];

    /// <summary>The job for which each running stage was started.</summary>
    private readonly Dictionary<StageId, JobId> stageJobs = [];

    /// <inheritdoc/>
    public void Apply(JobEvent change) => changes.Enqueue(change);

    /// <inheritdoc/>
    public void FailJobs(string why, string cure, int exitCode = 1)
    {
        foreach (var job in jobs.Values)
        {
            Give(job, new YarnishJobException(FailureText.OfJob(job.Title, why, cure)) { JobId = job.Id, ExitCode = exitCode });
        }
        ApplyChanges(clock.GetUtcNow());
    }

    /// <inheritdoc/>
    public void Abandon(string why, string cure, int exitCode = 1)
    {
        abandoned = (why, cure, exitCode);
        FailJobs(why, cure, exitCode);
    }

    /// <inheritdoc/>
    public ApplicationProgress Summarize()
    {
        var totals = machine.Totals;
        var summary = new ApplicationProgress
        {
            JobsRunning = jobs.Count,
            JobsSucceeded = totals.JobsSucceeded,
            JobsFailed = totals.JobsFailed,
            StagesCompleted = totals.StagesSucceeded,
            TasksRunning = totals.TasksRunning,
            TasksPending = totals.TasksPending,
            TasksSucceeded = totals.TasksSucceeded,
            TasksFailed = totals.TasksFailed,
            Executors = executors.Count,
            ExecutorsSeen = totals.ExecutorsSeen,
            ExecutorsLost = totals.ExecutorsLost,
            ShuffleBytesWritten = totals.ShuffleBytesWritten,
            ShuffleBytesRead = totals.ShuffleBytesRead,
            Activity = jobs.Count > 0 ? jobs.Values.First().Plan.Name : "",
        };
        Volatile.Write(ref progress, summary);
        return summary;
    }

    /// <summary>Ends a job by the driver's own decision.</summary>
    private void Give(RunningJob job, YarnishJobException failure)
    {
        job.Failure ??= failure;
        changes.Enqueue(new JobCancelRequested(job.Id, "given up by the driver"));
    }

    /// <summary>Tells the machine, carries out what it wants, and then what that brought about.</summary>
    private void Tell(JobEvent change, DateTimeOffset now)
    {
        changes.Enqueue(change);
        ApplyChanges(now);
    }

    private void ApplyChanges(DateTimeOffset now)
    {
        while (changes.TryDequeue(out var change))
        {
            Report(change, now);
            if (change is ExecutorLost lost)
            {
                Forget(lost.ExecutorId);
            }
            else if (change is NodeWasLost node)
            {
                foreach (var executor in executors.Values.Where(hello => hello.NodeId == node.NodeId).ToList())
                {
                    Forget(executor.From.ExecutorId);
                }
            }
            effects.Clear();
            machine.Apply(change, now, effects);
            foreach (var effect in effects)
            {
                Report(effect, now);
                CarryOut(effect, now);
            }
        }
    }

    private void Forget(ExecutorId executor)
    {
        if (executors.Remove(executor, out var hello))
        {
            codeSent.Remove(hello.From);
            liveSlots = executors.Values.Sum(static live => live.Slots);
        }
    }

    private void CarryOut(JobEffect effect, DateTimeOffset now)
    {
        switch (effect)
        {
            case SendTasks send:
                Send(send);
                break;
            case PartitionResult result when jobs.TryGetValue(result.JobId, out var job):
                if (result.Report.Accumulators is { } changes)
                {
                    Accumulate(job, job.ResultStage, result.Partition, changes, null);
                }
                job.Results.Deliver(result.Partition, result.Report.Result);
                break;
            case FetchResult fetch:
                _ = FetchAsync(fetch, nodeUrls.GetValueOrDefault(fetch.NodeId, ""));
                break;
            case TasksSettled settled:
                Settle(settled);
                break;
            case StageStarted started:
                if (jobs.TryGetValue(started.JobId, out var owner))
                {
                    stageJobs[started.StageId] = started.JobId;
                    if (started.Stage.Output is null)
                    {
                        owner.ResultStage = started.StageId;
                    }
                    owner.Stages++;
                    owner.Tasks += started.Tasks;
                    traces.StartStage(started, owner.Activity);
                }
                break;
            case StageEnded ended:
                End(ended);
                break;
            case JobSucceeded succeeded:
                EndJob(succeeded.JobId, null, null);
                break;
            case JobFailed failed:
                EndJob(failed.JobId, failed.Failure, null);
                break;
            case JobCancelled cancelled:
                EndJob(cancelled.JobId, null, cancelled.Reason);
                break;
            case StopTasks stop:
                outbox.Send(stop.To, new CancelTasks(stop.Attempts, stop.Reason));
                break;
            case ReleaseBarrier release:
                outbox.Send(release.To, new BarrierReleased(release.Attempts, release.Round, release.Messages));
                break;
            case PublishLocations publish:
                outbox.Fence(PublishAsync(publish), publish.AnswerTo is { } asker ? (asker, new LocationsPublished(publish.ShuffleId, publish.Epoch)) : null);
                break;
            case DropShuffle drop:
                written.TryRemove(drop.ShuffleId, out _);
                Accumulators.Forget(drop.ShuffleId);
                traces.Forget(drop.ShuffleId);
                outbox.Send(null, new DropBlocks([drop.ShuffleId], []));
                _ = IgnoreAsync(registry.DeleteShuffleAsync(drop.ShuffleId, stopping.Token));
                break;
            case SendCopies copies:
                outbox.Send(copies.To, new CopyPartitions(Locate(copies.Partitions)));
                break;
            case WriteOut write:
                outbox.Send(write.To, WritePartitions.Instance);
                break;
            case ExecutorsWanted wanted:
                fleet.Want(wanted.Count, wanted.PreferredNodes, now);
                break;
            case ReleaseExecutor release:
                if (executors.TryGetValue(release.ExecutorId, out var known))
                {
                    outbox.Send(known.From, new ShutdownExecutor(release.Reason));
                }
                Forget(release.ExecutorId);
                fleet.Release(release.ExecutorId, now);
                break;
            case HelloWanted wanted:
                outbox.Send(wanted.To, new SayHello(DriverEpoch));
                break;
            case ExcludeNode exclude:
                excluded.Add(exclude.NodeId);
                fleet.Exclude([.. excluded], now);
                break;
            case ReadmitNode readmit:
                excluded.Remove(readmit.NodeId);
                fleet.Exclude([.. excluded], now);
                break;
        }
    }

    private void Send(SendTasks send)
    {
        if (!codes.TryGetValue(send.Stage.Code, out var entry))
        {
            throw new InvalidOperationException($"The machine sent tasks of stage {send.StageId}, whose job has ended.");
        }
        var (job, code) = entry;
        string hash;
        var tasks = new List<TaskAssignment>(send.Tasks.Count);
        var batches = new List<List<TaskAssignment>> { tasks };
        try
        {
            hash = code.Hash;
            var bytes = 0;
            foreach (var task in send.Tasks)
            {
                var input = code.Stage.PartitionInput?.Invoke(task.Partition) ?? default;
                if (input.Length > MaximumInputBytes && carrier.Travels)
                {
                    throw new InvalidOperationException($"the input of partition {task.Partition} has {input.Length >> 20} MiB; at most {MaximumInputBytes >> 20} MiB can be sent with a task");
                }
                if (tasks.Count > 0 && bytes + input.Length > BatchBytes)
                {
                    batches.Add(tasks = []);
                    bytes = 0;
                }
                bytes += input.Length;
                tasks.Add(new TaskAssignment(task.AttemptId, task.Partition, task.AttemptNumber, input));
            }
        }
        catch (Exception error)
        {
            Give(job, new YarnishJobException(FailureText.OfJob(job.Title, $"the tasks of stage '{code.Stage.Name}' cannot be sent: {error.Message}", "use more partitions, or read the data inside the tasks"), error)
            {
                JobId = job.Id,
                StageId = send.StageId,
            });
            // They did not run: the machine takes them back, then ends the job.
            changes.Enqueue(new BatchReturned(send.To, [.. send.Tasks.Select(static task => task.AttemptId)], QueueGone: false));
            return;
        }
        if (code.Content is { } content)
        {
            if (!codeSent.TryGetValue(send.To, out var sent))
            {
                codeSent.Add(send.To, sent = new HashSet<string>(StringComparer.Ordinal));
            }
            if (sent.Count >= MaximumCodeSent)
            {
                sent.Clear();
            }
            if (sent.Add(hash))
            {
                outbox.Send(send.To, new CodeBlock(application, hash, content));
            }
        }
        var traceParent = traces.ParentOf(send.StageId);
        var links = traces.LinksOf(send);
        foreach (var batch in batches)
        {
            outbox.Send(send.To, new TaskBatch(application, DriverEpoch, send.StageId, send.StageAttempt, hash, batch)
            {
                Shuffles = send.Inputs,
                Elsewhere = send.Elsewhere is { } elsewhere ? Locate(elsewhere) : [],
                TraceParent = traceParent,
                Links = links,
                SettledUpTo = send.SettledUpTo,
            });
        }
    }

    private PartitionAt[] Locate(List<PartitionOn> partitions) =>
        [.. partitions.Select(partition => new PartitionAt(partition.Collection, partition.Partition, partition.NodeId, nodeUrls.GetValueOrDefault(partition.NodeId, "")))];

    private void Settle(TasksSettled settled)
    {
        foreach (var task in settled.Tasks)
        {
            if (task.End is TaskCodeMissing missing && executors.TryGetValue(task.ExecutorId, out var hello) && codeSent.TryGetValue(hello.From, out var sent))
            {
                sent.Remove(missing.CodeHash);
            }
            // Those of result tasks come with the result, which a large one is fetched for first.
            if (task is { Counts: true, Report: { Accumulators: { } changes, MapOutput: { } output } })
            {
                Accumulate(stageJobs.TryGetValue(task.StageId, out var owner) ? jobs.GetValueOrDefault(owner) : null, task.StageId, task.Partition, changes, output);
            }
        }
        traces.Settle(settled);
    }

    /// <summary>Merges what a task added; the user's rule may throw, which ends the job and nothing else.</summary>
    private void Accumulate(RunningJob? job, StageId stage, int partition, ImmutableSortedDictionary<int, ReadOnlyMemory<byte>> changes, MapOutput? output)
    {
        try
        {
            if (output is null)
            {
                Accumulators.Merge(stage, changes);
            }
            else
            {
                Accumulators.MergeMapTask(stage, output, changes);
            }
        }
        catch (AccumulatorException error) when (job is not null)
        {
            Give(job, new YarnishJobException(FailureText.OfJob(job.Title, error.Message, "correct the accumulator's rule"), error) { JobId = job.Id, Partition = partition });
        }
        catch (AccumulatorException)
        {
            // Its job is over.
        }
    }

    private void End(StageEnded ended)
    {
        if (ended.Outcome != StageOutcome.Repeated)
        {
            stageJobs.Remove(ended.StageId);
        }
        if (traces.IsTraced(ended.StageId))
        {
            traces.EndStage(ended, machine.Snapshot().Stages.FirstOrDefault(stage => stage.StageId == ended.StageId));
        }
    }

    private void EndJob(JobId id, JobFailure? failure, string? cancelled)
    {
        if (!jobs.Remove(id, out var job))
        {
            return;
        }
        Volatile.Write(ref jobCount, jobs.Count);
        foreach (var code in job.Codes)
        {
            codes.Remove(code.Number);
            carrier.Forget(code);
        }
        YarnishJobException? error = job.Failure ?? (failure is null ? null : Describe(job, failure));
        if (failure is null && cancelled is null)
        {
            foreach (var code in job.Codes)
            {
                if (code.Stage.Output is { } output)
                {
                    written.TryAdd(output.Shuffle, true);
                }
            }
        }
        lastFailure = error?.Message;
        ReportEnd(job, error?.Message, cancelled);
        if (display.Enabled)
        {
            var seconds = clock.GetElapsedTime(job.Started).TotalSeconds;
            display.Line($"job {job.Title} {(error is not null ? "failed" : cancelled is not null ? "cancelled" : "done")} in {seconds:0.###} s: {job.Stages} {(job.Stages == 1 ? "stage" : "stages")}, {job.Tasks} {(job.Tasks == 1 ? "task" : "tasks")}");
        }
        if (jobs.Count == 0)
        {
            Summarize();
        }
        DriverTraces.EndJob(job.Activity, error?.Message ?? cancelled);
        if (error is not null)
        {
            job.Fail(error);
        }
        else if (cancelled is not null)
        {
            job.Cancel(cancelled);
        }
        else if (job.Results.Drained is { IsCompleted: false } drained)
        {
            _ = drained.ContinueWith(static (_, state) => Finish((RunningJob)state!), job, CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
        }
        else
        {
            Finish(job);
        }
    }

    private static void Finish(RunningJob job)
    {
        if (job.Results.Failure is { } failure)
        {
            job.Fail(new YarnishJobException(
                FailureText.OfJob(job.Title, $"the driver's own code threw on the result of partition {failure.Partition}: {failure.Error.GetType().FullName}: {failure.Error.Message}", "correct the function that takes results"),
                failure.Error) { JobId = job.Id, Partition = failure.Partition });
            return;
        }
        job.Succeed();
    }

    private YarnishJobException Describe(RunningJob job, JobFailure failure)
    {
        var stage = failure.StageId is { } id ? $"stage {id} ({failure.StageName})" : "no stage";
        var text = failure.Reason switch
        {
            JobFailureReason.TaskFailed when failure.LastEnd is { } end =>
                FailureText.OfTask(job.Title, stage, failure.Partition ?? 0, failure.Attempts, failure.ExecutorId, end, fleet.IsRemote ? application : null, StepOf(job, failure)),
            JobFailureReason.ResultHandlerFailed => FailureText.OfJob(
                job.Title,
                $"the driver's own code threw on the result of partition {failure.Partition}: {failure.Error?.Type}: {failure.Error?.Message}",
                "correct the function that takes results"),
            JobFailureReason.ResultsTooLarge => FailureText.OfJob(job.Title, failure.Message, "write results to files (SaveAsTextAsync), take fewer (TakeAsync), or raise Yarnish:MaximumResultBytes"),
            JobFailureReason.NowhereToRun => FailureText.OfJob(job.Title, failure.Message, "look why tasks fail on every executor (yarnish app logs), or, for a barrier stage, allow more executors (Yarnish:Executors) or cores (Yarnish:ExecutorCores)"),
            JobFailureReason.NotRepeatable => FailureText.OfJob(job.Title, failure.Message, "sort or persist before the step that gives another order each time, or run the job again"),
            JobFailureReason.StageFailed when failure is { LastEnd: not (null or FetchFailed), Partition: { } partition } =>
                FailureText.OfTask(job.Title, $"barrier {stage}", partition, failure.Attempts, failure.ExecutorId, failure.LastEnd, fleet.IsRemote ? application : null, StepOf(job, failure)),
            JobFailureReason.StageFailed => FailureText.OfJob(job.Title, $"{stage} was tried {failure.Attempts} times: {failure.Message}", "look why map output is lost: nodes that go, disks that fill; or raise Yarnish:MaximumStageAttempts"),
            _ => FailureText.OfJob(job.Title, failure.Message, "report this: the plan of the job makes no sense"),
        };
        return new YarnishJobException(text, job.Results.Failure?.Error)
        {
            JobId = job.Id,
            StageId = failure.StageId,
            Partition = failure.Partition,
            Attempts = failure.Attempts,
            ExecutorId = failure.ExecutorId,
            LastEnd = failure.LastEnd,
        };
    }

    /// <summary>The transformation whose function threw; null when it cannot be told.</summary>
    private static string? StepOf(RunningJob job, JobFailure failure)
    {
        for (var error = (failure.LastEnd as TaskFailed)?.Error; error is not null; error = error.Inner)
        {
            if (FailingStep.Find(job.Plan, failure.StageName, error.StackTrace) is { } step)
            {
                return step;
            }
        }
        return null;
    }

    private async Task PublishAsync(PublishLocations publish)
    {
        for (var attempt = 0; ; attempt++)
        {
            try
            {
                await registry.PublishLocationsAsync(ShuffleLocations.From(publish.ShuffleId, publish.Epoch, publish.Outputs, publish.Reducers), stopping.Token).ConfigureAwait(false);
                PostSoon(new RegistryHeard(""));
                return;
            }
            catch (Exception error) when (error is BlockRegistryException && attempt < PublishPauses.Length)
            {
                PostSoon(new RegistryHeard(error.Message));
                await Task.Delay(PublishPauses[attempt], clock, stopping.Token).ConfigureAwait(false);
            }
            catch (Exception error) when (error is BlockRegistryException or OperationCanceledException)
            {
                return; // Reducers miss them and ask; then they are published again.
            }
        }
    }

    private ProgressSnapshot Snapshot(DateTimeOffset now)
    {
        var snapshot = machine.Snapshot();
        var stages = snapshot.Stages.Where(static stage => stage.State is StageState.Running or StageState.Repeating).ToDictionary(static stage => stage.StageId);
        var running = snapshot.Jobs.Where(static job => job.State == JobState.Running).Select(job => new JobProgress(
            job.JobId,
            job.Name,
            now - job.SubmittedAt,
            [.. job.Stages.Where(stages.ContainsKey).Select(id => stages[id]).Select(static stage =>
                new StageProgress(stage.StageId, stage.Name, stage.Done, stage.Running, stage.Tasks, stage.Failed))]));
        var waiting = linkDown is { } down ? $"waiting for the message broker: {down.Reason}"
            : registryDown is { } missing ? $"waiting for Redis: {missing.Reason}"
            : fleet.Waiting(now);
        return new ProgressSnapshot([.. running], executors.Count, waiting);
    }

    /// <summary>The session ends: jobs are cancelled, executors told to go, the application reported over.</summary>
    private async Task EndAsync()
    {
        inbox.Writer.TryComplete();
        while (inbox.Reader.TryRead(out var message))
        {
            (message as RunningJob)?.Cancel("the session ended");
        }
        // Whatever ran until now was not finished: nobody got its result.
        lastFailure = jobs.Count > 0 ? $"The session ended while {(jobs.Count == 1 ? "a job" : $"{jobs.Count} jobs")} ran." : lastFailure;
        var summary = Summarize();
        foreach (var job in jobs.Values.ToList())
        {
            DriverTraces.EndJob(job.Activity, "the session ended");
            job.Cancel("the session ended");
        }
        jobs.Clear();
        outbox.Clear();
        Task farewell = link.BroadcastAsync(new ShutdownExecutor("the application has ended")).AsTask().WaitAsync(TimeSpan.FromSeconds(2), clock);
        await farewell.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (fleet.IsRemote)
        {
            // Before the application is reported over: the resource manager then removes what the link still uses.
            Task leaving = link.DisposeAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(5), clock);
            await leaving.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
        var why = Interrupted ?? abandoned?.Why ?? lastFailure ?? "";
        ReportAccumulators(clock.GetUtcNow(), last: true);
        status.Post(new StatusEvent.ApplicationEnded(clock.GetUtcNow(), why.Length == 0, why));
        await fleet.FinishAsync(why.Length == 0, why, summary).ConfigureAwait(false);
        await IgnoreAsync(registry.DeleteApplicationAsync()).ConfigureAwait(false);
        foreach (var directory in temporary)
        {
            try
            {
                Directory.Delete(directory, recursive: true);
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                // Never written, or removed by somebody else.
            }
        }
        traces.Dispose();
    }
}
