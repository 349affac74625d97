using System.Globalization;
using Yarnish.Protocol;
using Yarnish.Serialization;

namespace Yarnish.Executor;

/// <summary>The driver's end of an accumulator, whatever its types.</summary>
internal interface IAccumulatorTotal
{
    /// <summary>Counts the session's accumulators from 0.</summary>
    int Number { get; }

    /// <summary>For people; may be empty.</summary>
    string Name { get; }

    /// <summary>Adds what one partition of a stage reported.</summary>
    /// <exception cref="AccumulatorException">The user's rule threw, or the bytes are not its.</exception>
    void Merge(StageId stage, ReadOnlyMemory<byte> change);

    /// <summary>How it stands.</summary>
    AccumulatorSnapshot Snapshot();
}

/// <summary>How an accumulator stands.</summary>
/// <param name="Number">Counts the session's accumulators from 0.</param>
/// <param name="Name">Its name; empty for an unnamed one.</param>
/// <param name="Value">What it adds up to, as text of at most 200 characters.</param>
/// <param name="Stages">For a named one: what each stage has added, the latest 100 stages that did.</param>
internal sealed record AccumulatorSnapshot(int Number, string Name, string Value, IReadOnlyList<(StageId Stage, string Added)> Stages);

/// <summary>The value of an accumulator in the driver. Thread-safe: the driver loop merges, the program reads.</summary>
internal sealed class AccumulatorTotal<TAdded, TValue> : IAccumulatorTotal
{
    private const int MaximumStages = 100;

    private readonly Lock gate = new();
    private readonly Queue<StageId> stageOrder = new();
    private readonly Dictionary<StageId, TValue> stages = [];
    private TValue value;

    public AccumulatorTotal(int number, string name, AccumulatorRule<TAdded, TValue> rule)
    {
        Number = number;
        Name = name;
        Rule = rule;
        value = rule.Zero();
    }

    /// <inheritdoc/>
    public int Number { get; }

    /// <inheritdoc/>
    public string Name { get; }

    /// <summary>How it adds up.</summary>
    public AccumulatorRule<TAdded, TValue> Rule { get; }

    /// <summary>What it adds up to.</summary>
    public TValue Read()
    {
        lock (gate)
        {
            return value;
        }
    }

    /// <summary>Adds in the driver itself: by a merge, so that a value somebody has read does not change under him.</summary>
    public void Add(TAdded added)
    {
        lock (gate)
        {
            value = Rule.Merge(value, Rule.Add(Rule.Zero(), added));
        }
    }

    /// <summary>Back to the beginning.</summary>
    public void Reset()
    {
        lock (gate)
        {
            value = Rule.Zero();
            stages.Clear();
            stageOrder.Clear();
        }
    }

    /// <inheritdoc/>
    public void Merge(StageId stage, ReadOnlyMemory<byte> change)
    {
        try
        {
            lock (gate)
            {
                value = Rule.Merge(value, ValueSerializer.Read<TValue>(change));
                if (Name.Length == 0)
                {
                    return;
                }
                if (!stages.TryGetValue(stage, out var added))
                {
                    added = Rule.Zero();
                    stageOrder.Enqueue(stage);
                    if (stageOrder.Count > MaximumStages)
                    {
                        stages.Remove(stageOrder.Dequeue());
                    }
                }
                // Read once more: a rule may keep parts of what it merged.
                stages[stage] = Rule.Merge(added, ValueSerializer.Read<TValue>(change));
            }
        }
        catch (Exception error)
        {
            throw new AccumulatorException($"{AccumulatorText.Describe(Number, Name)}: merging what a task added threw {error.GetType().FullName}: {error.Message}", error);
        }
    }

    /// <inheritdoc/>
    public AccumulatorSnapshot Snapshot()
    {
        lock (gate)
        {
            return new AccumulatorSnapshot(Number, Name, AccumulatorText.Of(value), [.. stageOrder.Select(stage => (stage, AccumulatorText.Of(stages[stage])))]);
        }
    }
}

/// <summary>Words for accumulators.</summary>
internal static class AccumulatorText
{
    private const int Longest = 200;

    /// <summary><c>accumulator 'damaged'</c>, or its number when it has no name.</summary>
    public static string Describe(int number, string name) => name.Length > 0 ? $"Accumulator '{name}'" : string.Create(CultureInfo.InvariantCulture, $"Accumulator {number}");

    /// <summary>A value as a short text, whatever its ToString does.</summary>
    public static string Of<T>(T value)
    {
        string text;
        try
        {
            text = value switch
            {
                null => "",
                IFormattable formattable => formattable.ToString(null, CultureInfo.InvariantCulture),
                _ => value.ToString() ?? "",
            };
        }
        catch (Exception error)
        {
            text = $"(its ToString threw {error.GetType().Name})";
        }
        return text.Length <= Longest ? text : string.Concat(text.AsSpan(0, Longest), "…");
    }
}
