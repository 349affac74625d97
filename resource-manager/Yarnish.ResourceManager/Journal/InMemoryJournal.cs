using System.Collections.Immutable;

namespace Yarnish.ResourceManager.Journal;

/// <summary>A journal that lives as long as this object: tests start one resource manager after another on it.</summary>
internal sealed class InMemoryJournal : IClusterJournal
{
    private readonly Lock _lock = new();
    private ImmutableSortedDictionary<string, string> _entries = ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal);
    private int _epoch;
    private int _openEpoch;

    /// <summary>Makes every call end as if the journal could not be reached.</summary>
    public bool Unreachable { get; set; }

    /// <inheritdoc/>
    public string Problem => Unreachable ? "The journal is unreachable." : "";

    /// <summary>What is written down.</summary>
    public ImmutableSortedDictionary<string, string> Entries
    {
        get
        {
            lock (_lock)
            {
                return _entries;
            }
        }
    }

    /// <summary>Lets another resource manager take over.</summary>
    public void Depose()
    {
        lock (_lock)
        {
            _epoch++;
        }
    }

    /// <inheritdoc/>
    public Task<JournalImage> OpenAsync(CancellationToken cancellation)
    {
        lock (_lock)
        {
            return Unreachable
                ? Task.FromException<JournalImage>(new JournalUnavailableException(Problem))
                : Task.FromResult(new JournalImage(_openEpoch = ++_epoch, _entries));
        }
    }

    /// <inheritdoc/>
    public Task<JournalOutcome> WriteAsync(IReadOnlyCollection<JournalChange> changes, CancellationToken cancellation)
    {
        lock (_lock)
        {
            if (_openEpoch != _epoch)
            {
                return Task.FromResult(JournalOutcome.Deposed);
            }
            foreach (var (key, value) in changes)
            {
                _entries = value is null ? _entries.Remove(key) : _entries.SetItem(key, value);
            }
            return Task.FromResult(Unreachable ? JournalOutcome.Unavailable : JournalOutcome.Written);
        }
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
