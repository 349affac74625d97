using Xunit;
using Yarnish.Blocks;
using Yarnish.Executor;
using Yarnish.Protocol;
using Yarnish.Serialization;
using Yarnish.Tests.Blocks;

namespace Yarnish.Tests.Executor;

/// <summary>Map outputs that stay in memory as rows.</summary>
public sealed class SharedShuffleTests : IDisposable
{
    private readonly TemporaryBlocks blocks = new();

    [Fact]
    public void Rows_are_read_as_they_were_written_and_their_memory_goes_with_the_shuffle()
    {
        var store = new SharedShuffles(limit: 1 << 30);
        var id = TemporaryBlocks.Output(0);
        var (writer, files) = Open<long>(store, id, reducers: 3);
        using (files)
        {
            for (var row = 0L; row < 100_000; row++)
            {
                writer.Write((int)(row % 2), row);
            }
            Assert.True(writer.Keep(id));
            Assert.Equal((100_000, true, true, 0), (writer.KeptRows, writer.PartBytes(0) > 0, writer.PartBytes(1) > 0, writer.PartBytes(2)));
        }

        var kept = Assert.IsType<SharedRows<long>>(store.Find(id));
        Assert.Equal(Enumerable.Range(0, 50_000).Select(static row => 2L * row), kept.Parts[0].SelectMany(static rows => rows.ToArray()));
        Assert.Equal(Enumerable.Range(0, 50_000).Select(static row => 2L * row + 1), kept.Parts[1].SelectMany(static rows => rows.ToArray()));
        Assert.Empty(kept.Parts[2]);
        Assert.Equal(100_000 * sizeof(long), store.Used);

        store.Drop(id.ShuffleId);
        Assert.Null(store.Find(id));
        Assert.Equal(0, store.Used);
    }

    [Fact]
    public void What_does_not_fit_goes_to_the_file_with_all_that_was_before_it_in_order()
    {
        var store = new SharedShuffles(limit: 300_000);
        var id = TemporaryBlocks.Output(0);
        var (writer, files) = Open<string>(store, id, reducers: 2);
        var rows = Enumerable.Range(0, 20_000).Select(static row => $"row {row}").ToArray();
        using (files)
        {
            for (var row = 0; row < rows.Length; row++)
            {
                writer.Write(row % 2, rows[row]);
            }
            Assert.False(writer.Keep(id));
            Assert.Equal((0, 0), (writer.KeptRows, store.Used));
            files.Finish();
            Assert.Equal(rows.Length, files.Rows);
        }

        var sizes = files.PartBytes.ToArray().Select(SizeClasses.Of).ToArray();
        var locations = ShuffleLocations.From(id.ShuffleId, 1, [new MapOutput(id.ShuffleId, 0, id.AttemptId, TemporaryBlocks.Node, "", sizes)]);
        using var reader = new ShuffleReader(blocks.Directory, TemporaryBlocks.Node, null, locations, 1, TestContext.Current.CancellationToken);
        var read = reader.Read().SelectMany(static block => RowFormats.For<string>().Read(block.Content.ToArray())).ToArray();
        Assert.Equal(rows.Where(static (_, row) => row % 2 == 1), read);
    }

    [Fact]
    public void An_attempt_that_does_not_complete_gives_its_memory_back()
    {
        var store = new SharedShuffles(limit: 1 << 30);
        var (writer, files) = Open<long>(store, TemporaryBlocks.Output(0), reducers: 1);
        using (files)
        {
            writer.Write(0, 1);
            Assert.True(store.Used > 0);
            writer.Abandon();
        }
        Assert.Equal(0, store.Used);
    }

    public void Dispose() => blocks.Dispose();

    private (SharedRowWriter<T> Writer, ShuffleFileWriter Files) Open<T>(SharedShuffles store, MapOutputId id, int reducers)
    {
        var files = new ShuffleFileWriter(blocks.Directory, id, reducers, 64 << 20);
        return (new SharedRowWriter<T>(store, new FileRowWriter<T>(files, RowFormats.For<T>()), RowFormats.For<T>(), reducers), files);
    }
}
