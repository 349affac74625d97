using System.Diagnostics;
using Yarnish.Hosting;
using Yarnish.Integration.Tests.Fixtures;
using Xunit;

namespace Yarnish.Integration.Tests.Hosting;

/// <summary>What a program exports is what a collector receives.</summary>
[Trait("Category", "Services")]
public sealed class TelemetryTests : IDisposable
{
    private static readonly string[] Variables =
    [
        "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_SERVICE_NAME",
    ];

    private readonly Dictionary<string, string?> before = Variables.ToDictionary(name => name, Environment.GetEnvironmentVariable);

    public TelemetryTests() => Array.ForEach(Variables, name => Environment.SetEnvironmentVariable(name, null));

    public void Dispose() => Array.ForEach(Variables, name => Environment.SetEnvironmentVariable(name, before[name]));

    [Fact]
    public async Task A_burst_of_spans_is_received_whole_with_its_service_when_the_program_ends()
    {
        const int spans = 20_000;
        await using var collector = new OtlpReceiver();
        using var source = new ActivitySource(YarnishTelemetry.Driver);
        using (var telemetry = YarnishTelemetry.Start("yarnish-test", "instance-1", collector.Endpoint))
        {
            Assert.True(telemetry.Enabled);
            using var parent = source.StartActivity("job");
            for (var i = 0; i < spans - 1; i++)
            {
                source.StartActivity("task")!.Dispose();
            }
            parent!.Dispose();
            telemetry.Dispose();
            Assert.Equal(0, telemetry.SpansDropped);
        }

        Assert.Equal(spans, collector.Spans.Count);
        var job = Assert.Single(collector.Spans, span => span.Name == "job");
        Assert.All(collector.Spans.Where(span => span.Name == "task"), span => Assert.Equal((job.TraceId, job.SpanId), (span.TraceId, span.ParentSpanId)));
        Assert.Equal("yarnish-test", job.Resource["service.name"]);
        Assert.Equal("instance-1", job.Resource["service.instance.id"]);
    }

    [Fact]
    public async Task The_standard_variables_set_it_up_and_go_before_the_code()
    {
        await using var collector = new OtlpReceiver();
        Environment.SetEnvironmentVariable("OTEL_EXPORTER_OTLP_ENDPOINT", collector.Endpoint);
        Environment.SetEnvironmentVariable("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        Environment.SetEnvironmentVariable("OTEL_SERVICE_NAME", "named-by-variable");
        using var source = new ActivitySource(YarnishTelemetry.Executor);
        using (YarnishTelemetry.Start("yarnish-test", "1", "http://127.0.0.1:9"))
        {
            source.StartActivity("task")!.Dispose();
        }

        Assert.Equal("named-by-variable", Assert.Single(collector.Spans).Resource["service.name"]);
    }

    [Fact]
    public void Without_an_endpoint_nothing_listens()
    {
        using var source = new ActivitySource(YarnishTelemetry.NodeAgent);
        using var telemetry = YarnishTelemetry.Start("yarnish-test", "1");

        Assert.False(telemetry.Enabled);
        Assert.Null(source.StartActivity("x"));
        Assert.True(telemetry.Flush());
    }

    [Theory]
    [InlineData("not a uri", null, "The OTLP endpoint 'not a uri' is not an http or https URI")]
    [InlineData("http://127.0.0.1:4318", "carrier-pigeon", "OTEL_EXPORTER_OTLP_PROTOCOL is 'carrier-pigeon': use grpc or http/protobuf.")]
    public void What_cannot_work_is_refused_at_start(string endpoint, string? protocol, string expected)
    {
        Environment.SetEnvironmentVariable("OTEL_EXPORTER_OTLP_PROTOCOL", protocol);

        Assert.StartsWith(expected, Assert.Throws<ConfigurationException>(() => YarnishTelemetry.Start("s", "1", endpoint)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_collector_that_is_away_holds_nobody_up_for_long()
    {
        using var source = new ActivitySource(YarnishTelemetry.Driver);
        var telemetry = YarnishTelemetry.Start("yarnish-test", "1", "http://127.0.0.1:9");
        source.StartActivity("x")!.Dispose();

        var begin = Stopwatch.GetTimestamp();
        telemetry.Dispose();

        Assert.InRange(Stopwatch.GetElapsedTime(begin).TotalSeconds, 0, 25);
    }
}
