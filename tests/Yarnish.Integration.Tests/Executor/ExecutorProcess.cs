using System.Collections.Concurrent;
using System.Diagnostics;
using Yarnish.Executor;
using Yarnish.Protocol;

namespace Yarnish.Integration.Tests.Executor;

/// <summary>The real executor program, started as an agent would start it inside the output of these tests.</summary>
internal sealed class ExecutorProcess : IAsyncDisposable
{
    private readonly Process process;
    private readonly TaskCompletionSource exited = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private ExecutorProcess(Process process) => this.process = process;

    public static string BlockDirectory { get; } = Path.Combine(Path.GetTempPath(), $"yarnish-process-{Guid.NewGuid():N}");

    public ConcurrentQueue<string> Output { get; } = new();

    public int Id => process.Id;

    public static ExecutorProcess Start(IReadOnlyDictionary<string, string> environment)
    {
        var home = AppContext.BaseDirectory;
        var name = typeof(ExecutorProcess).Assembly.GetName().Name;
        var start = new ProcessStartInfo("dotnet", ["exec", "--depsfile", $"{name}.deps.json", "--runtimeconfig", $"{name}.runtimeconfig.json", "Yarnish.Executor.dll"])
        {
            WorkingDirectory = home,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (var (key, value) in environment)
        {
            start.Environment[key] = value;
        }
        var process = new Process { StartInfo = start, EnableRaisingEvents = true };
        var executor = new ExecutorProcess(process);
        process.OutputDataReceived += (_, line) => executor.Output.Enqueue(line.Data ?? "");
        process.ErrorDataReceived += (_, line) => executor.Output.Enqueue(line.Data ?? "");
        process.Exited += (_, _) => executor.exited.TrySetResult();
        process.Start();
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        return executor;
    }

    public static Dictionary<string, string> Environment(ApplicationId application, ExecutorId executor, string rabbitMq, string redis) => new()
    {
        [ContainerEnvironment.ApplicationId] = application.Value,
        [ContainerEnvironment.ContainerId] = executor.Value,
        [ContainerEnvironment.NodeId] = "node-1",
        [ContainerEnvironment.NodeUrl] = "http://127.0.0.1:9",
        [ContainerEnvironment.BlockDirectory] = BlockDirectory,
        [ContainerEnvironment.MemoryBytes] = "536870912",
        [ContainerEnvironment.MilliCores] = "1500",
        [ExecutorEnvironment.RabbitMq] = rabbitMq,
        [ExecutorEnvironment.Redis] = redis,
    };

    public async Task<int> ExitCodeAsync()
    {
        await exited.Task.WaitAsync(TimeSpan.FromSeconds(60));
        await process.WaitForExitAsync();
        return process.ExitCode;
    }

    public void Terminate()
    {
        using var kill = Process.Start("kill", ["-TERM", process.Id.ToString(System.Globalization.CultureInfo.InvariantCulture)]);
        kill.WaitForExit();
    }

    public async ValueTask DisposeAsync()
    {
        if (!process.HasExited)
        {
            process.Kill();
        }
        await exited.Task.WaitAsync(TimeSpan.FromSeconds(60));
        process.Dispose();
    }
}
