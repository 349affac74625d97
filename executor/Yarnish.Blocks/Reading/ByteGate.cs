namespace Yarnish.Blocks;

/// <summary>Bounds bytes held: who wants more waits, first come first served. One larger than the bound passes alone.</summary>
internal sealed class ByteGate(long capacity)
{
    private readonly Lock gate = new();
    private readonly Queue<(long Bytes, TaskCompletionSource Turn)> waiting = new();
    private long held;

    /// <summary>Completes when so many bytes may be held.</summary>
    public ValueTask EnterAsync(long bytes, CancellationToken cancellation)
    {
        TaskCompletionSource turn;
        lock (gate)
        {
            if (waiting.Count == 0 && Fits(bytes))
            {
                held += bytes;
                return default;
            }
            turn = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            waiting.Enqueue((bytes, turn));
        }
        return new(turn.Task.WaitAsync(cancellation));
    }

    /// <summary>Gives bytes back.</summary>
    public void Leave(long bytes)
    {
        lock (gate)
        {
            held -= bytes;
            while (waiting.TryPeek(out var next) && Fits(next.Bytes))
            {
                waiting.Dequeue();
                held += next.Bytes;
                next.Turn.TrySetResult();
            }
        }
    }

    private bool Fits(long bytes) => held == 0 || held + bytes <= capacity;
}
