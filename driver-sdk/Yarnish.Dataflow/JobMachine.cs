namespace Yarnish.Dataflow;

/// <summary>
/// The driver's core: turns jobs into stages, stages into tasks, tasks into attempts on executors, and everything that happens to them into effects. One thread calls
/// <see cref="Apply"/>; the same events at the same times give the same effects. Nothing here waits, reads a clock or touches the world.
/// <para>Jobs end in <c>Jobs</c>, stages are cut loose and repeated in <c>Stages</c>, reports arrive in <c>Tasks</c>, executors come and go in <c>Executors</c>, slots are filled
/// in <c>Dispatch</c>, tasks that run together meet in <c>Barriers</c>, persisted partitions move in <c>Partitions</c>: one file each. When the last job ends, everything about it is gone (<see cref="AssertEmpty"/>).</para>
/// </summary>
internal sealed partial class JobMachine
{
    private const long Never = long.MaxValue;

    private readonly JobMachineOptions _options;
    private readonly SortedDictionary<int, Job> _jobs = [];
    private readonly SortedDictionary<int, Shuffle> _shuffles = [];
    private readonly AttemptTable _attempts = new();
    private readonly List<Pool> _pools = [];
    private readonly CollectionHolders _holders = new();
    private readonly ExecutorAllocation? _allocation;

    private List<JobEffect> _effects = [];
    private TasksSettled? _settled;
    private long _now;
    private int _nextStage;

    /// <summary>A machine without jobs and executors.</summary>
    public JobMachine(JobMachineOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        _options = options;
        _allocation = options.Allocation is { } allocation ? new ExecutorAllocation(allocation) : null;
    }

    /// <summary>When <see cref="TimePassed"/> should be applied though nothing else happened; null for never.</summary>
    public DateTimeOffset? NextWake
    {
        get
        {
            var wake = Math.Min(Math.Min(_resubmitAt, _scanAt), Math.Min(_nearWake, _speculateAt));
            if (_allocation is { } allocation)
            {
                wake = Math.Min(wake, allocation.NextWake);
            }
            return wake == Never ? null : new DateTimeOffset(wake, TimeSpan.Zero);
        }
    }

    /// <summary>Takes in one event and appends what is to be done, in order.</summary>
    /// <param name="happened">The event.</param>
    /// <param name="now">The time; earlier than the last time counts as the last time.</param>
    /// <param name="effects">The effects are appended here.</param>
    public void Apply(JobEvent happened, DateTimeOffset now, List<JobEffect> effects)
    {
        _effects = effects;
        _now = Math.Max(_now, now.UtcTicks);
        switch (happened)
        {
            case TasksEnded ended:
                OnTasksEnded(ended);
                break;
            case ExecutorAlive alive:
                OnExecutorAlive(alive);
                break;
            case JobSubmitted submitted:
                OnJobSubmitted(submitted);
                break;
            case JobCancelRequested cancel:
                OnJobCancelRequested(cancel);
                break;
            case ResultHandlerFailed failed:
                OnResultHandlerFailed(failed);
                break;
            case ResultFetched fetched:
                OnResultFetched(fetched);
                break;
            case ResultLost lost:
                OnResultLost(lost);
                break;
            case ExecutorJoined joined:
                OnExecutorJoined(joined);
                break;
            case ExecutorLost lost:
                OnExecutorLost(lost);
                break;
            case ExecutorDraining draining:
                OnExecutorDraining(draining);
                break;
            case NodeDraining draining:
                OnNodeDraining(draining);
                break;
            case NodeWasLost lost:
                OnNodeWasLost(lost);
                break;
            case BarrierReached reached:
                OnBarrierReached(reached);
                break;
            case BatchReturned returned:
                OnBatchReturned(returned);
                break;
            case LinkInterrupted:
                _linkInterrupted = true;
                break;
            case LinkRestored restored:
                OnLinkRestored(restored);
                break;
            case LocationsMissing missing:
                OnLocationsMissing(missing);
                break;
            case ShuffleReleased released:
                OnShuffleReleased(released);
                break;
            case CollectionUnpersisted unpersisted:
                OnCollectionUnpersisted(unpersisted);
                break;
            case PartitionsTold told:
                OnPartitionsTold(told);
                break;
            case TimePassed:
                break;
            default:
                throw new ArgumentException($"{happened.GetType().Name} is not an event of this machine.", nameof(happened));
        }
        OnTime();
        SubmitReady();
        Dispatch();
        PlaceCopies();
        Allocate();
        _effects = [];
        _settled = null;
    }

    private void Emit(JobEffect effect) => _effects.Add(effect);
}
