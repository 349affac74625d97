using System.Collections.Immutable;
using System.Diagnostics;
using Yarnish.Protocol;
using Yarnish.Scheduling;

namespace Yarnish.Benchmarks;

/// <summary>
/// Passes that grant nothing, the real-life hot path (the shape of YARN's TestCapacitySchedulerPerf): 100 applications, all at their user limit and wanting more, and
/// 2,000,000 node heartbeats. Only the machine's own time and memory count: the heartbeats are made beforehand, piece by piece.
/// </summary>
public static class IdlePass
{
    private static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    /// <summary><c>idle-pass [--nodes N] [--applications N] [--updates N] [--json]</c>. Exit code 0 when nothing was granted or said meanwhile.</summary>
    public static int Run(string[] args)
    {
        var nodes = Grants.Option(args, "--nodes", 2);
        var applications = Grants.Option(args, "--applications", 100);
        var updates = Grants.Option(args, "--updates", 2_000_000);
        var machine = Arrange(nodes, applications);
        var effects = new List<ClusterEffect>();
        var reports = Enumerable.Range(0, nodes).Select(i => machine.Reports(i)).ToArray();
        const int Piece = 10_000;
        var beats = new ClusterEvent[Piece];
        var (sequence, done, ticks, bytes) = (0L, 0, 0L, 0L);
        while (done < updates + (10 * Piece))
        {
            for (var i = 0; i < Piece; i++)
            {
                var node = i % nodes;
                beats[i] = new NodeBeat(new NodeHeartbeat(new NodeId("n" + node), 1, ++sequence, reports[node], true, ""));
            }
            var allocated = GC.GetAllocatedBytesForCurrentThread();
            var began = Stopwatch.GetTimestamp();
            foreach (var beat in beats)
            {
                machine.Apply(beat, Start, effects);
            }
            var took = Stopwatch.GetTimestamp() - began;
            allocated = GC.GetAllocatedBytesForCurrentThread() - allocated;
            done += Piece;
            // The first pieces warm the code up.
            if (done > 10 * Piece)
            {
                (ticks, bytes) = (ticks + took, bytes + allocated);
            }
        }
        var quiet = effects.Count == 0;
        Grants.Print(args.Contains("--json"), new
        {
            benchmark = "idle-pass",
            nodes,
            applications,
            updates,
            containersPerNode = reports[0].Length,
            updatesPerSecond = updates / (ticks / (double)Stopwatch.Frequency),
            bytesAllocated = bytes,
            quiet,
        });
        return quiet ? 0 : 1;
    }

    private static ClusterMachine Arrange(int nodes, int applications)
    {
        var configuration = new ClusterConfiguration
        {
            Root = new QueueConfiguration("root")
            {
                Queues = [new QueueConfiguration("default") { Limits = [new QueueLimit { Users = ["*"], MaximumResources = Resources.Of(1024, 1) }] }],
            },
        };
        var machine = new ClusterMachine(new ClusterSettings(), configuration);
        var effects = new List<ClusterEffect>();
        machine.Apply(new Restored(1, []), Start, effects);
        for (var i = 0; i < nodes; i++)
        {
            machine.Apply(new NodeRegistering(new RegisterNode(new NodeId("n" + i), 1, Resources.Of(1024L * 1024, 1024), "", "n" + i)), Start, effects);
        }
        for (var i = 0; i < applications; i++)
        {
            var id = new ApplicationId("app" + i);
            machine.Apply(new ApplicationRegistering(new RegisterApplication(id, id.Value, "user" + i, "")), Start, effects);
            machine.Apply(new AsksUpdated(new UpdateAsks(id, 1, [new Ask(1, Resources.Of(1024, 1), 5, new LaunchSpecification("run", []))])), Start, effects);
        }
        var granted = effects.Count(static effect => effect is SendToNode { Message: LaunchContainer });
        if (granted != applications)
        {
            throw new InvalidOperationException($"{granted} containers were granted, {applications} were expected: one for each user.");
        }
        return machine;
    }
}

/// <summary>What the benchmarks need to see of the machine.</summary>
internal static class BenchmarkExtensions
{
    /// <summary>What the agent of a node would report now.</summary>
    public static ImmutableArray<ContainerReport> Reports(this ClusterMachine machine, int number) =>
    [
        .. machine.State.Nodes[number]!.Containers.Select(static container =>
            new ContainerReport(container.Id, container.Application!.Id, container.Shape.Resources, ContainerState.Running) { AskId = container.AskId }),
    ];
}
