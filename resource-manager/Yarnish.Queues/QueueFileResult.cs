using System.Collections.Immutable;
using Yarnish.Protocol;
using Yarnish.Scheduling;

namespace Yarnish.Queues;

/// <summary>What a queue file says.</summary>
public sealed class QueueFileResult
{
    private readonly Dictionary<string, int> lines;
    private readonly Dictionary<string, int> queues;

    internal QueueFileResult(ClusterConfiguration? configuration, ImmutableArray<QueueFileError> errors, Dictionary<string, int> lines, Dictionary<string, int> queues)
    {
        Configuration = configuration;
        Errors = errors;
        this.lines = lines;
        this.queues = queues;
    }

    /// <summary>The configuration; null when there are errors.</summary>
    public ClusterConfiguration? Configuration { get; }

    /// <summary>Every error in the order of the text, at most 100; empty when the file is good.</summary>
    public ImmutableArray<QueueFileError> Errors { get; }

    /// <summary>An error that somebody else found, with its line.</summary>
    /// <param name="error">The error; its path is a key of the file, or the dotted path of a queue.</param>
    public QueueFileError Locate(ConfigurationError error) => new(queues.TryGetValue(error.Path, out var queue) ? queue : LineOf(error.Path), error.Path, error.Message);

    // What is missing is where its parent is.
    internal int LineOf(string path)
    {
        while (path.Length > 0)
        {
            if (lines.TryGetValue(path, out var line))
            {
                return line;
            }
            var cut = path.LastIndexOfAny(['.', '[']);
            path = cut < 0 ? "" : path[..cut];
        }
        return 1;
    }

    /// <summary>Errors as lines of text for people: <c>line 3, root.queues[0].guarantee: …</c>.</summary>
    /// <param name="errors">The errors.</param>
    public static string Describe(IEnumerable<QueueFileError> errors) => string.Join(Environment.NewLine, errors);
}
