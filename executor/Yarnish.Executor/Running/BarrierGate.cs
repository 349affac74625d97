using Yarnish.Protocol;

namespace Yarnish.Executor;

/// <summary>
/// Where attempts of barrier stages wait for the others. Each says that it has come, and says so again until the driver releases it: messages and connections may be lost, the driver counts nobody twice.
/// </summary>
/// <param name="tell">Tells the driver; may fail to, silently.</param>
internal sealed class BarrierGate(Func<TaskAttemptId, int, string, ValueTask> tell)
{
    private readonly Lock gate = new();
    private readonly Dictionary<TaskAttemptId, Waiting> waiting = [];

    /// <summary>Waits until all have come to this round.</summary>
    /// <exception cref="TimeoutException">They have not in time.</exception>
    /// <exception cref="InvalidOperationException">The attempt waits already.</exception>
    public async Task<IReadOnlyList<string>> MeetAsync(TaskAttemptId attempt, int round, string message, TimeSpan timeout, TimeProvider time, CancellationToken cancellation)
    {
        var mine = new Waiting(round, message, new TaskCompletionSource<IReadOnlyList<string>>(TaskCreationOptions.RunContinuationsAsynchronously));
        lock (gate)
        {
            if (!waiting.TryAdd(attempt, mine))
            {
                throw new InvalidOperationException("This task waits at a barrier already: await one before the next.");
            }
        }
        try
        {
            await tell(attempt, round, message).ConfigureAwait(false);
            return await mine.Released.Task.WaitAsync(timeout, time, cancellation).ConfigureAwait(false);
        }
        finally
        {
            lock (gate)
            {
                waiting.Remove(attempt);
            }
        }
    }

    /// <summary>The driver lets attempts go on.</summary>
    public void OnReleased(BarrierReleased released)
    {
        lock (gate)
        {
            foreach (var attempt in released.Attempts)
            {
                if (waiting.TryGetValue(attempt, out var one) && one.Round == released.Round)
                {
                    one.Released.TrySetResult(released.Messages);
                }
            }
        }
    }

    /// <summary>Says again who waits: with every beat, and on a new connection.</summary>
    public async Task SayAgainAsync()
    {
        KeyValuePair<TaskAttemptId, Waiting>[] those;
        lock (gate)
        {
            those = [.. waiting.Where(static pair => !pair.Value.Released.Task.IsCompleted)];
        }
        foreach (var (attempt, one) in those)
        {
            await tell(attempt, one.Round, one.Message).ConfigureAwait(false);
        }
    }

    private sealed record Waiting(int Round, string Message, TaskCompletionSource<IReadOnlyList<string>> Released);
}
