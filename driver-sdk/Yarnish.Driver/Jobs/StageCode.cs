using System.Security.Cryptography;
using Yarnish.Serialization;

namespace Yarnish.Jobs;

/// <summary>What one stage of one job runs, and the name under which executors know it.</summary>
internal abstract class StageCode(StagePlan stage)
{
    /// <summary>The stage.</summary>
    public StagePlan Stage { get; } = stage;

    /// <summary>Number that the job machine hands back with tasks.</summary>
    public int Number { get; set; }

    /// <summary>Names the code in task messages.</summary>
    /// <exception cref="Exception">The program cannot travel.</exception>
    public abstract string Hash { get; }

    /// <summary>What executors need before the first task; null when they have it already.</summary>
    public abstract ReadOnlyMemory<byte>? Content { get; }
}

/// <summary>Code that travels: serialized once, named by the SHA-256 of its bytes.</summary>
internal sealed class SerializedStageCode(StagePlan stage) : StageCode(stage)
{
    private ReadOnlyMemory<byte> content;
    private string? hash;

    /// <inheritdoc/>
    public override string Hash
    {
        get
        {
            Settle();
            return hash!;
        }
    }

    /// <inheritdoc/>
    public override ReadOnlyMemory<byte>? Content
    {
        get
        {
            Settle();
            return content;
        }
    }

    /// <summary>Says that the code is large, and why; null when it is not, or not settled.</summary>
    public string? Warning { get; private set; }

    /// <summary>Serializes now rather than at the first task.</summary>
    /// <exception cref="ClosureException">Something in it cannot travel, or it is too large.</exception>
    public void Settle()
    {
        if (hash is not null)
        {
            return;
        }
        var serialized = ClosureSerializer.Serialize(Stage.Program, $"Stage '{Stage.Name}'");
        content = serialized.Bytes;
        Warning = serialized.Warning;
        hash = Convert.ToHexStringLower(SHA256.HashData(content.Span));
    }
}
