using Yarnish.Protocol;

namespace Yarnish.Scheduling;

/// <summary>Makes the queue tree from its configuration, computes what each queue has by right, and chooses queues for applications.</summary>
internal static class QueueTree
{
    /// <summary>The leaf for applications whose queue is gone after a restart.</summary>
    public const string Recovered = "recovered";

    /// <summary>Makes the queues of a configuration anew. Ledgers start at zero; the caller moves applications over and charges what they hold.</summary>
    public static void Build(ClusterState state, ClusterConfiguration configuration)
    {
        state.Configuration = configuration;
        state.Queues.Clear();
        state.QueuesByPath.Clear();
        foreach (var partition in state.Partitions)
        {
            partition.Shared = state.IsShared(partition.Name);
            partition.SharesStale = true;
        }
        var names = configuration.Root.Queues.IsEmpty ? configuration.Root with { Queues = [new QueueConfiguration("default")] } : configuration.Root;
        Add(state, names, null);
    }

    /// <summary>Adds a queue, and those below it, at the end of the tree.</summary>
    public static Queue Add(ClusterState state, QueueConfiguration configuration, Queue? parent)
    {
        var queue = new Queue(configuration, parent, state.Queues.Count);
        state.Queues.Add(queue);
        state.QueuesByPath[queue.Path] = queue;
        parent?.Children.Add(queue);
        foreach (var partition in state.Partitions)
        {
            AddShare(queue, partition);
        }
        foreach (var child in configuration.Queues)
        {
            Add(state, child, queue);
        }
        return queue;
    }

    /// <summary>Gives a queue its part of a new partition.</summary>
    public static void AddShare(Queue queue, Partition partition)
    {
        var share = new QueueShare(queue, partition, queue.Parent?.Shares[partition.Number]);
        queue.Shares.Add(share);
        partition.SharesStale = true;
        if (queue.Parent is null)
        {
            partition.Root = share;
        }
    }

    /// <summary>Computes guarantees, maxima and ranks of a partition after its total or the tree changed.</summary>
    public static void Refresh(ClusterState state, Partition partition)
    {
        partition.SharesStale = false;
        var count = state.Types.Count;
        var root = partition.Root;
        root.Guarantee = partition.Total;
        root.Maximum = ResourceVector.Filled(long.MaxValue);
        foreach (var queue in state.Queues)
        {
            Divide(state, queue, queue.Shares[partition.Number], partition);
        }
        foreach (var application in state.Applications)
        {
            foreach (var share in application.Shares)
            {
                if (ReferenceEquals(share.Partition, partition))
                {
                    share.Rank(count);
                }
            }
        }
        foreach (var queue in state.Queues)
        {
            var share = queue.Shares[partition.Number];
            share.Rank(count);
        }
        foreach (var queue in state.Queues)
        {
            var share = queue.Shares[partition.Number];
            share.Children.Rebuild();
            share.Applications.Rebuild();
        }
    }

    // What the queues right below have by right and may hold, of what this one has and may.
    private static void Divide(ClusterState state, Queue parent, QueueShare above, Partition partition)
    {
        var count = state.Types.Count;
        if (parent.Configuration.MaximumDriverPercent is { } percent)
        {
            for (var i = 0; i < count; i++)
            {
                above.DriverMaximum[i] = Part(Math.Min(above.Maximum[i], partition.Total[i]), percent * 1000L, 100_000);
            }
        }
        var weights = 0L;
        var mode = ShareMode.Weight;
        foreach (var child in parent.Children)
        {
            if (child.GuaranteeIn(partition.Name) is { } said)
            {
                mode = said.Mode;
            }
        }
        foreach (var child in parent.Children)
        {
            weights += child.GuaranteeIn(partition.Name)?.Thousandths ?? 1000;
        }
        foreach (var child in parent.Children)
        {
            var share = child.Shares[partition.Number];
            var guarantee = child.GuaranteeIn(partition.Name);
            var maximum = child.MaximumIn(partition.Name);
            share.Guarantee = default;
            share.Maximum = ResourceVector.Filled(long.MaxValue);
            share.DriverMaximum = ResourceVector.Filled(long.MaxValue);
            ResourceVector amount = default;
            if (guarantee is { Mode: ShareMode.Amount })
            {
                state.Types.TryPack(guarantee.Amount, out amount);
            }
            ResourceVector most = default;
            if (maximum is { Mode: ShareMode.Amount })
            {
                state.Types.TryPack(maximum.Amount, out most);
            }
            for (var i = 0; i < count; i++)
            {
                share.Guarantee[i] = mode switch
                {
                    ShareMode.Weight => Part(above.Guarantee[i], guarantee?.Thousandths ?? 1000, weights),
                    ShareMode.Percent => Part(above.Guarantee[i], guarantee?.Thousandths ?? 0, 100_000),
                    _ => Math.Min(amount[i], partition.Total[i]),
                };
                var bound = maximum switch
                {
                    { Mode: ShareMode.Percent } => Part(Math.Min(above.Maximum[i], partition.Total[i]), maximum.Thousandths, 100_000),
                    { Mode: ShareMode.Amount } when most[i] > 0 => most[i],
                    _ => long.MaxValue,
                };
                share.Maximum[i] = bound;
                share.Guarantee[i] = Math.Min(share.Guarantee[i], bound);
            }
        }
    }

    // A part that is not nothing is at least one, so that few of a scarce resource can still be shared out fairly.
    private static long Part(long whole, long part, long of)
    {
        if (whole <= 0 || part <= 0 || of <= 0)
        {
            return 0;
        }
        return (long)Int128.Max(1, (Int128)whole * part / of);
    }

    /// <summary>The leaf for an application, or null with the reason why it is refused. May create queues from templates.</summary>
    public static (Queue? Queue, string Refusal) Choose(ClusterState state, RegisterApplication registration)
    {
        var rules = state.Configuration.Rules;
        if (rules.IsDefaultOrEmpty)
        {
            rules = [new PlacementRule(PlacementAction.Provided), new PlacementRule(PlacementAction.Fixed) { Queue = DefaultLeaf(state) }];
        }
        foreach (var rule in rules)
        {
            if (!Matches(rule, registration))
            {
                continue;
            }
            switch (rule.Action)
            {
                case PlacementAction.Reject:
                    return (null, $"The placement rules refuse application '{registration.Name}' of user '{registration.User}': ask an operator which queue it may use.");
                case PlacementAction.Provided:
                    if (registration.Queue.Length > 0)
                    {
                        return Provided(state, registration.Queue);
                    }
                    break;
                case PlacementAction.Fixed:
                    return Admit(state.QueuesByPath[rule.Queue]);
                default:
                    if (Named(state, rule, registration) is { } queue)
                    {
                        return Admit(queue);
                    }
                    break;
            }
        }
        return (null, $"No placement rule gives application '{registration.Name}' of user '{registration.User}' a queue: name one, such as {DefaultLeaf(state)}.");
    }

    private static string DefaultLeaf(ClusterState state)
    {
        if (state.QueuesByPath.TryGetValue("root.default", out var usual) && usual.IsLeaf)
        {
            return usual.Path;
        }
        foreach (var queue in state.Queues)
        {
            if (queue.IsLeaf)
            {
                return queue.Path;
            }
        }
        return "root";
    }

    /// <summary>Some leaf: the usual one if there is one.</summary>
    public static Queue AnyLeaf(ClusterState state) => state.QueuesByPath[DefaultLeaf(state)];

    private static (Queue? Queue, string Refusal) Provided(ClusterState state, string name)
    {
        if (!state.QueuesByPath.TryGetValue(name, out var queue) && !state.QueuesByPath.TryGetValue("root." + name, out queue))
        {
            return (null, $"There is no queue '{name}': choose one of {Leaves(state)}.");
        }
        return queue.IsLeaf ? Admit(queue) : (null, $"'{queue.Path}' has queues below it and takes no applications: choose one of {Leaves(state)}.");
    }

    private static string Leaves(ClusterState state)
    {
        var names = new List<string>();
        foreach (var queue in state.Queues)
        {
            if (queue.IsLeaf && queue.State == QueueState.Running && names.Count < 10)
            {
                names.Add(queue.Path);
            }
        }
        return string.Join(", ", names);
    }

    private static (Queue? Queue, string Refusal) Admit(Queue queue)
    {
        if (queue.State != QueueState.Running)
        {
            return (null, $"Queue '{queue.Path}' is {(queue.State == QueueState.Draining ? "draining" : "stopped")} and takes no new applications: choose another one, or ask an operator to open it.");
        }
        for (var above = queue; above is not null; above = above.Parent)
        {
            if (above.Configuration.MaximumApplications is { } most && above.Applications >= most)
            {
                return (null, $"Queue '{above.Path}' has {above.Applications} of at most {most} applications: try again when one has ended.");
            }
        }
        return (queue, "");
    }

    private static bool Matches(PlacementRule rule, RegisterApplication registration) =>
        (rule.User is null || rule.User == registration.User)
        && (rule.Group is null || registration.Groups.Contains(rule.Group))
        && (rule.Application is null || MatchesName(rule.Application, registration.Name));

    private static bool MatchesName(string pattern, string name) =>
        pattern.EndsWith('*') ? name.StartsWith(pattern[..^1], StringComparison.Ordinal) : pattern == name;

    private static Queue? Named(ClusterState state, PlacementRule rule, RegisterApplication registration)
    {
        var name = rule.Action switch
        {
            PlacementAction.User => registration.User,
            PlacementAction.Group => registration.Groups.IsDefaultOrEmpty ? "" : registration.Groups[0],
            _ => registration.Name,
        };
        if (name.Length is 0 or > 64 || !state.QueuesByPath.TryGetValue(rule.Queue, out var parent))
        {
            return null;
        }
        var clean = string.Create(name.Length, name, static (to, from) =>
        {
            for (var i = 0; i < to.Length; i++)
            {
                to[i] = char.IsAsciiLetterOrDigit(from[i]) || from[i] is '_' or '-' ? from[i] : '_';
            }
        });
        if (state.QueuesByPath.TryGetValue(parent.Path + "." + clean, out var queue))
        {
            return queue.IsLeaf ? queue : null;
        }
        return rule.Create && parent.Configuration.Template is { } template && state.Queues.Count < ConfigurationCheck.MaximumQueues
            ? Add(state, template with { Name = clean }, parent)
            : null;
    }

    /// <summary>The leaf a restored application was in; if it is gone, one made for it, so that what runs goes on.</summary>
    public static Queue ChooseRestored(ClusterState state, ApplicationAccepted record)
    {
        if (state.QueuesByPath.TryGetValue(record.Queue.Value, out var known) && known.IsLeaf)
        {
            return known;
        }
        var (chosen, _) = Choose(state, record.Registration);
        if (chosen is not null)
        {
            return chosen;
        }
        if (state.QueuesByPath.TryGetValue("root." + Recovered, out var recovered))
        {
            return recovered;
        }
        return Add(state, new QueueConfiguration(Recovered) { State = QueueState.Draining }, state.Queues[0]);
    }

    /// <summary>The limits that bind an application along the path of its queue.</summary>
    public static LimitLedger[] LimitsOf(ClusterState state, Queue leaf, RegisterApplication registration)
    {
        var limits = new List<LimitLedger>();
        for (var queue = leaf; queue is not null; queue = queue.Parent)
        {
            if (queue.Configuration.Limits.IsEmpty)
            {
                continue;
            }
            Add(state, limits, queue, registration.User, isGroup: false);
            foreach (var group in registration.Groups)
            {
                Add(state, limits, queue, group, isGroup: true);
            }
        }
        return [.. limits];
    }

    private static void Add(ClusterState state, List<LimitLedger> limits, Queue queue, string who, bool isGroup)
    {
        var key = (isGroup ? "group " : "user ") + who;
        if (queue.Limits.TryGetValue(key, out var ledger))
        {
            if (!limits.Contains(ledger))
            {
                limits.Add(ledger);
            }
            return;
        }
        QueueLimit? wild = null;
        QueueLimit? named = null;
        foreach (var limit in queue.Configuration.Limits)
        {
            var names = isGroup ? limit.Groups : limit.Users;
            named = names.Contains(who) ? limit : named;
            wild = names.Contains("*") ? limit : wild;
        }
        if ((named ?? wild) is not { } found)
        {
            return;
        }
        ledger = new LimitLedger(queue, who, isGroup, found);
        if (found.MaximumResources is { } most && state.Types.TryPack(most, out var vector))
        {
            for (var i = 0; i < ResourceVector.Width; i++)
            {
                ledger.Maximum[i] = vector[i] > 0 ? vector[i] : long.MaxValue;
            }
        }
        queue.Limits.Add(key, ledger);
        limits.Add(ledger);
    }
}
