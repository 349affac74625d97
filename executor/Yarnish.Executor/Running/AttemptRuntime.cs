using System.Collections.Immutable;
using Yarnish.Blocks;
using Yarnish.Protocol;
using Yarnish.Serialization;

namespace Yarnish.Executor;

/// <summary>The runtime of one attempt, on one slot thread.</summary>
internal sealed class AttemptRuntime : TaskRuntime, ITaskSharing, IDisposable
{
    /// <summary>Rows that are decoded before they are handed on: few enough to stay in a core's cache.</summary>
    private const int DecodedRows = 512;

    private readonly ExecutorServices services;
    private readonly Attempt attempt;
    private readonly bool traced;
    private TaskShuffleWriter? writer;
    private AttemptCache? cache;
    private AttemptAccumulators? accumulators;
    private List<ShuffleReader>? readers;
    private bool hasResult;
    private int barriersPassed;
    private long localBytes;
    private long remoteBytes;
    private long waitMicroseconds;

    /// <summary>For an attempt that has a slot.</summary>
    public AttemptRuntime(ExecutorServices services, Attempt attempt, CancellationToken cancellation)
    {
        this.services = services;
        this.attempt = attempt;
        traced = attempt.Trace is not null && TaskSpan.Source.HasListeners();
        Context = new TaskContext
        {
            StageId = attempt.Batch.StageId,
            StageAttempt = attempt.Batch.StageAttempt,
            Partition = attempt.Task.Partition,
            AttemptNumber = attempt.Task.AttemptNumber,
            AttemptId = attempt.Id,
            ExecutorId = services.Options.ExecutorId,
            Cancellation = cancellation,
            Logger = new TaskLogger(services.Logger, attempt),
            Resources = services.TaskResources,
            TemporaryRoot = services.TemporaryRoot,
            Sharing = this,
        };
    }

    /// <inheritdoc/>
    public override TaskContext Context { get; }

    /// <inheritdoc/>
    public override ReadOnlyMemory<byte> Input => attempt.Task.Input;

    /// <inheritdoc/>
    public override TaskCounters Counters { get; } = new();

    /// <inheritdoc/>
    public override ICollectionCache Cache => cache ??= new AttemptCache(services.Collections, attempt.Batch.Elsewhere.Count == 0 ? null : Fetch, services.Logger);

    /// <summary>What it added to accumulators; null when nothing, or before <see cref="CloseAccumulators"/>.</summary>
    public ImmutableSortedDictionary<int, ReadOnlyMemory<byte>>? Accumulators { get; private set; }

    /// <summary>The result; empty when none was set.</summary>
    public ReadOnlyMemory<byte> Result { get; private set; }

    /// <summary>A part of a shuffle could not be read: the end of this attempt, whatever user code makes of the exception.</summary>
    public FetchFailed? FetchFailure { get; private set; }

    /// <summary>What a map task wrote.</summary>
    public MapOutput? MapOutput => writer?.Output;

    /// <summary>Persisted partitions stored by this attempt; null when none.</summary>
    public IReadOnlyList<CachedPartition>? Cached => cache?.Stored;

    /// <summary>What becomes child spans; null when not traced.</summary>
    public List<TaskPhase>? Phases { get; private set; }

    /// <summary>Wall clock.</summary>
    public DateTimeOffset Now => services.Time.GetUtcNow();

    /// <inheritdoc/>
    T ITaskSharing.Broadcast<T>(BroadcastId id) => services.Broadcasts.Get<T>(id, Context.Cancellation);

    /// <inheritdoc/>
    TSlot ITaskSharing.Accumulator<TSlot>(int number, Func<TSlot> create)
    {
        if (accumulators is null)
        {
            // The task may use several threads.
            Interlocked.CompareExchange(ref accumulators, new AttemptAccumulators(), null);
        }
        return accumulators.Get(number, create);
    }

    /// <summary>Takes what it added to accumulators into the report: at its end, when it succeeded.</summary>
    /// <exception cref="AccumulatorException">It is too much to report.</exception>
    public void CloseAccumulators() => Accumulators = accumulators?.Close();

    /// <inheritdoc/>
    public override void SetResult(ReadOnlyMemory<byte> result)
    {
        if (hasResult)
        {
            throw new InvalidOperationException("The result of an attempt is set once.");
        }
        hasResult = true;
        Result = result;
    }

    /// <inheritdoc/>
    public override IShuffleWriter OpenShuffleWriter(ShuffleId shuffle, int reducers)
    {
        if (writer is not null)
        {
            throw new InvalidOperationException("An attempt writes one shuffle.");
        }
        return writer = new TaskShuffleWriter(
            this, services.Directory, new MapOutputId(shuffle, attempt.Task.Partition, attempt.Id), reducers, services.ShuffleMemoryPerTask, services.Shared);
    }

    /// <inheritdoc/>
    public override IEnumerable<ShuffleBlock> ReadShuffle(ShuffleId shuffle, int reducer)
    {
        if (OpenReader(shuffle, reducer) is { } reader)
        {
            foreach (var (map, content) in Read(shuffle, reader, null))
            {
                yield return new ShuffleBlock(map, content);
            }
        }
    }

    /// <inheritdoc/>
    public override IEnumerable<ShuffleRowBlock<T>> ReadShuffle<T>(ShuffleId shuffle, int reducer, IRowFormat<T> format, bool inOrder)
    {
        if (OpenReader(shuffle, reducer) is not { } reader)
        {
            return [];
        }
        var rows = ReadRows(shuffle, reader, reducer, format);
        return inOrder && !reader.IsLocal ? Ordered(rows) : rows;
    }

    private IEnumerable<ShuffleRowBlock<T>> ReadRows<T>(ShuffleId shuffle, ShuffleReader reader, int reducer, IRowFormat<T> format)
    {
        T[]? decoded = null;
        SharedRows<T>? held = null;
        Func<MapOutputId, bool>? isHeld = services.Shared is not { } shared ? null : output =>
        {
            held = shared.Find(output) switch
            {
                null => null,
                SharedRows<T> rows => rows,
                _ => throw new InvalidOperationException($"{output} does not hold rows of type {typeof(T)}."),
            };
            return held is not null;
        };
        foreach (var (map, content) in Read(shuffle, reader, isHeld))
        {
            if (held is not null)
            {
                var chunks = held.Parts[reducer];
                held = null;
                foreach (var rows in chunks)
                {
                    Context.Cancellation.ThrowIfCancellationRequested();
                    Counters.ShuffleReadRows += rows.Length;
                    yield return new(map, rows);
                }
                continue;
            }
            for (var position = 0; position < content.Length;)
            {
                Context.Cancellation.ThrowIfCancellationRequested();
                decoded ??= new T[DecodedRows];
                var count = format.Read(content, ref position, decoded);
                Counters.ShuffleReadRows += count;
                yield return new(map, decoded.AsMemory(0, count));
            }
        }
    }

    private static IEnumerable<ShuffleRowBlock<T>> Ordered<T>(IEnumerable<ShuffleRowBlock<T>> blocks)
    {
        // A map task's part may come in several blocks, those of other tasks between them; its own are in order.
        var parts = new SortedDictionary<int, List<T>>();
        foreach (var block in blocks)
        {
            if (!parts.TryGetValue(block.MapPartition, out var rows))
            {
                parts.Add(block.MapPartition, rows = []);
            }
            rows.AddRange(block.Rows.Span);
        }
        foreach (var (map, rows) in parts)
        {
            foreach (var chunk in rows.Chunk(DecodedRows))
            {
                yield return new(map, chunk);
            }
        }
    }

    private ShuffleReader? OpenReader(ShuffleId shuffle, int reducer)
    {
        var locations = Locate(shuffle);
        if ((uint)reducer >= (uint)locations.Reducers)
        {
            return locations.MapPartitions == 0
                ? null
                : throw new ArgumentOutOfRangeException(nameof(reducer), $"Shuffle {shuffle} has {locations.Reducers} reducers; asked for {reducer}.");
        }
        var client = services.Options.NodeUrl.Length == 0 ? null : services.Client;
        var reader = new ShuffleReader(services.Directory, services.Options.NodeId, client, locations, reducer, Context.Cancellation);
        (readers ??= []).Add(reader);
        return reader;
    }

    private IEnumerable<(int MapPartition, ReadOnlyMemory<byte> Content)> Read(ShuffleId shuffle, ShuffleReader reader, Func<MapOutputId, bool>? isHeld)
    {
        var started = Now;
        try
        {
            using var blocks = reader.Read(isHeld).GetEnumerator();
            while (true)
            {
                try
                {
                    if (!blocks.MoveNext())
                    {
                        break;
                    }
                }
                catch (MapOutputUnavailableException error)
                {
                    throw Fail(new FetchFailed(shuffle, error.Output.MapPartition, error.Output.AttemptId, error.Node, error.Message), error);
                }
                yield return blocks.Current;
            }
        }
        finally
        {
            reader.Dispose();
            localBytes += reader.LocalBytes;
            remoteBytes += reader.RemoteBytes;
            waitMicroseconds += reader.WaitMicroseconds;
            if (traced)
            {
                (Phases ??= []).Add(new TaskPhase(
                    "shuffle.fetch",
                    started,
                    Now - started,
                    ("yarnish.shuffle.id", shuffle.Value),
                    ("yarnish.shuffle.parts", reader.Parts),
                    ("yarnish.shuffle.local_bytes", reader.LocalBytes),
                    ("yarnish.shuffle.remote_bytes", reader.RemoteBytes),
                    ("yarnish.shuffle.wait_us", reader.WaitMicroseconds)));
            }
        }
    }

    /// <inheritdoc/>
    public override async Task<IReadOnlyList<string>> MeetAsync(string message, TimeSpan timeout)
    {
        var said = await services.Barriers.MeetAsync(attempt.Id, barriersPassed, message, timeout, services.Time, Context.Cancellation).ConfigureAwait(false);
        barriersPassed++;
        return said;
    }

    /// <summary>Tells the registry what a map task wrote, before anyone hears of success.</summary>
    public MapOutput Register(ShuffleId shuffle, byte[] sizeClasses)
    {
        var output = new MapOutput(shuffle, attempt.Task.Partition, attempt.Id, services.Options.NodeId, services.Options.NodeUrl, SizeClasses.Pack(sizeClasses));
        services.Register((registry, cancellation) => registry.RegisterMapOutputAsync(output, cancellation));
        return output;
    }

    /// <summary>What it did; after the program has returned.</summary>
    public TaskMetrics End(long runMicroseconds, long queueMicroseconds, long pauseMicroseconds, long resultBytes)
    {
        var metrics = new TaskMetrics
        {
            RunMicroseconds = runMicroseconds,
            QueueMicroseconds = queueMicroseconds,
            DeserializeMicroseconds = Counters.DeserializeMicroseconds,
            GarbageCollectionMicroseconds = pauseMicroseconds,
            InputRows = Counters.InputRows + Context.InputRows,
            SkippedRows = Counters.SkippedRows,
            InputBytes = Counters.InputBytes + Context.InputBytes,
            OutputRows = Counters.OutputRows + Context.OutputRows,
            OutputBytes = Counters.OutputBytes + Context.OutputBytes,
            ResultBytes = resultBytes,
            ShuffleWriteRows = writer?.AllRows ?? 0,
            ShuffleWriteBytes = writer?.AllBytes ?? 0,
            ShuffleWriteMicroseconds = writer?.WriteMicroseconds ?? 0,
            ShuffleReadRows = Counters.ShuffleReadRows,
            ShuffleReadLocalBytes = localBytes,
            ShuffleReadRemoteBytes = remoteBytes,
            ShuffleFetchWaitMicroseconds = waitMicroseconds,
            SpillBytes = writer?.SpilledBytes ?? 0,
        };
        if (writer is not null)
        {
            if (traced)
            {
                (Phases ??= []).Add(new TaskPhase(
                    "shuffle.write",
                    writer.Opened,
                    Now - writer.Opened,
                    ("yarnish.shuffle.id", writer.Shuffle.Value),
                    ("yarnish.shuffle.rows", writer.AllRows),
                    ("yarnish.shuffle.bytes", writer.AllBytes),
                    ("yarnish.shuffle.spilled_bytes", writer.SpilledBytes),
                    ("yarnish.shuffle.write_us", writer.WriteMicroseconds)));
            }
        }
        return metrics;
    }

    /// <summary>Lets go of files and fetches, also those of enumerations that the program left half way.</summary>
    public void Dispose()
    {
        writer?.Abandon();
        readers?.ForEach(static reader => reader.Dispose());
    }

    private bool Fetch(int collection, int partition)
    {
        var started = Now;
        var fetched = services.Mover.Fetch(collection, partition, attempt.Batch.Elsewhere, Context.Cancellation);
        if (traced)
        {
            (Phases ??= []).Add(new TaskPhase(
                "partition.fetch",
                started,
                Now - started,
                ("yarnish.collection", collection),
                ("yarnish.partition", partition),
                ("yarnish.fetched", fetched ? 1 : 0)));
        }
        return fetched;
    }

    private ShuffleLocations Locate(ShuffleId shuffle)
    {
        foreach (var input in attempt.Batch.Shuffles)
        {
            if (input.ShuffleId != shuffle)
            {
                continue;
            }
            return services.Locations.Get(shuffle, input.Epoch, Context.Cancellation);
        }
        throw new InvalidOperationException($"The stage does not name shuffle {shuffle} as its input.");
    }

    private ShuffleFetchException Fail(FetchFailed failure, Exception inner)
    {
        FetchFailure = failure;
        return new ShuffleFetchException(failure, inner);
    }
}
