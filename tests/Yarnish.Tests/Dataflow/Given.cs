using Yarnish.Dataflow;
using Yarnish.Protocol;

namespace Yarnish.Tests.Dataflow;

/// <summary>Where tests start: <c>Given.Job().Map(0, partitions: 2).Result(1, reads: 0)</c>.</summary>
internal static class Given
{
    public static JobBuilder Job(string name = "job") => new(name);

    /// <summary>A job of one stage.</summary>
    public static JobDefinition Count(int partitions, string pool = "") => Job().InPool(pool).Result(partitions);
}

/// <summary>Builds job definitions; code handles are the index of the stage.</summary>
internal sealed class JobBuilder(string name)
{
    private readonly List<StageDefinition> _stages = [];
    private string _pool = "";
    private int _weight = 1;
    private int _minimumShare;
    private int[]? _partitions;
    private long? _resultLimit;

    public JobBuilder InPool(string pool, int weight = 1, int minimumShare = 0)
    {
        (_pool, _weight, _minimumShare) = (pool, weight, minimumShare);
        return this;
    }

    public JobBuilder Wanting(params int[] partitions)
    {
        _partitions = partitions;
        return this;
    }

    public JobBuilder LimitedTo(long bytes)
    {
        _resultLimit = bytes;
        return this;
    }

    /// <summary>A map stage that writes a shuffle.</summary>
    public JobBuilder Map(int shuffle, int partitions, int[]? reads = null, int reducers = 1, bool indeterminate = false, bool barrier = false, int[]? persisted = null)
    {
        _stages.Add(new StageDefinition
        {
            Name = $"map {shuffle}",
            Partitions = partitions,
            Output = new ShuffleOutput(new ShuffleId(shuffle), reducers),
            Inputs = Shuffles(reads),
            Code = _stages.Count,
            Indeterminate = indeterminate,
            Barrier = barrier,
            Persisted = persisted ?? [],
        });
        return this;
    }

    public JobBuilder Map(int shuffle, int partitions, int reads) => Map(shuffle, partitions, [reads]);

    /// <summary>The result stage: ends the definition.</summary>
    public JobDefinition Result(int partitions, int[] reads, bool barrier = false, int[]? persisted = null, string[][]? near = null)
    {
        _stages.Add(new StageDefinition
        {
            Name = "result",
            Partitions = partitions,
            Inputs = Shuffles(reads),
            Code = _stages.Count,
            Barrier = barrier,
            Persisted = persisted ?? [],
            PreferredNodes = near?.Select(nodes => (IReadOnlyList<NodeId>)[.. nodes.Select(node => new NodeId(node))]).ToArray(),
        });
        return new JobDefinition
        {
            Name = name,
            Stages = _stages,
            Partitions = _partitions,
            Pool = _pool,
            PoolWeight = _weight,
            PoolMinimumShare = _minimumShare,
            ResultLimitBytes = _resultLimit,
        };
    }

    public JobDefinition Result(int partitions, bool barrier = false, int[]? persisted = null, string[][]? near = null) => Result(partitions, [], barrier, persisted, near);

    public JobDefinition Result(int partitions, int reads) => Result(partitions, [reads]);

    private static ShuffleId[] Shuffles(int[]? reads) => [.. (reads ?? []).Select(id => new ShuffleId(id))];
}
