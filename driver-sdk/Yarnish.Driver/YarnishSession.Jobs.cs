using Yarnish.Jobs;

namespace Yarnish;

/// <content>How jobs of several callers share the executors, and how they are told apart.</content>
public sealed partial class YarnishSession
{
    private readonly List<JobGroup> groups = [];

    /// <summary>
    /// Jobs submitted by this asynchronous flow run in the pool until the result is disposed: <c>using (session.InPool("reports")) await rdd.CountAsync();</c>. Pools with work share the slots by weight
    /// (<see cref="YarnishOptions.Pools"/>); within a pool the earlier job goes first. Without this all jobs are in pool <c>default</c>.
    /// </summary>
    /// <param name="pool">Its name. One that no setting names has weight 1 and no minimum share.</param>
    public IDisposable InPool(string pool)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(pool);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(pool.Length, 100);
        var restore = new JobScope.Restore(runner.Scope, runner.Scope.Value);
        runner.Scope.Value = runner.Scope.Value with { Pool = pool };
        return restore;
    }

    /// <summary>Jobs submitted by this asynchronous flow belong to a group until it is disposed: shown with them, and cancelled together by <see cref="Yarnish.JobGroup.Cancel"/> or <see cref="CancelJobs"/>.</summary>
    /// <param name="name">Its name; several groups may bear the same.</param>
    /// <param name="description">What its jobs do, for people.</param>
    public JobGroup JobGroup(string name, string description = "")
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        ArgumentNullException.ThrowIfNull(description);
        var group = new JobGroup(name, description, runner.Scope, Forget);
        lock (groups)
        {
            groups.Add(group);
        }
        return group;

        void Forget(JobGroup closed)
        {
            lock (groups)
            {
                groups.Remove(closed);
            }
        }
    }

    /// <summary>Says what the jobs submitted by this asynchronous flow do, for people, until the result is disposed.</summary>
    public IDisposable DescribeJobs(string description)
    {
        ArgumentNullException.ThrowIfNull(description);
        var restore = new JobScope.Restore(runner.Scope, runner.Scope.Value);
        runner.Scope.Value = runner.Scope.Value with { Description = description };
        return restore;
    }

    /// <summary>
    /// Cancels every job of the groups of this name that runs, and what groups of this name that are open would still submit. Their callers see an <see cref="OperationCanceledException"/>.
    /// </summary>
    /// <param name="group">Name of the groups.</param>
    /// <param name="reason">For people.</param>
    public void CancelJobs(string group, string reason = "cancelled by the program")
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(group);
        ArgumentNullException.ThrowIfNull(reason);
        JobGroup[] open;
        lock (groups)
        {
            open = [.. groups.Where(candidate => candidate.Name == group)];
        }
        foreach (var one in open)
        {
            one.Cancel(reason);
        }
        runner.CancelGroup(group, $"its group '{group}' was cancelled: {reason}");
    }

    /// <summary>What ended jobs have left in the driver, see <see cref="JobRunner.LeftoversAsync"/>. For tests.</summary>
    internal Task<IReadOnlyList<string>> LeftoversAsync() => runner.LeftoversAsync();

    /// <summary>The state of all jobs now.</summary>
    internal Task<Dataflow.JobSnapshot> SnapshotAsync() => runner.AskAsync(static machine => machine.Snapshot());

    /// <summary>Cancels every job that runs. Their callers see an <see cref="OperationCanceledException"/>; the session goes on.</summary>
    /// <param name="reason">For people.</param>
    public void CancelAllJobs(string reason = "cancelled by the program") => runner.CancelAll(reason);
}
