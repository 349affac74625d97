using System.Globalization;
using System.Text;
using Xunit;
using Yarnish.Protocol;
using Yarnish.Scheduling;
using static Yarnish.Tests.Scheduling.TestCluster;

namespace Yarnish.Tests.Scheduling;

/// <summary>Walks every event in every state of a node, an application and a container: each pair is decided, keeps the invariants, and a repeated message changes nothing more.</summary>
public sealed class EveryStateAndEventTests
{
    private static readonly NodeId N = new("n1");
    private static readonly ApplicationId A = new("a");
    private static readonly ContainerId C = new(1, 1);
    private static readonly ContainerExit Exit = new(ContainerExitCause.Failed, 1, "");

    // States: how to get there. The cluster always has the node n1, the application a and, unless the state says otherwise, the container c-1-1 on n1.
    private static readonly Dictionary<string, Func<TestCluster>> States = new()
    {
        ["empty"] = static () => new TestCluster(),
        ["node only"] = static () => new TestCluster().Node("n1"),
        ["application only"] = static () => new TestCluster().Application("a"),
        ["application waiting for its turn"] = static () => new TestCluster(configuration: new ClusterConfiguration
        {
            Root = new("root") { Queues = [new("default") { MaximumActiveApplications = 1 }] },
        }).Node("n1").Application("first").Application("a"),
        ["asking without room"] = static () => With(new TestCluster().Application("a"), static cluster => cluster.Ask("a", Ask(1, Size(1, 1), 1))),
        ["granted"] = static () => Granted(),
        ["running"] = static () => With(Granted(), static cluster => cluster.Beat("n1")),
        ["missing once"] = static () => With(Granted(), static cluster => { cluster.Beat("n1"); cluster.Beat("n1", []); }),
        ["stopping"] = static () => With(Granted(), static cluster => cluster.Update("a", [], release: [C])),
        ["ended"] = static () => With(Granted(), static cluster => { cluster.Ask("a"); cluster.Exit(C); }),
        ["node silent"] = static () => With(Granted(), static cluster => cluster.Pass(6, "n1")),
        ["node lost"] = static () => With(Granted(), static cluster => cluster.Pass(16, "n1")),
        ["node unhealthy"] = static () => With(Granted(), static cluster => cluster.Beat("n1", healthy: false)),
        ["node draining"] = static () => With(Granted(), static cluster => cluster.Apply(new NodeDrainRequested(N, null, "test"))),
        ["application succeeded"] = static () => With(Granted(), static cluster => cluster.Apply(new ApplicationFinished(new FinishApplication(A, true, "", new())))),
        ["application killed"] = static () => With(Granted(), static cluster => cluster.Apply(new ApplicationKilled(A, "test"))),
        ["application without driver"] = static () => With(Granted(), static cluster => cluster.Pass(31, "a")),
        ["settling"] = static () => With(Granted(), static cluster => cluster.Beat("n1")).Restart(),
        ["adopted"] = static () =>
        {
            var before = Granted();
            before.Beat("n1");
            var reports = before.Running("n1");
            var next = before.Restart();
            next.Register("n1", containers: reports);
            return next;
        },
        ["stranger"] = static () => With(new TestCluster().Application("a"), static cluster =>
            cluster.Register("n1", containers: [new ContainerReport(new ContainerId(1, 1), new ApplicationId("other"), Size(1, 1), ContainerState.Running)])),
    };

    private static readonly Dictionary<string, Func<TestCluster, ClusterEvent>> Events = new()
    {
        ["tick"] = static _ => new Tick(),
        ["bus returned"] = static _ => new BusReturned(),
        ["continue"] = static _ => new ContinuePlacing(),
        ["node registers"] = static _ => new NodeRegistering(new RegisterNode(N, 1, Size(8, 4), "u", "h")),
        ["node registers again with its container"] = static _ => new NodeRegistering(new RegisterNode(N, 2, Size(8, 4), "u", "h") { Containers = [Report(ContainerState.Running)] }),
        ["node registers with an end"] = static _ => new NodeRegistering(new RegisterNode(N, 2, Size(8, 4), "u", "h") { Containers = [Report(ContainerState.Exited)] }),
        ["node registers smaller"] = static _ => new NodeRegistering(new RegisterNode(N, 3, Size(1, 1), "u", "h") { Rack = "elsewhere", Partition = "other" }),
        ["node of the past registers"] = static _ => new NodeRegistering(new RegisterNode(N, 0, Size(8, 4), "u", "h")),
        ["node registers with nothing to offer"] = static _ => new NodeRegistering(new RegisterNode(N, 9, Resources.Zero, "u", "h")),
        ["node beats"] = static _ => new NodeBeat(new NodeHeartbeat(N, 1, 1000, [Report(ContainerState.Running)], true, "")),
        ["node beats without containers"] = static _ => new NodeBeat(new NodeHeartbeat(N, 1, 1001, default, true, "")),
        ["node beats with an end"] = static _ => new NodeBeat(new NodeHeartbeat(N, 1, 1002, [Report(ContainerState.Exited)], true, "")),
        ["node beats with a container of the future"] = static _ =>
            new NodeBeat(new NodeHeartbeat(N, 1, 1003, [Report(ContainerState.Running) with { ContainerId = new ContainerId(99, 1) }], true, "")),
        ["node beats with an absurd container"] = static _ =>
            new NodeBeat(new NodeHeartbeat(N, 1, 1004, [Report(ContainerState.Running) with { ContainerId = new ContainerId(1, 77), Resources = new Resources(long.MaxValue, -5) }], true, "")),
        ["old heartbeat"] = static _ => new NodeBeat(new NodeHeartbeat(N, 1, 0, [], false, "old")),
        ["heartbeat of a later life"] = static _ => new NodeBeat(new NodeHeartbeat(N, 50, 1, [], true, "")),
        ["container began"] = static _ => new ContainerBegan(new ContainerStarted(N, 1, C, 1)),
        ["container ended"] = static _ => new ContainerEnded(new ContainerExited(N, 1, C, Exit)),
        ["container ended elsewhere"] = static _ => new ContainerEnded(new ContainerExited(new NodeId("n9"), 1, C, Exit)),
        ["application registers"] = static _ => new ApplicationRegistering(new RegisterApplication(A, "a", "ada", "")),
        ["application registers in no queue"] = static _ => new ApplicationRegistering(new RegisterApplication(new ApplicationId("b"), "b", "ada", "nope")),
        ["application beats"] = static _ => new ApplicationBeat(new ApplicationHeartbeat(A, 5, new ApplicationProgress { JobsRunning = 1 })),
        ["asks"] = static _ => new AsksUpdated(new UpdateAsks(A, 1000, [Ask(1, Size(1, 1), 2), Ask(2, Size(99, 1), 1)])),
        ["absurd asks"] = static _ => new AsksUpdated(new UpdateAsks(A, 1001, [Ask(3, new Resources(-1, long.MaxValue), int.MaxValue), new Ask(4, Size(1, 1), -5, null!)])),
        ["old asks"] = static _ => new AsksUpdated(new UpdateAsks(A, -1, [])),
        ["release"] = static _ => new AsksUpdated(new UpdateAsks(A, 1002, []) { Release = [C, new ContainerId(7, 7)] }),
        ["holds"] = static _ => new AsksUpdated(new UpdateAsks(A, 1003, [Ask(1, Size(1, 1), 1)]) { Held = [new HeldContainer(C, 1, N), new HeldContainer(new ContainerId(1, 55), 1, N)] }),
        ["application finishes"] = static _ => new ApplicationFinished(new FinishApplication(A, true, "", new())),
        ["operator kills"] = static _ => new ApplicationKilled(A, "test"),
        ["operator moves"] = static _ => new ApplicationMoved(A, new QueueName("root.default"), 3),
        ["operator moves nowhere"] = static _ => new ApplicationMoved(A, new QueueName("root.nope"), null),
        ["operator drains"] = static cluster => new NodeDrainRequested(N, cluster.Now.AddSeconds(-1), "test"),
        ["operator ends a drain"] = static _ => new NodeDrainCancelled(N),
        ["new queues"] = static _ => new ConfigurationChanged(new ClusterConfiguration { Root = new("root") { Queues = [new("default") { Maximum = Share.Percent(50) }, new("x")] } }),
        ["wrong queues"] = static _ => new ConfigurationChanged(new ClusterConfiguration { Root = new("root") { Queues = [new("x"), new("x")] } }),
    };

    // Their second coming is news: time went on, or the counting of heartbeats did.
    private static readonly string[] NotIdempotent = ["tick", "node registers with nothing to offer", "application registers in no queue", "new queues", "operator moves", "operator moves nowhere"];

    private static ContainerReport Report(ContainerState state) =>
        new(C, A, Size(1, 1), state) { AskId = 1, Exit = state == ContainerState.Exited ? Exit : null };

    private static TestCluster Granted() => With(new TestCluster().Node("n1").Application("a"), static cluster => cluster.Ask("a", Ask(1, Size(1, 1), 1)));

    private static TestCluster With(TestCluster cluster, Action<TestCluster> action)
    {
        action(cluster);
        return cluster;
    }

    public static TheoryData<string> AllStates() => [.. States.Keys];

    [Theory]
    [MemberData(nameof(AllStates))]
    public void Every_event_is_decided_and_a_repeated_message_changes_nothing_more(string state)
    {
        foreach (var (name, make) in Events)
        {
            var cluster = States[state]();
            var clusterEvent = make(cluster);

            cluster.Apply(clusterEvent);
            var once = Digest(cluster);
            cluster.Apply(clusterEvent);

            Assert.True(NotIdempotent.Contains(name) || once == Digest(cluster), $"'{name}' in state '{state}' did something the second time:\n{once}\n{Digest(cluster)}");
            cluster.Pass(120);
            Assert.DoesNotContain(cluster.Machine.State.Containers.Values, static container => container.IsStopping && container.Node.Presence == NodePresence.Lost);
        }
    }

    [Fact]
    public void The_product_has_every_event()
    {
        var covered = Events.Values.Select(make => make(new TestCluster()).GetType()).Append(typeof(Restored)).ToHashSet();

        Assert.Empty(typeof(ClusterEvent).Assembly.GetTypes().Where(static type => type.IsSubclassOf(typeof(ClusterEvent))).Except(covered));
    }

    [Fact]
    public void The_first_event_is_the_journal_and_it_comes_once()
    {
        var machine = new ClusterMachine(new ClusterSettings());

        Assert.Throws<InvalidOperationException>(() => machine.Apply(new Tick(), DateTimeOffset.UnixEpoch, []));
        machine.Apply(new Restored(1, []), DateTimeOffset.UnixEpoch, []);
        Assert.Throws<InvalidOperationException>(() => machine.Apply(new Restored(2, []), DateTimeOffset.UnixEpoch, []));
    }

    [Fact]
    public void A_sender_speaks_only_for_itself()
    {
        var message = new FinishApplication(A, true, "", new());

        Assert.IsType<ApplicationFinished>(ClusterEvent.From(ControlAddress.Application(A), message));
        Assert.Null(ClusterEvent.From(ControlAddress.Application(new ApplicationId("mallory")), message));
        Assert.Null(ClusterEvent.From(ControlAddress.Node(N), new ResyncNode(1)));
    }

    private static string Digest(TestCluster cluster)
    {
        var text = new StringBuilder();
        foreach (var node in cluster.Machine.State.Nodes.OfType<Node>())
        {
            text.Append(CultureInfo.InvariantCulture, $"{node.Id} {node.Presence} {node.Healthy} {node.Draining} {node.Allocated[0]};");
        }
        foreach (var application in cluster.Machine.State.ApplicationsById.Values.OrderBy(static application => application.Id))
        {
            text.Append(CultureInfo.InvariantCulture, $"{application.Id} {application.State} {application.Active} {application.Queue.Path};");
            foreach (var ask in application.AskList)
            {
                text.Append(CultureInfo.InvariantCulture, $" ask {ask.AskId} {ask.Live}/{ask.Desired};");
            }
        }
        foreach (var container in cluster.Machine.State.Containers.Values.OrderBy(static container => container.Id))
        {
            text.Append(CultureInfo.InvariantCulture, $"{container.Id} {container.State} {container.Node.Id} {container.Application?.Id};");
        }
        return text.ToString();
    }
}
