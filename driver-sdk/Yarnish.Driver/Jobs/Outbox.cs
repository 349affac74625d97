using Yarnish.Protocol;
using Yarnish.Transport;

namespace Yarnish.Jobs;

/// <summary>
/// Sends in order without ever holding up the driver loop: a message goes straight to the link as long as the link takes it at once; while it does not (full confirm window,
/// blocked broker), messages wait here. The machine's window per executor bounds how many can.
/// Used by the loop only; <see cref="Continue"/> must be called when <see cref="Pending"/> is completed.
/// </summary>
internal sealed class Outbox(IDriverLink link)
{
    private readonly Queue<Entry> waiting = new();
    private readonly Queue<(ExecutorAddress To, TaskBatch Batch)> unsent = new();
    private Task? pending;
    private Entry current;

    /// <summary>What the queue waits for; null when nothing waits.</summary>
    public Task? Pending => pending;

    /// <summary>Sends to one executor epoch, or to all when there is no address.</summary>
    public void Send(ExecutorAddress? to, DriverMessage message) => Post(new Entry(to, message, null));

    /// <summary>Holds back what is sent later until the work is done, whatever its outcome; then sends a message of its own.</summary>
    public void Fence(Task work, (ExecutorAddress To, DriverMessage Message)? then)
    {
        if (!work.IsCompleted || pending is not null)
        {
            Post(new Entry(null, null, work));
        }
        if (then is { } after)
        {
            Send(after.To, after.Message);
        }
    }

    /// <summary>Goes on when <see cref="Pending"/> has completed.</summary>
    public void Continue()
    {
        if (pending is not { IsCompleted: true } done)
        {
            return;
        }
        pending = null;
        Finish(current, done);
        while (pending is null && waiting.TryDequeue(out var next))
        {
            Hand(next);
        }
    }

    /// <summary>A batch that was not sent because the link is down.</summary>
    public bool TryTakeUnsent(out ExecutorAddress to, out TaskBatch batch)
    {
        var any = unsent.TryDequeue(out var first);
        (to, batch) = first;
        return any;
    }

    /// <summary>Forgets what waits.</summary>
    public void Clear() => waiting.Clear();

    private void Post(Entry entry)
    {
        if (pending is not null)
        {
            waiting.Enqueue(entry);
            return;
        }
        Hand(entry);
    }

    private void Hand(Entry entry)
    {
        if (entry.Work is { } work)
        {
            (pending, current) = (work, entry);
            return;
        }
        var sent = entry.To is { } address ? link.SendAsync(address, entry.Message!) : link.BroadcastAsync(entry.Message!);
        if (sent.IsCompletedSuccessfully)
        {
            Finish(entry, sent.Result);
            return;
        }
        var task = sent.AsTask();
        if (task.IsCompleted)
        {
            Finish(entry, task);
            return;
        }
        (pending, current) = (task, entry);
    }

    private void Finish(Entry entry, Task done)
    {
        // A send that throws is a link that is down; its own events say so.
        _ = done.Exception;
        Finish(entry, done is Task<bool> { IsCompletedSuccessfully: true, Result: true });
    }

    private void Finish(Entry entry, bool sent)
    {
        if (!sent && entry is { Message: TaskBatch batch, To: { } to })
        {
            unsent.Enqueue((to, batch));
        }
    }

    private readonly record struct Entry(ExecutorAddress? To, DriverMessage? Message, Task? Work);
}
