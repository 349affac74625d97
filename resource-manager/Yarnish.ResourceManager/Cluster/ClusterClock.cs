namespace Yarnish.ResourceManager.Cluster;

/// <summary>
/// The time that the cluster core is given. It stands still while this program could not hear anybody (the broker is away, the process slept), since silence
/// proves nothing then: no node is lost because RabbitMQ restarted. Afterwards it runs a tenth faster until it has caught up with the wall clock. It never goes back.
/// </summary>
internal sealed class ClusterClock
{
    /// <summary>A longer step than this means that the process slept: messages of that time still wait in the broker and must be heard first.</summary>
    internal static readonly TimeSpan LongestStep = TimeSpan.FromSeconds(2);

    private readonly TimeProvider _clock;
    private long _timestamp;
    private DateTimeOffset _now;

    public ClusterClock(TimeProvider clock)
    {
        _clock = clock;
        _timestamp = clock.GetTimestamp();
        _now = clock.GetUtcNow();
    }

    /// <summary>Moves on and tells the time.</summary>
    /// <param name="listening">Whether messages could arrive since the last call.</param>
    public DateTimeOffset Advance(bool listening)
    {
        var timestamp = _clock.GetTimestamp();
        var elapsed = _clock.GetElapsedTime(_timestamp, timestamp);
        _timestamp = timestamp;
        if (listening && elapsed > TimeSpan.Zero)
        {
            var step = elapsed < LongestStep ? elapsed : LongestStep;
            var behind = _clock.GetUtcNow() - _now - step;
            var most = step / 10;
            _now += step + (behind > most ? most : behind < -most ? -most : behind);
        }
        return _now;
    }
}
