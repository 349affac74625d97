using Yarnish.Dataflow;
using Yarnish.Protocol;
using Yarnish.Status;

namespace Yarnish.Jobs;

/// <content>What is told to the status and the event log: what the machine is told and what it wants, in that order.</content>
internal sealed partial class JobRunner
{
    private static readonly TimeSpan AccumulatorInterval = TimeSpan.FromSeconds(1);

    private readonly HashSet<int> reportedCollections = [];
    private readonly Dictionary<int, string> reportedAccumulators = [];
    private DateTimeOffset accumulatorsReported;
    private DateTimeOffset? accumulatorsDue;

    /// <summary>A job names the persisted collections it reads or fills; each is told once.</summary>
    private void ReportCollections(JobPlan plan, DateTimeOffset now)
    {
        foreach (var stage in plan.Stages)
        {
            foreach (var collection in stage.Persisted)
            {
                if (reportedCollections.Add(collection.Id))
                {
                    status.Post(new StatusEvent.CollectionPersisted(now, collection.Id, collection.Name, collection.Level.ToString(), collection.Partitions));
                }
            }
        }
    }

    /// <summary>Before the machine is told.</summary>
    private void Report(JobEvent change, DateTimeOffset now)
    {
        switch (change)
        {
            case ExecutorJoined joined when executors.TryGetValue(joined.Address.ExecutorId, out var hello):
                status.Post(new StatusEvent.ExecutorAdded(now, joined.Address.ExecutorId, hello.NodeId, hello.Host, hello.ProcessId, hello.Slots, hello.NodeUrl));
                break;
            case NodeWasLost node:
                foreach (var executor in executors.Values.Where(hello => hello.NodeId == node.NodeId))
                {
                    status.Post(new StatusEvent.ExecutorRemoved(now, executor.From.ExecutorId, ContainerExitCause.NodeLost, node.Message));
                }
                break;
            case CollectionUnpersisted unpersisted:
                reportedCollections.Remove(unpersisted.Collection);
                Post(StatusReport.Of(change, now));
                break;
            default:
                Post(StatusReport.Of(change, now));
                break;
        }
    }

    /// <summary>Before it is carried out.</summary>
    private void Report(JobEffect effect, DateTimeOffset now) => Post(StatusReport.Of(effect, now));

    private void ReportEnd(RunningJob job, string? error, string? cancelled)
    {
        var now = clock.GetUtcNow();
        status.Post(new StatusEvent.JobEnded(
            now, job.Id, error is not null ? JobState.Failed : cancelled is not null ? JobState.Cancelled : JobState.Succeeded, error ?? cancelled ?? ""));
        // Jobs of a millisecond must not each pay for the words of every accumulator.
        accumulatorsDue ??= accumulatorsReported + AccumulatorInterval;
        ReportAccumulators(now);
    }

    /// <summary>Tells the named accumulators that have changed, at most once a second unless it is the last occasion.</summary>
    private void ReportAccumulators(DateTimeOffset now, bool last = false)
    {
        if (!last && now < accumulatorsReported + AccumulatorInterval)
        {
            return;
        }
        accumulatorsReported = now;
        accumulatorsDue = null;
        foreach (var accumulator in Accumulators.Snapshot())
        {
            var known = reportedAccumulators.TryGetValue(accumulator.Number, out var told);
            if (told != accumulator.Value && (known || reportedAccumulators.Count < ApplicationStatus.MaximumNamed))
            {
                reportedAccumulators[accumulator.Number] = accumulator.Value;
                status.Post(new StatusEvent.AccumulatorChanged(now, accumulator.Number, accumulator.Name, accumulator.Value));
            }
        }
    }

    private void Post(StatusEvent? happened)
    {
        if (happened is not null)
        {
            status.Post(happened);
        }
    }
}
