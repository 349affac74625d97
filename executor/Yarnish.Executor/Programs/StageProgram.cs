namespace Yarnish.Executor;

/// <summary>
/// What a stage runs: an operator chain with the user's closures inside. The SDK derives its programs from this, serializes one per stage
/// (<c>Yarnish.Serialization</c>), and executors deserialize it once per task, so that tasks never share captured objects.
/// </summary>
public abstract class StageProgram
{
    /// <summary>
    /// Computes one partition on the calling slot thread. Returning is success; a <see cref="ShuffleFetchException"/> is reported as a fetch failure, an
    /// <see cref="OperationCanceledException"/> after cancellation as killed, any other exception as the task's failure.
    /// </summary>
    /// <param name="task">Input, context, and the ways out: result, shuffle writer, block store.</param>
    public abstract void Run(TaskRuntime task);
}
