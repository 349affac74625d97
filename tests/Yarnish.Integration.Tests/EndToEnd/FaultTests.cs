using System.Diagnostics;
using System.Globalization;
using Xunit;
using Yarnish.Integration.Tests.Fixtures;
using Yarnish.Protocol;

namespace Yarnish.Integration.Tests.EndToEnd;

/// <summary>
/// One job on two agents, and everything it needs killed in the middle, one at a time. Map tasks wait at a gate (a file), so that "in the middle" is a fact, not a race.
/// </summary>
[Trait("Category", "Processes")]
public sealed class FaultTests(PrivateServices services) : IClassFixture<PrivateServices>
{
    private const int Partitions = 8;

    [Fact]
    public Task An_executor_dies() => JobSurvivesAsync(async (cluster, gate) =>
    {
        using var executor = Process.GetProcessById(gate.SomeExecutor());
        executor.Kill();
        await executor.WaitForExitAsync();
    }, executorsLost: 1);

    [Fact]
    public Task An_agent_dies_and_the_next_one_adopts_its_containers() => JobSurvivesAsync(async (cluster, gate) =>
    {
        var before = gate.Executors();
        await cluster.KillAsync("node-1");
        cluster.Start("node-1");
        await cluster.UntilAsync("both nodes are running", info => info.Nodes.GetValueOrDefault("running") == 2);
        Assert.All(before, id => Assert.True(Directory.Exists($"/proc/{id}"), $"executor {id} died with its agent"));
    });

    [Fact]
    public Task The_resource_manager_dies_and_the_job_never_notices() => JobSurvivesAsync(async (cluster, gate) =>
    {
        var before = gate.Executors();
        await cluster.KillAsync("resource-manager");
        cluster.Start("resource-manager");
        await cluster.UntilAsync("both nodes are running", info => info.Nodes.GetValueOrDefault("running") == 2);
        Assert.All(before, id => Assert.True(Directory.Exists($"/proc/{id}"), $"executor {id} died with the resource manager {cluster.Logs()}"));
    });

    [Fact]
    public Task RabbitMq_dies_and_comes_back() => JobSurvivesAsync(async (_, _) =>
    {
        await services.KillRabbitMqAsync();
        await services.StartRabbitMqAsync();
    });

    [Fact]
    public Task Redis_forgets_everything() => JobSurvivesAsync((_, _) => services.FlushRedisAsync());

    [Fact]
    public Task Redis_dies_and_comes_back_empty() => JobSurvivesAsync(async (_, _) =>
    {
        await services.KillRedisAsync();
        await services.StartRedisAsync();
    });

    /// <summary>Runs a word count whose map tasks wait at the gate; does the harm while they wait; opens the gate; wants the right answer.</summary>
    /// <param name="harm">What happens in the middle.</param>
    /// <param name="executorsLost">How many executors the driver may miss afterwards.</param>
    private async Task JobSurvivesAsync(Func<TestCluster, Gate, Task> harm, int executorsLost = 0)
    {
        await using var cluster = await TestCluster.StartAsync(services.RabbitMq, services.Redis, nodes: 2);
        using var gate = new Gate();
        var (marks, open) = (gate.Marks, gate.Open);
        await using var session = await YarnishSession.CreateBuilder([])
            .WithName("fault").WithAddress(cluster.Address).WithExecutors(2).Configure(options => options.Progress = ProgressStyle.None).ConnectAsync();

        var job = session.Range(0, 4_000, Partitions)
            .MapPartitions((partition, rows) => Pass(marks, open, partition, rows))
            .CountBy(static row => row % 10, partitions: 4)
            .CollectAsync();
        try
        {
            await cluster.UntilAsync("tasks wait at the gate on two executors", () => Task.FromResult(job.IsCompleted || gate.Executors().Length >= 2));
            await harm(cluster, gate);
            gate.Release();

            var counts = await job.WaitAsync(TimeSpan.FromMinutes(2));

            Assert.Equal(Enumerable.Range(0, 10).Select(digit => new KeyValuePair<int, long>(digit, 400)), counts.OrderBy(pair => pair.Key));
            Assert.Equal(executorsLost, session.Progress.ExecutorsLost);
            // Whoever forgot has learnt anew and goes on serving the application.
            await cluster.UntilAsync("the application is known with its executors", async () =>
                await cluster.GetAsync<ApplicationInfo>($"apps/{session.ApplicationId}") is { Containers: 2, State: "running" });
        }
        catch (Exception error) when (error is not Xunit.Sdk.XunitException)
        {
            throw new InvalidOperationException($"{error.Message}{Environment.NewLine}{cluster.Logs()}", error);
        }
    }

    // Runs in the executors: says that it is there, then waits for the gate.
    private static IEnumerable<int> Pass(string marks, string open, int partition, IEnumerable<int> rows)
    {
        File.WriteAllText(Path.Combine(marks, string.Create(CultureInfo.InvariantCulture, $"{Environment.ProcessId}-{partition}")), "");
        while (!File.Exists(open))
        {
            Thread.Sleep(10);
        }
        return rows;
    }

    private sealed class Gate : IDisposable
    {
        private readonly DirectoryInfo directory = Directory.CreateTempSubdirectory("yarnish-gate-");

        public Gate() => Directory.CreateDirectory(Marks);

        public string Marks => Path.Combine(directory.FullName, "marks");

        public string Open => Path.Combine(directory.FullName, "open");

        /// <summary>Process ids of the executors that have tasks at the gate.</summary>
        public int[] Executors() => [.. Directory.EnumerateFiles(Marks).Select(file => int.Parse(Path.GetFileName(file).Split('-')[0], CultureInfo.InvariantCulture)).Distinct()];

        public int SomeExecutor() => Executors()[0];

        public void Release() => File.WriteAllText(Open, "");

        public void Dispose()
        {
            // Whoever still waits must not wait for ever.
            Release();
            directory.Delete(recursive: true);
        }
    }
}
