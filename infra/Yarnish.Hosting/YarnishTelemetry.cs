using System.Diagnostics;
using System.Diagnostics.Metrics;
using OpenTelemetry;
using OpenTelemetry.Exporter;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace Yarnish.Hosting;

/// <summary>
/// Traces of one program, sent by OTLP. Set up by the standard variables (<c>OTEL_EXPORTER_OTLP_ENDPOINT</c>, <c>OTEL_EXPORTER_OTLP_PROTOCOL</c> = <c>grpc</c> or
/// <c>http/protobuf</c>, <c>OTEL_EXPORTER_OTLP_HEADERS</c>, <c>OTEL_SERVICE_NAME</c>, <c>OTEL_RESOURCE_ATTRIBUTES</c>, <c>OTEL_TRACES_SAMPLER</c>,
/// <c>OTEL_SDK_DISABLED</c>). Without an endpoint nothing listens and a span costs nothing.
/// </summary>
public sealed class YarnishTelemetry : IDisposable
{
    /// <summary>Source and meter name of the driver.</summary>
    public const string Driver = "Yarnish.Driver";

    /// <summary>Source and meter name of executors.</summary>
    public const string Executor = "Yarnish.Executor";

    /// <summary>Source and meter name of the resource manager.</summary>
    public const string ResourceManager = "Yarnish.ResourceManager";

    /// <summary>Source and meter name of node agents.</summary>
    public const string NodeAgent = "Yarnish.NodeAgent";

    /// <summary>Every source that is exported. RabbitMQ.Client's own stay off: one span per message would cost a third of the task rate.</summary>
    public static IReadOnlyList<string> Sources { get; } = [Driver, Executor, ResourceManager, NodeAgent];

    // A burst of task spans is larger than the exporter's default queue of 2,048, which drops silently when full.
    private const int QueueSize = 65_536;
    private const int BatchSize = 4_096;
    private const int DelayMilliseconds = 1_000;
    private const int ExportTimeoutMilliseconds = 10_000;

    private readonly TracerProvider? provider;
    private readonly CountingBatchProcessor? processor;
    private readonly Meter? meter;

    private YarnishTelemetry(TracerProvider? provider, CountingBatchProcessor? processor)
    {
        this.provider = provider;
        this.processor = processor;
        if (processor is not null)
        {
            meter = new Meter("Yarnish.Telemetry");
            meter.CreateObservableCounter("yarnish.spans.dropped", () => processor.Dropped, "{span}", "Spans that found the export queue full.");
        }
    }

    /// <summary>Whether spans are exported.</summary>
    public bool Enabled => provider is not null;

    /// <summary>Spans lost because the export queue was full. 0 is the only good value.</summary>
    public long SpansDropped => processor?.Dropped ?? 0;

    /// <summary>Starts exporting when an endpoint is known.</summary>
    /// <param name="service">Name of the service in traces, such as <c>yarnish-driver</c>; <c>OTEL_SERVICE_NAME</c> goes before it.</param>
    /// <param name="instance">Id of this process among its kind: application, node, executor.</param>
    /// <param name="endpoint">OTLP endpoint when no variable names one; null or empty for none. The protocol is then <c>OTEL_EXPORTER_OTLP_PROTOCOL</c>, else grpc on port 4317 and http/protobuf otherwise.</param>
    /// <exception cref="ConfigurationException">The endpoint or the protocol is not valid.</exception>
    public static YarnishTelemetry Start(string service, string instance, string? endpoint = null)
    {
        var named = Variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") ?? Variable("OTEL_EXPORTER_OTLP_ENDPOINT");
        var disabled = string.Equals(Variable("OTEL_SDK_DISABLED"), "true", StringComparison.OrdinalIgnoreCase)
            || string.Equals(Variable("OTEL_TRACES_EXPORTER"), "none", StringComparison.OrdinalIgnoreCase);
        if (disabled || (named is null && string.IsNullOrEmpty(endpoint)))
        {
            return new YarnishTelemetry(null, null);
        }
        var protocolName = Variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") ?? Variable("OTEL_EXPORTER_OTLP_PROTOCOL");
        if (protocolName is not (null or "grpc" or "http/protobuf"))
        {
            throw new ConfigurationException($"OTEL_EXPORTER_OTLP_PROTOCOL is '{protocolName}': use grpc or http/protobuf.");
        }
        if (!Uri.TryCreate(named ?? endpoint, UriKind.Absolute, out var uri) || uri.Scheme is not ("http" or "https"))
        {
            throw new ConfigurationException($"The OTLP endpoint '{named ?? endpoint}' is not an http or https URI, such as http://127.0.0.1:4317.");
        }
        var options = new OtlpExporterOptions();   // reads the standard variables by itself
        options.Protocol = protocolName switch
        {
            "grpc" => OtlpExportProtocol.Grpc,
            "http/protobuf" => OtlpExportProtocol.HttpProtobuf,
            _ => uri.Port == 4317 ? OtlpExportProtocol.Grpc : OtlpExportProtocol.HttpProtobuf,
        };
        if (Variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") is not null)
        {
            options.Endpoint = uri;   // by the specification taken as it is, and not read by the options themselves
        }
        else if (named is null)
        {
            // An endpoint given in code is taken as it is, so the path that the variable's form implies is added here.
            options.Endpoint = options.Protocol == OtlpExportProtocol.Grpc || uri.AbsolutePath.Contains("/v1/", StringComparison.Ordinal)
                ? uri
                : new Uri(uri.AbsoluteUri.TrimEnd('/') + "/v1/traces");
        }
        options.TimeoutMilliseconds = ExportTimeoutMilliseconds;
        var processor = new CountingBatchProcessor(new CountingExporter(options));
        var provider = Sdk.CreateTracerProviderBuilder()
            .ConfigureResource(resource => resource
                .AddService(service, serviceNamespace: "yarnish", serviceInstanceId: instance)
                .AddAttributes([new("process.pid", (long)Environment.ProcessId), new("host.name", Environment.MachineName)])
                .AddEnvironmentVariableDetector())
            .AddSource([.. Sources])
            .AddProcessor(processor)
            .Build();
        return new YarnishTelemetry(provider, processor);
    }

    /// <summary>Sends what is queued, for at most <paramref name="timeout"/>. False when time ran out.</summary>
    /// <param name="timeout">Default 5 s.</param>
    public bool Flush(TimeSpan? timeout = null) => provider?.ForceFlush((int)(timeout ?? TimeSpan.FromSeconds(5)).TotalMilliseconds) ?? true;

    /// <summary>Sends what is queued, then stops.</summary>
    public void Dispose()
    {
        Flush();
        provider?.Dispose();
        meter?.Dispose();
    }

    private static string? Variable(string name) => Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null;

    /// <summary>The SDK's batch processor does not say what it drops; this one counts what is queued and drops, visibly, just before the queue would.</summary>
    private sealed class CountingBatchProcessor(CountingExporter counting)
        : BatchActivityExportProcessor(counting, QueueSize, DelayMilliseconds, ExportTimeoutMilliseconds, BatchSize)
    {
        private long offered;
        private long dropped;

        public long Dropped => Volatile.Read(ref dropped);

        public override void OnEnd(Activity data)
        {
            if (!data.Recorded)
            {
                return;
            }
            if (Interlocked.Increment(ref offered) - counting.Taken > QueueSize)
            {
                Interlocked.Decrement(ref offered);
                Interlocked.Increment(ref dropped);
                return;
            }
            base.OnEnd(data);
        }
    }

    private sealed class CountingExporter(OtlpExporterOptions options) : OtlpTraceExporter(options)
    {
        private long taken;

        public long Taken => Volatile.Read(ref taken);

        public override ExportResult Export(in Batch<Activity> activityBatch)
        {
            Interlocked.Add(ref taken, activityBatch.Count);
            return base.Export(activityBatch);
        }
    }
}
