using System.Buffers;
using Yarnish.Blocks;
using Yarnish.Protocol;

namespace Yarnish.Tests.Blocks;

/// <summary>A block directory that goes with the test, and words to arrange it.</summary>
internal sealed class TemporaryBlocks : IDisposable
{
    public TemporaryBlocks() => Directory = new BlockDirectory(Path.Combine(Path.GetTempPath(), $"yarnish-blocks-{Guid.NewGuid():N}"));

    public BlockDirectory Directory { get; }

    public static NodeId Node { get; } = new("node-1");

    public static MapOutputId Output(int map, long attempt = 1, int shuffle = 0) => new(new ShuffleId(shuffle), map, new TaskAttemptId(attempt));

    /// <summary>Writes rows (reducer, bytes) as one map task.</summary>
    public MapOutput Write(MapOutputId id, int reducers, IEnumerable<(int Reducer, byte[] Row)> rows, long memory = 64 * 1024 * 1024, string nodeUrl = "", NodeId? node = null)
    {
        using var writer = new ShuffleFileWriter(Directory, id, reducers, memory);
        foreach (var (reducer, row) in rows)
        {
            writer.GetPart(reducer).Write(row);
            writer.RowWritten(reducer);
        }
        writer.Finish();
        return new MapOutput(id.ShuffleId, id.MapPartition, id.AttemptId, node ?? Node, nodeUrl, writer.PartBytes.ToArray().Select(SizeClasses.Of).ToArray());
    }

    /// <summary>Everything a reducer reads, by map task, each in the order in which it came.</summary>
    public Dictionary<int, byte[]> Read(ShuffleLocations locations, int reducer, BlockClient? client = null, NodeId? self = null)
    {
        using var reader = new ShuffleReader(Directory, self ?? Node, client, locations, reducer, TestContext.Cancellation);
        var parts = new Dictionary<int, MemoryStream>();
        foreach (var (map, content) in reader.Read())
        {
            if (!parts.TryGetValue(map, out var part))
            {
                parts[map] = part = new MemoryStream();
            }
            part.Write(content.Span);
        }
        return parts.ToDictionary(static part => part.Key, static part => part.Value.ToArray());
    }

    /// <summary>Flips one bit of a file.</summary>
    public static void Damage(string path, long at)
    {
        using var file = File.Open(path, FileMode.Open, FileAccess.ReadWrite);
        file.Position = at < 0 ? file.Length + at : at;
        var value = file.ReadByte();
        file.Position--;
        file.WriteByte((byte)(value ^ 0x10));
    }

    public static void Truncate(string path, long by)
    {
        using var file = File.Open(path, FileMode.Open, FileAccess.ReadWrite);
        file.SetLength(Math.Max(0, file.Length - by));
    }

    public void Dispose() => Directory.DeleteAll();

    private static class TestContext
    {
        public static CancellationToken Cancellation => Xunit.TestContext.Current.CancellationToken;
    }
}
