using System.Security.Cryptography;
using System.Text;
using Xunit;
using Yarnish.Executor;
using Yarnish.Integration.Tests.Fixtures;
using Yarnish.Integration.Tests.Transport;
using Yarnish.Protocol;
using Yarnish.Serialization;
using Yarnish.Transport;

namespace Yarnish.Integration.Tests.Executor;

/// <summary>A stage program of these tests' assembly: the executor process finds it through the application's own output.</summary>
internal sealed class GreetingProgram(string greeting) : StageProgram
{
    public override void Run(TaskRuntime task)
    {
        if (task.Context.Partition == 13)
        {
            throw new InvalidDataException("unlucky");
        }
        task.SetResult(Encoding.UTF8.GetBytes($"{greeting} {task.Context.Partition} from {Environment.ProcessId}"));
    }
}

[Trait("Category", "Services")]
public sealed class ExecutorProcessTests(ITestOutputHelper output)
{
    private readonly ApplicationId application = Given.Application();
    private readonly ExecutorId executor = new($"executor-{Guid.NewGuid():N}");

    private Dictionary<string, string> Environment => ExecutorProcess.Environment(application, executor, SharedServices.RabbitMq, SharedServices.Redis);

    private static async Task<T> NextAsync<T>(RabbitMqDriverLink driver)
        where T : ExecutorMessage
    {
        while (true)
        {
            var received = await driver.Events.NextAsync<ExecutorMessageReceived>();
            if (received.Message is T found)
            {
                return found;
            }
        }
    }

    [Fact]
    public async Task The_process_says_hello_runs_shipped_code_traces_it_and_ends_when_it_is_told()
    {
        await using var traces = new OtlpReceiver();
        await using var driver = new RabbitMqDriverLink(SharedServices.RabbitMq, application);
        await driver.StartAsync(TestContext.Current.CancellationToken);
        var stage = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        var environment = Environment;
        environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = traces.Endpoint;
        environment["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf";
        environment["TRACEPARENT"] = stage;
        await using var process = ExecutorProcess.Start(environment);

        var hello = await NextAsync<ExecutorHello>(driver);
        Assert.Equal((executor, 1, new NodeId("node-1"), 2, process.Id), (hello.From.ExecutorId, hello.From.Epoch, hello.NodeId, hello.Slots, hello.ProcessId));

        var code = ClosureSerializer.Serialize(new GreetingProgram("hello"), "the test").Bytes;
        var hash = Convert.ToHexStringLower(SHA256.HashData(code.Span));
        Assert.True(await driver.SendAsync(hello.From, new CodeBlock(application, hash, code)));
        Assert.True(await driver.SendAsync(hello.From, new TaskBatch(
            application, 1, new StageId(0), 0, hash, [.. Enumerable.Range(10, 5).Select(static i => new TaskAssignment(new TaskAttemptId(i), i, 0, default))]) { TraceParent = stage }));
        var reports = new Dictionary<int, TaskReport>();
        while (reports.Count < 5)
        {
            foreach (var report in (await NextAsync<TaskReports>(driver)).Reports)
            {
                reports[(int)report.AttemptId.Value] = report;
            }
        }
        output.WriteLine(string.Join("\n", process.Output));
        Assert.Equal($"hello 12 from {process.Id}", Encoding.UTF8.GetString(reports[12].Result.Span));
        Assert.Equal("unlucky", Assert.IsType<TaskFailed>(reports[13].End).Error.Message);
        Assert.StartsWith("00-0af7651916cd43dd8448eb211c80319c-", reports[13].TraceParent, StringComparison.Ordinal);

        Assert.True(await driver.SendAsync(hello.From, new ShutdownExecutor("that is all")));
        Assert.Equal("that is all", (await NextAsync<ExecutorGoodbye>(driver)).Reason);
        Assert.Equal(0, await process.ExitCodeAsync());
        output.WriteLine(string.Join('\n', process.Output));
        Assert.Contains(process.Output, static line => line.Contains("that is all", StringComparison.Ordinal));

        // Flushed before the end, so they are all here.
        var spans = traces.Spans.ToArray();
        Assert.Equal(["executor.start", "task", "task", "task", "task", "task"], spans.Select(static span => span.Name).Order());
        Assert.All(spans, static span => Assert.Equal(("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"), (span.TraceId, span.ParentSpanId)));
    }

    [Fact]
    public async Task Told_by_signal_it_says_goodbye_and_ends()
    {
        await using var driver = new RabbitMqDriverLink(SharedServices.RabbitMq, application);
        await driver.StartAsync(TestContext.Current.CancellationToken);
        await using var process = ExecutorProcess.Start(Environment);
        await NextAsync<ExecutorHello>(driver);

        process.Terminate();

        await NextAsync<ExecutorGoodbye>(driver);
        Assert.Equal(0, await process.ExitCodeAsync());
    }

    [Theory]
    [InlineData(ContainerEnvironment.ApplicationId, "")]
    [InlineData(ContainerEnvironment.NodeId, "a/b")]
    [InlineData(ExecutorEnvironment.RabbitMq, "http://nowhere")]
    [InlineData(ExecutorEnvironment.Redis, "")]
    [InlineData(ExecutorEnvironment.Slots, "many")]
    public async Task An_environment_that_cannot_work_is_one_clear_line_and_exit_code_2(string variable, string value)
    {
        var environment = Environment;
        environment[variable] = value;
        await using var process = ExecutorProcess.Start(environment);

        Assert.Equal(2, await process.ExitCodeAsync());
        // The same line in its log and on stderr, where the agent looks for last words.
        var lines = process.Output.Where(static line => line.Length > 0).ToArray();
        Assert.Equal(2, lines.Length);
        Assert.Equal(lines[0], lines[1]);
        Assert.Contains("cannot start", lines[0], StringComparison.Ordinal);
    }
}
