using System.Text;
using CsCheck;
using Xunit;
using Yarnish.Blocks;
using Yarnish.Protocol;

namespace Yarnish.Tests.Blocks;

public sealed class ShuffleFileTests
{
    [Fact]
    public void What_a_reducer_reads_is_what_was_written_for_it_whatever_the_memory()
    {
        var rows = Gen.Select(Gen.Int[0, 6], Gen.Byte.Array[0, 3000]).List[0, 200];
        Gen.Select(rows, Gen.Int[0, 300_000]).Sample(
            (written, memory) =>
            {
                using var blocks = new TemporaryBlocks();
                var output = blocks.Write(TemporaryBlocks.Output(0), reducers: 7, written.Select(static row => (row.Item1, row.Item2)), memory);
                var locations = ShuffleLocations.From(new ShuffleId(0), 1, [output]);

                for (var reducer = 0; reducer < 7; reducer++)
                {
                    var expected = written.Where(row => row.Item1 == reducer).SelectMany(static row => row.Item2).ToArray();
                    Assert.Equal(expected, blocks.Read(locations, reducer).GetValueOrDefault(0, []));
                }
            },
            iter: 60,
            threads: 2);
    }

    [Fact]
    public void Rows_never_straddle_blocks()
    {
        using var blocks = new TemporaryBlocks();
        var row = Encoding.ASCII.GetBytes("0123456789abcde\n");
        var output = blocks.Write(TemporaryBlocks.Output(0), 2, Enumerable.Repeat((1, row), 100_000), memory: 300_000);
        var locations = ShuffleLocations.From(new ShuffleId(0), 1, [output]);

        using var reader = new ShuffleReader(blocks.Directory, TemporaryBlocks.Node, null, locations, 1, TestContext.Current.CancellationToken);
        var count = 0;
        var pieces = 0;
        foreach (var (_, content) in reader.Read())
        {
            Assert.Equal(0, content.Length % row.Length);
            count += content.Length / row.Length;
            pieces++;
        }

        Assert.Equal(100_000, count);
        Assert.True(pieces > 1);
    }

    [Fact]
    public void Short_memory_spills_and_the_sizes_still_add_up()
    {
        using var blocks = new TemporaryBlocks();
        var random = new Random(1);
        using var writer = new ShuffleFileWriter(blocks.Directory, TemporaryBlocks.Output(3), 4, memoryLimit: 100_000);
        for (var i = 0; i < 2_000; i++)
        {
            var part = writer.GetPart(i % 4);
            random.NextBytes(part.GetSpan(500)[..500]);
            part.Advance(500);
            writer.RowWritten(i % 4);
        }
        Assert.True(writer.SpilledBytes > 100_000);
        writer.Finish();

        Assert.Equal(2_000, writer.Rows);
        Assert.Equal(new FileInfo(blocks.Directory.DataPath(TemporaryBlocks.Output(3))).Length, writer.WrittenBytes);
        Assert.Equal(writer.WrittenBytes, writer.PartBytes.ToArray().Sum());
        Assert.True(ShuffleIndex.Read(blocks.Directory.IndexPath(TemporaryBlocks.Output(3)), TemporaryBlocks.Output(3)).Segments > 1);
    }

    [Fact]
    public void A_writer_given_up_leaves_no_file()
    {
        using var blocks = new TemporaryBlocks();
        using (var writer = new ShuffleFileWriter(blocks.Directory, TemporaryBlocks.Output(0), 1, memoryLimit: 1))
        {
            for (var i = 0; i < 100_000; i++)
            {
                writer.GetPart(0).GetSpan(8)[..8].Clear();
                writer.GetPart(0).Advance(8);
                writer.RowWritten(0);
            }
            Assert.NotEmpty(Directory.GetFiles(blocks.Directory.Root, "*", SearchOption.AllDirectories));
        }

        Assert.Empty(Directory.GetFiles(blocks.Directory.Root, "*", SearchOption.AllDirectories));
    }

    [Fact]
    public void Nothing_is_readable_before_the_end()
    {
        using var blocks = new TemporaryBlocks();
        using var writer = new ShuffleFileWriter(blocks.Directory, TemporaryBlocks.Output(0), 1, memoryLimit: 1);

        Assert.Throws<BlockMissingException>(() => blocks.Directory.ReadIndex(TemporaryBlocks.Output(0)));
    }

    [Fact]
    public void Two_attempts_of_one_map_task_do_not_touch_each_other()
    {
        using var blocks = new TemporaryBlocks();
        var first = blocks.Write(TemporaryBlocks.Output(0, attempt: 1), 1, [(0, [1, 1, 1])]);
        var second = blocks.Write(TemporaryBlocks.Output(0, attempt: 2), 1, [(0, [2, 2])]);

        Assert.Equal([1, 1, 1], blocks.Read(ShuffleLocations.From(new ShuffleId(0), 1, [first]), 0)[0]);
        Assert.Equal([2, 2], blocks.Read(ShuffleLocations.From(new ShuffleId(0), 2, [second]), 0)[0]);
    }

    [Fact]
    public void Every_flipped_bit_in_data_or_index_is_found_and_named()
    {
        using var blocks = new TemporaryBlocks();
        var row = Enumerable.Range(0, 2000).Select(static i => (byte)(i / 7)).ToArray();
        var id = TemporaryBlocks.Output(5, attempt: 9);
        var output = blocks.Write(id, 1, [(0, row), (0, row)]);
        // Map 5 alone: the five before it wrote nothing.
        var others = Enumerable.Range(0, 5).Select(map => blocks.Write(TemporaryBlocks.Output(map), 1, []));
        var locations = ShuffleLocations.From(new ShuffleId(0), 1, [.. others, output]);
        Assert.Equal([.. row, .. row], blocks.Read(locations, 0)[5]);

        foreach (var path in new[] { blocks.Directory.DataPath(id), blocks.Directory.IndexPath(id) })
        {
            for (var at = 0L; at < new FileInfo(path).Length; at++)
            {
                TemporaryBlocks.Damage(path, at);
                var fresh = new BlockDirectory(blocks.Directory.Root);
                using var reader = new ShuffleReader(fresh, TemporaryBlocks.Node, null, locations, 0, TestContext.Current.CancellationToken);
                var error = Assert.Throws<MapOutputUnavailableException>(() => reader.Read().Sum(static block => block.Content.Length));
                Assert.Equal(id, error.Output);
                Assert.Equal(TemporaryBlocks.Node, error.Node);
                TemporaryBlocks.Damage(path, at);
            }
        }
        Assert.Equal([.. row, .. row], blocks.Read(locations, 0)[5]);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(17)]
    [InlineData(100_000)]
    public void A_truncated_file_is_found(int by)
    {
        using var blocks = new TemporaryBlocks();
        var id = TemporaryBlocks.Output(0);
        var output = blocks.Write(id, 1, [(0, new byte[50])]);
        var locations = ShuffleLocations.From(new ShuffleId(0), 1, [output]);

        TemporaryBlocks.Truncate(blocks.Directory.DataPath(id), by);
        Assert.Throws<MapOutputUnavailableException>(() => blocks.Read(locations, 0));

        TemporaryBlocks.Truncate(blocks.Directory.IndexPath(id), by);
        Assert.Throws<MapOutputUnavailableException>(() => blocks.Read(locations, 0));
    }

    [Fact]
    public void A_deleted_shuffle_is_missing_even_when_its_index_was_read_before()
    {
        using var blocks = new TemporaryBlocks();
        var output = blocks.Write(TemporaryBlocks.Output(0), 1, [(0, [1])]);
        var locations = ShuffleLocations.From(new ShuffleId(0), 1, [output]);
        blocks.Read(locations, 0);

        blocks.Directory.DeleteShuffle(new ShuffleId(0));

        var error = Assert.Throws<MapOutputUnavailableException>(() => blocks.Read(locations, 0));
        Assert.IsType<BlockMissingException>(error.InnerException);
    }

    [Fact]
    public async Task Many_reducers_read_the_same_files_at_once()
    {
        using var blocks = new TemporaryBlocks();
        const int maps = 20;
        const int reducers = 16;
        var outputs = Enumerable.Range(0, maps)
            .Select(map => blocks.Write(TemporaryBlocks.Output(map), reducers, Enumerable.Range(0, 4000).Select(i => (i % reducers, BitConverter.GetBytes(map * 10_000 + i))), memory: 20_000))
            .ToArray();
        var locations = ShuffleLocations.From(new ShuffleId(0), 1, outputs);

        var sums = await Task.WhenAll(Enumerable.Range(0, reducers).Select(reducer => Task.Run(
            () => blocks.Read(locations, reducer).Values.SelectMany(static part => part.Chunk(4)).Sum(static row => (long)BitConverter.ToInt32(row)))));

        Assert.Equal(Enumerable.Range(0, maps).Sum(map => Enumerable.Range(0, 4000).Sum(i => map * 10_000L + i)), sums.Sum());
    }

    [Fact]
    public void A_named_block_of_any_size_reads_back_and_a_damaged_one_does_not()
    {
        using var blocks = new TemporaryBlocks();
        foreach (var length in new[] { 0, 1, 1024 * 1024, 3 * 1024 * 1024 + 17 })
        {
            var content = new byte[length];
            new Random(length).NextBytes(content);
            var block = BlockId.OfResult(new TaskAttemptId(length));
            blocks.Directory.WriteNamed(block, content);

            Assert.Equal(content, blocks.Directory.ReadNamed(block));

            TemporaryBlocks.Damage(Path.Combine(blocks.Directory.Root, "named", block.Value), -1);
            Assert.Throws<BlockCorruptException>(() => blocks.Directory.ReadNamed(block));
            blocks.Directory.DeleteNamed(block);
            Assert.Throws<BlockMissingException>(() => blocks.Directory.ReadNamed(block));
        }
    }

    [Theory]
    [InlineData("../secret")]
    [InlineData("a/b")]
    [InlineData("..")]
    [InlineData(".hidden")]
    [InlineData("half.tmp")]
    [InlineData("")]
    public void A_block_name_cannot_leave_its_directory(string name)
    {
        using var blocks = new TemporaryBlocks();

        Assert.Throws<FormatException>(() => BlockId.Create(name));
        Assert.Throws<FormatException>(() => blocks.Directory.ReadNamed(new BlockId(name)));
    }
}
