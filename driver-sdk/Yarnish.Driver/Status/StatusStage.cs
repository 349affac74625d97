using Yarnish.Dataflow;
using Yarnish.Protocol;

namespace Yarnish.Status;

/// <summary>One attempt of one stage: counts, spreads, and those of its task attempts that somebody may ask for.</summary>
internal sealed class StatusStage(StatusEvent.StageStarted started)
{
    /// <summary>Task attempts remembered of each kind (failed, slowest, latest) while the stage runs, and after its end.</summary>
    private const int Remembered = 100;
    private const int RememberedAfterEnd = 20;

    /// <summary>Larger stages are counted by attempts, not by partitions: no plan has more.</summary>
    private const int MaximumPartitions = 10_000_000;

    private readonly Queue<EndedAt> failed = new();
    private readonly Queue<EndedAt> latest = new();
    private readonly PriorityQueue<EndedAt, (long, long)> slowest = new();
    private ulong[] doneMarks = [];

    public StageId Id => started.Id;

    public int Attempt => started.Attempt;

    public JobId JobId => started.JobId;

    public int Tasks => started.Tasks;

    public string State { get; private set; } = "running";

    public int Done { get; private set; }

    public long Succeeded { get; private set; }

    public long Failed { get; private set; }

    public long Stopped { get; private set; }

    public long Lost { get; private set; }

    public long Speculative { get; private set; }

    public long NotDetailed { get; private set; }

    /// <summary>Attempts sent and not ended.</summary>
    public Dictionary<long, RunningTask> Running { get; } = [];

    private StageFigures Figures { get; } = new();

    private DateTimeOffset? Finished { get; set; }

    private string Message { get; set; } = "";

    private EndedAt? Slowest { get; set; }

    private string LastError { get; set; } = "";

    /// <summary>Which of the four counts an end belongs to.</summary>
    public static EndGroup GroupOf(in EndedTask task) => task.Kind switch
    {
        TaskEndKind.Succeeded => EndGroup.Succeeded,
        TaskEndKind.Stopped or TaskEndKind.CommitDenied => EndGroup.Stopped,
        TaskEndKind.FetchFailed or TaskEndKind.CodeMissing or TaskEndKind.Resubmitted => EndGroup.Lost,
        TaskEndKind.ExecutorLost when !task.CountsAsFailure => EndGroup.Lost,
        _ => EndGroup.Failed,
    };

    /// <summary>False when that attempt was sent already.</summary>
    public bool Sent(TaskToSend task, ExecutorId executor, DateTimeOffset at)
    {
        if (!Running.TryAdd(task.AttemptId.Value, new RunningTask(task, executor, at)))
        {
            return false;
        }
        Speculative += task.Speculative ? 1 : 0;
        return true;
    }

    public void Ended(in EndedTask task, DateTimeOffset at)
    {
        var ended = new EndedAt(task, at);
        var most = Finished is null ? Remembered : RememberedAfterEnd;
        switch (GroupOf(task))
        {
            case EndGroup.Succeeded:
                Succeeded++;
                Figures.Add(task);
                MarkDone(task.Partition);
                Keep(latest, ended, most);
                KeepSlowest(ended, most);
                return;
            case EndGroup.Failed:
                Failed++;
                LastError = task.Error;
                break;
            case EndGroup.Stopped:
                Stopped++;
                break;
            default:
                Lost++;
                break;
        }
        Keep(failed, ended, most);
    }

    public void Counted(StatusEvent.TasksCounted counted)
    {
        Succeeded += counted.Succeeded;
        Failed += counted.Failed;
        Stopped += counted.Stopped;
        Lost += counted.Lost;
        NotDetailed += counted.Succeeded + counted.Failed + counted.Stopped + counted.Lost;
        // Which partitions they were is not known, but a partition rarely succeeds twice.
        Done = (int)Math.Min(Tasks, Done + counted.Succeeded);
    }

    public void End(StatusEvent.StageEnded ended)
    {
        Finished = ended.At;
        Message = ended.Message;
        State = ended.Outcome switch
        {
            StageOutcome.Succeeded => "succeeded",
            StageOutcome.Repeated => "repeated",
            StageOutcome.Failed => "failed",
            _ => "cancelled",
        };
        Done = ended.Outcome == StageOutcome.Succeeded ? Tasks : Done;
        Figures.Freeze();
        doneMarks = [];
        // What still runs reports later; nobody waits for it.
        Running.Clear();
        Running.TrimExcess();
        while (slowest.Count > RememberedAfterEnd)
        {
            slowest.Dequeue();
        }
        Trim(failed, RememberedAfterEnd);
        Trim(latest, RememberedAfterEnd);
    }

    public StageInfo ToInfo() => new()
    {
        Id = Id,
        Attempt = Attempt,
        JobId = JobId,
        Name = started.Name,
        State = State,
        StartedAt = started.At,
        EndedAt = Finished,
        Message = Message,
        Tasks = Tasks,
        Done = Done,
        Running = Running.Count,
        Succeeded = Succeeded,
        Failed = Failed,
        Stopped = Stopped,
        Lost = Lost,
        Speculative = Speculative,
        NotDetailed = NotDetailed,
        Totals = Figures.Totals(),
        Verdict = StageVerdicts.Of(new StageVerdicts.Question
        {
            State = State,
            Message = Message,
            Lasted = (Finished ?? Latest) - started.At,
            Succeeded = Succeeded,
            Failed = Failed,
            LastError = LastError,
            SlowestExecutor = Slowest?.Task.ExecutorId,
            SlowestPartition = Slowest?.Task.Partition ?? 0,
            Spreads = Figures.Spreads(),
        }),
    };

    public TaskSummary ToSummary() => new() { StageId = Id, Attempt = Attempt, Tasks = Figures.Count, Metrics = Figures.Spreads() };

    /// <summary>The attempts that are remembered, in the order of their ids.</summary>
    /// <param name="state">Only those in this state; null for all.</param>
    /// <param name="offset">How many to leave out.</param>
    /// <param name="length">How many at most.</param>
    public TaskList ToList(string? state, int offset, int length)
    {
        var tasks = new SortedDictionary<long, TaskInfo>();
        foreach (var (attempt, running) in Running)
        {
            tasks[attempt] = running.ToInfo();
        }
        foreach (var ended in failed.Concat(latest).Concat(slowest.UnorderedItems.Select(static item => item.Element)))
        {
            tasks[ended.Task.Attempt.Value] = ended.ToInfo();
        }
        var fitting = tasks.Values.Where(task => state is null || task.State == state).ToList();
        return new TaskList
        {
            StageId = Id,
            Attempt = Attempt,
            Total = Running.Count + Succeeded + Failed + Stopped + Lost,
            Kept = fitting.Count,
            Offset = offset,
            Tasks = [.. fitting.Skip(offset).Take(length)],
        };
    }

    private DateTimeOffset Latest => latest.Count > 0 ? latest.Last().At : started.At;

    private void MarkDone(int partition)
    {
        if ((uint)partition >= (uint)Math.Min(started.Partitions, MaximumPartitions) || Finished is not null)
        {
            return;
        }
        if (doneMarks.Length == 0)
        {
            doneMarks = new ulong[(Math.Min(started.Partitions, MaximumPartitions) + 63) / 64];
        }
        var bit = 1UL << (partition & 63);
        if ((doneMarks[partition >> 6] & bit) == 0)
        {
            doneMarks[partition >> 6] |= bit;
            Done = Math.Min(Tasks, Done + 1);
        }
    }

    private void KeepSlowest(EndedAt ended, int most)
    {
        var time = ended.Task.Metrics.RunMicroseconds;
        if (Slowest is not { } known || time > known.Task.Metrics.RunMicroseconds)
        {
            Slowest = ended;
        }
        // Among equals the earlier attempt stays.
        var rank = (time, -ended.Task.Attempt.Value);
        if (slowest.Count < most)
        {
            slowest.Enqueue(ended, rank);
        }
        else if (slowest.TryPeek(out _, out var least) && rank.CompareTo(least) > 0)
        {
            slowest.DequeueEnqueue(ended, rank);
        }
    }

    private static void Keep(Queue<EndedAt> queue, EndedAt ended, int most)
    {
        queue.Enqueue(ended);
        Trim(queue, most);
    }

    private static void Trim(Queue<EndedAt> queue, int most)
    {
        while (queue.Count > most)
        {
            queue.Dequeue();
        }
    }

    /// <summary>The four counts of ended attempts.</summary>
    internal enum EndGroup
    {
        Succeeded,
        Failed,
        Stopped,
        Lost,
    }

    /// <summary>An attempt that was sent.</summary>
    internal readonly record struct RunningTask(TaskToSend Task, ExecutorId Executor, DateTimeOffset SentAt)
    {
        public TaskInfo ToInfo() => new()
        {
            AttemptId = Task.AttemptId,
            Partition = Task.Partition,
            Attempt = Task.AttemptNumber,
            ExecutorId = Executor,
            State = "running",
            Speculative = Task.Speculative,
            SentAt = SentAt,
            WallMicroseconds = 0,
            Error = "",
            Metrics = TaskMetrics.Empty,
        };
    }

    private readonly record struct EndedAt(EndedTask Task, DateTimeOffset At)
    {
        public TaskInfo ToInfo() => new()
        {
            AttemptId = Task.Attempt,
            Partition = Task.Partition,
            Attempt = Task.Number,
            ExecutorId = Task.ExecutorId,
            State = Camel(Task.Kind.ToString()),
            Speculative = false,
            SentAt = At.AddMicroseconds(-Task.WallMicroseconds),
            WallMicroseconds = Task.WallMicroseconds,
            Error = Task.Error,
            Metrics = Task.Metrics,
        };
    }

    internal static string Camel(string name) => char.ToLowerInvariant(name[0]) + name[1..];
}
