using System.IO.Compression;
using System.Runtime.CompilerServices;
using Microsoft.Data.Sqlite;
using Xunit;
using Yarnish.Tests.Collections;

namespace Yarnish.Tests.Sources;

/// <summary>Whole files, records, streams and databases as collections.</summary>
public sealed class OtherSourcesTests(IsolatedSession isolated) : IClassFixture<IsolatedSession>, IDisposable
{
    private readonly YarnishSession session = isolated.Session;
    private readonly string directory = Directory.CreateTempSubdirectory("yarnish-sources").FullName;

    public void Dispose()
    {
        SqliteConnection.ClearAllPools();
        Directory.Delete(directory, recursive: true);
    }

    [Fact]
    public async Task Whole_files_come_with_their_paths_small_ones_together()
    {
        for (var i = 0; i < 20; i++)
        {
            File.WriteAllBytes(Path.Combine(directory, $"{i:D2}.bin"), [(byte)i, 0, 255]);
        }
        await using (var file = File.Create(Path.Combine(directory, "text.txt.gz")))
        await using (var gzip = new GZipStream(file, CompressionLevel.Fastest))
        {
            await gzip.WriteAsync("\uFEFFone\r\ntwo"u8.ToArray());
        }

        var binary = session.ReadBinaryFiles(Path.Combine(directory, "*.bin"), minPartitions: 4);
        var files = await binary.CollectAsync();

        Assert.InRange(binary.Partitions, 1, 4);
        Assert.Equal(Enumerable.Range(0, 20).Select(i => Path.Combine(directory, $"{i:D2}.bin")), files.Select(file => file.Path));
        Assert.All(files, (file, index) => Assert.Equal([(byte)index, 0, 255], file.Content));
        Assert.Equal("one\r\ntwo", (await session.ReadWholeText(Path.Combine(directory, "*.gz")).FirstAsync()).Content);
    }

    [Fact]
    public async Task A_file_that_is_too_large_for_a_row_is_refused_at_once_or_when_it_unpacks_to_more()
    {
        var path = Path.Combine(directory, "large.bin");
        File.WriteAllBytes(path, new byte[1001]);
        var error = Assert.Throws<IOException>(() => session.ReadBinaryFiles(path, maximumFileBytes: 1000));
        Assert.Contains($"'{path}' has 1001 bytes, and maximumFileBytes is 1000", error.Message, StringComparison.Ordinal);
        Assert.Equal(1001, (await session.ReadBinaryFiles(path, maximumFileBytes: 1001).FirstAsync()).Content.Length);

        await using (var file = File.Create(path + ".gz"))
        await using (var gzip = new GZipStream(file, CompressionLevel.Optimal))
        {
            await gzip.WriteAsync(new byte[1 << 20]);
        }
        var failed = await Assert.ThrowsAsync<YarnishJobException>(() => session.ReadWholeText(path + ".gz", maximumFileBytes: 100_000).CountAsync());
        Assert.Contains($"{path}.gz unpacks to more than 100000 bytes", failed.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Records_of_one_length_are_split_between_them()
    {
        var path = Path.Combine(directory, "records.bin");
        // Large enough for splits, whose smallest is 1 MiB.
        var bytes = new byte[7 * 500_000];
        for (var i = 0; i < 500_000; i++)
        {
            BitConverter.TryWriteBytes(bytes.AsSpan(i * 7), i);
        }
        File.WriteAllBytes(path, bytes);

        var records = session.ReadBinaryRecords(path, 7, minPartitions: 4);

        Assert.InRange(records.Partitions, 2, 4);
        Assert.Equal(Enumerable.Range(0, 500_000), (await records.Select(static record => BitConverter.ToInt32(record)).CollectAsync()));
        Assert.Contains("no whole number of records of 9", Assert.Throws<IOException>(() => session.ReadBinaryRecords(path, 9)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Streams_of_the_user_are_rows_and_only_as_many_are_drawn_as_wanted()
    {
        Assert.Equal(new[] { 0, 1, 10, 11, 20, 21 }, await session.FromPartitions(3, static partition => Count(partition * 10, 2)).CollectAsync());
        Assert.Equal(new[] { 0, 1, 2 }, await session.FromPartitions(1, static partition => Endless()).TakeAsync(3));
        Assert.Equal(0, await session.FromPartitions(0, static partition => Endless()).CountAsync());
        Assert.Equal((3, true), (Drawn, Disposed));

        static async IAsyncEnumerable<int> Count(int first, int count)
        {
            for (var i = 0; i < count; i++)
            {
                await Task.Yield();
                yield return first + i;
            }
        }
    }

    private static int Drawn;
    private static bool Disposed;

    private static async IAsyncEnumerable<int> Endless()
    {
        (Drawn, Disposed) = (0, false);
        try
        {
            for (var i = 0; i < 1_000_000; i++)
            {
                Drawn++;
                await Task.Yield();
                yield return i;
            }
        }
        finally
        {
            Disposed = true;
        }
    }

    [Fact]
    public async Task A_stream_that_fails_fails_the_job_with_its_words()
    {
        var error = await Assert.ThrowsAsync<YarnishJobException>(() => session.FromPartitions(1, static _ => Fail()).CountAsync());

        Assert.Contains("the service is away", error.Message, StringComparison.Ordinal);

        static async IAsyncEnumerable<int> Fail()
        {
            await Task.Yield();
            yield return 1;
            throw new TimeoutException("the service is away");
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_cancelled_job_stops_its_streams_whether_they_listen_or_not(bool listens)
    {
        await using var own = await YarnishSession.CreateBuilder([]).WithName("cancel").Configure(options => options.Progress = ProgressStyle.None).ConnectAsync();
        using var cancel = new CancellationTokenSource();
        var stream = new Waiting(listens);

        var job = own.FromPartitions(1, _ => stream.Rows()).CountAsync(cancel.Token);
        await stream.Started.WaitAsync(TimeSpan.FromSeconds(30));
        await cancel.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => job);
        // The slot is free again, whatever the stream does.
        Assert.Equal(10, await own.Range(0, 10, 8).CountAsync().WaitAsync(TimeSpan.FromSeconds(30)));
        stream.Release();
        await stream.Ended.WaitAsync(TimeSpan.FromSeconds(30));
    }

    private sealed class Waiting(bool listens)
    {
        private readonly TaskCompletionSource started = new(), released = new(), ended = new();

        public Task Started => started.Task;

        public Task Ended => ended.Task;

        public void Release() => released.TrySetResult();

        public async IAsyncEnumerable<int> Rows([EnumeratorCancellation] CancellationToken cancellation = default)
        {
            try
            {
                yield return 1;
                started.TrySetResult();
                await released.Task.WaitAsync(listens ? cancellation : CancellationToken.None);
                yield return 2;
            }
            finally
            {
                ended.TrySetResult();
            }
        }
    }

    private string Database()
    {
        var path = Path.Combine(directory, "shop.db");
        using var connection = new SqliteConnection($"Data Source={path}");
        connection.Open();
        using var command = connection.CreateCommand();
        command.CommandText = "CREATE TABLE orders (id INTEGER, customer TEXT, placed TEXT)";
        command.ExecuteNonQuery();
        using var transaction = connection.BeginTransaction();
        for (var i = -50; i < 150; i++)
        {
            command.Transaction = transaction;
            command.CommandText = $"INSERT INTO orders VALUES ({(i % 40 == 0 ? "NULL" : $"{i}")}, 'customer {i}', '{new DateTime(2024, 1, 1).AddDays(i):yyyy-MM-dd HH:mm:ss}')";
            command.ExecuteNonQuery();
        }
        transaction.Commit();
        return path;
    }

    private Rdd<(long?, string)> Orders(string path, DatabasePartitions? partitions) => session.ReadDatabase(
        () => new SqliteConnection($"Data Source={path};Mode=ReadOnly"),
        "SELECT id, customer, placed FROM orders",
        static record => (record.IsDBNull(0) ? (long?)null : record.GetInt64(0), record.GetString(1)),
        partitions);

    [Fact]
    public async Task A_query_is_read_once_by_any_partitions_rows_without_key_and_beyond_the_bounds_included()
    {
        var path = Database();
        var expected = (await Orders(path, null).CollectAsync()).Order().ToArray();
        Assert.Equal(200, expected.Length);

        foreach (var (partitions, count) in new (DatabasePartitions, int)[]
        {
            (DatabasePartitions.ByNumber("id", 0, 100, 4), 4),
            (DatabasePartitions.ByNumber("id", 0, 100, 1), 1),
            (DatabasePartitions.ByNumber("id", 0, 3, 100), 3),
            (DatabasePartitions.ByNumber("id", -1_000_000, -999_000, 3), 3),
            (DatabasePartitions.ByNumber("id", long.MinValue, long.MaxValue, 5), 5),
            (DatabasePartitions.ByTime("placed", new DateTime(2024, 1, 1), new DateTime(2024, 3, 1), 5), 5),
            (DatabasePartitions.ByConditions("id IS NULL", "id < 7", "id >= 7"), 3),
        })
        {
            var orders = Orders(path, partitions);
            Assert.Equal(count, orders.Partitions);
            Assert.Equal(expected, (await orders.CollectAsync()).Order());
        }
        var rows = await Orders(path, DatabasePartitions.ByNumber("id", 0, 100, 4)).MapPartitions(static (partition, rows) => new[] { rows.Count() }).CollectAsync();
        Assert.Equal(200, rows.Sum());
        Assert.InRange(rows[1], 20, 25);
    }

    [Fact]
    public async Task A_query_that_the_database_refuses_is_shown_with_its_answer()
    {
        var path = Database();

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => session.ReadDatabase<int>(
            () => new SqliteConnection($"Data Source={path}"), "SELECT missing_column FROM orders", static record => record.GetInt32(0), DatabasePartitions.ByNumber("id", 0, 10, 2)).CountAsync());

        Assert.True(error.Message.Contains("no such column", StringComparison.Ordinal), error.Message);
        Assert.Contains("SELECT missing_column FROM orders", error.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => DatabasePartitions.ByNumber("id", 5, 5, 2));
    }
}
