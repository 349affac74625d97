using System.Collections.Immutable;
using System.Globalization;
using Yarnish.Protocol;

namespace Yarnish.NodeAgent.Node;

/// <summary>Finds out what this machine can offer: what the system has, the cgroup allows and affinity leaves.</summary>
internal static class DetectedResources
{
    /// <summary>What the node offers, after the overrides of the options.</summary>
    /// <exception cref="AgentStartException">An override makes no sense.</exception>
    public static Resources Detect(NodeAgentOptions options, string root = "/")
    {
        if (options.MemoryBytes < 0 || options.MilliCores < 0 || options.ReservedMemoryBytes < 0 || options.CustomResources.Any(custom => custom.Value < 0))
        {
            throw new AgentStartException(AgentExitCode.Usage, "MemoryBytes, ReservedMemoryBytes, MilliCores and CustomResources may not be negative.");
        }
        var memory = options.MemoryBytes;
        if (memory == 0)
        {
            var all = MemoryBytes(root);
            var reserve = options.ReservedMemoryBytes > 0 ? options.ReservedMemoryBytes : Math.Clamp(all / 10, 512L << 20, 4L << 30);
            memory = all - Math.Min(reserve, all / 2);
        }
        return new Resources(memory, options.MilliCores > 0 ? options.MilliCores : MilliCores(root, Environment.ProcessorCount))
        {
            Custom = options.CustomResources.Where(custom => custom.Value > 0).ToImmutableSortedDictionary(StringComparer.Ordinal),
        };
    }

    /// <summary>Memory of the machine, or of the cgroup when that is less.</summary>
    internal static long MemoryBytes(string root)
    {
        var total = long.MaxValue;
        foreach (var line in Lines(Path.Combine(root, "proc/meminfo")))
        {
            if (line.StartsWith("MemTotal:", StringComparison.Ordinal)
                && long.TryParse(line.AsSpan(9).TrimEnd("kB ").Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var kilobytes))
            {
                total = kilobytes << 10;
            }
        }
        foreach (var group in Groups(root, "memory"))
        {
            foreach (var file in (string[])["memory.max", "memory.limit_in_bytes"])
            {
                // "max", or a number near 2^63 in version 1, means no limit.
                if (long.TryParse(Lines(Path.Combine(group, file)).FirstOrDefault(), NumberStyles.None, CultureInfo.InvariantCulture, out var limit) && limit > 0)
                {
                    total = Math.Min(total, limit);
                }
            }
        }
        // Nothing told: a machine without /proc. Half a gigabyte harms nobody, and MemoryBytes overrides it.
        return total == long.MaxValue ? 512L << 20 : total;
    }

    /// <summary>Thousandths of a core: the processors of the affinity mask, or the quota of the cgroup when that is less.</summary>
    internal static long MilliCores(string root, int processors)
    {
        var cores = processors * 1000L;
        foreach (var group in Groups(root, "cpu"))
        {
            var maximum = Lines(Path.Combine(group, "cpu.max")).FirstOrDefault()?.Split(' ') ?? [];
            if (maximum.Length < 2)
            {
                maximum = [Lines(Path.Combine(group, "cpu.cfs_quota_us")).FirstOrDefault() ?? "", Lines(Path.Combine(group, "cpu.cfs_period_us")).FirstOrDefault() ?? ""];
            }
            if (long.TryParse(maximum[0], NumberStyles.None, CultureInfo.InvariantCulture, out var quota) && quota > 0
                && long.TryParse(maximum[1], NumberStyles.None, CultureInfo.InvariantCulture, out var period) && period > 0)
            {
                cores = Math.Min(cores, Math.Max(1, quota * 1000 / period));
            }
        }
        return cores;
    }

    // The agent's group and every group above it, in both versions of the hierarchy: a limit anywhere on the way up holds.
    private static IEnumerable<string> Groups(string root, string controller)
    {
        foreach (var line in Lines(Path.Combine(root, "proc/self/cgroup")))
        {
            var parts = line.Split(':', 3);
            if (parts.Length != 3)
            {
                continue;
            }
            var mount = parts switch
            {
                ["0", "", _] => Path.Combine(root, "sys/fs/cgroup"),
                [_, var controllers, _] when controllers.Split(',').Contains(controller) => Path.Combine(root, "sys/fs/cgroup", controllers),
                _ => null,
            };
            if (mount is null)
            {
                continue;
            }
            for (var path = parts[2].TrimEnd('/'); path.Length > 0; path = path[..path.LastIndexOf('/')])
            {
                yield return mount + path;
            }
            yield return mount;
        }
    }

    private static string[] Lines(string path)
    {
        try
        {
            return File.ReadAllLines(path);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }
}
