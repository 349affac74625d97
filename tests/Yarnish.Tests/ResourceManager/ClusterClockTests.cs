using Xunit;
using Yarnish.ResourceManager.Cluster;

namespace Yarnish.Tests.ResourceManager;

public sealed class ClusterClockTests
{
    private readonly TestClock _wall = new();

    [Fact]
    public void While_all_is_well_it_is_the_wall_clock()
    {
        var clock = new ClusterClock(_wall);
        for (var i = 0; i < 100; i++)
        {
            _wall.Advance(TimeSpan.FromMilliseconds(250));
            Assert.Equal(_wall.GetUtcNow(), clock.Advance(listening: true));
        }
    }

    [Fact]
    public void While_nobody_can_be_heard_it_stands_still_and_catches_up_slowly()
    {
        var clock = new ClusterClock(_wall);
        var before = clock.Advance(listening: true);
        Pass(clock, seconds: 30, listening: false);
        Assert.Equal(before, clock.Advance(listening: false));

        var afterTenSeconds = Pass(clock, seconds: 10, listening: true);
        Assert.Equal(TimeSpan.FromSeconds(11), afterTenSeconds - before);

        var later = Pass(clock, seconds: 300, listening: true);
        Assert.Equal(_wall.GetUtcNow(), later);
    }

    [Fact]
    public void A_process_that_slept_hears_what_waited_before_much_time_passes()
    {
        var clock = new ClusterClock(_wall);
        var before = clock.Advance(listening: true);
        _wall.Advance(TimeSpan.FromHours(1));

        Assert.InRange(clock.Advance(listening: true) - before, TimeSpan.Zero, ClusterClock.LongestStep * 1.1);
    }

    [Fact]
    public void It_never_goes_back()
    {
        var clock = new ClusterClock(_wall);
        var last = clock.Advance(listening: true);
        var random = new Random(7);
        for (var i = 0; i < 1000; i++)
        {
            _wall.Advance(TimeSpan.FromMilliseconds(random.Next(0, 4000)));
            var now = clock.Advance(listening: random.Next(3) > 0);
            Assert.True(now >= last);
            last = now;
        }
        Assert.True(last <= _wall.GetUtcNow());
    }

    private DateTimeOffset Pass(ClusterClock clock, int seconds, bool listening)
    {
        var now = default(DateTimeOffset);
        for (var i = 0; i < seconds * 4; i++)
        {
            _wall.Advance(TimeSpan.FromMilliseconds(250));
            now = clock.Advance(listening);
        }
        return now;
    }
}
