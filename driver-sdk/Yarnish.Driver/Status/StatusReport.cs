using Yarnish.Dataflow;
using Yarnish.Protocol;

namespace Yarnish.Status;

/// <summary>What of the job machine's events and effects the status is told, and in which words. A new fact for the status starts here.</summary>
internal static class StatusReport
{
    /// <summary>What an event says that the machine is about to be told; null when it says nothing to the status, or the driver loop tells it with more words.</summary>
    public static StatusEvent? Of(JobEvent change, DateTimeOffset now) => change switch
    {
        ExecutorLost lost => new StatusEvent.ExecutorRemoved(now, lost.ExecutorId, lost.Cause, lost.Message),
        CollectionUnpersisted unpersisted => new StatusEvent.CollectionUnpersisted(now, unpersisted.Collection),
        PartitionsTold { Partitions.Count: > 0 } told => new StatusEvent.PartitionsHeld(now, told.Address.ExecutorId, told.Partitions),
        _ => null,
    };

    /// <summary>What an effect says; null when nothing. The end of a job is told by the driver loop, which has the words for it.</summary>
    public static StatusEvent? Of(JobEffect effect, DateTimeOffset now) => effect switch
    {
        SendTasks send => new StatusEvent.TasksSent(now, send.StageId, send.StageAttempt, send.To.ExecutorId, send.Tasks),
        TasksSettled settled => new StatusEvent.TasksEnded(now, Ended(settled, now)),
        JobStarted started => new StatusEvent.JobStarted(now, started.JobId, started.Job.Name, started.Job.Pool, [.. started.Job.Stages.Select((stage, i) =>
            new PlannedStage(started.Stages[i], stage.Name, stage.Partitions, [.. stage.Inputs.Select(static input => input.Value)], stage.Output?.Shuffle.Value))]),
        StageStarted started => new StatusEvent.StageStarted(now, started.StageId, started.StageAttempt, started.JobId, started.Stage.Name, started.Tasks, started.Stage.Partitions),
        StageEnded ended => new StatusEvent.StageEnded(now, ended.StageId, ended.StageAttempt, ended.Outcome, ended.Message),
        ReleaseExecutor release => new StatusEvent.ExecutorRemoved(now, release.ExecutorId, ContainerExitCause.Released, release.Reason),
        ExcludeExecutor exclude => new StatusEvent.ExecutorExcluded(now, exclude.ExecutorId, exclude.Until),
        ExcludeNode exclude => new StatusEvent.NodeExcluded(now, exclude.NodeId, exclude.Until),
        _ => null,
    };

    /// <summary>Copied without results and map output: events may wait, and must not hold on to what is large.</summary>
    private static EndedTask[] Ended(TasksSettled settled, DateTimeOffset now)
    {
        var ended = new EndedTask[settled.Tasks.Count];
        for (var i = 0; i < ended.Length; i++)
        {
            ended[i] = EndedTask.From(settled.Tasks[i], now);
        }
        return ended;
    }
}
