using Microsoft.Extensions.Logging;
using Yarnish.Protocol;

namespace Yarnish.Executor;

/// <summary>What user code can know about the task attempt it runs in, and leave with it. Safe for the threads that an attempt uses at the same time.</summary>
public sealed class TaskContext
{
    // Flows with the execution context into everything the task awaits or starts. Set once per attempt; reading it is a few nanoseconds.
    private static readonly AsyncLocal<TaskContext?> Flowing = new();

    private readonly Lock gate = new();
    private List<Action<Exception?>>? listeners;
    private string? directory;
    private bool ended;
    private long inputRows;
    private long inputBytes;
    private long outputRows;
    private long outputBytes;

    /// <summary>
    /// The context of the attempt that this code runs for: on its own thread, after an <c>await</c>, and on threads it started (unless the flow of the execution context was suppressed). Null
    /// outside tasks, such as in the driver.
    /// </summary>
    public static TaskContext? Current => Flowing.Value;

    /// <summary>The stage.</summary>
    public required StageId StageId { get; init; }

    /// <summary>Counts the tries of the stage from 0.</summary>
    public required int StageAttempt { get; init; }

    /// <summary>The partition this attempt computes.</summary>
    public required int Partition { get; init; }

    /// <summary>Counts the tries of this partition in this stage attempt from 0.</summary>
    public required int AttemptNumber { get; init; }

    /// <summary>Unique id of the attempt.</summary>
    public required TaskAttemptId AttemptId { get; init; }

    /// <summary>The executor.</summary>
    public required ExecutorId ExecutorId { get; init; }

    /// <summary>Cancelled when the attempt shall stop: pass it on, or look at it in long loops.</summary>
    public required CancellationToken Cancellation { get; init; }

    /// <summary>Writes to the executor's log, tagged with the task.</summary>
    public required ILogger Logger { get; init; }

    /// <summary>What the attempt may use of its executor.</summary>
    public TaskResources Resources { get; init; }

    /// <summary>
    /// A directory of this attempt on the node's disk, for files that are of no use after it: made when it is first asked for, removed with all that is in it when the attempt ends, however it
    /// ends. Absolute path.
    /// </summary>
    /// <exception cref="IOException">The disk is full or broken.</exception>
    /// <exception cref="InvalidOperationException">The attempt has ended.</exception>
    public string TemporaryDirectory
    {
        get
        {
            lock (gate)
            {
                RequireRunning("has no directory any more");
                if (directory is null)
                {
                    directory = Directory.CreateDirectory(Path.Combine(TemporaryRoot, AttemptId.ToString())).FullName;
                }
                return directory;
            }
        }
    }

    /// <summary>Rows that this attempt's own code read from outside, see <see cref="AddInput"/>.</summary>
    public long InputRows => Interlocked.Read(ref inputRows);

    /// <summary>Bytes that this attempt's own code read from outside, see <see cref="AddInput"/>.</summary>
    public long InputBytes => Interlocked.Read(ref inputBytes);

    /// <summary>Rows that this attempt's own code wrote outside, see <see cref="AddOutput"/>.</summary>
    public long OutputRows => Interlocked.Read(ref outputRows);

    /// <summary>Bytes that this attempt's own code wrote outside, see <see cref="AddOutput"/>.</summary>
    public long OutputBytes => Interlocked.Read(ref outputBytes);

    /// <summary>Under which <see cref="TemporaryDirectory"/> is made.</summary>
    internal string TemporaryRoot { get; init; } = "";

    /// <summary>What shared values need of the attempt; null in contexts made by tests.</summary>
    internal ITaskSharing? Sharing { get; init; }

    /// <summary>Counts rows and bytes that the task's own code read from outside, such as from a database: they appear as its input in status and traces, beside what sources read.</summary>
    /// <param name="rows">How many rows more.</param>
    /// <param name="bytes">How many bytes more.</param>
    public void AddInput(long rows, long bytes = 0)
    {
        Interlocked.Add(ref inputRows, rows);
        Interlocked.Add(ref inputBytes, bytes);
    }

    /// <summary>Counts rows and bytes that the task's own code wrote outside: they appear as its output in status and traces.</summary>
    /// <param name="rows">How many rows more.</param>
    /// <param name="bytes">How many bytes more.</param>
    public void AddOutput(long rows, long bytes = 0)
    {
        Interlocked.Add(ref outputRows, rows);
        Interlocked.Add(ref outputBytes, bytes);
    }

    /// <summary>
    /// Calls something on the task's thread when the attempt ends, whether it succeeded, failed or was stopped: to close what it opened, to commit or to roll back. The last one given is called
    /// first. All are called, also when one throws; one that throws fails an attempt that had succeeded.
    /// </summary>
    /// <param name="listener">Gets null when the attempt succeeded, else what ended it.</param>
    /// <exception cref="InvalidOperationException">The attempt has ended.</exception>
    public void OnCompletion(Action<Exception?> listener)
    {
        ArgumentNullException.ThrowIfNull(listener);
        lock (gate)
        {
            RequireRunning("takes no listener any more");
            (listeners ??= []).Add(listener);
        }
    }

    /// <summary>Makes this the current context of the calling thread and of what it starts; null ends it.</summary>
    internal static void SetCurrent(TaskContext? context) => Flowing.Value = context;

    /// <summary>Calls the listeners.</summary>
    /// <returns>What the first of them that threw did throw; null when none did.</returns>
    internal Exception? Complete(Exception? error)
    {
        if (listeners is null)
        {
            return null;
        }
        Exception? first = null;
        while (true)
        {
            Action<Exception?> next;
            lock (gate)
            {
                if (listeners.Count == 0)
                {
                    return first;
                }
                next = listeners[^1];
                listeners.RemoveAt(listeners.Count - 1);
            }
            try
            {
                next(error);
            }
            catch (Exception thrown)
            {
                Logger.LogWarning(thrown, "A completion listener threw");
                first ??= thrown;
            }
        }
    }

    /// <summary>Removes what the attempt leaves on disk.</summary>
    internal void End()
    {
        lock (gate)
        {
            ended = true;
        }
        if (directory is null)
        {
            return;
        }
        try
        {
            Directory.Delete(directory, recursive: true);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // Something of the task still writes there; what stays goes with the executor.
            Logger.LogWarning("The temporary directory {Directory} is not removed: {Problem}", directory, error.Message);
        }
    }

    private void RequireRunning(string what)
    {
        if (ended)
        {
            throw new InvalidOperationException($"Attempt {AttemptId} (stage {StageId}, partition {Partition}) has ended and {what}. Await what a task starts before its function returns.");
        }
    }
}

/// <summary>What a task attempt may use.</summary>
/// <param name="ExecutorSlots">How many tasks its executor runs at once.</param>
/// <param name="ExecutorMemoryBytes">Memory of the executor's container, in bytes.</param>
/// <param name="MemoryBytes">The attempt's even share of it, in bytes: nobody enforces it.</param>
public readonly record struct TaskResources(int ExecutorSlots, long ExecutorMemoryBytes, long MemoryBytes);

/// <summary>What shared values (broadcasts, accumulators) find through the context of the attempt that uses them.</summary>
internal interface ITaskSharing
{
    /// <summary>The value of a broadcast in this process: fetched and made once, then shared.</summary>
    T Broadcast<T>(BroadcastId id);

    /// <summary>What the attempt has added to an accumulator, made when it is the first.</summary>
    TSlot Accumulator<TSlot>(int number, Func<TSlot> create)
        where TSlot : class, IAccumulatorSlot;
}
