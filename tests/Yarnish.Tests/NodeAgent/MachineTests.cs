using Microsoft.Extensions.Logging.Abstractions;
using Xunit;
using Yarnish.NodeAgent.Containers;
using Yarnish.NodeAgent.Node;
using Yarnish.NodeAgent.Processes;
using Yarnish.Protocol;

namespace Yarnish.Tests.NodeAgent;

/// <summary>What is read from the system: processes, resources, cgroups. Over files that look like those of a machine.</summary>
public sealed class MachineTests : IDisposable
{
    private readonly string root = Directory.CreateTempSubdirectory("yarnish-machine-").FullName;

    public void Dispose() => Directory.Delete(root, recursive: true);

    [Theory]
    [InlineData("4711 (sh) S 1 2 3 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 987654 2678784 200 1844 1 1 0", 4711, 'S', 1, 2, 3, 987654)]
    [InlineData("7 (a) b) (c) R 10 20 30 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 5 2678784 200 1844 1 1 0", 7, 'R', 10, 20, 30, 5)]
    [InlineData("7 (two\nlines) Z 10 20 30 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 5 0 200 1844 1 1 0", 7, 'Z', 10, 20, 30, 5)]
    public void A_process_is_read_whatever_its_name(string line, int id, char state, int parent, int group, int session, long start)
    {
        var stat = ProcessList.Parse(line)!.Value;

        Assert.Equal((id, state, parent, group, session, start), (stat.Id, stat.State, stat.Parent, stat.Group, stat.Session, stat.StartTicks));
        Assert.Equal(200L * Environment.SystemPageSize, stat.ResidentBytes);
    }

    [Theory]
    [InlineData("")]
    [InlineData("7 sh S 1 2 3")]
    [InlineData("x (sh) S 1 2 3 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 5 2678784 200 1844")]
    [InlineData("7 (sh) S 1 2 3 0 -1")]
    public void What_is_no_process_is_none(string line) => Assert.Null(ProcessList.Parse(line));

    [Fact]
    public void The_processes_of_a_container_are_its_session_its_group_and_the_children_of_its_launcher_but_nothing_older()
    {
        static ProcessStat Process(int id, int parent, int session, long start) => new(id, 'S', parent, session, session, start, 1);
        ProcessStat[] all =
        [
            Process(100, 1, 100, 10),      // the launcher itself
            Process(101, 100, 101, 11),    // the command
            Process(102, 101, 101, 12),    // its child
            Process(90, 102, 90, 13),      // a grandchild with a session of its own and a wrapped id
            Process(91, 90, 90, 14),       // its child
            Process(50, 1, 50, 1),         // a stranger
            Process(60, 101, 60, 5),       // older than the container: its parent's id was used again
        ];

        var found = ProcessList.Of(new ProcessIdentity(101, 11, 100, 10), all);

        Assert.Equal([90, 91, 101, 102], found.Select(process => process.Id).Order());
    }

    [Theory]
    [InlineData(null, null, 16_384)]
    [InlineData("max", null, 16_384)]
    [InlineData("2147483648", null, 2_048)]
    [InlineData("max", "1073741824", 1_024)]
    public void Memory_is_that_of_the_machine_or_of_the_tightest_cgroup_on_the_way_up(string? own, string? above, long mebibytes)
    {
        Write("proc/meminfo", "MemTotal:       16777216 kB\nMemFree: 1 kB\n");
        Write("proc/self/cgroup", "0::/system.slice/yarnish.service\n");
        Write("sys/fs/cgroup/system.slice/yarnish.service/memory.max", own);
        Write("sys/fs/cgroup/system.slice/memory.max", above);

        Assert.Equal(mebibytes << 20, DetectedResources.MemoryBytes(root));
    }

    [Fact]
    public void Memory_of_a_version_1_cgroup_counts_too()
    {
        Write("proc/meminfo", "MemTotal:       16777216 kB\n");
        Write("proc/self/cgroup", "4:memory:/agent\n0::/\n");
        Write("sys/fs/cgroup/memory/agent/memory.limit_in_bytes", "536870912\n");
        Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");

        Assert.Equal(512L << 20, DetectedResources.MemoryBytes(root));
    }

    [Theory]
    [InlineData("150000 100000", null, 1500)]
    [InlineData("max 100000", null, 8000)]
    [InlineData("900000 100000", null, 8000)]
    [InlineData(null, "50000", 500)]
    [InlineData(null, "-1", 8000)]
    public void Cores_are_those_of_the_mask_or_of_the_quota(string? maximum, string? quota, long milliCores)
    {
        Write("proc/self/cgroup", "3:cpu,cpuacct:/agent\n0::/agent\n");
        Write("sys/fs/cgroup/agent/cpu.max", maximum);
        Write("sys/fs/cgroup/cpu,cpuacct/agent/cpu.cfs_quota_us", quota);
        Write("sys/fs/cgroup/cpu,cpuacct/agent/cpu.cfs_period_us", quota is null ? null : "100000");

        Assert.Equal(milliCores, DetectedResources.MilliCores(root, 8));
    }

    [Fact]
    public void A_part_of_the_memory_is_kept_for_the_system_unless_said_otherwise()
    {
        Write("proc/meminfo", "MemTotal:       16777216 kB\n");
        Assert.Equal((16384L << 20) - (16384L << 20) / 10, DetectedResources.Detect(new NodeAgentOptions(), root).MemoryBytes);
        Assert.Equal(15L << 30, DetectedResources.Detect(new NodeAgentOptions { ReservedMemoryBytes = 1L << 30 }, root).MemoryBytes);

        var given = DetectedResources.Detect(new NodeAgentOptions { MemoryBytes = 5, MilliCores = 7, CustomResources = { ["gpu"] = 2, ["none"] = 0 } }, root);

        Assert.Equal("0 MiB, 0.007 cores, 2 gpu", given.ToString());
        Assert.Throws<AgentStartException>(() => DetectedResources.Detect(new NodeAgentOptions { MilliCores = -1 }, root));
    }

    [Fact]
    public void A_delegated_cgroup_is_divided_and_the_agent_leaves_the_middle()
    {
        Write("sys/fs/cgroup/yarnish.service/cgroup.controllers", "cpuset cpu io memory pids\n");
        var cgroups = ContainerCgroups.Open("", NullLogger<ContainerCgroups>.Instance, ("0::/yarnish.service\n", Path.Combine(root, "sys/fs/cgroup")));
        Assert.True(cgroups.Available);

        var group = cgroups.Create(new ContainerId(1, 2), Resources.Of(512, 1.5));

        Assert.Equal(Path.Combine(root, "sys/fs/cgroup/yarnish.service/c-1-2"), group);
        Assert.Equal((512 << 20).ToString(), File.ReadAllText(Path.Combine(group, "memory.max")));
        Assert.Equal("150", File.ReadAllText(Path.Combine(group, "cpu.weight")));
        Assert.Equal(Environment.ProcessId.ToString(), File.ReadAllText(Path.Combine(root, "sys/fs/cgroup/yarnish.service/agent/cgroup.procs")));
        Write("sys/fs/cgroup/yarnish.service/c-1-2/memory.events", "low 0\nhigh 0\nmax 12\noom 1\noom_kill 0\n");
        Assert.Null(cgroups.KilledForMemory(new ContainerId(1, 2)));
        Write("sys/fs/cgroup/yarnish.service/c-1-2/memory.events", "oom 1\noom_kill 3\n");
        Assert.Equal(512L << 20, cgroups.KilledForMemory(new ContainerId(1, 2)));
        Assert.Null(cgroups.KilledForMemory(new ContainerId(1, 3)));
    }

    [Theory]
    [InlineData("4:memory:/agent\n", "cpu memory")]
    [InlineData("0::/\n", "cpu")]
    [InlineData("0::/\n", null)]
    public void Without_the_memory_controller_of_version_2_there_are_no_cgroups(string membership, string? controllers)
    {
        Write("sys/fs/cgroup/cgroup.controllers", controllers);

        var cgroups = ContainerCgroups.Open("", NullLogger<ContainerCgroups>.Instance, (membership, Path.Combine(root, "sys/fs/cgroup")));

        Assert.False(cgroups.Available);
        Assert.Equal("", cgroups.Create(new ContainerId(1, 1), Resources.Zero));
    }

    [Fact]
    public void Each_start_has_a_higher_number_and_the_epoch_is_kept()
    {
        var early = new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);
        long first;
        using (var directory = DataDirectory.Open(Path.Combine(root, "data")))
        {
            first = directory.NextIncarnation(early);
            directory.Epoch = 12;
        }
        using var again = DataDirectory.Open(Path.Combine(root, "data"));

        Assert.True(again.NextIncarnation(early - TimeSpan.FromDays(1)) > first);
        Assert.Equal(12, again.Epoch);
    }

    private void Write(string path, string? content)
    {
        if (content is not null)
        {
            var full = Path.Combine(root, path);
            Directory.CreateDirectory(Path.GetDirectoryName(full)!);
            File.WriteAllText(full, content);
        }
    }
}
