using Xunit;
using Yarnish.Status;

namespace Yarnish.Tests.Driver.Status;

/// <summary>Event logs on disk: written, rolled, cut off, damaged, and those that cannot be written.</summary>
public sealed class EventLogTests : IDisposable
{
    private readonly string common = Directory.CreateTempSubdirectory("yarnish-events-").FullName;

    private string Log => EventLogs.DirectoryOf(common, Given.Application);

    public void Dispose() => Directory.Delete(common, recursive: true);

    private async Task<List<string>> WriteAsync(IEnumerable<StatusEvent> events, long rollBytes = 128 << 20, int maximumFiles = 64, string? directory = null)
    {
        var warnings = new List<string>();
        var log = new EventLogWriter(directory ?? Log, Given.Application, TimeProvider.System, warnings.Add, rollBytes, maximumFiles);
        foreach (var happened in events)
        {
            log.Append(happened);
            if (happened is StatusEvent.JobEnded)
            {
                log.Tick(idle: true);
            }
        }
        await log.DisposeAsync();
        return warnings;
    }

    private static string Everything(string path, out EventLogReader log)
    {
        log = new EventLogReader(path);
        return Given.Everything(EventLogReader.Replay(log));
    }

    [Fact]
    public async Task Status_read_from_the_files_is_that_of_the_running_driver()
    {
        var events = Given.EventsOf(5);

        Assert.Empty(await WriteAsync(events));

        Assert.Equal(Given.Everything(Given.Status(events[1..])), Everything(Log, out var log));
        Assert.Equal((0, ""), (log.Skipped, log.CutOff));
        Assert.Equal(["events-000001.jsonl.zst"], Directory.EnumerateFiles(Log).Select(Path.GetFileName));
    }

    [Fact]
    public async Task Log_rolls_to_the_next_file_and_is_read_as_one()
    {
        var events = Given.EventsOf(5);

        await WriteAsync(events, rollBytes: 1000);

        Assert.InRange(EventLogs.FilesOf(Log).Count, 3, 64);
        Assert.Equal(Given.Everything(Given.Status(events[1..])), Everything(Log, out _));
    }

    [Fact]
    public async Task Log_ends_with_a_word_when_it_has_all_its_files()
    {
        var warnings = await WriteAsync(Given.EventsOf(5), rollBytes: 1000, maximumFiles: 2);

        Assert.Equal(2, EventLogs.FilesOf(Log).Count);
        Assert.Contains("2 files", Assert.Single(warnings), StringComparison.Ordinal);
        Assert.Equal("running", EventLogReader.Replay(new EventLogReader(Log)).ToDetail().State);
    }

    [Fact]
    public async Task Log_that_was_cut_off_anywhere_is_read_up_to_the_cut()
    {
        var events = Given.EventsOf(5, jobs: 3);
        await WriteAsync(events);
        var file = EventLogs.FilesOf(Log).Single();
        var whole = await File.ReadAllBytesAsync(file, TestContext.Current.CancellationToken);

        var most = 0L;
        for (var cut = whole.Length; cut > 300; cut -= Math.Max(1, whole.Length / 60))
        {
            await File.WriteAllBytesAsync(file, whole[..cut], TestContext.Current.CancellationToken);
            var log = new EventLogReader(Log);
            var read = log.Read().ToList();

            // What is read is a prefix of what was written, never something else.
            Assert.Equal(events.SelectMany(EventLogFormat.Cut).Take(read.Count).Select(Given.LineOf), read.Select(Given.LineOf));
            Assert.True(cut == whole.Length || log.CutOff.Length > 0 || read.Count < events.Count);
            most = Math.Max(most, cut == whole.Length ? 0 : read.Count);
        }
        Assert.InRange(most, 20, events.Count * 2);
    }

    [Fact]
    public async Task Log_with_a_rotten_block_is_read_up_to_it_and_says_where()
    {
        await WriteAsync(Given.EventsOf(5));
        var file = EventLogs.FilesOf(Log).Single();
        var bytes = await File.ReadAllBytesAsync(file, TestContext.Current.CancellationToken);
        bytes[bytes.Length / 2] ^= 0x55;
        bytes[(bytes.Length / 2) + 1] ^= 0x55;
        await File.WriteAllBytesAsync(file, bytes, TestContext.Current.CancellationToken);

        var log = new EventLogReader(Log);

        Assert.NotEmpty(log.Read().ToList());
        Assert.Contains("events-000001.jsonl.zst cannot be read beyond its line", log.CutOff, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Log_that_is_none_is_told_as_such()
    {
        Assert.Throws<FileNotFoundException>(() => new EventLogReader(Path.Combine(common, "nothing")));

        var file = Path.Combine(common, "events-000001.jsonl.zst");
        await File.WriteAllTextAsync(file, "not compressed at all", TestContext.Current.CancellationToken);
        Assert.Contains("no beginning of an application", Assert.Throws<InvalidDataException>(() => EventLogReader.Replay(new EventLogReader(file))).Message, StringComparison.Ordinal);

        var plain = Path.Combine(common, "plain.jsonl");
        await File.WriteAllTextAsync(plain, $"{Given.LineOf(Given.Started)}\nnonsense\n{Given.LineOf(new StatusEvent.EventsLost(Given.Start, 3))}\nno end", TestContext.Current.CancellationToken);
        var log = new EventLogReader(plain);
        Assert.Equal(3, EventLogReader.Replay(log).ToDetail().EventsLost);
        Assert.Equal(1, log.Skipped);
        Assert.Contains("no end", log.CutOff, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Line_without_end_does_not_fill_the_memory()
    {
        var plain = Path.Combine(common, "plain.jsonl");
        await File.WriteAllTextAsync(plain, Given.LineOf(Given.Started) + "\n" + new string('x', EventLogFormat.MaximumLine + 100_000), TestContext.Current.CancellationToken);

        var log = new EventLogReader(plain);

        Assert.NotNull(EventLogReader.Replay(log).Id);
        Assert.Contains("a line has more than", log.CutOff, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Directory_that_cannot_be_written_costs_one_warning_and_no_error()
    {
        var blocked = Path.Combine(common, "file");
        await File.WriteAllTextAsync(blocked, "in the way", TestContext.Current.CancellationToken);

        var warnings = await WriteAsync(Given.EventsOf(5), directory: Path.Combine(blocked, "below"));

        Assert.Contains("cannot be written", Assert.Single(warnings), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Full_disk_costs_lines_which_the_log_counts_once_there_is_room_again()
    {
        Assert.SkipUnless(File.Exists("/dev/full"), "there is no /dev/full here");
        Directory.CreateDirectory(Log);
        // The first file is on a full disk; the second is not.
        File.CreateSymbolicLink(Path.Combine(Log, EventLogs.FileName(1)), "/dev/full");
        var warnings = new List<string>();
        var log = new EventLogWriter(Log, Given.Application, TimeProvider.System, warnings.Add);
        log.Append(Given.Started);
        log.Append(Given.Stage(0, 1));
        log.Tick(idle: true);
        while (warnings.Count == 0)
        {
            await Task.Delay(5, TestContext.Current.CancellationToken);
        }
        File.Delete(Path.Combine(Log, EventLogs.FileName(1)));
        log.Append(Given.Stage(1, 1));
        await log.DisposeAsync();

        Assert.Contains("cannot be written", Assert.Single(warnings), StringComparison.Ordinal);
        var read = new EventLogReader(Log).Read().ToList();
        Assert.Equal(2, Assert.IsType<StatusEvent.EventsLost>(read[0]).Count);
        Assert.Equal(1, Assert.IsType<StatusEvent.StageStarted>(read[1]).Id.Value);
    }

    [Fact]
    public void Oldest_logs_go_when_there_are_too_many_but_never_those_just_written()
    {
        for (var i = 0; i < 10; i++)
        {
            var directory = Directory.CreateDirectory(Path.Combine(common, $"app-{i}")).FullName;
            var file = Path.Combine(directory, EventLogs.FileName(1));
            File.WriteAllBytes(file, new byte[100]);
            File.SetLastWriteTimeUtc(file, Given.Start.UtcDateTime.AddDays(i));
        }
        Directory.CreateDirectory(Path.Combine(common, "something-else"));

        EventLogs.Prune(common, Given.Start.AddDays(30), maximumApplications: 7, maximumBytes: 1 << 20);
        Assert.Equal(["app-9", "app-8", "app-7", "app-6", "app-5", "app-4", "app-3"], EventLogs.Below(common).Select(log => Path.GetFileName(log.Path)));
        EventLogs.Prune(common, Given.Start.AddDays(30), maximumApplications: 7, maximumBytes: 250);
        Assert.Equal(["app-9", "app-8"], EventLogs.Below(common).Select(log => Path.GetFileName(log.Path)));
        EventLogs.Prune(common, Given.Start.AddDays(9), maximumApplications: 0, maximumBytes: 0);
        Assert.Equal(["app-9"], EventLogs.Below(common).Select(log => Path.GetFileName(log.Path)));
        Assert.True(Directory.Exists(Path.Combine(common, "something-else")));
    }
}
