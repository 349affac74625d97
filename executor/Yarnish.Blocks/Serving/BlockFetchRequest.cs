using System.Buffers.Binary;
using System.Text;

namespace Yarnish.Blocks;

/// <summary>One thing asked of a block server: parts of a map output, or a whole named block.</summary>
public readonly record struct BlockFetchItem
{
    private BlockFetchItem(MapOutputId output, int firstReducer, int reducers, BlockId block)
    {
        Output = output;
        FirstReducer = firstReducer;
        Reducers = reducers;
        Block = block;
    }

    /// <summary>The map output; meaningless when <see cref="Block"/> is set.</summary>
    public MapOutputId Output { get; }

    /// <summary>First reducer wanted.</summary>
    public int FirstReducer { get; }

    /// <summary>How many reducers' parts are wanted, at least 1; 0 for a named block.</summary>
    public int Reducers { get; }

    /// <summary>The named block; its value is null for parts of a map output.</summary>
    public BlockId Block { get; }

    /// <summary>Asks for the parts of consecutive reducers.</summary>
    public static BlockFetchItem Parts(MapOutputId output, int firstReducer, int reducers = 1) => new(output, firstReducer, reducers, default);

    /// <summary>Asks for a named block.</summary>
    public static BlockFetchItem Named(BlockId block) => new(default, 0, 0, block);

    /// <inheritdoc/>
    public override string ToString() => Block.Value is { } name ? $"block {name}" : $"{Output} reducers {FirstReducer}+{Reducers}";
}

/// <summary>
/// The body of <c>POST /blocks/{application}/fetch</c>.
/// <code>
/// u32 'YBF1' | u32 count | count × ( u8 1 | i32 shuffle | i32 map | i64 attempt | i32 first reducer | i32 reducers
///                                  | u8 2 | u8 length | name in ASCII )                                            (little endian)
/// </code>
/// </summary>
public sealed class BlockFetchRequest
{
    /// <summary>Content type of request and response.</summary>
    public const string ContentType = "application/x-yarnish-blocks";

    /// <summary>Largest body accepted, in bytes.</summary>
    public const int MaximumBytes = 1024 * 1024;

    /// <summary>Most items accepted.</summary>
    public const int MaximumItems = 16 * 1024;

    /// <summary>Most reducers one item may span.</summary>
    public const int MaximumReducers = 1024 * 1024;

    private const uint Magic = 0x31464259;
    private const int PartsLength = 25;

    /// <summary>With its items, answered in this order.</summary>
    /// <exception cref="BlockRequestException">None, too many, or out of range.</exception>
    public BlockFetchRequest(IReadOnlyList<BlockFetchItem> items)
    {
        if (items.Count is 0 or > MaximumItems)
        {
            throw new BlockRequestException($"A fetch request has 1 to {MaximumItems} items, not {items.Count}.");
        }
        foreach (var item in items)
        {
            if (item.Block.Value is null
                && (item.Output.MapPartition < 0 || item.FirstReducer < 0 || item.Reducers is < 1 or > MaximumReducers
                    || item.Output.ShuffleId.Value < 0 || item.FirstReducer > int.MaxValue - item.Reducers))
            {
                throw new BlockRequestException($"Out of range: {item}.");
            }
        }
        Items = items;
    }

    /// <summary>What is asked for.</summary>
    public IReadOnlyList<BlockFetchItem> Items { get; }

    /// <summary>The body.</summary>
    public byte[] ToBytes()
    {
        var length = 8 + Items.Sum(item => item.Block.Value is { } name ? 2 + name.Length : PartsLength);
        var bytes = new byte[length];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, Magic);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(4), Items.Count);
        var at = 8;
        foreach (var item in Items)
        {
            var target = bytes.AsSpan(at);
            if (item.Block.Value is { } name)
            {
                target[0] = 2;
                target[1] = (byte)name.Length;
                at += 2 + Encoding.ASCII.GetBytes(name, target[2..]);
                continue;
            }
            target[0] = 1;
            BinaryPrimitives.WriteInt32LittleEndian(target[1..], item.Output.ShuffleId.Value);
            BinaryPrimitives.WriteInt32LittleEndian(target[5..], item.Output.MapPartition);
            BinaryPrimitives.WriteInt64LittleEndian(target[9..], item.Output.AttemptId.Value);
            BinaryPrimitives.WriteInt32LittleEndian(target[17..], item.FirstReducer);
            BinaryPrimitives.WriteInt32LittleEndian(target[21..], item.Reducers);
            at += PartsLength;
        }
        return bytes;
    }

    /// <summary>Reads a body, at most <see cref="MaximumBytes"/> of it.</summary>
    /// <exception cref="BlockRequestException">It is malformed or too large: answer 400 with the message.</exception>
    public static async Task<BlockFetchRequest> ReadAsync(Stream body, CancellationToken cancellation)
    {
        using var buffer = new MemoryStream();
        var chunk = new byte[8 * 1024];
        int read;
        while ((read = await body.ReadAsync(chunk, cancellation).ConfigureAwait(false)) > 0)
        {
            if (buffer.Length + read > MaximumBytes)
            {
                throw new BlockRequestException($"A fetch request has at most {MaximumBytes} bytes.");
            }
            buffer.Write(chunk, 0, read);
        }
        return Parse(buffer.GetBuffer().AsSpan(0, (int)buffer.Length));
    }

    /// <summary>Reads the bytes of a body.</summary>
    /// <exception cref="BlockRequestException">They are malformed.</exception>
    public static BlockFetchRequest Parse(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < 8 || BinaryPrimitives.ReadUInt32LittleEndian(bytes) != Magic)
        {
            throw new BlockRequestException("Not a fetch request: it does not start with 'YBF1'.");
        }
        var count = BinaryPrimitives.ReadInt32LittleEndian(bytes[4..]);
        if (count is < 1 or > MaximumItems)
        {
            throw new BlockRequestException($"A fetch request has 1 to {MaximumItems} items, not {count}.");
        }
        var items = new List<BlockFetchItem>(Math.Min(count, bytes.Length / 3));
        bytes = bytes[8..];
        for (var i = 0; i < count; i++)
        {
            if (bytes.Length >= PartsLength && bytes[0] == 1)
            {
                items.Add(BlockFetchItem.Parts(
                    new MapOutputId(
                        new(BinaryPrimitives.ReadInt32LittleEndian(bytes[1..])),
                        BinaryPrimitives.ReadInt32LittleEndian(bytes[5..]),
                        new(BinaryPrimitives.ReadInt64LittleEndian(bytes[9..]))),
                    BinaryPrimitives.ReadInt32LittleEndian(bytes[17..]),
                    BinaryPrimitives.ReadInt32LittleEndian(bytes[21..])));
                bytes = bytes[PartsLength..];
            }
            else if (bytes.Length >= 2 && bytes[0] == 2 && bytes.Length >= 2 + bytes[1])
            {
                try
                {
                    items.Add(BlockFetchItem.Named(BlockId.Create(Encoding.ASCII.GetString(bytes.Slice(2, bytes[1])))));
                }
                catch (FormatException error)
                {
                    throw new BlockRequestException(error.Message);
                }
                bytes = bytes[(2 + bytes[1])..];
            }
            else
            {
                throw new BlockRequestException($"Item {i} of {count} is malformed.");
            }
        }
        if (bytes.Length != 0)
        {
            throw new BlockRequestException($"{bytes.Length} bytes follow the last item.");
        }
        return new BlockFetchRequest(items);
    }
}

/// <summary>How the server answers one item.</summary>
internal enum BlockStatus : byte
{
    /// <summary>Its bytes follow.</summary>
    Found = 0,

    /// <summary>There is no such block.</summary>
    Missing = 1,

    /// <summary>It is there but cannot be right: damaged index, truncated data.</summary>
    Corrupt = 2,
}
