namespace Yarnish.Dataflow;

/// <summary>
/// How many executors to want: pure, after Spark's <c>ExecutorAllocationManager</c>. While tasks wait, the number grows by 1, 2, 4 … once per
/// <see cref="AllocationOptions.Backlog"/>, never beyond what waiting and running tasks can use; it falls to that need at once. Giving executors back is the caller's part: an
/// executor leaves when it idled, not because the number fell.
/// </summary>
internal sealed class ExecutorAllocation(AllocationOptions options)
{
    private const long Never = long.MaxValue;
    private long _addAt = Never;
    private int _step = 1;
    private bool _started;

    /// <summary>How many live executors are wanted, excluded ones left out.</summary>
    public int Target { get; private set; } = Bound(options, options.Initial);

    /// <summary>When <see cref="Update"/> should be called again though nothing happened; <see cref="long.MaxValue"/> for never.</summary>
    public long NextWake => _addAt;

    /// <summary>How many more the next step asks for.</summary>
    public int NextStep => _step;

    /// <summary>Looks at the tasks and moves the target.</summary>
    /// <param name="now">Ticks.</param>
    /// <param name="pending">Tasks that wait for a slot.</param>
    /// <param name="running">Tasks in flight.</param>
    /// <param name="slotsPerExecutor">Slots of one executor, at least 1.</param>
    /// <param name="live">Executors that are here and usable.</param>
    public int Update(long now, int pending, int running, int slotsPerExecutor, int live)
    {
        if (!options.Dynamic)
        {
            return Target;
        }
        if (!_started && pending + running == 0)
        {
            return Target;
        }
        _started = true;
        var need = Bound(options, (int)(((long)pending + running + slotsPerExecutor - 1) / slotsPerExecutor));
        if (need < Target)
        {
            Target = need;
            _addAt = Never;
            _step = 1;
            return Target;
        }
        if (pending == 0 || need <= Target)
        {
            // As many as could be used: the clock starts again when more tasks wait.
            _addAt = Never;
            _step = 1;
            return Target;
        }
        if (Target == 0)
        {
            // Nothing can run at all: waiting for a backlog to prove itself helps nobody.
            Target = Math.Min(1, need);
            _addAt = now + options.Backlog.Ticks;
            return Target;
        }
        if (_addAt == Never)
        {
            _addAt = now + options.Backlog.Ticks;
        }
        else if (now >= _addAt)
        {
            var before = Math.Max(Target, Math.Min(live, need));
            Target = (int)Math.Min(need, (long)before + _step);
            _step = Target - before == _step ? Math.Min(_step * 2, 1 << 20) : 1;
            _addAt = now + options.Backlog.Ticks;
        }
        return Target;
    }

    /// <summary>Whether an idle executor may go: not while as many as wanted are held, or as few as allowed.</summary>
    public bool MayRelease(int live) => options.Dynamic && live > Math.Max(options.Minimum, Target);

    private static int Bound(AllocationOptions options, int count) =>
        Math.Min(Math.Max(count, options.Minimum), Math.Max(options.Maximum, options.Minimum));
}
