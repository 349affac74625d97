using System.Collections.Concurrent;
using Xunit;
using Yarnish.Cluster;
using Yarnish.Dataflow;
using Yarnish.Jobs;
using Yarnish.Protocol;
using Yarnish.Transport;

namespace Yarnish.Tests.Driver.Session;

/// <summary>The fleet against a resource manager that the test plays by hand, over the in-memory control bus.</summary>
public sealed class ClusterFleetTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);
    private static readonly ApplicationId Application = new("app-1");
    private static readonly LaunchSpecification Launch = new("dotnet", ["exec", "Yarnish.Executor.dll"]);
    private static readonly DateTimeOffset Start = new(2030, 1, 1, 0, 0, 0, TimeSpan.Zero);

    [Fact]
    public async Task Registers_then_asks_for_what_is_wanted()
    {
        await using var scene = await Scene.RegisteredAsync(new ExecutorRange(2, 2));

        scene.Fleet.Want(2, [], Start);
        var update = await scene.NextAsync<UpdateAsks>(update => update.Asks[0].Desired == 2);

        Assert.Equal(Launch.Arguments, update.Asks[0].Launch.Arguments);
        Assert.Equal(new Resources(1L << 30, 1000), update.Asks[0].Resources);
        Assert.Empty(update.Release);
    }

    [Fact]
    public async Task Refusal_fails_the_start_with_the_reason()
    {
        await using var scene = new Scene(new ExecutorRange(1, 1));
        var starting = scene.StartAsync();
        await scene.NextAsync<RegisterApplication>();

        await scene.AnswerAsync(new ApplicationRefused(1, Application, "queue root.gold is closed"));

        var error = await Assert.ThrowsAsync<YarnishConnectException>(() => starting.WaitAsync(Patience));
        Assert.Contains("queue root.gold is closed", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Wrong_secret_fails_the_start_with_the_reason()
    {
        await using var scene = new Scene(new ExecutorRange(1, 1));
        var starting = scene.StartAsync();
        await scene.NextAsync<RegisterApplication>();

        await scene.AnswerAsync(new ControlRefused("signed with another secret"));

        var error = await Assert.ThrowsAsync<YarnishConnectException>(() => starting.WaitAsync(Patience));
        Assert.Contains("signed with another secret", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Registration_is_repeated_until_it_is_answered()
    {
        await using var scene = new Scene(new ExecutorRange(1, 1));
        var starting = scene.StartAsync();

        await scene.NextAsync<RegisterApplication>();
        await scene.NextAsync<RegisterApplication>();
        await scene.AnswerAsync(new ApplicationRegistered(1, Application, "root.default"));

        await starting.WaitAsync(Patience);
    }

    [Fact]
    public async Task Silence_of_the_resource_manager_ends_the_start_with_a_cure()
    {
        await using var scene = new Scene(new ExecutorRange(1, 1), options => options.ConnectTimeout = TimeSpan.FromSeconds(1));

        var error = await Assert.ThrowsAsync<YarnishConnectException>(() => scene.StartAsync().WaitAsync(Patience));

        Assert.Contains("does not answer", error.Message, StringComparison.Ordinal);
        Assert.Contains("cure:", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Released_executor_is_named_until_its_end_is_reported()
    {
        await using var scene = await Scene.RegisteredAsync(new ExecutorRange(1, 4));
        scene.Grant(1);
        Assert.True(scene.Hello(1));

        scene.Fleet.Release(new ExecutorId("c-1-1"), Start);
        var update = await scene.NextAsync<UpdateAsks>(update => update.Release.Length > 0);
        Assert.Equal(new ContainerId(1, 1), Assert.Single(update.Release));
        Assert.False(scene.Hello(1));

        scene.Complete(1, ContainerExitCause.Released);
        await scene.NextAsync<UpdateAsks>(update => update.Release.Length == 0);
        Assert.False(scene.Hello(1)); // A late hello of the same container does not bring it back.
    }

    [Fact]
    public async Task Hello_may_come_before_the_grant()
    {
        await using var scene = await Scene.RegisteredAsync(new ExecutorRange(1, 1));
        Assert.True(scene.Hello(7));

        scene.Grant(7);
        scene.Complete(7, ContainerExitCause.KilledBySignal);

        var lost = Assert.IsType<ExecutorLost>(Assert.Single(scene.Loop.Changes, change => change is ExecutorLost));
        Assert.Equal(ContainerExitCause.KilledBySignal, lost.Cause);
    }

    [Fact]
    public async Task Completion_that_comes_twice_is_told_once()
    {
        await using var scene = await Scene.RegisteredAsync(new ExecutorRange(1, 1));
        scene.Grant(1);
        scene.Hello(1);

        scene.Complete(1, ContainerExitCause.Failed);
        scene.Complete(1, ContainerExitCause.Failed);

        Assert.Single(scene.Loop.Changes, change => change is ExecutorLost);
    }

    [Fact]
    public async Task Lost_node_is_told_as_such()
    {
        await using var scene = await Scene.RegisteredAsync(new ExecutorRange(1, 1));
        scene.Grant(1);
        scene.Hello(1);

        scene.Take(new ContainersCompleted(1, [new ContainerCompletion(new ContainerId(1, 1), 1, new NodeId("n1"), new ContainerExit(ContainerExitCause.NodeLost, -1, "silent")) { NodeLost = true }]));

        Assert.Contains(scene.Loop.Changes, change => change is NodeWasLost { NodeId.Value: "n1" });
    }

    [Fact]
    public async Task Executors_that_never_say_hello_fail_the_jobs_after_six_in_a_row_and_no_more_are_asked_for()
    {
        await using var scene = await Scene.RegisteredAsync(new ExecutorRange(1, 1));
        scene.Fleet.Want(1, [], Start);

        for (var i = 1; i <= 6; i++)
        {
            Assert.Empty(scene.Loop.Failures);
            scene.Grant(i);
            scene.Complete(i, ContainerExitCause.Failed, "Unhandled exception: no such library");
        }

        var (why, cure) = Assert.Single(scene.Loop.Failures);
        Assert.Contains("6 executors in a row", why, StringComparison.Ordinal);
        Assert.Contains("no such library", why, StringComparison.Ordinal);
        Assert.Contains("yarnish app logs app-1", cure, StringComparison.Ordinal);
        await scene.NextAsync<UpdateAsks>(update => update.Asks[0].Desired == 0);

        scene.Fleet.JobSubmitted(Start);
        await scene.NextAsync<UpdateAsks>(update => update.Asks[0].Desired == 1);
    }

    [Fact]
    public async Task Hello_starts_the_count_of_failed_launches_anew()
    {
        await using var scene = await Scene.RegisteredAsync(new ExecutorRange(1, 1));
        for (var i = 1; i <= 20; i++)
        {
            scene.Grant(i);
            if (i % 5 == 0)
            {
                scene.Hello(i);
            }
            scene.Complete(i, ContainerExitCause.Failed);
        }
        Assert.Empty(scene.Loop.Failures);
    }

    [Fact]
    public async Task Ask_that_can_never_be_granted_fails_jobs_at_once_also_later_ones()
    {
        await using var scene = await Scene.RegisteredAsync(new ExecutorRange(1, 1));

        scene.Take(new AsksWaiting(1, [new AskWaiting(1, 1, Impossible: true, "the largest node has 4096 MiB, the ask wants 1048576 MiB")]));
        Assert.Contains("1048576 MiB", Assert.Single(scene.Loop.Failures).Why, StringComparison.Ordinal);

        scene.Fleet.JobSubmitted(Start);
        Assert.Equal(2, scene.Loop.Failures.Count);
    }

    [Fact]
    public async Task Reason_for_waiting_is_shown_after_two_seconds_without_executors()
    {
        await using var scene = await Scene.RegisteredAsync(new ExecutorRange(1, 1));
        scene.Fleet.Want(1, [], Start);
        scene.Take(new AsksWaiting(1, [new AskWaiting(1, 1, Impossible: false, "all nodes are full")]));

        Assert.Equal("", scene.Fleet.Waiting(Start + TimeSpan.FromSeconds(1)));
        Assert.Equal("waiting for executors: all nodes are full", scene.Fleet.Waiting(Start + TimeSpan.FromSeconds(2)));

        scene.Grant(1);
        scene.Hello(1);
        Assert.Equal("", scene.Fleet.Waiting(Start + TimeSpan.FromSeconds(9)));
    }

    [Fact]
    public async Task Resync_registers_again_and_repeats_the_asks()
    {
        await using var scene = await Scene.RegisteredAsync(new ExecutorRange(1, 1));
        scene.Fleet.Want(1, [], Start);
        await scene.NextAsync<UpdateAsks>(update => update.Asks[0].Desired == 1);

        scene.Take(new ResyncApplication(2));

        await scene.NextAsync<RegisterApplication>();
        await scene.NextAsync<UpdateAsks>(update => update.Asks[0].Desired == 1);
    }

    [Fact]
    public async Task Older_resource_manager_is_not_listened_to()
    {
        await using var scene = await Scene.RegisteredAsync(new ExecutorRange(1, 1));
        scene.Take(new ResyncApplication(5));

        scene.Take(new KillApplication(4, "late"));
        Assert.Null(scene.Loop.Abandoned);

        scene.Take(new KillApplication(5, "by alice"));
        Assert.Contains("by alice", scene.Loop.Abandoned, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Heartbeat_carries_the_summary_and_the_asks()
    {
        await using var scene = await Scene.RegisteredAsync(new ExecutorRange(1, 1));

        scene.Fleet.Tick(Start);

        await scene.NextAsync<UpdateAsks>();
        scene.Fleet.Tick(Start); // The two of one tick leave in no promised order.
        var heartbeat = await scene.NextAsync<ApplicationHeartbeat>();
        Assert.Equal(42, heartbeat.Progress.TasksSucceeded);
        Assert.Equal(Start + TimeSpan.FromSeconds(2), scene.Fleet.NextWake);
    }

    [Fact]
    public async Task A_resource_manager_that_is_gone_while_no_executor_is_left_is_told_and_then_fails_the_jobs()
    {
        await using var scene = await Scene.RegisteredAsync(new ExecutorRange(1, 1), _ => Task.FromResult<string?>("Connection refused"));
        scene.Fleet.Want(1, [], Start);
        scene.Fleet.Tick(Start);
        Assert.Equal("waiting for executors: the resource manager has not answered yet", scene.Fleet.Waiting(Start.AddSeconds(3)));

        scene.Fleet.Tick(Start.AddSeconds(3));
        Assert.Equal("waiting for the resource manager at http://rm: Connection refused", scene.Fleet.Waiting(Start.AddSeconds(3)));
        scene.Fleet.Tick(Start.AddSeconds(50));
        Assert.Empty(scene.Loop.Failures);

        scene.Fleet.Tick(Start.AddSeconds(70));

        Assert.Contains("the resource manager at http://rm has not answered for 60 s: Connection refused", Assert.Single(scene.Loop.Failures).Why, StringComparison.Ordinal);
    }

    [Fact]
    public async Task End_of_the_application_is_reported()
    {
        await using var scene = await Scene.RegisteredAsync(new ExecutorRange(1, 1));

        await scene.Fleet.FinishAsync(true, "", new ApplicationProgress { JobsSucceeded = 3 });

        var finish = await scene.NextAsync<FinishApplication>();
        Assert.True(finish.Succeeded);
        Assert.Equal(3, finish.Progress.JobsSucceeded);
    }

    private sealed class Scene : IAsyncDisposable
    {
        private readonly IControlBus manager;
        private readonly BlockingCollection<ControlMessage> received = [];

        public Scene(ExecutorRange executors, Action<YarnishOptions>? change = null, Func<CancellationToken, Task<string?>>? probe = null)
        {
            var options = new YarnishOptions { Executors = executors, Address = "http://rm" };
            change?.Invoke(options);
            var fabric = new InMemoryControlFabric();
            manager = fabric.CreateBus(ControlAddress.ResourceManager);
            Fleet = new ClusterFleet(
                new RegisterApplication(Application, "test", "me", ""), _ => Task.FromResult(Launch), options, fabric.CreateBus(ControlAddress.Application(Application)), TimeProvider.System, probe);
            Loop = new FleetLoop(this);
        }

        public ClusterFleet Fleet { get; }

        public FleetLoop Loop { get; }

        public static async Task<Scene> RegisteredAsync(ExecutorRange executors, Func<CancellationToken, Task<string?>>? probe = null)
        {
            var scene = new Scene(executors, probe: probe);
            var starting = scene.StartAsync();
            await scene.NextAsync<RegisterApplication>();
            await scene.AnswerAsync(new ApplicationRegistered(1, Application, "root.default"));
            await starting.WaitAsync(Patience);
            return scene;
        }

        public async Task StartAsync()
        {
            await manager.StartAsync(delivery =>
            {
                received.Add(delivery.Message);
                return default;
            }, CancellationToken.None);
            await Fleet.StartAsync(Loop, CancellationToken.None);
        }

        /// <summary>The next message of a kind that the resource manager gets; others are passed over.</summary>
        public async Task<T> NextAsync<T>(Func<T, bool>? wanted = null)
            where T : ControlMessage =>
            await Task.Run(() =>
            {
                using var patience = new CancellationTokenSource(Patience);
                while (true)
                {
                    if (received.Take(patience.Token) is T message && (wanted is null || wanted(message)))
                    {
                        return message;
                    }
                }
            });

        public async Task AnswerAsync(ControlMessage message) => Assert.True(await manager.SendAsync(ControlAddress.Application(Application), message));

        /// <summary>A message that has arrived on the loop.</summary>
        public void Take(ControlMessage message) => Fleet.Handle(new ControlDelivery(ControlAddress.ResourceManager, message), Start);

        public void Grant(int number) => Take(new ContainersGranted(1, [new ContainerGrant(new ContainerId(1, number), 1, new NodeId("n1"), "http://n1", new Resources(1L << 30, 1000))]));

        public void Complete(int number, ContainerExitCause cause, string diagnostics = "") =>
            Take(new ContainersCompleted(1, [new ContainerCompletion(new ContainerId(1, number), 1, new NodeId("n1"), new ContainerExit(cause, 1, diagnostics))]));

        public bool Hello(int number) =>
            Fleet.Accept(new ExecutorHello(new ExecutorAddress(new ContainerId(1, number).ToExecutorId(), 1), new NodeId("n1"), "http://n1", 1, [], []), Start);

        public async ValueTask DisposeAsync()
        {
            await Fleet.DisposeAsync();
            await manager.DisposeAsync();
            received.Dispose();
        }

        /// <summary>Hands posted messages straight back, one at a time.</summary>
        internal sealed class FleetLoop(Scene scene) : IFleetLoop
        {
            private readonly Lock gate = new();

            public List<JobEvent> Changes { get; } = [];

            public List<(string Why, string Cure)> Failures { get; } = [];

            public string? Abandoned { get; private set; }

            public ValueTask PostAsync(object message)
            {
                lock (gate)
                {
                    scene.Fleet.Handle(message, Start);
                }
                return default;
            }

            public void Apply(JobEvent change) => Changes.Add(change);

            public void FailJobs(string why, string cure, int exitCode = 1) => Failures.Add((why, cure));

            public void Abandon(string why, string cure, int exitCode = 1) => Abandoned = why;

            public ApplicationProgress Summarize() => new() { TasksSucceeded = 42 };
        }
    }
}
