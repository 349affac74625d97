using Yarnish.Executor;
using Yarnish.Serialization;

namespace Yarnish;

/// <summary>
/// A value that every executor has one copy of, however many tasks use it: a lookup table, a model, a set of keys. Made by <c>session.Broadcast(value)</c>, read by <see cref="Value"/> in
/// functions; what travels with a function is its number, never the value. <b>Read only:</b> all tasks of an executor share the one object, so a task that changes it changes what others see.
/// </summary>
/// <remarks>
/// An executor fetches it when a task first reads it: in pieces, from other executors that have them, and only what nobody has from the driver. It goes away when the session ends, when the
/// program holds no reference to it any more (collections whose functions use it count as one), or by <see cref="DisposeAsync"/>.
/// </remarks>
/// <typeparam name="T">The value. One that can be a row (records, arrays, lists, dictionaries …) is fastest; any other travels as captured variables do.</typeparam>
public sealed class Broadcast<T> : IAsyncDisposable, ITravelCondition
{
    private readonly BroadcastId id;

    [YarnishTransient]
    private readonly BroadcastLease? lease;

    [YarnishTransient]
    private Box? box;

    internal Broadcast(BroadcastId id, BroadcastLease lease, T value)
    {
        this.id = id;
        this.lease = lease;
        box = new Box(value);
    }

    /// <summary>The value: in a task of an executor the one object that all its tasks share; in the driver, and in tasks of an embedded session that is not isolated, the object that was given.</summary>
    /// <exception cref="BroadcastException">It was disposed, or nobody has it any more; the message says which.</exception>
    public T Value
    {
        get
        {
            if (lease is null)
            {
                return (box ??= new Box(Find())).Value;
            }
            var held = box;
            lease.RequireAlive();
            return held!.Value;
        }
    }

    /// <summary>Counts the session's broadcasts from 0, and where it was made: for people.</summary>
    public override string ToString() => $"Broadcast {id.Number} ({id.CallSite})";

    /// <summary>
    /// Lets executors forget it: the value in their memory and the pieces on their nodes. It stays usable; a task that reads it later fetches it again. Returns at once, executors follow soon.
    /// </summary>
    /// <exception cref="InvalidOperationException">Called inside a task.</exception>
    public void Unpersist() => InDriver().Unpersist();

    /// <summary>
    /// Ends it: the value, its pieces on every node and in the driver, its entries in the registry. Using it later is an error, in the driver at once, in tasks that run when they read it.
    /// Disposing it twice does nothing.
    /// </summary>
    /// <exception cref="InvalidOperationException">Called inside a task.</exception>
    public ValueTask DisposeAsync()
    {
        // The value goes after the mark that it is gone: see Value.
        var ended = InDriver().DisposeAsync();
        box = null;
        return ended;
    }

    string? ITravelCondition.ReasonToStay => lease is { IsDisposed: true } ? $"{this} was disposed. Dispose it after the last job that uses it." : null;

    private BroadcastLease InDriver() => lease ?? throw new InvalidOperationException($"{this} belongs to the driver: a task can read its Value and nothing else.");

    private T Find() => TaskContext.Current?.Sharing is { } task
        ? task.Broadcast<T>(id)
        : throw new BroadcastException(
            $"The value of {this} is asked for outside a task: on a thread that the task did not start, or where the flow of the execution context is suppressed. Read Value in the task and hand it on.");

    private sealed class Box(T value)
    {
        public T Value { get; } = value;
    }
}

/// <summary>A broadcast cannot be made, or its value cannot be had.</summary>
public sealed class BroadcastException : YarnishException
{
    /// <summary>With a message for people.</summary>
    public BroadcastException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}
