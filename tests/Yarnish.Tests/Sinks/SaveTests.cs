using System.Text;
using CsCheck;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;
using Yarnish.Executor;
using Yarnish.Protocol;
using Yarnish.Sinks;
using Yarnish.Tests.Collections;

namespace Yarnish.Tests.Sinks;

/// <summary>What is saved is read again; targets change at once or not at all; nothing temporary stays.</summary>
public sealed class SaveTests(IsolatedSession isolated) : IClassFixture<IsolatedSession>, IDisposable
{
    private readonly YarnishSession session = isolated.Session;
    private readonly string directory = Directory.CreateTempSubdirectory("yarnish-save").FullName;

    public void Dispose()
    {
        Assert.DoesNotContain(Directory.EnumerateFileSystemEntries(directory, "*", SearchOption.AllDirectories), static path => path.Contains("_temporary", StringComparison.Ordinal));
        Directory.Delete(directory, recursive: true);
    }

    internal sealed record Row(int Id, string? Text, string Plain, double? Number, DateTimeOffset When, DayOfWeek? Day, bool Flag);

    private static Gen<T> Of<T>(params T[] values) => Gen.Int[0, values.Length - 1].Select(index => values[index]);

    private static readonly Gen<string> Text = Of("a", "\"", "\"\"", ",", "\n", "\r", "\r\n", " ", "\t", "é", "😀", "null", "#", "'", "\\", "=1+1", "x")
        .Array[0, 6].Select(static parts => string.Concat(parts));

    private static readonly Gen<Row> Rows = Gen.Select(
        Gen.Int, Gen.OneOf(Gen.Const((string?)null), Text.Select(static text => (string?)text)), Text,
        Gen.OneOf(Gen.Const((double?)null), Gen.Double.Select(static number => (double?)number), Of(double.NaN, double.NegativeInfinity, -0.0).Select(static number => (double?)number)),
        Gen.DateTimeOffset, Gen.OneOf(Gen.Const((DayOfWeek?)null), Gen.Enum<DayOfWeek>().Select(static day => (DayOfWeek?)day)), Gen.Bool,
        static (id, text, plain, number, when, day, flag) => new Row(id, text, plain, number, when, day, flag));

    private string Target => Path.Combine(directory, "out");

    private static string[] Names(string directory) => [.. Directory.GetFileSystemEntries(directory).Select(Path.GetFileName).Order(StringComparer.Ordinal)!];

    [Fact]
    public async Task What_is_saved_is_read_again()
    {
        await session.Range(0, 1_000, 3).SaveAsTextAsync(Target);

        Assert.Equal(["_SUCCESS", "part-00000.txt", "part-00001.txt", "part-00002.txt"], Names(Target));
        Assert.Equal(Enumerable.Range(0, 1_000).Select(row => $"{row}"), await session.ReadText(Target).CollectAsync());
        Assert.Equal(["out"], Names(directory));
    }

    [Fact]
    public Task Any_rows_come_back_from_every_format_and_compression() => Gen.Select(Rows.Array[0, 20], Gen.Int[1, 4], Gen.Enum<FileCompression>()).SampleAsync(
        async (rows, partitions, compression) =>
        {
            var saved = session.Parallelize(rows, partitions);
            await saved.SaveAsJsonLinesAsync(Target, SaveMode.Overwrite, compression);
            Assert.Equal(rows, await session.ReadJsonLines<Row>(Target).CollectAsync());
            await saved.SaveAsCsvAsync(Target, null, SaveMode.Overwrite, compression);
            Assert.Equal(rows, await session.ReadCsv<Row>(Target).CollectAsync());
            await saved.SaveAsCsvAsync(Target, new CsvOptions { Separator = ';', HasHeader = false }, SaveMode.Overwrite, compression);
            Assert.Equal(rows, await session.ReadCsv<Row>(Target, new CsvOptions { Separator = ';', HasHeader = false }).CollectAsync());
            await saved.SaveAsObjectsAsync(Target, SaveMode.Overwrite);
            Assert.Equal(rows, await session.ReadObjects<Row>(Target).CollectAsync());
            Assert.Equal(partitions + 1, Names(Target).Length);
        }, iter: 25, threads: 1);

    [Theory]
    [InlineData(FileCompression.None, "part-00001.txt")]
    [InlineData(FileCompression.Gzip, "part-00001.txt.gz")]
    [InlineData(FileCompression.Brotli, "part-00001.txt.br")]
    [InlineData(FileCompression.Zstandard, "part-00001.txt.zst")]
    public async Task Text_is_packed_and_unpacked_by_the_end_of_the_name(FileCompression compression, string name)
    {
        await session.Range(0, 50_000, 2).SaveAsTextAsync(Target, compression: compression);

        Assert.Contains(name, Names(Target));
        Assert.Equal(Enumerable.Range(0, 50_000).Select(row => $"{row}"), await session.ReadText(Target).CollectAsync());
    }

    [Fact]
    public async Task Every_mode_does_what_it_says()
    {
        await session.Range(0, 10, 2).SaveAsTextAsync(Target);
        await session.Range(10, 10, 1).SaveAsTextAsync(Target, SaveMode.Ignore);
        var error = await Assert.ThrowsAsync<IOException>(() => session.Range(10, 10, 1).SaveAsTextAsync(Target));
        Assert.Contains($"SaveAsTextAsync: '{Target}' exists already and is not empty", error.Message, StringComparison.Ordinal);
        Assert.Equal(Enumerable.Range(0, 10).Select(row => $"{row}"), await session.ReadText(Target).CollectAsync());

        await session.Range(10, 10, 3).SaveAsTextAsync(Target, SaveMode.Append);
        await session.Range(20, 10, 1).SaveAsTextAsync(Target, SaveMode.Append);
        Assert.Equal(Enumerable.Range(0, 30).Select(row => $"{row}"), await session.ReadText(Target).CollectAsync());
        Assert.Equal(7, Names(Target).Length);

        // Reads what it replaces.
        await session.ReadText(Target).Select(static line => line + "!").Coalesce(1).SaveAsTextAsync(Target, SaveMode.Overwrite);
        Assert.Equal(["_SUCCESS", "part-00000.txt"], Names(Target));
        Assert.Equal(Enumerable.Range(0, 30).Select(row => $"{row}!"), await session.ReadText(Target).CollectAsync());
    }

    [Theory]
    [InlineData(SaveMode.ErrorIfExists)]
    [InlineData(SaveMode.Overwrite)]
    [InlineData(SaveMode.Append)]
    public async Task A_save_that_fails_leaves_everything_as_it_was(SaveMode mode)
    {
        if (mode != SaveMode.ErrorIfExists)
        {
            Directory.CreateDirectory(Target);
            File.WriteAllText(Path.Combine(Target, "part-00000.txt"), "precious");
        }

        await Assert.ThrowsAsync<YarnishJobException>(() => session.Range(0, 100, 4).Select(static row => row == 99 ? throw new FormatException() : row).SaveAsTextAsync(Path.Combine(Target), mode));
        await Assert.ThrowsAsync<YarnishJobException>(() => session.Range(0, 100, 4).Select(static row => row == 99 ? throw new FormatException() : row).SaveAsTextAsync(Path.Combine(directory, "new", "deep"), mode));

        Assert.Equal(mode == SaveMode.ErrorIfExists ? [] : ["out"], Names(directory));
        Assert.Equal(mode == SaveMode.ErrorIfExists ? "" : "precious", mode == SaveMode.ErrorIfExists ? "" : File.ReadAllText(Path.Combine(Target, "part-00000.txt")));
    }

    [Fact]
    public async Task A_save_that_is_cancelled_leaves_nothing()
    {
        await using var own = await YarnishSession.CreateBuilder([]).WithName("cancel").Configure(options => options.Progress = ProgressStyle.None).ConnectAsync();
        using var cancel = new CancellationTokenSource();
        var written = new TaskCompletionSource();

        var save = own.Range(0, 1_000_000, 2).Select(row =>
        {
            if (row == 1_000)
            {
                written.TrySetResult();
                cancel.Token.WaitHandle.WaitOne();
            }
            return row;
        }).SaveAsTextAsync(Target, cancellation: cancel.Token);
        await written.Task.WaitAsync(TimeSpan.FromSeconds(30));
        await cancel.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => save);
        Assert.Empty(Names(directory));
    }

    [Fact]
    public async Task A_task_that_fails_after_writing_a_part_is_tried_again_and_counts_once()
    {
        var marker = Path.Combine(directory, "failed");

        await session.Range(0, 100_000, 3).MapPartitions((partition, rows) => FailOnce(partition, rows, marker)).SaveAsTextAsync(Target);

        Assert.True(File.Exists(marker));
        Assert.Equal(Enumerable.Range(0, 100_000).Select(row => $"{row}"), await session.ReadText(Target).CollectAsync());
        Assert.Equal(["_SUCCESS", "part-00000.txt", "part-00001.txt", "part-00002.txt"], Names(Target));

        static IEnumerable<int> FailOnce(int partition, IEnumerable<int> rows, string marker)
        {
            foreach (var row in rows)
            {
                if (row == 60_000 && !File.Exists(marker))
                {
                    File.WriteAllText(marker, "");
                    throw new TimeoutException("for once");
                }
                yield return row;
            }
        }
    }

    [Fact]
    public async Task Of_two_jobs_that_write_one_target_one_wins_and_the_other_is_told()
    {
        using var both = new Barrier(2);
        await using var own = await YarnishSession.CreateBuilder([]).WithName("two").Configure(options =>
        {
            options.Progress = ProgressStyle.None;
            options.ExecutorCores = 2;
        }).ConnectAsync();

        var saves = Enumerable.Range(0, 2).Select(job => own.Range(job * 100, 100, 1).MapPartitions(rows =>
        {
            both.SignalAndWait(TimeSpan.FromSeconds(30));
            return rows;
        }).SaveAsTextAsync(Target)).ToArray();
        await Task.WhenAll(saves).ContinueWith(static _ => { }, TaskScheduler.Default);

        var lost = Assert.Single(saves, static save => save.IsFaulted);
        Assert.Contains("somebody else wrote it meanwhile", lost.Exception!.InnerException!.Message, StringComparison.Ordinal);
        Assert.Equal(100, await session.ReadText(Target).CountAsync());
        Assert.Equal(["_SUCCESS", "part-00000.txt"], Names(Target));
        Assert.Equal(["out"], Names(directory));
    }

    [Fact]
    public async Task Appends_at_once_both_stay_and_overwrites_at_once_leave_one_whole()
    {
        await Task.WhenAll(Enumerable.Range(0, 4).Select(job => session.Range(job * 100, 100, 3).SaveAsTextAsync(Target, SaveMode.Append)));
        Assert.Equal(Enumerable.Range(0, 400), (await session.ReadText(Target).Select(static line => int.Parse(line)).CollectAsync()).Order());

        await Task.WhenAll(Enumerable.Range(0, 4).Select(job => session.Range(job * 100, 100, 3).SaveAsTextAsync(Target, SaveMode.Overwrite)));
        var rows = await session.ReadText(Target).Select(static line => int.Parse(line)).CollectAsync();
        Assert.Equal(Enumerable.Range(rows[0], 100), rows);
        Assert.Equal(["_SUCCESS", "part-00000.txt", "part-00001.txt", "part-00002.txt"], Names(Target));
    }

    [Fact]
    public async Task A_target_that_is_overwritten_is_there_at_every_moment()
    {
        await session.Range(0, 10, 2).SaveAsTextAsync(Target);
        using var stop = new CancellationTokenSource();
        var watching = Task.Run(() =>
        {
            var looks = 0L;
            while (!stop.IsCancellationRequested)
            {
                Assert.True(Directory.Exists(Target));
                looks++;
            }
            return looks;
        });

        for (var i = 0; i < 50; i++)
        {
            await session.Range(0, 10, 2).SaveAsTextAsync(Target, SaveMode.Overwrite);
        }
        await stop.CancelAsync();

        Assert.True(await watching > 0);
    }

    [Fact]
    public async Task What_killed_drivers_left_in_a_target_is_no_content_and_stays()
    {
        var left = Directory.CreateDirectory(Path.Combine(Target, "_temporary-killed", "attempts")).FullName;

        await session.Range(0, 10, 2).SaveAsTextAsync(Target);
        await session.Range(0, 10, 2).SaveAsTextAsync(Target, SaveMode.Append);

        Assert.Equal(20, await session.ReadText(Target).CountAsync());
        Assert.Equal(6, Names(Target).Length);
        Directory.Delete(Path.GetDirectoryName(left)!, recursive: true);
    }

    [Fact]
    public async Task Targets_that_cannot_be_are_refused_before_anything_is_computed()
    {
        File.WriteAllText(Path.Combine(directory, "file"), "");
        Directory.CreateDirectory(Path.Combine(directory, "tree", "branch"));
        var rows = session.Range(0, 10).Select(static row => row == 0 ? throw new InvalidOperationException("computed") : row);

        foreach (var (target, mode, words) in new[]
        {
            (Path.Combine(directory, "file"), SaveMode.Overwrite, "is a file"),
            (Path.Combine(directory, "file", "below"), SaveMode.ErrorIfExists, "cannot be written"),
            (Path.Combine(directory, "tree"), SaveMode.Overwrite, "more than the output of a job"),
            ("/", SaveMode.Append, "root of a file system"),
            ("/proc/yarnish", SaveMode.ErrorIfExists, "cannot be written"),
        })
        {
            var error = await Assert.ThrowsAsync<IOException>(() => rows.SaveAsTextAsync(target, mode));
            Assert.StartsWith($"SaveAsTextAsync: '{target}'", error.Message, StringComparison.Ordinal);
            Assert.Contains(words, error.Message, StringComparison.Ordinal);
        }
        Assert.True(Directory.Exists(Path.Combine(directory, "tree", "branch")));
    }

    [Fact]
    public async Task A_linked_target_is_replaced_where_the_link_leads()
    {
        Directory.CreateDirectory(Path.Combine(directory, "real"));
        File.WriteAllText(Path.Combine(directory, "real", "old"), "");
        File.CreateSymbolicLink(Target, Path.Combine(directory, "real"));

        await session.Range(0, 3, 1).SaveAsTextAsync(Target, SaveMode.Overwrite);

        Assert.NotNull(new DirectoryInfo(Target).LinkTarget);
        Assert.Equal(["_SUCCESS", "part-00000.txt"], Names(Path.Combine(directory, "real")));
    }

    [Fact]
    public async Task Rows_without_partitions_are_complete_output_too()
    {
        await session.FromPartitions(0, static _ => AsyncEnumerable.Empty<int>()).SaveAsTextAsync(Target);

        Assert.Equal(["_SUCCESS"], Names(Target));
    }

    [Fact]
    public async Task A_function_of_the_user_writes_files_with_the_same_guarantees()
    {
        await session.Range(0, 10, 2).SaveAsFilesAsync(Target, ".xml", static (rows, stream) =>
        {
            using var writer = new StreamWriter(stream, Encoding.UTF8);
            writer.Write($"<rows>{string.Concat(rows.Select(row => $"<row>{row}</row>"))}</rows>");
        }, compression: FileCompression.Gzip);

        Assert.Equal(["_SUCCESS", "part-00000.xml.gz", "part-00001.xml.gz"], Names(Target));
        Assert.Equal("<rows><row>0</row><row>1</row><row>2</row><row>3</row><row>4</row></rows>", (await session.ReadWholeText(Target).FirstAsync()).Content);
    }

    /// <summary>A table as the user might have one: rows in a staging file per attempt, moved by the driver.</summary>
    private sealed class TableSink(string table) : Sink<int>
    {
        public string Table => table;

        public override Task<bool> PrepareAsync(CancellationToken cancellation)
        {
            Directory.CreateDirectory(table + ".staging");
            return Task.FromResult(true);
        }

        public override async Task<SinkReceipt> WriteAsync(IEnumerable<int> rows, TaskContext task)
        {
            var path = Path.Combine(table + ".staging", $"{task.AttemptId.Value}");
            await File.WriteAllLinesAsync(path, rows.Select(row => $"{row}"));
            return new SinkReceipt(path, new FileInfo(path).Length);
        }

        public override async Task CommitAsync(IReadOnlyList<SinkReceipt> receipts)
        {
            foreach (var receipt in receipts)
            {
                await File.AppendAllTextAsync(table, await File.ReadAllTextAsync(receipt.Value));
            }
        }

        public override Task EndAsync()
        {
            Directory.Delete(table + ".staging", recursive: true);
            return Task.CompletedTask;
        }
    }

    [Fact]
    public async Task A_sink_of_the_user_is_committed_once_per_partition_and_ended_in_any_case()
    {
        await session.Range(0, 100, 5).SaveAsync(new TableSink(Path.Combine(directory, "table")));
        Assert.Equal(Enumerable.Range(0, 100).Select(row => $"{row}"), File.ReadLines(Path.Combine(directory, "table")));

        await Assert.ThrowsAsync<YarnishJobException>(() =>
            session.Range(0, 100, 5).Select(static row => row == 50 ? throw new FormatException() : row).SaveAsync(new TableSink(Path.Combine(directory, "other"))));
        Assert.Equal(["table"], Names(directory));
    }

    private static TaskContext Attempt(int partition, long attempt) => new()
    {
        StageId = new StageId(0), StageAttempt = 0, Partition = partition, AttemptNumber = 0, AttemptId = new TaskAttemptId(attempt), ExecutorId = new ExecutorId("test"),
        Cancellation = CancellationToken.None, Logger = NullLogger.Instance,
    };

    [Fact]
    public async Task The_attempts_that_were_reported_first_are_taken_and_those_that_outlive_the_job_leave_nothing()
    {
        var sink = new FileSink<string>(Target, SaveMode.ErrorIfExists, new TextFormat<string>(), FileCompression.None, "Save");
        Assert.True(await sink.PrepareAsync(CancellationToken.None));
        var first = await sink.WriteAsync(["a", "first"], Attempt(0, 7));
        await sink.WriteAsync(["a", "copy"], Attempt(0, 8));
        await Assert.ThrowsAsync<FormatException>(() => sink.WriteAsync(Enumerable.Range(0, 100_000).Select(static row => row == 99_999 ? throw new FormatException() : $"{row}"), Attempt(1, 9)));
        var second = await sink.WriteAsync(["b"], Attempt(1, 10));
        using var zombie = new StreamWriter(Path.Combine(Directory.GetDirectories(directory).Single(), "attempts", "00001.11"));

        await sink.CommitAsync([first, second]);
        await sink.EndAsync();

        await zombie.WriteLineAsync("late");
        var late = await Assert.ThrowsAsync<IOException>(() => sink.WriteAsync(["b", "late"], Attempt(1, 12)));
        Assert.Contains("the job has ended meanwhile, or this node does not see the driver's files", late.Message, StringComparison.Ordinal);
        Assert.Equal(["a", "first"], File.ReadAllLines(Path.Combine(Target, "part-00000.txt")));
        Assert.Equal(["b"], File.ReadAllLines(Path.Combine(Target, "part-00001.txt")));
        Assert.Equal(["_SUCCESS", "part-00000.txt", "part-00001.txt"], Names(Target));
        Assert.Equal(["out"], Names(directory));
    }

    [Fact]
    public async Task A_file_that_the_driver_does_not_see_is_never_committed()
    {
        var sink = new FileSink<string>(Target, SaveMode.ErrorIfExists, new TextFormat<string>(), FileCompression.None, "Save");
        await sink.PrepareAsync(CancellationToken.None);
        var receipt = await sink.WriteAsync(["a"], Attempt(0, 1));

        var error = await Assert.ThrowsAsync<IOException>(() => sink.CommitAsync([receipt, new SinkReceipt("00001.2", 10)]));
        Assert.Contains("the driver finds no such file", error.Message, StringComparison.Ordinal);
        error = await Assert.ThrowsAsync<IOException>(() => sink.CommitAsync([receipt with { Bytes = 3 }]));
        Assert.Contains("the driver finds 2 bytes", error.Message, StringComparison.Ordinal);
        await sink.EndAsync();
        Assert.Empty(Names(directory));
    }

    [Fact]
    public async Task Damaged_and_foreign_objects_are_told_by_file()
    {
        await session.Range(0, 200_000, 1).Select(static row => $"row {row}").SaveAsObjectsAsync(Target);
        var path = Path.Combine(Target, "part-00000.rows");
        var whole = File.ReadAllBytes(path);

        foreach (var (bytes, words) in new (byte[], string)[]
        {
            (whole[..^1], "does not end after 200000 rows"),
            (whole[..^9], "is cut off"),
            (whole[..(whole.Length / 2)], "is cut off"),
            ([.. whole, 0], "does not end after 200000 rows"),
            ([.. whole[..5000], (byte)(whole[5000] ^ 1), .. whole[5001..]], "is damaged near byte"),
            ("no objects at all"u8.ToArray(), "was not written by SaveAsObjectsAsync"),
            ([], "was not written by SaveAsObjectsAsync"),
        })
        {
            File.WriteAllBytes(path, bytes);
            var error = await Assert.ThrowsAsync<YarnishJobException>(() => session.ReadObjects<string>(path).CountAsync());
            Assert.Contains(path, error.Message, StringComparison.Ordinal);
            Assert.Contains(words, error.Message, StringComparison.Ordinal);
        }
        File.WriteAllBytes(path, whole);
        var wrong = await Assert.ThrowsAsync<YarnishJobException>(() => session.ReadObjects<int[]>(path).CountAsync());
        Assert.Contains($"{path} holds rows of System.String, which cannot be read as System.Int32[]", wrong.Message, StringComparison.Ordinal);
    }
}
