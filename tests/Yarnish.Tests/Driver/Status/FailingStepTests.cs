using Xunit;

namespace Yarnish.Tests.Driver.Status;

/// <summary>A failed job names the transformation whose function threw, though many run in one task.</summary>
public sealed class FailingStepTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private static Task<YarnishSession> OpenAsync() => YarnishSession.CreateBuilder().WithName("test").WithProgress(ProgressStyle.None)
        .Configure(options => (options.Address, options.MaximumTaskFailures) = ("", 1)).ConnectAsync(TestContext.Current.CancellationToken);

    private static async Task<string> FailAsync(Func<YarnishSession, Task> program)
    {
        await using var session = await OpenAsync();
        return (await Assert.ThrowsAsync<YarnishJobException>(() => program(session).WaitAsync(Patience))).Message;
    }

    [Fact]
    public async Task Third_of_five_transformations_is_named_with_its_line()
    {
        var line = 0;
        var message = await FailAsync(session => session.Range(0, 10, 2)
            .Where(static number => number >= 0)
            .Select(static number => number + 1)
            .Select(static number => number == 3 ? throw new FormatException("no threes") : number, line: Line(out line))
            .Where(static number => number > 0)
            .Select(static number => number * 2)
            .CountAsync());

        Assert.Contains($"in:   the function of Select at FailingStepTests.cs:{line}", message, StringComparison.Ordinal);
        Assert.Contains("why:  System.FormatException: no threes", message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Function_of_a_shuffle_and_what_it_calls_are_found()
    {
        var message = await FailAsync(session => session.Range(0, 10, 2).Select(static number => KeyValuePair.Create(number % 2, number)).ReduceByKey(static (left, right) => Combine(left, right), 2).CollectAsync());

        Assert.Contains("in:   the function of ReduceByKey at FailingStepTests.cs:", message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Iterator_of_the_user_is_found()
    {
        var message = await FailAsync(session => session.Range(0, 10, 2).MapPartitions(static (_, rows) => Rows(rows)).Where(static row => row > 100).CountAsync());

        Assert.Contains("System.InvalidOperationException: stop", message, StringComparison.Ordinal);
    }

    private static int Combine(int left, int right) => left + right > 10 ? throw new FormatException("too much") : left + right;

    private static IEnumerable<int> Rows(IEnumerable<int> rows)
    {
        foreach (var row in rows)
        {
            yield return row < 5 ? row : throw new InvalidOperationException("stop");
        }
    }

    private static int Line(out int line, [System.Runtime.CompilerServices.CallerLineNumber] int here = 0) => line = here;
}
