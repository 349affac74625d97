using System.Collections.Immutable;
using Xunit;
using Yarnish.Protocol;
using Yarnish.Scheduling;

namespace Yarnish.Tests.Scheduling;

/// <summary>A cluster machine on a clock the test owns, with words of the domain. The invariants are checked after every event.</summary>
internal sealed class TestCluster
{
    public static readonly LaunchSpecification Command = new("run", []);

    private readonly Dictionary<string, (long Incarnation, long Sequence)> _nodes = [];
    private readonly Dictionary<string, long> _askSequences = [];

    public TestCluster(ClusterSettings? settings = null, ClusterConfiguration? configuration = null, bool restore = true)
    {
        Machine = new ClusterMachine((settings ?? new ClusterSettings()) with { ExplainEvery = TimeSpan.Zero }, configuration);
        if (restore)
        {
            Apply(new Restored(1, []));
        }
    }

    public ClusterMachine Machine { get; }

    public DateTimeOffset Now { get; private set; } = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    public List<ClusterEffect> Effects { get; } = [];

    public List<JournalRecord> Journal { get; } = [];

    public ClusterSnapshot Snapshot => Machine.Snapshot(Now);

    public static Resources Size(long gibibytes, double cores, params (string Name, long Amount)[] custom) =>
        Resources.Of(gibibytes * 1024, cores) with
        {
            Custom = custom.ToImmutableSortedDictionary(static pair => pair.Name, static pair => pair.Amount, StringComparer.Ordinal),
        };

    public List<ClusterEffect> Apply(ClusterEvent clusterEvent)
    {
        Effects.Clear();
        Machine.Apply(clusterEvent, Now, Effects);
        var all = new List<ClusterEffect>(Effects);
        Record();
        while (Machine.HasMoreWork)
        {
            Effects.Clear();
            Machine.Apply(new ContinuePlacing(), Now, Effects);
            Record();
            all.AddRange(Effects);
        }
        Effects.Clear();
        Effects.AddRange(all);
        return all;

        void Record()
        {
            Journal.AddRange(Effects.OfType<WriteJournal>().Select(static effect => effect.Record));
            Assert.Empty(ClusterInvariants.Check(Machine));
        }
    }

    public TestCluster Node(string id, Resources? capacity = null, string rack = "default-rack", string partition = "", params (string Key, string Value)[] attributes)
    {
        Register(id, capacity, rack, partition, attributes);
        return this;
    }

    public List<ClusterEffect> Register(
        string id, Resources? capacity = null, string rack = "default-rack", string partition = "", (string Key, string Value)[]? attributes = null,
        ImmutableArray<ContainerReport> containers = default, long incarnation = 1)
    {
        _nodes[id] = (incarnation, 0);
        return Apply(new NodeRegistering(new RegisterNode(new NodeId(id), incarnation, capacity ?? Size(8, 4), "http://" + id, id)
        {
            Rack = rack,
            Partition = partition,
            Containers = containers.IsDefault ? [] : containers,
            Attributes = (attributes ?? []).ToImmutableSortedDictionary(static pair => pair.Key, static pair => pair.Value, StringComparer.Ordinal),
        }));
    }

    public List<ClusterEffect> Beat(string id, ImmutableArray<ContainerReport> containers = default, bool healthy = true)
    {
        var (incarnation, sequence) = _nodes[id];
        _nodes[id] = (incarnation, sequence + 1);
        return Apply(new NodeBeat(new NodeHeartbeat(new NodeId(id), incarnation, sequence + 1, containers.IsDefault ? Running(id) : containers, healthy, healthy ? "" : "disk full")));
    }

    /// <summary>Everything the machine has on a node, as an agent on which all of it runs would report it.</summary>
    public ImmutableArray<ContainerReport> Running(string id) =>
    [
        .. Machine.State.Containers.Values.Where(container => container.Node.Id.Value == id && container.Application is not null).OrderBy(static container => container.Id)
            .Select(static container => new ContainerReport(container.Id, container.Application!.Id, container.Shape.Resources, ContainerState.Running) { AskId = container.AskId, Devices = container.Devices }),
    ];

    public TestCluster Application(string id, string queue = "", string user = "ada", int priority = 0, params string[] groups)
    {
        Apply(new ApplicationRegistering(new RegisterApplication(new ApplicationId(id), id, user, queue) { Priority = priority, Groups = [.. groups] }));
        return this;
    }

    public static Ask Ask(long id, Resources size, int desired) => new(id, size, desired, Command);

    public List<ClusterEffect> Ask(string application, params Ask[] asks) => Update(application, asks);

    public List<ClusterEffect> Update(string application, Ask[] asks, ContainerId[]? release = null, string[]? excluded = null, HeldContainer[]? held = null)
    {
        var sequence = _askSequences[application] = _askSequences.GetValueOrDefault(application) + 1;
        return Apply(new AsksUpdated(new UpdateAsks(new ApplicationId(application), sequence, [.. asks])
        {
            Release = [.. release ?? []],
            ExcludedNodes = [.. (excluded ?? []).Select(static node => new NodeId(node))],
            Held = held is null ? null : [.. held],
        }));
    }

    /// <summary>Time goes on second by second; nodes and drivers beat unless they are named as silent.</summary>
    public List<ClusterEffect> Pass(double seconds, params string[] silent)
    {
        var all = new List<ClusterEffect>();
        var end = Now.AddSeconds(seconds);
        while (Now < end)
        {
            Now = Now.AddSeconds(1) < end ? Now.AddSeconds(1) : end;
            foreach (var id in _nodes.Keys.Where(id => !silent.Contains(id)).ToArray())
            {
                all.AddRange(Beat(id));
            }
            foreach (var application in Machine.State.Applications.Select(static application => application.Id).Where(id => !silent.Contains(id.Value)).ToArray())
            {
                all.AddRange(Apply(new ApplicationBeat(new ApplicationHeartbeat(application, Now.UtcTicks, new ApplicationProgress()))));
            }
            all.AddRange(Apply(new Tick()));
        }
        return all;
    }

    /// <summary>A new life of the resource manager from this one's journal.</summary>
    public TestCluster Restart(ClusterConfiguration? configuration = null)
    {
        var next = new TestCluster(Machine.State.Settings, configuration ?? Machine.State.Configuration, restore: false) { Now = Now };
        next.Journal.AddRange(Journal);
        next.Apply(new Restored(Machine.Epoch + 1, [.. Journal]));
        return next;
    }

    public ContainerId[] Containers(string application) =>
        [.. Machine.State.Containers.Values.Where(container => container.Application?.Id.Value == application).Select(static container => container.Id).Order()];

    public int Live(string application) =>
        Machine.State.Containers.Values.Count(container => container.Application?.Id.Value == application && !container.IsStopping);

    public int On(string node, string? application = null) =>
        Machine.State.Containers.Values.Count(container => container.Node.Id.Value == node && !container.IsStopping && (application is null || container.Application?.Id.Value == application));

    public AskInfo WaitingAsk(string application, long ask = 1) =>
        Snapshot.FindApplication(new ApplicationId(application))!.Asks.Single(info => info.AskId == ask);

    public AskWaiting Waiting(string application, long ask = 1) =>
        Snapshot.FindApplication(new ApplicationId(application))!.Info.Waiting.Single(waiting => waiting.AskId == ask);

    public List<ClusterEffect> Exit(ContainerId container, ContainerExitCause cause = ContainerExitCause.Completed)
    {
        var node = Machine.State.Containers[container].Node;
        return Apply(new ContainerEnded(new ContainerExited(node.Id, node.Incarnation, container, new ContainerExit(cause, 0, ""))));
    }
}

internal static class EffectExtensions
{
    public static IEnumerable<T> ToNodes<T>(this IEnumerable<ClusterEffect> effects)
        where T : ControlMessage => effects.OfType<SendToNode>().Select(static effect => effect.Message).OfType<T>();

    public static IEnumerable<T> ToDrivers<T>(this IEnumerable<ClusterEffect> effects)
        where T : ControlMessage => effects.OfType<SendToApplication>().Select(static effect => effect.Message).OfType<T>();
}
