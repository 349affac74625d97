using System.Diagnostics;
using Xunit;

namespace Yarnish.Integration.Tests.Fixtures;

/// <summary>
/// RabbitMQ and Redis of one test class, to be killed, restarted and flushed at will: <c>IClassFixture&lt;PrivateServices&gt;</c>. Takes some seconds to start.
/// </summary>
public sealed class PrivateServices : IAsyncLifetime
{
    private readonly string directory = Path.Combine(Path.GetTempPath(), "yarnish-services-" + Guid.NewGuid().ToString("n")[..8]);
    private Dictionary<string, string> settings = [];

    /// <summary>AMQP URI; stays the same over restarts.</summary>
    public string RabbitMq => settings["Yarnish__RabbitMq"];

    /// <summary>StackExchange.Redis configuration; stays the same over restarts.</summary>
    public string Redis => settings["Yarnish__Redis"];

    public async ValueTask InitializeAsync()
    {
        await RunAsync("up");
        settings = ServicesFile.Read(Path.Combine(directory, "services.env"));
    }

    /// <summary>Stops RabbitMQ in good order and starts it again.</summary>
    public Task RestartRabbitMqAsync() => RunAsync("restart", "rabbitmq");

    /// <summary>SIGKILL.</summary>
    public Task KillRabbitMqAsync() => RunAsync("kill", "rabbitmq");

    /// <summary>After <see cref="KillRabbitMqAsync"/>.</summary>
    public Task StartRabbitMqAsync() => RunAsync("start", "rabbitmq");

    /// <summary>Publishers wait from now on, as under a memory alarm.</summary>
    public Task BlockRabbitMqAsync() => RunAsync("block", "rabbitmq");

    /// <summary>After <see cref="BlockRabbitMqAsync"/>.</summary>
    public Task UnblockRabbitMqAsync() => RunAsync("unblock", "rabbitmq");

    /// <summary>SIGSTOP: connections stay open, nothing is answered.</summary>
    public Task PauseRabbitMqAsync() => RunAsync("pause", "rabbitmq");

    /// <summary>After <see cref="PauseRabbitMqAsync"/>.</summary>
    public Task ResumeRabbitMqAsync() => RunAsync("resume", "rabbitmq");

    /// <summary>Stops Redis in good order and starts it again with its data.</summary>
    public Task RestartRedisAsync() => RunAsync("restart", "redis");

    /// <summary>SIGKILL.</summary>
    public Task KillRedisAsync() => RunAsync("kill", "redis");

    /// <summary>After <see cref="KillRedisAsync"/>.</summary>
    public Task StartRedisAsync() => RunAsync("start", "redis");

    /// <summary>Forgets every key.</summary>
    public Task FlushRedisAsync() => RunAsync("flush", "redis");

    public async ValueTask DisposeAsync()
    {
        await RunAsync("down");
        Directory.Delete(directory, recursive: true);
    }

    private async Task RunAsync(params string[] arguments)
    {
        var start = new ProcessStartInfo(Path.Combine(Repository.Root, "infra", "services.sh"), arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
        };
        start.Environment["YARNISH_RUN_DIRECTORY"] = directory;
        // Services that the environment names are shared: never ours to kill.
        start.Environment.Remove("Yarnish__RabbitMq");
        start.Environment.Remove("Yarnish__Redis");
        using var process = Process.Start(start)!;
        process.StandardInput.Close();
        var output = process.StandardOutput.ReadToEndAsync();
        var error = process.StandardError.ReadToEndAsync();
        using var timeout = new CancellationTokenSource(TimeSpan.FromMinutes(5));
        await process.WaitForExitAsync(timeout.Token);
        if (process.ExitCode != 0)
        {
            throw new InvalidOperationException($"services.sh {string.Join(' ', arguments)} ended with {process.ExitCode}: {await output}{await error}");
        }
    }
}
