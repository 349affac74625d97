using CsCheck;
using Xunit;
using Yarnish.Blocks;

namespace Yarnish.Tests.Blocks;

public sealed class BlockServingTests
{
    private static readonly Gen<BlockFetchItem> Items = Gen.OneOf(
        Gen.Select(Gen.Int[0, 5], Gen.Int[0, 100], Gen.Long, Gen.Int[0, 100], Gen.Int[1, 50],
            static (shuffle, map, attempt, first, count) => BlockFetchItem.Parts(new MapOutputId(new(shuffle), map, new(attempt)), first, count)),
        Gen.Char["abcXYZ0189._-"].Array[1, 128].Where(static name => name[0] != '.' && !new string(name).EndsWith(".tmp", StringComparison.Ordinal))
            .Select(static name => BlockFetchItem.Named(BlockId.Create(new string(name)))));

    [Fact]
    public void Requests_read_back_as_they_were_written() =>
        Items.List[1, 200].Sample(static items => Assert.Equal(items, BlockFetchRequest.Parse(new BlockFetchRequest(items).ToBytes()).Items));

    [Fact]
    public void Hostile_bytes_are_a_request_error_and_nothing_else() =>
        Gen.Select(Items.List[1, 20], Gen.Int[0, 10_000], Gen.Byte, Gen.Int[0, 400]).Sample(static (items, at, value, cut) =>
        {
            var bytes = new BlockFetchRequest(items).ToBytes();
            bytes[at % bytes.Length] = value;
            bytes = bytes[..Math.Min(bytes.Length, cut)];
            try
            {
                BlockFetchRequest.Parse(bytes);
            }
            catch (BlockRequestException)
            {
            }
        });

    [Fact]
    public async Task A_request_larger_than_its_bound_is_refused_while_it_is_read()
    {
        var endless = new MemoryStream(new byte[BlockFetchRequest.MaximumBytes + 1]);

        await Assert.ThrowsAsync<BlockRequestException>(() => BlockFetchRequest.ReadAsync(endless, TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task The_answer_has_a_status_for_each_item_in_order()
    {
        using var blocks = new TemporaryBlocks();
        blocks.Write(TemporaryBlocks.Output(0), 3, [(0, [1, 2, 3]), (2, [4])]);
        blocks.Write(TemporaryBlocks.Output(1), 3, [(0, [9])]);
        TemporaryBlocks.Truncate(blocks.Directory.DataPath(TemporaryBlocks.Output(1)), 1);
        blocks.Directory.WriteNamed(new BlockId("result-1"), [5, 5]);
        var request = new BlockFetchRequest(
        [
            BlockFetchItem.Parts(TemporaryBlocks.Output(0), 0, 3),
            BlockFetchItem.Parts(TemporaryBlocks.Output(0, attempt: 77), 0),
            BlockFetchItem.Parts(TemporaryBlocks.Output(1), 0),
            BlockFetchItem.Parts(TemporaryBlocks.Output(0), 2, 2),
            BlockFetchItem.Named(new BlockId("result-1")),
            BlockFetchItem.Named(new BlockId("result-2")),
        ]);

        var server = new BlockServer();
        var body = new MemoryStream();
        await server.ServeAsync(blocks.Directory.Root, request, body, TestContext.Current.CancellationToken);

        var reader = new BinaryReader(new MemoryStream(body.ToArray()));
        var statuses = new List<BlockStatus>();
        foreach (var _ in request.Items)
        {
            statuses.Add((BlockStatus)reader.ReadByte());
            reader.ReadBytes((int)reader.ReadInt64());
        }
        Assert.Equal([BlockStatus.Found, BlockStatus.Missing, BlockStatus.Corrupt, BlockStatus.Missing, BlockStatus.Found, BlockStatus.Missing], statuses);
        Assert.Equal(body.Length, reader.BaseStream.Position);
        Assert.Equal((2, 4), (server.ItemsFound, server.ItemsNotFound));
    }

    [Fact]
    public async Task A_directory_that_does_not_exist_answers_missing()
    {
        var body = new MemoryStream();

        await new BlockServer().ServeAsync("/nonexistent/yarnish", new BlockFetchRequest([BlockFetchItem.Parts(TemporaryBlocks.Output(0), 0)]), body, TestContext.Current.CancellationToken);

        Assert.Equal((byte)BlockStatus.Missing, body.ToArray()[0]);
    }
}
