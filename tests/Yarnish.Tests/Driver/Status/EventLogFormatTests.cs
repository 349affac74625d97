using System.Globalization;
using System.Reflection;
using Newtonsoft.Json;
using Xunit;
using Yarnish.Dataflow;
using Yarnish.Protocol;
using Yarnish.Status;

namespace Yarnish.Tests.Driver.Status;

public sealed class EventLogFormatTests
{
    [Fact]
    public void Every_kind_of_event_is_read_back_as_it_was_written()
    {
        var kinds = typeof(StatusEvent).GetNestedTypes(BindingFlags.Public | BindingFlags.NonPublic).Where(type => type.IsSubclassOf(typeof(StatusEvent))).Select(type => type.Name);
        Assert.Equal(kinds.Order(), Given.OneOfEach.Select(happened => happened.GetType().Name).Order());

        Assert.All(Given.OneOfEach, happened =>
        {
            var line = Given.LineOf(happened);
            var read = EventLogFormat.Parse(line);

            Assert.Equal(happened.GetType(), read?.GetType());
            Assert.Equal(line, Given.LineOf(read!));
            Assert.DoesNotContain('\n', line);
            Assert.Equal(happened.At, read!.At);
        });
    }

    [Fact]
    public void Batch_of_tasks_is_read_back_member_by_member()
    {
        var written = Given.OneOfEach.OfType<StatusEvent.TasksEnded>().Single();
        var read = Assert.IsType<StatusEvent.TasksEnded>(EventLogFormat.Parse(Given.LineOf(written)));

        Assert.Equal(written.Tasks.Select(task => task with { Cached = null }), read.Tasks.Select(task => task with { Cached = null }));
        Assert.Equal(written.Tasks[0].Cached, read.Tasks[0].Cached);
        Assert.Null(read.Tasks[1].Cached);
    }

    [Fact]
    public void Task_that_did_nothing_costs_few_bytes()
    {
        var tasks = Enumerable.Range(0, 256).Select(i => Given.Task(1000 + i, 3, i)).ToArray();

        Assert.InRange(Given.LineOf(new StatusEvent.TasksEnded(Given.Start, tasks)).Length, 1, 256);
    }

    [Fact]
    public void Unknown_members_and_events_are_skipped()
    {
        var line = Given.LineOf(new StatusEvent.EventsLost(Given.Start, 3));

        Assert.Equal(new StatusEvent.EventsLost(Given.Start, 3), EventLogFormat.Parse(line.Insert(1, "\"later\":{\"a\":[1]},")));
        Assert.Null(EventLogFormat.Parse(line.Replace("eventsLost", "somethingNew", StringComparison.Ordinal)));
    }

    [Fact]
    public void Header_of_a_newer_version_is_refused_with_what_to_do()
    {
        using var text = new StringWriter(CultureInfo.InvariantCulture);
        using (var json = new JsonTextWriter(text))
        {
            EventLogFormat.WriteHeader(json, "app-1", 1);
        }
        Assert.Null(EventLogFormat.Parse(text.ToString()));

        var error = Assert.Throws<NotSupportedException>(() => EventLogFormat.Parse("{\"event\":\"log\",\"version\":99}"));
        Assert.Contains("version 99", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData("null")]
    [InlineData("[]")]
    [InlineData("{\"event\":\"jobEnded\"")]
    [InlineData("{\"event\":\"jobEnded\",\"at\":\"yesterday\"}")]
    [InlineData("{\"event\":\"jobEnded\",\"at\":\"2026-01-01T00:00:00Z\",\"job\":99999999999}")]
    [InlineData("{\"event\":\"executorAdded\",\"at\":\"2026-01-01T00:00:00Z\",\"executor\":\"../etc\"}")]
    [InlineData("{\"event\":\"tasksEnded\",\"at\":\"2026-01-01T00:00:00Z\",\"tasks\":2000000000}")]
    [InlineData("{\"event\":\"tasksEnded\",\"at\":\"2026-01-01T00:00:00Z\",\"tasks\":-1}")]
    [InlineData("{\"event\":\"tasksEnded\",\"at\":\"2026-01-01T00:00:00Z\",\"tasks\":2,\"executor\":\"x\",\"attempt\":[1,2,3]}")]
    [InlineData("{\"event\":\"tasksEnded\",\"at\":\"2026-01-01T00:00:00Z\",\"tasks\":1,\"executor\":\"x\",\"partition\":\"many\"}")]
    [InlineData("{\"event\":\"tasksEnded\",\"at\":\"2026-01-01T00:00:00Z\",\"tasks\":1,\"executor\":\"x\",\"cached\":[[0,1,99999999999,0,0]]}")]
    public void Line_that_is_no_event_is_told_as_such(string line) => Assert.Throws<FormatException>(() => EventLogFormat.Parse(line));

    [Fact]
    public void Deeply_nested_line_is_no_event() =>
        Assert.Throws<FormatException>(() => EventLogFormat.Parse($"{{\"event\":\"eventsLost\",\"a\":{new string('[', 100_000)}{new string(']', 100_000)}}}"));

    [Fact]
    public void Long_batches_are_cut()
    {
        var ended = new StatusEvent.TasksEnded(Given.Start, [.. Enumerable.Range(0, 3000).Select(i => Given.Task(i))]);
        var sent = new StatusEvent.TasksSent(Given.Start, default, 0, ExecutorId.Create("x-1"), [.. Enumerable.Range(0, 3000).Select(i => new TaskToSend(new TaskAttemptId(i), i, 0))]);

        Assert.Equal([1024, 1024, 952], EventLogFormat.Cut(ended).Select(part => ((StatusEvent.TasksEnded)part).Tasks.Length));
        Assert.Equal([1024, 1024, 952], EventLogFormat.Cut(sent).Select(part => ((StatusEvent.TasksSent)part).Tasks.Count));
    }

    [Fact]
    public void Figures_are_all_of_the_task_metrics_in_their_order()
    {
        var properties = typeof(TaskMetrics).GetProperties(BindingFlags.Instance | BindingFlags.Public).Where(property => property.PropertyType == typeof(long)).ToArray();
        Assert.Equal(properties.Select(property => char.ToLowerInvariant(property.Name[0]) + property.Name[1..]), TaskFigure.All.Select(figure => figure.Name));

        var values = Enumerable.Range(1, properties.Length).Select(i => (long)i).ToArray();
        var metrics = TaskFigure.ToMetrics(values);
        Assert.Equal(values, TaskFigure.All.Select(figure => figure.Read(metrics)));
        Assert.Equal(values, properties.Select(property => (long)property.GetValue(metrics)!));
    }
}
