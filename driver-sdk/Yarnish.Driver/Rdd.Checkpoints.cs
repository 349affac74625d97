using System.Globalization;
using System.Runtime.CompilerServices;
using Yarnish.Executor;
using Yarnish.Operators;
using Yarnish.Sinks;
using Yarnish.Sources;

namespace Yarnish;

public partial class Rdd<T>
{
    /// <summary>
    /// Writes the rows to storage and reads them from there from now on: what the collection was made of is forgotten, with the shuffles it read, and never computed again. Ends lineages that loops
    /// let grow, and what differs each time it is computed. A job of its own computes the rows: persist the collection before, else they are computed once more by the first job that needed them.
    /// </summary>
    /// <param name="directory">Storage that every node and the driver see under the same path.</param>
    /// <param name="keep">
    /// False: the files go into a directory of their own below <paramref name="directory"/>, which is removed when the session ends. True: they are the content of
    /// <paramref name="directory"/>, which must be empty or not there, and stay; <c>ReadObjects</c> reads them in another session.
    /// </param>
    /// <param name="cancellation">Cancels the job; nothing is changed then.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    /// <returns>This collection. Collections made of it before read the checkpoint, too.</returns>
    /// <exception cref="IOException">The directory cannot be written, or has content.</exception>
    /// <exception cref="YarnishJobException">A task failed for good.</exception>
    public async Task<Rdd<T>> CheckpointAsync(
        string directory, bool keep = false, CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        ArgumentException.ThrowIfNullOrEmpty(directory);
        if (Node.IsCut)
        {
            return this;
        }
        _ = Serialization.RowFormats.For<T>();
        var format = new ObjectsFormat<T>();
        var target = Path.GetFullPath(directory);
        if (!keep)
        {
            target = Path.Combine(target, $"checkpoint-{Guid.CreateVersion7():N}");
            Runner.RemoveAtEnd(target);
        }
        await SaveFilesAsync(target, format, SaveMode.ErrorIfExists, FileCompression.None, Name(file, line), cancellation).ConfigureAwait(false);
        var files = new byte[Partitions][];
        for (var partition = 0; partition < files.Length; partition++)
        {
            var path = Path.Combine(target, string.Create(CultureInfo.InvariantCulture, $"part-{partition:D5}{format.Extension}"));
            files[partition] = FileSplit.ToBytes([FileSplit.Whole(new FileInfo(path))]);
        }
        Node.Cut(new CheckpointOperator<T>(Node.ToString()), partition => files[partition]);
        return this;
    }

    /// <summary>
    /// Persists the rows and forgets what the collection was made of: cheap, nothing is written to shared storage. In return the rows are lost with the executors or nodes that hold them; jobs that
    /// need them then fail and say so. Combine the level with <see cref="StorageLevel.Replicated"/> to survive the loss of a node, or use <see cref="CheckpointAsync"/>.
    /// </summary>
    /// <param name="level">Must include <see cref="StorageLevel.Disk"/>: what does not fit into memory would be lost at once. Taken from <see cref="Persist"/> when it was called before.</param>
    /// <param name="cancellation">Cancels the job; the collection is then merely persisted.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    /// <returns>This collection.</returns>
    /// <exception cref="ArgumentException">The level has no disk.</exception>
    /// <exception cref="IOException">Partitions could not be stored; the collection can still be computed.</exception>
    /// <exception cref="YarnishJobException">A task failed for good.</exception>
    public async Task<Rdd<T>> LocalCheckpointAsync(
        StorageLevel level = StorageLevel.MemoryAndDisk, CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        if (Node.IsCut)
        {
            return this;
        }
        level = Node.Collection is null ? level : Node.Level;
        if ((level & StorageLevel.Disk) == 0)
        {
            throw new ArgumentException($"A local checkpoint needs a storage level with Disk, not {level}: partitions that do not fit into memory would be lost at once.", nameof(level));
        }
        Persist(level);
        var missing = new List<int>();
        await RunAsync(new StoreAction<T>(Node.Collection!.Value), Name(file, line), null, (partition, result) =>
        {
            if (result.Span[0] == 0)
            {
                missing.Add(partition);
            }
        }, cancellation).ConfigureAwait(false);
        if (missing.Count > 0)
        {
            throw new IOException(
                $"{Name(file, line)}: {missing.Count} of {Partitions} partitions could not be stored, partition {missing.Min()} among them: memory and disk of the executors are full. "
                + "Nothing is lost, the collection is computed when it is needed. Free disk space on the nodes, or use CheckpointAsync.");
        }
        Node.Cut(new LocalCheckpointOperator<T>(Node.ToString()), null);
        return this;
    }
}
