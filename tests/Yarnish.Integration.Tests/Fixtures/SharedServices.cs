namespace Yarnish.Integration.Tests.Fixtures;

/// <summary>
/// RabbitMQ and Redis that all tests share: those that <c>infra/services.sh up</c> (or <c>test.sh</c>) left in <c>.run/services.env</c> or the environment.
/// Never restart or flush these; a test that must takes <see cref="PrivateServices"/>.
/// </summary>
internal static class SharedServices
{
    /// <summary>AMQP URI.</summary>
    public static string RabbitMq => Setting("Yarnish__RabbitMq");

    /// <summary>StackExchange.Redis configuration.</summary>
    public static string Redis => Setting("Yarnish__Redis");

    private static string Setting(string name)
    {
        if (Environment.GetEnvironmentVariable(name) is { Length: > 0 } value)
        {
            return value;
        }
        var file = Path.Combine(Environment.GetEnvironmentVariable("YARNISH_RUN_DIRECTORY") ?? Path.Combine(Repository.Root, ".run"), "services.env");
        return (File.Exists(file) ? ServicesFile.Read(file).GetValueOrDefault(name) : null)
            ?? throw new InvalidOperationException($"This test needs RabbitMQ and Redis, and {name} is not set: run infra/services.sh up first, or ./test.sh, which does.");
    }
}

/// <summary>The settings file that <c>infra/services.sh</c> writes: lines of <c>name=value</c>.</summary>
internal static class ServicesFile
{
    public static Dictionary<string, string> Read(string file) =>
        File.ReadLines(file)
            .Select(line => line.Split('=', 2))
            .Where(parts => parts.Length == 2)
            .ToDictionary(parts => parts[0], parts => parts[1]);
}
