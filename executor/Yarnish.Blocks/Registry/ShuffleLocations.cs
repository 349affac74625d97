using System.Buffers.Binary;
using System.IO.Hashing;
using System.Text;
using K4os.Compression.LZ4;
using Yarnish.Protocol;

namespace Yarnish.Blocks;

/// <summary>
/// Where the whole output of a map stage is, at one epoch: what reducers read in a single call. Immutable; thread-safe.
/// </summary>
public sealed class ShuffleLocations
{
    private const uint Magic = 0x314C5359;

    private readonly (NodeId Id, string Url)[] nodes;
    private readonly long[] attempts;
    private readonly ushort[] nodeOf;
    private readonly byte[] sizeClasses;

    // Where the classes of each map task start; one more at the end.
    private readonly int[] starts;

    private ShuffleLocations(ShuffleId shuffle, int epoch, int reducers, (NodeId, string)[] nodes, long[] attempts, ushort[] nodeOf, byte[] sizeClasses, int[] starts)
    {
        (ShuffleId, Epoch, Reducers) = (shuffle, epoch, reducers);
        (this.nodes, this.attempts, this.nodeOf, this.sizeClasses, this.starts) = (nodes, attempts, nodeOf, sizeClasses, starts);
    }

    /// <summary>The shuffle.</summary>
    public ShuffleId ShuffleId { get; }

    /// <summary>Grows when map output was lost and written again.</summary>
    public int Epoch { get; }

    /// <summary>How many reducers.</summary>
    public int Reducers { get; }

    /// <summary>How many map tasks.</summary>
    public int MapPartitions => attempts.Length;

    /// <summary>From the outputs of all map tasks, in any order.</summary>
    /// <param name="shuffle">The shuffle.</param>
    /// <param name="epoch">The epoch.</param>
    /// <param name="outputs">One per map task.</param>
    /// <param name="reducers">How many reducers; null when every output tells the size of each of its parts by itself.</param>
    /// <exception cref="ArgumentException">One is missing, double or of another shuffle, or they differ in the number of reducers.</exception>
    public static ShuffleLocations From(ShuffleId shuffle, int epoch, IReadOnlyCollection<MapOutput> outputs, int? reducers = null)
    {
        var maps = outputs.Count;
        var parts = reducers ?? outputs.FirstOrDefault()?.SizeClasses.Length ?? 0;
        var nodes = new List<(NodeId Id, string Url)>();
        var known = new Dictionary<(NodeId, string), ushort>();
        var attempts = new long[maps];
        var nodeOf = new ushort[maps];
        var classes = new ReadOnlyMemory<byte>[maps];
        var seen = new bool[maps];
        foreach (var output in outputs)
        {
            var map = output.MapPartition;
            if (output.ShuffleId != shuffle || map < 0 || map >= maps || seen[map] || !SizeClasses.Fits(output.SizeClasses.Length, parts))
            {
                throw new ArgumentException(
                    $"The outputs of shuffle {shuffle} must be one per map task 0 to {maps - 1} with {parts} reducers each; found map {map} of shuffle {output.ShuffleId} with {output.SizeClasses.Length}.",
                    nameof(outputs));
            }
            seen[map] = true;
            attempts[map] = output.AttemptId.Value;
            if (!known.TryGetValue((output.NodeId, output.NodeUrl), out var node))
            {
                known[(output.NodeId, output.NodeUrl)] = node = checked((ushort)nodes.Count);
                nodes.Add((output.NodeId, output.NodeUrl));
            }
            nodeOf[map] = node;
            classes[map] = output.SizeClasses;
        }
        var starts = new int[maps + 1];
        for (var map = 0; map < maps; map++)
        {
            starts[map + 1] = checked(starts[map] + classes[map].Length);
        }
        var all = new byte[starts[maps]];
        for (var map = 0; map < maps; map++)
        {
            classes[map].Span.CopyTo(all.AsSpan(starts[map]));
        }
        return new ShuffleLocations(shuffle, epoch, parts, [.. nodes], attempts, nodeOf, all, starts);
    }

    /// <summary>The output of a map task.</summary>
    public MapOutputId Output(int map) => new(ShuffleId, map, new TaskAttemptId(attempts[map]));

    /// <summary>The node that holds it, and the base URL of its block server (empty when embedded).</summary>
    public (NodeId Id, string Url) Node(int map) => nodes[nodeOf[map]];

    /// <summary>The size class of what a map task wrote for a reducer; 0 is exactly nothing.</summary>
    public byte SizeClass(int map, int reducer) => SizeClasses.At(sizeClasses.AsSpan(starts[map]..starts[map + 1]), reducer, Reducers);

    /// <summary>About how many bytes a reducer reads in all.</summary>
    public long BytesOf(int reducer)
    {
        var sum = 0L;
        for (var map = 0; map < MapPartitions; map++)
        {
            sum += SizeClasses.ToBytes(SizeClass(map, reducer));
        }
        return sum;
    }

    /// <summary>One compressed, checked value.</summary>
    public byte[] Pack()
    {
        using var stream = new MemoryStream();
        using (var writer = new BinaryWriter(stream, Encoding.UTF8, leaveOpen: true))
        {
            writer.Write(ShuffleId.Value);
            writer.Write(Epoch);
            writer.Write(Reducers);
            writer.Write(attempts.Length);
            writer.Write(nodes.Length);
            foreach (var (id, url) in nodes)
            {
                writer.Write(id.Value);
                writer.Write(url);
            }
            for (var map = 0; map < attempts.Length; map++)
            {
                writer.Write(attempts[map]);
                writer.Write(nodeOf[map]);
                writer.Write(starts[map + 1] - starts[map]);
            }
            writer.Write(sizeClasses);
        }
        var pickled = LZ4Pickler.Pickle(stream.GetBuffer().AsSpan(0, (int)stream.Length));
        var packed = new byte[12 + pickled.Length];
        BinaryPrimitives.WriteUInt32LittleEndian(packed, Magic);
        BinaryPrimitives.WriteUInt64LittleEndian(packed.AsSpan(4), XxHash3.HashToUInt64(pickled));
        pickled.CopyTo(packed.AsSpan(12));
        return packed;
    }

    /// <summary>Reads a packed value.</summary>
    /// <exception cref="BlockCorruptException">It is not one, or damaged.</exception>
    public static ShuffleLocations Unpack(ReadOnlySpan<byte> packed)
    {
        if (packed.Length < 12
            || BinaryPrimitives.ReadUInt32LittleEndian(packed) != Magic
            || BinaryPrimitives.ReadUInt64LittleEndian(packed[4..]) != XxHash3.HashToUInt64(packed[12..]))
        {
            throw new BlockCorruptException("The packed locations of a shuffle are damaged.");
        }
        using var reader = new BinaryReader(new MemoryStream(LZ4Pickler.Unpickle(packed[12..])), Encoding.UTF8);
        var shuffle = new ShuffleId(reader.ReadInt32());
        var epoch = reader.ReadInt32();
        var reducers = reader.ReadInt32();
        var maps = reader.ReadInt32();
        var nodes = new (NodeId, string)[reader.ReadInt32()];
        for (var i = 0; i < nodes.Length; i++)
        {
            nodes[i] = (NodeId.Create(reader.ReadString()), reader.ReadString());
        }
        var attempts = new long[maps];
        var nodeOf = new ushort[maps];
        var starts = new int[maps + 1];
        for (var map = 0; map < maps; map++)
        {
            attempts[map] = reader.ReadInt64();
            nodeOf[map] = reader.ReadUInt16();
            starts[map + 1] = starts[map] + reader.ReadInt32();
        }
        return new ShuffleLocations(shuffle, epoch, reducers, nodes, attempts, nodeOf, reader.ReadBytes(starts[maps]), starts);
    }
}
