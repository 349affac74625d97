using System.Collections.Immutable;
using Yarnish.Protocol;

namespace Yarnish.Progress;

/// <summary>What the jobs of a session do at one moment: made by the driver loop, shown by <see cref="ProgressDisplay"/>.</summary>
/// <param name="Jobs">Jobs that run, oldest first.</param>
/// <param name="Executors">Executors that are alive.</param>
/// <param name="Waiting">What the session waits for, for people; empty when it works.</param>
internal sealed record ProgressSnapshot(ImmutableArray<JobProgress> Jobs, int Executors, string Waiting);

/// <summary>One job that runs.</summary>
/// <param name="JobId">The job.</param>
/// <param name="Name">For people.</param>
/// <param name="Elapsed">Since it was submitted.</param>
/// <param name="Stages">Its stages that run now.</param>
internal sealed record JobProgress(JobId JobId, string Name, TimeSpan Elapsed, ImmutableArray<StageProgress> Stages);

/// <summary>One stage that runs.</summary>
/// <param name="StageId">The stage.</param>
/// <param name="Name">For people.</param>
/// <param name="Done">Partitions that are done.</param>
/// <param name="Running">Attempts that were sent to executors and have not ended.</param>
/// <param name="Total">Partitions to compute.</param>
/// <param name="Failed">Attempts that failed so far.</param>
internal sealed record StageProgress(StageId StageId, string Name, int Done, int Running, int Total, int Failed);
