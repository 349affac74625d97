namespace Yarnish.Benchmarks.Operators;

/// <summary>One program of the comparison: by Yarnish, and by PLINQ or loops as a good C# programmer writes it for one machine.</summary>
/// <typeparam name="TState">What an execution begins with, such as persisted data.</typeparam>
/// <typeparam name="TResult">What both must find.</typeparam>
internal abstract class OperatorProgram<TState, TResult> : IOperatorProgram
{
    public abstract string Name { get; }

    /// <summary>Begins a session's runs; not measured.</summary>
    protected abstract Task<TState> PrepareAsync(YarnishSession session);

    protected abstract Task<TResult> RunAsync(TState state);

    /// <summary>The same without Yarnish, on all cores.</summary>
    protected abstract TResult Baseline();

    /// <summary>Why the result is wrong; null when it is right.</summary>
    protected abstract string? Difference(TResult expected, TResult actual);

    public Func<object> PrepareBaseline() => () => Baseline()!;

    public async Task<Func<Task<object>>> PrepareRunAsync(YarnishSession session)
    {
        var state = await PrepareAsync(session);
        return async () => (await RunAsync(state))!;
    }

    public void Compare(object expected, object actual)
    {
        if (Difference((TResult)expected, (TResult)actual) is { } difference)
        {
            throw new InvalidOperationException($"{Name}: {difference}");
        }
    }

    /// <summary>Figures that only this program has.</summary>
    public virtual Task<(string Name, object Value)[]> FurtherAsync(YarnishSession session) => Task.FromResult<(string, object)[]>([]);
}

/// <summary>A program whose types do not matter.</summary>
internal interface IOperatorProgram
{
    string Name { get; }

    Func<object> PrepareBaseline();

    Task<Func<Task<object>>> PrepareRunAsync(YarnishSession session);

    void Compare(object expected, object actual);

    Task<(string Name, object Value)[]> FurtherAsync(YarnishSession session);
}
