using System.Reflection;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.OpenApi;
using OpenTelemetry.Metrics;
using Yarnish.Hosting;
using Yarnish.Protocol;
using Yarnish.ResourceManager.Blobs;
using Yarnish.ResourceManager.Cluster;
using Yarnish.ResourceManager.Journal;
using Yarnish.ResourceManager.Rest;
using Yarnish.ResourceManager.Telemetry;
using Yarnish.Scheduling;
using Yarnish.Transport;

namespace Yarnish.ResourceManager;

/// <summary>Puts the resource manager together: settings → HTTP server, blob store and <see cref="ClusterService"/>. Tests give it their own bus, journal and clock.</summary>
internal static class ResourceManagerHost
{
    // JSON bodies are small; blobs raise it for themselves.
    private const long MaximumBodyBytes = 1 << 20;

    /// <summary>Reads and checks the settings.</summary>
    /// <exception cref="ConfigurationException">Something is wrong; the message lists all of it.</exception>
    public static ResourceManagerOptions ReadOptions(IConfiguration configuration)
    {
        configuration.RequireKnownSettings(typeof(ResourceManagerOptions), typeof(OtherProgramsOptions));
        var options = configuration.Bind<ResourceManagerOptions>();
        var problems = options.Problems().ToList();
        return problems.Count == 0 ? options : throw new ConfigurationException(string.Join(Environment.NewLine, problems));
    }

    /// <summary>Builds the program.</summary>
    /// <param name="configuration">For logging.</param>
    /// <param name="options">Checked settings.</param>
    /// <param name="parts">What to put in place of the real things; null for none.</param>
    public static WebApplication Build(IConfiguration configuration, ResourceManagerOptions options, HostParts? parts = null)
    {
        var clock = parts?.Clock ?? TimeProvider.System;
        var version = typeof(ResourceManagerHost).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "";
        var settings = (parts?.Settings ?? new ClusterSettings()) with { ClusterName = options.ClusterName, Version = version };
        var otlpEndpoint = Environment.GetEnvironmentVariable("OTEL_EXPORTER_OTLP_ENDPOINT") ?? "";

        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions { ApplicationName = "Yarnish.ResourceManager" });
        builder.Logging.AddYarnishConsole(configuration);
        builder.WebHost.UseKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = MaximumBodyBytes;
        }).UseUrls([.. options.Urls.Split(';', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)]);
        var services = builder.Services;
        services.AddRouting();
        services.Configure<RouteHandlerOptions>(routing => routing.ThrowOnBadRequest = true);
        services.ConfigureHttpJsonOptions(json => ProtocolJson.Apply(json.SerializerOptions));
        services.AddOpenApi("v1", DescribeApi);
        services.AddMetrics();
        services.AddOpenTelemetry().WithMetrics(metrics => metrics
            .AddMeter(YarnishTelemetry.ResourceManager, "Microsoft.AspNetCore.Server.Kestrel", "System.Runtime")
            .AddPrometheusExporter());
        services.Configure<HostOptions>(host => host.ShutdownTimeout = TimeSpan.FromSeconds(10));
        var queues = options.QueueFile.Length > 0 ? QueuesInForce.FromFile(options.QueueFile) : null;
        services.AddSingleton(options);
        services.AddSingleton(clock);
        services.AddSingleton(settings);
        services.AddSingleton<ClusterStatus>();
        services.AddSingleton(_ => new BlobStore(Path.Combine(options.DataDirectory, "blobs"), new BlobLimits(options.BlobQuotaBytes, options.MaximumBlobBytes, options.ConcurrentUploads, options.BlobGrace), clock));
        services.AddSingleton<ClusterInstruments>();
        services.AddSingleton(provider => new ClusterService(
            options,
            settings,
            provider.GetRequiredService<ClusterStatus>(),
            provider.GetRequiredService<BlobStore>(),
            provider.GetRequiredService<ClusterInstruments>(),
            parts?.Journal ?? (() => new RedisJournal(options.Redis, options.ClusterName, new EpochFile(options.DataDirectory), clock, Logger(provider, "Journal"))),
            parts?.Bus ?? (() => new RabbitMqControlBus(options.RabbitMq, options.ClusterName, options.Secret, ControlAddress.ResourceManager, provider.GetRequiredService<ILoggerFactory>())),
            provider.GetRequiredService<IServer>(),
            provider.GetRequiredService<IHostApplicationLifetime>(),
            clock,
            provider.GetRequiredService<ILogger<ClusterService>>(),
            queues));
        services.AddHostedService(provider => provider.GetRequiredService<ClusterService>());
        if (queues is not null)
        {
            services.AddHostedService(provider => new QueueFileWatch(
                options.QueueFile, queues.Text, provider.GetRequiredService<ClusterStatus>(), clock, provider.GetRequiredService<ILogger<QueueFileWatch>>()));
        }

        var app = builder.Build();
        var status = app.Services.GetRequiredService<ClusterStatus>();
        app.UseRestErrors();
        app.UseRestAuthorization(options.Secret);
        app.UseRouting();
        app.MapHealth(status);
        app.MapPrometheusScrapingEndpoint("/metrics");
        app.MapOpenApi("/openapi/{documentName}.json");
        var api = app.MapGroup("/api/v1");
        api.MapCluster(status, options, otlpEndpoint);
        api.MapQueues(status, options);
        api.MapBlobs(app.Services.GetRequiredService<BlobStore>(), options.MaximumBlobBytes);
        return app;
    }

    private static ILogger Logger(IServiceProvider provider, string name) => provider.GetRequiredService<ILoggerFactory>().CreateLogger("Yarnish.ResourceManager." + name);

    private static void DescribeApi(Microsoft.AspNetCore.OpenApi.OpenApiOptions api)
    {
        api.AddDocumentTransformer((document, _, _) =>
        {
            document.Info.Title = "Yarnish resource manager";
            document.Info.Description = "The cluster, its nodes and applications, and the blobs they run. Every answer that is not a success has the body ErrorInfo.";
            return Task.CompletedTask;
        });
        api.AddSchemaTransformer((schema, context, _) =>
        {
            // Ids are strings on the wire; their converters hide that from the schema.
            if (context.JsonTypeInfo.Type.GetInterfaces().Any(type => type.IsGenericType && type.GetGenericTypeDefinition() == typeof(IStringId<>)))
            {
                schema.Type = JsonSchemaType.String;
                schema.MaxLength = IdSyntax.MaximumLength;
            }
            return Task.CompletedTask;
        });
    }

    /// <summary>Replacements for tests.</summary>
    internal sealed record HostParts(Func<IClusterJournal>? Journal = null, Func<IControlBus>? Bus = null, TimeProvider? Clock = null, ClusterSettings? Settings = null);

    /// <summary>Settings of agents and drivers, which may stand in the same environment: known, and not ours.</summary>
    private sealed class OtherProgramsOptions
    {
        public object? Address { get; set; }
        public object? Attributes { get; set; }
        public object? BrokerTimeout { get; set; }
        public object? CacheBytes { get; set; }
        public object? Cgroup { get; set; }
        public object? ConnectTimeout { get; set; }
        public object? CustomResources { get; set; }
        public object? DiskFullPercent { get; set; }
        public object? EnforceMemory { get; set; }
        public object? EventLog { get; set; }
        public object? Exclusion { get; set; }
        public object? ExclusionFailures { get; set; }
        public object? ExclusionTime { get; set; }
        public object? ExecutorBacklog { get; set; }
        public object? ExecutorCachedIdle { get; set; }
        public object? ExecutorCores { get; set; }
        public object? ExecutorEnvironment { get; set; }
        public object? ExecutorIdle { get; set; }
        public object? ExecutorMemory { get; set; }
        public object? Executors { get; set; }
        public object? ExecutorTimeout { get; set; }
        public object? Isolated { get; set; }
        public object? LocalityWait { get; set; }
        public object? LogFileBytes { get; set; }
        public object? LogFiles { get; set; }
        public object? LogRetentionHours { get; set; }
        public object? LogTotalBytes { get; set; }
        public object? MaximumLaunchFailures { get; set; }
        public object? MaximumResultBytes { get; set; }
        public object? MaximumStageAttempts { get; set; }
        public object? MaximumTaskFailures { get; set; }
        public object? MemoryBytes { get; set; }
        public object? MilliCores { get; set; }
        public object? Name { get; set; }
        public object? NodeId { get; set; }
        public object? NowhereToRunTimeout { get; set; }
        public object? ParallelFetches { get; set; }
        public object? Parallelism { get; set; }
        public object? Partition { get; set; }
        public object? PassEnvironment { get; set; }
        public object? Pools { get; set; }
        public object? Progress { get; set; }
        public object? Queue { get; set; }
        public object? Rack { get; set; }
        public object? ReservedMemoryBytes { get; set; }
        public object? Speculation { get; set; }
        public object? SpeculationMinimum { get; set; }
        public object? SpeculationMultiplier { get; set; }
        public object? SpeculationQuantile { get; set; }
        public object? StatusUrl { get; set; }
        public object? StopContainersOnExit { get; set; }
        public object? StopGraceSeconds { get; set; }
    }
}
