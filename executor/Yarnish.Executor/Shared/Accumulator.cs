using System.Diagnostics.CodeAnalysis;
using Yarnish.Executor;
using Yarnish.Serialization;

namespace Yarnish;

/// <summary>
/// A value that tasks add to and the driver reads: how many lines were damaged, the longest one, a sample of them. Made by the session (<c>session.Counter("damaged")</c>), captured by functions.
/// <para>What a task added counts when the task succeeds: <b>exactly once per partition</b>, whatever was retried, ran twice or reported twice. In the functions of an action (its result stage)
/// that is once for each job; in a stage that writes a shuffle, once for the life of that shuffle, also when lost output makes tasks run again. A transformation that two jobs
/// compute each for themselves (it is neither persisted nor followed by a shuffle that both share) counts in each. What attempts that failed, were killed or lost added is dropped.</para>
/// </summary>
/// <typeparam name="TAdded">What is added.</typeparam>
/// <typeparam name="TValue">What it adds up to.</typeparam>
public sealed class Accumulator<TAdded, TValue>
{
    private readonly int number;
    private readonly string name;
    private readonly AccumulatorRule<TAdded, TValue> rule;

    [YarnishTransient]
    private readonly AccumulatorTotal<TAdded, TValue>? total;

    internal Accumulator(AccumulatorTotal<TAdded, TValue> total)
    {
        this.total = total;
        number = total.Number;
        name = total.Name;
        rule = total.Rule;
    }

    /// <summary>Its name in status and messages; empty when it was given none.</summary>
    public string Name => name;

    /// <summary>What all that counts adds up to, so far; exact when no job that uses it runs. In the driver only.</summary>
    /// <exception cref="InvalidOperationException">Asked for inside a task, which knows its own part only.</exception>
    public TValue Value
    {
        get
        {
            if (total is null || TaskContext.Current is not null)
            {
                throw new InvalidOperationException($"The value of {this} is known in the driver only: tasks add to it. Read it after the action has completed, or return what the task needs as rows.");
            }
            return total.Read();
        }
    }

    /// <summary>Adds: in a task to what the task reports when it succeeds, in the driver to the value itself. Safe for all threads of a task.</summary>
    /// <exception cref="InvalidOperationException">Called on an executor outside a task, or after the task's end.</exception>
    public void Add(TAdded added)
    {
        if (TaskContext.Current?.Sharing is { } task)
        {
            task.Accumulator(number, Slot).Add(added);
        }
        else if (total is not null)
        {
            total.Add(added);
        }
        else
        {
            throw new InvalidOperationException($"{this} is added to outside a task: on a thread that the task did not start, or where the flow of the execution context is suppressed.");
        }
    }

    /// <summary>Sets the value back to its beginning. In the driver only.</summary>
    /// <exception cref="InvalidOperationException">Called inside a task.</exception>
    public void Reset()
    {
        if (total is null || TaskContext.Current is not null)
        {
            throw new InvalidOperationException($"{this} can be reset in the driver only.");
        }
        total.Reset();
    }

    /// <summary>For people.</summary>
    public override string ToString() => AccumulatorText.Describe(number, name);

    private AccumulatorSlot<TAdded, TValue> Slot() => new(number, name, rule);
}

/// <summary>
/// How an accumulator adds up: derive from it for one of your own. Travels with the functions that use it, so hold nothing but data; its methods run in tasks and, for <see cref="Merge"/>, in the
/// driver, one call at a time for each value. The order of additions and merges is not defined: they should not depend on it.
/// </summary>
/// <typeparam name="TAdded">What is added.</typeparam>
/// <typeparam name="TValue">What it adds up to: travels as a row where it can be one, else as captured variables do.</typeparam>
public abstract class AccumulatorRule<TAdded, TValue>
{
    /// <summary>The beginning: a new object each time when <see cref="Add"/> or <see cref="Merge"/> change theirs.</summary>
    public abstract TValue Zero();

    /// <summary>The value with one more added; may be the same object, changed.</summary>
    public abstract TValue Add(TValue value, TAdded added);

    /// <summary>Two values together; may be <paramref name="value"/> itself, changed. What it throws fails the job.</summary>
    public abstract TValue Merge(TValue value, TValue other);
}

/// <summary>Some of the things that were added, and how many there were.</summary>
/// <typeparam name="T">The thing.</typeparam>
/// <param name="Items">The first ones, in no defined order across tasks; as many as the accumulator keeps.</param>
/// <param name="Count">How many were added in all.</param>
[SuppressMessage("Naming", "CA1711", Justification = "It is what it says.")]
public sealed record AccumulatedItems<T>(IReadOnlyList<T> Items, long Count);

/// <summary>Tasks added too much to accumulators, or a rule of one threw.</summary>
public sealed class AccumulatorException : YarnishException
{
    /// <summary>With a message for people.</summary>
    public AccumulatorException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}
