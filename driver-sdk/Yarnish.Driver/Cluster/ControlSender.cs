using Yarnish.Protocol;
using Yarnish.Transport;

namespace Yarnish.Cluster;

/// <summary>
/// Sends the driver's messages to the resource manager without holding up the driver loop. Each kind is absolute, so a newer message of a kind replaces one that has not left yet: nothing piles up
/// while the broker is away.
/// </summary>
#pragma warning disable CA1001 // Neither the source nor the semaphore holds anything but memory here: no timer, no wait handle.
internal sealed class ControlSender : IAsyncDisposable
#pragma warning restore CA1001
{
    private readonly IControlBus bus;
    private readonly Lock gate = new();
    private readonly SemaphoreSlim signal = new(0, 1);
    private readonly CancellationTokenSource stopping = new();
    private readonly Task sending;
    private bool stopped;
    private RegisterApplication? register;
    private UpdateAsks? asks;
    private ApplicationHeartbeat? heartbeat;

    public ControlSender(IControlBus bus)
    {
        this.bus = bus;
        sending = Task.Run(SendAsync);
    }

    public void Send(RegisterApplication message) => Post(() => register = message);

    public void Send(UpdateAsks message) => Post(() => asks = message);

    public void Send(ApplicationHeartbeat message) => Post(() => heartbeat = message);

    /// <summary>Stops sending; may be called more than once.</summary>
    public async ValueTask DisposeAsync()
    {
        lock (gate)
        {
            stopped = true;
        }
        await stopping.CancelAsync().ConfigureAwait(false);
        await sending.ConfigureAwait(false);
    }

    private void Post(Action keep)
    {
        lock (gate)
        {
            keep();
            if (signal.CurrentCount == 0 && !stopped)
            {
                signal.Release();
            }
        }
    }

    private async Task SendAsync()
    {
        try
        {
            while (true)
            {
                await signal.WaitAsync(stopping.Token).ConfigureAwait(false);
                ControlMessage?[] next;
                lock (gate)
                {
                    next = [register, asks, heartbeat];
                    (register, asks, heartbeat) = (null, null, null);
                }
                foreach (var message in next)
                {
                    if (message is not null)
                    {
                        await bus.SendAsync(ControlAddress.ResourceManager, message, stopping.Token).ConfigureAwait(false);
                    }
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The session ends.
        }
        catch (ObjectDisposedException)
        {
            // The bus went first.
        }
    }
}
