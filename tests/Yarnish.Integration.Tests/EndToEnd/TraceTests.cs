using Xunit;
using Yarnish.Integration.Tests.Fixtures;

namespace Yarnish.Integration.Tests.EndToEnd;

/// <summary>A job is one trace, whatever processes it runs through.</summary>
[Trait("Category", "Processes")]
public sealed class TraceTests
{
    [Fact]
    public async Task A_job_on_two_agents_is_one_trace_with_right_parents_and_no_span_lost()
    {
        await using var receiver = new OtlpReceiver();
        (string, string)[] telemetry = [("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.Endpoint), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")];
        await using (var cluster = await TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes: 2, "", telemetry))
        {
            // The executors inherit from the driver where the traces go.
            foreach (var (name, value) in telemetry)
            {
                Environment.SetEnvironmentVariable(name, value);
            }
            try
            {
                await RunJobAsync(cluster);
            }
            finally
            {
                foreach (var (name, _) in telemetry)
                {
                    Environment.SetEnvironmentVariable(name, null);
                }
            }
        }

        var spans = receiver.Spans.ToArray();
        var ids = spans.Select(span => span.SpanId).ToHashSet();
        var job = Assert.Single(spans, span => span.Name.StartsWith("job", StringComparison.Ordinal));
        var trace = spans.Where(span => span.TraceId == job.TraceId).ToArray();

        // Nobody's parent is missing: no span was lost on the way.
        Assert.All(trace.Where(span => span.ParentSpanId.Length > 0), span => Assert.Contains(span.ParentSpanId, ids));
        Assert.True(trace.Select(span => span.Process).Distinct().Count() >= 3, "processes: " + string.Join(", ", trace.Select(span => span.Process).Distinct()));
        var stages = trace.Where(span => span.Name.StartsWith("stage", StringComparison.Ordinal)).ToArray();
        Assert.Equal(2, stages.Length);
        Assert.All(stages, stage => Assert.Equal(job.SpanId, stage.ParentSpanId));
        var tasks = trace.Where(span => span.Name.StartsWith("task", StringComparison.Ordinal)).ToArray();
        Assert.NotEmpty(tasks);
        Assert.All(tasks, task => Assert.Contains(task.ParentSpanId, stages.Select(stage => stage.SpanId)));
        Assert.Contains(trace, span => span.Name.StartsWith("shuffle.write", StringComparison.Ordinal));
        Assert.Contains(trace, span => span.Name.StartsWith("shuffle.fetch", StringComparison.Ordinal));

        // The containers stand under the application, which the job links to.
        Assert.Contains(spans, span => span.Name.StartsWith("container", StringComparison.Ordinal));
        var application = Assert.Single(spans, span => span.Name.StartsWith("application", StringComparison.Ordinal));
        Assert.Contains(application.SpanId, job.LinkedSpanIds);
        Assert.All(spans.Where(span => span.Name.StartsWith("container", StringComparison.Ordinal)), span => Assert.Equal(application.TraceId, span.TraceId));
    }

    private static async Task RunJobAsync(TestCluster cluster)
    {
        var marks = Directory.CreateTempSubdirectory("yarnish-trace-");
        var path = marks.FullName;
        try
        {
            await using var session = await YarnishSession.CreateBuilder()
                .WithName("traced").WithAddress(cluster.Address).WithExecutors(2).WithProgress(ProgressStyle.None).ConnectAsync();

            var counts = await session.Range(0, 1_000, 8)
                .MapPartitions((partition, rows) => WaitForTwo(path, partition, rows))
                .CountBy(static row => row % 10, partitions: 2)
                .CollectAsync();

            Assert.Equal(10, counts.Length);
        }
        finally
        {
            marks.Delete(recursive: true);
        }
    }

    // Both executors have a part in the job: the first to come waits for the other.
    private static IEnumerable<int> WaitForTwo(string marks, int partition, IEnumerable<int> rows)
    {
        File.WriteAllText(Path.Combine(marks, $"{Environment.ProcessId}-{partition}"), "");
        for (var patience = 0; patience < 3_000 && Directory.EnumerateFiles(marks).Select(file => Path.GetFileName(file).Split('-')[0]).Distinct().Count() < 2; patience++)
        {
            Thread.Sleep(10);
        }
        return rows;
    }
}
