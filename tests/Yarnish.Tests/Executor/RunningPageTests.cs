using System.Buffers.Binary;
using System.Diagnostics;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;
using Yarnish.Executor;
using Yarnish.Protocol;

namespace Yarnish.Tests.Executor;

/// <summary>What an executor has in hand, readable by others while it runs and after.</summary>
public sealed class RunningPageTests : IDisposable
{
    private readonly string path = Path.Combine(Path.GetTempPath(), $"page-{Guid.NewGuid():N}");

    public void Dispose() => File.Delete(path);

    [Fact]
    public void Another_reader_of_the_file_sees_what_runs_at_any_moment()
    {
        using var page = new RunningPage(path, 3, NullLogger.Instance);
        Assert.Equal("", Read());

        page.Start(2, new TaskAttemptId(17));
        page.Start(0, new TaskAttemptId(4_000_000_000));
        Assert.Equal("17 4000000000", Read());

        page.End(2);
        Assert.Equal("4000000000", Read());
    }

    [Fact]
    public void Page_that_cannot_be_written_keeps_no_task_from_running()
    {
        using var page = new RunningPage(Path.Combine(path, "nowhere", "page"), 3, NullLogger.Instance);

        page.Start(2, new TaskAttemptId(17));
        page.End(2);
    }

    [Fact]
    public void A_note_costs_far_less_than_a_microsecond()
    {
        using var page = new RunningPage(path, 1, NullLogger.Instance);
        var best = double.MaxValue;
        for (var round = 0; round < 20; round++)
        {
            var started = Stopwatch.GetTimestamp();
            for (var i = 1; i <= 10_000; i++)
            {
                page.Start(0, new TaskAttemptId(i));
                page.End(0);
            }
            best = Math.Min(best, Stopwatch.GetElapsedTime(started).TotalMicroseconds / 10_000);
        }
        Assert.InRange(best, 0, 1);
    }

    [Fact]
    public void Whatever_a_container_wrote_reading_it_is_harmless()
    {
        Assert.Null(PostMortemPage.Read([]));
        Assert.Null(PostMortemPage.Read("YARNPM02________"u8));
        Assert.Equal("", PostMortemPage.Read("YARNPM01abc"u8));
        var page = new byte[PostMortemPage.LengthOf(5000) + 800];
        PostMortemPage.Magic.CopyTo(page);
        for (var slot = 0; PostMortemPage.HeaderBytes + (8 * slot) < page.Length; slot++)
        {
            BinaryPrimitives.WriteInt64LittleEndian(page.AsSpan(PostMortemPage.HeaderBytes + (8 * slot)), slot % 2 == 0 ? slot + 1 : -slot);
        }
        Assert.Equal(PostMortemPage.MaximumSlots / 2, PostMortemPage.ToAttempts(PostMortemPage.Read(page))!.Count);
        Assert.Null(PostMortemPage.ToAttempts(null));
        Assert.Null(PostMortemPage.ToAttempts("1 two"));
        Assert.Empty(PostMortemPage.ToAttempts("")!);
    }

    private string? Read()
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        var content = new byte[file.Length];
        file.ReadExactly(content);
        return PostMortemPage.Read(content);
    }
}
