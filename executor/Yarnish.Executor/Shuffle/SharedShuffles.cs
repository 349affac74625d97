using Yarnish.Blocks;
using Yarnish.Protocol;
using Yarnish.Serialization;

namespace Yarnish.Executor;

/// <summary>
/// Map outputs that stay in memory as the rows they are, where map and reduce tasks run in one process: an embedded session that is not isolated. Only rows that nobody can change are
/// kept so (<see cref="RowSharing{T}"/>): a reducer cannot tell them from rows that went through a file. Bounded: what does not fit goes into a file, as everywhere else.
/// </summary>
internal sealed class SharedShuffles(long limit)
{
    private readonly Lock gate = new();
    private readonly Dictionary<ShuffleId, Dictionary<MapOutputId, ISharedRows>> kept = [];
    private long used;

    /// <summary>Bytes reserved at the moment.</summary>
    public long Used
    {
        get
        {
            lock (gate)
            {
                return used;
            }
        }
    }

    /// <summary>Reserves memory; false when there is not so much left.</summary>
    public bool TryReserve(long bytes)
    {
        lock (gate)
        {
            if (used + bytes > limit)
            {
                return false;
            }
            used += bytes;
            return true;
        }
    }

    /// <summary>Gives memory back.</summary>
    public void Release(long bytes)
    {
        lock (gate)
        {
            used -= bytes;
        }
    }

    /// <summary>Keeps the output of a map task until its shuffle is dropped.</summary>
    public void Keep(MapOutputId id, ISharedRows output)
    {
        lock (gate)
        {
            if (!kept.TryGetValue(id.ShuffleId, out var outputs))
            {
                kept.Add(id.ShuffleId, outputs = []);
            }
            outputs.Add(id, output);
        }
    }

    /// <summary>The output of a map task; null when it is not in memory.</summary>
    public ISharedRows? Find(MapOutputId id)
    {
        lock (gate)
        {
            return kept.GetValueOrDefault(id.ShuffleId)?.GetValueOrDefault(id);
        }
    }

    /// <summary>Forgets a shuffle.</summary>
    public void Drop(ShuffleId shuffle)
    {
        lock (gate)
        {
            if (kept.Remove(shuffle, out var outputs))
            {
                used -= outputs.Values.Sum(static output => output.Bytes);
            }
        }
    }
}

/// <summary>A <see cref="SharedRows{T}"/> of any type of rows.</summary>
internal interface ISharedRows
{
    /// <summary>About how many bytes the rows have.</summary>
    long Bytes { get; }
}

/// <summary>A <see cref="SharedRowWriter{T}"/> of any type of rows.</summary>
internal interface ISharedWriter
{
    /// <summary>Rows it holds.</summary>
    long KeptRows { get; }

    /// <summary>About how many bytes they have.</summary>
    long KeptBytes { get; }

    /// <summary>About how many bytes the rows of a reducer have; 0 when there are none.</summary>
    long PartBytes(int reducer);

    /// <summary>Hands the rows to the store; false when they went into the file.</summary>
    bool Keep(MapOutputId id);

    /// <summary>Gives the memory back unless the store has the rows.</summary>
    void Abandon();
}
