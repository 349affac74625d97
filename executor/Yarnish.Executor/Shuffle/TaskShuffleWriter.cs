using Yarnish.Blocks;
using Yarnish.Protocol;
using Yarnish.Serialization;

namespace Yarnish.Executor;

/// <summary>The shuffle writer of one attempt: rows as bytes in a file, or, within one process, as they are; then registration.</summary>
internal sealed class TaskShuffleWriter : ShuffleFileWriter, IShuffleWriter
{
    private readonly AttemptRuntime task;
    private readonly MapOutputId id;
    private readonly SharedShuffles? sharing;
#pragma warning disable CA1859 // A method's type argument cannot be a field's.
    private ISharedWriter? shared;
#pragma warning restore CA1859

    /// <summary>Nothing is held before the first row.</summary>
    public TaskShuffleWriter(AttemptRuntime task, BlockDirectory directory, MapOutputId id, int reducers, long memoryLimit, SharedShuffles? sharing)
        : base(directory, id, reducers, memoryLimit) => (this.task, this.id, this.sharing, Opened) = (task, id, sharing, task.Now);

    /// <summary>When it was opened.</summary>
    public DateTimeOffset Opened { get; }

    /// <summary>The shuffle.</summary>
    public ShuffleId Shuffle => id.ShuffleId;

    /// <summary>What was written; null until complete.</summary>
    public MapOutput? Output { get; private set; }

    /// <summary>Rows, wherever they went.</summary>
    public long AllRows => Rows + (shared?.KeptRows ?? 0);

    /// <summary>Bytes in the file, or about as many as the rows have in memory.</summary>
    public long AllBytes => WrittenBytes + (shared?.KeptBytes ?? 0);

    /// <inheritdoc/>
    public ShuffleRowWriter<T> RowsOf<T>(IRowFormat<T> format)
    {
        var files = new FileRowWriter<T>(this, format);
        if (sharing is null || !RowSharing<T>.IsPossible)
        {
            return files;
        }
        if (shared is not null)
        {
            throw new InvalidOperationException("A shuffle has rows of one type.");
        }
        var writer = new SharedRowWriter<T>(sharing, files, format, PartBytes.Length);
        shared = writer;
        return writer;
    }

    /// <inheritdoc/>
    public void Complete()
    {
        var classes = new byte[PartBytes.Length];
        if (shared?.Keep(id) == true)
        {
            for (var reducer = 0; reducer < classes.Length; reducer++)
            {
                classes[reducer] = SizeClasses.Of(shared.PartBytes(reducer));
            }
        }
        else
        {
            Finish();
            for (var reducer = 0; reducer < classes.Length; reducer++)
            {
                classes[reducer] = SizeClasses.Of(PartBytes[reducer]);
            }
        }
        Output = task.Register(Shuffle, classes);
    }

    /// <summary>Gives back what an attempt holds that did not complete.</summary>
    public void Abandon()
    {
        shared?.Abandon();
        Dispose();
    }
}

/// <summary>Rows as bytes.</summary>
internal sealed class FileRowWriter<T>(ShuffleFileWriter writer, IRowFormat<T> format) : ShuffleRowWriter<T>
{
    /// <inheritdoc/>
    public override void Write(int reducer, T row)
    {
        format.Write(writer.GetPart(reducer), row);
        writer.RowWritten(reducer);
    }
}
