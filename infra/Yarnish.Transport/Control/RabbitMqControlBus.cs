using MassTransit;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using RabbitMQ.Client;
using Yarnish.Protocol;

namespace Yarnish.Transport;

/// <summary>
/// The control bus over RabbitMQ by MassTransit 8. Each participant has a durable queue bound to the cluster's direct exchange; the queues of nodes and drivers expire ten
/// minutes after their last consumer. Reconnects by itself. MassTransit's usage telemetry belongs to its container registration, which is not used here.
/// </summary>
public sealed class RabbitMqControlBus : IControlBus
{
    private const int PrefetchCount = 32;
    private const int QueueLength = 50_000;
    private const int QueueExpiryMilliseconds = 600_000;

    private static readonly TimeSpan SendTimeout = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan StartTimeout = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan StopTimeout = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan BeatLifetime = TimeSpan.FromSeconds(30);

    private readonly BrokerAddress broker;
    private readonly string cluster;
    private readonly string secret;
    private readonly ILoggerFactory loggers;
    private readonly ILogger logger;
    private readonly Uri exchange;
    private IBusControl? bus;
    private ISendEndpoint? endpoint;
    private long dropped;
    private long refused;
    private bool disposed;

    /// <summary>A bus that <see cref="StartAsync"/> connects.</summary>
    /// <param name="rabbitMq">AMQP URI of the broker.</param>
    /// <param name="cluster">Name of the cluster; part of every queue name.</param>
    /// <param name="secret">The cluster secret; empty when there is none, which only a broker on loopback should have.</param>
    /// <param name="self">Who takes part.</param>
    /// <param name="loggers">Where losses and dropped messages are told; null for nowhere.</param>
    /// <exception cref="BrokerUnreachableException">The URI is not an AMQP URI.</exception>
    /// <exception cref="FormatException">The cluster's name has other characters than an id may have.</exception>
    public RabbitMqControlBus(string rabbitMq, string cluster, string secret, ControlAddress self, ILoggerFactory? loggers = null)
    {
        broker = new BrokerAddress(rabbitMq);
        this.cluster = IdSyntax.Require(cluster, "cluster name");
        this.secret = secret ?? "";
        Self = self;
        this.loggers = loggers ?? NullLoggerFactory.Instance;
        logger = this.loggers.CreateLogger<RabbitMqControlBus>();
        exchange = new Uri($"exchange:{ControlAddressText.Exchange(cluster)}?type=direct&durable=true");
    }

    /// <inheritdoc/>
    public ControlAddress Self { get; }

    /// <inheritdoc/>
    public bool Connected => !disposed && bus?.CheckHealth().Status == BusHealthStatus.Healthy;

    /// <summary>Messages that were no control messages, or whose receiver threw.</summary>
    public long DroppedMessages => Volatile.Read(ref dropped);

    /// <summary>Messages whose signature was wrong.</summary>
    public long RefusedMessages => Volatile.Read(ref refused);

    /// <inheritdoc/>
    public async Task StartAsync(Func<ControlDelivery, ValueTask> receive, CancellationToken cancellation)
    {
        if (bus is not null)
        {
            throw new InvalidOperationException("The bus runs already.");
        }
        // First by ourselves: MassTransit tries for ever and tells nobody why.
        var connection = await broker.ConnectAsync($"yarnish/control/{Self}", cancellation).ConfigureAwait(false);
        try
        {
            await using var channel = await connection.CreateChannelAsync(null, CancellationToken.None).WaitAsync(cancellation).ConfigureAwait(false);
            await DeclareAsync(channel).WaitAsync(cancellation).ConfigureAwait(false);
        }
        catch (Exception error) when (error is not OperationCanceledException)
        {
            throw broker.Explain(error);
        }
        finally
        {
            await CloseAsync(connection).ConfigureAwait(false);
        }

        LogContext.ConfigureCurrentLogContext(loggers);
        var created = Bus.Factory.CreateUsingRabbitMq(configuration =>
        {
            configuration.Host(new Uri($"{(broker.UseTls ? "rabbitmqs" : "rabbitmq")}://{broker.Host}:{broker.Port}/{Uri.EscapeDataString(broker.VirtualHost)}"), host =>
            {
                host.Username(broker.UserName);
                host.Password(broker.Password);
                host.PublisherConfirmation = true;
                host.Heartbeat(TimeSpan.FromSeconds(10));
                host.ConnectionName($"yarnish/control/{Self}");
            });
            configuration.ReceiveEndpoint(ControlAddressText.Queue(cluster, Self), queue =>
            {
                queue.ConfigureConsumeTopology = false;
                queue.Durable = true;
                queue.AutoDelete = true;   // of the exchange that MassTransit wants beside the queue: it goes with the queue
                queue.BindQueue = false;   // MassTransit makes every queue that expires exclusive, so ours is declared by us
                queue.ConfigureChannel(pipe => pipe.UseExecuteAsync(context => DeclareAsync(context.Channel)));
                queue.PrefetchCount = PrefetchCount;
                queue.ConcurrentMessageLimit = 1;
                queue.DiscardFaultedMessages();
                queue.DiscardSkippedMessages();
                queue.Handler<ControlEnvelope>(context => ReceiveAsync(context.Message, receive));
            });
        });
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        timeout.CancelAfter(StartTimeout);
        try
        {
            // Returns when the endpoint consumes: what is sent to us from here on is not lost.
            await created.StartAsync(timeout.Token).ConfigureAwait(false);
        }
        catch (Exception error)
        {
            cancellation.ThrowIfCancellationRequested();
            throw broker.Explain(error is OperationCanceledException ? new TimeoutException("The control bus did not start in time.", error) : error);
        }
        endpoint = await created.GetSendEndpoint(exchange).ConfigureAwait(false);
        bus = created;
    }

    /// <inheritdoc/>
    public async ValueTask<bool> SendAsync(ControlAddress to, ControlMessage message, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(message);
        return await SendAsync(to, ControlEnvelope.Seal(secret, Self, to, ControlJson.Encode(message)), message, cancellation).ConfigureAwait(false);
    }

    /// <summary>Stops receiving and disconnects. A driver's queue is deleted: no other will ever use it. Others keep what waits in theirs.</summary>
    public async ValueTask DisposeAsync()
    {
        if (disposed)
        {
            return;
        }
        disposed = true;
        if (bus is null)
        {
            return;
        }
        try
        {
            await bus.StopAsync(CancellationToken.None).WaitAsync(StopTimeout).ConfigureAwait(false);
            if (Self.Role == ControlRole.Application)
            {
                var connection = await broker.ConnectAsync($"yarnish/control/{Self}", CancellationToken.None).WaitAsync(StopTimeout).ConfigureAwait(false);
                await using (var channel = await connection.CreateChannelAsync().ConfigureAwait(false))
                {
                    await channel.QueueDeleteAsync(ControlAddressText.Queue(cluster, Self), ifUnused: false, ifEmpty: false).ConfigureAwait(false);
                }
                await CloseAsync(connection).ConfigureAwait(false);
            }
        }
        catch (Exception error)
        {
            // The broker is away; its side cleans up by expiry.
            logger.LinkLost($"control bus of {Self}", $"not stopped in good order: {broker.Masked(error.Message)}");
        }
    }

    private static async Task CloseAsync(IConnection connection)
    {
        try
        {
            await connection.CloseAsync(Constants.ReplySuccess, "done", TimeSpan.FromSeconds(5), abort: true, CancellationToken.None)
                .WaitAsync(TimeSpan.FromSeconds(5)).ConfigureAwait(false);
            connection.Dispose();
        }
        catch (Exception)
        {
            // It is gone one way or the other.
        }
    }

    // Declared on every connection: after a broker came back empty as well.
    private async Task DeclareAsync(IChannel channel)
    {
        var queue = ControlAddressText.Queue(cluster, Self);
        var arguments = new Dictionary<string, object?> { ["x-max-length"] = QueueLength };   // the oldest go first: every protocol here heals by repetition
        if (Self.Role != ControlRole.ResourceManager)
        {
            arguments["x-expires"] = QueueExpiryMilliseconds;
        }
        await channel.ExchangeDeclareAsync(ControlAddressText.Exchange(cluster), "direct", durable: true, autoDelete: false).ConfigureAwait(false);
        await channel.QueueDeclareAsync(queue, durable: true, exclusive: false, autoDelete: false, arguments).ConfigureAwait(false);
        await channel.QueueBindAsync(queue, ControlAddressText.Exchange(cluster), Self.ToString()).ConfigureAwait(false);
        // MassTransit declares an exchange of the queue's name. Bound to the queue it is deleted with it.
        await channel.ExchangeDeclareAsync(queue, "fanout", durable: true, autoDelete: true).ConfigureAwait(false);
        await channel.QueueBindAsync(queue, queue, "").ConfigureAwait(false);
    }

    private async ValueTask<bool> SendAsync(ControlAddress to, ControlEnvelope envelope, ControlMessage message, CancellationToken cancellation)
    {
        if (disposed || endpoint is null)
        {
            return false;
        }
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        timeout.CancelAfter(SendTimeout);
        try
        {
            await endpoint.Send(
                envelope,
                context =>
                {
                    context.SetRoutingKey(to.ToString());
                    context.ResponseAddress = null;
                    if (context.TryGetPayload<RabbitMqSendContext>(out var rabbit))
                    {
                        // So that a message for somebody who never was there is known not to have arrived.
                        rabbit.Mandatory = true;
                    }
                    if (message is NodeHeartbeat or ApplicationHeartbeat)
                    {
                        // An old heartbeat proves nothing: a receiver that was away must not have to read thousands.
                        context.TimeToLive = BeatLifetime;
                        context.Durable = false;
                    }
                },
                timeout.Token).WaitAsync(timeout.Token).ConfigureAwait(false);
            return true;
        }
        catch (Exception error)
        {
            cancellation.ThrowIfCancellationRequested();
            logger.ControlMessageNotSent(
                message.GetType().Name, to.ToString(), error is OperationCanceledException ? $"RabbitMQ at {broker} did not take it in time." : broker.Masked(error.Message));
            return false;
        }
    }

    private async Task ReceiveAsync(ControlEnvelope envelope, Func<ControlDelivery, ValueTask> receive)
    {
        if (!ControlAddressText.TryParse(envelope.From, out var from))
        {
            Drop(envelope.From ?? "", "its sender's address is not valid.");
            return;
        }
        ControlMessage message;
        try
        {
            message = ControlJson.Decode(envelope.Body ?? "");
        }
        catch (FormatException error)
        {
            Drop(envelope.From, error.Message);
            return;
        }
        if (message is not ControlRefused && !envelope.IsAuthentic(secret, Self))
        {
            Interlocked.Increment(ref refused);
            logger.ControlMessageDropped(envelope.From, "it is signed with another cluster secret.");
            var refusal = new ControlRefused(
                $"{Self} of cluster '{cluster}' refused a {message.GetType().Name} from {from}: it was signed with another cluster secret. Set Yarnish__Secret to the same value on both sides.");
            // Unsigned: the sender could not check our signature.
            await SendAsync(from, new ControlEnvelope(Self.ToString(), ControlJson.Encode(refusal), ""), refusal, CancellationToken.None).ConfigureAwait(false);
            return;
        }
        try
        {
            await receive(new ControlDelivery(from, message)).ConfigureAwait(false);
        }
        catch (Exception error)
        {
            Interlocked.Increment(ref dropped);
            logger.ControlMessageFailed(message.GetType().Name, envelope.From, error);
        }
    }

    private void Drop(string from, string reason)
    {
        Interlocked.Increment(ref dropped);
        logger.ControlMessageDropped(from, reason);
    }
}
