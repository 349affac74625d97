using System.Text;
using Yarnish.Executor;

namespace Yarnish;

/// <summary>
/// What a task of a barrier stage can do beside computing: wait for all the others, and hear what they say. All tasks must call <see cref="Barrier"/> and <see cref="AllGather"/> equally often and in the
/// same order. When any task fails, all are stopped (their waiting ends with an <see cref="OperationCanceledException"/>) and the whole stage is started again.
/// </summary>
public sealed class BarrierTaskContext
{
    /// <summary>Most bytes of what all tasks say together in one <see cref="AllGather"/>: each of them gets all of it.</summary>
    private const int MaximumTogether = 4 << 20;

    /// <summary>Most bytes of what one task says.</summary>
    private const int MaximumMessage = 64 << 10;

    private readonly TaskRuntime task;
    private readonly TimeSpan timeout;

    internal BarrierTaskContext(TaskRuntime task, int participants, TimeSpan timeout)
    {
        this.task = task;
        Participants = participants;
        this.timeout = timeout;
    }

    /// <summary>Partition, attempt, cancellation and logger of this task.</summary>
    public TaskContext Task => task.Context;

    /// <summary>The partition that this task computes: from 0 to below <see cref="Participants"/>.</summary>
    public int Partition => task.Context.Partition;

    /// <summary>How many tasks run together: the partitions of the collection.</summary>
    public int Participants { get; }

    /// <summary>Waits, on this thread, until all tasks have come here.</summary>
    /// <param name="timeout">How long; null for the stage's.</param>
    /// <exception cref="TimeoutException">Not all have come in time.</exception>
    public void Barrier(TimeSpan? timeout = null) => MeetAsync("", timeout).GetAwaiter().GetResult();

    /// <summary>Completes when all tasks have come here. Wait for it before the next one.</summary>
    /// <param name="timeout">How long; null for the stage's.</param>
    /// <exception cref="TimeoutException">Not all have come in time.</exception>
    public Task BarrierAsync(TimeSpan? timeout = null) => MeetAsync("", timeout);

    /// <summary>Waits, on this thread, until all tasks have come here, and gives what each of them said.</summary>
    /// <param name="message">What this one says: at most 64 KiB of UTF-8, and 4 MiB divided by the number of tasks. For addresses and figures, not for data.</param>
    /// <param name="timeout">How long; null for the stage's.</param>
    /// <returns>The messages, by partition.</returns>
    /// <exception cref="ArgumentException">The message is too long.</exception>
    /// <exception cref="TimeoutException">Not all have come in time.</exception>
    public IReadOnlyList<string> AllGather(string message, TimeSpan? timeout = null) => AllGatherAsync(message, timeout).GetAwaiter().GetResult();

    /// <summary>As <see cref="AllGather"/>. Wait for it before the next one.</summary>
    /// <param name="message">What this one says.</param>
    /// <param name="timeout">How long; null for the stage's.</param>
    /// <returns>The messages, by partition.</returns>
    /// <exception cref="ArgumentException">The message is too long.</exception>
    /// <exception cref="TimeoutException">Not all have come in time.</exception>
    public Task<IReadOnlyList<string>> AllGatherAsync(string message, TimeSpan? timeout = null)
    {
        ArgumentNullException.ThrowIfNull(message);
        var most = Math.Min(MaximumMessage, MaximumTogether / Participants);
        var bytes = Encoding.UTF8.GetByteCount(message);
        return bytes <= most
            ? MeetAsync(message, timeout)
            : throw new ArgumentException($"The message of partition {Partition} has {bytes:N0} bytes; {most:N0} are allowed with {Participants} tasks. Write data to a shuffle or a file and say where it is.", nameof(message));
    }

    private async Task<IReadOnlyList<string>> MeetAsync(string message, TimeSpan? limit)
    {
        var patience = limit ?? timeout;
        try
        {
            return await task.MeetAsync(message, patience).ConfigureAwait(false);
        }
        catch (TimeoutException error)
        {
            throw new TimeoutException(
                $"Partition {Partition} waited {patience.TotalSeconds:0.###} s at a barrier and not all {Participants} tasks came. Some are slower than that (give Barrier a longer timeout), or they do not all come here.", error);
        }
    }
}
