using System.Collections.Immutable;

namespace Yarnish;

/// <summary>
/// Settings of a session. Sources, later ones win: <c>appsettings.json</c> (section <c>Yarnish</c>), environment variables <c>Yarnish__…</c>, program arguments
/// (<c>--Yarnish:Name=x</c>, or the short forms such as <c>--name x</c>), code (<see cref="YarnishSessionBuilder"/>). An unknown key is an error.
/// </summary>
public sealed record YarnishOptions
{
    /// <summary>Name of the application, for people. Default: the name of the program. Key <c>Yarnish:Name</c>, short <c>--name</c>.</summary>
    public string Name { get; set; } = "";

    /// <summary>
    /// Base URL of the resource manager, such as <c>http://rm:8088</c>. Empty (default): everything runs in this process. Key <c>Yarnish:Address</c>, short <c>--address</c>.
    /// </summary>
    public string Address { get; set; } = "";

    /// <summary>Secret of the cluster; empty (default) works with a cluster on the loopback interface only. Key <c>Yarnish:Secret</c>; no short form: arguments are seen by others.</summary>
    public string Secret { get; set; } = "";

    /// <summary>Queue of capacity to ask from; empty (default) lets the cluster choose. Key <c>Yarnish:Queue</c>, short <c>--queue</c>.</summary>
    public string Queue { get; set; } = "";

    /// <summary>
    /// How many executors to hold: <c>4</c> holds four from the start, <c>1..8</c> grows with the work. Default <c>1..16</c>. Without meaning when embedded.
    /// Key <c>Yarnish:Executors</c>, short <c>--executors</c>.
    /// </summary>
    public ExecutorRange Executors { get; set; } = new(1, 16);

    /// <summary>
    /// Memory of each executor's container, in bytes. Default 1 GiB. Key <c>Yarnish:ExecutorMemory</c> takes a unit: <c>512m</c>, <c>2g</c>, <c>1536MiB</c>; short <c>--executor-memory</c>.
    /// </summary>
    public long ExecutorMemory { get; set; } = 1L << 30;

    /// <summary>
    /// Cores of each executor, and how many tasks it runs at once. 0 (default) means 1 on a cluster and all processors when embedded. Key <c>Yarnish:ExecutorCores</c>, short <c>--executor-cores</c>.
    /// </summary>
    public int ExecutorCores { get; set; }

    /// <summary>
    /// When embedded: serialize functions and data as a cluster would, so that a function that cannot travel is found without one. Default false.
    /// Key <c>Yarnish:Isolated</c>, short <c>--isolated</c>.
    /// </summary>
    public bool Isolated { get; set; }

    /// <summary>
    /// Partitions of a shuffle or parallelized collection when nobody says. 0 (default) means twice the slots, at least 2. Key <c>Yarnish:Parallelism</c>, short <c>--parallelism</c>.
    /// </summary>
    public int Parallelism { get; set; }

    /// <summary>Progress on stderr. Default <see cref="ProgressStyle.Auto"/>. Key <c>Yarnish:Progress</c>, short <c>--progress</c>; <c>--quiet</c> stands for <c>none</c>.</summary>
    public ProgressStyle Progress { get; set; } = ProgressStyle.Auto;

    /// <summary>
    /// A partition that failed so often fails its job; 1 to 255. Default 4. Lost map output, lost executors that did not end by themselves and stopped attempts do not count.
    /// Key <c>Yarnish:MaximumTaskFailures</c>.
    /// </summary>
    public int MaximumTaskFailures { get; set; } = 4;

    /// <summary>A stage that had to be started so often in a row (because map output was lost, or a task of a barrier stage failed) fails its job. Default 4. Key <c>Yarnish:MaximumStageAttempts</c>.</summary>
    public int MaximumStageAttempts { get; set; } = 4;

    /// <summary>
    /// How long a task waits for an executor that holds what it reads, counted from the last time one was free for the stage; 0 never waits. Default 0.3 s. Key <c>Yarnish:LocalityWait</c> in seconds.
    /// </summary>
    public TimeSpan LocalityWait { get; set; } = TimeSpan.FromMilliseconds(300);

    /// <summary>
    /// Whether slow tasks get a second copy on another executor; the first result wins, the other copy is stopped. Default false: functions with side effects would have them twice.
    /// Key <c>Yarnish:Speculation</c>.
    /// </summary>
    public bool Speculation { get; set; }

    /// <summary>With <see cref="Speculation"/>: the share of a stage that must be done before any of its tasks counts as slow, above 0 to 1. Default 0.9. Key <c>Yarnish:SpeculationQuantile</c>.</summary>
    public double SpeculationQuantile { get; set; } = 0.9;

    /// <summary>With <see cref="Speculation"/>: a task is slow when it takes so many times the median of its stage; at least 1. Default 3. Key <c>Yarnish:SpeculationMultiplier</c>.</summary>
    public double SpeculationMultiplier { get; set; } = 3;

    /// <summary>With <see cref="Speculation"/>: no task is slow before this; also how often is looked. Default 0.1 s. Key <c>Yarnish:SpeculationMinimum</c> in seconds.</summary>
    public TimeSpan SpeculationMinimum { get; set; } = TimeSpan.FromMilliseconds(100);

    /// <summary>
    /// Whether executors and nodes on which tasks fail are avoided: a task is not tried again where it failed, a stage and then the application avoid an executor after
    /// <see cref="ExclusionFailures"/>. Default true; without meaning when embedded. Key <c>Yarnish:Exclusion</c>.
    /// </summary>
    public bool Exclusion { get; set; } = true;

    /// <summary>Different tasks that must fail on one executor before its stage, and at the end of a stage that succeeded all the same the application, avoid it; two such executors exclude their node. Default 2. Key <c>Yarnish:ExclusionFailures</c>.</summary>
    public int ExclusionFailures { get; set; } = 2;

    /// <summary>How long the application avoids an executor or node. Default 1 h. Key <c>Yarnish:ExclusionTime</c> in seconds.</summary>
    public TimeSpan ExclusionTime { get; set; } = TimeSpan.FromHours(1);

    /// <summary>Tasks fail their job after having waited so long while every executor is excluded, or while a barrier stage lacks executors. Default 120 s. Key <c>Yarnish:NowhereToRunTimeout</c> in seconds.</summary>
    public TimeSpan NowhereToRunTimeout { get; set; } = TimeSpan.FromSeconds(120);

    /// <summary>Tasks must wait this long for a slot before more executors are asked for: one, then two, four … each time it passes again. Default 1 s. Key <c>Yarnish:ExecutorBacklog</c> in seconds.</summary>
    public TimeSpan ExecutorBacklog { get; set; } = TimeSpan.FromSeconds(1);

    /// <summary>An executor beyond the minimum that had no task for so long is given back. What it wrote to shuffles stays with its node. Default 60 s. Key <c>Yarnish:ExecutorIdle</c> in seconds.</summary>
    public TimeSpan ExecutorIdle { get; set; } = TimeSpan.FromSeconds(60);

    /// <summary>The same for an executor that holds persisted partitions; at least <see cref="ExecutorIdle"/>. Default 30 min. Key <c>Yarnish:ExecutorCachedIdle</c> in seconds.</summary>
    public TimeSpan ExecutorCachedIdle { get; set; } = TimeSpan.FromMinutes(30);

    /// <summary>
    /// The pools that jobs may run in, see <see cref="YarnishSession.InPool"/>; one that is not named here has weight 1 and no minimum share. Default none: all jobs are in pool <c>default</c>, where the
    /// earlier job goes first. Keys <c>Yarnish:Pools:NAME:Weight</c> and <c>Yarnish:Pools:NAME:MinimumShare</c>.
    /// </summary>
    public ImmutableSortedDictionary<string, PoolOptions> Pools { get; set; } = ImmutableSortedDictionary.Create<string, PoolOptions>(StringComparer.Ordinal);

    /// <summary>Most bytes that the results of one job may have in the driver. Default 1 GiB. Key <c>Yarnish:MaximumResultBytes</c>, with a unit.</summary>
    public long MaximumResultBytes { get; set; } = 1L << 30;

    /// <summary>Most bytes that the value of a broadcast may have when serialized; executors hold it in memory. Default 1 GiB. Key <c>Yarnish:MaximumBroadcastBytes</c>, with a unit.</summary>
    public long MaximumBroadcastBytes { get; set; } = 1L << 30;

    /// <summary>An executor that was not heard of for so long is lost. Default 10 s, at least 3 s. Key <c>Yarnish:ExecutorTimeout</c> in seconds.</summary>
    public TimeSpan ExecutorTimeout { get; set; } = TimeSpan.FromSeconds(10);

    /// <summary>
    /// Where the event log is written, from which <c>yarnish history</c> shows the application later: a directory, in which each application gets one of its own; <c>on</c> for
    /// <c>~/.yarnish/events</c>; <c>off</c>. Empty (default): on with a cluster, off when embedded. The newest 200 applications and 4 GiB are kept. Key <c>Yarnish:EventLog</c>.
    /// </summary>
    public string EventLog { get; set; } = "";

    /// <summary>
    /// Where the driver serves its status (docs/seeing-it.md): <c>http://127.0.0.1:0</c> is a free port on loopback, <c>http://0.0.0.0:4040</c> one that other machines reach (needs a
    /// <see cref="Secret"/>); <c>off</c>. Empty (default): a free port on loopback with a cluster, off when embedded. Key <c>Yarnish:StatusUrl</c>.
    /// </summary>
    public string StatusUrl { get; set; } = "";

    /// <summary>So many executors that end in a row without having said hello fail the jobs that wait for them. Default 6. Key <c>Yarnish:MaximumLaunchFailures</c>.</summary>
    public int MaximumLaunchFailures { get; set; } = 6;

    /// <summary>How long <see cref="YarnishSessionBuilder.ConnectAsync"/> tries to reach the cluster. Default 15 s. Key <c>Yarnish:ConnectTimeout</c> in seconds.</summary>
    public TimeSpan ConnectTimeout { get; set; } = TimeSpan.FromSeconds(15);

    /// <summary>Jobs fail when the message broker has not worked for so long, or Redis while a shuffle needs it, or the resource manager while no executor is left. Default 60 s. Key <c>Yarnish:BrokerTimeout</c> in seconds.</summary>
    public TimeSpan BrokerTimeout { get; set; } = TimeSpan.FromSeconds(60);

    /// <summary>Further environment variables of the executors. Key <c>Yarnish:ExecutorEnvironment:NAME</c>.</summary>
    public ImmutableSortedDictionary<string, string> ExecutorEnvironment { get; set; } = ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal);
}

/// <summary>How jobs of one pool share the slots with those of others. Within a pool the earlier job goes first.</summary>
public sealed record PoolOptions
{
    /// <summary>While pools compete, one of weight 3 has three times the tasks running of one of weight 1. 1 (default) to 1,000,000.</summary>
    public int Weight { get; init; } = 1;

    /// <summary>Before weights count, every pool with work gets so many running tasks. 0 (default) to 1,000,000.</summary>
    public int MinimumShare { get; init; }
}

/// <summary>How many executors a session holds.</summary>
/// <param name="Minimum">Held always; 0 or more.</param>
/// <param name="Maximum">Never more; at least 1 and at least the minimum.</param>
public readonly record struct ExecutorRange(int Minimum, int Maximum)
{
    /// <summary>True when the number never changes.</summary>
    public bool IsFixed => Minimum == Maximum;

    /// <summary>Reads <c>4</c> or <c>1..8</c>.</summary>
    /// <exception cref="FormatException">The text is neither, or no valid range.</exception>
    public static ExecutorRange Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        var parts = text.Split("..");
        var culture = System.Globalization.CultureInfo.InvariantCulture;
        var valid = parts.Length is 1 or 2
            & int.TryParse(parts[0], System.Globalization.NumberStyles.None, culture, out var minimum)
            & int.TryParse(parts[^1], System.Globalization.NumberStyles.None, culture, out var maximum)
            && maximum >= 1 && maximum >= minimum;
        return valid ? new(minimum, maximum) : throw new FormatException($"'{text}' is no number of executors: write one number, such as 4, or a range, such as 1..8.");
    }

    /// <summary>The form that <see cref="Parse"/> reads.</summary>
    public override string ToString() => IsFixed ? $"{Minimum}" : $"{Minimum}..{Maximum}";
}

/// <summary>How progress is shown on stderr.</summary>
public enum ProgressStyle
{
    /// <summary>Bars in a terminal, lines when stderr is redirected.</summary>
    Auto,

    /// <summary>Bars that move.</summary>
    Bars,

    /// <summary>Plain lines at intervals.</summary>
    Lines,

    /// <summary>Nothing at all, also no word about embedded mode.</summary>
    None,
}
