using Xunit;
using Yarnish.Blocks;

namespace Yarnish.Tests.Blocks;

/// <summary>Copies of named blocks that are put onto a node.</summary>
public sealed class BlockReceivingTests
{
    private static readonly BlockId Block = new("broadcast-1-0");

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    private static byte[] Noise(int length)
    {
        var bytes = new byte[length];
        new Random(length).NextBytes(bytes);
        return bytes;
    }

    private static (byte[] Raw, byte[] Encoded) Sent(int length)
    {
        using var sender = new TemporaryBlocks();
        var raw = Noise(length);
        sender.Directory.WriteNamed(Block, raw);
        return (raw, File.ReadAllBytes(Path.Combine(sender.Directory.Root, "named", Block.Value)));
    }

    private static void AssertNothing(TemporaryBlocks blocks)
    {
        Assert.False(blocks.Directory.HasNamed(Block));
        Assert.Empty(Directory.Exists(Path.Combine(blocks.Directory.Root, "named")) ? Directory.GetFiles(Path.Combine(blocks.Directory.Root, "named")) : []);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(10)]
    [InlineData(3_000_000)]
    public async Task What_was_sent_is_kept(int length)
    {
        using var blocks = new TemporaryBlocks();
        Directory.CreateDirectory(blocks.Directory.Root);
        var (raw, encoded) = Sent(length);
        var server = new BlockServer();

        await server.ReceiveAsync(blocks.Directory.Root, Block, new MemoryStream(encoded), 1 << 30, Cancellation);

        Assert.Equal(raw, blocks.Directory.ReadNamed(Block));
        Assert.Equal(1, server.ItemsTaken);
    }

    [Fact]
    public async Task Damage_on_the_way_is_refused_and_leaves_nothing()
    {
        using var blocks = new TemporaryBlocks();
        Directory.CreateDirectory(blocks.Directory.Root);
        var (_, encoded) = Sent(3_000_000);
        foreach (var at in (int[])[0, 5, 20, 1_500_000, encoded.Length - 1])
        {
            var damaged = encoded.ToArray();
            damaged[at] ^= 0x40;
            await Assert.ThrowsAsync<BlockRequestException>(() => new BlockServer().ReceiveAsync(blocks.Directory.Root, Block, new MemoryStream(damaged), 1 << 30, Cancellation));
        }
        foreach (var length in (int[])[7, 16, 17, encoded.Length - 1])
        {
            await Assert.ThrowsAsync<BlockRequestException>(() => new BlockServer().ReceiveAsync(blocks.Directory.Root, Block, new MemoryStream(encoded[..length]), 1 << 30, Cancellation));
        }
        AssertNothing(blocks);
    }

    [Fact]
    public async Task More_than_the_bound_is_refused_and_leaves_nothing()
    {
        using var blocks = new TemporaryBlocks();
        Directory.CreateDirectory(blocks.Directory.Root);
        var (_, encoded) = Sent(3_000_000);

        await Assert.ThrowsAsync<BlockRequestException>(() => new BlockServer().ReceiveAsync(blocks.Directory.Root, Block, new MemoryStream(encoded), 2_000_000, Cancellation));

        AssertNothing(blocks);
    }

    [Fact]
    public async Task An_application_that_is_over_takes_nothing()
    {
        using var blocks = new TemporaryBlocks();
        var (_, encoded) = Sent(10);

        await Assert.ThrowsAsync<BlockMissingException>(() => new BlockServer().ReceiveAsync(blocks.Directory.Root, Block, new MemoryStream(encoded), 1 << 30, Cancellation));

        Assert.False(Directory.Exists(blocks.Directory.Root));
    }

    [Fact]
    public void Named_blocks_go_by_the_beginning_of_their_name()
    {
        using var blocks = new TemporaryBlocks();
        foreach (var name in (string[])["broadcast-1-0", "broadcast-1-1", "broadcast-11-0", "result-1"])
        {
            blocks.Directory.WriteNamed(BlockId.Create(name), [1]);
        }

        blocks.Directory.DeleteNamed("broadcast-1-");

        Assert.Equal(["broadcast-11-0", "result-1"], Directory.GetFiles(Path.Combine(blocks.Directory.Root, "named")).Select(Path.GetFileName).Order());
    }
}
