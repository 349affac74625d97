using System.Collections.Immutable;
using System.Globalization;
using Yarnish.Protocol;
using Yarnish.Scheduling;

namespace Yarnish.Queues;

/// <summary>What a new configuration would change.</summary>
public static class QueueDifference
{
    /// <summary>Every key that differs, queues by their dotted path, in the order of their names.</summary>
    /// <param name="before">What is in force.</param>
    /// <param name="after">What is proposed.</param>
    public static ImmutableArray<QueueChange> Between(ClusterConfiguration before, ClusterConfiguration after)
    {
        var (old, now) = (Flatten(before), Flatten(after));
        var changes = ImmutableArray.CreateBuilder<QueueChange>();
        foreach (var key in old.Keys.Union(now.Keys).Order(StringComparer.Ordinal))
        {
            old.TryGetValue(key, out var was);
            now.TryGetValue(key, out var becomes);
            if (was != becomes)
            {
                changes.Add(new QueueChange(key, was, becomes));
            }
        }
        return changes.ToImmutable();
    }

    private static Dictionary<string, string> Flatten(ClusterConfiguration configuration)
    {
        var keys = new Dictionary<string, string>(StringComparer.Ordinal);
        Queue(configuration.Root, "root", keys);
        for (var i = 0; i < configuration.Rules.Length; i++)
        {
            var rule = configuration.Rules[i];
            keys[$"rules[{i}]"] = string.Join(" ", new[]
            {
                rule.Action.ToString().ToLowerInvariant(), rule.User is null ? "" : $"user={rule.User}", rule.Group is null ? "" : $"group={rule.Group}",
                rule.Application is null ? "" : $"application={rule.Application}", $"queue={rule.Queue}", rule.Create ? "create" : "",
            }.Where(part => part.Length > 0));
        }
        foreach (var partition in configuration.Partitions)
        {
            keys[$"partitions.{partition.Name}"] = partition.Shared ? "shared" : "exclusive";
        }
        keys["nodeOrder"] = configuration.NodeOrder.ToString().ToLowerInvariant();
        keys["preemption.enabled"] = Text(configuration.Preemption.Enabled);
        keys["preemption.insideQueues"] = Text(configuration.Preemption.InsideQueues);
        keys["preemption.delay"] = configuration.Preemption.Delay.ToString();
        keys["preemption.interval"] = configuration.Preemption.Interval.ToString();
        keys["preemption.roundPercent"] = Text(configuration.Preemption.RoundPercent);
        keys["reservedNodesPercent"] = Text(configuration.ReservedNodesPercent);
        keys["reservationsPerApplication"] = Text(configuration.ReservationsPerApplication);
        return keys;
    }

    private static void Queue(QueueConfiguration queue, string path, Dictionary<string, string> keys)
    {
        keys[path] = queue.Queues.IsEmpty ? "leaf" : "parent";
        void Add(string name, string? value)
        {
            if (value is not null)
            {
                keys[$"{path} {name}"] = value;
            }
        }
        Add("state", queue.State == QueueState.Running ? null : queue.State.ToString().ToLowerInvariant());
        Add("guarantee", queue.Guarantee?.ToString());
        Add("maximum", queue.Maximum?.ToString());
        foreach (var (partition, share) in queue.Partitions)
        {
            Add($"partitions.{partition}.guarantee", share.Guarantee?.ToString());
            Add($"partitions.{partition}.maximum", share.Maximum?.ToString());
        }
        Add("order", queue.Order == ApplicationOrder.Fair ? null : queue.Order.ToString().ToLowerInvariant());
        Add("priority", queue.Priority == 0 ? null : Text(queue.Priority));
        Add("maximumApplications", queue.MaximumApplications is { } applications ? Text(applications) : null);
        Add("maximumActiveApplications", queue.MaximumActiveApplications is { } active ? Text(active) : null);
        Add("maximumDriverPercent", queue.MaximumDriverPercent is { } percent ? Text(percent) : null);
        Add("maximumContainer", queue.MaximumContainer?.ToString());
        Add("maximumLifetime", queue.MaximumLifetime?.ToString());
        Add("preemptible", queue.Preemptible ? null : "false");
        foreach (var limit in queue.Limits)
        {
            var who = string.Join(", ", limit.Users.Select(user => "user " + user).Concat(limit.Groups.Select(group => "group " + group)));
            Add($"limit of {who}", string.Join("; ", new[]
            {
                limit.MaximumResources?.ToString(), limit.MaximumActiveApplications is { } most ? $"{most} active applications" : null,
            }.Where(part => part is not null)));
        }
        if (queue.Template is { } template)
        {
            Queue(template, path + ".(template)", keys);
        }
        foreach (var child in queue.Queues)
        {
            Queue(child, $"{path}.{child.Name}", keys);
        }
    }

    private static string Text(int value) => value.ToString(CultureInfo.InvariantCulture);

    private static string Text(bool value) => value ? "true" : "false";
}
