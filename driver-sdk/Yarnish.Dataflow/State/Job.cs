using Yarnish.Protocol;

namespace Yarnish.Dataflow;

/// <summary>One running job.</summary>
internal sealed class Job(JobId id, JobDefinition definition, long submittedAt)
{
    public JobId Id { get; } = id;

    public JobDefinition Definition { get; } = definition;

    public long SubmittedAt { get; } = submittedAt;

    /// <summary>Its stages, in the order of the definition.</summary>
    public List<Stage> Stages { get; } = [];

    public Stage Result => Stages[^1];

    public long ResultBytes { get; set; }

    public bool Ended { get; set; }
}
