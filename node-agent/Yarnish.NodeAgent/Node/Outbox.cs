using System.Threading.Channels;
using Yarnish.Protocol;
using Yarnish.Transport;

namespace Yarnish.NodeAgent.Node;

/// <summary>Sends to the resource manager, in order, off the loop. Bounded: when the broker is away the oldest messages go, since each heartbeat carries the whole truth again.</summary>
internal sealed class Outbox(ILogger<Outbox> logger)
{
    private readonly Channel<ControlMessage> _waiting =
        Channel.CreateBounded<ControlMessage>(new BoundedChannelOptions(256) { SingleReader = true, FullMode = BoundedChannelFullMode.DropOldest });

    /// <summary>Queues a message.</summary>
    public void Post(ControlMessage message) => _waiting.Writer.TryWrite(message);

    /// <summary>Sends until cancelled.</summary>
    public async Task RunAsync(IControlBus bus, CancellationToken cancellation)
    {
        var reachable = true;
        try
        {
            await foreach (var message in _waiting.Reader.ReadAllAsync(cancellation))
            {
                bool sent;
                try
                {
                    sent = await bus.SendAsync(ControlAddress.ResourceManager, message, cancellation);
                }
                catch (Exception error) when (error is not OperationCanceledException)
                {
                    logger.LogDebug(error, "Sending {Message} threw.", message.GetType().Name);
                    sent = false;
                }
                if (sent != reachable)
                {
                    reachable = sent;
                    if (sent)
                    {
                        logger.LogInformation("The control bus takes messages again.");
                    }
                    else
                    {
                        logger.LogWarning("The control bus takes no messages: is the broker down? Containers run on; what happens meanwhile is reported when it is back.");
                    }
                }
            }
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            // The agent ends.
        }
    }
}
