using Microsoft.Extensions.Logging;
using Yarnish.Blocks;
using Yarnish.Protocol;

namespace Yarnish.Executor;

/// <summary>What all attempts of an executor share.</summary>
internal sealed class ExecutorServices : IDisposable
{
    private readonly IBlockRegistry registry;
    private readonly Lazy<BlockClient> client;
    private readonly BlockFetcher fetcher;

    // Written by one slot, read by others: a late value costs one more wait.
    private long registryDownUntil;

    public ExecutorServices(ExecutorOptions options, BlockDirectory directory, IBlockRegistry registry, LocationCache locations, DriverBlocks driver,
        Func<Func<ExecutorAddress, ExecutorMessage>, ValueTask<bool>> send, BarrierGate barriers, TimeProvider time, ILogger logger)
    {
        this.registry = registry;
        (Options, Directory, Locations, Barriers, Time, Logger) = (options, directory, locations, barriers, time, logger);
        client = new(() => new BlockClient(options.ApplicationId, options.ApplicationToken, time: time));
        fetcher = new BlockFetcher(directory, new BlockLocation(options.NodeId, options.NodeUrl), registry, () => Client, time, logger);
        Collections = new(new PartitionFiles(directory, logger), options.MemoryBytes / 2, logger);
        Mover = new(options, Collections, fetcher, send, logger);
        Broadcasts = new(fetcher, directory, driver.AskAsync, options.MemoryBytes / 5, logger);
        Shared = options.SharesRows ? new SharedShuffles(options.MemoryBytes / 5) : null;
        TaskResources = new(options.Slots, options.MemoryBytes, options.MemoryBytes / options.Slots);
        TemporaryRoot = Path.Combine(directory.Root, "tmp", options.ExecutorId.Value);
    }

    /// <summary>Who it is.</summary>
    public ExecutorOptions Options { get; }

    /// <summary>Blocks on this node.</summary>
    public BlockDirectory Directory { get; }

    /// <summary>Where shuffles are.</summary>
    public LocationCache Locations { get; }

    /// <summary>Persisted partitions: half of the memory.</summary>
    public CollectionStore Collections { get; }

    /// <summary>Moves persisted partitions between nodes.</summary>
    public PartitionMover Mover { get; }

    /// <summary>Values of broadcasts: a fifth of the memory.</summary>
    public BroadcastStore Broadcasts { get; }

    /// <summary>What an attempt may use.</summary>
    public TaskResources TaskResources { get; }

    /// <summary>Under which tasks have their temporary directories.</summary>
    public string TemporaryRoot { get; }

    /// <summary>Where tasks of barrier stages meet.</summary>
    public BarrierGate Barriers { get; }

    /// <summary>Map outputs in memory; null unless map and reduce tasks run in this process alone.</summary>
    public SharedShuffles? Shared { get; }

    /// <summary>Clock.</summary>
    public TimeProvider Time { get; }

    /// <summary>Log.</summary>
    public ILogger Logger { get; }

    /// <summary>Blocks on other nodes; the HTTP stack is loaded with the first one.</summary>
    public BlockClient Client => client.Value;

    /// <summary>Buffers one attempt may fill before it spills.</summary>
    public long ShuffleMemoryPerTask => Math.Max(8 * 1024 * 1024, Options.MemoryBytes * (Shared is null ? 3 : 1) / 10 / Options.Slots);

    /// <summary>
    /// Registers something with the registry. The driver learns the same from the report and holds the truth, so a registry that is down delays the
    /// task by at most a second, once in five, and fails nothing.
    /// </summary>
    public void Register(Func<IBlockRegistry, CancellationToken, ValueTask> register)
    {
        if (Time.GetTimestamp() < Volatile.Read(ref registryDownUntil))
        {
            return;
        }
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(1), Time);
        try
        {
            var registered = register(registry, patience.Token);
            if (!registered.IsCompletedSuccessfully)
            {
                registered.AsTask().GetAwaiter().GetResult();
            }
        }
        catch (Exception error) when (error is BlockRegistryException or OperationCanceledException)
        {
            Volatile.Write(ref registryDownUntil, Time.GetTimestamp() + 5 * Time.TimestampFrequency);
            Logger.LogWarning("The block registry does not answer; going on without it, the driver will publish locations: {Problem}", error.Message);
        }
    }

    /// <summary>Ends what was opened.</summary>
    public void Dispose()
    {
        fetcher.Dispose();
        if (client.IsValueCreated)
        {
            client.Value.Dispose();
        }
        try
        {
            System.IO.Directory.Delete(TemporaryRoot, recursive: true);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // No task had one, or it goes with the application's directory.
        }
    }
}
