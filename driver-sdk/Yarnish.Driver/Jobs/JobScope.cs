namespace Yarnish.Jobs;

/// <summary>What a caller has chosen for the jobs it submits from now on.</summary>
/// <param name="Pool">The pool; null for the default one.</param>
/// <param name="Group">The innermost group; null for none.</param>
/// <param name="Description">What the jobs do, for people; null for the group's.</param>
internal readonly record struct JobScope(string? Pool, JobGroup? Group, string? Description)
{
    /// <summary>The pool of jobs for which none was chosen.</summary>
    public const string DefaultPool = "default";

    /// <summary>Gives back what was chosen before.</summary>
    internal sealed class Restore(AsyncLocal<JobScope> scope, JobScope before) : IDisposable
    {
        public void Dispose() => scope.Value = before;
    }
}
