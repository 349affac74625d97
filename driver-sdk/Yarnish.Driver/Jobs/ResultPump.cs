namespace Yarnish.Jobs;

/// <summary>
/// Hands the results of one job to its plan: in order, never two at a time. A small one is handed over on the driver loop itself, which costs no thread hop; large
/// ones are read on the thread pool, so that they do not hold up other jobs. What waits is bounded by the job's limit of result bytes.
/// </summary>
/// <param name="onResult">The plan's consumer.</param>
/// <param name="failed">Told when the consumer threw; from any thread. Nothing is handed over afterwards.</param>
internal sealed class ResultPump(Action<int, ReadOnlyMemory<byte>> onResult, Action<int, Exception> failed)
{
    private const int InlineBytes = 4096;

    private readonly Lock gate = new();
    private readonly Queue<(int Partition, ReadOnlyMemory<byte> Content)> waiting = new();
    private Task working = Task.CompletedTask;
    private bool busy;
    private bool stopped;

    /// <summary>Completed when everything was handed over.</summary>
    public Task Drained
    {
        get
        {
            lock (gate)
            {
                return working;
            }
        }
    }

    /// <summary>What the consumer threw, and on which partition's result; null when nothing.</summary>
    public (int Partition, Exception Error)? Failure { get; private set; }

    /// <summary>Hands over a result, now or soon.</summary>
    public void Deliver(int partition, ReadOnlyMemory<byte> content)
    {
        lock (gate)
        {
            if (stopped)
            {
                return;
            }
            if (busy || content.Length > InlineBytes)
            {
                waiting.Enqueue((partition, content));
                if (!busy)
                {
                    busy = true;
                    working = Task.Run(Work);
                }
                return;
            }
        }
        Hand(partition, content);
    }

    private void Work()
    {
        while (true)
        {
            (int Partition, ReadOnlyMemory<byte> Content) next;
            lock (gate)
            {
                if (stopped || !waiting.TryDequeue(out next))
                {
                    busy = false;
                    return;
                }
            }
            Hand(next.Partition, next.Content);
        }
    }

    private void Hand(int partition, ReadOnlyMemory<byte> content)
    {
        try
        {
            onResult(partition, content);
        }
        catch (Exception error)
        {
            lock (gate)
            {
                stopped = true;
                Failure = (partition, error);
                waiting.Clear();
            }
            failed(partition, error);
        }
    }
}
