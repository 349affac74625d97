using System.Runtime.InteropServices;
using Yarnish.Hosting;
using Yarnish.NodeAgent.Node;
using Yarnish.Protocol;
using Yarnish.Transport;

try
{
    var configuration = YarnishConfiguration.Build(args);
    if (args.FirstOrDefault(argument => !argument.StartsWith("--Yarnish:", StringComparison.OrdinalIgnoreCase) && !argument.StartsWith("--Logging:", StringComparison.OrdinalIgnoreCase)) is { } unknown)
    {
        throw new AgentStartException(AgentExitCode.Usage, $"'{unknown}' is not an option of the node agent. Settings are given as --Yarnish:NodeId=worker1, or as Yarnish__NodeId=worker1 in the environment.");
    }
    configuration.RequireKnownSettings(typeof(NodeAgentOptions), typeof(NeighboursSettings));
    var options = configuration.Bind<NodeAgentOptions>().WithDefaults();
    using var loggers = YarnishLogging.CreateFactory(configuration);
    return await AgentProgram.RunAsync(options, loggers);
}
catch (ConfigurationException error)
{
    await Console.Error.WriteLineAsync($"yarnish node agent: {error.Message}");
    return AgentExitCode.Usage;
}
catch (AgentStartException error)
{
    await Console.Error.WriteLineAsync($"yarnish node agent: {error.Message}");
    return error.ExitCode;
}

/// <summary>Settings of the resource manager that stand in the environment when one machine runs both; an agent learns these from the resource manager instead.</summary>
internal sealed class NeighboursSettings
{
    public string RabbitMq { get; set; } = "";

    public string Redis { get; set; } = "";

    public string ClusterName { get; set; } = "";

    public string QueueFile { get; set; } = "";
}

/// <summary>Runs one agent until a signal or the cluster ends it.</summary>
internal static class AgentProgram
{
    public static async Task<int> RunAsync(NodeAgentOptions options, ILoggerFactory loggers)
    {
        await using var agent = await NodeAgentServer.StartAsync(options, connection =>
            new RabbitMqControlBus(connection.RabbitMq, connection.ClusterName, options.Secret, ControlAddress.Node(new NodeId(options.NodeId)), loggers), loggers);
        var signalled = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Told);
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Told);
        if (await Task.WhenAny(signalled.Task, agent.Ended) == signalled.Task)
        {
            await agent.StopAsync();
        }
        var code = await agent.Ended;
        if (agent.EndReason.Length > 0)
        {
            await Console.Error.WriteLineAsync($"yarnish node agent: {agent.EndReason}");
        }
        return code;

        void Told(PosixSignalContext context)
        {
            // Ours to end, with all that is to be done first.
            context.Cancel = true;
            signalled.TrySetResult();
        }
    }
}
