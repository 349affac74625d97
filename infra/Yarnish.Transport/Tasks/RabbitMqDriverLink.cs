using System.Threading.Channels;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using RabbitMQ.Client;
using RabbitMQ.Client.Events;
using Yarnish.Protocol;

namespace Yarnish.Transport;

/// <summary>
/// The driver's end of the data path over RabbitMQ. Owns the exchange <c>y.&lt;app&gt;.x</c> and the results queue <c>y.&lt;app&gt;.res</c>, which outlives a
/// lost connection of the driver by ten minutes, so that results wait.
/// </summary>
public sealed class RabbitMqDriverLink : IDriverLink
{
    private readonly Session session;

    /// <summary>A link that <see cref="StartAsync"/> connects.</summary>
    /// <param name="rabbitMq">AMQP URI of the broker.</param>
    /// <param name="application">The application.</param>
    /// <param name="logger">Where losses and dropped messages are told.</param>
    /// <exception cref="BrokerUnreachableException">The URI is not an AMQP URI.</exception>
    public RabbitMqDriverLink(string rabbitMq, ApplicationId application, ILogger? logger = null)
        : this(rabbitMq, application, logger, LinkSettings.Default)
    {
    }

    internal RabbitMqDriverLink(string rabbitMq, ApplicationId application, ILogger? logger, LinkSettings settings) =>
        session = new Session(new BrokerAddress(rabbitMq), application, settings, logger ?? NullLogger.Instance);

    /// <inheritdoc/>
    public ChannelReader<DriverLinkEvent> Events => session.Reader;

    /// <summary>Deliveries that were not messages of this application's executors: dropped.</summary>
    public long DroppedMessages => session.Dropped;

    /// <inheritdoc/>
    public Task StartAsync(CancellationToken cancellation) => session.StartAsync(required: true, cancellation);

    /// <inheritdoc/>
    public ValueTask<bool> SendAsync(ExecutorAddress to, DriverMessage message) => session.SendAsync(to, message);

    /// <inheritdoc/>
    public ValueTask<bool> BroadcastAsync(DriverMessage message) => session.BroadcastAsync(message);

    /// <summary>Deletes the application's queue in the broker and disconnects; the exchange goes with the last executor's queue.</summary>
    public ValueTask DisposeAsync() => session.DisposeAsync();

    private sealed class Session : RabbitMqSession<DriverLinkEvent>
    {
        private const int KeysKept = 4096;

        private readonly ApplicationId application;
        private readonly WireWriter writer;
        private readonly WireReader reader = new();
        private readonly Func<DriverMessage, ReadOnlyMemory<byte>> encode;
        private readonly CachedString exchange;
        private readonly CachedString all = new(TaskNames.AllExecutorsKey);
        private readonly BasicProperties properties = new() { Type = WireNames.TaskMessageType, DeliveryMode = DeliveryModes.Transient };
        private readonly Dictionary<ExecutorAddress, CachedString> keys = [];
        private bool connectedBefore;

        public Session(BrokerAddress broker, ApplicationId application, LinkSettings settings, ILogger logger)
            : base(broker, $"yarnish/driver/{application}", settings.DriverPrefetch, settings, logger)
        {
            this.application = application;
            writer = new WireWriter(settings.MaximumMessageBytes);
            encode = message => writer.Write(application, message);
            exchange = new CachedString(TaskNames.Exchange(application));
            TaskNames.Require(application, new ExecutorId("x"));
        }

        protected override string QueueName => TaskNames.Results(application);

        public ValueTask<bool> SendAsync(ExecutorAddress to, DriverMessage message) =>
            PublishAsync(message, encode, exchange, Key(to), mandatory: true, properties, message is TaskBatch batch ? new Sent(to, batch) : null, correlate: false);

        public ValueTask<bool> BroadcastAsync(DriverMessage message) =>
            PublishAsync(message, encode, exchange, all, mandatory: false, properties, state: null, correlate: false);

        protected override async Task DeclareAsync(IChannel channel)
        {
            await channel.QueueDeclareAsync(
                QueueName, durable: true, exclusive: false, autoDelete: false, new Dictionary<string, object?> { ["x-expires"] = 600_000 }).ConfigureAwait(false);
            // Auto-delete: it lasts while the results queue or an executor's queue is bound, and is nobody's to clean up. Before the first binding nothing would delete it:
            // without waiting for its answer the binding leaves with it, and nobody can be killed in between.
            await channel.ExchangeDeclareAsync(TaskNames.Exchange(application), ExchangeType.Direct, durable: false, autoDelete: true, noWait: true).ConfigureAwait(false);
            await channel.QueueBindAsync(QueueName, TaskNames.Exchange(application), TaskNames.ResultsKey).ConfigureAwait(false);
        }

        protected override void OnConnected()
        {
            if (connectedBefore)
            {
                Reader.Post(new LinkUp());
            }
            connectedBefore = true;
        }

        protected override void OnLost(string reason) => Reader.Post(new LinkDown($"Lost RabbitMQ at {Broker}: {reason}"));

        protected override DriverLinkEvent Decode(ReadOnlySpan<byte> body) => new ExecutorMessageReceived(reader.ReadExecutor(body, application));

        protected override void OnReturned(BasicReturnEventArgs returned, ConfirmWindow window)
        {
            if (!TaskNames.TryParseKey(returned.RoutingKey, out var to))
            {
                return;
            }
            TaskAttemptId[] attempts = [];
            try
            {
                // Another thread than the one that decodes deliveries: a reader of its own. Returns are rare.
                attempts = new WireReader().ReadDriver(returned.Body.Span, application) is TaskBatch batch ? Attempts(batch) : [];
            }
            catch (WireFormatException error)
            {
                Logger.LinkMessageDropped("a returned message", 1, error.Message);
            }
            Reader.Post(new MessageReturned(to, attempts));
        }

        protected override void OnBlocked(bool blocked, string reason) => Reader.Post(new LinkBlocked(blocked, reason));

        // Refused: the executor's queue is full to its byte limit, or the broker failed inside. It does not run, as far as the broker knows.
        protected override void OnSettled(object? state, bool taken)
        {
            if (!taken && state is Sent sent)
            {
                Reader.Post(new MessageReturned(sent.To, Attempts(sent.Batch)));
            }
        }

        // LinkDown tells: the next hello of each executor says what it has.
        protected override void OnUnsettled(object? state)
        {
        }

        protected override async Task LeaveAsync(IChannel channel) =>
            await channel.QueueDeleteAsync(QueueName, ifUnused: false, ifEmpty: false, noWait: false, CancellationToken.None).ConfigureAwait(false);

        private static TaskAttemptId[] Attempts(TaskBatch batch) => [.. batch.Tasks.Select(static task => task.AttemptId)];

        private CachedString Key(ExecutorAddress to)
        {
            lock (keys)
            {
                if (!keys.TryGetValue(to, out var key))
                {
                    if (keys.Count >= KeysKept)
                    {
                        keys.Clear();
                    }
                    keys[to] = key = new CachedString(TaskNames.Key(to));
                }
                return key;
            }
        }

        private sealed record Sent(ExecutorAddress To, TaskBatch Batch);
    }
}
