using System.Diagnostics;
using Xunit;
using Yarnish.Executor;
using Yarnish.Integration.Tests.Fixtures;
using Yarnish.Protocol;

namespace Yarnish.Integration.Tests.Driver;

/// <summary>Jobs of this process on a cluster of real processes: one resource manager, two agents.</summary>
[Trait("Category", "Processes")]
public sealed class ClusterSessionTests(ClusterSessionTests.Cluster fixture) : IClassFixture<ClusterSessionTests.Cluster>
{
    private const string Secret = "a secret of these tests";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(90);

    private TestCluster TestCluster => fixture.Value;

    private Task<YarnishSession> OpenAsync(Action<YarnishOptions>? change = null) => YarnishSession.CreateBuilder()
        .WithName("session test").WithAddress(TestCluster.Address).WithSecret(Secret).WithExecutors(2).WithExecutorMemory(256 << 20).WithProgress(ProgressStyle.None)
        .Configure(options => change?.Invoke(options)).ConnectAsync(TestContext.Current.CancellationToken);

    [Fact]
    public async Task One_job_runs_on_two_executors_of_two_agents()
    {
        ApplicationId id;
        await using (var session = await OpenAsync())
        {
            id = session.ApplicationId;
            await BothExecutorsAsync(session);

            var counts = await session.Range(0, 100_000, 8).Select(static number => KeyValuePair.Create(number % 10, 1)).ReduceByKey(static (left, right) => left + right).CollectAsync().WaitAsync(Patience);
            Assert.Equal(Enumerable.Range(0, 10).Select(key => KeyValuePair.Create(key, 10_000)), counts.OrderBy(pair => pair.Key));

            Assert.Equal(2, session.Progress.Executors);
            Assert.True(session.Progress.ShuffleBytesWritten > 0);
        }
        var application = await TestCluster.GetAsync<ApplicationInfo>($"apps/{id}");
        Assert.Equal("succeeded", application.State);
        Assert.Equal(2, application.Progress.ExecutorsSeen);
        Assert.True(application.Progress.TasksSucceeded >= 16);
        Assert.True(application.Progress.ShuffleBytesWritten > 0);
        await TestCluster.UntilAsync("its containers are gone", cluster => cluster.Containers == 0);
    }

    [Fact]
    public async Task Large_result_is_fetched_from_its_node()
    {
        await using var session = await OpenAsync();

        var texts = await session.Range(0, 4, 4).Select(static number => new string((char)('a' + number), 2_000_000)).CollectAsync().WaitAsync(Patience);

        Assert.Equal(["a", "b", "c", "d"], texts.Select(text => text[..1]));
        Assert.All(texts, text => Assert.Equal(new string(text[0], 2_000_000), text));
    }

    [Fact]
    public async Task Failing_task_ends_the_job_with_the_users_own_frame_and_the_session_goes_on()
    {
        await using var session = await OpenAsync();

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => session.Range(0, 10, 2).Select(static number => Parse(number)).CollectAsync().WaitAsync(Patience));

        Assert.Equal("System.FormatException", error.RemoteError?.Type);
        Assert.Equal(4, error.Attempts);
        Assert.Contains($"at {typeof(ClusterSessionTests).FullName}.Parse", error.Message, StringComparison.Ordinal);
        Assert.Contains($"yarnish app logs {session.ApplicationId}", error.Message, StringComparison.Ordinal);
        Assert.Equal(10, await session.Range(0, 10, 2).CountAsync().WaitAsync(Patience));
    }

    [Fact]
    public async Task Task_that_exits_its_process_fails_the_job_and_the_session_goes_on()
    {
        await using var session = await OpenAsync();

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => session.Range(0, 2, 2).Select(static number => Exit(number)).CollectAsync().WaitAsync(Patience));

        Assert.IsType<TaskExecutorLost>(error.LastEnd);
        Assert.Contains("Environment.Exit", error.Message, StringComparison.Ordinal);
        Assert.Equal(10, await session.Range(0, 10, 2).CountAsync().WaitAsync(Patience));
    }

    [Fact]
    public async Task Killed_executor_is_replaced_and_the_job_gives_the_right_answer()
    {
        await using var session = await OpenAsync();
        await BothExecutorsAsync(session);

        var job = session.Range(0, 200, 40).Select(static number =>
        {
            Thread.Sleep(20);
            return KeyValuePair.Create(number % 5, (long)number);
        }).ReduceByKey(static (left, right) => left + right).CollectAsync();
        var victim = (await TestCluster.GetAsync<ContainerInfo[]>($"apps/{session.ApplicationId}/containers")).First(container => container.Exit is null);
        KillContainer(TestCluster.Directory, victim.Id);

        var sums = await job.WaitAsync(Patience);
        Assert.Equal(Enumerable.Range(0, 5).Select(key => KeyValuePair.Create(key, Enumerable.Range(0, 200).Where(number => number % 5 == key).Sum(number => (long)number))), sums.OrderBy(pair => pair.Key));
        await TestCluster.UntilAsync("the executor is replaced", () => Task.FromResult(session.Progress is { Executors: 2, ExecutorsSeen: 3, ExecutorsLost: 1 }));
    }

    [Fact]
    public async Task Application_that_is_killed_says_so_and_runs_nothing_more()
    {
        await using var session = await OpenAsync();
        var job = session.Range(0, 2, 2).Select(static number =>
        {
            TaskContext.Current!.Cancellation.WaitHandle.WaitOne(TimeSpan.FromSeconds(60));
            return number;
        }).CollectAsync();

        await TestCluster.PostAsync($"apps/{session.ApplicationId}/kill", new KillRequest("by this test"));

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => job.WaitAsync(Patience));
        Assert.Contains("by this test", error.Message, StringComparison.Ordinal);
        await Assert.ThrowsAsync<YarnishJobException>(() => session.Range(0, 2, 2).CountAsync().WaitAsync(Patience));
    }

    [Fact]
    public async Task Ask_larger_than_any_node_fails_the_job_with_the_reason()
    {
        await using var session = await OpenAsync(options => options.ExecutorMemory = 1L << 40);

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => session.Range(0, 2, 2).CountAsync().WaitAsync(Patience));

        Assert.Contains("no executor can ever be granted", error.Message, StringComparison.Ordinal);
        Assert.Contains("1048576 MiB", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Executors_that_cannot_start_fail_the_job_with_their_last_words()
    {
        await using var session = await OpenAsync(options => options.ExecutorEnvironment = options.ExecutorEnvironment.Add("YARNISH_RABBITMQ", "not-an-amqp-uri"));

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => session.Range(0, 2, 2).CountAsync().WaitAsync(Patience));

        Assert.Contains("6 executors in a row", error.Message, StringComparison.Ordinal);
        Assert.Contains("not an AMQP URI", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Wrong_secret_is_one_clear_error()
    {
        var error = await Assert.ThrowsAsync<YarnishConnectException>(() => OpenAsync(options => options.Secret = "another"));

        Assert.Contains("the session's secret is not the cluster's", error.Message, StringComparison.Ordinal);
        Assert.Contains("Yarnish__Secret", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("another", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Missing_secret_is_one_clear_error() =>
        Assert.Contains("the session gave none", (await Assert.ThrowsAsync<YarnishConnectException>(() => OpenAsync(options => options.Secret = ""))).Message, StringComparison.Ordinal);

    [Fact]
    public async Task Cluster_that_is_not_there_is_one_clear_error()
    {
        var error = await Assert.ThrowsAsync<YarnishConnectException>(() => OpenAsync(options => options.Address = "http://127.0.0.1:1"));

        Assert.Contains("http://127.0.0.1:1", error.Message, StringComparison.Ordinal);
        Assert.Contains("yarnish up", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Something_else_at_the_address_is_one_clear_error()
    {
        // The agent answers HTTP, but is no resource manager.
        var agent = (await TestCluster.GetAsync<NodeInfo[]>("nodes"))[0].Url;

        var error = await Assert.ThrowsAsync<YarnishConnectException>(() => OpenAsync(options => options.Address = agent));

        Assert.Contains(agent, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Signal_cancels_the_job_reports_the_application_over_and_ends_the_program_without_a_crash()
    {
        var program = Path.Combine(Repository.Root, "artifacts", "bin", "Pi", new DirectoryInfo(AppContext.BaseDirectory).Name, "Pi.dll");
        var start = new ProcessStartInfo("dotnet", [program, "--address", TestCluster.Address, "--executors", "2", "--executor-memory", "256m", "10000000", "1000"]) { RedirectStandardError = true };
        start.Environment["Yarnish__Secret"] = Secret;
        using var driver = Process.Start(start)!;
        var words = driver.StandardError.ReadToEndAsync();
        await TestCluster.UntilAsync("its tasks run", async () => (await TestCluster.GetAsync<ApplicationInfo[]>("apps")).Any(application => application is { Name: "pi", State: "running", Progress.TasksSucceeded: > 0 }));

        using (var kill = Process.Start("kill", ["-TERM", driver.Id.ToString(System.Globalization.CultureInfo.InvariantCulture)]))
        {
            await driver.WaitForExitAsync().WaitAsync(Patience);
        }

        Assert.Equal(143, driver.ExitCode);
        Assert.DoesNotContain("Unhandled exception", await words, StringComparison.Ordinal);
        var ended = Assert.Single(await TestCluster.GetAsync<ApplicationInfo[]>("apps"), application => application.Name == "pi");
        Assert.Equal("failed", ended.State);
        Assert.Contains("SIGTERM", ended.Diagnostics, StringComparison.Ordinal);
        await TestCluster.UntilAsync("its containers are gone", cluster => cluster.Containers == 0);
    }

    private static int Parse(int number) => number == 7 ? throw new FormatException("seven is not a number") : number;

    private static int Exit(int number)
    {
        Environment.Exit(3);
        return number;
    }

    /// <summary>Waits until both executors have run a task, each on its own node.</summary>
    private static async Task BothExecutorsAsync(YarnishSession session)
    {
        var waited = Stopwatch.StartNew();
        while (true)
        {
            var places = await session.Range(0, 8, 8).Select(static _ => $"{Environment.GetEnvironmentVariable(ContainerEnvironment.NodeId)} {TaskContext.Current!.ExecutorId}").CollectAsync().WaitAsync(Patience);
            var nodes = places.Distinct().Select(place => place.Split(' ')[0]).Order().ToArray();
            if (nodes is ["node-1", "node-2"])
            {
                return;
            }
            Assert.True(waited.Elapsed < Patience, $"only {string.Join(", ", nodes)} ran tasks");
        }
    }

    /// <summary>SIGKILL to the process of a container, found by its environment as an operator would.</summary>
    private static void KillContainer(string directory, ContainerId container)
    {
        var marker = $"{ContainerEnvironment.ContainerId}={container}";
        foreach (var id in Fixtures.TestCluster.ProcessesBelow(directory))
        {
            using var process = Process.GetProcessById(id);
            // Not its launcher, which has the same environment.
            if (process.ProcessName == "dotnet" && File.ReadAllText($"/proc/{id}/environ").Split('\0').Contains(marker))
            {
                process.Kill();
                return;
            }
        }
        Assert.Fail($"no process has {marker}");
    }

    /// <summary>One cluster for all tests of the class.</summary>
    public sealed class Cluster : IAsyncLifetime
    {
        internal TestCluster Value { get; private set; } = null!;

        public async ValueTask InitializeAsync() => Value = await TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes: 2, Secret);

        public ValueTask DisposeAsync() => Value.DisposeAsync();
    }
}
