using System.Diagnostics.CodeAnalysis;
using System.Threading.Channels;
using RabbitMQ.Client;

namespace Yarnish.Transport;

/// <summary>
/// The events of a link. A delivery is acknowledged when the reader has taken it, several at once: after a quarter of the prefetch, or when the reader has to wait. So the broker holds
/// what a slow reader has not taken, and the queue here is bounded by the prefetch although the channel is not; events that are no deliveries never wait.
/// One reader.
/// </summary>
internal sealed class AcknowledgingReader<TEvent>(ushort prefetch) : ChannelReader<TEvent>
    where TEvent : class
{
    private readonly Channel<Item> items = Channel.CreateUnbounded<Item>(new UnboundedChannelOptions { SingleReader = true });
    private readonly int threshold = Math.Max(1, prefetch / 4);
    private int queued;
    private IChannel? source;
    private ulong taken;
    private int unacknowledged;
    private int acknowledging;

    public override Task Completion => items.Reader.Completion;

    public override bool CanCount => true;

    public override int Count => Volatile.Read(ref queued);

    /// <summary>An event that is no delivery.</summary>
    public void Post(TEvent what) => Post(new Item(what, null, 0));

    /// <summary>A delivery; null when it was dropped, so that it is acknowledged in its turn.</summary>
    public void Post(TEvent? what, IChannel channel, ulong tag) => Post(new Item(what, channel, tag));

    public void Complete() => items.Writer.TryComplete();

    public override bool TryRead([MaybeNullWhen(false)] out TEvent item)
    {
        while (items.Reader.TryRead(out var next))
        {
            Interlocked.Decrement(ref queued);
            if (next.Channel is not null)
            {
                if (!ReferenceEquals(source, next.Channel))
                {
                    // A new connection: what was taken on the old one cannot be acknowledged any more, the broker knows.
                    (source, unacknowledged) = (next.Channel, 0);
                }
                taken = next.Tag;
                if (++unacknowledged >= threshold)
                {
                    Acknowledge();
                }
            }
            if (next.Event is not null)
            {
                item = next.Event;
                return true;
            }
        }
        item = default;
        return false;
    }

    public override ValueTask<bool> WaitToReadAsync(CancellationToken cancellationToken = default)
    {
        if (unacknowledged > 0 && !items.Reader.TryPeek(out _))
        {
            Acknowledge();
        }
        return items.Reader.WaitToReadAsync(cancellationToken);
    }

    private void Post(Item item)
    {
        Interlocked.Increment(ref queued);
        items.Writer.TryWrite(item);
    }

    private void Acknowledge()
    {
        // While one acknowledgement is on its way the next waits: it covers more messages then.
        if (source is not { IsOpen: true } channel || Interlocked.CompareExchange(ref acknowledging, 1, 0) != 0)
        {
            return;
        }
        unacknowledged = 0;
        try
        {
            var sending = channel.BasicAckAsync(taken, multiple: true, CancellationToken.None);
            if (sending.IsCompletedSuccessfully)
            {
                Volatile.Write(ref acknowledging, 0);
            }
            else
            {
                _ = FinishAsync(sending);
            }
        }
        catch (Exception)
        {
            // The channel has just closed; the broker delivers again, and the receiver knows the attempt.
            Volatile.Write(ref acknowledging, 0);
        }
    }

    private async Task FinishAsync(ValueTask sending)
    {
        try
        {
            await sending.ConfigureAwait(false);
        }
        catch (Exception)
        {
            // As above.
        }
        finally
        {
            Volatile.Write(ref acknowledging, 0);
        }
    }

    private readonly record struct Item(TEvent? Event, IChannel? Channel, ulong Tag);
}
