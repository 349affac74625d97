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
            // The driver is a process of its own, as it is for users: its executors inherit where the traces go.
            var (exitCode, error) = await WordCountAsync(cluster, telemetry);
            Assert.True(exitCode == 0, error + cluster.Logs());
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

    private static async Task<(int ExitCode, string Error)> WordCountAsync(TestCluster cluster, (string Name, string Value)[] telemetry)
    {
        var program = Path.Combine(Repository.Root, "artifacts", "bin", "WordCount", new DirectoryInfo(AppContext.BaseDirectory).Name, "WordCount.dll");
        var start = new System.Diagnostics.ProcessStartInfo("dotnet", [program, Path.Combine(Repository.Root, "*.md")]) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["Yarnish__Address"] = cluster.Address;
        start.Environment["Yarnish__Executors"] = "2";
        foreach (var (name, value) in telemetry)
        {
            start.Environment[name] = value;
        }
        using var process = System.Diagnostics.Process.Start(start)!;
        var error = process.StandardError.ReadToEndAsync();
        await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync().WaitAsync(TimeSpan.FromMinutes(2));
        return (process.ExitCode, await error);
    }
}
