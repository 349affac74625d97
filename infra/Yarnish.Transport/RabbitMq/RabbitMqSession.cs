using Microsoft.Extensions.Logging;
using RabbitMQ.Client;
using RabbitMQ.Client.Events;

namespace Yarnish.Transport;

/// <summary>
/// What both ends of the data path share: two connections (a broker under alarm blocks one that publishes, the other goes on reading), one channel each, our own
/// confirm window and our own reconnecting. A loss of either connection, channel or consumer ends both; the next pair is a new session with new queues.
/// </summary>
internal abstract class RabbitMqSession<TEvent> : IAsyncDisposable
    where TEvent : class
{
    private static readonly TimeSpan CloseTimeout = TimeSpan.FromSeconds(5);

    private readonly SemaphoreSlim sendGate = new(1, 1);
    private readonly CancellationTokenSource stopping = new();
    private readonly string name;
    private volatile Pair? current;
    private Task? loop;
    private long dropped;
    private volatile bool disposed;

    protected RabbitMqSession(BrokerAddress broker, string name, ushort prefetch, LinkSettings settings, ILogger logger)
    {
        (Broker, this.name, Prefetch, Settings, Logger) = (broker, name, prefetch, settings, logger);
        Reader = new AcknowledgingReader<TEvent>(prefetch);
    }

    public AcknowledgingReader<TEvent> Reader { get; }

    /// <summary>Deliveries that were not messages of ours.</summary>
    public long Dropped => Volatile.Read(ref dropped);

    protected BrokerAddress Broker { get; }

    protected ushort Prefetch { get; }

    protected LinkSettings Settings { get; }

    protected ILogger Logger { get; }

    /// <summary>Connects once and starts to keep connected.</summary>
    /// <param name="required">Whether the first try must succeed.</param>
    /// <param name="cancellation">Gives up the first try.</param>
    /// <exception cref="BrokerUnreachableException">When required.</exception>
    public async Task StartAsync(bool required, CancellationToken cancellation)
    {
        if (loop is not null)
        {
            throw new InvalidOperationException("The link runs already.");
        }
        var first = required ? await ConnectAsync(cancellation).ConfigureAwait(false) : null;
        loop = Task.Run(() => KeepConnectedAsync(first), CancellationToken.None);
    }

    public async ValueTask DisposeAsync()
    {
        if (disposed)
        {
            return;
        }
        disposed = true;
        var last = current;
        current = null;
        if (last is not null)
        {
            try
            {
                await LeaveAsync(last.Consuming).WaitAsync(CloseTimeout).ConfigureAwait(false);
            }
            catch (Exception)
            {
                // The broker removes what we leave: by the end of the connection, or by the queue's expiry.
            }
        }
        await stopping.CancelAsync().ConfigureAwait(false);
        if (loop is not null)
        {
            await loop.ConfigureAwait(false);
        }
        Reader.Complete();
        stopping.Dispose();
    }

    /// <summary>Declares what this end needs, on the consuming channel.</summary>
    protected abstract Task DeclareAsync(IChannel channel);

    /// <summary>The queue to consume.</summary>
    protected abstract string QueueName { get; }

    /// <summary>Connected; nothing was delivered yet.</summary>
    protected abstract void OnConnected();

    /// <summary>The session is over.</summary>
    protected abstract void OnLost(string reason);

    /// <summary>A delivery; the bytes are valid until this returns.</summary>
    /// <exception cref="WireFormatException">Not a message of ours: it is dropped and counted.</exception>
    protected abstract TEvent Decode(ReadOnlySpan<byte> body);

    /// <summary>A message that reached no queue.</summary>
    protected abstract void OnReturned(BasicReturnEventArgs returned, ConfirmWindow window);

    /// <summary>The broker blocks publishers, or does so no more.</summary>
    protected abstract void OnBlocked(bool blocked, string reason);

    /// <summary>The broker took a message or refused it.</summary>
    protected abstract void OnSettled(object? state, bool taken);

    /// <summary>A message was outstanding when its session ended.</summary>
    protected abstract void OnUnsettled(object? state);

    /// <summary>Removes what this end leaves behind.</summary>
    protected abstract Task LeaveAsync(IChannel channel);

    /// <summary>Publishes what <paramref name="encode"/> writes. False when there is no session or it ended meanwhile.</summary>
    protected async ValueTask<bool> PublishAsync<TMessage>(
        TMessage message, Func<TMessage, ReadOnlyMemory<byte>> encode, CachedString exchange, CachedString key, bool mandatory, BasicProperties properties, object? state, bool correlate)
    {
        // A channel is not for concurrent publishers, and the encoder's buffer is ours until the client has copied it.
        await sendGate.WaitAsync().ConfigureAwait(false);
        try
        {
            if (current is not { } pair)
            {
                return false;
            }
            var body = encode(message);
            if (!await pair.Window.WaitForRoomAsync(body.Length).ConfigureAwait(false))
            {
                return false;
            }
            var tag = pair.Window.Add(body.Length, state);
            if (correlate)
            {
                properties.CorrelationId = tag.ToString(System.Globalization.CultureInfo.InvariantCulture);
            }
            try
            {
                // No token: a cancelled publish leaves the channel's count of messages and ours apart.
                await pair.Publishing.BasicPublishAsync(exchange, key, mandatory, properties, body, CancellationToken.None).ConfigureAwait(false);
                return true;
            }
            catch (Exception error)
            {
                pair.Lose($"publishing failed: {Broker.Masked(error.Message)}");
                return false;
            }
        }
        finally
        {
            sendGate.Release();
        }
    }

    private async Task KeepConnectedAsync(Pair? pair)
    {
        var failures = 0;
        while (!stopping.IsCancellationRequested)
        {
            if (pair is null)
            {
                try
                {
                    await Task.Delay(RetryDelay(failures), stopping.Token).ConfigureAwait(false);
                    pair = await ConnectAsync(stopping.Token).ConfigureAwait(false);
                    failures = 0;
                }
                catch (OperationCanceledException) when (stopping.IsCancellationRequested)
                {
                    return;
                }
                catch (Exception error)
                {
                    // Told once: the next tries of the same outage say nothing new.
                    if (failures++ == 0)
                    {
                        Logger.LinkLost(name, error.Message);
                    }
                    continue;
                }
            }
            string? reason = null;
            try
            {
                reason = await pair.Lost.WaitAsync(stopping.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                // Disposed.
            }
            current = null;
            pair.Window.Close();
            // Leaving deletes our queue, of which the broker tells its consumer: no loss.
            if (reason is not null && !disposed)
            {
                Logger.LinkLost(name, reason);
                OnLost(reason);
            }
            await pair.CloseAsync().ConfigureAwait(false);
            pair = null;
        }
    }

    // At once, then full jitter: a thousand executors must not come back in step.
    private TimeSpan RetryDelay(int failures)
    {
        if (failures == 0)
        {
            return TimeSpan.Zero;
        }
        var most = Math.Min(Settings.RetryTo.TotalSeconds, Settings.RetryFrom.TotalSeconds * Math.Pow(2, Math.Min(failures, 20)));
        return TimeSpan.FromSeconds(Settings.RetryFrom.TotalSeconds + (Random.Shared.NextDouble() * (most - Settings.RetryFrom.TotalSeconds)));
    }

    private async Task<Pair> ConnectAsync(CancellationToken cancellation)
    {
        var pair = new Pair(new ConfirmWindow(Settings.WindowMessages, Settings.WindowBytes, OnSettled, OnUnsettled));
        var announced = false;
        try
        {
            var publish = Broker.ConnectAsync(name + "/publish", cancellation);
            var consume = Broker.ConnectAsync(name + "/consume", cancellation);
            await Task.WhenAll(Keep(publish, pair), Keep(consume, pair)).ConfigureAwait(false);
            var publisher = await publish.ConfigureAwait(false);
            var consumer = await consume.ConfigureAwait(false);
            publisher.ConnectionBlockedAsync += (_, blocked) =>
            {
                Logger.LinkBlocked(name, blocked.Reason);
                OnBlocked(true, blocked.Reason);
                return Task.CompletedTask;
            };
            publisher.ConnectionUnblockedAsync += (_, _) =>
            {
                OnBlocked(false, "");
                return Task.CompletedTask;
            };
            // The default of the options would override the connection's dispatch concurrency anyway: 1, since several loops would acknowledge twice.
            pair.Publishing = await publisher.CreateChannelAsync(
                new CreateChannelOptions(publisherConfirmationsEnabled: true, publisherConfirmationTrackingEnabled: false, consumerDispatchConcurrency: 1),
                CancellationToken.None).WaitAsync(cancellation).ConfigureAwait(false);
            pair.Consuming = await consumer.CreateChannelAsync(
                new CreateChannelOptions(publisherConfirmationsEnabled: false, publisherConfirmationTrackingEnabled: false, consumerDispatchConcurrency: 1),
                CancellationToken.None).WaitAsync(cancellation).ConfigureAwait(false);
            Watch(pair, publisher, pair.Publishing);
            Watch(pair, consumer, pair.Consuming);
            pair.Publishing.BasicAcksAsync += (_, acks) =>
            {
                pair.Window.Settle(acks.DeliveryTag, acks.Multiple, taken: true);
                return Task.CompletedTask;
            };
            pair.Publishing.BasicNacksAsync += (_, nacks) =>
            {
                pair.Window.Settle(nacks.DeliveryTag, nacks.Multiple, taken: false);
                return Task.CompletedTask;
            };
            pair.Publishing.BasicReturnAsync += (_, returned) =>
            {
                OnReturned(returned, pair.Window);
                return Task.CompletedTask;
            };
            await DeclareAsync(pair.Consuming).WaitAsync(cancellation).ConfigureAwait(false);
            await pair.Consuming.BasicQosAsync(0, Prefetch, global: false, CancellationToken.None).WaitAsync(cancellation).ConfigureAwait(false);
            current = pair;
            announced = true;
            OnConnected();
            await pair.Consuming.BasicConsumeAsync(
                QueueName, autoAck: false, consumerTag: "", noLocal: false, exclusive: false, arguments: null, new Consumer(this, pair), CancellationToken.None)
                .WaitAsync(cancellation).ConfigureAwait(false);
            Logger.LinkConnected(name, Broker.ToString());
            return pair;
        }
        catch (Exception error)
        {
            current = null;
            pair.Window.Close();
            if (announced)
            {
                OnLost(Broker.Masked(error.Message));
            }
            await pair.CloseAsync().ConfigureAwait(false);
            if (error is BrokerUnreachableException || (error is OperationCanceledException && cancellation.IsCancellationRequested))
            {
                throw;
            }
            throw Broker.Explain(error);
        }
    }

    // A connection that came while its twin failed is closed with the pair.
    private static async Task Keep(Task<IConnection> connecting, Pair pair) => pair.Add(await connecting.ConfigureAwait(false));

    private void Watch(Pair pair, IConnection connection, IChannel channel)
    {
        connection.ConnectionShutdownAsync += (_, why) =>
        {
            pair.Lose($"the connection ended: {Describe(why)}");
            return Task.CompletedTask;
        };
        channel.ChannelShutdownAsync += (_, why) =>
        {
            pair.Lose($"the channel was closed: {Describe(why)}");
            return Task.CompletedTask;
        };
    }

    private string Describe(ShutdownEventArgs why) => Broker.Masked(why.ReplyText.Length > 0 ? why.ReplyText : why.Exception?.Message ?? "no reason given");

    private void Deliver(IChannel channel, ulong tag, ReadOnlySpan<byte> body)
    {
        TEvent? what = null;
        try
        {
            what = Decode(body);
        }
        catch (WireFormatException error)
        {
            var total = Interlocked.Increment(ref dropped);
            // 1, 2, 4, 8 …: a flood of rubbish must not become a flood of lines.
            if (long.IsPow2(total))
            {
                Logger.LinkMessageDropped(name, total, error.Message);
            }
        }
        Reader.Post(what, channel, tag);
    }

    private sealed class Consumer(RabbitMqSession<TEvent> session, Pair pair) : AsyncDefaultBasicConsumer(pair.Consuming)
    {
        public override Task HandleBasicDeliverAsync(
            string consumerTag, ulong deliveryTag, bool redelivered, string exchange, string routingKey, IReadOnlyBasicProperties properties, ReadOnlyMemory<byte> body,
            CancellationToken cancellationToken = default)
        {
            session.Deliver(Channel, deliveryTag, body.Span);
            return Task.CompletedTask;
        }

        public override Task HandleBasicCancelAsync(string consumerTag, CancellationToken cancellationToken = default)
        {
            pair.Lose("its queue was deleted");
            return Task.CompletedTask;
        }
    }

    private sealed class Pair(ConfirmWindow window)
    {
        private readonly TaskCompletionSource<string> lost = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly List<IConnection> connections = [];

        public ConfirmWindow Window => window;

        public IChannel Publishing { get; set; } = null!;

        public IChannel Consuming { get; set; } = null!;

        public Task<string> Lost => lost.Task;

        public void Lose(string reason) => lost.TrySetResult(reason);

        public void Add(IConnection connection)
        {
            lock (connections)
            {
                connections.Add(connection);
            }
        }

        public async Task CloseAsync()
        {
            IConnection[] all;
            lock (connections)
            {
                all = [.. connections];
            }
            await Task.WhenAll(all.Select(CloseAsync)).ConfigureAwait(false);
        }

        private static async Task CloseAsync(IConnection connection)
        {
            try
            {
                // Bounded from outside as well: closing has hung in this client before (rabbitmq-dotnet-client#1751, #1968).
                await connection.CloseAsync(Constants.ReplySuccess, "done", CloseTimeout, abort: true, CancellationToken.None).WaitAsync(CloseTimeout).ConfigureAwait(false);
                connection.Dispose();
            }
            catch (Exception)
            {
                // It is gone one way or the other.
            }
        }
    }
}
