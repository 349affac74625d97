using System.Collections.Concurrent;
using System.Diagnostics;
using Xunit;
using Yarnish.Jobs;

namespace Yarnish.Tests.Driver.Session;

public sealed class DriverTracesTests : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly ConcurrentQueue<Activity> ended = new();
    private readonly ActivityListener listener;

    public DriverTracesTests()
    {
        listener = new ActivityListener
        {
            ShouldListenTo = source => source.Name is "Yarnish.Driver" or "Yarnish.Executor",
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllDataAndRecorded,
            ActivityStopped = ended.Enqueue,
        };
        ActivitySource.AddActivityListener(listener);
    }

    public void Dispose() => listener.Dispose();

    private static Task<YarnishSession> OpenAsync() =>
        YarnishSession.CreateBuilder().WithName("traced").WithProgress(ProgressStyle.None).Configure(static options => options.Address = "").ConnectAsync(TestContext.Current.CancellationToken);

    private Activity Application(YarnishSession session) =>
        Assert.Single(ended, span => span.OperationName.StartsWith("application ", StringComparison.Ordinal) && Equals(span.GetTagItem("yarnish.application.id"), session.ApplicationId.Value));

    private List<Activity> Jobs(YarnishSession session) =>
        [.. ended.Where(span => span.OperationName.StartsWith("job ", StringComparison.Ordinal) && Equals(span.GetTagItem("yarnish.application.id"), session.ApplicationId.Value))];

    private List<Activity> Below(Activity parent) => [.. ended.Where(span => span.TraceId == parent.TraceId && span.ParentSpanId == parent.SpanId)];

    [Fact]
    public async Task Job_is_one_trace_with_stages_and_tasks_below_and_a_link_to_the_application()
    {
        var session = await OpenAsync();
        using var caller = new Activity("caller").Start();
        var shuffle = session.Runner.NextShuffle();
        var plan = new JobPlan
        {
            Name = "traced job",
            Stages = [Plans.MapStage(3, shuffle, 2), Plans.Stage(2, task => Plans.ReadAll(task, shuffle), null, shuffle)],
            OnResult = (_, _) => { },
        };
        await session.Runner.RunAsync(plan, CancellationToken.None).WaitAsync(Patience);
        Assert.Same(caller, Activity.Current);
        await session.DisposeAsync();

        var application = Application(session);
        var job = Assert.Single(Jobs(session));
        Assert.Equal(default, job.ParentSpanId);
        Assert.NotEqual(application.TraceId, job.TraceId);
        Assert.Contains(job.Links, link => link.Context.SpanId == application.SpanId);
        Assert.Contains(job.Links, link => link.Context.SpanId == caller.SpanId);
        Assert.Equal(ActivityStatusCode.Ok, job.Status);

        var stages = Below(job).OrderBy(span => span.StartTimeUtc).ToList();
        Assert.Equal(["stage map stage", "stage result stage"], stages.Select(span => span.OperationName));
        Assert.Equal(3, Below(stages[0]).Count(span => span.OperationName == "task"));
        Assert.Equal(2, Below(stages[1]).Count(span => span.OperationName == "task"));
        Assert.Contains(stages[1].Links, link => link.Context.SpanId == stages[0].SpanId);
        Assert.All(ended.Where(span => span.TraceId == job.TraceId), span => Assert.True(span.Duration > TimeSpan.Zero));
    }

    [Fact]
    public async Task Attempt_that_tries_again_links_to_the_one_that_failed()
    {
        var session = await OpenAsync();
        var failed = 0;
        var (plan, _) = Plans.OneStage(1, task => Interlocked.Exchange(ref failed, 1) == 0 ? throw new IOException("once") : "fine");
        await session.Runner.RunAsync(plan, CancellationToken.None).WaitAsync(Patience);
        await session.DisposeAsync();

        var stage = Assert.Single(Below(Assert.Single(Jobs(session))));
        var tasks = Below(stage);
        var first = Assert.Single(tasks, span => Equals(span.GetTagItem("yarnish.task.attempt"), 0));
        var second = Assert.Single(tasks, span => Equals(span.GetTagItem("yarnish.task.attempt"), 1));
        Assert.Equal(ActivityStatusCode.Error, first.Status);
        Assert.Equal(first.SpanId, Assert.Single(second.Links).Context.SpanId);
    }

    [Fact]
    public async Task Failed_job_ends_its_spans_with_the_error()
    {
        var session = await OpenAsync();
        var (plan, _) = Plans.OneStage(1, task => throw new IOException("always"));
        await Assert.ThrowsAsync<YarnishJobException>(() => session.Runner.RunAsync(plan, CancellationToken.None).WaitAsync(Patience));
        await session.DisposeAsync();

        var job = Assert.Single(Jobs(session));
        Assert.Equal(ActivityStatusCode.Error, job.Status);
        Assert.Contains("always", job.StatusDescription, StringComparison.Ordinal);
        Assert.Equal(ActivityStatusCode.Error, Assert.Single(Below(job)).Status);
    }

    [Fact]
    public async Task Each_job_has_a_trace_of_its_own()
    {
        var session = await OpenAsync();
        for (var i = 0; i < 3; i++)
        {
            await session.Runner.RunAsync(Plans.OneStage(1, task => "").Plan, CancellationToken.None).WaitAsync(Patience);
        }
        await session.DisposeAsync();

        Assert.Equal(3, Jobs(session).Select(job => job.TraceId).Distinct().Count());
    }
}
