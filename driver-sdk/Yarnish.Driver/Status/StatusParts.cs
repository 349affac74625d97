using System.Collections.Immutable;
using Yarnish.Dataflow;
using Yarnish.Protocol;

namespace Yarnish.Status;

/// <summary>One job in an <see cref="ApplicationStatus"/>.</summary>
internal sealed class StatusJob(StatusEvent.JobStarted started)
{
    /// <summary>Its stages as they stood when it ended: those of a long job may be forgotten before it is.</summary>
    private JobInfo? final;

    public StatusEvent.JobEnded? Ended { get; private set; }

    public void End(StatusEvent.JobEnded ended, Func<int, IEnumerable<StatusStage>> attempts)
    {
        Ended = ended;
        final = Make(attempts);
    }

    public JobInfo ToInfo(Func<int, IEnumerable<StatusStage>> attempts) => final ?? Make(attempts);

    private JobInfo Make(Func<int, IEnumerable<StatusStage>> attempts)
    {
        var stages = ImmutableArray.CreateBuilder<JobStageInfo>(started.Stages.Length);
        var (tasks, done, failed) = (0L, 0L, 0L);
        foreach (var stage in started.Stages)
        {
            var tries = attempts(stage.Id.Value).ToList();
            if (tries.Count == 0)
            {
                stages.Add(new JobStageInfo(stage.Id, stage.Name, Ended?.Outcome == JobState.Succeeded ? "skipped" : "waiting", 0, stage.Tasks, 0, stage.Reads, stage.Writes));
                continue;
            }
            var newest = tries[^1];
            stages.Add(new JobStageInfo(stage.Id, stage.Name, newest.State, tries.Count, newest.Tasks, newest.Done, stage.Reads, stage.Writes));
            tasks += newest.Tasks;
            done += newest.Done;
            failed += tries.Sum(static attempt => attempt.Failed);
        }
        return new JobInfo
        {
            Id = started.Id,
            Name = started.Name,
            Pool = started.Pool,
            State = StatusStage.Camel((Ended?.Outcome ?? JobState.Running).ToString()),
            StartedAt = started.At,
            EndedAt = Ended?.At,
            Message = Ended?.Message ?? "",
            Stages = stages.MoveToImmutable(),
            Tasks = tasks,
            TasksDone = done,
            TasksFailed = failed,
        };
    }
}

/// <summary>One executor in an <see cref="ApplicationStatus"/>.</summary>
internal sealed class StatusExecutor(StatusEvent.ExecutorAdded added)
{
    private readonly long[] totals = new long[TaskFigure.All.Length];
    private long succeeded;
    private long failed;

    public ExecutorId Id => Added.Id;

    public NodeId NodeId => Added.NodeId;

    /// <summary>Its first hello, with what the last one said.</summary>
    public StatusEvent.ExecutorAdded Added { get; set; } = added;

    public StatusEvent.ExecutorRemoved? Removed { get; set; }

    public DateTimeOffset ExcludedUntil { get; set; }

    public int Running { get; set; }

    public void Succeed(TaskMetrics metrics)
    {
        succeeded++;
        ApplicationStatus.Add(totals, metrics);
    }

    public void Fail() => failed++;

    public ExecutorInfo ToInfo(DateTimeOffset now, DateTimeOffset nodeExcludedUntil, IEnumerable<(int Partitions, long Memory, long Disk)> held)
    {
        var (partitions, memory, disk) = (0, 0L, 0L);
        foreach (var collection in held)
        {
            partitions += collection.Partitions;
            memory += collection.Memory;
            disk += collection.Disk;
        }
        return new ExecutorInfo
        {
            Id = Id,
            NodeId = NodeId,
            Host = Added.Host,
            ProcessId = Added.ProcessId,
            Slots = Added.Slots,
            NodeUrl = Added.NodeUrl,
            State = Removed is { } gone ? gone.Cause is ContainerExitCause.Released or ContainerExitCause.ApplicationEnded ? "released" : "lost"
                : ExcludedUntil > now || nodeExcludedUntil > now ? "excluded"
                : "active",
            AddedAt = Added.At,
            RemovedAt = Removed?.At,
            Cause = Removed is null ? "" : StatusStage.Camel(Removed.Cause.ToString()),
            Message = Removed?.Message ?? "",
            Running = Removed is null ? Running : 0,
            Succeeded = succeeded,
            Failed = failed,
            Totals = TaskFigure.ToMetrics(totals),
            CachedPartitions = partitions,
            CachedMemoryBytes = memory,
            CachedDiskBytes = disk,
        };
    }
}

/// <summary>One persisted collection in an <see cref="ApplicationStatus"/>: who holds which partition.</summary>
internal sealed class StatusCollection(StatusEvent.CollectionPersisted persisted)
{
    private readonly Dictionary<ExecutorId, Dictionary<int, (long Memory, long Disk)>> holders = [];
    private readonly Dictionary<int, int> copies = [];

    public void Add(ExecutorId executor, CachedPartition cached)
    {
        if (!holders.TryGetValue(executor, out var partitions))
        {
            holders.Add(executor, partitions = []);
        }
        if (partitions.TryAdd(cached.Partition, default))
        {
            copies[cached.Partition] = copies.GetValueOrDefault(cached.Partition) + 1;
        }
        partitions[cached.Partition] = (cached.MemoryBytes, cached.DiskBytes);
    }

    public void Remove(ExecutorId executor, int partition)
    {
        if (holders.TryGetValue(executor, out var partitions) && partitions.Remove(partition))
        {
            Uncount(partition);
        }
    }

    /// <summary>An executor is gone: what it held in memory is gone, what is on the disk of its node stays there for others, as long as there is the node.</summary>
    public void Leave(ExecutorId executor, bool nodeLost)
    {
        if (!holders.TryGetValue(executor, out var partitions))
        {
            return;
        }
        foreach (var (partition, held) in partitions.ToList())
        {
            if (held.Disk > 0 && !nodeLost)
            {
                partitions[partition] = (0, held.Disk);
            }
            else
            {
                partitions.Remove(partition);
                Uncount(partition);
            }
        }
        if (partitions.Count == 0)
        {
            holders.Remove(executor);
        }
    }

    public (int Partitions, long Memory, long Disk) HeldBy(ExecutorId executor) => !holders.TryGetValue(executor, out var partitions)
        ? default
        : (partitions.Count, partitions.Values.Sum(static held => held.Memory), partitions.Values.Sum(static held => held.Disk));

    public CollectionInfo ToInfo() => new()
    {
        Id = persisted.Id,
        Name = persisted.Name,
        Level = persisted.Level,
        Partitions = persisted.Partitions,
        CachedPartitions = copies.Count,
        MemoryBytes = holders.Values.Sum(static partitions => partitions.Values.Sum(static held => held.Memory)),
        DiskBytes = holders.Values.Sum(static partitions => partitions.Values.Sum(static held => held.Disk)),
    };

    private void Uncount(int partition)
    {
        if (--copies[partition] == 0)
        {
            copies.Remove(partition);
        }
    }
}
