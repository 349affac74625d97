namespace Yarnish.Dataflow;

/// <summary>What the machine remembers of one attempt in flight. A struct in a slab: a hundred thousand of them cost no object.</summary>
internal struct Attempt
{
    public long Id;
    public Stage Stage;
    public HeldExecutor Executor;
    public long SentAt;
    public int StageAttempt;
    public int Partition;
    public int Number;
    public int Epoch;
    public AttemptMarks Marks;

    // Links of three lists in the order of sending: all attempts, those of the executor, those of the stage. -1 ends a list.
    public int NextById;
    public int PreviousById;
    public int NextOnExecutor;
    public int PreviousOnExecutor;
    public int NextInStage;
    public int PreviousInStage;
}

/// <summary>Marks of an attempt.</summary>
[Flags]
internal enum AttemptMarks : byte
{
    None = 0,

    /// <summary>Nobody wants its outcome any more: it only keeps its slot until it reports.</summary>
    Superseded = 1,

    /// <summary>A second copy of a slow task.</summary>
    Speculative = 2,

    /// <summary>Sent when its stage was known to have long tasks: it occupies a slot for a while.</summary>
    Long = 4,

    /// <summary>Its task ran when an executor ended by itself.</summary>
    Suspect = 8,
}

/// <summary>All attempts in flight, by id, by executor and by stage. Ids ascend and are never used again.</summary>
internal sealed class AttemptTable
{
    private readonly Dictionary<long, int> _slots = [];
    private Attempt[] _slab = new Attempt[64];
    private int _free = -1;
    private int _used;
    private int _newest = -1;
    private int _oldest = -1;

    /// <summary>The last id given out.</summary>
    public long LastId { get; private set; }

    public int Count => _slots.Count;

    /// <summary>Every attempt up to this id has ended.</summary>
    public long SettledUpTo => _oldest < 0 ? LastId : _slab[_oldest].Id - 1;

    public ref Attempt this[int slot] => ref _slab[slot];

    /// <summary>The slot of an attempt; -1 when it is not in flight.</summary>
    public int Find(long id) => _slots.TryGetValue(id, out var slot) ? slot : -1;

    public int Add(Stage stage, HeldExecutor executor, int partition, int number, AttemptMarks marks, long now)
    {
        int slot;
        if (_free >= 0)
        {
            slot = _free;
            _free = _slab[slot].NextById;
        }
        else
        {
            if (_used == _slab.Length)
            {
                Array.Resize(ref _slab, _slab.Length * 2);
            }
            slot = _used++;
        }
        ref var attempt = ref _slab[slot];
        attempt = new Attempt
        {
            Id = ++LastId,
            Stage = stage,
            Executor = executor,
            SentAt = now,
            StageAttempt = stage.Attempt,
            Partition = partition,
            Number = number,
            Epoch = executor.Epoch,
            Marks = marks,
            NextById = -1,
            PreviousById = _newest,
            NextOnExecutor = -1,
            PreviousOnExecutor = executor.LastAttempt,
            NextInStage = -1,
            PreviousInStage = stage.LastAttemptSlot,
        };
        if (_newest >= 0)
        {
            _slab[_newest].NextById = slot;
        }
        else
        {
            _oldest = slot;
        }
        _newest = slot;
        if (executor.LastAttempt >= 0)
        {
            _slab[executor.LastAttempt].NextOnExecutor = slot;
        }
        else
        {
            executor.FirstAttempt = slot;
        }
        executor.LastAttempt = slot;
        if (stage.LastAttemptSlot >= 0)
        {
            _slab[stage.LastAttemptSlot].NextInStage = slot;
        }
        else
        {
            stage.FirstAttemptSlot = slot;
        }
        stage.LastAttemptSlot = slot;
        _slots.Add(attempt.Id, slot);
        return slot;
    }

    public void Remove(int slot)
    {
        ref var attempt = ref _slab[slot];
        _slots.Remove(attempt.Id);
        if (attempt.PreviousById >= 0)
        {
            _slab[attempt.PreviousById].NextById = attempt.NextById;
        }
        else
        {
            _oldest = attempt.NextById;
        }
        if (attempt.NextById >= 0)
        {
            _slab[attempt.NextById].PreviousById = attempt.PreviousById;
        }
        else
        {
            _newest = attempt.PreviousById;
        }
        if (attempt.PreviousOnExecutor >= 0)
        {
            _slab[attempt.PreviousOnExecutor].NextOnExecutor = attempt.NextOnExecutor;
        }
        else
        {
            attempt.Executor.FirstAttempt = attempt.NextOnExecutor;
        }
        if (attempt.NextOnExecutor >= 0)
        {
            _slab[attempt.NextOnExecutor].PreviousOnExecutor = attempt.PreviousOnExecutor;
        }
        else
        {
            attempt.Executor.LastAttempt = attempt.PreviousOnExecutor;
        }
        if (attempt.PreviousInStage >= 0)
        {
            _slab[attempt.PreviousInStage].NextInStage = attempt.NextInStage;
        }
        else
        {
            attempt.Stage.FirstAttemptSlot = attempt.NextInStage;
        }
        if (attempt.NextInStage >= 0)
        {
            _slab[attempt.NextInStage].PreviousInStage = attempt.PreviousInStage;
        }
        else
        {
            attempt.Stage.LastAttemptSlot = attempt.PreviousInStage;
        }
        attempt = default;
        attempt.NextById = _free;
        _free = slot;
    }
}
