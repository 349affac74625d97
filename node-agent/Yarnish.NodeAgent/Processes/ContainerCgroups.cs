using System.Globalization;
using Yarnish.Protocol;

namespace Yarnish.NodeAgent.Processes;

/// <summary>
/// Limits by cgroup v2, where the agent was given a part of the hierarchy (systemd: <c>Delegate=yes</c>; a container with a writable <c>/sys/fs/cgroup</c>). The kernel then
/// holds a container to its memory and shares processors by its cores, also while the agent is away. Where there is none, memory is watched instead, see <see cref="MemoryWatch"/>.
/// </summary>
internal sealed class ContainerCgroups
{
    private readonly string? _root;
    private readonly ILogger<ContainerCgroups> _logger;

    private ContainerCgroups(string? root, ILogger<ContainerCgroups> logger)
    {
        _root = root;
        _logger = logger;
    }

    /// <summary>Whether the kernel enforces.</summary>
    public bool Available => _root is not null;

    /// <summary>Finds the cgroup to divide and says once what came of it.</summary>
    /// <param name="setting">A directory, <c>none</c>, or empty for the agent's own.</param>
    /// <param name="logger">Where it is said.</param>
    /// <param name="process">Contents of <c>/proc/self/cgroup</c> and mount point of cgroup v2, for tests.</param>
    public static ContainerCgroups Open(string setting, ILogger<ContainerCgroups> logger, (string Membership, string Mount)? process = null)
    {
        if (setting == "none")
        {
            return new ContainerCgroups(null, logger);
        }
        try
        {
            var root = setting.Length > 0 ? setting : Own(process ?? (File.ReadAllText("/proc/self/cgroup"), "/sys/fs/cgroup"));
            if (root is null || !File.Exists(Path.Combine(root, "cgroup.controllers")))
            {
                throw new IOException("this machine has no unified cgroup hierarchy");
            }
            if (!File.ReadAllText(Path.Combine(root, "cgroup.controllers")).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries).Contains("memory"))
            {
                throw new IOException($"{root} does not have the memory controller");
            }
            // A group that has members cannot hand controllers to children: the agent itself moves into a leaf.
            var leaf = Directory.CreateDirectory(Path.Combine(root, "agent"));
            File.WriteAllText(Path.Combine(leaf.FullName, "cgroup.procs"), Environment.ProcessId.ToString(CultureInfo.InvariantCulture));
            File.WriteAllText(Path.Combine(root, "cgroup.subtree_control"), "+memory");
            try
            {
                File.WriteAllText(Path.Combine(root, "cgroup.subtree_control"), "+cpu");
            }
            catch (IOException error)
            {
                logger.LogInformation("Processors are not shared by cgroup: {Error}", error.Message);
            }
            logger.LogInformation("Containers are limited by cgroup v2 under {Root}.", root);
            return new ContainerCgroups(root, logger);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            logger.LogInformation(
                "Containers are not limited by cgroup v2 ({Error}); their memory is looked at every second instead. For limits by the kernel run the agent with a delegated cgroup, such as Delegate=yes in systemd.",
                error.Message);
            return new ContainerCgroups(null, logger);
        }
    }

    /// <summary>Makes the group of a container and returns its path; empty when there are no cgroups.</summary>
    public string Create(ContainerId container, Resources resources)
    {
        if (_root is null)
        {
            return "";
        }
        var path = PathOf(container);
        try
        {
            Directory.CreateDirectory(path);
            Write(path, "memory.max", resources.MemoryBytes);
            // Which of these there are depends on kernel and controllers. All or nothing on memory: a container that lost one of its processes is of no use.
            TryWrite(path, "memory.swap.max", 0);
            TryWrite(path, "memory.oom.group", 1);
            TryWrite(path, "cpu.weight", Math.Clamp(resources.MilliCores / 10, 1, 10_000));
            return path;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            _logger.LogWarning("Container {Container} runs without a cgroup: {Error}", container, error.Message);
            return "";
        }
    }

    /// <summary>Whether a container has a group.</summary>
    public bool Has(ContainerId container) => _root is not null && Directory.Exists(PathOf(container));

    /// <summary>Memory in use, in bytes; null when it is not known.</summary>
    public long? Used(ContainerId container) => Has(container) ? Number(PathOf(container), "memory.current") : null;

    /// <summary>Whether the kernel killed a container for memory, and the most it used; null when it did not.</summary>
    public long? KilledForMemory(ContainerId container)
    {
        if (!Has(container))
        {
            return null;
        }
        var path = PathOf(container);
        try
        {
            var killed = File.ReadLines(Path.Combine(path, "memory.events"))
                .Any(line => line.StartsWith("oom_kill ", StringComparison.Ordinal) && line != "oom_kill 0");
            return killed ? Number(path, "memory.peak") ?? Number(path, "memory.max") ?? 0 : null;
        }
        catch (IOException)
        {
            return null;
        }
    }

    /// <summary>Kills what is left in a container's group, processes that left its session included, and removes the group.</summary>
    public void Remove(ContainerId container)
    {
        if (!Has(container))
        {
            return;
        }
        var path = PathOf(container);
        try
        {
            TryWrite(path, "cgroup.kill", 1);
            Directory.Delete(path);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // Its processes take a moment to go; the sweep of housekeeping comes again.
            _logger.LogDebug("The cgroup {Path} is still in use: {Error}", path, error.Message);
        }
    }

    /// <summary>Removes the groups of containers that are over.</summary>
    public void Sweep(IReadOnlySet<ContainerId> live)
    {
        if (_root is null)
        {
            return;
        }
        foreach (var path in Directory.EnumerateDirectories(_root, "c-*"))
        {
            if (TryId(Path.GetFileName(path)) is { } container && !live.Contains(container))
            {
                Remove(container);
            }
        }
    }

    private string PathOf(ContainerId container) => Path.Combine(_root!, container.Value);

    private static ContainerId? TryId(string name)
    {
        try
        {
            return ContainerId.Create(name);
        }
        catch (FormatException)
        {
            return null;
        }
    }

    private static string? Own((string Membership, string Mount) process)
    {
        // Only the line "0::" is of version 2; others mean that version 1 holds the controllers.
        var line = process.Membership.Split('\n').FirstOrDefault(line => line.StartsWith("0::", StringComparison.Ordinal));
        return line is null ? null : process.Mount + line[3..].TrimEnd('/');
    }

    private static void Write(string group, string file, long value) =>
        File.WriteAllText(Path.Combine(group, file), value.ToString(CultureInfo.InvariantCulture));

    private static void TryWrite(string group, string file, long value)
    {
        try
        {
            Write(group, file, value);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // Not here.
        }
    }

    private static long? Number(string group, string file)
    {
        try
        {
            return long.TryParse(File.ReadAllText(Path.Combine(group, file)), CultureInfo.InvariantCulture, out var number) ? number : null;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
