namespace Yarnish.Operators;

/// <summary>A whole partition at a time, in tasks that can wait for each other.</summary>
internal sealed class BarrierOperator<TInput, T>(int participants, TimeSpan timeout, Func<BarrierTaskContext, IEnumerable<TInput>, IEnumerable<T>> function) : Operator<T>
{
    private readonly int participants = participants;
    private readonly TimeSpan timeout = timeout;
    private readonly Func<BarrierTaskContext, IEnumerable<TInput>, IEnumerable<T>> function = function;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition) =>
        function(new BarrierTaskContext(inputs.Task, participants, timeout), inputs.Open<TInput>(0, partition));
}
