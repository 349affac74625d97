using Yarnish.Protocol;

namespace Yarnish.Dataflow;

/// <summary>A job as it is handed to the machine: stages cut at shuffles, parents before children, the last one computes the result.</summary>
internal sealed record JobDefinition
{
    /// <summary>For people.</summary>
    public string Name { get; init; } = "";

    /// <summary>All stages the result depends on, also those whose shuffle exists already; parents before children, the result stage last.</summary>
    public required IReadOnlyList<StageDefinition> Stages { get; init; }

    /// <summary>Partitions of the result stage to compute; null means all. An empty job succeeds at once.</summary>
    public IReadOnlyList<int>? Partitions { get; init; }

    /// <summary>For people, and for cancelling several at once; empty when it is in none.</summary>
    public string Group { get; init; } = "";

    /// <summary>For people: what the program says it does; may be empty.</summary>
    public string Description { get; init; } = "";

    /// <summary>The pool it shares slots from. Within a pool jobs go first in, first out; pools share by weight.</summary>
    public string Pool { get; init; } = "";

    /// <summary>Weight of the pool, at least 1; the last job submitted to a pool decides. Default 1.</summary>
    public int PoolWeight { get; init; } = 1;

    /// <summary>Running tasks the pool should have before others get more; default 0.</summary>
    public int PoolMinimumShare { get; init; }

    /// <summary>Most bytes all results together may have; null is unlimited. Beyond it the job fails with <see cref="JobFailureReason.ResultsTooLarge"/>.</summary>
    public long? ResultLimitBytes { get; init; }
}

/// <summary>One stage of a job: the same program over a number of partitions.</summary>
internal sealed record StageDefinition
{
    /// <summary>For people.</summary>
    public string Name { get; init; } = "";

    /// <summary>How many partitions it has; at least 0.</summary>
    public required int Partitions { get; init; }

    /// <summary>The shuffle it writes; null for the result stage, and only for it.</summary>
    public ShuffleOutput? Output { get; init; }

    /// <summary>The shuffles it reads: each is the output of another stage of the job.</summary>
    public IReadOnlyList<ShuffleId> Inputs { get; init; } = [];

    /// <summary>Persisted collections whose partition of the same index its tasks read or fill; the last one is the nearest to the result.</summary>
    public IReadOnlyList<int> Persisted { get; init; } = [];

    /// <summary>
    /// Which partitions of <see cref="Persisted"/> a task reads or fills, when they are not those of its own index: behind a union or where partitions are put together. Null when they are.
    /// </summary>
    public Func<int, IReadOnlyList<(int Collection, int Partition)>>? PersistedParts { get; init; }

    /// <summary>Names the code for the shell, which finds the program under it. The machine only hands it back.</summary>
    public required int Code { get; init; }

    /// <summary>True when a task run twice may write other rows: what was computed from its output is then computed again, too.</summary>
    public bool Indeterminate { get; init; }

    /// <summary>True when all tasks must run at the same time or not at all; one failure repeats the whole stage.</summary>
    public bool Barrier { get; init; }

    /// <summary>Nodes that hold the input of each partition; null, or an empty entry, when it is all the same.</summary>
    public IReadOnlyList<IReadOnlyList<NodeId>>? PreferredNodes { get; init; }
}

/// <summary>The shuffle a stage writes.</summary>
/// <param name="Shuffle">The shuffle: the same id in a later job means the same output, which is not computed twice.</param>
/// <param name="Reducers">How many parts each map task writes.</param>
internal readonly record struct ShuffleOutput(ShuffleId Shuffle, int Reducers);
