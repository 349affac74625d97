using Xunit;
using Yarnish.Progress;
using Yarnish.Protocol;

namespace Yarnish.Tests.Driver.Session;

public sealed class ProgressDisplayTests
{
    private static ProgressSnapshot Running(int done, int running, int total, double seconds = 3, string waiting = "") => new(
        [new JobProgress(new JobId(0), "CountAsync", TimeSpan.FromSeconds(seconds), [new StageProgress(new StageId(1), "Select at Program.cs:10", done, running, total, 0)])], 2, waiting);

    [Fact]
    public void Bar_shows_done_and_running_and_fits_the_terminal()
    {
        var text = ProgressDisplay.Describe(Running(50, 10, 100), 100);

        Assert.Contains("Select at Program.cs:10", text, StringComparison.Ordinal);
        Assert.Contains("50+10/100", text, StringComparison.Ordinal);
        Assert.Contains("====", text, StringComparison.Ordinal);
        Assert.True(text.Length < 100);
    }

    [Theory]
    [InlineData(2)]
    [InlineData(12)]
    [InlineData(21)]
    [InlineData(40)]
    [InlineData(80)]
    [InlineData(300)]
    public void Line_is_never_longer_than_the_terminal(int width)
    {
        var stages = Enumerable.Range(0, 7).Select(i => new StageProgress(new StageId(i), new string('n', 50), i, 1000, 7, 2)).ToArray();
        var snapshot = new ProgressSnapshot([new JobProgress(new JobId(0), "x", TimeSpan.FromMinutes(1), [.. stages])], 2, "");

        Assert.InRange(ProgressDisplay.Describe(snapshot, width).Length, 1, width - 1);
    }

    [Fact]
    public void Several_jobs_share_the_line_and_tell_what_failed_and_what_there_is_no_room_for()
    {
        var snapshot = new ProgressSnapshot(
            [.. Enumerable.Range(0, 4).Select(i => new JobProgress(
                new JobId(i), "x", TimeSpan.FromSeconds(9), [new StageProgress(new StageId(10 + i), "Select at Program.cs:10", i, 1, 7, i == 1 ? 3 : 0)]))], 2, "");

        Assert.Matches(@"^\[0\.10 Select.* 0\+1/7 9 s\] \[1\.11 .* 1\+1/7 3 failed 9 s\] \[2\.12 Select.* 2\+1/7 9 s\] \+1 stages$", ProgressDisplay.Describe(snapshot, 160));
        Assert.Matches(@"^\[0\.10 Sel.* 0\+1/7 9 s\] \+3 stages$", ProgressDisplay.Describe(snapshot, 50));
        Assert.Equal("0.10 0/7 +3 stages", ProgressDisplay.Describe(snapshot, 25));
    }

    [Fact]
    public void Short_jobs_are_not_drawn() => Assert.Equal("", ProgressDisplay.Describe(Running(1, 1, 2, seconds: 0.1), 100));

    [Fact]
    public void What_is_waited_for_is_told_instead_of_bars() =>
        Assert.Equal("waiting for executors: none", ProgressDisplay.Describe(Running(0, 0, 2, waiting: "waiting for executors: none"), 100));

    [Fact]
    public async Task Burst_of_lines_is_counted_not_written_out()
    {
        using var output = new StringWriter();
        await using (var display = new ProgressDisplay(ProgressStyle.Lines, output, () => 100, new ResourceManager.TestClock()))
        {
            for (var i = 0; i < 100; i++)
            {
                display.Line($"job {i} done");
            }
        }
        var lines = output.ToString().Split(Environment.NewLine, StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(["job 0 done", "job 1 done", "job 2 done", "job 3 done", "job 4 done", "(and 95 more lines, such as of short jobs)"], lines);
    }

    [Fact]
    public async Task Bar_is_cleared_at_the_end()
    {
        using var output = new StringWriter();
        await using (var display = new ProgressDisplay(ProgressStyle.Bars, output, () => 100, TimeProvider.System))
        {
            display.Show(Running(1, 1, 2));
        }
        Assert.EndsWith("\r\u001b[2K", output.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Lines_are_sentences() =>
        Assert.Equal(["job 0 stage 1 (Select at Program.cs:10): 50 of 100 tasks done, 10 running, 3 s"], ProgressDisplay.Sentences(Running(50, 10, 100)));

    [Fact]
    public async Task Nothing_is_written_when_it_shall_be_quiet()
    {
        using var output = new StringWriter();
        await using (var display = new ProgressDisplay(ProgressStyle.None, output, () => 100, TimeProvider.System))
        {
            display.Show(Running(1, 1, 2));
            display.Line("job 0 done");
        }
        Assert.Equal("", output.ToString());
    }
}
