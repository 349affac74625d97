using System.Diagnostics;
using System.Runtime.InteropServices;
using Microsoft.Extensions.Logging;
using Yarnish.Blocks;
using Yarnish.Hosting;
using Yarnish.Serialization;
using Yarnish.Transport;

namespace Yarnish.Executor;

/// <summary>
/// The executor process. Everything it needs comes by environment (<see cref="ExecutorEnvironment"/>). It does the least it can before its hello: no host, no
/// web server, no configuration files; connections and telemetry start side by side.
/// </summary>
internal static class Program
{
    /// <summary>Exit codes: 0 told to end, 1 failed, 2 its environment is wrong, 10 it lost driver or broker.</summary>
    public static async Task<int> Main()
    {
        var logger = LineLogger.ToConsole();
        ExecutorOptions options;
        RabbitMqExecutorLink link;
        RedisBlockRegistry registry;
        try
        {
            options = ExecutorEnvironment.ReadOptions(Environment.GetEnvironmentVariable);
            registry = RedisBlockRegistry.Connect(ExecutorEnvironment.Required(Environment.GetEnvironmentVariable, ExecutorEnvironment.Redis), options.ApplicationId);
            link = new RabbitMqExecutorLink(
                ExecutorEnvironment.Required(Environment.GetEnvironmentVariable, ExecutorEnvironment.RabbitMq), options.ApplicationId, options.ExecutorId, logger);
        }
        catch (Exception error) when (error is FormatException or BlockRegistryException or BrokerUnreachableException or ArgumentException)
        {
            logger.LogCritical("The executor cannot start: {Problem}", error.Message);
            return 2;
        }

        using var told = new CancellationTokenSource();
        using var terminated = PosixSignalRegistration.Create(PosixSignal.SIGTERM, context =>
        {
            context.Cancel = true;
            told.Cancel();
        });
        YarnishTelemetry? telemetry = null;
        var listening = Task.Run(() => telemetry = StartTelemetry(options, logger));
        var executor = new TaskExecutor(options, link, registry, ClosureSerializer.Deserialize<StageProgram>, logger: logger) { StartSlotsAfter = listening };
        try
        {
            var running = executor.RunAsync(told.Token);
            if (await Task.WhenAny(executor.Connected, running).ConfigureAwait(false) != running)
            {
                await listening.ConfigureAwait(false);
                RecordStart(options, logger);
            }
            return (await running.ConfigureAwait(false)).ExitCode;
        }
        finally
        {
            // Not waited for: tasks that ignore their cancellation, connections that do not close. The process ends here.
            telemetry?.Dispose();
        }
    }

    private static YarnishTelemetry? StartTelemetry(ExecutorOptions options, LineLogger logger)
    {
        try
        {
            return YarnishTelemetry.Start("yarnish-executor", options.ExecutorId.Value);
        }
        catch (ConfigurationException error)
        {
            logger.LogError("Not traced: {Problem}", error.Message);
            return null;
        }
    }

    // From the start of the process to the hello, below the span that asked for the container.
    private static void RecordStart(ExecutorOptions options, LineLogger logger)
    {
        using var process = Process.GetCurrentProcess();
        var elapsed = TimeProvider.System.GetUtcNow() - process.StartTime.ToUniversalTime();
        logger.LogInformation(
            "Executor {Executor} of {Application} on {Node}: {Slots} slots, said hello {Elapsed:0} ms after its start", options.ExecutorId, options.ApplicationId, options.NodeId, options.Slots, elapsed.TotalMilliseconds);
        if (TraceContext.TryParse(Environment.GetEnvironmentVariable("TRACEPARENT"), out var parent))
        {
            using var span = TaskSpan.Source.StartActivity("executor.start", ActivityKind.Internal, parent, startTime: process.StartTime.ToUniversalTime());
            span?.SetTag("yarnish.executor.id", options.ExecutorId.Value);
            span?.SetTag("yarnish.node.id", options.NodeId.Value);
        }
    }
}
