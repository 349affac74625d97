using System.Threading.Channels;
using Yarnish.Protocol;
using Yarnish.Transport;

namespace Yarnish.ResourceManager.Cluster;

/// <summary>
/// Sends what the cluster core says, in order for each receiver and in parallel for different ones. Bounded: when the broker is away the lanes fill up and
/// whoever posts waits; nothing is dropped before several tries, and what is dropped then is repeated by the protocol.
/// </summary>
internal sealed partial class ControlSender
{
    private const int Lanes = 8;
    private const int LaneCapacity = 512;
    private const int Tries = 3;

    private readonly IControlBus _bus;
    private readonly TimeProvider _clock;
    private readonly ILogger _logger;
    private readonly Channel<(ControlAddress To, ControlMessage Message)>[] _lanes;
    private long _dropped;

    public ControlSender(IControlBus bus, TimeProvider clock, ILogger logger)
    {
        _bus = bus;
        _clock = clock;
        _logger = logger;
        _lanes = [.. Enumerable.Range(0, Lanes).Select(_ => Channel.CreateBounded<(ControlAddress, ControlMessage)>(new BoundedChannelOptions(LaneCapacity) { SingleReader = true, SingleWriter = true }))];
    }

    /// <summary>Messages given up after several tries.</summary>
    public long Dropped => Interlocked.Read(ref _dropped);

    /// <summary>Posts a message; waits while its lane is full.</summary>
    public ValueTask PostAsync(ControlAddress to, ControlMessage message, CancellationToken cancellation) =>
        _lanes[(uint)StringComparer.Ordinal.GetHashCode(to.Id) % Lanes].Writer.WriteAsync((to, message), cancellation);

    /// <summary>Nothing more is posted: <see cref="RunAsync"/> ends when all is sent.</summary>
    public void Complete()
    {
        foreach (var lane in _lanes)
        {
            lane.Writer.TryComplete();
        }
    }

    /// <summary>Sends until completed or cancelled.</summary>
    public Task RunAsync(CancellationToken cancellation) => Task.WhenAll(_lanes.Select(lane => RunLaneAsync(lane.Reader, cancellation)));

    private async Task RunLaneAsync(ChannelReader<(ControlAddress To, ControlMessage Message)> lane, CancellationToken cancellation)
    {
        await foreach (var (to, message) in lane.ReadAllAsync(cancellation))
        {
            var tries = 0;
            while (!await TrySendAsync(to, message, cancellation))
            {
                // While the broker is away waiting is all there is to do; a send that fails on a working broker is given up in the end.
                if (_bus.Connected && ++tries == Tries)
                {
                    Interlocked.Increment(ref _dropped);
                    Log.Dropped(_logger, message.GetType().Name, to, Tries);
                    break;
                }
                await Task.Delay(TimeSpan.FromMilliseconds(250), _clock, cancellation);
            }
        }
    }

    private async ValueTask<bool> TrySendAsync(ControlAddress to, ControlMessage message, CancellationToken cancellation)
    {
        try
        {
            return await _bus.SendAsync(to, message, cancellation);
        }
        catch (Exception error) when (error is not OperationCanceledException || !cancellation.IsCancellationRequested)
        {
            Log.Failed(_logger, message.GetType().Name, to, error);
            return false;
        }
    }

    private static partial class Log
    {
        [LoggerMessage(130, LogLevel.Warning, "{Message} to {To} could not be sent in {Tries} tries and is given up; the receiver will ask or be told again.")]
        public static partial void Dropped(ILogger logger, string message, ControlAddress to, int tries);

        [LoggerMessage(131, LogLevel.Warning, "Sending {Message} to {To} failed.")]
        public static partial void Failed(ILogger logger, string message, ControlAddress to, Exception error);
    }
}
