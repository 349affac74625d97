namespace Yarnish.Operators;

/// <summary>
/// One step of a stage, as it travels: immutable, without reference to the driver or to its neighbours. The <see cref="StageGraph"/> around it knows who
/// feeds whom, so a lineage of ten thousand steps is a flat list on the wire.
/// </summary>
internal abstract class Operator
{
}

/// <summary>A source that looks at the cancellation of its task itself, row by row, because it is fast enough for that to matter.</summary>
internal interface IStopsItself;

/// <summary>An operator that yields rows.</summary>
/// <typeparam name="T">The row.</typeparam>
internal abstract class Operator<T> : Operator
{
    /// <summary>The rows of a partition; computed while they are read.</summary>
    /// <param name="inputs">Reads the inputs of this operator.</param>
    /// <param name="partition">Index of this operator's partition.</param>
    public abstract IEnumerable<T> Open(OperatorInputs inputs, int partition);
}
