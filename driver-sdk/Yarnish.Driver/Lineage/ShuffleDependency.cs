using Yarnish.Jobs;
using Yarnish.Operators;
using Yarnish.Protocol;

namespace Yarnish.Lineage;

/// <summary>
/// A cut in the lineage: every partition of <see cref="Map"/> is written out by the reducer each row belongs to. When no collection can read it any more its
/// files are released, as Spark's context cleaner does.
/// </summary>
internal sealed class ShuffleDependency
{
    private readonly IJobRunner runner;

    public ShuffleDependency(IJobRunner runner, LineageNode map, int reducers, ShuffleWrite write)
    {
        this.runner = runner;
        Shuffle = runner.NextShuffle();
        Map = map;
        Reducers = reducers;
        Write = write;
    }

    ~ShuffleDependency() => runner.Release(Shuffle);

    /// <summary>Its number, the same for every job that reads it.</summary>
    public ShuffleId Shuffle { get; }

    /// <summary>What is written.</summary>
    public LineageNode Map { get; }

    /// <summary>For how many reducers.</summary>
    public int Reducers { get; }

    /// <summary>How each map task writes; may be settled by <see cref="Prepare"/> only.</summary>
    public ShuffleWrite Write { get; private set; }

    /// <summary>True when a map task that runs again may send rows to other reducers than before.</summary>
    public bool Indeterminate { get; init; }

    /// <summary>Settles <see cref="Write"/> before the first job that needs it, such as by sampling the range of keys; null when it is settled.</summary>
    public Func<CancellationToken, Task<ShuffleWrite>>? Prepare
    {
        init => Preparation = value is null ? null : new Preparation(async cancellation => Write = await value(cancellation).ConfigureAwait(false));
    }

    /// <summary>What must be done before the first job that reads it.</summary>
    public Preparation? Preparation { get; private init; }
}
