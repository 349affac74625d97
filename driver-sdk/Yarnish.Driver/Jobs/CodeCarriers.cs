using System.Collections.Concurrent;
using System.Globalization;
using Yarnish.Executor;
using Yarnish.Serialization;

namespace Yarnish.Jobs;

/// <summary>How stage code gets to executors: by bytes, or, within a process, by reference.</summary>
internal interface ICodeCarrier
{
    /// <summary>Whether functions must be able to travel.</summary>
    bool Travels { get; }

    /// <summary>Prepares the code of a stage. From any thread.</summary>
    StageCode Carry(StagePlan stage);

    /// <summary>No job uses it any more.</summary>
    void Forget(StageCode code);
}

/// <summary>Code as bytes: on a cluster, and embedded when isolated.</summary>
internal sealed class SerializingCarrier : ICodeCarrier
{
    /// <inheritdoc/>
    public bool Travels => true;

    /// <summary>What executors do with the bytes.</summary>
    public static StageProgram Deserialize(ReadOnlyMemory<byte> content) => ClosureSerializer.Deserialize<StageProgram>(content);

    /// <inheritdoc/>
    public StageCode Carry(StagePlan stage) => new SerializedStageCode(stage);

    /// <inheritdoc/>
    public void Forget(StageCode code)
    {
    }
}

/// <summary>Code by reference: the executor in this process runs the very object, so that breakpoints hit and nothing is copied.</summary>
internal sealed class SharingCarrier : ICodeCarrier
{
    private readonly ConcurrentDictionary<string, StageProgram> programs = new(StringComparer.Ordinal);
    private long next;

    /// <inheritdoc/>
    public bool Travels => false;

    /// <summary>The program of a name; null when it is not known (any more).</summary>
    public StageProgram? Find(string hash) => programs.GetValueOrDefault(hash);

    /// <inheritdoc/>
    public StageCode Carry(StagePlan stage)
    {
        var name = string.Create(CultureInfo.InvariantCulture, $"shared-{Interlocked.Increment(ref next)}");
        programs[name] = stage.Program;
        return new Shared(stage, name);
    }

    /// <inheritdoc/>
    public void Forget(StageCode code) => programs.TryRemove(code.Hash, out _);

    private sealed class Shared(StagePlan stage, string name) : StageCode(stage)
    {
        public override string Hash => name;

        public override ReadOnlyMemory<byte>? Content => null;
    }
}
