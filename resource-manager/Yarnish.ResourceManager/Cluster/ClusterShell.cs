using System.Collections.Immutable;
using System.Diagnostics;
using System.Threading.Channels;
using Yarnish.Protocol;
using Yarnish.ResourceManager.Blobs;
using Yarnish.ResourceManager.Journal;
using Yarnish.ResourceManager.Telemetry;
using Yarnish.Scheduling;
using Yarnish.Transport;

namespace Yarnish.ResourceManager.Cluster;

/// <summary>
/// The shell around <see cref="ClusterMachine"/>: the only one that touches it. Three loops joined by bounded queues:
/// <code>
/// bus, REST, timer → inbox → [apply] → groups → [commit: journal, then] → lanes → [send]
///                              └→ snapshot for readers
/// </code>
/// The apply loop works on while a group is being written; effects leave only after their cause is durable, many causes in one write. When a queue is full
/// its writer waits, back to the broker, where messages are safe. An exception of the core ends the shell: its state is not to be trusted any more, and
/// whoever runs the shell starts a new one from the journal and the agents' reports.
/// </summary>
internal sealed partial class ClusterShell
{
    // Events applied before their effects are handed on: bounds the wait of the first.
    private const int GroupSize = 256;

    // Groups that may wait for the journal.
    private const int GroupsInFlight = 32;

    private static readonly TimeSpan JournalCheck = TimeSpan.FromSeconds(2);

    private readonly ClusterMachine _machine;
    private readonly IControlBus _bus;
    private readonly IClusterJournal _journal;
    private readonly JournalBook _book;
    private readonly ControlSender _sender;
    private readonly ClusterClock _clusterClock;
    private readonly AllocationWatch _watch;
    private readonly BlobReferences _references = new();
    private readonly BlobStore _blobs;
    private readonly ClusterInstruments _instruments;
    private readonly TimeProvider _clock;
    private readonly ILogger _logger;
    private readonly TimeSpan _tickInterval;
    private readonly Channel<Posted> _inbox;
    private readonly Channel<Group> _groups;
    private volatile ClusterSnapshot _snapshot;
    private volatile QueuesInForce _queues;
    private readonly List<ClusterEffect> _effects = [];
    private bool _listening = true;
    private int _tickWaits;
    private long _lastTick;
    private long _lastJournalCheck;

    private ClusterShell(Parts parts, ClusterMachine machine, JournalBook book, ClusterClock clusterClock, AllocationWatch watch, QueuesInForce queues, DateTimeOffset now)
    {
        _queues = queues with { Version = 0, At = now };
        _machine = machine;
        _bus = parts.Bus;
        _journal = parts.Journal;
        _blobs = parts.Blobs;
        _instruments = parts.Instruments;
        _clock = parts.Clock;
        _logger = parts.Logger;
        _tickInterval = parts.TickInterval;
        _book = book;
        _clusterClock = clusterClock;
        _watch = watch;
        _sender = new ControlSender(_bus, _clock, _logger);
        _inbox = Channel.CreateBounded<Posted>(new BoundedChannelOptions(parts.InboxCapacity) { SingleReader = true });
        _groups = Channel.CreateBounded<Group>(new BoundedChannelOptions(GroupsInFlight) { SingleReader = true, SingleWriter = true });
        _snapshot = machine.Snapshot(now);
        _lastTick = _lastJournalCheck = _clock.GetTimestamp();
    }

    /// <summary>The cluster after the latest group of events.</summary>
    public ClusterSnapshot Snapshot => _snapshot;

    /// <summary>The queues in force.</summary>
    public QueuesInForce Queues => _queues;

    /// <summary>Whether the broker is connected.</summary>
    public bool BrokerConnected => _bus.Connected;

    /// <summary>Why the journal cannot be used; empty when it can.</summary>
    public string JournalProblem => _journal.Problem;

    /// <summary>Messages waiting for the scheduler.</summary>
    public int InboxDepth => _inbox.Reader.Count;

    /// <summary>Messages given up.</summary>
    public long DroppedMessages => _sender.Dropped;

    /// <summary>Recovers the state as the journal remembers it. Nothing is received yet.</summary>
    /// <param name="parts">What the shell is made of.</param>
    /// <param name="settings">Times and bounds of the core.</param>
    /// <param name="image">The journal.</param>
    /// <param name="cancellation">Ends the wait.</param>
    /// <param name="queues">The queues; null for those of the journal.</param>
    public static async Task<ClusterShell> RecoverAsync(
        Parts parts, ClusterSettings settings, JournalImage image, CancellationToken cancellation, QueuesInForce? queues = null)
    {
        queues ??= QueuesInForce.FromJournal(image.Entries, parts.Logger);
        var book = new JournalBook(settings.EndedApplications);
        var records = book.Read(image.Entries);
        var clusterClock = new ClusterClock(parts.Clock);
        var now = clusterClock.Advance(listening: true);
        var machine = new ClusterMachine(settings, queues.Configuration);
        var watch = new AllocationWatch(parts.Instruments);
        foreach (var record in records)
        {
            if (record is ApplicationAccepted accepted)
            {
                watch.Know(accepted);
            }
        }
        List<ClusterEffect> effects = [];
        machine.Apply(new Restored(image.Epoch, records), now, effects);
        var shell = new ClusterShell(parts, machine, book, clusterClock, watch, queues, now);
        var first = new Group();
        shell.Collect(effects, first, now);
        await shell._groups.Writer.WriteAsync(first, cancellation);
        Log.Recovered(parts.Logger, image.Epoch, records.Length);
        return shell;
    }

    /// <summary>Takes a message of the control bus; waits while the inbox is full, so that the broker keeps the rest.</summary>
    public ValueTask ReceiveAsync(ControlDelivery delivery)
    {
        _instruments.Received(delivery.Message.GetType().Name);
        if (ClusterEvent.From(delivery.From, delivery.Message) is not { } @event)
        {
            Log.NotForUs(_logger, delivery.Message.GetType().Name, delivery.From);
            return ValueTask.CompletedTask;
        }
        return _inbox.Writer.WriteAsync(new Posted(@event, null));
    }

    /// <summary>Posts an operator's event.</summary>
    /// <returns>Null when the inbox is full; else a task that ends when the event was applied and is durable.</returns>
    public Task? TryPost(ClusterEvent @event)
    {
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        return _inbox.Writer.TryWrite(new Posted(@event, done)) ? done.Task : null;
    }

    /// <summary>Puts new queues into force, whole or not at all.</summary>
    /// <param name="queues">The queues, without errors of their own.</param>
    /// <param name="keep">Whether the journal keeps them.</param>
    /// <returns>Null when the inbox is full; else a task that ends when they are in force and durable, with the errors that kept them out.</returns>
    public Task<ImmutableArray<ConfigurationError>>? TryChangeQueues(QueuesInForce queues, bool keep)
    {
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var change = new QueueChanging(queues, keep);
        return _inbox.Writer.TryWrite(new Posted(new ConfigurationChanged(queues.Configuration), done) { Change = change }) ? ErrorsAsync() : null;

        async Task<ImmutableArray<ConfigurationError>> ErrorsAsync()
        {
            await done.Task;
            return change.Errors;
        }
    }

    /// <summary>Copies the books of the core, for suppositions that are worked out elsewhere.</summary>
    /// <returns>Null when the inbox is full.</returns>
    public Task<ClusterBooks>? TryCopyBooks()
    {
        var copy = new TaskCompletionSource<ClusterBooks>(TaskCreationOptions.RunContinuationsAsynchronously);
        return _inbox.Writer.TryWrite(new Posted(TickEvent, null) { Copy = copy }) ? copy.Task : null;
    }

    /// <summary>Runs until cancelled; then sends what is still to be sent, for a short while.</summary>
    /// <exception cref="DeposedException">Another resource manager took over.</exception>
    public async Task RunAsync(CancellationToken cancellation)
    {
        using var broken = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        using var sending = new CancellationTokenSource();
        await using var timer = _clock.CreateTimer(_ => PostTick(), null, _tickInterval, _tickInterval);
        var apply = Guard(ApplyLoopAsync(broken.Token), broken);
        var commit = Guard(CommitLoopAsync(sending.Token), broken);
        var send = _sender.RunAsync(sending.Token);
        try
        {
            await apply;
        }
        catch (OperationCanceledException) when (broken.IsCancellationRequested)
        {
        }
        finally
        {
            _watch.Close(_clock.GetUtcNow());
            _inbox.Writer.TryComplete();
            _groups.Writer.TryComplete();
            sending.CancelAfter(commit.IsFaulted ? TimeSpan.Zero : TimeSpan.FromSeconds(3));
            await Quietly(commit);
            _sender.Complete();
            await Quietly(send);
            while (_inbox.Reader.TryRead(out var posted))
            {
                posted.Done?.TrySetCanceled(CancellationToken.None);
                posted.Copy?.TrySetCanceled(CancellationToken.None);
            }
        }
        if (commit.IsFaulted)
        {
            await commit;
        }
    }

    private static async Task Guard(Task loop, CancellationTokenSource broken)
    {
        try
        {
            await loop;
        }
        catch
        {
            await broken.CancelAsync();
            throw;
        }
    }

    private static async Task Quietly(Task loop)
    {
        try
        {
            await loop;
        }
        catch (Exception)
        {
            // Looked at by the caller where it matters.
        }
    }

    private void PostTick()
    {
        // One tick waits at most; when the inbox is full the loop ticks by itself.
        if (Interlocked.Exchange(ref _tickWaits, 1) == 0 && !_inbox.Writer.TryWrite(new Posted(TickEvent, null)))
        {
            Volatile.Write(ref _tickWaits, 0);
        }
    }

    private async Task ApplyLoopAsync(CancellationToken cancellation)
    {
        var inbox = _inbox.Reader;
        while (await inbox.WaitToReadAsync(cancellation))
        {
            var group = new Group();
            var now = _clusterClock.Advance(_listening);
            for (var count = 0; count < GroupSize && inbox.TryRead(out var posted); count++)
            {
                if (posted.Copy is { } copy)
                {
                    copy.TrySetResult(_machine.CopyBooks(now));
                    continue;
                }
                if (ReferenceEquals(posted.Event, TickEvent))
                {
                    // Before the clock is read below: a tick that found this one still waiting is covered by that reading.
                    Volatile.Write(ref _tickWaits, 0);
                    continue;
                }
                Apply(posted.Event, group, now, posted.Change);
                if (posted.Done is not null)
                {
                    group.Done.Add(posted.Done);
                }
            }
            // Deadlines are looked at after what had arrived before them.
            if (_clock.GetElapsedTime(_lastTick) >= _tickInterval / 2)
            {
                _lastTick = _clock.GetTimestamp();
                var listened = _listening;
                _listening = _bus.Connected;
                now = _clusterClock.Advance(_listening);
                if (_listening && !listened)
                {
                    Apply(ReturnedEvent, group, now);
                }
                Apply(TickEvent, group, now);
            }
            if (_machine.HasMoreWork)
            {
                // Whatever arrived meanwhile goes first in the next round, which this tick makes sure there is.
                Apply(ContinueEvent, group, now);
                PostTick();
            }
            Publish(now);
            group.CheckJournal = _clock.GetElapsedTime(_lastJournalCheck) >= JournalCheck;
            if (group.CheckJournal)
            {
                _lastJournalCheck = _clock.GetTimestamp();
            }
            if (!group.IsEmpty)
            {
                await _groups.Writer.WriteAsync(group, cancellation);
            }
        }
    }

    // Readers see every change at once, and the age of heartbeats once a second.
    private void Publish(DateTimeOffset now)
    {
        if (_snapshot.Version != _machine.Version || now - _snapshot.At >= TimeSpan.FromSeconds(1))
        {
            _snapshot = _machine.Snapshot(now);
        }
    }

    private void Apply(ClusterEvent @event, Group group, DateTimeOffset now, QueueChanging? change = null)
    {
        _watch.Before(@event, now);
        if (@event is AsksUpdated { Message: var asks } && _references.Update(asks))
        {
            _blobs.Referenced = _references.All;
        }
        var start = Stopwatch.GetTimestamp();
        _machine.Apply(@event, now, _effects);
        _instruments.Stepped(Stopwatch.GetElapsedTime(start));
        Collect(_effects, group, now, change);
        _effects.Clear();
    }

    private void Collect(List<ClusterEffect> effects, Group group, DateTimeOffset now, QueueChanging? change = null)
    {
        foreach (var effect in effects)
        {
            switch (_watch.After(effect, now))
            {
                case WriteJournal write:
                    group.Changes.AddRange(_book.Write(write.Record));
                    break;
                case SendToNode send:
                    group.Messages.Add((ControlAddress.Node(send.NodeId), send.Message));
                    break;
                case SendToApplication send:
                    group.Messages.Add((ControlAddress.Application(send.ApplicationId), send.Message));
                    break;
                case ApplicationClosed closed:
                    if (_references.Remove(closed.ApplicationId))
                    {
                        _blobs.Referenced = _references.All;
                    }
                    break;
                case ConfigurationApplied applied when change is not null:
                    _queues = change.Queues with { Version = applied.Version, At = now };
                    if (change.Keep)
                    {
                        group.Changes.Add(new JournalChange(QueuesInForce.JournalKey, change.Queues.Text));
                    }
                    break;
                case ConfigurationRefused refused when change is not null:
                    change.Errors = refused.Errors;
                    break;
                default:
                    throw new UnreachableException($"The shell does not know the effect {effect.GetType().Name}.");
            }
        }
    }

    private async Task CommitLoopAsync(CancellationToken cancellation)
    {
        var groups = _groups.Reader;
        var batch = new List<Group>();
        var changes = new List<JournalChange>();
        while (await groups.WaitToReadAsync(cancellation))
        {
            // Whatever gathered during the last write becomes the next one.
            while (groups.TryRead(out var group))
            {
                batch.Add(group);
                changes.AddRange(group.Changes);
            }
            if ((changes.Count > 0 || batch.Exists(static group => group.CheckJournal))
                && await _journal.WriteAsync(changes, cancellation) == JournalOutcome.Deposed)
            {
                throw new DeposedException(_journal.Problem);
            }
            foreach (var group in batch)
            {
                foreach (var done in group.Done)
                {
                    done.TrySetResult();
                }
                foreach (var (to, message) in group.Messages)
                {
                    await _sender.PostAsync(to, message, cancellation);
                }
            }
            batch.Clear();
            changes.Clear();
        }
    }

    private static readonly Tick TickEvent = new();
    private static readonly BusReturned ReturnedEvent = new();
    private static readonly ContinuePlacing ContinueEvent = new();

    /// <summary>What a shell is made of.</summary>
    internal sealed record Parts(
        IControlBus Bus,
        IClusterJournal Journal,
        BlobStore Blobs,
        ClusterInstruments Instruments,
        TimeProvider Clock,
        ILogger Logger,
        TimeSpan TickInterval,
        int InboxCapacity);

    private readonly record struct Posted(ClusterEvent Event, TaskCompletionSource? Done)
    {
        public QueueChanging? Change { get; init; }

        public TaskCompletionSource<ClusterBooks>? Copy { get; init; }
    }

    // Errors are written by the apply loop before Done is set, and read after.
    private sealed class QueueChanging(QueuesInForce queues, bool keep)
    {
        public QueuesInForce Queues { get; } = queues;

        public bool Keep { get; } = keep;

        public ImmutableArray<ConfigurationError> Errors { get; set; } = [];
    }

    private sealed class Group
    {
        public List<JournalChange> Changes { get; } = [];

        public List<(ControlAddress To, ControlMessage Message)> Messages { get; } = [];

        public List<TaskCompletionSource> Done { get; } = [];

        public bool CheckJournal { get; set; }

        public bool IsEmpty => Changes.Count == 0 && Messages.Count == 0 && Done.Count == 0 && !CheckJournal;
    }
}

/// <summary>Another resource manager of the same cluster took over: this one must stop, and not start again by itself.</summary>
internal sealed class DeposedException(string message) : Exception(message);
