using System.Collections.Immutable;
using Yarnish.Protocol;

namespace Yarnish.Dataflow;

/// <summary>
/// The output of a map stage: which attempt's files are the truth, per map partition. Outlives the jobs that computed it until its owner releases it.
/// The driver is the authority; the registry holds copies by epoch.
/// </summary>
internal sealed class Shuffle(ShuffleId id, int maps, int reducers)
{
    public ShuffleId Id { get; } = id;

    public int Reducers { get; } = reducers;

    public MapOutput?[] Outputs { get; } = new MapOutput?[maps];

    public int Maps => Outputs.Length;

    public int Available { get; set; }

    /// <summary>All outputs are there and their locations are published.</summary>
    public bool Complete { get; set; }

    /// <summary>Epoch of the locations published last; 0 when never published.</summary>
    public int Epoch { get; set; }

    /// <summary>It was complete since its outputs were last thrown away: somebody may have read it.</summary>
    public bool MayHaveBeenRead { get; set; }

    /// <summary>Counts how often all its outputs were thrown away because they could not be completed alike.</summary>
    public int Generation { get; set; }

    /// <summary>The shuffles its outputs were computed from, and of which generation those were.</summary>
    public (ShuffleId Shuffle, int Generation)[] ComputedFrom { get; set; } = [];

    /// <summary>True when running its map tasks again may give other rows.</summary>
    public bool Indeterminate { get; set; }

    /// <summary>Attempts in flight that may still write files for it, wanted or not.</summary>
    public int Writers { get; set; }

    /// <summary>The owner is gone.</summary>
    public bool Released { get; set; }

    /// <summary>The stage that writes it, while a job names it.</summary>
    public Stage? Producer { get; set; }

    /// <summary>Stages of running jobs that read it.</summary>
    public List<Stage> Consumers { get; } = [];

    /// <summary>The published locations; only when <see cref="Complete"/>.</summary>
    public ImmutableArray<MapOutput> Published { get; set; } = [];
}
