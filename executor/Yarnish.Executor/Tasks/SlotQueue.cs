namespace Yarnish.Executor;

/// <summary>The one queue that feeds the slot threads. Its bound is the <see cref="AttemptTable"/>'s, which admits before anything comes here.</summary>
internal sealed class SlotQueue
{
    private readonly object gate = new();
    private readonly Queue<Attempt> attempts = new();
    private int waiting;
    private bool closed;

    /// <summary>Adds attempts and wakes as many slots as can use them.</summary>
    public void Add(List<Attempt> added)
    {
        lock (gate)
        {
            foreach (var attempt in added)
            {
                attempts.Enqueue(attempt);
            }
            var wake = Math.Min(waiting, added.Count);
            for (var i = 0; i < wake; i++)
            {
                Monitor.Pulse(gate);
            }
        }
    }

    /// <summary>Waits for the next attempt; false when closed.</summary>
    public bool TryTake(out Attempt attempt)
    {
        lock (gate)
        {
            while (!closed && attempts.Count == 0)
            {
                waiting++;
                Monitor.Wait(gate);
                waiting--;
            }
            if (closed)
            {
                attempt = null!;
                return false;
            }
            attempt = attempts.Dequeue();
            return true;
        }
    }

    /// <summary>Nothing is taken any more.</summary>
    public void Close()
    {
        lock (gate)
        {
            closed = true;
            attempts.Clear();
            Monitor.PulseAll(gate);
        }
    }
}
