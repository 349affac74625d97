using System.Collections.Immutable;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using Xunit;
using Yarnish.Integration.Tests.Fixtures;
using Yarnish.Protocol;

namespace Yarnish.Integration.Tests.EndToEnd;

/// <summary>Queues on a running cluster of two agents with two cores each: shares by preemption after a reload, refusals, questions, and the tool that asks them.</summary>
[Trait("Category", "Processes")]
public sealed class QueueTests
{
    private const int Partitions = 8;

    [Fact]
    public async Task Two_applications_come_to_their_shares_after_a_reload_by_preemption_and_both_are_right()
    {
        using var gate = new GateDirectory();
        var file = gate.Write("queues.yaml", Queues(100, 0));
        await using var cluster = await TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes: 2, settings: ("Yarnish__QueueFile", file));
        await using var first = await SessionAsync(cluster, "first", "root.a");
        await using var second = await SessionAsync(cluster, "second", "root.b");

        var firstJob = CountAsync(first, gate.Open);
        await cluster.UntilAsync("the first application has all four executors", async () => await ContainersAsync(cluster, first) == 4);
        var secondJob = CountAsync(second, gate.Open);
        await cluster.UntilAsync("the second application waits", async () => (await WhyAsync(cluster, second)).Outstanding == 4);

        // The owner is told why, in one sentence with numbers.
        var (whyCode, why, whyError) = await ToolAsync(cluster, "app", "why", second.ApplicationId.Value);
        Assert.True(whyCode == 0, whyError);
        Assert.Contains("waits for 4 containers", why, StringComparison.Ordinal);
        Assert.Contains("2 of 2 nodes have too little free", why, StringComparison.Ordinal);
        Assert.Contains("it goes on when", why, StringComparison.Ordinal);

        // What the reload would do can be asked before it is done.
        var supposed = await PostAsync<WhatIfRequest, WhatIfAnswer>(cluster, "what-if", new WhatIfRequest { Queues = Queues(50, 50) });
        Assert.Equal(2, supposed.Preempted.Length);
        Assert.All(supposed.Preempted, victim => Assert.Equal(first.ApplicationId, victim.ApplicationId));

        gate.Write("queues.yaml", Queues(50, 50));
        await cluster.UntilAsync("both hold their half", async () => await ContainersAsync(cluster, first) == 2 && await ContainersAsync(cluster, second) == 2);
        var info = await cluster.GetAsync<QueuesInfo>("queues");
        Assert.Equal(("file", 1, ""), (info.Source, info.Version, info.Problem));
        Assert.All(info.Queues.Where(queue => queue.Leaf), queue => Assert.Equal(100.0, queue.UsedPercent));
        var ended = await cluster.GetAsync<ContainerInfo[]>($"apps/{first.ApplicationId}/containers");
        Assert.Equal(2, ended.Count(container => container.Exit?.Cause == ContainerExitCause.Preempted));

        gate.Release();

        // Not one failure is allowed to a task: what was taken back did not count as one.
        foreach (var job in new[] { firstJob, secondJob })
        {
            var counts = await job.WaitAsync(TimeSpan.FromMinutes(2));
            Assert.Equal(Enumerable.Range(0, 10).Select(digit => new KeyValuePair<int, long>(digit, 400)), counts.OrderBy(pair => pair.Key));
        }
    }

    [Fact]
    public async Task A_wrong_file_is_refused_with_line_and_key_and_nothing_changes()
    {
        using var gate = new GateDirectory();
        var file = gate.Write("queues.yaml", Queues(60, 40));
        await using var cluster = await TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes: 1, settings: ("Yarnish__QueueFile", file));
        var before = await cluster.GetAsync<QueuesInfo>("queues");

        // The watched file.
        gate.Write("queues.yaml", Queues(60, 40).Replace("guarantee: 40%", "guarante: 40%", StringComparison.Ordinal));
        await cluster.UntilAsync("the watched file is found wrong", async () => (await cluster.GetAsync<QueuesInfo>("queues")).Problem.Length > 0);
        var now = await cluster.GetAsync<QueuesInfo>("queues");
        Assert.Contains("line 6, root.queues[1].guarante: Unknown key", now.Problem, StringComparison.Ordinal);
        AssertSame(before, now);

        // The interface.
        using var http = new HttpClient();
        using var refused = await http.PutAsync($"{cluster.Address}/api/v1/queues", new StringContent(Queues(60, 50), Encoding.UTF8, "application/yaml"));
        Assert.Equal(HttpStatusCode.BadRequest, refused.StatusCode);
        var refusal = (await refused.Content.ReadFromJsonAsync<QueueRefusal>(ProtocolJson.Options))!;
        Assert.Equal(("invalid", 6, "root.queues[1].guarantee"), (refusal.Code, refusal.Errors[0].Line, refusal.Errors[0].Key));
        // Asks before it sends, as curl does, so that the answer is read and not the closed connection.
        using var tenMegabytes = new HttpRequestMessage(HttpMethod.Put, $"{cluster.Address}/api/v1/queues") { Content = new ByteArrayContent(new byte[10 << 20]) };
        tenMegabytes.Headers.ExpectContinue = true;
        using var huge = await http.SendAsync(tenMegabytes);
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, huge.StatusCode);
        AssertSame(before, await cluster.GetAsync<QueuesInfo>("queues"));

        // The tool, which needs no cluster to see it.
        var wrong = gate.Write("wrong.yaml", Queues(60, 50));
        foreach (var command in new[] { "validate", "reload", "diff" })
        {
            var (code, _, error) = await ToolAsync(cluster, "queue", command, wrong);
            Assert.Equal(2, code);
            Assert.Contains("line 6, root.queues[1].guarantee", error, StringComparison.Ordinal);
        }
        AssertSame(before, await cluster.GetAsync<QueuesInfo>("queues"));

        // A good one heals it.
        gate.Write("queues.yaml", Queues(30, 70));
        await cluster.UntilAsync("the good file is in force", async () => await cluster.GetAsync<QueuesInfo>("queues") is { Version: 1, Problem: "" });
    }

    [Fact]
    public async Task The_tool_answers_puts_queues_that_outlive_the_manager_and_drains()
    {
        using var gate = new GateDirectory();
        await using var cluster = await TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes: 2);
        var file = gate.Write("queues.yaml", Queues(60, 40));

        var (differs, difference, _) = await ToolAsync(cluster, "queue", "diff", file);
        Assert.Equal(1, differs);
        Assert.Contains("+ root.a guarantee: 60 %", difference, StringComparison.Ordinal);
        var (reloaded, _, reloadError) = await ToolAsync(cluster, "queue", "reload", file);
        Assert.True(reloaded == 0, reloadError);
        Assert.Equal(0, (await ToolAsync(cluster, "queue", "diff", file)).ExitCode);

        await cluster.KillAsync("resource-manager");
        cluster.Start("resource-manager");
        await cluster.UntilAsync("both nodes are back", info => info.Nodes.GetValueOrDefault("running") == 2 && info.State == "active");
        Assert.Equal("journal", (await cluster.GetAsync<QueuesInfo>("queues")).Source);
        var (shown, queues, _) = await ToolAsync(cluster, "queue", "show", "root.a");
        Assert.Equal(0, shown);
        Assert.Contains("60 %", queues, StringComparison.Ordinal);
        Assert.DoesNotContain("root.b", queues, StringComparison.Ordinal);
        Assert.Equal(4, (await ToolAsync(cluster, "queue", "show", "root.nowhere")).ExitCode);

        var (fits, places, fitError) = await ToolAsync(cluster, "plan", "--memory", "1g", "--cores", "1", "--count", "4", "--queue", "root.a");
        Assert.True(fits == 0, places + fitError);
        Assert.Contains("2 on node-1", places, StringComparison.Ordinal);
        var (waits, sentence, _) = await ToolAsync(cluster, "plan", "--memory", "1g", "--cores", "3", "--queue", "root.a");
        Assert.Equal(3, waits);
        Assert.Contains("too small even when empty", sentence, StringComparison.Ordinal);
        Assert.Contains("add a larger node", sentence, StringComparison.Ordinal);
        var (planned, json, _) = await ToolAsync(cluster, "plan", "--memory", "1g", "--cores", "1", "--count", "5", "--json");
        Assert.Equal(3, planned);
        var answer = JsonSerializer.Deserialize<PlanAnswer>(json, ProtocolJson.Options)!;
        Assert.Equal((4, 1, "notEnoughFree"), (answer.Granted, answer.Waiting!.Outstanding, answer.Waiting.Causes[0].Kind));

        var (drained, _, drainError) = await ToolAsync(cluster, "node", "drain", "node-1", "--reason", "new disk");
        Assert.True(drained == 0, drainError);
        await cluster.UntilAsync("the node drains", async () => (await cluster.GetAsync<NodeInfo[]>("nodes")).Single(node => node.Id.Value == "node-1").State == "draining");
        Assert.Equal(3, (await ToolAsync(cluster, "plan", "--memory", "1g", "--cores", "1", "--count", "4")).ExitCode);
        Assert.Equal(0, (await ToolAsync(cluster, "node", "undrain", "node-1")).ExitCode);
        await cluster.UntilAsync("the node takes containers again", info => info.Nodes.GetValueOrDefault("running") == 2);
        Assert.Equal(4, (await ToolAsync(cluster, "node", "drain", "node-9")).ExitCode);

        var (supposed, grown, supposeError) = await ToolAsync(cluster, "what-if", "--add-nodes", "1", "--node-memory", "8g", "--node-cores", "8");
        Assert.True(supposed == 0, supposeError);
        Assert.Contains("Nothing would wait", grown, StringComparison.Ordinal);
        Assert.Equal(2, (await ToolAsync(cluster, "what-if", "--weight", "root.nowhere=3")).ExitCode);

        using var http = new HttpClient();
        var metrics = await http.GetStringAsync($"{cluster.Address}/metrics");
        Assert.Contains("yarnish_queue_cpu_guaranteed_cores{", metrics, StringComparison.Ordinal);
        Assert.Contains("yarnish_queue_memory_allocated_bytes{", metrics, StringComparison.Ordinal);
        Assert.Contains("yarnish_queue_pending_containers{", metrics, StringComparison.Ordinal);
        Assert.Contains("yarnish_queue_file_valid", metrics, StringComparison.Ordinal);
    }

    private static string Queues(int a, int b) => string.Create(
        CultureInfo.InvariantCulture,
        $"root:\n  queues:\n    - name: a\n      guarantee: {a}%\n    - name: b\n      guarantee: {b}%\nrules:\n  - action: provided\n  - action: fixed\n    queue: root.b\npreemption:\n  delay: 1s\n  interval: 1s\n");

    private static async Task<YarnishSession> SessionAsync(TestCluster cluster, string name, string queue) =>
        await YarnishSession.CreateBuilder([]).WithName(name).WithAddress(cluster.Address).WithQueue(queue).WithExecutors(4).WithExecutorMemory(256 << 20).WithExecutorCores(1)
            .Configure(options => (options.Progress, options.MaximumTaskFailures) = (ProgressStyle.None, 1)).ConnectAsync();

    private static Task<List<KeyValuePair<int, long>>> CountAsync(YarnishSession session, string open) => ListAsync(session.Range(0, 4_000, Partitions)
        .MapPartitions((_, rows) => Pass(open, rows))
        .CountBy(static row => row % 10, partitions: 4)
        .CollectAsync());

    private static async Task<List<T>> ListAsync<T>(Task<T[]> rows) => [.. await rows];

    // Runs in the executors: waits for the gate.
    private static IEnumerable<int> Pass(string open, IEnumerable<int> rows)
    {
        while (!File.Exists(open))
        {
            Thread.Sleep(10);
        }
        return rows;
    }

    private static async Task<int> ContainersAsync(TestCluster cluster, YarnishSession session) =>
        (await cluster.GetAsync<ApplicationInfo>($"apps/{session.ApplicationId}")).Containers;

    private static Task<ApplicationWhy> WhyAsync(TestCluster cluster, YarnishSession session) => cluster.GetAsync<ApplicationWhy>($"apps/{session.ApplicationId}/why");

    private static void AssertSame(QueuesInfo before, QueuesInfo now)
    {
        Assert.Equal((before.Version, before.Text, before.AppliedAt), (now.Version, now.Text, now.AppliedAt));
        Assert.Equal(before.Queues.Select(queue => (queue.Name, queue.ConfiguredGuarantee)), now.Queues.Select(queue => (queue.Name, queue.ConfiguredGuarantee)));
    }

    private static async Task<TAnswer> PostAsync<TBody, TAnswer>(TestCluster cluster, string path, TBody body)
    {
        using var http = new HttpClient();
        using var response = await http.PostAsJsonAsync($"{cluster.Address}/api/v1/{path}", body, ProtocolJson.Options);
        Assert.True(response.IsSuccessStatusCode, await response.Content.ReadAsStringAsync());
        return (await response.Content.ReadFromJsonAsync<TAnswer>(ProtocolJson.Options))!;
    }

    private static async Task<(int ExitCode, string Output, string Error)> ToolAsync(TestCluster cluster, params string[] arguments)
    {
        var start = new ProcessStartInfo("dotnet", [TestCluster.ToolPath, "--address", cluster.Address, .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true };
        using var process = Process.Start(start)!;
        var output = process.StandardOutput.ReadToEndAsync();
        var error = process.StandardError.ReadToEndAsync();
        using var timeout = new CancellationTokenSource(TimeSpan.FromMinutes(1));
        await process.WaitForExitAsync(timeout.Token);
        return (process.ExitCode, await output, await error);
    }

    private sealed class GateDirectory : IDisposable
    {
        private readonly DirectoryInfo directory = Directory.CreateTempSubdirectory("yarnish-queues-");

        public string Open => Path.Combine(directory.FullName, "open");

        public string Write(string name, string text)
        {
            var path = Path.Combine(directory.FullName, name);
            File.WriteAllText(path, text);
            return path;
        }

        public void Release() => File.WriteAllText(Open, "");

        public void Dispose()
        {
            // Whoever still waits must not wait for ever.
            Release();
            directory.Delete(recursive: true);
        }
    }
}
