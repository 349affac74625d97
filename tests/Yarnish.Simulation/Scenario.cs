using System.Collections.Immutable;
using Yarnish.Protocol;
using Yarnish.Scheduling;

namespace Yarnish.Simulation;

/// <summary>One thing that is done to the cluster at a time: what the shrinker leaves out one by one.</summary>
internal sealed record Deed(double At, string Kind, int Subject, ulong Seed)
{
    public override string ToString() => $"{At,7:0.000} {Kind} {Subject}";
}

/// <summary>What a seed means: the cluster, the network's faults, and the deeds.</summary>
internal sealed class Scenario
{
    public const double FaultsEnd = 40;
    public const double End = 110;

    public required ulong Seed { get; init; }

    public required ImmutableArray<Resources> Nodes { get; init; }

    public required ClusterConfiguration Configuration { get; init; }

    public required ClusterSettings Settings { get; init; }

    public required int DropPerMille { get; init; }

    public required int DuplicatePerMille { get; init; }

    public required int SlowPerMille { get; init; }

    public required bool DisksSurvive { get; init; }

    public required bool HasPartition { get; init; }

    public required ImmutableArray<Deed> Deeds { get; init; }

    public static Scenario FromSeed(ulong seed, PlantedBug bug)
    {
        var random = new SeededRandom(seed);
        var shape = random.Fork();
        var nodes = ImmutableArray.CreateBuilder<Resources>();
        for (var i = shape.Between(2, 8); i > 0; i--)
        {
            nodes.Add(RandomNode(shape));
        }
        var calm = shape.Chance(150);
        return new Scenario
        {
            Seed = seed,
            Nodes = nodes.ToImmutable(),
            Configuration = RandomConfiguration(random.Fork()),
            Settings = new ClusterSettings
            {
                GrantsPerStep = shape.Pick(1, 3, 256),
                EndedContainersPerApplication = shape.Pick(2, 100),
                GrantExpiry = TimeSpan.FromSeconds(shape.Pick(8, 60)),
                Planted = bug,
            },
            DropPerMille = calm ? 0 : shape.Pick(0, 20, 100, 250),
            DuplicatePerMille = calm ? 0 : shape.Pick(0, 50, 200),
            SlowPerMille = calm ? 0 : shape.Pick(0, 50, 200),
            DisksSurvive = shape.Chance(700),
            HasPartition = shape.Chance(300),
            Deeds = RandomDeeds(random.Fork(), nodes.Count, calm),
        };
    }

    private static Resources RandomNode(SeededRandom random)
    {
        var node = Resources.Of(1024 * random.Pick(2, 4, 4, 8, 16), random.Pick(2, 4, 4, 8));
        return random.Chance(250) ? node with { Custom = node.Custom.SetItem("gpu", random.Between(1, 4)) } : node;
    }

    private static ImmutableArray<Deed> RandomDeeds(SeededRandom random, int nodes, bool calm)
    {
        var deeds = new List<Deed>();
        void Do(string kind, int subject, double at) => deeds.Add(new Deed(at, kind, subject, random.Next()));
        double When() => random.Between(0, (int)(FaultsEnd * 1000)) / 1000.0;

        for (var i = 0; i < nodes; i++)
        {
            Do("start-agent", i, random.Chance(700) ? random.Between(0, 2000) / 1000.0 : When());
        }
        var applications = random.Between(1, 6);
        for (var i = 0; i < applications; i++)
        {
            var start = random.Chance(500) ? random.Between(0, 5000) / 1000.0 : When();
            Do("start-driver", i, start);
            for (var k = random.Between(0, 5); k > 0; k--)
            {
                Do("change-asks", i, start + (random.Between(1, 30000) / 1000.0));
            }
            if (random.Chance(500))
            {
                Do("finish", i, start + (random.Between(5000, 40000) / 1000.0));
            }
        }
        for (var k = calm ? 0 : random.Between(0, 9); k > 0; k--)
        {
            switch (random.Between(0, 11))
            {
                case 0 or 1: Do("crash-manager", 0, When()); break;
                case 2: Do("restart-agent", random.Between(0, nodes), When()); break;
                case 3: Do("crash-node", random.Between(0, nodes), When()); break;
                case 4: Do("cut-node", random.Between(0, nodes), When()); break;
                case 5: Do("cut-driver", random.Between(0, applications), When()); break;
                case 6: Do("drain", random.Between(0, nodes), When()); break;
                case 7: Do("kill-application", random.Between(0, applications), When()); break;
                case 8: Do("reload", 0, When()); break;
                case 9: Do("sicken", random.Between(0, nodes), When()); break;
                default: Do("kill-driver", random.Between(0, applications), When()); break;
            }
        }
        return [.. deeds.OrderBy(static deed => deed.At)];
    }

    public static ClusterConfiguration RandomConfiguration(SeededRandom random)
    {
        if (random.Chance(200))
        {
            return new ClusterConfiguration { NodeOrder = random.Pick(NodeOrder.Spread, NodeOrder.Pack) };
        }
        var byPercent = random.Chance(400);
        QueueConfiguration Queue(string name) => new QueueConfiguration(name)
        {
            Order = random.Pick(ApplicationOrder.Fair, ApplicationOrder.Fifo, ApplicationOrder.Priority),
            Guarantee = random.Chance(300) ? null : byPercent ? Share.Percent(random.Between(0, 30)) : Share.Weight(random.Between(1, 5)),
            Maximum = random.Chance(600) ? null : random.Chance(500) ? Share.Percent(random.Between(30, 101)) : Share.Of(Resources.Of(1024 * random.Between(2, 20), random.Between(2, 16))),
            MaximumActiveApplications = random.Chance(200) ? random.Between(1, 3) : null,
            MaximumDriverPercent = random.Chance(300) ? random.Between(10, 60) : null,
            Priority = random.Chance(100) ? 1 : 0,
            Preemptible = random.Chance(900),
            Limits = random.Chance(300)
                ? [new QueueLimit { Users = ["*"], MaximumResources = Resources.Of(1024 * random.Between(2, 12), random.Between(0, 10)) }]
                : random.Chance(200) ? [new QueueLimit { Groups = ["staff"], MaximumResources = Resources.Of(1024 * random.Between(2, 12), 0) }] : [],
        };
        return new ClusterConfiguration
        {
            NodeOrder = random.Pick(NodeOrder.Spread, NodeOrder.Pack),
            Preemption = new PreemptionConfiguration { Delay = TimeSpan.FromSeconds(random.Pick(2, 10)), RoundPercent = 30 },
            Root = new QueueConfiguration("root")
            {
                Queues =
                [
                    Queue("default"),
                    Queue("one"),
                    Queue("two") with { Limits = [], Queues = [Queue("red"), Queue("blue")] },
                ],
            },
        };
    }
}
