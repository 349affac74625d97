using System.Collections.Immutable;
using Yarnish.Hosting;
using Yarnish.Queues;
using Yarnish.Scheduling;

namespace Yarnish.ResourceManager.Cluster;

/// <summary>A queue configuration with where it came from: immutable, one is in force at a time.</summary>
/// <param name="Source"><c>default</c>, <c>file</c>, <c>journal</c> or <c>api</c>.</param>
/// <param name="Text">The YAML; empty for the default.</param>
/// <param name="Read">What it says.</param>
internal sealed record QueuesInForce(string Source, string Text, QueueFileResult Read)
{
    /// <summary>Key of the journal entry that holds the YAML.</summary>
    public const string JournalKey = "queues";

    private const string DefaultText = "root:\n  queues:\n    - name: default\n";

    /// <summary>One leaf, <c>root.default</c>.</summary>
    public static QueuesInForce Default { get; } = new("default", "", QueueFileReader.Read(DefaultText));

    /// <summary>The configuration.</summary>
    public ClusterConfiguration Configuration => Read.Configuration!;

    /// <summary>Version in this life of the resource manager: 0 at its start, one more with each change.</summary>
    public int Version { get; init; }

    /// <summary>Since when.</summary>
    public DateTimeOffset At { get; init; }

    /// <summary>The queues of a file, for the start of the program.</summary>
    /// <exception cref="ConfigurationException">The file is wrong; the message has every error with line and key.</exception>
    public static QueuesInForce FromFile(string path)
    {
        var read = QueueFileReader.ReadFile(path, out var text);
        return read.Errors.IsEmpty
            ? new QueuesInForce("file", text, read)
            : throw new ConfigurationException($"The queue file {path} (Yarnish__QueueFile) is refused; 'yarnish queue validate' checks it:{Environment.NewLine}{QueueFileResult.Describe(read.Errors)}");
    }

    /// <summary>The queues that the journal remembers, or the default.</summary>
    /// <param name="entries">The journal.</param>
    /// <param name="logger">Told when the entry cannot be used.</param>
    public static QueuesInForce FromJournal(ImmutableSortedDictionary<string, string> entries, ILogger logger)
    {
        if (!entries.TryGetValue(JournalKey, out var text))
        {
            return Default;
        }
        var read = QueueFileReader.Read(text);
        if (read.Errors.IsEmpty)
        {
            return new QueuesInForce("journal", text, read);
        }
        ClusterShell.Log.JournaledQueuesRefused(logger, QueueFileResult.Describe(read.Errors));
        return Default;
    }
}
