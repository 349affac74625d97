using System.Threading.Channels;
using Xunit;
using Yarnish.Protocol;
using Yarnish.Transport;

namespace Yarnish.Integration.Tests.ResourceManager;

/// <summary>A scripted agent or driver: sends what the test says and keeps what it receives until the test looks.</summary>
internal sealed class BusPeer : IAsyncDisposable
{
    private readonly IControlBus _bus;
    private readonly Channel<ControlMessage> _received = Channel.CreateUnbounded<ControlMessage>();

    private BusPeer(IControlBus bus) => _bus = bus;

    public static async Task<BusPeer> StartAsync(IControlBus bus)
    {
        var peer = new BusPeer(bus);
        await bus.StartAsync(delivery => peer._received.Writer.WriteAsync(delivery.Message), TestContext.Current.CancellationToken);
        return peer;
    }

    public async Task SendAsync(ControlMessage message) => Assert.True(await _bus.SendAsync(ControlAddress.ResourceManager, message, TestContext.Current.CancellationToken));

    /// <summary>Sends when the broker is there.</summary>
    public ValueTask<bool> TrySendAsync(ControlMessage message) => _bus.SendAsync(ControlAddress.ResourceManager, message, TestContext.Current.CancellationToken);

    /// <summary>The next message of a kind; others before it are skipped.</summary>
    public async Task<T> NextAsync<T>(int seconds = 40)
        where T : ControlMessage
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        patience.CancelAfter(TimeSpan.FromSeconds(seconds));
        var seen = new List<string>();
        try
        {
            while (true)
            {
                var message = await _received.Reader.ReadAsync(patience.Token);
                if (message is T wanted)
                {
                    return wanted;
                }
                seen.Add(message.GetType().Name);
            }
        }
        catch (OperationCanceledException)
        {
            throw new TimeoutException($"No {typeof(T).Name} came to {_bus.Self}; seen: {string.Join(", ", seen)}.");
        }
    }

    /// <summary>Everything that is there now.</summary>
    public List<ControlMessage> Drain()
    {
        var all = new List<ControlMessage>();
        while (_received.Reader.TryRead(out var message))
        {
            all.Add(message);
        }
        return all;
    }

    public ValueTask DisposeAsync() => _bus.DisposeAsync();
}
