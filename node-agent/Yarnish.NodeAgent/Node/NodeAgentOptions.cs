namespace Yarnish.NodeAgent.Node;

/// <summary>
/// Settings of a node agent. Each may come from an argument (<c>--Yarnish:NodeId=worker1</c>), the environment (<c>Yarnish__NodeId=worker1</c>) or the section
/// <c>Yarnish</c> of appsettings.json, in that order of weight. Only <see cref="Address"/> and <see cref="Secret"/> are needed to join a cluster.
/// </summary>
public sealed class NodeAgentOptions
{
    /// <summary>Base URL of the resource manager. Default <c>http://127.0.0.1:8088</c>.</summary>
    public string Address { get; set; } = "http://127.0.0.1:8088";

    /// <summary>The cluster secret; empty (default) is accepted only while everything listens on loopback.</summary>
    public string Secret { get; set; } = "";

    /// <summary>Id of this node, unique in the cluster, the same after a restart. Default: the host name.</summary>
    public string NodeId { get; set; } = "";

    /// <summary>The agent's place on disk; it must survive restarts of the agent. Default: <c>/var/lib/yarnish/&lt;node id&gt;</c> when that can be written, else
    /// <c>yarnish/&lt;node id&gt;</c> in the temporary directory.</summary>
    public string DataDirectory { get; set; } = "";

    /// <summary>Where to listen: one URL, port 0 takes a free one. Default <c>http://127.0.0.1:0</c>. Anything but loopback needs a <see cref="Secret"/>.</summary>
    public string Urls { get; set; } = "http://127.0.0.1:0";

    /// <summary>Base URL by which others reach this agent. Default: the address it listens on, with the host name in place of a wildcard.</summary>
    public string AdvertisedUrl { get; set; } = "";

    /// <summary>Memory offered to containers, in bytes. Default (0): what the machine or the agent's own cgroup has, less <see cref="ReservedMemoryBytes"/>.</summary>
    public long MemoryBytes { get; set; }

    /// <summary>Memory kept for the system and the agent, in bytes. Default (0): a tenth of the memory, at least 512 MiB and at most 4 GiB, never more than half.</summary>
    public long ReservedMemoryBytes { get; set; }

    /// <summary>Processor time offered to containers, in thousandths of a core. Default (0): the cores the agent may use, after affinity and cgroup quota.</summary>
    public long MilliCores { get; set; }

    /// <summary>Rack of the node. Default <c>default-rack</c>.</summary>
    public string Rack { get; set; } = "default-rack";

    /// <summary>Partition (node label) the node belongs to. Default empty: the default partition.</summary>
    public string Partition { get; set; } = "";

    /// <summary>Free attributes for placement constraints, such as <c>Attributes:disk=ssd</c>. Default none.</summary>
    public Dictionary<string, string> Attributes { get; set; } = [];

    /// <summary>Further countable resources, such as <c>CustomResources:gpu=2</c>. Default none.</summary>
    public Dictionary<string, long> CustomResources { get; set; } = [];

    /// <summary>Whether the containers end with the agent. Default false: they live on and the next agent adopts them.</summary>
    public bool StopContainersOnExit { get; set; }

    /// <summary>Seconds between SIGTERM and SIGKILL for containers that end with the agent. Default 5.</summary>
    public double StopGraceSeconds { get; set; } = 5;

    /// <summary>Bound on cached files that no container uses, in bytes. Default 10 GiB.</summary>
    public long CacheBytes { get; set; } = 10L << 30;

    /// <summary>Files fetched at a time. Default 4.</summary>
    public int ParallelFetches { get; set; } = 4;

    /// <summary>Size at which a log file is rotated, in bytes. Default 16 MiB.</summary>
    public long LogFileBytes { get; set; } = 16L << 20;

    /// <summary>Files kept of each log, the one that is written included; at least 2. Default 4.</summary>
    public int LogFiles { get; set; } = 4;

    /// <summary>Hours the logs of a container stay readable after its end. Default 72.</summary>
    public double LogRetentionHours { get; set; } = 72;

    /// <summary>Bound on the logs of ended containers, in bytes; the oldest go first. Default 10 GiB.</summary>
    public long LogTotalBytes { get; set; } = 10L << 30;

    /// <summary>Share of the disk in use, in percent, above which the node takes nothing new. Default 95.</summary>
    public double DiskFullPercent { get; set; } = 95;

    /// <summary>Whether memory is held against the grant: by cgroup v2 where the agent may write one, else by looking every second. Default true.</summary>
    public bool EnforceMemory { get; set; } = true;

    /// <summary>Directory of a cgroup v2 that the agent may divide among its containers. Default empty: its own when that was delegated to it; <c>none</c>: no cgroups.</summary>
    public string Cgroup { get; set; } = "";

    /// <summary>
    /// Variables of the agent's own environment that containers get, separated by commas; a trailing <c>*</c> stands for any ending. Nothing else is passed on, least of all the secret. Default:
    /// <c>PATH,HOME,USER,LOGNAME,SHELL,LANG,LC_*,TZ,TMPDIR,DOTNET_ROOT*,SSL_CERT_*</c>.
    /// </summary>
    public string PassEnvironment { get; set; } = "PATH,HOME,USER,LOGNAME,SHELL,LANG,LC_*,TZ,TMPDIR,DOTNET_ROOT*,SSL_CERT_*";

    /// <summary>Fills in what depends on the machine: node id and data directory.</summary>
    internal NodeAgentOptions WithDefaults()
    {
        if (NodeId.Length == 0)
        {
            NodeId = new string([.. Environment.MachineName.Select(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '-' ? c : '-').Take(64)]);
        }
        if (DataDirectory.Length == 0)
        {
            var system = Path.Combine("/var/lib/yarnish", NodeId);
            try
            {
                Directory.CreateDirectory(system);
                DataDirectory = system;
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                DataDirectory = Path.Combine(Path.GetTempPath(), "yarnish", NodeId);
            }
        }
        return this;
    }
}
