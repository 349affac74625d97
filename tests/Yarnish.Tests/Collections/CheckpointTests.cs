using Xunit;
using Yarnish.Executor;

namespace Yarnish.Tests.Collections;

/// <summary>Checkpoints: the rows stay what they were, and nothing behind them is computed any more.</summary>
public sealed class CheckpointTests : IAsyncLifetime
{
    private readonly string directory = Directory.CreateTempSubdirectory("yarnish-checkpoints-").FullName;
    private readonly string marks = Directory.CreateTempSubdirectory("yarnish-marks-").FullName;
    private YarnishSession session = null!;

    private string Storage => Path.Combine(directory, "storage");

    public async ValueTask InitializeAsync() => session = await OpenAsync();

    public async ValueTask DisposeAsync()
    {
        await session.DisposeAsync();
        Directory.Delete(directory, recursive: true);
        Directory.Delete(marks, recursive: true);
    }

    [Fact]
    public async Task A_checkpointed_collection_is_read_and_never_computed_again_nor_is_what_reads_it()
    {
        var rows = Marked();
        var before = rows.Select(static row => row * 2);
        Assert.Same(rows, await rows.CheckpointAsync(Storage));

        Assert.Equal(Enumerable.Range(0, 100), await rows.CollectAsync());
        Assert.Equal(Enumerable.Range(0, 100).Select(row => row * 2), await before.CollectAsync());
        Assert.Equal(200, await rows.Union(rows.Where(static _ => true)).CountAsync());
        Assert.Equal(3, Marks());
        Assert.Same(rows, await rows.CheckpointAsync(Storage));
        Assert.Single(Directory.GetDirectories(Storage));
    }

    [Fact]
    public async Task A_checkpoint_behind_a_shuffle_keeps_how_rows_are_placed_and_ends_what_differs_each_time()
    {
        var counts = Marked().Repartition(4).Select(static row => KeyValuePair.Create(row % 7, 1)).ReduceByKey(static (left, right) => left + right, 3);
        await counts.CheckpointAsync(Storage);

        Assert.Equal(3, counts.Partitions);
        Assert.Equal(100, (await counts.CollectAsync()).Sum(pair => pair.Value));
        Assert.Equal(7, await counts.Where(static pair => pair.Value > 0).ReduceByKey(static (left, right) => left + right, 3).CountAsync());
        Assert.False(counts.Node.Unordered);
        Assert.Empty(counts.Node.Shuffles);
        Assert.Equal(3, Marks());
    }

    [Fact]
    public async Task A_checkpoint_goes_with_its_session_unless_it_is_kept()
    {
        await Marked().CheckpointAsync(Storage);
        await Marked().CheckpointAsync(Path.Combine(directory, "kept"), keep: true);
        Assert.NotEmpty(Directory.GetDirectories(Storage));

        await session.DisposeAsync();

        Assert.Empty(Directory.GetFileSystemEntries(Storage));
        await using var other = await OpenAsync();
        Assert.Equal(100, await other.ReadObjects<int>(Path.Combine(directory, "kept")).CountAsync());
    }

    [Fact]
    public async Task A_directory_that_has_content_is_not_written_and_the_collection_stays_as_it_was()
    {
        Directory.CreateDirectory(Storage);
        File.WriteAllText(Path.Combine(Storage, "mine"), "");
        var rows = Marked();

        await Assert.ThrowsAsync<IOException>(() => rows.CheckpointAsync(Storage, keep: true));

        Assert.False(rows.Node.IsCut);
        Assert.Equal(100, await rows.CountAsync());
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_checkpoint_that_cannot_be_read_says_that_it_cannot_be_computed_again(bool missing)
    {
        var rows = await Marked().CheckpointAsync(Storage);
        var file = Directory.EnumerateFiles(Storage, "part-00001*", SearchOption.AllDirectories).Single();
        if (missing)
        {
            File.Delete(file);
        }
        else
        {
            var written = File.GetLastWriteTimeUtc(file);
            var bytes = File.ReadAllBytes(file);
            bytes[bytes.Length / 2] ^= 1;
            File.WriteAllBytes(file, bytes);
            File.SetLastWriteTimeUtc(file, written);
        }

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => rows.CountAsync());

        Assert.Contains("Partition 1 of the checkpoint of MapPartitions at CheckpointTests.cs", error.Message, StringComparison.Ordinal);
        Assert.Contains("cannot be computed again", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_local_checkpoint_is_read_where_it_is_and_says_when_it_is_lost()
    {
        var rows = await Marked().LocalCheckpointAsync();
        Assert.Equal(Enumerable.Range(0, 100), await rows.CollectAsync());
        Assert.Equal(3, Marks());

        rows.Unpersist();
        var error = await Assert.ThrowsAsync<YarnishJobException>(() => rows.CountAsync());

        Assert.Contains("of the local checkpoint of MapPartitions at CheckpointTests.cs", error.Message, StringComparison.Ordinal);
        await Assert.ThrowsAsync<ArgumentException>(() => Marked().LocalCheckpointAsync(StorageLevel.Memory));
    }

    [Fact]
    public async Task A_lineage_that_a_loop_lets_grow_is_cut_again_and_again()
    {
        var rows = session.Range(0, 10, 2);
        for (var i = 0; i < 40; i++)
        {
            rows = rows.Select(static row => row + 1);
            if (i % 10 == 9)
            {
                await rows.CheckpointAsync(Storage);
                Assert.Empty(rows.Node.Parents);
            }
        }

        Assert.Equal(Enumerable.Range(40, 10), await rows.CollectAsync());
    }

    private static Task<YarnishSession> OpenAsync() =>
        YarnishSession.CreateBuilder([]).WithName("checkpoints").Isolated().Configure(options => options.Progress = ProgressStyle.None).ConnectAsync();

    private Rdd<int> Marked()
    {
        var folder = marks;
        return session.Range(0, 100, 3).MapPartitions((partition, rows) =>
        {
            File.AppendAllText(Path.Combine(folder, $"{partition}"), "x");
            return rows;
        });
    }

    private long Marks() => Directory.GetFiles(marks).Sum(file => new FileInfo(file).Length);
}
