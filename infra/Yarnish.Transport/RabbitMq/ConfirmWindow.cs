namespace Yarnish.Transport;

/// <summary>
/// The messages of one channel that the broker has not confirmed yet: a ring from the lowest unconfirmed tag to the next. Bounded by messages and bytes. The client's own
/// tracking would cost five times the memory per message and does not bound what is outstanding.
/// </summary>
/// <param name="capacity">Messages outstanding at most; a power of two.</param>
/// <param name="capacityBytes">Bytes outstanding at most; a single larger message may pass when it is alone.</param>
/// <param name="settled">Called outside the lock for every message: its state and whether the broker took it.</param>
/// <param name="lost">Called outside the lock for every message that was outstanding when the channel went away.</param>
internal sealed class ConfirmWindow(int capacity, long capacityBytes, Action<object?, bool> settled, Action<object?> lost)
{
    private readonly Lock gate = new();
    private readonly Entry[] ring = new Entry[capacity];
    private ulong lowest = 1;
    private ulong next = 1;
    private long bytes;
    private bool closed;
    private TaskCompletionSource<bool>? waiting;
    private int waitingBytes;

    /// <summary>Messages outstanding.</summary>
    public int Outstanding
    {
        get
        {
            lock (gate)
            {
                return (int)(next - lowest);
            }
        }
    }

    /// <summary>True when a message of this size may be added. False when the channel is gone. One caller at a time.</summary>
    public ValueTask<bool> WaitForRoomAsync(int size)
    {
        lock (gate)
        {
            if (closed || HasRoom(size))
            {
                return new(!closed);
            }
            waitingBytes = size;
            // Not inline: the confirm comes in on the connection's read loop, which must go on reading.
            waiting = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
            return new(waiting.Task);
        }
    }

    /// <summary>Notes a message about to be published: the broker counts publishes from 1, and so do we. Returns its tag.</summary>
    public ulong Add(int size, object? state)
    {
        lock (gate)
        {
            ring[next % (ulong)capacity] = new Entry(size, state, Done: false);
            bytes += size;
            return next++;
        }
    }

    /// <summary>What was added with this tag; null when it is settled.</summary>
    public object? StateOf(ulong tag)
    {
        lock (gate)
        {
            return tag >= lowest && tag < next ? ring[tag % (ulong)capacity].State : null;
        }
    }

    /// <summary>The broker took (<paramref name="taken"/>) or refused the message, or all messages up to it.</summary>
    public void Settle(ulong tag, bool multiple, bool taken)
    {
        // A confirm for what was never published, or was confirmed before, changes nothing.
        var from = tag;
        ulong count;
        lock (gate)
        {
            if (tag >= next || tag < lowest)
            {
                return;
            }
            from = multiple ? lowest : tag;
            count = tag - from + 1;
        }
        for (; count > 0; count--, from++)
        {
            object? state;
            lock (gate)
            {
                ref var entry = ref ring[from % (ulong)capacity];
                if (closed || entry.Done)
                {
                    continue;
                }
                state = entry.State;
                bytes -= entry.Size;
                entry = new Entry(0, null, Done: true);
            }
            settled(state, taken);
        }
        Advance();
    }

    /// <summary>The channel is gone: what was outstanding may or may not have arrived.</summary>
    public void Close()
    {
        List<object?> left = [];
        lock (gate)
        {
            if (closed)
            {
                return;
            }
            closed = true;
            for (var tag = lowest; tag < next; tag++)
            {
                ref var entry = ref ring[tag % (ulong)capacity];
                if (!entry.Done)
                {
                    left.Add(entry.State);
                }
                entry = default;
            }
            waiting?.TrySetResult(false);
            waiting = null;
        }
        foreach (var state in left)
        {
            lost(state);
        }
    }

    private void Advance()
    {
        lock (gate)
        {
            while (lowest < next && ring[lowest % (ulong)capacity].Done)
            {
                ring[lowest % (ulong)capacity] = default;
                lowest++;
            }
            if (waiting is not null && HasRoom(waitingBytes))
            {
                waiting.TrySetResult(true);
                waiting = null;
            }
        }
    }

    private bool HasRoom(int size) => next - lowest < (ulong)capacity && (bytes == 0 || bytes + size <= capacityBytes);

    private readonly record struct Entry(int Size, object? State, bool Done);
}
