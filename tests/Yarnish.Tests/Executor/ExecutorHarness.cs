using System.Threading.Channels;
using Xunit;
using Yarnish.Blocks;
using Yarnish.Executor;
using Yarnish.Protocol;
using Yarnish.Tests.ResourceManager;
using Yarnish.Transport;

namespace Yarnish.Tests.Executor;

/// <summary>A stage program made of a function.</summary>
internal sealed class FunctionProgram(Action<TaskRuntime> run) : StageProgram
{
    public override void Run(TaskRuntime task) => run(task);
}

/// <summary>An executor on an in-memory link, its clock owned by the test, and a driver that only does what the test says.</summary>
internal sealed class ExecutorHarness : IAsyncDisposable
{
    public static readonly ApplicationId Application = new("app-1");
    public static readonly ExecutorId Id = new("executor-1");

    private readonly InMemoryTaskFabric fabric = new();
    private readonly IDriverLink driver;
    private readonly IExecutorLink link;
    private readonly Dictionary<string, StageProgram> programs = new(StringComparer.Ordinal);
    private readonly Queue<ExecutorMessage> unread = new();
    private Task<ExecutorEnd>? running;

    public ExecutorHarness(Func<ExecutorOptions, ExecutorOptions>? adjust = null, Func<ReadOnlyMemory<byte>, StageProgram>? deserialize = null, Func<IExecutorLink, IExecutorLink>? wrap = null)
    {
        Blocks = new BlockDirectory(Path.Combine(Path.GetTempPath(), $"yarnish-executor-{Guid.NewGuid():N}"));
        var options = new ExecutorOptions
        {
            ApplicationId = Application,
            ExecutorId = Id,
            NodeId = new NodeId("node-1"),
            BlockDirectory = Blocks.Root,
            Slots = 1,
            MemoryBytes = 256 * 1024 * 1024,
        };
        driver = fabric.CreateDriverLink();
        link = fabric.CreateExecutorLink(Id);
        link = wrap?.Invoke(link) ?? link;
        Executor = new TaskExecutor(
            adjust?.Invoke(options) ?? options, link, Registry, deserialize ?? (_ => throw new InvalidOperationException("no bytes here")), programs.GetValueOrDefault, Clock);
    }

    public TestClock Clock { get; } = new();

    public InMemoryBlockRegistry Registry { get; } = new();

    public BlockDirectory Blocks { get; }

    public TaskExecutor Executor { get; }

    public ExecutorAddress Address { get; private set; }

    public Task<ExecutorEnd> Ended => running ?? throw new InvalidOperationException("Not started.");

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>A program that batches name by this hash.</summary>
    public ExecutorHarness Program(string hash, Action<TaskRuntime> run)
    {
        programs[hash] = new FunctionProgram(run);
        return this;
    }

    /// <summary>Starts it and takes its hello.</summary>
    public async Task<ExecutorHarness> StartAsync()
    {
        await driver.StartAsync(Cancellation);
        running = Executor.RunAsync(Cancellation);
        var hello = await NextAsync<ExecutorHello>();
        Address = hello.From;
        Assert.True(SpinWait.SpinUntil(() => Executor.SaidHello, TimeSpan.FromSeconds(30)));
        return this;
    }

    public async Task SendAsync(DriverMessage message) => Assert.True(await driver.SendAsync(Address, message));

    public Task SendTasksAsync(string hash, params long[] attempts) => SendAsync(Batch(hash, attempts));

    public static TaskBatch Batch(string hash, params long[] attempts) =>
        new(Application, 1, new StageId(0), 0, hash, [.. attempts.Select(static id => new TaskAssignment(new TaskAttemptId(id), (int)id, 0, default))]);

    /// <summary>The connection breaks and comes back; returns the new hello.</summary>
    public async Task<ExecutorHello> ReconnectAsync()
    {
        fabric.Reconnect(Id);
        var hello = await NextAsync<ExecutorHello>();
        Address = hello.From;
        return hello;
    }

    /// <summary>The next message of a kind; others before it are kept for later.</summary>
    public async Task<T> NextAsync<T>()
        where T : ExecutorMessage
    {
        for (var i = unread.Count; i > 0; i--)
        {
            var kept = unread.Dequeue();
            if (kept is T found)
            {
                return found;
            }
            unread.Enqueue(kept);
        }
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(Cancellation);
        patience.CancelAfter(TimeSpan.FromSeconds(30));
        await foreach (var happened in driver.Events.ReadAllAsync(patience.Token))
        {
            if (happened is not ExecutorMessageReceived { Message: var message })
            {
                continue;
            }
            if (message is T wanted)
            {
                return wanted;
            }
            unread.Enqueue(message);
        }
        throw new ChannelClosedException();
    }

    /// <summary>The next reports, as many as asked for, by attempt.</summary>
    public async Task<Dictionary<long, TaskReport>> ReportsAsync(int count)
    {
        var reports = new Dictionary<long, TaskReport>();
        for (var received = 0; received < count;)
        {
            foreach (var report in (await NextAsync<TaskReports>()).Reports)
            {
                reports[report.AttemptId.Value] = report;
                received++;
            }
        }
        return reports;
    }

    public async Task<TaskReport> ReportAsync() => (await ReportsAsync(1)).Values.Single();

    /// <summary>True when no report is on its way: a later message overtook nothing.</summary>
    public async Task<bool> IsQuietAsync()
    {
        await SendAsync(new SayHello(1));
        await NextAsync<ExecutorHello>();
        return !unread.OfType<TaskReports>().Any();
    }

    public async ValueTask DisposeAsync()
    {
        await Executor.DisposeAsync();
        await link.DisposeAsync();
        await driver.DisposeAsync();
        Blocks.DeleteAll();
    }
}
