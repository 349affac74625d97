using System.Threading.Channels;
using Yarnish.Protocol;

namespace Yarnish.Transport;

/// <summary>
/// The driver's end of the data path. Over RabbitMQ: two connections (publish, consume), the application's own direct exchange, one exclusive queue per executor
/// epoch, own confirm window, own reconnect. Embedded: channels. Nothing here retries a task: the driver's machine is the only authority.
/// </summary>
public interface IDriverLink : IAsyncDisposable
{
    /// <summary>Connects, declares exchange and result queue, starts receiving.</summary>
    /// <exception cref="BrokerUnreachableException">At start only; later losses arrive as <see cref="LinkDown"/> and heal.</exception>
    Task StartAsync(CancellationToken cancellation);

    /// <summary>
    /// What happens on the link, in order; one reader. Bounded: when the reader is slow the broker holds the messages.
    /// </summary>
    ChannelReader<DriverLinkEvent> Events { get; }

    /// <summary>
    /// Queues a message for one executor epoch. Completes when the message was handed to the socket (waits while the confirm window is full). False when the link is
    /// down: nothing was sent. A message that reaches no queue comes back as <see cref="MessageReturned"/>.
    /// </summary>
    /// <exception cref="MessageTooLargeException">Larger than 8 MiB: nothing was sent. Embedded there is no limit.</exception>
    ValueTask<bool> SendAsync(ExecutorAddress to, DriverMessage message);

    /// <summary>Sends to every executor of the application that listens now. False when the link is down.</summary>
    ValueTask<bool> BroadcastAsync(DriverMessage message);
}

/// <summary>Something that happened on the driver's link.</summary>
public abstract record DriverLinkEvent;

/// <summary>A message of an executor arrived.</summary>
/// <param name="Message">The message.</param>
public sealed record ExecutorMessageReceived(ExecutorMessage Message) : DriverLinkEvent;

/// <summary>A message found no queue: that executor epoch is gone. Its tasks did not run.</summary>
/// <param name="To">The address.</param>
/// <param name="Attempts">The attempts of a returned <see cref="TaskBatch"/>; empty for other messages.</param>
public sealed record MessageReturned(ExecutorAddress To, IReadOnlyList<TaskAttemptId> Attempts) : DriverLinkEvent;

/// <summary>The broker is gone, or refuses; the link tries again by itself: at once, then every 0.2 to 5 s with jitter.</summary>
/// <param name="Reason">For people.</param>
public sealed record LinkDown(string Reason) : DriverLinkEvent;

/// <summary>The broker is back: exchange and result queue exist again; executors will say hello with new epochs.</summary>
public sealed record LinkUp : DriverLinkEvent;

/// <summary>The broker blocks publishers (memory or disk alarm) or has stopped doing so. Not a loss of executors.</summary>
/// <param name="Blocked">Whether it blocks.</param>
/// <param name="Reason">For people.</param>
public sealed record LinkBlocked(bool Blocked, string Reason) : DriverLinkEvent;

/// <summary>An executor's end of the data path.</summary>
public interface IExecutorLink : IAsyncDisposable
{
    /// <summary>Keeps connected until disposed. Each connection is a new epoch, see <see cref="EpochStarted"/>.</summary>
    Task StartAsync(CancellationToken cancellation);

    /// <summary>
    /// What happens on the link, in order; one reader. A message counts as admitted, and is acknowledged, when the reader has taken it.
    /// </summary>
    ChannelReader<ExecutorLinkEvent> Events { get; }

    /// <summary>
    /// Sends to the driver. True when the broker confirmed it; false when the link is down or the message was refused: keep it and send it after the next hello. Several sends may
    /// be under way at once; they arrive in the order of the calls.
    /// </summary>
    /// <exception cref="MessageTooLargeException">Larger than 8 MiB: nothing was sent. Embedded there is no limit.</exception>
    ValueTask<bool> SendAsync(ExecutorMessage message);
}

/// <summary>Something that happened on an executor's link.</summary>
public abstract record ExecutorLinkEvent;

/// <summary>Connected: a queue for this epoch exists and is consumed. The executor says hello now.</summary>
/// <param name="Address">The executor and its new epoch.</param>
public sealed record EpochStarted(ExecutorAddress Address) : ExecutorLinkEvent;

/// <summary>The connection is gone; what was in the queue is lost, and the driver will send it again.</summary>
/// <param name="Reason">For people.</param>
public sealed record EpochEnded(string Reason) : ExecutorLinkEvent;

/// <summary>A message of the driver arrived.</summary>
/// <param name="Message">The message.</param>
public sealed record DriverMessageReceived(DriverMessage Message) : ExecutorLinkEvent;
