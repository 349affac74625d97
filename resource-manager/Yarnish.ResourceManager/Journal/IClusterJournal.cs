using System.Collections.Immutable;

namespace Yarnish.ResourceManager.Journal;

/// <summary>
/// What survives the resource manager: its epoch, the applications and the nodes it knew. Containers are not written down: the agents' reports are the
/// truth about them. Real in Redis (<see cref="RedisJournal"/>), in memory for tests (<see cref="InMemoryJournal"/>). Calls do not overlap.
/// </summary>
internal interface IClusterJournal : IAsyncDisposable
{
    /// <summary>What is wrong, for people; empty while the journal can be reached.</summary>
    string Problem { get; }

    /// <summary>Takes a new epoch, larger than every one before, and reads what is written down.</summary>
    /// <exception cref="JournalUnavailableException">It cannot be reached now; try again.</exception>
    Task<JournalImage> OpenAsync(CancellationToken cancellation);

    /// <summary>
    /// Writes changes, all or none. When the journal cannot be reached the changes are kept (the last one of each key) and written as soon as it is back;
    /// when it was emptied, everything is written again. An empty list only does that catching up.
    /// </summary>
    Task<JournalOutcome> WriteAsync(IReadOnlyCollection<JournalChange> changes, CancellationToken cancellation);
}

/// <summary>What a journal held when it was opened.</summary>
/// <param name="Epoch">The new epoch, 1 or more.</param>
/// <param name="Entries">All entries by key.</param>
internal sealed record JournalImage(int Epoch, ImmutableSortedDictionary<string, string> Entries);

/// <summary>One change.</summary>
/// <param name="Key">Key of the entry.</param>
/// <param name="Value">Its new value; null removes it.</param>
internal readonly record struct JournalChange(string Key, string? Value);

/// <summary>How a write ended.</summary>
internal enum JournalOutcome
{
    /// <summary>Durable.</summary>
    Written,

    /// <summary>Kept in memory: the journal cannot be reached.</summary>
    Unavailable,

    /// <summary>Another resource manager of the same cluster has taken a later epoch: this one must stop.</summary>
    Deposed,
}

/// <summary>The journal cannot be reached; the message says where and what to do, never a password.</summary>
internal sealed class JournalUnavailableException(string message, Exception? inner = null) : Exception(message, inner);
