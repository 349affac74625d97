using System.Diagnostics;
using System.Globalization;
using Xunit;
using Yarnish.Executor;
using Yarnish.Integration.Tests.Fixtures;
using Yarnish.Sinks;

namespace Yarnish.Integration.Tests.EndToEnd;

/// <summary>Saving on two agents while what saves is killed, and on disks that are full or mounted.</summary>
[Trait("Category", "Processes")]
public sealed class SaveFaultTests : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    private readonly string directory = Directory.CreateTempSubdirectory("yarnish-save-").FullName;

    public void Dispose() => Directory.Delete(directory, recursive: true);

    private static string[] Names(string directory) => [.. Directory.GetFileSystemEntries(directory).Select(Path.GetFileName).Order(StringComparer.Ordinal)!];

    /// <summary>
    /// Stops each executor that takes one of the tokens at the worst moment: the attempt's file is complete, the driver has not heard of it. The executor waits there to be killed.
    /// </summary>
    private sealed class FatalSink(Sink<int> inner, string tokens, string marks) : Sink<int>
    {
        private readonly Sink<int> inner = inner;

        public override Task<bool> PrepareAsync(CancellationToken cancellation) => inner.PrepareAsync(cancellation);

        public override async Task<SinkReceipt> WriteAsync(IEnumerable<int> rows, TaskContext task)
        {
            var receipt = await inner.WriteAsync(rows, task);
            foreach (var token in Directory.EnumerateFiles(tokens))
            {
                var mark = Path.Combine(marks, string.Create(CultureInfo.InvariantCulture, $"{Environment.ProcessId}-{Path.GetFileName(token)}"));
                try
                {
                    // Whoever renames it has it: a token works once in the whole cluster.
                    File.Move(token, mark);
                }
                catch (FileNotFoundException)
                {
                    continue;
                }
                await Task.Delay(Timeout.InfiniteTimeSpan, task.Cancellation);
            }
            return receipt;
        }

        public override Task CommitAsync(IReadOnlyList<SinkReceipt> receipts) => inner.CommitAsync(receipts);

        public override Task EndAsync() => inner.EndAsync();
    }

    [Theory]
    [InlineData(SaveMode.ErrorIfExists)]
    [InlineData(SaveMode.Append)]
    public async Task Executors_killed_between_writing_and_reporting_leave_a_complete_output_with_each_row_once(SaveMode mode)
    {
        var (target, tokens, marks) = (Path.Combine(directory, "out"), Path.Combine(directory, "tokens"), Path.Combine(directory, "marks"));
        Directory.CreateDirectory(tokens);
        Directory.CreateDirectory(marks);
        await using var cluster = await TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes: 2);
        await using var session = await YarnishSession.CreateBuilder([])
            .WithName("save").WithAddress(cluster.Address).WithExecutors(2).Configure(options => options.Progress = ProgressStyle.None).ConnectAsync();
        if (mode == SaveMode.Append)
        {
            await session.Range(-100, 100, 2).SaveAsTextAsync(target);
        }
        for (var i = 0; i < 2; i++)
        {
            File.WriteAllText(Path.Combine(tokens, $"{i}"), "");
        }

        var save = session.Range(0, 100_000, 16).SaveAsync(new FatalSink(new FileSink<int>(target, mode, new TextFormat<int>(), FileCompression.None, "save"), tokens, marks));
        for (var killed = 0; killed < 2; killed++)
        {
            await cluster.UntilAsync("an executor waits to be killed", () => Task.FromResult(save.IsCompleted || Directory.EnumerateFiles(marks).Any()));
            var mark = Directory.EnumerateFiles(marks).First();
            using var executor = Process.GetProcessById(int.Parse(Path.GetFileName(mark).Split('-')[0], CultureInfo.InvariantCulture));
            executor.Kill();
            await executor.WaitForExitAsync();
            foreach (var gone in Directory.EnumerateFiles(marks, $"{executor.Id}-*"))
            {
                // Several slots of one executor may have taken a token each.
                File.Delete(gone);
                killed += gone == mark ? 0 : 1;
            }
        }
        await save.WaitAsync(Patience);

        var rows = await session.ReadText(target).Select(static line => int.Parse(line, CultureInfo.InvariantCulture)).CollectAsync();
        Assert.Equal(Enumerable.Range(mode == SaveMode.Append ? -100 : 0, mode == SaveMode.Append ? 100_100 : 100_000), rows);
        Assert.Equal(mode == SaveMode.Append ? 19 : 17, Names(target).Length);
        Assert.Contains("_SUCCESS", Names(target));
        Assert.DoesNotContain(Directory.EnumerateFileSystemEntries(directory, "*", SearchOption.AllDirectories), static path => path.Contains("_temporary", StringComparison.Ordinal));
        Assert.True(session.Progress.ExecutorsLost >= 1);
    }

    [Fact]
    public async Task A_save_that_is_cancelled_while_its_attempts_wait_leaves_the_target_as_it_was()
    {
        var (target, tokens, marks) = (Path.Combine(directory, "out"), Path.Combine(directory, "tokens"), Path.Combine(directory, "marks"));
        Directory.CreateDirectory(tokens);
        Directory.CreateDirectory(marks);
        await using var cluster = await TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes: 1);
        await using var session = await YarnishSession.CreateBuilder([])
            .WithName("save").WithAddress(cluster.Address).WithExecutors(1).Configure(options => options.Progress = ProgressStyle.None).ConnectAsync();
        await session.Range(0, 10, 1).SaveAsTextAsync(target);
        File.WriteAllText(Path.Combine(tokens, "0"), "");
        using var cancel = new CancellationTokenSource();

        var save = session.Range(0, 100_000, 4).SaveAsync(
            new FatalSink(new FileSink<int>(target, SaveMode.Overwrite, new TextFormat<int>(), FileCompression.None, "save"), tokens, marks), cancel.Token);
        await cluster.UntilAsync("an attempt has written", () => Task.FromResult(save.IsCompleted || Directory.EnumerateFiles(marks).Any()));
        await cancel.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => save);
        Assert.Equal(Enumerable.Range(0, 10).Select(static row => $"{row}"), await session.ReadText(target).CollectAsync());
        Assert.Equal(["marks", "out", "tokens"], Names(directory));
    }

    [Fact]
    public async Task A_full_disk_fails_the_job_with_the_path_and_a_mounted_target_is_written_file_by_file()
    {
        var disk = Directory.CreateDirectory(Path.Combine(directory, "disk")).FullName;
        Assert.SkipUnless(await RunAsync("mount", "-t", "tmpfs", "-o", "size=1m", "yarnish-test", disk) == 0, "Needs the right to mount a small disk.");
        try
        {
            await using var session = await YarnishSession.CreateBuilder([]).WithName("full").Configure(options => options.Progress = ProgressStyle.None).ConnectAsync();
            var target = Path.Combine(disk, "out");
            await session.Range(0, 10, 2).SaveAsTextAsync(target);

            foreach (var mode in new[] { SaveMode.Overwrite, SaveMode.Append })
            {
                var error = await Assert.ThrowsAsync<YarnishJobException>(() => session.Range(0, 1_000_000, 2).SaveAsTextAsync(target, mode));
                Assert.Contains("/attempts/", error.Message, StringComparison.Ordinal);
                Assert.Contains("No space left on device", error.Message, StringComparison.Ordinal);
                Assert.Equal(["_SUCCESS", "part-00000.txt", "part-00001.txt"], Names(target));
                Assert.Equal(["out"], Names(disk));
            }

            // The disk itself as the target: it cannot be renamed.
            Directory.Delete(target, recursive: true);
            await session.Range(0, 10, 2).SaveAsTextAsync(disk);
            Assert.Equal(["_SUCCESS", "part-00000.txt", "part-00001.txt"], Names(disk));
            var occupied = await Assert.ThrowsAsync<IOException>(() => session.Range(0, 10, 2).SaveAsTextAsync(disk));
            Assert.Contains("exists already", occupied.Message, StringComparison.Ordinal);
            await session.Range(10, 10, 3).SaveAsTextAsync(disk, SaveMode.Overwrite);
            Assert.Equal(Enumerable.Range(10, 10).Select(static row => $"{row}"), await session.ReadText(disk).CollectAsync());
            Assert.Equal(4, Names(disk).Length);
        }
        finally
        {
            Assert.Equal(0, await RunAsync("umount", disk));
        }
    }

    private static async Task<int> RunAsync(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true })!;
        await process.WaitForExitAsync();
        return process.ExitCode;
    }
}
