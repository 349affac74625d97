using System.Threading.Channels;
using Yarnish.NodeAgent.Containers;

namespace Yarnish.NodeAgent.Node;

/// <summary>The one loop that owns the <see cref="ContainerTable"/>: takes events from a bounded inbox, wakes for deadlines, hands effects on, publishes snapshots.</summary>
internal sealed class AgentLoop(ContainerTable table, Action<AgentEffect> perform, TimeProvider clock, ILogger<AgentLoop> logger)
{
    private readonly Channel<AgentEvent> _inbox = Channel.CreateBounded<AgentEvent>(new BoundedChannelOptions(4096) { SingleReader = true });
    private readonly Lock _gate = new();
    private TableSnapshot _snapshot = TableSnapshot.Empty;
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>The table as it was after the last event.</summary>
    public TableSnapshot Snapshot => Volatile.Read(ref _snapshot);

    /// <summary>Hands in an event; waits while the inbox is full. False when the loop has ended.</summary>
    public async ValueTask<bool> PostAsync(AgentEvent happened, CancellationToken cancellation = default)
    {
        try
        {
            await _inbox.Writer.WriteAsync(happened, cancellation);
            return true;
        }
        catch (ChannelClosedException)
        {
            return false;
        }
    }

    /// <summary>Waits until a snapshot satisfies a condition.</summary>
    public async Task<TableSnapshot> WaitAsync(Func<TableSnapshot, bool> condition, CancellationToken cancellation)
    {
        while (true)
        {
            Task changed;
            TableSnapshot snapshot;
            lock (_gate)
            {
                changed = _changed.Task;
                snapshot = Snapshot;
            }
            if (condition(snapshot))
            {
                return snapshot;
            }
            await changed.WaitAsync(cancellation);
        }
    }

    /// <summary>Applies one event before the loop runs: what was found on disk.</summary>
    public void Begin(AgentEvent happened) => Take(happened);

    /// <summary>Runs until cancelled or until an effect throws, which is a fault of the program.</summary>
    public async Task RunAsync(CancellationToken cancellation)
    {
        try
        {
            Publish();
            while (true)
            {
                while (_inbox.Reader.TryRead(out var happened))
                {
                    Take(happened);
                }
                Publish();
                var wait = table.NextDeadline - clock.GetUtcNow();
                if (wait <= TimeSpan.Zero)
                {
                    Take(new Tick());
                    continue;
                }
                await WaitForEventAsync(wait, cancellation);
            }
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            // Told to end.
        }
        finally
        {
            _inbox.Writer.TryComplete();
        }
    }

    private async Task WaitForEventAsync(TimeSpan wait, CancellationToken cancellation)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        // A timer takes at most some 49 days; without a deadline nothing is due.
        var timer = wait < TimeSpan.FromDays(1) ? clock.CreateTimer(static source => Cancel((CancellationTokenSource)source!), deadline, wait, Timeout.InfiniteTimeSpan) : null;
        try
        {
            await _inbox.Reader.WaitToReadAsync(deadline.Token);
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            // The deadline.
        }
        finally
        {
            if (timer is not null)
            {
                await timer.DisposeAsync();
            }
        }
    }

    private static void Cancel(CancellationTokenSource source)
    {
        try
        {
            source.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // An event came first.
        }
    }

    private void Take(AgentEvent happened)
    {
        foreach (var effect in table.Apply(happened, clock.GetUtcNow()))
        {
            try
            {
                perform(effect);
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                // A full disk must not end the agent: records are rewritten at the next change, removals are repeated by housekeeping.
                logger.LogError("{Effect} failed: {Error}", effect.GetType().Name, error.Message);
            }
        }
    }

    private void Publish()
    {
        var snapshot = table.Snapshot();
        if (snapshot.Version == Snapshot.Version)
        {
            return;
        }
        TaskCompletionSource changed;
        lock (_gate)
        {
            Volatile.Write(ref _snapshot, snapshot);
            (changed, _changed) = (_changed, new(TaskCreationOptions.RunContinuationsAsynchronously));
        }
        changed.SetResult();
    }
}
