using System.Globalization;
using System.Threading.Channels;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using RabbitMQ.Client;
using RabbitMQ.Client.Events;
using Yarnish.Protocol;

namespace Yarnish.Transport;

/// <summary>
/// An executor's end of the data path over RabbitMQ. Each connection is an epoch with an exclusive queue of its own, so a name is never declared again while the broker still
/// holds it for a dead connection.
/// </summary>
public sealed class RabbitMqExecutorLink : IExecutorLink
{
    private readonly Session session;

    /// <summary>A link that <see cref="StartAsync"/> connects.</summary>
    /// <param name="rabbitMq">AMQP URI of the broker.</param>
    /// <param name="application">The application.</param>
    /// <param name="executor">This executor.</param>
    /// <param name="logger">Where losses and dropped messages are told.</param>
    /// <exception cref="BrokerUnreachableException">The URI is not an AMQP URI.</exception>
    /// <exception cref="ArgumentException">The ids together are too long to name a queue.</exception>
    public RabbitMqExecutorLink(string rabbitMq, ApplicationId application, ExecutorId executor, ILogger? logger = null)
        : this(rabbitMq, application, executor, logger, LinkSettings.Default)
    {
    }

    internal RabbitMqExecutorLink(string rabbitMq, ApplicationId application, ExecutorId executor, ILogger? logger, LinkSettings settings) =>
        session = new Session(new BrokerAddress(rabbitMq), application, executor, settings, logger ?? NullLogger.Instance);

    /// <inheritdoc/>
    public ChannelReader<ExecutorLinkEvent> Events => session.Reader;

    /// <summary>Deliveries that were not messages of this application's driver: dropped.</summary>
    public long DroppedMessages => session.Dropped;

    /// <summary>Starts to connect and returns; a broker that is not there yet is waited for.</summary>
    public Task StartAsync(CancellationToken cancellation) => session.StartAsync(required: false, cancellation);

    /// <inheritdoc/>
    public ValueTask<bool> SendAsync(ExecutorMessage message) => session.SendAsync(message);

    /// <summary>Disconnects; the queue of the epoch goes with the connection.</summary>
    public ValueTask DisposeAsync() => session.DisposeAsync();

    private sealed class Session : RabbitMqSession<ExecutorLinkEvent>
    {
        // A seat belt: the driver's window keeps queues far shorter.
        private const int QueueBytes = 64 << 20;

        private readonly ApplicationId application;
        private readonly ExecutorId executor;
        private readonly WireWriter writer;
        private readonly WireReader reader = new();
        private readonly Func<ExecutorMessage, ReadOnlyMemory<byte>> encode;
        private readonly CachedString exchange;
        private readonly CachedString results = new(TaskNames.ResultsKey);
        private readonly BasicProperties properties = new() { Type = WireNames.ResultMessageType, DeliveryMode = DeliveryModes.Transient };
        private int epoch;

        public Session(BrokerAddress broker, ApplicationId application, ExecutorId executor, LinkSettings settings, ILogger logger)
            : base(broker, $"yarnish/executor/{application}/{executor}", settings.ExecutorPrefetch, settings, logger)
        {
            TaskNames.Require(application, executor);
            (this.application, this.executor) = (application, executor);
            writer = new WireWriter(settings.MaximumMessageBytes);
            encode = message => writer.Write(application, message);
            exchange = new CachedString(TaskNames.Exchange(application));
        }

        protected override string QueueName => TaskNames.Queue(application, Address);

        private ExecutorAddress Address => new(executor, epoch);

        public async ValueTask<bool> SendAsync(ExecutorMessage message)
        {
            var pending = new Pending();
            return await PublishAsync(message, encode, exchange, results, mandatory: true, properties, pending, correlate: true).ConfigureAwait(false)
                && await pending.Task.ConfigureAwait(false);
        }

        protected override async Task DeclareAsync(IChannel channel)
        {
            epoch++;
            await channel.QueueDeclareAsync(
                QueueName,
                durable: false,
                exclusive: true,
                autoDelete: false,
                new Dictionary<string, object?> { ["x-max-length-bytes"] = QueueBytes, ["x-overflow"] = "reject-publish" }).ConfigureAwait(false);
            // The driver declares the same, in the same way; it is gone after a restart of the broker, and either may be back first.
            await channel.ExchangeDeclareAsync(TaskNames.Exchange(application), ExchangeType.Direct, durable: false, autoDelete: true, noWait: true).ConfigureAwait(false);
            await channel.QueueBindAsync(QueueName, TaskNames.Exchange(application), TaskNames.Key(Address)).ConfigureAwait(false);
            await channel.QueueBindAsync(QueueName, TaskNames.Exchange(application), TaskNames.AllExecutorsKey).ConfigureAwait(false);
        }

        protected override void OnConnected() => Reader.Post(new EpochStarted(Address));

        protected override void OnLost(string reason) => Reader.Post(new EpochEnded($"Lost RabbitMQ at {Broker}: {reason}"));

        protected override ExecutorLinkEvent Decode(ReadOnlySpan<byte> body) => new DriverMessageReceived(reader.ReadDriver(body, application));

        // A return comes before the confirm of the same message; the confirm then counts as a refusal.
        protected override void OnReturned(BasicReturnEventArgs returned, ConfirmWindow window)
        {
            if (ulong.TryParse(returned.BasicProperties.CorrelationId, NumberStyles.None, CultureInfo.InvariantCulture, out var tag) && window.StateOf(tag) is Pending pending)
            {
                pending.Returned = true;
            }
        }

        // Confirms simply come later then; the driver's own link sees the same alarm.
        protected override void OnBlocked(bool blocked, string reason)
        {
        }

        protected override void OnSettled(object? state, bool taken)
        {
            if (state is Pending pending)
            {
                pending.TrySetResult(taken && !pending.Returned);
            }
        }

        protected override void OnUnsettled(object? state) => (state as Pending)?.TrySetResult(false);

        protected override Task LeaveAsync(IChannel channel) => Task.CompletedTask;

        private sealed class Pending() : TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously)
        {
            public bool Returned { get; set; }
        }
    }
}
