using Yarnish.Protocol;

namespace Yarnish.Executor;

/// <summary>
/// Every attempt the executor knows: what makes at-least-once delivery harmless (design decision 5). An attempt is admitted once; one that has ended keeps its report
/// until the driver has settled it. Thread-safe; every method is a few dictionary operations under one lock.
/// <code>
/// Admit ──▶ Queued ──TryStart──▶ Running ──End──▶ Ended ──Settle──▶ forgotten
///              └──────Cancel─────────────────────────▲
/// </code>
/// </summary>
internal sealed class AttemptTable(int queueCapacity, int keptReports)
{
    private readonly Lock gate = new();
    private readonly Dictionary<long, Attempt> attempts = [];
    private readonly PriorityQueue<Attempt, long> ended = new();
    private long settledUpTo = long.MinValue;
    private int queued;
    private int running;
    private int endedCount;
    private long keptResultBytes;

    /// <summary>What became of one assignment.</summary>
    public enum Admission
    {
        /// <summary>New: give it to the slots.</summary>
        New,

        /// <summary>Already queued or running: nothing to do.</summary>
        Held,

        /// <summary>Already ended: send its report again.</summary>
        Ended,

        /// <summary>The driver settled it long ago: a late duplicate.</summary>
        Stale,

        /// <summary>The queue is full.</summary>
        Refused,
    }

    /// <summary>Attempts waiting for a slot.</summary>
    public int Queued => Volatile.Read(ref queued);

    /// <summary>Attempts in a slot.</summary>
    public int Running => Volatile.Read(ref running);

    /// <summary>Attempts whose report is kept.</summary>
    public int Kept => Volatile.Read(ref endedCount);

    /// <summary>Bytes of the kept inline results.</summary>
    public long KeptResultBytes => Interlocked.Read(ref keptResultBytes);

    /// <summary>Decides about one assignment. <paramref name="known"/> is the attempt that is now in the table, null when stale.</summary>
    public Admission Admit(Attempt candidate, out Attempt? known)
    {
        lock (gate)
        {
            var id = candidate.Id.Value;
            if (attempts.TryGetValue(id, out known))
            {
                // The driver sends code and task again under the same id.
                if (known.Report?.End is not TaskCodeMissing)
                {
                    return known.State == AttemptState.Ended ? Admission.Ended : Admission.Held;
                }
                Forget(known);
            }
            else if (id <= settledUpTo)
            {
                known = null;
                return Admission.Stale;
            }
            known = candidate;
            attempts[id] = candidate;
            queued++;
            return queued > queueCapacity ? Admission.Refused : Admission.New;
        }
    }

    /// <summary>A slot takes it. False when it was cancelled meanwhile.</summary>
    public bool TryStart(Attempt attempt, CancellationTokenSource stop)
    {
        lock (gate)
        {
            if (attempt.State != AttemptState.Queued || attempt.StopReason is not null)
            {
                return false;
            }
            attempt.State = AttemptState.Running;
            attempt.Stop = stop;
            queued--;
            running++;
            return true;
        }
    }

    /// <summary>It has ended. False when it had already.</summary>
    public bool End(Attempt attempt, TaskReport report)
    {
        lock (gate)
        {
            switch (attempt.State)
            {
                case AttemptState.Queued:
                    queued--;
                    break;
                case AttemptState.Running:
                    running--;
                    break;
                default:
                    return false;
            }
            attempt.State = AttemptState.Ended;
            attempt.Stop = null;
            attempt.Report = report;
            endedCount++;
            keptResultBytes += report.Result.Length;
            ended.Enqueue(attempt, attempt.Id.Value);
            if (endedCount > keptReports)
            {
                ForgetOldestConfirmed();
            }
            return true;
        }
    }

    /// <summary>
    /// Asks attempts to stop. Returns those that wait for a slot, which will not get one: the caller ends them. Those that run get their token cancelled. Others are ignored.
    /// </summary>
    public List<Attempt> Cancel(IReadOnlyList<TaskAttemptId> ids, string reason)
    {
        List<Attempt> waiting = [];
        List<CancellationTokenSource> stops = [];
        lock (gate)
        {
            foreach (var id in ids)
            {
                if (!attempts.TryGetValue(id.Value, out var attempt) || attempt.State == AttemptState.Ended || attempt.StopReason is not null)
                {
                    continue;
                }
                attempt.StopReason = reason;
                if (attempt.Stop is { } stop)
                {
                    stops.Add(stop);
                }
                else
                {
                    waiting.Add(attempt);
                }
            }
        }
        foreach (var stop in stops)
        {
            _ = StopAsync(stop);
        }
        return waiting;
    }

    /// <summary>The broker has these reports.</summary>
    public void Confirm(IReadOnlyList<Attempt> confirmed)
    {
        lock (gate)
        {
            foreach (var attempt in confirmed)
            {
                attempt.Confirmed = true;
            }
        }
    }

    /// <summary>The driver has settled everything up to an attempt. Returns those now forgotten that left a result block behind.</summary>
    public List<string>? Settle(long upTo)
    {
        lock (gate)
        {
            if (upTo <= settledUpTo)
            {
                return null;
            }
            settledUpTo = upTo;
            List<string>? blocks = null;
            while (ended.TryPeek(out var attempt, out var id) && id <= upTo)
            {
                ended.Dequeue();
                if (attempts.TryGetValue(id, out var current) && ReferenceEquals(current, attempt))
                {
                    Forget(attempt);
                    if (attempt.Report?.ResultBlock is { } block)
                    {
                        (blocks ??= []).Add(block);
                    }
                }
            }
            return blocks;
        }
    }

    /// <summary>Attempts held without a report, and those with: what a hello says.</summary>
    public (List<Attempt> Held, List<Attempt> Ended) Snapshot()
    {
        lock (gate)
        {
            var held = new List<Attempt>(queued + running);
            var done = new List<Attempt>(endedCount);
            foreach (var attempt in attempts.Values)
            {
                (attempt.State == AttemptState.Ended ? done : held).Add(attempt);
            }
            held.Sort(static (a, b) => a.Id.CompareTo(b.Id));
            done.Sort(static (a, b) => a.Id.CompareTo(b.Id));
            return (held, done);
        }
    }

    /// <summary>Ids of the attempts in slots.</summary>
    public List<TaskAttemptId> RunningIds()
    {
        lock (gate)
        {
            var ids = new List<TaskAttemptId>(running);
            if (running > 0)
            {
                foreach (var attempt in attempts.Values)
                {
                    if (attempt.State == AttemptState.Running)
                    {
                        ids.Add(attempt.Id);
                    }
                }
                ids.Sort();
            }
            return ids;
        }
    }

    // On the pool: callbacks of user code hang on the token.
    private static async Task StopAsync(CancellationTokenSource stop)
    {
        try
        {
            await stop.CancelAsync().ConfigureAwait(false);
        }
        catch (Exception error) when (error is ObjectDisposedException or AggregateException)
        {
            // It ended at this moment, or a callback threw: the attempt reports its own end either way.
        }
    }

    private void Forget(Attempt attempt)
    {
        attempts.Remove(attempt.Id.Value);
        endedCount--;
        keptResultBytes -= attempt.Report!.Result.Length;
    }

    // What no confirm came for is kept: its number is bounded by what the driver can have sent in one epoch.
    private void ForgetOldestConfirmed()
    {
        List<Attempt>? unconfirmed = null;
        while (endedCount > keptReports && ended.TryDequeue(out var attempt, out var id))
        {
            if (!attempts.TryGetValue(id, out var current) || !ReferenceEquals(current, attempt))
            {
                continue;
            }
            if (attempt.Confirmed)
            {
                Forget(attempt);
            }
            else
            {
                (unconfirmed ??= []).Add(attempt);
                if (unconfirmed.Count >= 64)
                {
                    break;
                }
            }
        }
        foreach (var attempt in unconfirmed ?? [])
        {
            ended.Enqueue(attempt, attempt.Id.Value);
        }
    }
}
