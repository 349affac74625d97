using System.Collections.Immutable;
using Microsoft.Extensions.Logging;
using Yarnish.Blocks;
using Yarnish.Dataflow;
using Yarnish.Executor;
using Yarnish.Jobs;
using Yarnish.Protocol;
using Yarnish.Transport;

namespace Yarnish.Embedded;

/// <summary>
/// One executor in this process: the same class as on a cluster, over an in-memory link, with as many slots as asked and a block directory of its own under the temporary folder.
/// </summary>
internal sealed class EmbeddedFleet : IExecutorFleet
{
    private readonly int slots;
    private readonly BlockDirectoryLease directory;
    private readonly BlockDirectory blocks;
    private readonly IExecutorLink executorLink;
    private readonly TaskExecutor executor;
    private readonly CancellationTokenSource stopping = new();
    private Task running = Task.CompletedTask;

    public EmbeddedFleet(ApplicationId application, int slots, bool isolated, TimeProvider clock, ILogger? logger = null)
    {
        this.slots = slots;
        directory = BlockDirectoryLease.Take();
        blocks = new BlockDirectory(directory.Path);
        var fabric = new InMemoryTaskFabric();
        Link = fabric.CreateDriverLink();
        Registry = new InMemoryBlockRegistry();
        var id = new ExecutorId("embedded");
        executorLink = fabric.CreateExecutorLink(id);
        var shared = isolated ? null : new SharingCarrier();
        Carrier = shared is null ? new SerializingCarrier() : shared;
        executor = new TaskExecutor(
            new ExecutorOptions
            {
                ApplicationId = application,
                ExecutorId = id,
                NodeId = new NodeId("local"),
                BlockDirectory = directory.Path,
                Slots = slots,
                SharesRows = !isolated,
            },
            executorLink,
            Registry,
            SerializingCarrier.Deserialize,
            shared is null ? null : shared.Find,
            clock,
            logger);
    }

    /// <summary>The driver's end.</summary>
    public IDriverLink Link { get; }

    /// <summary>Where blocks are.</summary>
    public IBlockRegistry Registry { get; }

    /// <summary>How code gets to the executor.</summary>
    public ICodeCarrier Carrier { get; }

    /// <summary>The one executor.</summary>
    internal TaskExecutor Executor => executor;

    /// <summary>Where it keeps its blocks.</summary>
    internal string BlockDirectory => directory.Path;

    /// <inheritdoc/>
    public bool IsRemote => false;

    /// <inheritdoc/>
    public AllocationOptions? Allocation => null;

    /// <inheritdoc/>
    public int ExpectedSlots => slots;

    /// <inheritdoc/>
    public DateTimeOffset? NextWake => null;

    /// <summary>Reads a large result.</summary>
    public Task<byte[]> ReadBlockAsync(string nodeUrl, BlockId block, CancellationToken cancellation) => Task.Run(() => blocks.ReadNamed(block), cancellation);

    /// <summary>Takes a copy of a block as the agent of a node would.</summary>
    public Task TakeBlockAsync(string nodeUrl, BlockDirectory source, BlockId block, CancellationToken cancellation) => Task.Run(() => blocks.WriteNamed(block, source.ReadNamed(block)), cancellation);

    /// <inheritdoc/>
    public string Waiting(DateTimeOffset now) => "";

    /// <inheritdoc/>
    public Task StartAsync(IFleetLoop loop, CancellationToken cancellation)
    {
        running = Task.Run(async () =>
        {
            var end = await executor.RunAsync(stopping.Token).ConfigureAwait(false);
            if (!stopping.IsCancellationRequested)
            {
                await loop.PostAsync(end).ConfigureAwait(false);
            }
        }, CancellationToken.None);
        this.loop = loop;
        return Task.CompletedTask;
    }

    private IFleetLoop? loop;

    /// <inheritdoc/>
    public void Handle(object message, DateTimeOffset now)
    {
        if (message is ExecutorEnd end)
        {
            loop?.Abandon($"the embedded executor ended: {end.Reason}", "open a new session");
        }
    }

    /// <inheritdoc/>
    public void Tick(DateTimeOffset now)
    {
    }

    /// <inheritdoc/>
    public bool Accept(ExecutorHello hello, DateTimeOffset now) => true;

    /// <inheritdoc/>
    public void Want(int count, ImmutableArray<NodeId> preferredNodes, DateTimeOffset now)
    {
    }

    /// <inheritdoc/>
    public void Release(ExecutorId executor, DateTimeOffset now)
    {
    }

    /// <inheritdoc/>
    public void Exclude(ImmutableArray<NodeId> nodes, DateTimeOffset now)
    {
    }

    /// <inheritdoc/>
    public void JobSubmitted(DateTimeOffset now)
    {
    }

    /// <inheritdoc/>
    public Task FinishAsync(bool succeeded, string diagnostics, ApplicationProgress progress) => Task.CompletedTask;

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await stopping.CancelAsync().ConfigureAwait(false);
        await running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await executor.DisposeAsync().ConfigureAwait(false);
        await executorLink.DisposeAsync().ConfigureAwait(false);
        await Link.DisposeAsync().ConfigureAwait(false);
        await Registry.DisposeAsync().ConfigureAwait(false);
        directory.Dispose();
        stopping.Dispose();
    }
}
