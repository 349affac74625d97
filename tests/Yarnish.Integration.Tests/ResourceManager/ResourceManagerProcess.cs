using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Net.Sockets;
using Xunit;
using Yarnish.Protocol;

namespace Yarnish.Integration.Tests.ResourceManager;

/// <summary>The program itself, as an operator starts it, to be killed and started again.</summary>
internal sealed class ResourceManagerProcess : IAsyncDisposable
{
    private readonly Dictionary<string, string> _settings;
    private readonly ConcurrentQueue<string> _output = [];
    private readonly string _directory = Directory.CreateTempSubdirectory("yarnish-rm-").FullName;
    private Process? _process;

    /// <param name="settings">Names without <c>Yarnish__</c>.</param>
    public ResourceManagerProcess(params (string Name, string Value)[] settings)
    {
        Url = string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{FreePort()}");
        ClusterName = "test-" + Guid.NewGuid().ToString("n")[..10];
        _settings = new() { ["Urls"] = Url, ["ClusterName"] = ClusterName, ["DataDirectory"] = _directory, ["TickInterval"] = "0.05" };
        foreach (var (name, value) in settings)
        {
            _settings[name] = value;
        }
        Client = new HttpClient { BaseAddress = new Uri(Url) };
        if (_settings.GetValueOrDefault("Secret") is { Length: > 0 } secret)
        {
            Client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", ClusterSecret.ApiToken(secret));
        }
    }

    public string Url { get; }

    public string ClusterName { get; }

    public HttpClient Client { get; }

    public int ProcessId => _process!.Id;

    public string Output => string.Join(Environment.NewLine, _output);

    public void Start()
    {
        var start = new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "Yarnish.ResourceManager.dll")])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = _directory,
        };
        foreach (var name in start.Environment.Keys.Where(name => name.StartsWith("Yarnish__", StringComparison.OrdinalIgnoreCase)).ToList())
        {
            start.Environment.Remove(name);
        }
        foreach (var (name, value) in _settings)
        {
            start.Environment["Yarnish__" + name] = value;
        }
        _process = Process.Start(start)!;
        _process.OutputDataReceived += (_, line) => Keep(line.Data);
        _process.ErrorDataReceived += (_, line) => Keep(line.Data);
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    public async Task StartAndWaitAsync()
    {
        Start();
        await UntilAsync(IsReadyAsync, "it is ready");
    }

    public async Task<bool> IsReadyAsync() => (await Client.GetAsync(new Uri("/readyz", UriKind.Relative))).IsSuccessStatusCode;

    public async Task<T> GetAsync<T>(string path) =>
        await Client.GetFromJsonAsync<T>(path, ProtocolJson.Options, TestContext.Current.CancellationToken) ?? throw new InvalidOperationException(path + " is null.");

    public async Task UntilAsync(Func<Task<bool>> condition, string what, int seconds = 60)
    {
        var end = Environment.TickCount64 + (seconds * 1000);
        while (true)
        {
            try
            {
                if (await condition())
                {
                    return;
                }
            }
            catch (HttpRequestException)
            {
                // Not listening yet.
            }
            Assert.False(_process!.HasExited && !Environment.HasShutdownStarted, $"The resource manager ended with {(_process.HasExited ? _process.ExitCode : 0)} before {what}:{Environment.NewLine}{Output}");
            Assert.True(Environment.TickCount64 < end, $"Waited in vain until {what}:{Environment.NewLine}{Output}");
            await Task.Delay(50, TestContext.Current.CancellationToken);
        }
    }

    /// <summary>SIGKILL.</summary>
    public async Task KillAsync()
    {
        _process!.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
        _process = null;
    }

    /// <summary>SIGTERM; the exit code.</summary>
    public async Task<int> TerminateAsync()
    {
        using var kill = Process.Start("kill", ["-TERM", _process!.Id.ToString(CultureInfo.InvariantCulture)]);
        return await ExitAsync();
    }

    /// <summary>Waits for its end; the exit code.</summary>
    public async Task<int> ExitAsync(int seconds = 40)
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(seconds));
        await _process!.WaitForExitAsync(patience.Token);
        return _process.ExitCode;
    }

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        if (_process is { HasExited: false })
        {
            _process.Kill();
            await _process.WaitForExitAsync();
        }
        _process?.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    public static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    private void Keep(string? line)
    {
        if (line is not null)
        {
            _output.Enqueue(line);
        }
    }
}
