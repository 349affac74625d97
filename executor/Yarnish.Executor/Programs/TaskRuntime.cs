using System.Buffers;
using Yarnish.Protocol;
using Yarnish.Serialization;

namespace Yarnish.Executor;

/// <summary>
/// What the executor offers to the one task attempt a <see cref="StageProgram"/> computes. Used by the slot thread of the attempt only.
/// </summary>
public abstract class TaskRuntime
{
    /// <summary>Partition, attempt, cancellation, logger: what user code may see, also through <see cref="TaskContext.Current"/>.</summary>
    public abstract TaskContext Context { get; }

    /// <summary>The bytes that only this partition needs, see <see cref="TaskAssignment.Input"/>.</summary>
    public abstract ReadOnlyMemory<byte> Input { get; }

    /// <summary>Counters of this attempt; the program adds rows and bytes as it goes.</summary>
    public abstract TaskCounters Counters { get; }

    /// <summary>Sets the result of the attempt; at most once. Large results become a block by themselves. The bytes are kept, not copied: do not change them afterwards.</summary>
    public abstract void SetResult(ReadOnlyMemory<byte> result);

    /// <summary>Opens the output of a map task. The program writes each row's bytes to the part of its reducer and completes the writer.</summary>
    public abstract IShuffleWriter OpenShuffleWriter(ShuffleId shuffle, int reducers);

    /// <summary>
    /// Streams the parts of one reducer, decompressed and verified: local files in the order of map tasks, then what meanwhile came from other nodes. A part may come as several
    /// blocks, each of whole rows; blocks of different map tasks may alternate. Throws <see cref="ShuffleFetchException"/> while enumerating when a part is missing or corrupt after retries.
    /// </summary>
    public abstract IEnumerable<ShuffleBlock> ReadShuffle(ShuffleId shuffle, int reducer);

    /// <summary>
    /// Waits until every task of this barrier stage has called it as often as this one, and gives what each of them said, by partition.
    /// </summary>
    /// <param name="message">What this task says.</param>
    /// <param name="timeout">How long it waits.</param>
    /// <exception cref="TimeoutException">Not all have come in time.</exception>
    /// <exception cref="OperationCanceledException">The attempt was told to stop: another task of the stage failed.</exception>
    public virtual Task<IReadOnlyList<string>> MeetAsync(string message, TimeSpan timeout) =>
        throw new InvalidOperationException("Only tasks of a barrier stage can wait for each other.");

    /// <summary>
    /// As <see cref="ReadShuffle(ShuffleId, int)"/>, the rows that were written by <see cref="IShuffleWriter.RowsOf{T}"/>.
    /// </summary>
    /// <param name="shuffle">The shuffle.</param>
    /// <param name="reducer">Whose part.</param>
    /// <param name="format">How rows become bytes.</param>
    /// <param name="inOrder">True for the order of the map tasks, the same every time; then what comes from other nodes is held in memory. False for the order in which blocks arrive.</param>
    public abstract IEnumerable<ShuffleRowBlock<T>> ReadShuffle<T>(ShuffleId shuffle, int reducer, IRowFormat<T> format, bool inOrder);

    /// <summary>Persisted partitions on this executor.</summary>
    public abstract ICollectionCache Cache { get; }
}

/// <summary>Decompressed rows that one map task wrote for one reducer: its part, or a piece of it.</summary>
/// <param name="MapPartition">The map task.</param>
/// <param name="Content">Its rows' bytes; valid until the next block is asked for.</param>
public readonly record struct ShuffleBlock(int MapPartition, ReadOnlyMemory<byte> Content);

/// <summary>Rows that one map task wrote for one reducer, or some of them.</summary>
/// <typeparam name="T">The row.</typeparam>
/// <param name="MapPartition">The map task.</param>
/// <param name="Rows">The rows; valid until the next block is asked for.</param>
public readonly record struct ShuffleRowBlock<T>(int MapPartition, ReadOnlyMemory<T> Rows);

/// <summary>Where a map task puts its rows.</summary>
/// <typeparam name="T">The row.</typeparam>
public abstract class ShuffleRowWriter<T>
{
    /// <summary>Appends a row to the part of a reducer.</summary>
    public abstract void Write(int reducer, T row);
}

/// <summary>The output of one map task: one part per reducer. Spills to disk when its buffers exceed the memory the task may use.</summary>
public interface IShuffleWriter
{
    /// <summary>Where to write the bytes of a row for a reducer. Call <see cref="RowWritten"/> after each row.</summary>
    IBufferWriter<byte> GetPart(int reducer);

    /// <summary>One row for the reducer is complete: rows never straddle a spill.</summary>
    void RowWritten(int reducer);

    /// <summary>
    /// For rows instead of bytes; asked once, instead of <see cref="GetPart"/>. Where map and reduce tasks run in one process, rows that nobody can change stay in memory as they are, as far as
    /// there is room.
    /// </summary>
    ShuffleRowWriter<T> RowsOf<T>(IRowFormat<T> format);

    /// <summary>Writes data and index file, renames them into place and registers the output. At most once; without it nothing is kept.</summary>
    void Complete();
}

/// <summary>Persisted partitions held by this executor.</summary>
public interface ICollectionCache
{
    /// <summary>
    /// The rows of a persisted partition: from memory or disk when held; else computed, stored according to the level, and returned. What does not fit into memory goes
    /// to disk or is not stored, as the level says; blocks of the same collection are never evicted for it.
    /// </summary>
    /// <param name="collection">Number of the persisted collection.</param>
    /// <param name="partition">The partition.</param>
    /// <param name="level">Where it may be held.</param>
    /// <param name="rows">How rows become bytes, for the serialized and disk levels and for telling sizes.</param>
    /// <param name="compute">Computes the rows when they are not held.</param>
    IEnumerable<T> GetOrCompute<T>(int collection, int partition, StorageLevel level, IRowFormat<T> rows, Func<IEnumerable<T>> compute);

    /// <summary>Whether a persisted partition is here: in the memory of this executor, or on the disk of its node.</summary>
    bool Holds(int collection, int partition);
}

/// <summary>Where a persisted partition may be held. Flags: combine them, or take one of the combinations that have a name.</summary>
[Flags]
public enum StorageLevel
{
    /// <summary>Nowhere.</summary>
    None = 0,

    /// <summary>In memory, as objects; not stored when it does not fit, and computed again.</summary>
    Memory = 1,

    /// <summary>On the disk of the node, compressed: read by every executor there, by other nodes over the network, and still there when the executor has gone.</summary>
    Disk = 2,

    /// <summary>In memory, on disk when it does not fit or must make room: the default.</summary>
    MemoryAndDisk = Memory | Disk,

    /// <summary>In memory as compressed bytes: smaller, slower to read. Combine with <see cref="Memory"/>; on disk partitions always are.</summary>
    Serialized = 4,

    /// <summary>As <see cref="Memory"/>, in bytes.</summary>
    MemorySerialized = Memory | Serialized,

    /// <summary>As <see cref="MemoryAndDisk"/>, in bytes.</summary>
    MemoryAndDiskSerialized = MemoryAndDisk | Serialized,

    /// <summary>
    /// On the disks of two nodes, beside what else the level says: a lost node costs no computing. The second copy is made after the task has ended; as long as there
    /// is no second node there is none, which is no failure. Combine with any of the others.
    /// </summary>
    Replicated = 8,
}

/// <summary>A part of a shuffle is missing or corrupt: the map task that wrote it runs again.</summary>
public sealed class ShuffleFetchException : Exception
{
    /// <summary>With the failure to report.</summary>
    public ShuffleFetchException(FetchFailed failure, Exception? inner = null)
        : base(failure.Message, inner) => Failure = failure;

    /// <summary>What could not be read, and from where.</summary>
    public FetchFailed Failure { get; }
}

/// <summary>
/// Where a shuffle is could not be found out: the registry does not have it or does not answer, and the driver did not publish it in time. No map output is
/// known to be lost, so the attempt fails like any other, and a few later the job does.
/// </summary>
public sealed class ShuffleLocationsException : Exception
{
    /// <summary>With a message for people.</summary>
    public ShuffleLocationsException(string message)
        : base(message)
    {
    }
}

/// <summary>Counters that a running attempt fills; become <see cref="TaskMetrics"/> when it ends.</summary>
public sealed class TaskCounters
{
    /// <summary>Rows read from sources.</summary>
    public long InputRows { get; set; }

    /// <summary>Bytes read from sources.</summary>
    public long InputBytes { get; set; }

    /// <summary>Malformed rows of sources that were left out, as the program wanted.</summary>
    public long SkippedRows { get; set; }

    /// <summary>Rows written to sinks.</summary>
    public long OutputRows { get; set; }

    /// <summary>Bytes written to sinks.</summary>
    public long OutputBytes { get; set; }

    /// <summary>Rows read from shuffles.</summary>
    public long ShuffleReadRows { get; set; }

    /// <summary>Microseconds spent turning code and input into objects.</summary>
    public long DeserializeMicroseconds { get; set; }
}
