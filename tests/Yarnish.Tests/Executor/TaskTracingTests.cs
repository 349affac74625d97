using System.Collections.Concurrent;
using System.Diagnostics;
using Xunit;
using Yarnish.Blocks;
using Yarnish.Executor;
using Yarnish.Protocol;

namespace Yarnish.Tests.Executor;

public sealed class TaskTracingTests : IDisposable
{
    private readonly ActivityTraceId trace = ActivityTraceId.CreateRandom();
    private readonly ActivitySpanId stage = ActivitySpanId.CreateRandom();
    private readonly ConcurrentBag<Activity> spans = [];
    private readonly ActivityListener listener;

    public TaskTracingTests()
    {
        listener = new ActivityListener
        {
            ShouldListenTo = static source => source.Name == "Yarnish.Executor",
            // Tests of other classes share the source: only this test's trace is recorded.
            Sample = (ref ActivityCreationOptions<ActivityContext> options) => options.Parent.TraceId == trace ? ActivitySamplingResult.AllDataAndRecorded : ActivitySamplingResult.None,
            ActivityStopped = activity => spans.Add(activity),
        };
        ActivitySource.AddActivityListener(listener);
    }

    private string TraceParent => $"00-{trace}-{stage}-01";

    [Fact]
    public async Task A_failed_attempt_is_a_span_below_its_stage_and_the_next_one_links_to_it()
    {
        await using var harness = new ExecutorHarness();
        harness.Program("fails", static _ => throw new InvalidDataException("broken")).Program("works", static _ => { });
        await harness.StartAsync();

        await harness.SendAsync(ExecutorHarness.Batch("fails", 1) with { TraceParent = TraceParent });
        var failed = await harness.ReportAsync();
        await harness.SendAsync(ExecutorHarness.Batch("works", 2) with { TraceParent = TraceParent, Links = [new AttemptLink(new TaskAttemptId(2), failed.TraceParent)] });
        var second = await harness.ReportAsync();

        var first = spans.Single(static span => span.Status == ActivityStatusCode.Error);
        Assert.Equal((stage, "task", "broken"), (first.ParentSpanId, first.OperationName, first.StatusDescription));
        Assert.Contains(first.SpanId.ToString(), failed.TraceParent, StringComparison.Ordinal);
        var retried = spans.Single(span => span != first);
        Assert.Equal(first.SpanId, Assert.Single(retried.Links).Context.SpanId);
        Assert.Equal("", second.TraceParent);
    }

    [Fact]
    public async Task Shuffles_are_children_of_their_task()
    {
        await using var harness = new ExecutorHarness();
        var shuffle = new ShuffleId(1);
        harness
            .Program("map", task =>
            {
                var writer = task.OpenShuffleWriter(shuffle, 1);
                writer.GetPart(0).GetSpan(1)[0] = 7;
                writer.GetPart(0).Advance(1);
                writer.RowWritten(0);
                writer.Complete();
            })
            .Program("reduce", task => Assert.Single(task.ReadShuffle(shuffle, 0).Select(static block => block.MapPartition)));
        await harness.StartAsync();
        await harness.SendAsync(ExecutorHarness.Batch("map", 0) with { TraceParent = TraceParent });
        var output = (await harness.ReportAsync()).MapOutput!;
        await harness.Registry.PublishLocationsAsync(ShuffleLocations.From(shuffle, 1, [output]), TestContext.Current.CancellationToken);
        await harness.SendAsync(ExecutorHarness.Batch("reduce", 1) with { TraceParent = TraceParent, Shuffles = [new ShuffleInput(shuffle, 1)] });
        Assert.Equal(TaskSucceeded.Instance, (await harness.ReportAsync()).End);

        var names = spans.ToDictionary(static span => span.OperationName == "task" ? $"task {span.GetTagItem("yarnish.task.partition")}" : span.OperationName);
        Assert.Equal(["shuffle.fetch", "shuffle.write", "task 0", "task 1"], names.Keys.Order(StringComparer.Ordinal));
        Assert.Equal(names["task 0"].SpanId, names["shuffle.write"].ParentSpanId);
        Assert.Equal(names["task 1"].SpanId, names["shuffle.fetch"].ParentSpanId);
    }

    [Fact]
    public async Task Ten_thousand_quick_tasks_leave_few_spans_and_every_failure_its_own()
    {
        await using var harness = new ExecutorHarness();
        harness.Program("mostly", static task =>
        {
            if (task.Context.Partition % 1000 == 999)
            {
                throw new InvalidDataException("one in a thousand");
            }
        });
        await harness.StartAsync();
        for (var first = 0; first < 10_000; first += 500)
        {
            await harness.SendAsync(ExecutorHarness.Batch("mostly", [.. Enumerable.Range(first, 500).Select(static i => (long)i)]) with { TraceParent = TraceParent });
            await harness.ReportsAsync(500);
        }

        Assert.Equal(10, spans.Count(static span => span.Status == ActivityStatusCode.Error));
        Assert.InRange(spans.Count, 60, 500);
    }

    [Fact]
    public async Task A_stage_that_is_not_traced_leaves_no_span()
    {
        await using var harness = new ExecutorHarness();
        harness.Program("fails", static _ => throw new InvalidDataException("broken"));
        await harness.StartAsync();

        await harness.SendTasksAsync("fails", 1);
        await harness.SendAsync(ExecutorHarness.Batch("fails", 2) with { TraceParent = TraceParent[..^1] + "0" });
        await harness.SendAsync(ExecutorHarness.Batch("fails", 3) with { TraceParent = "nonsense" });
        await harness.ReportsAsync(3);

        Assert.Empty(spans);
    }

    [Fact]
    public void A_task_three_times_slower_than_the_median_is_kept()
    {
        var stage = new StageTrace(default);
        for (var i = 0; i < 1000; i++)
        {
            Assert.False(stage.KeepAtEnd(succeeded: true, 50_000 + i));
        }

        Assert.False(stage.KeepAtEnd(succeeded: true, 90_000));
        Assert.True(stage.KeepAtEnd(succeeded: true, 400_000));
    }

    public void Dispose() => listener.Dispose();
}
