using Yarnish.Protocol;

namespace Yarnish.Dataflow;

/// <summary>One executor the application holds.</summary>
internal sealed class HeldExecutor(ExecutorId id, Node node)
{
    public ExecutorId Id { get; } = id;

    public Node Node { get; } = node;

    public int Epoch { get; set; }

    public int Slots { get; set; }

    /// <summary>Attempts sent and not ended.</summary>
    public int InFlight { get; set; }

    /// <summary>Those of them that are known to be long.</summary>
    public int LongInFlight { get; set; }

    /// <summary>Attempts in flight whose task ran when an executor ended by itself: never more than one at a time.</summary>
    public int Suspects { get; set; }

    /// <summary>How many may be in flight; grows while the executor drains it quickly.</summary>
    public int Window { get; set; }

    public int FirstAttempt { get; set; } = -1;

    public int LastAttempt { get; set; } = -1;

    public long LastSeen { get; set; }

    /// <summary>Since when nothing is in flight.</summary>
    public long IdleSince { get; set; }

    /// <summary>Its queue at the broker exists as far as we know.</summary>
    public bool Connected { get; set; }

    public bool Draining { get; set; }

    public long ExcludedUntil { get; set; }

    /// <summary>Lost or released: not ours any more. Kept by attempts that ended with it.</summary>
    public bool Gone { get; set; }

    /// <summary>When it was asked to say hello again: attempts up to this id must be in its lists. -1 when it was not asked.</summary>
    public long HelloUpTo { get; set; } = -1;

    /// <summary>Beats in a row that tell of fewer attempts than were sent long ago.</summary>
    public int BeatsShort { get; set; }

    /// <summary>Persisted partitions in its memory.</summary>
    public int CachedPartitions { get; set; }

    /// <summary>Copies of partitions it is making.</summary>
    public int Copies { get; set; }

    /// <summary>When it goes at the latest, once nothing is in flight; meaningless unless it drains.</summary>
    public long LeaveUntil { get; set; }

    /// <summary>Why it drains, for people.</summary>
    public string LeaveReason { get; set; } = "";

    /// <summary>It drains, and what it had in memory is written to disk.</summary>
    public bool Written { get; set; }

    /// <summary>It drains, and tasks stored partitions since it was asked to write.</summary>
    public bool StoredSinceAsked { get; set; }

    public long Succeeded { get; set; }

    public long Failed { get; set; }

    /// <summary>The message being filled during one <c>Apply</c>.</summary>
    public SendTasks? OpenBatch { get; set; }

    /// <summary>The copies being asked for during one <c>Apply</c>.</summary>
    public SendCopies? OpenCopies { get; set; }

    /// <summary>Whether it is in the list of executors to be offered tasks at the end of the <c>Apply</c>.</summary>
    public bool OfferQueued { get; set; }

    public ExecutorAddress Address => new(Id, Epoch);

    /// <summary>Whether it may get tasks at all.</summary>
    public bool Usable => Connected && !Draining && !Gone && ExcludedUntil == 0 && Node.ExcludedUntil == 0;
}

/// <summary>One node on which executors are, or were.</summary>
internal sealed class Node(NodeId id)
{
    public NodeId Id { get; } = id;

    public List<HeldExecutor> Executors { get; } = [];

    public long ExcludedUntil { get; set; }

    /// <summary>It is being emptied: nothing new on it, and what it alone has goes elsewhere.</summary>
    public bool Draining { get; set; }

    /// <summary>Persisted partitions that are files there.</summary>
    public int CachedFiles { get; set; }
}
