using Xunit;
using Yarnish.Embedded;

namespace Yarnish.Tests.Driver.Session;

public sealed class BlockDirectoryLeaseTests : IDisposable
{
    private readonly string parent = Directory.CreateTempSubdirectory("yarnish-lease-").FullName;

    public void Dispose() => Directory.Delete(parent, recursive: true);

    [Fact]
    public void Directory_lives_as_long_as_its_lease()
    {
        var lease = BlockDirectoryLease.Take(parent);
        File.WriteAllText(Path.Combine(lease.Path, "block"), "x");
        BlockDirectoryLease.RemoveStale(parent);
        Assert.True(File.Exists(Path.Combine(lease.Path, "block")));

        lease.Dispose();
        Assert.False(Directory.Exists(lease.Path));
    }

    [Fact]
    public void What_a_dead_process_left_behind_is_removed_and_nothing_else()
    {
        // Nobody holds the lock of these: their process is gone.
        var stale = Directory.CreateDirectory(Path.Combine(parent, "embedded-1-dead")).FullName;
        File.WriteAllText(Path.Combine(stale, ".lock"), "");
        var foreign = Directory.CreateDirectory(Path.Combine(parent, "other")).FullName;
        var beingMade = Directory.CreateDirectory(Path.Combine(parent, "embedded-2-new")).FullName;

        BlockDirectoryLease.RemoveStale(parent);

        Assert.False(Directory.Exists(stale));
        Assert.True(Directory.Exists(foreign));
        Assert.True(Directory.Exists(beingMade));
    }
}
