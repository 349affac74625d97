using Xunit;

namespace Yarnish.Tests.Collections;

/// <summary>Partitions through external programs.</summary>
public sealed class PipeTests(IsolatedSession isolated) : LinqAgreement(isolated)
{
    [Fact]
    public Task A_program_that_echoes_gives_the_same_rows() => Agree(
        rows => rows.Select(static row => $"row {row} ö").Pipe("cat").CollectAsync(), rows => rows.Select(row => $"row {row} ö").ToArray());

    [Fact]
    public async Task Arguments_and_environment_reach_the_program_unchanged()
    {
        var lines = await Session.Parallelize(["x"], 1).Pipe("sh", ["-c", "cat >&2; echo \"$0|$GREETING|$YARNISH_PARTITION\"", "a b  'c'"], new Dictionary<string, string> { ["GREETING"] = "good day" }).CollectAsync();

        Assert.Equal(["a b  'c'|good day|0"], lines);
    }

    [Fact]
    public async Task More_text_than_any_pipe_holds_flows_through()
    {
        var lines = await Session.Range(0, 200_000, 2).Select(static row => $"line {row}").Pipe("cat").CountAsync();

        Assert.Equal(200_000, lines);
    }

    [Fact]
    public async Task A_program_that_writes_only_after_it_has_read_everything_is_waited_for()
    {
        Assert.Equal(["0", "1", "2", "3"], await Session.Parallelize([3, 1, 2, 0], 1).Select(static row => $"{row}").Pipe("sort").CollectAsync());
        Assert.Equal(["100000"], await Session.Range(0, 100_000, 1).Select(static row => $"{row}").Pipe("sh", ["-c", "wc -l | tr -d ' '"]).CollectAsync());
    }

    [Fact]
    public async Task A_program_that_wants_no_more_input_gets_no_more()
    {
        Assert.Equal(["0", "1"], await Session.Range(0, 1_000_000, 1).Select(static row => $"{row}").Pipe("head", ["-n", "2"]).CollectAsync());
    }

    [Fact]
    public async Task A_program_that_closes_its_output_still_gets_its_input()
    {
        var path = Path.GetTempFileName();
        try
        {
            Assert.Empty(await Session.Range(0, 50_000, 1).Select(static row => $"{row}").Pipe("sh", ["-c", "exec 1>&-; cat > \"$0\"", path]).CollectAsync());
            Assert.Equal(50_000, File.ReadLines(path).Count());
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public async Task A_program_that_never_ends_by_itself_is_stopped_when_no_more_is_wanted()
    {
        Assert.Equal(["y", "y", "y"], await Session.Parallelize(["x"], 1).Pipe("yes").TakeAsync(3));
    }

    [Fact]
    public async Task A_program_that_never_ends_by_itself_is_stopped_when_the_job_is_cancelled()
    {
        var path = Path.GetTempFileName();
        try
        {
            using var cancellation = new CancellationTokenSource();
            var job = Session.Parallelize(["x"], 1).Pipe("sh", ["-c", "echo $$ > \"$0\"; exec sleep 1000", path]).CountAsync(cancellation.Token);
            string text;
            while ((text = await File.ReadAllTextAsync(path)).Length == 0)
            {
                await Task.Delay(10);
            }
            await cancellation.CancelAsync();

            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => job);
            while (Directory.Exists($"/proc/{text.Trim()}") && !File.ReadAllText($"/proc/{text.Trim()}/stat").Contains(") Z ", StringComparison.Ordinal))
            {
                await Task.Delay(10);
            }
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public async Task A_program_that_fails_fails_the_job_with_its_last_words()
    {
        var error = await Assert.ThrowsAsync<YarnishJobException>(() => Session.Parallelize(["x"], 1).Pipe("sh", ["-c", "cat; echo out of paper >&2; exit 3"]).CountAsync());

        Assert.Contains("ended with exit code 3 on partition 0. Its last words: out of paper", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_program_that_is_not_there_fails_the_job_with_its_name()
    {
        var error = await Assert.ThrowsAsync<YarnishJobException>(() => Session.Parallelize(["x"], 1).Pipe("no-such-program-anywhere").CountAsync());

        Assert.Contains("'no-such-program-anywhere' cannot be started", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_row_that_is_null_fails_the_job()
    {
        var error = await Assert.ThrowsAsync<YarnishJobException>(() => Session.Parallelize(["x", null!], 1).Pipe("cat").CountAsync());

        Assert.Contains("Pipe: a row is null", error.Message, StringComparison.Ordinal);
    }
}
