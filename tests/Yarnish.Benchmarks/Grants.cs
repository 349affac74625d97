using System.Collections.Immutable;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Yarnish.Protocol;
using Yarnish.Scheduling;

namespace Yarnish.Benchmarks;

/// <summary>
/// How fast the pure cluster core grants: registers nodes, queues and applications, hands over all asks, then measures the steps until everything is granted. One
/// thread, three kinds of resources, messages to agents and drivers included.
/// </summary>
public static class Grants
{
    private static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    /// <summary><c>grants [--nodes N] [--asks N] [--queues N] [--constraints] [--scale] [--json]</c>. Exit code 0 when every container was granted.</summary>
    public static int Run(string[] args)
    {
        var nodes = Option(args, "--nodes", 5000);
        var asks = Option(args, "--asks", 100_000);
        var queues = Option(args, "--queues", 100);
        var constraints = args.Contains("--constraints");
        var json = args.Contains("--json");
        if (args.Contains("--scale"))
        {
            var (small, middle, large) = (Best(1_000, asks, queues, constraints), Best(10_000, asks, queues, constraints), Best(50_000, asks, queues, constraints));
            var growth = large.MicrosPerGrant / small.MicrosPerGrant;
            Print(json, new { benchmark = "grants-scale", micros1000 = small.MicrosPerGrant, micros10000 = middle.MicrosPerGrant, micros50000 = large.MicrosPerGrant, growth });
            return small.Complete && middle.Complete && large.Complete ? 0 : 1;
        }
        var result = Best(nodes, asks, queues, constraints);
        Print(json, new
        {
            benchmark = "grants",
            nodes,
            asks,
            queues,
            constraints,
            granted = result.Granted,
            grantsPerSecond = result.PerSecond,
            bytesAllocatedPerGrant = result.BytesPerGrant,
            p50StepMicros = result.P50,
            p99StepMicros = result.P99,
            grantsPerStep = GrantsPerStep,
        });
        return result.Complete ? 0 : 1;
    }

    private const int GrantsPerStep = 256;

    private sealed record Result(int Granted, bool Complete, double PerSecond, double BytesPerGrant, double P50, double P99)
    {
        public double MicrosPerGrant => 1e6 / PerSecond;
    }

    // The first rounds warm the code up; the best of the rest is what the core can do on a machine that others use too.
    private static Result Best(int nodes, int asks, int queues, bool constraints)
    {
        Result? best = null;
        for (var round = 0; round < 5; round++)
        {
            var result = Once(nodes, asks, queues, constraints);
            best = best is null || round < 2 || result.PerSecond > best.PerSecond ? result : best;
        }
        return best!;
    }

    private static Result Once(int nodes, int asks, int queues, bool constraints)
    {
        var settings = new ClusterSettings { GrantsPerStep = GrantsPerStep, NodeSuspect = TimeSpan.FromHours(1), NodeLost = TimeSpan.FromHours(2) };
        var machine = new ClusterMachine(settings, Configuration(queues));
        var effects = new List<ClusterEffect>(4 * GrantsPerStep);
        // A node that never comes back keeps the machine settling while the asks arrive, so that the placing alone is measured.
        machine.Apply(new Restored(1, [new NodeKnown(new NodeId("ghost"))]), Start, effects);
        // Just enough room: the last grants look for the last holes.
        var perNode = ((asks + nodes - 1) / nodes) + 1;
        for (var i = 0; i < nodes; i++)
        {
            machine.Apply(new NodeRegistering(new RegisterNode(new NodeId("n" + i), 1, Resources.Of(2048L * perNode, 2 * perNode) with
            {
                Custom = ImmutableSortedDictionary.Create<string, long>(StringComparer.Ordinal).Add("gpu", perNode),
            }, "http://n" + i, "n" + i) { Rack = "r" + (i / 40) }), Start, effects);
            effects.Clear();
        }
        Ask(machine, asks, queues, constraints, Start, effects);
        var settled = Start.AddSeconds(10);
        machine.Apply(new Tick(), settled, effects);
        var first = effects.Count(static effect => effect is SendToNode { Message: LaunchContainer });
        effects.Clear();

        var steps = new List<long>(asks / GrantsPerStep * 2);
        var granted = 0;
        GC.Collect();
        GC.WaitForPendingFinalizers();
        var bytes = GC.GetAllocatedBytesForCurrentThread();
        var began = Stopwatch.GetTimestamp();
        do
        {
            var step = Stopwatch.GetTimestamp();
            machine.Apply(new ContinuePlacing(), settled, effects);
            steps.Add(Stopwatch.GetTimestamp() - step);
            foreach (var effect in effects)
            {
                granted += effect is SendToNode { Message: LaunchContainer } ? 1 : 0;
            }
            effects.Clear();
        }
        while (machine.HasMoreWork);
        var ticks = Stopwatch.GetTimestamp() - began;
        bytes = GC.GetAllocatedBytesForCurrentThread() - bytes;
        steps.Sort();
        double Micros(long at) => at * 1e6 / Stopwatch.Frequency;
        return new Result(granted, granted + first == asks, granted / (ticks / (double)Stopwatch.Frequency), bytes / (double)Math.Max(1, granted),
            Micros(steps[steps.Count / 2]), Micros(steps[(int)(steps.Count * 0.99)]));
    }

    private static ClusterConfiguration Configuration(int queues)
    {
        var groups = Math.Max(1, (int)Math.Sqrt(queues));
        var parents = ImmutableArray.CreateBuilder<QueueConfiguration>();
        for (var g = 0; g < groups; g++)
        {
            var leaves = ImmutableArray.CreateBuilder<QueueConfiguration>();
            for (var q = g; q < queues; q += groups)
            {
                leaves.Add(new QueueConfiguration("q" + q) { Guarantee = Share.Weight(1 + (q % 3)) });
            }
            parents.Add(new QueueConfiguration("g" + g) { Queues = leaves.ToImmutable() });
        }
        return new ClusterConfiguration { Root = new QueueConfiguration("root") { Queues = parents.ToImmutable() } };
    }

    private static void Ask(ClusterMachine machine, int asks, int queues, bool constraints, DateTimeOffset now, List<ClusterEffect> effects)
    {
        var groups = Math.Max(1, (int)Math.Sqrt(queues));
        Resources[] shapes = [Resources.Of(1024, 1), Resources.Of(2048, 1), Resources.Of(1024, 2) with { Custom = ImmutableSortedDictionary.Create<string, long>(StringComparer.Ordinal).Add("gpu", 1) }];
        var launch = new LaunchSpecification("run", []);
        for (var q = 0; q < queues; q++)
        {
            var id = new ApplicationId("app" + q);
            machine.Apply(new ApplicationRegistering(new RegisterApplication(id, id.Value, "user" + (q % 10), $"root.g{q % groups}.q{q}")), now, effects);
            var mine = (asks / queues) + (q < asks % queues ? 1 : 0);
            var list = ImmutableArray.CreateBuilder<Ask>();
            // Ten asks of an application, each for as many containers as it takes.
            for (var k = 0; k < 10; k++)
            {
                var desired = (mine / 10) + (k < mine % 10 ? 1 : 0);
                var ask = new Ask(k, shapes[k % 3], desired, launch) { Priority = k % 2 };
                list.Add(!constraints ? ask : k % 2 == 0
                    ? ask with { Tags = ["even"], Constraints = [new PlacementConstraint(PlacementKind.Spread, "even", true)] }
                    : ask with { Tags = ["odd" + k], Constraints = [new PlacementConstraint(PlacementKind.AntiAffinity, "odd" + k, true)] });
            }
            machine.Apply(new AsksUpdated(new UpdateAsks(id, 1, list.ToImmutable())), now, effects);
            effects.Clear();
        }
    }

    internal static int Option(string[] args, string name, int fallback)
    {
        var at = Array.IndexOf(args, name);
        return at >= 0 && at + 1 < args.Length && int.TryParse(args[at + 1], NumberStyles.None, CultureInfo.InvariantCulture, out var value) && value > 0 ? value : fallback;
    }

    internal static void Print<T>(bool json, T result)
    {
        if (json)
        {
            Console.WriteLine(JsonSerializer.Serialize(result));
            return;
        }
        foreach (var property in typeof(T).GetProperties())
        {
            Console.WriteLine($"{property.Name,-24} {property.GetValue(result)}");
        }
    }
}
