using Yarnish.Blocks;
using Yarnish.Protocol;

namespace Yarnish.Executor;

/// <summary>The shuffle writer of one attempt: the file writer plus registration.</summary>
internal sealed class TaskShuffleWriter(AttemptRuntime task, BlockDirectory directory, MapOutputId id, int reducers, long memoryLimit)
    : ShuffleFileWriter(directory, id, reducers, memoryLimit), IShuffleWriter
{
    /// <summary>The shuffle.</summary>
    public required ShuffleId Shuffle { get; init; }

    /// <summary>When it was opened.</summary>
    public DateTimeOffset Opened { get; } = task.Now;

    /// <summary>What was written; null until complete.</summary>
    public MapOutput? Output { get; private set; }

    /// <inheritdoc/>
    public void Complete()
    {
        Finish();
        var classes = new byte[PartBytes.Length];
        for (var reducer = 0; reducer < classes.Length; reducer++)
        {
            classes[reducer] = SizeClasses.Of(PartBytes[reducer]);
        }
        Output = task.Register(Shuffle, classes);
    }
}
