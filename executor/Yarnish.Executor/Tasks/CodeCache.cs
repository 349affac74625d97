using System.Security.Cryptography;

namespace Yarnish.Executor;

/// <summary>Serialized stage programs by hash, bounded by number and bytes; the one used longest ago goes first, and the driver sends it again when a task needs it.</summary>
internal sealed class CodeCache(int capacity = 64, long capacityBytes = 256 * 1024 * 1024)
{
    private readonly Lock gate = new();
    private readonly Dictionary<string, LinkedListNode<(string Hash, ReadOnlyMemory<byte> Content)>> byHash = new(StringComparer.Ordinal);
    private readonly LinkedList<(string Hash, ReadOnlyMemory<byte> Content)> recent = new();
    private long bytes;

    /// <summary>Keeps a program. False when its content is not what its hash says.</summary>
    public bool TryAdd(string hash, ReadOnlyMemory<byte> content)
    {
        if (!string.Equals(Convert.ToHexStringLower(SHA256.HashData(content.Span)), hash, StringComparison.Ordinal))
        {
            return false;
        }
        lock (gate)
        {
            if (byHash.ContainsKey(hash))
            {
                return true;
            }
            byHash[hash] = recent.AddFirst((hash, content));
            bytes += content.Length;
            while (recent.Count > capacity || (bytes > capacityBytes && recent.Count > 1))
            {
                var last = recent.Last!.Value;
                recent.RemoveLast();
                byHash.Remove(last.Hash);
                bytes -= last.Content.Length;
            }
            return true;
        }
    }

    /// <summary>The program of a hash; false when it is not held.</summary>
    public bool TryGet(string hash, out ReadOnlyMemory<byte> content)
    {
        lock (gate)
        {
            if (!byHash.TryGetValue(hash, out var node))
            {
                content = default;
                return false;
            }
            if (!ReferenceEquals(recent.First, node))
            {
                recent.Remove(node);
                recent.AddFirst(node);
            }
            content = node.Value.Content;
            return true;
        }
    }
}
