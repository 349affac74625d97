using System.Globalization;
using Yarnish.Protocol;

namespace Yarnish.Executor;

/// <summary>The environment variables that the driver sets for an executor process, beside <see cref="ContainerEnvironment"/>, which the agent sets.</summary>
public static class ExecutorEnvironment
{
    /// <summary>AMQP URI of the broker.</summary>
    public const string RabbitMq = "YARNISH_RABBITMQ";

    /// <summary>StackExchange.Redis configuration of the block registry.</summary>
    public const string Redis = "YARNISH_REDIS";

    /// <summary>The application's token for block servers; may be empty.</summary>
    public const string ApplicationToken = "YARNISH_APPLICATION_TOKEN";

    /// <summary>How many tasks run at once; default: the container's cores, rounded up.</summary>
    public const string Slots = "YARNISH_SLOTS";

    /// <summary>Reads the options of this process.</summary>
    /// <param name="variable">Value of a variable; null or empty when it is not set.</param>
    /// <exception cref="FormatException">A variable is missing or cannot be read; the message names it.</exception>
    internal static ExecutorOptions ReadOptions(Func<string, string?> variable)
    {
        var memory = Number(variable, ContainerEnvironment.MemoryBytes);
        var cores = Number(variable, ContainerEnvironment.MilliCores);
        var options = new ExecutorOptions
        {
            ApplicationId = ApplicationId.Create(Required(variable, ContainerEnvironment.ApplicationId)),
            ExecutorId = ExecutorId.Create(Required(variable, ContainerEnvironment.ContainerId)),
            NodeId = NodeId.Create(Required(variable, ContainerEnvironment.NodeId)),
            NodeUrl = Required(variable, ContainerEnvironment.NodeUrl),
            BlockDirectory = Required(variable, ContainerEnvironment.BlockDirectory),
            ApplicationToken = variable(ApplicationToken) ?? "",
            PostMortem = variable(ContainerEnvironment.PostMortem) ?? "",
        };
        return options with
        {
            Slots = (int)Math.Clamp(Number(variable, Slots) ?? (cores is { } given ? (given + 999) / 1000 : options.Slots), 1, 1024),
            MemoryBytes = memory ?? options.MemoryBytes,
        };
    }

    /// <summary>A variable that must be set.</summary>
    internal static string Required(Func<string, string?> variable, string name) =>
        variable(name) is { Length: > 0 } value
            ? value
            : throw new FormatException($"The environment variable {name} is not set. An executor is started by a node agent on behalf of a driver, not by hand.");

    private static long? Number(Func<string, string?> variable, string name) => variable(name) switch
    {
        null or "" => null,
        var text when long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var value) && value > 0 => value,
        var text => throw new FormatException($"The environment variable {name} is '{text}': expected a positive number."),
    };
}
