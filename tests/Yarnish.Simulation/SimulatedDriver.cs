using System.Collections.Immutable;
using Yarnish.Protocol;

namespace Yarnish.Simulation;

/// <summary>A driver's asking side as the protocol describes it: wishes, what it holds, releases until their end is known.</summary>
internal sealed class SimulatedDriver(World world, ApplicationId id, string user, string queue, int priority, SeededRandom random)
{
    private readonly SortedDictionary<long, Ask> _asks = [];
    private readonly SortedDictionary<ContainerId, ContainerGrant> _held = [];
    private readonly SortedSet<ContainerId> _releasing = [];
    private readonly HashSet<ContainerId> _ended = [];
    private readonly SortedSet<NodeId> _excluded = [];
    private long _sequence;
    private int _epoch;
    private bool _registered;
    private bool _finished;

    public ApplicationId Id { get; } = id;

    /// <summary>Whether the program runs.</summary>
    public bool Up { get; private set; }

    /// <summary>Whether it ended, was killed or was refused.</summary>
    public bool Over { get; private set; }

    public IEnumerable<ContainerId> Held => _held.Keys;

    public IReadOnlyCollection<Ask> Asks => _asks.Values;

    public int HeldFor(long ask) => _held.Values.Count(grant => grant.AskId == ask && !_releasing.Contains(grant.ContainerId));

    public void Start()
    {
        Up = true;
        for (var i = random.Between(1, 4); i > 0; i--)
        {
            AddAsk();
        }
        Beat();
    }

    public void Die() => Up = false;

    private void AddAsk()
    {
        var ask = new Ask(_asks.Count == 0 ? 1 : _asks.Keys.Max() + 1, RandomSize(), random.Between(0, 8), World.Command) { Priority = random.Between(0, 3), Tags = ["t"] };
        ask = random.Between(0, 14) switch
        {
            0 => ask with { GangSeconds = random.Between(2, 60), Desired = random.Between(2, 6) },
            1 => ask with { Constraints = [new PlacementConstraint(PlacementKind.AntiAffinity, "t", random.Chance(600))] },
            2 => ask with { Constraints = [new PlacementConstraint(PlacementKind.MaximumPerNode, "t", true) { Limit = random.Between(1, 4), PerRack = random.Chance(200) }] },
            3 => ask with { Constraints = [new PlacementConstraint(PlacementKind.Spread, "t", random.Chance(500)) { PerRack = random.Chance(300) }] },
            4 => ask with { Constraints = [new PlacementConstraint(PlacementKind.Affinity, "*/t", random.Chance(500))] },
            5 => ask with { PreferredNodes = [new NodeId("n" + random.Between(0, 8))], RelaxLocality = random.Chance(700) },
            6 => ask with { PreferredRacks = ["r0"], PreferredNodes = random.Chance(500) ? [new NodeId("n" + random.Between(0, 8))] : [] },
            7 => ask with { IsDriver = true, Desired = 1 },
            8 or 9 when world.HasPartition => ask with { Partition = "apart" },
            _ => ask,
        };
        _asks[ask.AskId] = ask;
    }

    private Resources RandomSize()
    {
        var size = Resources.Of(random.Pick(512, 1024, 1024, 2048, 4096, 64 * 1024), random.Pick(0.5, 1, 1, 2, 4));
        return random.Chance(120) ? size with { Custom = size.Custom.SetItem("gpu", 1) } : size;
    }

    /// <summary>Wants something else.</summary>
    public void Change()
    {
        if (!Up || Over || _finished)
        {
            return;
        }
        switch (random.Between(0, 5))
        {
            case 0: AddAsk(); break;
            case 1 when _asks.Count > 1: _asks.Remove(_asks.Keys.First()); break;
            case 2: _ = random.Chance(500) ? _excluded.Add(new NodeId("n" + random.Between(0, 4))) : _excluded.Remove(_excluded.FirstOrDefault()); break;
            default:
                foreach (var ask in _asks.Values.ToArray())
                {
                    _asks[ask.AskId] = ask with { Desired = random.Between(0, 9) };
                }
                break;
        }
        LetGo();
        Say();
    }

    // Containers beyond what is wanted are released, newest first.
    private void LetGo()
    {
        foreach (var group in _held.Values.Where(grant => !_releasing.Contains(grant.ContainerId)).GroupBy(static grant => grant.AskId).ToArray())
        {
            var wanted = _asks.TryGetValue(group.Key, out var ask) ? ask.Desired : 0;
            foreach (var grant in group.OrderBy(static grant => grant.ContainerId).Skip(wanted))
            {
                _releasing.Add(grant.ContainerId);
            }
        }
    }

    public void Finish()
    {
        if (Up && !Over)
        {
            _finished = true;
            Say();
        }
    }

    private void Beat()
    {
        if (!Up || Over)
        {
            return;
        }
        Say();
        world.After(2.0, Beat);
    }

    private void Say()
    {
        if (!_registered)
        {
            world.FromDriver(Id, new RegisterApplication(Id, Id.Value, user, queue) { Priority = priority, Groups = user == "ada" ? ["staff"] : [] });
            return;
        }
        world.FromDriver(Id, new ApplicationHeartbeat(Id, ++_sequence, new ApplicationProgress()));
        if (_finished)
        {
            // Said until someone answers that it is over: a finished application gets no answer but silence, so a few times suffice after healing.
            world.FromDriver(Id, new FinishApplication(Id, true, "", new ApplicationProgress()));
            return;
        }
        world.FromDriver(Id, new UpdateAsks(Id, ++_sequence, [.. _asks.Values])
        {
            Release = [.. _releasing],
            ExcludedNodes = [.. _excluded],
            Held = [.. _held.Values.Select(static grant => new HeldContainer(grant.ContainerId, grant.AskId, grant.NodeId))],
        });
    }

    public void Receive(ControlMessage message)
    {
        if (!Up || Over)
        {
            return;
        }
        switch (message)
        {
            case ApplicationRegistered m when Accept(m.Epoch):
                if (!_registered)
                {
                    _registered = true;
                    Say();
                }
                break;
            case ApplicationRefused m when Accept(m.Epoch): Over = true; break;
            case ResyncApplication m when Accept(m.Epoch): _registered = false; Say(); break;
            case KillApplication m when Accept(m.Epoch): Over = true; break;
            case ContainersGranted m when Accept(m.Epoch): Take(m.Grants); break;
            case ContainersCompleted m when Accept(m.Epoch): Lose(m.Completions); break;
            default: break;
        }
    }

    private bool Accept(int epoch)
    {
        if (epoch < _epoch)
        {
            return false;
        }
        _epoch = epoch;
        return true;
    }

    private void Take(ImmutableArray<ContainerGrant> grants)
    {
        foreach (var grant in grants)
        {
            if (!_ended.Contains(grant.ContainerId))
            {
                _held[grant.ContainerId] = grant;
            }
        }
        LetGo();
    }

    private void Lose(ImmutableArray<ContainerCompletion> completions)
    {
        foreach (var completion in completions)
        {
            _ended.Add(completion.ContainerId);
            _held.Remove(completion.ContainerId);
            _releasing.Remove(completion.ContainerId);
        }
    }
}
