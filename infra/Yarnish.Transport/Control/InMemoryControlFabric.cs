using System.Threading.Channels;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Yarnish.Protocol;

namespace Yarnish.Transport;

/// <summary>
/// The control plane inside one process: the twin of RabbitMqControlBus for embedded mode and tests. A message to a participant that is not
/// there waits in its mailbox, as in a durable queue. Messages pass as their JSON, so that what could not travel fails here too.
/// </summary>
public sealed class InMemoryControlFabric
{
    /// <summary>How many messages wait for one participant; a send beyond it is refused.</summary>
    public const int MailboxCapacity = 10_000;

    private readonly Lock gate = new();
    private readonly Dictionary<ControlAddress, Channel<ControlDelivery>> mailboxes = [];

    /// <summary>A bus for one participant.</summary>
    /// <param name="self">Who it is; a later bus of the same address takes over its mailbox.</param>
    /// <param name="logger">Where dropped messages are told.</param>
    public IControlBus CreateBus(ControlAddress self, ILogger? logger = null) => new Bus(this, self, logger ?? NullLogger.Instance);

    private Channel<ControlDelivery> Mailbox(ControlAddress address)
    {
        lock (gate)
        {
            if (!mailboxes.TryGetValue(address, out var mailbox))
            {
                mailboxes[address] = mailbox = Channel.CreateBounded<ControlDelivery>(MailboxCapacity);
            }
            return mailbox;
        }
    }

    private sealed class Bus(InMemoryControlFabric fabric, ControlAddress self, ILogger logger) : IControlBus
    {
        private readonly CancellationTokenSource stopping = new();
        private Task? loop;

        public ControlAddress Self => self;

        public bool Connected => loop is not null && !stopping.IsCancellationRequested;

        public Task StartAsync(Func<ControlDelivery, ValueTask> receive, CancellationToken cancellation)
        {
            if (loop is not null)
            {
                throw new InvalidOperationException("The bus runs already.");
            }
            loop = Task.Run(() => ReceiveAsync(fabric.Mailbox(self).Reader, receive), CancellationToken.None);
            return Task.CompletedTask;
        }

        public ValueTask<bool> SendAsync(ControlAddress to, ControlMessage message, CancellationToken cancellation = default)
        {
            var copy = ControlJson.Decode(ControlJson.Encode(message));
            return new(Connected && fabric.Mailbox(to).Writer.TryWrite(new ControlDelivery(self, copy)));
        }

        public async ValueTask DisposeAsync()
        {
            await stopping.CancelAsync().ConfigureAwait(false);
            if (loop is not null)
            {
                await loop.ConfigureAwait(false);
            }
        }

        private async Task ReceiveAsync(ChannelReader<ControlDelivery> mailbox, Func<ControlDelivery, ValueTask> receive)
        {
            try
            {
                while (true)
                {
                    var delivery = await mailbox.ReadAsync(stopping.Token).ConfigureAwait(false);
                    try
                    {
                        await receive(delivery).ConfigureAwait(false);
                    }
                    catch (Exception error)
                    {
                        logger.ControlMessageFailed(delivery.Message.GetType().Name, delivery.From.ToString(), error);
                    }
                }
            }
            catch (OperationCanceledException)
            {
                // Disposed; what waits in the mailbox waits for the next bus of this address.
            }
        }
    }
}
