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

    /// <summary>A partition that failed so often fails its job. Default 4. Key <c>Yarnish:MaximumTaskFailures</c>.</summary>
    public int MaximumTaskFailures { get; set; } = 4;

    /// <summary>A stage that had to be started so often (because map output was lost) fails its job. Default 4. Key <c>Yarnish:MaximumStageAttempts</c>.</summary>
    public int MaximumStageAttempts { get; set; } = 4;

    /// <summary>Most bytes that the results of one job may have in the driver. Default 1 GiB. Key <c>Yarnish:MaximumResultBytes</c>, with a unit.</summary>
    public long MaximumResultBytes { get; set; } = 1L << 30;

    /// <summary>An executor that was not heard of for so long is lost. Default 10 s, at least 3 s. Key <c>Yarnish:ExecutorTimeout</c> in seconds.</summary>
    public TimeSpan ExecutorTimeout { get; set; } = TimeSpan.FromSeconds(10);

    /// <summary>So many executors that end in a row without having said hello fail the jobs that wait for them. Default 6. Key <c>Yarnish:MaximumLaunchFailures</c>.</summary>
    public int MaximumLaunchFailures { get; set; } = 6;

    /// <summary>How long <see cref="YarnishSessionBuilder.ConnectAsync"/> tries to reach the cluster. Default 15 s. Key <c>Yarnish:ConnectTimeout</c> in seconds.</summary>
    public TimeSpan ConnectTimeout { get; set; } = TimeSpan.FromSeconds(15);

    /// <summary>Jobs fail when the message broker has not worked for so long, or Redis while a shuffle needs it, or the resource manager while no executor is left. Default 60 s. Key <c>Yarnish:BrokerTimeout</c> in seconds.</summary>
    public TimeSpan BrokerTimeout { get; set; } = TimeSpan.FromSeconds(60);

    /// <summary>Further environment variables of the executors. Key <c>Yarnish:ExecutorEnvironment:NAME</c>.</summary>
    public ImmutableSortedDictionary<string, string> ExecutorEnvironment { get; set; } = ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal);
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
