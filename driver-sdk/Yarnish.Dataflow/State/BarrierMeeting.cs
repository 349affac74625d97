using System.Collections.Immutable;

namespace Yarnish.Dataflow;

/// <summary>Where the tasks of a barrier stage attempt wait for each other. Nobody can be more than one round behind: a round ends only when all have come.</summary>
internal sealed class BarrierMeeting(int participants)
{
    private readonly string?[] _messages = new string?[participants];

    /// <summary>The round that is being gathered, from 0.</summary>
    public int Round { get; private set; }

    /// <summary>How many have come to it.</summary>
    public int Arrived { get; private set; }

    /// <summary>What was said in the round before, by partition: for those whose release was lost.</summary>
    public ImmutableArray<string> Last { get; private set; } = [];

    /// <summary>Notes that a partition has come to the current round; saying it twice does nothing.</summary>
    public void Arrive(int partition, string message, bool again = false)
    {
        if (_messages[partition] is null || again)
        {
            _messages[partition] = message;
            Arrived++;
        }
    }

    /// <summary>Whether a new attempt of a partition could still take part: it begins at the first round, and nobody may have heard of the one before.</summary>
    public bool MayStartAfresh(int partition) => Round == 0 && _messages[partition] is null;

    public bool Complete => Arrived >= _messages.Length;

    /// <summary>Ends the round: everybody goes on.</summary>
    public void Release()
    {
        Last = [.. _messages.Select(static message => message ?? "")];
        Array.Clear(_messages);
        Arrived = 0;
        Round++;
    }

    /// <summary>Who has not come to the current round, for people: at most ten.</summary>
    public string Missing()
    {
        var missing = Enumerable.Range(0, _messages.Length).Where(partition => _messages[partition] is null).ToArray();
        return string.Join(", ", missing.Take(10)) + (missing.Length > 10 ? $" and {missing.Length - 10} more" : "");
    }
}
