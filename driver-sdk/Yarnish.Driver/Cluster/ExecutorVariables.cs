using System.Collections;
using System.Collections.Immutable;
using System.Globalization;
using Yarnish.Executor;
using Yarnish.Protocol;

namespace Yarnish.Cluster;

/// <summary>The environment variables with which the driver starts its executors, besides <see cref="ContainerEnvironment"/> of the agent.</summary>
internal static class ExecutorVariables
{
    /// <summary>
    /// What a short-lived process of many small tasks wants of the runtime: threads that do not spin for work (on few cores spinning costs half the broker's rate, see
    /// research/transport.md 1.9), a small quick heap, code that runs before it is optimized. Values are hexadecimal.
    /// </summary>
    private static readonly (string Name, string Value)[] RuntimeKnobs =
    [
        ("DOTNET_ThreadPool_UnfairSemaphoreSpinLimit", "0"),
        ("DOTNET_gcServer", "0"),
        ("DOTNET_gcConcurrent", "0"),
        ("DOTNET_TieredCompilation", "1"),
        ("DOTNET_TC_QuickJitForLoops", "1"),
        ("DOTNET_ReadyToRun", "1"),
        ("DOTNET_NOLOGO", "1"),
    ];

    /// <summary>The variables for one application.</summary>
    /// <param name="connection">Where broker and registry are.</param>
    /// <param name="application">The application.</param>
    /// <param name="options">Secret, slots and the user's own variables, which win.</param>
    /// <param name="traceParent">Context of the application's span; empty when not traced.</param>
    /// <param name="own">The driver's environment: its OTEL_ variables go along.</param>
    public static ImmutableSortedDictionary<string, string> Of(
        ClusterConnection connection, ApplicationId application, YarnishOptions options, string traceParent, IDictionary own)
    {
        var variables = ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal);
        foreach (var (name, value) in RuntimeKnobs)
        {
            variables[name] = value;
        }
        if (connection.OtlpEndpoint.Length > 0)
        {
            variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = connection.OtlpEndpoint;
        }
        foreach (var name in own.Keys.OfType<string>().Where(static name => name.StartsWith("OTEL_", StringComparison.Ordinal) && name is not "OTEL_SERVICE_NAME"))
        {
            variables[name] = own[name] as string ?? "";
        }
        variables[ExecutorEnvironment.RabbitMq] = connection.RabbitMq;
        variables[ExecutorEnvironment.Redis] = connection.Redis;
        variables[ExecutorEnvironment.ApplicationToken] = ClusterSecret.ApplicationToken(options.Secret, application);
        variables[ExecutorEnvironment.Slots] = Math.Max(1, options.ExecutorCores).ToString(CultureInfo.InvariantCulture);
        if (traceParent.Length > 0)
        {
            variables["TRACEPARENT"] = traceParent;
        }
        foreach (var (name, value) in options.ExecutorEnvironment)
        {
            variables[name] = value;
        }
        return variables.ToImmutable();
    }
}
