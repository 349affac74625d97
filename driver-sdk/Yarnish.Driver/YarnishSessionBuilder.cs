using System.Reflection;
using Yarnish.Configuration;

namespace Yarnish;

/// <summary>
/// Collects the settings of a session; <see cref="ConnectAsync"/> opens it. What is set here wins over arguments, environment and <c>appsettings.json</c>.
/// </summary>
public sealed class YarnishSessionBuilder
{
    private readonly List<Action<YarnishOptions>> changes = [];
    private readonly IReadOnlyList<string> arguments;

    internal YarnishSessionBuilder(IReadOnlyList<string> arguments) => this.arguments = arguments;

    /// <summary>Names the application, for people. Default: the name of the program.</summary>
    public YarnishSessionBuilder WithName(string name) => Configure(options => options.Name = name);

    /// <summary>Runs on the cluster of this resource manager, such as <c>http://rm:8088</c>. Default: embedded in this process.</summary>
    public YarnishSessionBuilder WithAddress(string address) => Configure(options => options.Address = address);

    /// <summary>The secret of the cluster. Default: none, which only a cluster on the loopback interface accepts.</summary>
    public YarnishSessionBuilder WithSecret(string secret) => Configure(options => options.Secret = secret);

    /// <summary>The queue of capacity to ask from. Default: the cluster chooses.</summary>
    public YarnishSessionBuilder WithQueue(string queue) => Configure(options => options.Queue = queue);

    /// <summary>Holds a fixed number of executors from the start.</summary>
    public YarnishSessionBuilder WithExecutors(int count) => WithExecutors(count, count);

    /// <summary>Holds as many executors as there is work for, between the two numbers. Default 1 to 16.</summary>
    public YarnishSessionBuilder WithExecutors(int minimum, int maximum) => Configure(options => options.Executors = new(minimum, maximum));

    /// <summary>Memory of each executor in bytes. Default 1 GiB.</summary>
    public YarnishSessionBuilder WithExecutorMemory(long bytes) => Configure(options => options.ExecutorMemory = bytes);

    /// <summary>Cores of each executor, and tasks it runs at once. Default 1 on a cluster, all processors when embedded.</summary>
    public YarnishSessionBuilder WithExecutorCores(int cores) => Configure(options => options.ExecutorCores = cores);

    /// <summary>When embedded: serializes functions and data as a cluster would, so that one that cannot travel is found without a cluster. Default false.</summary>
    public YarnishSessionBuilder Isolated(bool isolated = true) => Configure(options => options.Isolated = isolated);

    /// <summary>Partitions of a shuffle or parallelized collection when nobody says. Default: twice the slots, at least 2.</summary>
    public YarnishSessionBuilder WithParallelism(int partitions) => Configure(options => options.Parallelism = partitions);

    /// <summary>Declares a pool that jobs may run in, see <see cref="YarnishSession.InPool"/>.</summary>
    /// <param name="name">Its name; <c>default</c> is the pool of jobs for which none was chosen.</param>
    /// <param name="weight">Its share of the slots beside other pools that have work; at least 1.</param>
    /// <param name="minimumShare">Running tasks it has before weights count; 0 or more.</param>
    public YarnishSessionBuilder WithPool(string name, int weight = 1, int minimumShare = 0)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        return Configure(options => options.Pools = options.Pools.SetItem(name, new PoolOptions { Weight = weight, MinimumShare = minimumShare }));
    }

    /// <summary>How progress is shown on stderr. Default <see cref="ProgressStyle.Auto"/>.</summary>
    public YarnishSessionBuilder WithProgress(ProgressStyle style) => Configure(options => options.Progress = style);

    /// <summary>Changes any setting.</summary>
    public YarnishSessionBuilder Configure(Action<YarnishOptions> change)
    {
        ArgumentNullException.ThrowIfNull(change);
        changes.Add(change);
        return this;
    }

    /// <summary>Opens the session: connects to the cluster and registers the application, or starts the embedded executor.</summary>
    /// <exception cref="YarnishConnectException">Wrong settings, the cluster cannot be reached within <see cref="YarnishOptions.ConnectTimeout"/>, or it refuses.</exception>
    public Task<YarnishSession> ConnectAsync(CancellationToken cancellation = default)
    {
        var options = Build(out var remaining);
        return YarnishSession.OpenAsync(options, remaining, TimeProvider.System, cancellation);
    }

    /// <summary>The settings from all sources, checked.</summary>
    internal YarnishOptions Build(out IReadOnlyList<string> remaining)
    {
        var files = new[] { AppContext.BaseDirectory, Environment.CurrentDirectory }
            .Select(directory => Path.GetFullPath(Path.Combine(directory, "appsettings.json")))
            .Distinct(StringComparer.Ordinal);
        var options = OptionsReader.Read(arguments, Environment.GetEnvironmentVariables(), files, out remaining);
        foreach (var change in changes)
        {
            change(options);
        }
        if (options.Name.Length == 0)
        {
            options.Name = Assembly.GetEntryAssembly()?.GetName().Name ?? "yarnish";
        }
        OptionsReader.Validate(options);
        return options;
    }
}
