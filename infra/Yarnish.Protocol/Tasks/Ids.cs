namespace Yarnish.Protocol;

/// <summary>One job of an application: an action and the stages it needs. Counts from 0 in the order of submission.</summary>
/// <param name="Value">The number.</param>
public readonly record struct JobId(int Value) : IComparable<JobId>
{
    /// <inheritdoc/>
    public int CompareTo(JobId other) => Value.CompareTo(other.Value);

    /// <inheritdoc/>
    public override string ToString() => Value.ToString(System.Globalization.CultureInfo.InvariantCulture);
}

/// <summary>One stage of an application: parents have lower numbers than their children.</summary>
/// <param name="Value">The number.</param>
public readonly record struct StageId(int Value) : IComparable<StageId>
{
    /// <inheritdoc/>
    public int CompareTo(StageId other) => Value.CompareTo(other.Value);

    /// <inheritdoc/>
    public override string ToString() => Value.ToString(System.Globalization.CultureInfo.InvariantCulture);
}

/// <summary>One shuffle of an application; written by exactly one map stage.</summary>
/// <param name="Value">The number.</param>
public readonly record struct ShuffleId(int Value) : IComparable<ShuffleId>
{
    /// <inheritdoc/>
    public int CompareTo(ShuffleId other) => Value.CompareTo(other.Value);

    /// <inheritdoc/>
    public override string ToString() => Value.ToString(System.Globalization.CultureInfo.InvariantCulture);
}

/// <summary>One try to run one task: unique in the application, never reused. The idempotency key of everything that happens to it.</summary>
/// <param name="Value">The number.</param>
public readonly record struct TaskAttemptId(long Value) : IComparable<TaskAttemptId>
{
    /// <inheritdoc/>
    public int CompareTo(TaskAttemptId other) => Value.CompareTo(other.Value);

    /// <inheritdoc/>
    public override string ToString() => Value.ToString(System.Globalization.CultureInfo.InvariantCulture);
}

/// <summary>Where task messages go: an executor and the epoch of its connection to the broker. A new connection is a new epoch with a queue of its own.</summary>
/// <param name="ExecutorId">The executor.</param>
/// <param name="Epoch">Counts its connections from 1.</param>
public readonly record struct ExecutorAddress(ExecutorId ExecutorId, int Epoch)
{
    /// <inheritdoc/>
    public override string ToString() => $"{ExecutorId}@{Epoch}";
}
