using System.Collections.Immutable;
using Yarnish.Protocol;

namespace Yarnish.Scheduling;

/// <summary>One error of a configuration.</summary>
/// <param name="Path">The key it is about, such as <c>root.queues[1].maximum</c>.</param>
/// <param name="Message">What is wrong and what to do.</param>
public sealed record ConfigurationError(string Path, string Message)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Path}: {Message}";
}

/// <summary>Judges a configuration. Every error is found at once, each with the key it is about.</summary>
public static class ConfigurationCheck
{
    /// <summary>Most queues of a tree.</summary>
    public const int MaximumQueues = 10_000;

    /// <summary>Deepest path of a queue.</summary>
    public const int MaximumDepth = 16;

    /// <summary>Every error of <paramref name="configuration"/>; empty when it is good.</summary>
    public static ImmutableArray<ConfigurationError> Validate(ClusterConfiguration configuration)
    {
        var errors = ImmutableArray.CreateBuilder<ConfigurationError>();
        var queues = 0;
        if (configuration.Root.Name != "root")
        {
            errors.Add(new("root.name", $"The first queue is called 'root', not '{configuration.Root.Name}'."));
        }
        if (configuration.Root.Guarantee is not null || configuration.Root.Maximum is not null)
        {
            errors.Add(new("root", "The share of root is the whole cluster: remove its guarantee and maximum."));
        }
        Queue(configuration.Root, "root", 1, ref queues, errors);
        Partitions(configuration, errors);
        Rules(configuration, errors);
        Numbers(configuration, errors);
        return errors.ToImmutable();
    }

    private static void Queue(QueueConfiguration queue, string path, int depth, ref int count, ImmutableArray<ConfigurationError>.Builder errors)
    {
        if (++count > MaximumQueues)
        {
            if (count == MaximumQueues + 1)
            {
                errors.Add(new(path, $"There are more than {MaximumQueues} queues."));
            }
            return;
        }
        if (depth > MaximumDepth)
        {
            errors.Add(new(path, $"Queues are nested deeper than {MaximumDepth} levels."));
            return;
        }
        Name(queue.Name, path + ".name", errors);
        Share(queue.Guarantee, path + ".guarantee", errors);
        Maximum(queue.Guarantee, queue.Maximum, path + ".maximum", errors);
        foreach (var (partition, share) in queue.Partitions)
        {
            Share(share.Guarantee, $"{path}.partitions.{partition}.guarantee", errors);
            Maximum(share.Guarantee, share.Maximum, $"{path}.partitions.{partition}.maximum", errors);
        }
        Positive(queue.MaximumApplications, path + ".maximumApplications", errors);
        Positive(queue.MaximumActiveApplications, path + ".maximumActiveApplications", errors);
        if (queue.MaximumDriverPercent is < 0 or > 100)
        {
            errors.Add(new(path + ".maximumDriverPercent", $"{queue.MaximumDriverPercent} is not a percentage: use 0 to 100."));
        }
        if (queue.MaximumLifetime is { } lifetime && lifetime <= TimeSpan.Zero)
        {
            errors.Add(new(path + ".maximumLifetime", "A lifetime must be longer than nothing: remove the key for no limit."));
        }
        Amount(queue.MaximumContainer, path + ".maximumContainer", errors);
        Limits(queue, path, errors);
        Siblings(queue, path, errors);
        if (queue.Template is { } template)
        {
            Queue(template with { Name = "template" }, path + ".template", depth + 1, ref count, errors);
        }
        for (var i = 0; i < queue.Queues.Length; i++)
        {
            Queue(queue.Queues[i], $"{path}.queues[{i}]", depth + 1, ref count, errors);
        }
    }

    private static void Siblings(QueueConfiguration parent, string path, ImmutableArray<ConfigurationError>.Builder errors)
    {
        var names = new HashSet<string>(StringComparer.Ordinal);
        for (var i = 0; i < parent.Queues.Length; i++)
        {
            if (!names.Add(parent.Queues[i].Name))
            {
                errors.Add(new($"{path}.queues[{i}].name", $"A second queue '{parent.Queues[i].Name}' below '{parent.Name}': names of siblings must differ."));
            }
        }
        foreach (var partition in PartitionsOf(parent))
        {
            SiblingShares(parent, path, partition, errors);
        }
    }

    private static SortedSet<string> PartitionsOf(QueueConfiguration parent)
    {
        var names = new SortedSet<string>(StringComparer.Ordinal) { "" };
        foreach (var child in parent.Queues)
        {
            names.UnionWith(child.Partitions.Keys);
        }
        return names;
    }

    private static void SiblingShares(QueueConfiguration parent, string path, string partition, ImmutableArray<ConfigurationError>.Builder errors)
    {
        ShareMode? mode = null;
        var percent = 0L;
        for (var i = 0; i < parent.Queues.Length; i++)
        {
            var child = parent.Queues[i];
            var guarantee = child.Partitions.TryGetValue(partition, out var own) ? own.Guarantee : child.Guarantee;
            if (guarantee is null)
            {
                continue;
            }
            var key = $"{path}.queues[{i}]{(own is null ? "" : $".partitions.{partition}")}.guarantee";
            if (mode is { } first && first != guarantee.Mode)
            {
                errors.Add(new(key, $"Siblings below '{parent.Name}' say their shares in different ways ({first} and {guarantee.Mode}): choose one."));
                return;
            }
            mode = guarantee.Mode;
            if (guarantee.Mode == ShareMode.Percent)
            {
                percent += guarantee.Thousandths;
                if (percent > 100_000)
                {
                    errors.Add(new(key, $"The shares below '{parent.Name}' come to {percent / 1000m:0.###} %: at most 100 % can be guaranteed."));
                    return;
                }
            }
        }
        if (mode == ShareMode.Amount && parent.Guarantee is { Mode: ShareMode.Amount } limit)
        {
            AmountsWithin(parent, path, partition, limit.Amount, errors);
        }
    }

    private static void AmountsWithin(
        QueueConfiguration parent, string path, string partition, Resources limit, ImmutableArray<ConfigurationError>.Builder errors)
    {
        var names = new SortedSet<string>(StringComparer.Ordinal) { ResourceTypes.Memory, ResourceTypes.MilliCores };
        foreach (var child in parent.Queues)
        {
            names.UnionWith((child.Guarantee?.Amount ?? Resources.Zero).Custom.Keys);
        }
        foreach (var name in names)
        {
            Int128 sum = 0;
            foreach (var child in parent.Queues)
            {
                var guarantee = child.Partitions.TryGetValue(partition, out var own) ? own.Guarantee : child.Guarantee;
                sum += ResourceTypes.Amount(guarantee?.Amount ?? Resources.Zero, name);
            }
            if (sum > ResourceTypes.Amount(limit, name))
            {
                errors.Add(new($"{path}.guarantee", $"The queues below '{parent.Name}' are guaranteed {sum} {name}, the queue itself only {ResourceTypes.Amount(limit, name)}."));
            }
        }
    }

    private static void Name(string name, string path, ImmutableArray<ConfigurationError>.Builder errors)
    {
        var good = name.Length is >= 1 and <= 64;
        foreach (var c in name)
        {
            good &= char.IsAsciiLetterOrDigit(c) || c is '_' or '-';
        }
        if (!good)
        {
            errors.Add(new(path, $"'{(name.Length > 80 ? name[..80] + "…" : name)}' is not a queue name: use 1 to 64 characters of A-Z a-z 0-9 _ -."));
        }
    }

    private static void Share(Share? share, string path, ImmutableArray<ConfigurationError>.Builder errors)
    {
        if (share is null)
        {
            return;
        }
        if (share.Mode == ShareMode.Percent && share.Thousandths is < 0 or > 100_000)
        {
            errors.Add(new(path, $"{share} is not a share: use 0 to 100 %."));
        }
        if (share.Mode == ShareMode.Weight && share.Thousandths is < 0 or > 1_000_000_000)
        {
            errors.Add(new(path, $"{share} is out of range: use 0 to 1,000,000."));
        }
        if (share.Mode == ShareMode.Amount)
        {
            Amount(share.Amount, path, errors);
        }
    }

    private static void Maximum(Share? guarantee, Share? maximum, string path, ImmutableArray<ConfigurationError>.Builder errors)
    {
        if (maximum is null)
        {
            return;
        }
        if (maximum.Mode == ShareMode.Weight)
        {
            errors.Add(new(path, "A maximum cannot be a weight: say it in percent or as an amount."));
            return;
        }
        Share(maximum, path, errors);
        if (guarantee is null || guarantee.Mode != maximum.Mode)
        {
            return;
        }
        if (maximum.Mode == ShareMode.Percent && maximum.Thousandths < guarantee.Thousandths)
        {
            errors.Add(new(path, $"The maximum ({maximum}) is below the guarantee ({guarantee})."));
        }
        if (maximum.Mode == ShareMode.Amount)
        {
            Names(guarantee, maximum, path, errors);
        }
    }

    private static void Names(Share guarantee, Share maximum, string path, ImmutableArray<ConfigurationError>.Builder errors)
    {
        foreach (var name in new[] { ResourceTypes.Memory, ResourceTypes.MilliCores }.Concat(guarantee.Amount.Custom.Keys))
        {
            var most = ResourceTypes.Amount(maximum.Amount, name);
            if (most > 0 && most < ResourceTypes.Amount(guarantee.Amount, name))
            {
                errors.Add(new(path, $"The maximum of {name} ({most}) is below its guarantee ({ResourceTypes.Amount(guarantee.Amount, name)})."));
            }
        }
    }

    private static void Amount(Resources? amount, string path, ImmutableArray<ConfigurationError>.Builder errors)
    {
        if (amount is not null && !ResourceTypes.InRange(amount))
        {
            errors.Add(new(path, $"'{amount}' is out of range: amounts are 0 to {ResourceTypes.Largest}."));
        }
    }

    private static void Positive(int? number, string path, ImmutableArray<ConfigurationError>.Builder errors)
    {
        if (number < 1)
        {
            errors.Add(new(path, $"{number} lets nothing in: use 1 or more, or the state Stopped."));
        }
    }

    private static void Limits(QueueConfiguration queue, string path, ImmutableArray<ConfigurationError>.Builder errors)
    {
        var seen = new HashSet<string>(StringComparer.Ordinal);
        for (var i = 0; i < queue.Limits.Length; i++)
        {
            var limit = queue.Limits[i];
            var key = $"{path}.limits[{i}]";
            if (limit.Users.IsEmpty && limit.Groups.IsEmpty)
            {
                errors.Add(new(key, "A limit must name users or groups ('*' for all)."));
            }
            if (limit.MaximumResources is null && limit.MaximumActiveApplications is null)
            {
                errors.Add(new(key, "A limit must bound something: maximumResources or maximumActiveApplications."));
            }
            Amount(limit.MaximumResources, key + ".maximumResources", errors);
            Positive(limit.MaximumActiveApplications, key + ".maximumActiveApplications", errors);
            foreach (var who in limit.Users.Select(static user => "user " + user).Concat(limit.Groups.Select(static group => "group " + group)))
            {
                if (!seen.Add(who))
                {
                    errors.Add(new(key, $"A second limit for {who} in one queue."));
                }
            }
        }
    }

    private static void Partitions(ClusterConfiguration configuration, ImmutableArray<ConfigurationError>.Builder errors)
    {
        var names = new HashSet<string>(StringComparer.Ordinal);
        for (var i = 0; i < configuration.Partitions.Length; i++)
        {
            Name(configuration.Partitions[i].Name, $"partitions[{i}].name", errors);
            if (!names.Add(configuration.Partitions[i].Name))
            {
                errors.Add(new($"partitions[{i}].name", $"A second partition '{configuration.Partitions[i].Name}'."));
            }
        }
    }

    private static void Rules(ClusterConfiguration configuration, ImmutableArray<ConfigurationError>.Builder errors)
    {
        for (var i = 0; i < configuration.Rules.Length; i++)
        {
            var rule = configuration.Rules[i];
            if (rule.Action is PlacementAction.Provided or PlacementAction.Reject)
            {
                continue;
            }
            var found = Find(configuration.Root, rule.Queue);
            if (found is null)
            {
                errors.Add(new($"rules[{i}].queue", $"There is no queue '{rule.Queue}'."));
            }
            else if (rule.Action == PlacementAction.Fixed && !found.Queues.IsEmpty)
            {
                errors.Add(new($"rules[{i}].queue", $"'{rule.Queue}' has queues below it: applications live in leaves only."));
            }
            else if (rule.Create && found.Template is null)
            {
                errors.Add(new($"rules[{i}].create", $"'{rule.Queue}' has no template to create queues from."));
            }
        }
    }

    private static void Numbers(ClusterConfiguration configuration, ImmutableArray<ConfigurationError>.Builder errors)
    {
        if (configuration.ReservedNodesPercent is < 0 or > 100)
        {
            errors.Add(new("reservedNodesPercent", $"{configuration.ReservedNodesPercent} is not a percentage: use 0 to 100."));
        }
        if (configuration.ReservationsPerApplication < 0)
        {
            errors.Add(new("reservationsPerApplication", "Use 0 or more."));
        }
        if (configuration.Preemption.RoundPercent is < 0 or > 100)
        {
            errors.Add(new("preemption.roundPercent", $"{configuration.Preemption.RoundPercent} is not a percentage: use 0 to 100."));
        }
        if (configuration.Preemption.Delay < TimeSpan.Zero)
        {
            errors.Add(new("preemption.delay", "Use 0 or more."));
        }
        if (configuration.Preemption.Interval <= TimeSpan.Zero)
        {
            errors.Add(new("preemption.interval", "Use more than nothing."));
        }
    }

    /// <summary>The queue of this path, or null.</summary>
    internal static QueueConfiguration? Find(QueueConfiguration root, string path)
    {
        var parts = path.Split('.');
        if (parts[0] != root.Name)
        {
            return null;
        }
        var queue = root;
        foreach (var part in parts.AsSpan(1))
        {
            QueueConfiguration? next = null;
            foreach (var child in queue.Queues)
            {
                next = child.Name == part ? child : next;
            }
            if (next is null)
            {
                return null;
            }
            queue = next;
        }
        return queue;
    }
}
