using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using RabbitMQ.Client;
using RabbitMQ.Client.Exceptions;
using StackExchange.Redis;
using Xunit;
using Yarnish.Integration.Tests.Fixtures;
using Yarnish.Protocol;

namespace Yarnish.Integration.Tests.EndToEnd;

/// <summary>Mistakes of users and operators at the command line: each ends in one clear error and an exit code that says which kind, and the cluster works on.</summary>
[Trait("Category", "Processes")]
public sealed class BadInputTests(BadInputTests.Cluster fixture) : IClassFixture<BadInputTests.Cluster>
{
    private const string Secret = "the secret of these tests";

    private TestCluster TestCluster => fixture.Value;

    [Fact]
    public async Task Mistakes_at_the_command_line_are_told_apart_by_exit_code()
    {
        foreach (var (exitCode, words, arguments) in new (int, string, string[])[]
        {
            (2, "has no option '--executorz'", ["run", "--executorz", "3", Program("Pi")]),
            (2, "There is no program '/absent/app.dll'", ["run", "/absent/app.dll"]),
            (2, "--port 99999 is not possible", ["up", "--port", "99999"]),
            (2, "See 'yarnish app list --help'", ["app", "list", "--jsno"]),
            (2, "is not the address of a resource manager", ["--address", "nonsense", "app", "list"]),
            (4, "There is no application 'app-absent'", ["app", "show", "app-absent"]),
            (4, "There is no application 'app-absent'", ["app", "kill", "app-absent"]),
            (4, "There is no application 'app-absent'", ["app", "logs", "app-absent"]),
            (6, "No resource manager answers at http://127.0.0.1:1", ["--address", "http://127.0.0.1:1", "app", "list"]),
        })
        {
            var result = await ToolAsync(Secret, arguments);

            Assert.True(exitCode == result.ExitCode, $"yarnish {string.Join(' ', arguments)} ended with {result.ExitCode}: {result.Error}");
            Assert.Contains(words, result.Error, StringComparison.Ordinal);
            Assert.DoesNotContain("   at ", result.Error, StringComparison.Ordinal);
            Assert.Equal("", result.Output);
        }
    }

    [Fact]
    public async Task A_wrong_secret_is_no_permission()
    {
        var tool = await ToolAsync("another secret", "app", "list");
        Assert.Equal(5, tool.ExitCode);
        Assert.Contains("Yarnish__Secret", tool.Error, StringComparison.Ordinal);

        var program = await RunAsync([Program("Pi"), "8", "10"], ("Yarnish__Address", TestCluster.Address), ("Yarnish__Secret", "another secret"));
        Assert.Equal(5, program.ExitCode);
        Assert.Contains("the session's secret is not the cluster's", program.Error, StringComparison.Ordinal);

        var agent = await RunAsync(
            [Path.Combine(TestCluster.Daemons, "node-agent", "Yarnish.NodeAgent.dll")],
            ("Yarnish__Address", TestCluster.Address), ("Yarnish__Secret", "another secret"), ("Yarnish__NodeId", "stranger"), ("Yarnish__Urls", "http://127.0.0.1:0"),
            ("Yarnish__DataDirectory", Path.Combine(TestCluster.Directory, "stranger")));
        Assert.Equal(5, agent.ExitCode);
        Assert.Contains("does not accept the cluster secret", agent.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("another secret", tool.Error + program.Error + agent.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Settings_that_cannot_be_end_a_program_before_it_asks_for_anything()
    {
        foreach (var (exitCode, words, arguments) in new (int, string, string[])[]
        {
            (2, "Unknown setting Yarnish:Executorz", ["run", Program("Pi"), "--conf", "Executorz=3"]),
            (2, "'lots' is not a size", ["run", Program("Pi"), "--memory", "lots"]),
            (2, "There is no queue 'absent'", ["run", Program("Pi"), "--queue", "absent"]),
            (3, "no executor can ever be granted", ["run", Program("Pi"), "--memory", "900g"]),
            (1, "'/absent/*.txt' names no file", ["run", Program("WordCount"), "--", "/absent/*.txt"]),
        })
        {
            var result = await ToolAsync(Secret, arguments);

            Assert.True(exitCode == result.ExitCode, $"yarnish {string.Join(' ', arguments)} ended with {result.ExitCode}: {result.Error}");
            Assert.Contains(words, result.Error, StringComparison.Ordinal);
            Assert.DoesNotContain("   at ", result.Error, StringComparison.Ordinal);
            Assert.DoesNotContain(" warn ", result.Error, StringComparison.Ordinal);
        }
        Assert.Equal("failed", (await ApplicationsAsync("pi")).First(application => application.Diagnostics.Contains("can ever be granted", StringComparison.Ordinal)).State);
    }

    [Fact]
    public async Task A_program_that_is_killed_or_interrupted_says_so_and_leaves_no_container()
    {
        foreach (var (exitCode, words, end) in new (int, string, Func<Process, ApplicationInfo, Task>)[]
        {
            (8, "the application was killed", async (_, application) => Assert.Equal(0, (await ToolAsync(Secret, "app", "kill", application.Id.Value, "-m", "by this test")).ExitCode)),
            (130, "", (tool, _) => SignalAsync("TERM", tool.Id)),
        })
        {
            var known = await ApplicationsAsync("pi");
            using var tool = StartTool(Secret, "run", Program("Pi"), "--executors", "2", "--", "8", "2000000000");
            var (output, error) = (tool.StandardOutput.ReadToEndAsync(), tool.StandardError.ReadToEndAsync());
            ApplicationInfo? application = null;
            await TestCluster.UntilAsync("tasks run", async () =>
                (application = (await ApplicationsAsync("pi")).FirstOrDefault(one => known.All(other => other.Id != one.Id))) is { Progress.TasksRunning: > 0 });

            await end(tool, application!);

            using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(30));
            await tool.WaitForExitAsync(patience.Token);
            Assert.True(exitCode == tool.ExitCode, $"it ended with {tool.ExitCode}: {await error}");
            Assert.Contains(words, await error, StringComparison.Ordinal);
            Assert.DoesNotContain("   at ", await error, StringComparison.Ordinal);
            Assert.Equal("", await output);
            await TestCluster.UntilAsync("its containers are gone", cluster => cluster.Containers == 0);
            var over = await TestCluster.GetAsync<ApplicationInfo>($"apps/{application!.Id}");
            Assert.Equal(exitCode == 8 ? "killed" : "failed", over.State);
            Assert.Equal(0, over.Progress.JobsRunning);
        }
    }

    [Fact]
    public async Task After_its_end_the_logs_of_an_application_are_there_and_nothing_else_of_it()
    {
        ApplicationId id;
        await using (var session = await YarnishSession.CreateBuilder([])
            .WithName("tidy").WithAddress(TestCluster.Address).WithSecret(Secret).WithExecutors(2).WithProgress(ProgressStyle.None).ConnectAsync())
        {
            id = session.ApplicationId;
            var kept = session.Range(0, 1_000, 8).Select(static row => Told(row)).Persist();
            Assert.Equal(10, (await kept.CountBy(static row => row % 10).CollectAsync()).Length);
            Assert.Equal(1_000, await kept.CountAsync());
            Assert.True(await RedisKeysAsync(id) > 0, "a shuffle leaves its locations in Redis while the application lives");
        }
        await TestCluster.UntilAsync("its containers are gone", cluster => cluster.Containers == 0);

        Assert.Equal(0, await RedisKeysAsync(id));
        await TestCluster.UntilAsync("the broker has nothing of it", async () => (await OnBrokerAsync(id)).Count == 0);
        Assert.DoesNotContain(Process.GetProcesses(), process => CommandLine(process.Id).Contains(id.Value, StringComparison.Ordinal));
        Assert.DoesNotContain(Directory.EnumerateFileSystemEntries(Path.GetTempPath(), "yarnish*"), entry => entry.Contains(id.Value, StringComparison.Ordinal));

        var logs = await ToolAsync(Secret, "app", "logs", id.Value);
        Assert.Equal(0, logs.ExitCode);
        Assert.Contains("row 999 was here", logs.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("not available", logs.Output, StringComparison.Ordinal);
        // Following what has ended ends.
        var followed = await ToolAsync(Secret, "app", "logs", "-f", id.Value);
        Assert.Equal(0, followed.ExitCode);
        Assert.Contains("row 999 was here", followed.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_cluster_of_the_tool_needs_its_services_and_ends_whole()
    {
        var data = Directory.CreateTempSubdirectory("yarnish-up-").FullName;
        try
        {
            foreach (var (rabbitMq, redis, words) in new[] { ("amqp://127.0.0.1:1", SharedServices.Redis, "RabbitMQ does not answer at 127.0.0.1:1"), (SharedServices.RabbitMq, "127.0.0.1:1", "Redis does not answer at 127.0.0.1:1") })
            {
                var failed = await RunAsync([TestCluster.ToolPath, "up", "--data", data, "--port", FreePort()], ("Yarnish__RabbitMq", rabbitMq), ("Yarnish__Redis", redis));
                Assert.Equal(6, failed.ExitCode);
                Assert.Contains(words, failed.Error, StringComparison.Ordinal);
            }

            var port = FreePort();
            (string, string)[] services = [("Yarnish__RabbitMq", SharedServices.RabbitMq), ("Yarnish__Redis", SharedServices.Redis), ("Yarnish__ClusterName", "up" + port)];
            using var up = Start([TestCluster.ToolPath, "up", "--nodes", "2", "--data", data, "--port", port], data, services);
            var error = up.StandardError.ReadToEndAsync();
            Assert.Contains($"http://127.0.0.1:{port}, 2 nodes", await up.StandardOutput.ReadLineAsync(), StringComparison.Ordinal);

            var second = await RunAsync([TestCluster.ToolPath, "up", "--data", data, "--port", port], services);
            Assert.Equal(2, second.ExitCode);
            Assert.Contains($"Port {port} on 127.0.0.1 cannot be used", second.Error, StringComparison.Ordinal);

            await SignalAsync("TERM", up.Id);
            using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(30));
            await up.WaitForExitAsync(patience.Token);
            Assert.Equal(0, up.ExitCode);
            Assert.Equal("stopping the cluster …", (await error).Trim());
            Assert.DoesNotContain(Process.GetProcesses(), process => Works(process.Id, data));
            Assert.False(File.Exists(Path.Combine(data, ".run", "cluster.env")));
        }
        finally
        {
            Directory.Delete(data, recursive: true);
        }
    }

    private static int Told(int row)
    {
        if (row == 999)
        {
            Console.WriteLine($"row {row} was here");
        }
        return row;
    }

    private static async Task<long> RedisKeysAsync(ApplicationId id)
    {
        await using var redis = await ConnectionMultiplexer.ConnectAsync(SharedServices.Redis);
        return redis.GetServers().Sum(server => server.Keys(pattern: $"y:{{{id}}}*").LongCount());
    }

    /// <summary>Which of the application's queues and exchanges are still there.</summary>
    private async Task<List<string>> OnBrokerAsync(ApplicationId id)
    {
        var cluster = (await TestCluster.GetAsync<ClusterInfo>("cluster")).Name;
        var there = new List<string>();
        await using var connection = await new ConnectionFactory { Uri = new Uri(SharedServices.RabbitMq) }.CreateConnectionAsync();
        foreach (var (name, declare) in new (string, Func<IChannel, string, Task>)[]
        {
            ($"y.{id}.x", (channel, name) => channel.ExchangeDeclarePassiveAsync(name)),
            ($"y.{id}.ctl", (channel, name) => channel.ExchangeDeclarePassiveAsync(name)),
            ($"y.{id}.res", (channel, name) => channel.QueueDeclarePassiveAsync(name)),
            ($"yarnish.{cluster}.driver.{id}", (channel, name) => channel.QueueDeclarePassiveAsync(name)),
        })
        {
            try
            {
                // The broker closes the channel with its answer that there is none.
                await using var channel = await connection.CreateChannelAsync();
                await declare(channel, name);
                there.Add(name);
            }
            catch (OperationInterruptedException)
            {
                // Gone, as it should be.
            }
        }
        return there;
    }

    private async Task<ApplicationInfo[]> ApplicationsAsync(string name) => [.. (await TestCluster.GetAsync<ApplicationInfo[]>("apps")).Where(application => application.Name == name)];

    private static string Program(string example) => Path.Combine(Repository.Root, "artifacts", "bin", example, new DirectoryInfo(AppContext.BaseDirectory).Name, example + ".dll");

    private Task<(int ExitCode, string Output, string Error)> ToolAsync(string secret, params string[] arguments) => FinishAsync(StartTool(secret, arguments));

    private Process StartTool(string secret, params string[] arguments) =>
        Start([TestCluster.ToolPath, .. arguments], TestCluster.Directory, ("Yarnish__Address", TestCluster.Address), ("Yarnish__Secret", secret));

    private Task<(int ExitCode, string Output, string Error)> RunAsync(string[] arguments, params (string Name, string Value)[] settings) =>
        FinishAsync(Start(arguments, TestCluster.Directory, settings));

    private static Process Start(string[] arguments, string directory, params (string Name, string Value)[] settings)
    {
        var start = new ProcessStartInfo("dotnet", arguments) { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true, WorkingDirectory = directory };
        foreach (var inherited in start.Environment.Keys.Where(key => key.StartsWith("Yarnish__", StringComparison.Ordinal)).ToArray())
        {
            start.Environment.Remove(inherited);
        }
        foreach (var (name, value) in settings)
        {
            start.Environment[name] = value;
        }
        var process = Process.Start(start)!;
        process.StandardInput.Close();
        return process;
    }

    private static async Task<(int ExitCode, string Output, string Error)> FinishAsync(Process process)
    {
        using (process)
        {
            var (output, error) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
            using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(60));
            await process.WaitForExitAsync(patience.Token);
            return (process.ExitCode, await output, await error);
        }
    }

    private static async Task SignalAsync(string signal, int process)
    {
        using var kill = Process.Start("kill", ["-" + signal, process.ToString(CultureInfo.InvariantCulture)]);
        await kill.WaitForExitAsync();
    }

    private static string CommandLine(int process)
    {
        try
        {
            return File.ReadAllText($"/proc/{process}/cmdline");
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }

    private static bool Works(int process, string below)
    {
        try
        {
            return File.ResolveLinkTarget($"/proc/{process}/cwd", returnFinalTarget: false)?.FullName.StartsWith(below, StringComparison.Ordinal) == true;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    private static string FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port.ToString(CultureInfo.InvariantCulture);
    }

    /// <summary>One cluster with a secret for all tests of the class.</summary>
    public sealed class Cluster : IAsyncLifetime
    {
        internal TestCluster Value { get; private set; } = null!;

        public async ValueTask InitializeAsync() => Value = await TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes: 2, Secret);

        public ValueTask DisposeAsync() => Value.DisposeAsync();
    }
}
