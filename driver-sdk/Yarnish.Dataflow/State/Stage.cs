using System.Collections.Immutable;
using Yarnish.Protocol;

namespace Yarnish.Dataflow;

/// <summary>
/// One stage of one or several running jobs, with its tasks as arrays indexed by partition. States:
/// <code>
///          asked for,           inputs            all partitions
///          inputs missing       complete          there
///   Idle ─────────────▶ Waiting ────────▶ Running ──────────▶ Done
///    ▲ ▲                   ▲                 │ input lost       │
///    │ └── 200 ms ─────────┼── Repeating ◀───┘                  │
///    └─────────────────────┴──────────── output lost ───────────┘
/// </code>
/// Idle goes straight to Running when no input is missing; Waiting and Repeating go straight to Done when a late report brings the last partition.
/// </summary>
internal sealed class Stage(StageId id, StageDefinition definition, Pool pool)
{
    public StageId Id { get; } = id;

    /// <summary>From the first job of <see cref="Users"/>: its code can be looked up.</summary>
    public StageDefinition Definition { get; set; } = definition;

    public Pool Pool { get; } = pool;

    /// <summary>The running jobs that name it, in the order of their ids; empty when it was dropped.</summary>
    public List<(Job Job, StageDefinition Definition)> Users { get; } = [];

    /// <summary>The shuffle it writes; null for a result stage.</summary>
    public Shuffle? Output { get; set; }

    public Shuffle[] Inputs { get; set; } = [];

    public StageState State { get; set; }

    /// <summary>Counts its tries from 0; -1 before the first.</summary>
    public int Attempt { get; set; } = -1;

    /// <summary>Tries in a row that lost their input.</summary>
    public int FailedAttempts { get; set; }

    /// <summary>Shuffles and epochs its current attempt reads.</summary>
    public ImmutableArray<ShuffleInput> InputEpochs { get; set; } = [];

    public int Partitions => Definition.Partitions;

    public bool Dropped => Users.Count == 0;

    // ── Tasks of the current attempt, by partition. Null while the stage does not run.

    /// <summary>Failures that count.</summary>
    public byte[] Failures { get; private set; } = [];

    /// <summary>Ends that do not count, but must not go on for ever either.</summary>
    public byte[] Retries { get; private set; } = [];

    /// <summary>Attempts of this stage attempt in flight.</summary>
    public byte[] Live { get; private set; } = [];

    /// <summary>Number of the next try.</summary>
    public ushort[] Tries { get; private set; } = [];

    /// <summary>Kept over attempts: see <see cref="TaskMarks"/>.</summary>
    public TaskMarks[] Marks { get; private set; } = [];

    /// <summary>How many partitions are wanted.</summary>
    public int Wanted { get; set; }

    /// <summary>How many wanted partitions of a result stage are done; map stages count in their shuffle.</summary>
    public int ResultsDone { get; set; }

    public int Done => Output?.Available ?? ResultsDone;

    public bool AllDone => Done == Wanted;

    // ── What waits for a slot.

    /// <summary>Partitions marked <see cref="TaskMarks.Pending"/>.</summary>
    public int Pending { get; set; }

    public PartitionQueue Anywhere { get; } = new();

    public Dictionary<HeldExecutor, PartitionQueue>? NearExecutor { get; set; }

    public Dictionary<Node, PartitionQueue>? NearNode { get; set; }

    /// <summary>Every partition that is in one of the two above, for those that waited long enough.</summary>
    public PartitionQueue Near { get; } = new();

    /// <summary>Slow partitions that deserve a second copy.</summary>
    public PartitionQueue Slow { get; } = new();

    /// <summary>Partitions that ran when an executor ended by itself: one at a time on each executor, so that the next such end tells which it was.</summary>
    public PartitionQueue Suspects { get; } = new();

    public long LastNearSent { get; set; }

    /// <summary>Nodes that hold much of what a partition reads; null when it is all the same.</summary>
    public Node?[]? InputNodes { get; set; }

    /// <summary>Nodes that hold at least a fifth of all its input, with executors of ours or without.</summary>
    public Node[] HeavyNodes { get; set; } = [];

    public bool IsRunnable { get; set; }

    // ── In flight, over all stage attempts.

    public int FirstAttemptSlot { get; set; } = -1;

    public int LastAttemptSlot { get; set; } = -1;

    public int InFlight { get; set; }

    /// <summary>Mean run time of its tasks in microseconds, the recent ones weighing more; -1 while unknown.</summary>
    public long MeanMicroseconds { get; set; } = -1;

    /// <summary>Where tasks of this stage failed: executor and partition, once each.</summary>
    public List<(HeldExecutor Executor, int Partition)> FailedOn { get; } = [];

    /// <summary>Map outputs whose fetch failed since the last success, to see a pattern: node and map partition.</summary>
    public List<(ShuffleId Shuffle, NodeId Node, int MapPartition)> FetchFailures { get; } = [];

    /// <summary>Since when there are not enough slots for this barrier stage, free or not; 0 when there are.</summary>
    public long BarrierSince { get; set; }

    /// <summary>Where the tasks of a barrier stage meet; null before the first has come.</summary>
    public BarrierMeeting? Meeting { get; set; }

    /// <summary>How often this barrier stage was repeated for ends that do not count.</summary>
    public int UncountedRepeats { get; set; }

    // ── For people.

    public long StartedAt { get; set; }

    public long EndedAt { get; set; }

    public int FailedTasks { get; set; }

    public StageFigures? Figures { get; set; }

    /// <summary>Order within a pool: the earliest job first, then the earliest stage.</summary>
    public bool GoesBefore(Stage other)
    {
        var job = Users[0].Job.Id.Value;
        var otherJob = other.Users.Count == 0 ? int.MaxValue : other.Users[0].Job.Id.Value;
        return job != otherJob ? job < otherJob : Id.Value < other.Id.Value;
    }

    public bool IsDone(int partition) => Output is { } shuffle ? shuffle.Outputs[partition] is not null : (Marks[partition] & TaskMarks.ResultDone) != 0;

    public bool IsWanted(int partition) => Output is not null || (Marks[partition] & TaskMarks.Wanted) != 0;

    public void EnsureMarks()
    {
        if (Marks.Length != Partitions)
        {
            Marks = new TaskMarks[Partitions];
        }
    }

    /// <summary>Empty arrays for a new attempt.</summary>
    public void BeginAttempt()
    {
        EnsureMarks();
        if (Live.Length == Partitions)
        {
            Array.Clear(Failures);
            Array.Clear(Retries);
            Array.Clear(Live);
            Array.Clear(Tries);
        }
        else
        {
            Failures = new byte[Partitions];
            Retries = new byte[Partitions];
            Live = new byte[Partitions];
            Tries = new ushort[Partitions];
        }
        ClearPending();
        FailedOn.Clear();
        Meeting = null;
    }

    /// <summary>Forgets what only a running attempt needs.</summary>
    public void FreeAttempt()
    {
        ClearPending();
        Failures = [];
        Retries = [];
        Live = [];
        Tries = [];
        InputNodes = null;
        HeavyNodes = [];
        Meeting = null;
    }

    public void ClearPending()
    {
        if (Pending > 0)
        {
            for (var p = 0; p < Marks.Length; p++)
            {
                Marks[p] &= ~TaskMarks.Pending;
            }
            Pending = 0;
        }
        Anywhere.Clear();
        Near.Clear();
        Slow.Clear();
        Suspects.Clear();
        NearExecutor = null;
        NearNode = null;
    }
}

/// <summary>Marks of one task of a stage.</summary>
[Flags]
internal enum TaskMarks : byte
{
    None = 0,

    /// <summary>It waits for a slot.</summary>
    Pending = 1,

    /// <summary>The job wants this partition of its result stage.</summary>
    Wanted = 2,

    /// <summary>The result was handed out.</summary>
    ResultDone = 4,

    /// <summary>It succeeded at least once: its accumulators are applied.</summary>
    Counted = 8,

    /// <summary>A second copy was asked for.</summary>
    SlowCopied = 16,

    /// <summary>It ran when an executor ended by itself, and has not succeeded since.</summary>
    Suspect = 32,
}

/// <summary>Figures of a stage for people, and for finding slow tasks.</summary>
internal sealed class StageFigures
{
    private long _run;
    private long _queue;
    private long _deserialize;
    private long _garbage;
    private long _inputRows;
    private long _inputBytes;
    private long _outputRows;
    private long _outputBytes;
    private long _resultBytes;
    private long _shuffleWriteRows;
    private long _shuffleWriteBytes;
    private long _shuffleWrite;
    private long _shuffleReadRows;
    private long _shuffleReadLocal;
    private long _shuffleReadRemote;
    private long _fetchWait;
    private long _spill;
    private long _skipped;

    public Histogram Run { get; } = new();

    /// <summary>From sending to the report, in microseconds.</summary>
    public Histogram Wall { get; } = new();

    public Histogram? ShuffleRead { get; private set; }

    public Histogram? ShuffleWrite { get; private set; }

    public Histogram? Input { get; private set; }

    public TaskMetrics Sum => new()
    {
        RunMicroseconds = _run,
        QueueMicroseconds = _queue,
        DeserializeMicroseconds = _deserialize,
        GarbageCollectionMicroseconds = _garbage,
        InputRows = _inputRows,
        InputBytes = _inputBytes,
        OutputRows = _outputRows,
        OutputBytes = _outputBytes,
        ResultBytes = _resultBytes,
        ShuffleWriteRows = _shuffleWriteRows,
        ShuffleWriteBytes = _shuffleWriteBytes,
        ShuffleWriteMicroseconds = _shuffleWrite,
        ShuffleReadRows = _shuffleReadRows,
        ShuffleReadLocalBytes = _shuffleReadLocal,
        ShuffleReadRemoteBytes = _shuffleReadRemote,
        ShuffleFetchWaitMicroseconds = _fetchWait,
        SpillBytes = _spill,
        SkippedRows = _skipped,
    };

    public void Add(TaskMetrics metrics, long wallMicroseconds)
    {
        Run.Add(metrics.RunMicroseconds);
        Wall.Add(wallMicroseconds);
        _run += metrics.RunMicroseconds;
        if (ReferenceEquals(metrics, TaskMetrics.Empty))
        {
            return;
        }
        _queue += metrics.QueueMicroseconds;
        _deserialize += metrics.DeserializeMicroseconds;
        _garbage += metrics.GarbageCollectionMicroseconds;
        _inputRows += metrics.InputRows;
        _inputBytes += metrics.InputBytes;
        _outputRows += metrics.OutputRows;
        _outputBytes += metrics.OutputBytes;
        _resultBytes += metrics.ResultBytes;
        _shuffleWriteRows += metrics.ShuffleWriteRows;
        _shuffleWriteBytes += metrics.ShuffleWriteBytes;
        _shuffleWrite += metrics.ShuffleWriteMicroseconds;
        _shuffleReadRows += metrics.ShuffleReadRows;
        _shuffleReadLocal += metrics.ShuffleReadLocalBytes;
        _shuffleReadRemote += metrics.ShuffleReadRemoteBytes;
        _fetchWait += metrics.ShuffleFetchWaitMicroseconds;
        _spill += metrics.SpillBytes;
        _skipped += metrics.SkippedRows;
        var read = metrics.ShuffleReadLocalBytes + metrics.ShuffleReadRemoteBytes;
        if (read > 0 || ShuffleRead is not null)
        {
            (ShuffleRead ??= new Histogram()).Add(read);
        }
        if (metrics.ShuffleWriteBytes > 0 || ShuffleWrite is not null)
        {
            (ShuffleWrite ??= new Histogram()).Add(metrics.ShuffleWriteBytes);
        }
        if (metrics.InputBytes > 0 || Input is not null)
        {
            (Input ??= new Histogram()).Add(metrics.InputBytes);
        }
    }
}
