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
    private readonly Lock gate = new();
    private Task? prepared;

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
    public Func<CancellationToken, Task<ShuffleWrite>>? Prepare { get; init; }

    /// <summary>Runs <see cref="Prepare"/> once; a failed or cancelled try is tried again by the next job.</summary>
    public Task PrepareAsync(CancellationToken cancellation)
    {
        if (Prepare is null)
        {
            return Task.CompletedTask;
        }
        lock (gate)
        {
            if (prepared is null || prepared.IsFaulted || prepared.IsCanceled)
            {
                prepared = SettleAsync(Prepare, cancellation);
            }
            return prepared;
        }
    }

    private async Task SettleAsync(Func<CancellationToken, Task<ShuffleWrite>> prepare, CancellationToken cancellation) => Write = await prepare(cancellation).ConfigureAwait(false);
}
