namespace Yarnish.Protocol;

/// <summary>A persisted partition that is a file of a node, whose agent serves it.</summary>
/// <param name="Collection">Number of the persisted collection.</param>
/// <param name="Partition">The partition.</param>
/// <param name="NodeId">The node.</param>
/// <param name="NodeUrl">Base URL of the node's block server.</param>
public readonly record struct PartitionAt(int Collection, int Partition, NodeId NodeId, string NodeUrl);

/// <summary>Copy these persisted partitions to your own node, as files: for a second copy, or because theirs is about to go. <see cref="PartitionsHeld"/> tells what became of it.</summary>
/// <param name="Partitions">What to copy, and from where.</param>
public sealed record CopyPartitions(IReadOnlyList<PartitionAt> Partitions) : DriverMessage;

/// <summary>
/// You are about to leave: write the persisted partitions that are in your memory only as files of your node, then answer with <see cref="PartitionsHeld.AllWritten"/>.
/// </summary>
public sealed record WritePartitions : DriverMessage
{
    /// <summary>The only value.</summary>
    public static WritePartitions Instance { get; } = new();
}

/// <summary>What became of persisted partitions without a task: copied, written, pushed out of memory, found missing. Absolute: what is held now.</summary>
/// <param name="From">The executor.</param>
/// <param name="NodeId">Its node: the files stay there when the executor has gone.</param>
/// <param name="Partitions">What is held of each; nothing where both sizes are 0.</param>
public sealed record PartitionsHeld(ExecutorAddress From, NodeId NodeId, IReadOnlyList<CachedPartition> Partitions) : ExecutorMessage(From)
{
    /// <summary>Files that were asked for and are not there, or are damaged, on the nodes named.</summary>
    public IReadOnlyList<PartitionAt> Lost { get; init; } = [];

    /// <summary>Answers <see cref="WritePartitions"/>: nothing more is in memory only, but for what no disk took.</summary>
    public bool AllWritten { get; init; }
}
