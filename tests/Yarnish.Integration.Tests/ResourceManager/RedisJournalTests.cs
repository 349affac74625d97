using Microsoft.Extensions.Logging.Abstractions;
using StackExchange.Redis;
using Xunit;
using Yarnish.Integration.Tests.Fixtures;
using Yarnish.ResourceManager.Journal;

namespace Yarnish.Integration.Tests.ResourceManager;

[Trait("Category", "Services")]
public sealed class RedisJournalTests : IAsyncLifetime
{
    private readonly string _cluster = "test-" + Guid.NewGuid().ToString("n")[..12];
    private readonly string _directory = Directory.CreateTempSubdirectory("yarnish-journal-").FullName;
    private ConnectionMultiplexer _redis = null!;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _redis = await ConnectionMultiplexer.ConnectAsync(SharedServices.Redis);

    public async ValueTask DisposeAsync()
    {
        await _redis.GetDatabase().KeyDeleteAsync($"y:rm:{_cluster}:state");
        await _redis.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public async Task What_one_life_writes_the_next_one_reads_with_a_higher_epoch()
    {
        int epoch;
        await using (var first = Journal())
        {
            var image = await first.OpenAsync(Cancellation);
            epoch = image.Epoch;
            Assert.Empty(image.Entries);
            Assert.Equal(JournalOutcome.Written, await first.WriteAsync([new("a", "1"), new("b", "2"), new("a", "3")], Cancellation));
            Assert.Equal(JournalOutcome.Written, await first.WriteAsync([new("b", null), new("c", "ünïcode \"quotes\"")], Cancellation));
        }
        await using var second = Journal();
        var recovered = await second.OpenAsync(Cancellation);

        Assert.Equal(epoch + 1, recovered.Epoch);
        Assert.Equal([new("a", "3"), new("c", "ünïcode \"quotes\"")], recovered.Entries);
    }

    [Fact]
    public async Task An_older_life_is_deposed_and_cannot_write_any_more()
    {
        await using var old = Journal();
        await old.OpenAsync(Cancellation);
        await using var young = Journal();
        await young.OpenAsync(Cancellation);

        Assert.Equal(JournalOutcome.Deposed, await old.WriteAsync([new("a", "old")], Cancellation));
        Assert.Equal(JournalOutcome.Written, await young.WriteAsync([], Cancellation));
        Assert.Equal("epoch", Assert.Single(await _redis.GetDatabase().HashKeysAsync($"y:rm:{_cluster}:state")));
        Assert.Contains("took over", old.Problem, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_emptied_journal_is_written_again_whole()
    {
        await using var journal = Journal();
        await journal.OpenAsync(Cancellation);
        await journal.WriteAsync([new("a", "1"), new("b", "2")], Cancellation);
        await _redis.GetDatabase().KeyDeleteAsync($"y:rm:{_cluster}:state");

        Assert.Equal(JournalOutcome.Written, await journal.WriteAsync([new("c", "3"), new("b", null)], Cancellation));

        await using var next = Journal();
        Assert.Equal([new("a", "1"), new("c", "3")], (await next.OpenAsync(Cancellation)).Entries);
    }

    [Fact]
    public async Task Epochs_grow_also_when_Redis_forgot_everything_between_two_lives()
    {
        var last = 0;
        for (var life = 1; life <= 3; life++)
        {
            await using var journal = Journal();
            var epoch = (await journal.OpenAsync(Cancellation)).Epoch;
            Assert.True(last == 0 || epoch == last + 1);
            last = epoch;
            await _redis.GetDatabase().KeyDeleteAsync($"y:rm:{_cluster}:state");
        }
    }

    [Fact]
    public async Task With_all_memory_gone_the_clock_makes_the_epoch_higher_than_what_agents_remember()
    {
        await using var journal = Journal();

        Assert.InRange((await journal.OpenAsync(Cancellation)).Epoch, 400_000, int.MaxValue);
    }

    [Fact]
    public async Task A_Redis_that_is_not_there_is_one_clear_error_without_the_password()
    {
        await using var journal = new RedisJournal("127.0.0.1:1,password=hunter2,connectTimeout=500", _cluster, new EpochFile(_directory), TimeProvider.System, NullLogger.Instance);

        var error = await Assert.ThrowsAsync<JournalUnavailableException>(() => journal.OpenAsync(Cancellation));

        Assert.Contains("127.0.0.1:1", error.Message, StringComparison.Ordinal);
        Assert.Contains("Yarnish__Redis", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("hunter2", error.Message, StringComparison.Ordinal);
    }

    private RedisJournal Journal() => new(SharedServices.Redis, _cluster, new EpochFile(_directory), TimeProvider.System, NullLogger.Instance);
}
