using Xunit;
using Yarnish.Executor;
using Yarnish.Jobs;

namespace Yarnish.Tests.Driver.Session;

/// <summary>Embedded, but everything is serialized as on a cluster.</summary>
public sealed class IsolatedSessionTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private static Task<YarnishSession> OpenAsync() =>
        YarnishSession.CreateBuilder().WithName("test").WithProgress(ProgressStyle.None).Isolated().Configure(static options => options.Address = "").ConnectAsync(TestContext.Current.CancellationToken);

    [Fact]
    public async Task Captured_values_travel_and_tasks_do_not_share_them()
    {
        await using var session = await OpenAsync();
        Assert.True(session.Runner.ChecksClosures);
        var words = new List<string> { "one" };
        var (plan, results) = Plans.OneStage(20, task =>
        {
            words.Add("more");
            return string.Join(',', words);
        });

        await session.Runner.RunAsync(plan, CancellationToken.None).WaitAsync(Patience);

        Assert.Equal(20, results.Count);
        Assert.All(results, pair => Assert.Equal("one,more", pair.Value));
        Assert.Equal(["one"], words);
    }

    [Fact]
    public async Task Function_that_cannot_travel_is_refused_before_anything_runs()
    {
        await using var session = await OpenAsync();
        using var stream = new MemoryStream();
        using var thread = new ThreadLocal<int>(() => 1);
        var (plan, results) = Plans.OneStage(2, task => $"{thread.Value}{stream.Length}");

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => session.Runner.RunAsync(plan, CancellationToken.None).WaitAsync(Patience));

        Assert.Contains("result stage", error.Message, StringComparison.Ordinal);
        Assert.Contains("cure:", error.Message, StringComparison.Ordinal);
        Assert.Empty(results);
        Assert.Equal(0, session.Progress.TasksSucceeded);
    }

    [Fact]
    public async Task Shuffle_works_as_without_isolation()
    {
        await using var session = await OpenAsync();
        var shuffle = session.Runner.NextShuffle();
        var results = new SortedDictionary<int, string>();
        var plan = new JobPlan
        {
            Name = "shuffle",
            Stages = [Plans.MapStage(3, shuffle, 2), Plans.Stage(2, task => Plans.ReadAll(task, shuffle), null, shuffle)],
            OnResult = (partition, bytes) => results.Add(partition, System.Text.Encoding.UTF8.GetString(bytes.Span)),
        };

        await session.Runner.RunAsync(plan, CancellationToken.None).WaitAsync(Patience);

        Assert.Equal(["0>0;1>0;2>0;", "0>1;1>1;2>1;"], results.Values);
    }

    [Fact]
    public async Task Exception_of_a_task_comes_back_by_its_names()
    {
        await using var session = await OpenAsync();
        var (plan, _) = Plans.OneStage(1, Fail);

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => session.Runner.RunAsync(plan, CancellationToken.None).WaitAsync(Patience));

        Assert.Equal("System.FormatException", error.RemoteError?.Type);
        Assert.Contains("in the task", error.Message, StringComparison.Ordinal);
    }

    private static string Fail(TaskRuntime task) => throw new FormatException($"in the task {task.Context.Partition}");
}
