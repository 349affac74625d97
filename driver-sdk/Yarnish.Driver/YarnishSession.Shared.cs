using System.Numerics;
using System.Runtime.CompilerServices;
using Yarnish.Executor;
using Yarnish.Lineage;

namespace Yarnish;

/// <content>State that tasks share: values they read, values they add to.</content>
public sealed partial class YarnishSession
{
    /// <summary>
    /// Makes a value known to all executors: each fetches it once, when a task first reads its <see cref="Broadcast{T}.Value"/>, mostly from other executors. For what would be too large to capture:
    /// lookup tables, models. The value is serialized now; changes made to it afterwards are not seen by executors, and must not be made.
    /// </summary>
    /// <param name="value">The value; read only from now on.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    /// <exception cref="Serialization.ClosureException">Something in it cannot travel; the message has the path to it.</exception>
    /// <exception cref="BroadcastException">It is larger than <see cref="YarnishOptions.MaximumBroadcastBytes"/>, or this machine's disk does not take it.</exception>
    public Broadcast<T> Broadcast<T>(T value, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) => runner.Broadcasts.Create(value, SourceLocation.Of(file, line));

    /// <summary>As <see cref="Broadcast{T}(T, string, int)"/>, without holding the calling thread while a large value is serialized.</summary>
    /// <param name="value">The value; read only from now on.</param>
    /// <param name="cancellation">Gives up before it begins; a value that is being serialized is serialized.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public Task<Broadcast<T>> BroadcastAsync<T>(T value, CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        Task.Run(() => runner.Broadcasts.Create(value, SourceLocation.Of(file, line)), cancellation);

    /// <summary>A number that tasks add to: <c>session.Accumulator&lt;double&gt;("revenue")</c>. See <see cref="Accumulator{TAdded, TValue}"/> for what counts.</summary>
    /// <param name="name">Shown in the application's status; empty: not shown.</param>
    public Accumulator<T, T> Accumulator<T>(string name = "")
        where T : INumberBase<T> => runner.Accumulators.Create(new SumRule<T>(), name);

    /// <summary>A count: <c>session.Counter("damaged lines")</c>, then <c>damaged.Add(1)</c> in functions.</summary>
    /// <param name="name">Shown in the application's status; empty: not shown.</param>
    public Accumulator<long, long> Counter(string name = "") => Accumulator<long>(name);

    /// <summary>The largest of all that tasks add: <c>session.MaximumAccumulator(0L, "longest line")</c>.</summary>
    /// <param name="start">The value when nothing was added; what is less than it does not count.</param>
    /// <param name="name">Shown in the application's status; empty: not shown.</param>
    public Accumulator<T, T> MaximumAccumulator<T>(T start, string name = "")
        where T : IComparable<T> => runner.Accumulators.Create(new MaximumRule<T>(start), name);

    /// <summary>The least of all that tasks add: <c>session.MinimumAccumulator(DateTime.MaxValue, "first event")</c>.</summary>
    /// <param name="start">The value when nothing was added; what is more than it does not count.</param>
    /// <param name="name">Shown in the application's status; empty: not shown.</param>
    public Accumulator<T, T> MinimumAccumulator<T>(T start, string name = "")
        where T : IComparable<T> => runner.Accumulators.Create(new MinimumRule<T>(start), name);

    /// <summary>A sample of what tasks add, and how many there were: for the lines that could not be read, not for results, which are rows.</summary>
    /// <param name="name">Shown in the application's status; empty: not shown.</param>
    /// <param name="capacity">How many are kept, in each task and in all; what all tasks' items may have in bytes is bounded, see <see cref="AccumulatorException"/>. Default 100.</param>
    public Accumulator<T, AccumulatedItems<T>> ListAccumulator<T>(string name = "", int capacity = 100)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(capacity, 1);
        return runner.Accumulators.Create(new ItemsRule<T>(capacity), name);
    }

    /// <summary>An accumulator that adds up by a rule of one's own.</summary>
    /// <param name="rule">How it adds up; travels with the functions that use it.</param>
    /// <param name="name">Shown in the application's status; empty: not shown.</param>
    public Accumulator<TAdded, TValue> Accumulator<TAdded, TValue>(AccumulatorRule<TAdded, TValue> rule, string name = "") => runner.Accumulators.Create(rule, name);
}
