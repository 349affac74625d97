using System.Runtime.CompilerServices;
using Yarnish.Lineage;
using Yarnish.Operators;

namespace Yarnish;

/// <summary>
/// A collection whose partitions are computed by tasks that run all at the same time and can wait for each other, as training of models and other programs of the MPI kind need it. Made by
/// <see cref="Rdd{T}.Barrier"/>.
/// </summary>
/// <typeparam name="T">The row.</typeparam>
public sealed class BarrierRdd<T>
{
    private readonly Rdd<T> rows;
    private readonly TimeSpan timeout;

    internal BarrierRdd(Rdd<T> rows, TimeSpan timeout) => (this.rows, this.timeout) = (rows, timeout);

    /// <summary>A whole partition at a time, all partitions at the same time.</summary>
    /// <param name="function">Gets what the task can do beside computing, and the rows of its partition, to be read once; gives the rows of the result.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public Rdd<TResult> MapPartitions<TResult>(
        Func<BarrierTaskContext, IEnumerable<T>, IEnumerable<TResult>> function, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        var callSite = SourceLocation.Of(file, line);
        SourceLocation.RequireTravels(rows.Runner, function, "Barrier.MapPartitions", callSite);
        return new Rdd<TResult>(rows.Runner, new LineageNode
        {
            Operator = new BarrierOperator<T, TResult>(rows.Partitions, timeout, function),
            Partitions = rows.Partitions,
            Label = "Barrier.MapPartitions",
            CallSite = callSite,
            Parents = [rows.Node],
            Unordered = rows.Node.Unordered,
            Barrier = true,
        });
    }
}

public partial class Rdd<T>
{
    /// <summary>
    /// What follows runs in a barrier stage: as many tasks as there are partitions, all at the same time or not at all, which can wait for each other (<see cref="BarrierTaskContext"/>). It starts when
    /// that many slots are free together, and fails at once when the session can never have them. One failed task starts all again, <c>Yarnish:MaximumStageAttempts</c> times; after a result was
    /// handed out the job fails.
    /// </summary>
    /// <param name="timeout">How long a task waits for the others at a barrier. Default 1 hour; <see cref="Timeout.InfiniteTimeSpan"/> for ever. Tasks that fail or end are noticed at once, whatever it is.</param>
    public BarrierRdd<T> Barrier(TimeSpan? timeout = null)
    {
        var patience = timeout ?? TimeSpan.FromHours(1);
        if (patience <= TimeSpan.Zero && patience != Timeout.InfiniteTimeSpan)
        {
            throw new ArgumentOutOfRangeException(nameof(timeout), patience, "The timeout must be longer than nothing, or infinite.");
        }
        return new BarrierRdd<T>(this, patience);
    }
}
