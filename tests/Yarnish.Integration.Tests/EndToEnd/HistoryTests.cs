using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using Xunit;
using Yarnish.Integration.Tests.Fixtures;
using Yarnish.Protocol;
using Yarnish.Status;

namespace Yarnish.Integration.Tests.EndToEnd;

/// <summary>What can be seen of an application: while it runs over HTTP, when it is over from its log, and when its driver was killed.</summary>
[Trait("Category", "Processes")]
public sealed class HistoryTests : IDisposable
{
    private const string Secret = "seen by nobody";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(90);

    private readonly string events = Directory.CreateTempSubdirectory("yarnish-history-").FullName;

    public void Dispose() => Directory.Delete(events, recursive: true);

    [Fact]
    public async Task Every_address_of_a_running_driver_answers_and_its_log_tells_the_same_afterwards()
    {
        await using var cluster = await TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes: 2, Secret);
        ApplicationId id;
        string live;
        await using (var session = await YarnishSession.CreateBuilder().WithName("seen").WithAddress(cluster.Address).WithSecret(Secret).WithExecutors(2).WithExecutorMemory(256 << 20)
            .WithProgress(ProgressStyle.None).Configure(options => options.EventLog = events).ConnectAsync(TestContext.Current.CancellationToken))
        {
            id = session.ApplicationId;
            var numbers = session.Range(0, 10_000, 8).Select(static number => KeyValuePair.Create(number % 10, 1));
            Assert.Equal(10, await numbers.ReduceByKey(static (left, right) => left + right, 4).CountAsync().WaitAsync(Patience));
            await Assert.ThrowsAsync<YarnishJobException>(() => session.Range(0, 10, 1).Select(static number => Fail(number)).CollectAsync().WaitAsync(Patience));

            using var http = new HttpClient { BaseAddress = new Uri(session.StatusUrl) };
            Assert.Equal(HttpStatusCode.Unauthorized, (await http.GetAsync($"/api/v1/applications/{id}", TestContext.Current.CancellationToken)).StatusCode);
            http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", ClusterSecret.ApplicationToken(Secret, id));
            var root = $"/api/v1/applications/{id}";
            async Task<T> Get<T>(string part) => (await http.GetFromJsonAsync<T>(root + part, ProtocolJson.Options, TestContext.Current.CancellationToken))!;

            var detail = await Get<ApplicationDetail>("");
            Assert.Equal(("seen", "running", 1, 1), (detail.Name, detail.State, detail.Jobs["succeeded"], detail.Jobs["failed"]));
            var jobs = await Get<JobInfo[]>("/jobs");
            Assert.Equal(["failed", "succeeded"], jobs.Select(job => job.State));
            Assert.Contains("System.FormatException", jobs[0].Message, StringComparison.Ordinal);
            Assert.Equal(jobs[1].Id, (await Get<JobInfo>($"/jobs/{jobs[1].Id}")).Id);
            var map = (await Get<StageInfo[]>("/stages")).Single(stage => stage.Name.Contains("shuffle", StringComparison.Ordinal));
            Assert.Equal((8, 8L, "succeeded"), (map.Done, map.Succeeded, map.State));
            Assert.True(map.Totals.ShuffleWriteBytes > 0);
            var summary = await Get<TaskSummary>($"/stages/{map.Id}/{map.Attempt}/taskSummary");
            Assert.Equal(8, summary.Tasks);
            Assert.Contains(summary.Metrics, metric => metric.Name == "runMicroseconds" && metric.Maximum >= metric.Median && metric.Median >= metric.Minimum);
            var tasks = await Get<TaskList>($"/stages/{map.Id}/{map.Attempt}/taskList?length=3");
            Assert.Equal((8, 8, 3), (tasks.Total, tasks.Kept, tasks.Tasks.Length));
            var failing = (await Get<StageInfo[]>($"/stages/{jobs[0].Stages[^1].StageId}")).Single();
            Assert.Equal(StageVerdictKind.Failed, failing.Verdict.Kind);
            Assert.Contains((await Get<TaskList>($"/stages/{failing.Id}/0/taskList?state=failed")).Tasks, task => task.Error.StartsWith("System.FormatException", StringComparison.Ordinal));
            var executors = await Get<ExecutorInfo[]>("/executors");
            Assert.All(executors, executor => Assert.Equal(("active", 1), (executor.State, executor.Slots)));
            Assert.Equal(detail.Tasks["succeeded"], executors.Sum(executor => executor.Succeeded));
            var environment = await Get<EnvironmentInfo>("/environment");
            Assert.Equal(("(hidden)", cluster.Address), (environment.Settings["Secret"], environment.Settings["Address"]));
            Assert.Empty(await Get<AccumulatorInfo[]>("/accumulators"));
            Assert.Empty(await Get<CollectionInfo[]>("/collections"));
            Assert.Equal(HttpStatusCode.NotFound, (await http.GetAsync(root + "/nothing", TestContext.Current.CancellationToken)).StatusCode);

            // The resource manager and the tool know the way.
            Assert.Equal(session.StatusUrl, (await cluster.GetAsync<ApplicationInfo>($"apps/{id}")).StatusUrl);
            var (shown, output) = await ToolAsync("app", "show", id.Value, "--address", cluster.Address);
            Assert.Equal(0, shown);
            Assert.Contains(session.StatusUrl, output, StringComparison.Ordinal);
            Assert.Matches(@"(?s)VERDICT.*succeeded +8 of 8|not reachable", output);
            live = await http.GetStringAsync(new Uri($"{root}/stages", UriKind.Relative), TestContext.Current.CancellationToken);
        }

        var replayed = EventLogReader.Replay(new EventLogReader(Path.Combine(events, id.Value)));
        Assert.Equal(live, System.Text.Json.JsonSerializer.Serialize(replayed.Stages().ToArray(), ProtocolJson.Options));
        Assert.Equal("failed", replayed.ToDetail().State);
        Assert.DoesNotContain(Secret, string.Join('\n', new EventLogReader(Path.Combine(events, id.Value)).Read().Select(happened => happened.ToString())), StringComparison.Ordinal);
        Assert.Equal("", (await cluster.GetAsync<ApplicationInfo>($"apps/{id}")).StatusUrl);
    }

    [Fact]
    public async Task Log_of_a_driver_that_was_killed_shows_what_happened_up_to_then()
    {
        await using var cluster = await TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes: 1);
        cluster.DriversMayLeaveWhatExpires = true;
        var start = new ProcessStartInfo("dotnet", [Program("Pi"), "500", "3000000", "--address", cluster.Address, "--executors", "1", "--Yarnish:EventLog", events])
        {
            RedirectStandardError = true,
            RedirectStandardOutput = true,
        };
        using var driver = Process.Start(start)!;
        driver.ErrorDataReceived += (_, _) => { };
        driver.BeginErrorReadLine();
        string log = "";
        await cluster.UntilAsync("the log tells of tasks that are done and of others that run", () =>
        {
            log = Directory.EnumerateDirectories(events).SingleOrDefault() ?? "";
            Assert.False(driver.HasExited, "the driver ended too early");
            return Task.FromResult(log.Length > 0 && EventLogs.FilesOf(log).Count > 0 && new EventLogReader(log).Read().OfType<StatusEvent.TasksEnded>().Sum(ended => ended.Tasks.Length) >= 5);
        });

        driver.Kill();
        await driver.WaitForExitAsync(TestContext.Current.CancellationToken);

        var (code, output) = await ToolAsync("history", log);
        Assert.Equal(0, code);
        Assert.Contains("ReduceAsync at Program.cs:", output, StringComparison.Ordinal);
        Assert.Contains("running", output, StringComparison.Ordinal);
        Assert.Contains("The log has no end: the driver still runs, or it was killed.", output, StringComparison.Ordinal);
        var (stageCode, stage) = await ToolAsync("history", log, "--stage", "0");
        Assert.Equal(0, stageCode);
        Assert.Contains("runMicroseconds", stage, StringComparison.Ordinal);
        Assert.Equal(4, (await ToolAsync("history", log, "--stage", "77")).Code);
        Assert.Equal(2, (await ToolAsync("history", log, "--stage", "x")).Code);
        // By the id, too, or its beginning.
        Assert.Equal(0, (await ToolAsync("history", Path.GetFileName(log)[..12], "--directory", events)).Code);
        Assert.Contains(Path.GetFileName(log), (await ToolAsync("history", "--directory", events)).Output, StringComparison.Ordinal);
        Assert.Equal(4, (await ToolAsync("history", "nothing", "--directory", events)).Code);

        // The same API, from the log.
        using var serving = Process.Start(new ProcessStartInfo("dotnet", [TestCluster.ToolPath, "history", log, "--serve"]) { RedirectStandardOutput = true })!;
        try
        {
            var url = await serving.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken).AsTask().WaitAsync(Patience);
            using var http = new HttpClient();
            var job = Assert.Single((await http.GetFromJsonAsync<JobInfo[]>($"{url}/jobs", ProtocolJson.Options, TestContext.Current.CancellationToken))!);
            Assert.Equal("running", job.State);
            Assert.InRange(job.TasksDone, 5, 499);
        }
        finally
        {
            serving.Kill();
        }
    }

    private static int Fail(int number) => throw new FormatException($"cannot use {number}");

    private static string Program(string example) => Path.Combine(Repository.Root, "artifacts", "bin", example, new DirectoryInfo(AppContext.BaseDirectory).Name, example + ".dll");

    private static async Task<(int Code, string Output)> ToolAsync(params string[] arguments)
    {
        var start = new ProcessStartInfo("dotnet", [TestCluster.ToolPath, .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["Yarnish__Secret"] = Secret;
        using var process = Process.Start(start)!;
        var (output, error) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        await process.WaitForExitAsync().WaitAsync(Patience);
        return (process.ExitCode, await output + await error);
    }
}
