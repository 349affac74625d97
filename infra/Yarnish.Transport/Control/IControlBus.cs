using Yarnish.Protocol;

namespace Yarnish.Transport;

/// <summary>
/// The control plane of one participant: sends to addresses, receives what is addressed to it. Over RabbitMQ this is MassTransit with one message type
/// (a signed envelope around the JSON of a <see cref="ControlMessage"/>); embedded and in tests it is an in-memory twin. Delivery is at least once and
/// in no promised order. Messages wait in the receiver's durable queue while it restarts.
/// </summary>
public interface IControlBus : IAsyncDisposable
{
    /// <summary>Who this participant is.</summary>
    ControlAddress Self { get; }

    /// <summary>False while the broker cannot be reached. The bus reconnects by itself.</summary>
    bool Connected { get; }

    /// <summary>Connects and starts receiving: returns when messages sent to <see cref="Self"/> cannot be lost any more.</summary>
    /// <param name="receive">Called once per message, one at a time; must be quick (post into an inbox). An exception is logged and counted, the message is dropped.</param>
    /// <param name="cancellation">Gives up.</param>
    /// <exception cref="BrokerUnreachableException">The broker did not answer or refused; the message says where, why and what to do.</exception>
    Task StartAsync(Func<ControlDelivery, ValueTask> receive, CancellationToken cancellation);

    /// <summary>
    /// Sends a message. Returns when the broker has it, or false when it could not be handed over within the bus's send timeout (default 10 s): the caller's
    /// protocol heals by repetition, so nothing is buffered without bound.
    /// </summary>
    ValueTask<bool> SendAsync(ControlAddress to, ControlMessage message, CancellationToken cancellation = default);
}

/// <summary>A message that arrived.</summary>
/// <param name="From">Who sent it; authentic when the cluster has a secret.</param>
/// <param name="Message">What.</param>
public readonly record struct ControlDelivery(ControlAddress From, ControlMessage Message);

/// <summary>The broker did not answer or refused. <see cref="Exception.Message"/> says what, where, why and what to do; it never holds a password.</summary>
public sealed class BrokerUnreachableException : Exception
{
    /// <summary>With a message for people.</summary>
    public BrokerUnreachableException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}
