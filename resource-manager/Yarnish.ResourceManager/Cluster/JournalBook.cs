using System.Collections.Immutable;
using System.Text.Json;
using System.Text.Json.Serialization;
using Yarnish.Protocol;
using Yarnish.ResourceManager.Journal;
using Yarnish.Scheduling;

namespace Yarnish.ResourceManager.Cluster;

/// <summary>
/// Turns the records of the cluster core into entries of the journal and back. An entry is replaced by its successor, and the oldest ended applications
/// leave, so the journal is as large as what it describes and never as long as its history.
/// </summary>
internal sealed class JournalBook
{
    private readonly int _endedApplications;
    private readonly Queue<string> _ended = new();
    private long _sequence;

    /// <param name="endedApplications">Ended applications to keep.</param>
    public JournalBook(int endedApplications) => _endedApplications = endedApplications;

    /// <summary>The records of a journal in the order they were written.</summary>
    /// <exception cref="JsonException">An entry is not one of this program: the message names its key.</exception>
    public ImmutableArray<JournalRecord> Read(ImmutableSortedDictionary<string, string> entries)
    {
        var lines = new List<Line>(entries.Count);
        foreach (var (key, text) in entries)
        {
            if (key == QueuesInForce.JournalKey)
            {
                // YAML of the shell, no record of the core.
                continue;
            }
            try
            {
                lines.Add(JsonSerializer.Deserialize<Line>(text, ProtocolJson.Options) ?? throw new JsonException("it is null."));
            }
            catch (JsonException error)
            {
                throw new JsonException($"Entry '{key}' of the journal cannot be read: {error.Message}", error);
            }
        }
        lines.Sort(static (left, right) => left.Sequence.CompareTo(right.Sequence));
        _ended.Clear();
        foreach (var over in lines.Select(line => line.Record).OfType<ApplicationOver>())
        {
            _ended.Enqueue(over.ApplicationId.Value);
        }
        _sequence = lines.Count > 0 ? lines[^1].Sequence : 0;
        return [.. lines.Select(line => line.Record)];
    }

    /// <summary>What a record changes.</summary>
    public IEnumerable<JournalChange> Write(JournalRecord record)
    {
        switch (record)
        {
            case ApplicationAccepted accepted:
                yield return Set("app:" + accepted.Registration.ApplicationId, record);
                break;
            case ApplicationOver over:
                yield return Set("end:" + over.ApplicationId, record);
                _ended.Enqueue(over.ApplicationId.Value);
                while (_ended.Count > _endedApplications)
                {
                    var oldest = _ended.Dequeue();
                    yield return new JournalChange("app:" + oldest, null);
                    yield return new JournalChange("end:" + oldest, null);
                }
                break;
            case NodeKnown known:
                yield return Set("node:" + known.NodeId, record);
                break;
            case NodeForgotten forgotten:
                yield return new JournalChange("node:" + forgotten.NodeId, null);
                yield return new JournalChange("drain:" + forgotten.NodeId, null);
                break;
            case NodeDraining draining:
                yield return draining.Active ? Set("drain:" + draining.NodeId, record) : new JournalChange("drain:" + draining.NodeId, null);
                break;
            default:
                throw new NotSupportedException($"The journal does not know how to keep a {record.GetType().Name}: add it to {nameof(JournalBook)}.");
        }
    }

    private JournalChange Set(string key, JournalRecord record) =>
        new(key, JsonSerializer.Serialize(new Line(++_sequence, record), ProtocolJson.Options));

    /// <summary>An entry's text.</summary>
    /// <param name="Sequence">Order of writing.</param>
    /// <param name="Record">What.</param>
    private sealed record Line([property: JsonPropertyName("n")] long Sequence, [property: JsonPropertyName("r")] JournalRecord Record);
}
