using Yarnish.Jobs;

namespace Yarnish;

/// <summary>
/// Jobs that belong together: those submitted, by the asynchronous flow that opened it and what that calls, until it is disposed. See <see cref="YarnishSession.JobGroup"/>.
/// </summary>
public sealed class JobGroup : IDisposable
{
    private readonly CancellationTokenSource cancelled = new();
    private readonly Action<JobGroup> closed;
    private readonly JobScope.Restore restore;

    internal JobGroup(string name, string description, AsyncLocal<JobScope> scope, Action<JobGroup> closed)
    {
        (Name, Description, this.closed) = (name, description, closed);
        Cancelled = cancelled.Token;
        restore = new JobScope.Restore(scope, scope.Value);
        scope.Value = scope.Value with { Group = this, Description = null };
    }

    /// <summary>Its name.</summary>
    public string Name { get; }

    /// <summary>What its jobs do, for people; may be empty.</summary>
    public string Description { get; }

    /// <summary>Cancelled by <see cref="Cancel"/>.</summary>
    public CancellationToken Cancelled { get; }

    /// <summary>Why it was cancelled; null while it was not.</summary>
    internal string? Reason { get; private set; }

    /// <summary>
    /// Cancels its jobs that run, and those it would still submit: their callers see an <see cref="OperationCanceledException"/> with the reason. Tasks are told to stop. Once; later calls do nothing.
    /// </summary>
    /// <param name="reason">For people.</param>
    public void Cancel(string reason = "cancelled by the program")
    {
        ArgumentNullException.ThrowIfNull(reason);
        Reason ??= $"its group '{Name}' was cancelled: {reason}";
        cancelled.Cancel();
    }

    /// <summary>Ends it: jobs submitted from now on are in the group around it, if any. Those that run go on, and still are its own.</summary>
    public void Dispose()
    {
        restore.Dispose();
        closed(this);
        // Its source is not disposed: jobs that run may still look at the token.
    }
}
