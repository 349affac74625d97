using Microsoft.Extensions.Logging;
using Yarnish.Blocks;

namespace Yarnish.Executor;

/// <summary>What all attempts of an executor share.</summary>
internal sealed class ExecutorServices(ExecutorOptions options, BlockDirectory directory, IBlockRegistry registry, LocationCache locations, TimeProvider time, ILogger logger) : IDisposable
{
    // Written by one slot, read by others: a late value costs one more wait.
    private long registryDownUntil;

    private readonly Lazy<BlockClient> client = new(() => new BlockClient(options.ApplicationId, options.ApplicationToken, time: time));

    /// <summary>Who it is.</summary>
    public ExecutorOptions Options => options;

    /// <summary>Blocks on this node.</summary>
    public BlockDirectory Directory => directory;

    /// <summary>Where shuffles are.</summary>
    public LocationCache Locations => locations;

    /// <summary>Persisted partitions.</summary>
    public CollectionStore Collections { get; } = new(new PartitionFiles(directory, logger), options.MemoryBytes / 2, logger);

    /// <summary>Clock.</summary>
    public TimeProvider Time => time;

    /// <summary>Log.</summary>
    public ILogger Logger => logger;

    /// <summary>Blocks on other nodes; the HTTP stack is loaded with the first one.</summary>
    public BlockClient Client => client.Value;

    /// <summary>Buffers one attempt may fill before it spills.</summary>
    public long ShuffleMemoryPerTask => Math.Max(8 * 1024 * 1024, options.MemoryBytes * 3 / 10 / options.Slots);

    /// <summary>
    /// Registers something with the registry. The driver learns the same from the report and holds the truth, so a registry that is down delays the
    /// task by at most a second, once in five, and fails nothing.
    /// </summary>
    public void Register(Func<IBlockRegistry, CancellationToken, ValueTask> register)
    {
        if (time.GetTimestamp() < Volatile.Read(ref registryDownUntil))
        {
            return;
        }
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(1), time);
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
            Volatile.Write(ref registryDownUntil, time.GetTimestamp() + 5 * time.TimestampFrequency);
            logger.LogWarning("The block registry does not answer; going on without it, the driver will publish locations: {Problem}", error.Message);
        }
    }

    /// <summary>Ends what was opened.</summary>
    public void Dispose()
    {
        if (client.IsValueCreated)
        {
            client.Value.Dispose();
        }
    }
}
