using System.Threading.Channels;
using Yarnish.Protocol;
using Yarnish.Transport;
using Xunit;

namespace Yarnish.Tests.Transport;

/// <summary>The twin behaves as the links over RabbitMQ do.</summary>
public sealed class InMemoryTaskFabricTests : IAsyncLifetime
{
    private static readonly ApplicationId App = new("a");
    private readonly InMemoryTaskFabric fabric = new();
    private readonly ExecutorId id = new("e-1");
    private IDriverLink driver = null!;
    private IExecutorLink executor = null!;
    private ExecutorAddress address;

    public async ValueTask InitializeAsync()
    {
        driver = fabric.CreateDriverLink();
        await driver.StartAsync(CancellationToken.None);
        executor = fabric.CreateExecutorLink(id);
        await executor.StartAsync(CancellationToken.None);
        address = Assert.IsType<EpochStarted>(await executor.Events.ReadAsync()).Address;
    }

    public async ValueTask DisposeAsync()
    {
        await executor.DisposeAsync();
        await driver.DisposeAsync();
    }

    [Fact]
    public async Task Messages_pass_by_reference_both_ways()
    {
        var batch = Batch(1);
        Assert.True(await driver.SendAsync(address, batch));
        Assert.Same(batch, Assert.IsType<DriverMessageReceived>(await executor.Events.ReadAsync()).Message);

        var beat = new ExecutorBeat(address, 1, [], 0, 0);
        Assert.True(await executor.SendAsync(beat));
        Assert.Same(beat, Assert.IsType<ExecutorMessageReceived>(await driver.Events.ReadAsync()).Message);
    }

    [Fact]
    public async Task A_batch_for_an_executor_that_is_gone_or_another_epoch_comes_back()
    {
        Assert.True(await driver.SendAsync(address with { Epoch = 2 }, Batch(7)));
        Assert.Equal([7L], Assert.IsType<MessageReturned>(await driver.Events.ReadAsync()).Attempts.Select(attempt => attempt.Value));

        await executor.DisposeAsync();
        Assert.True(await driver.SendAsync(address, Batch(8)));
        Assert.Equal([8L], Assert.IsType<MessageReturned>(await driver.Events.ReadAsync()).Attempts.Select(attempt => attempt.Value));
    }

    [Fact]
    public async Task A_new_connection_is_a_new_epoch_and_what_was_not_read_is_lost()
    {
        await driver.SendAsync(address, Batch(1));
        fabric.Reconnect(id);

        Assert.IsType<EpochEnded>(await executor.Events.ReadAsync());
        Assert.Equal(2, Assert.IsType<EpochStarted>(await executor.Events.ReadAsync()).Address.Epoch);
        Assert.True(await driver.BroadcastAsync(new DriverAlive(1)));
        Assert.Equal(new DriverAlive(1), Assert.IsType<DriverMessageReceived>(await executor.Events.ReadAsync()).Message);
    }

    [Fact]
    public async Task Without_a_driver_nothing_is_confirmed_and_the_epoch_ends()
    {
        await driver.DisposeAsync();

        Assert.False(await executor.SendAsync(new ExecutorBeat(address, 1, [], 0, 0)));
        Assert.IsType<EpochEnded>(await executor.Events.ReadAsync());
        Assert.False(await driver.SendAsync(address, Batch(1)));
        Assert.False(driver.Events.TryRead(out _));
        await Assert.ThrowsAsync<ChannelClosedException>(async () => await driver.Events.ReadAsync());
    }

    [Fact]
    public async Task A_sender_waits_for_a_slow_reader_and_nothing_is_lost_or_reordered()
    {
        const int messages = InMemoryTaskFabric.QueueCapacity * 3;
        var sending = Task.Run(async () =>
        {
            for (var i = 0; i < messages; i++)
            {
                Assert.True(await executor.SendAsync(new ExecutorBeat(address, i, [], 0, 0)));
            }
        });
        for (var i = 0; i < messages; i++)
        {
            Assert.Equal(i, ((ExecutorBeat)((ExecutorMessageReceived)await driver.Events.ReadAsync()).Message).Sequence);
        }
        await sending;
    }

    private static TaskBatch Batch(long attempt) => new(App, 1, new(1), 0, "c", [new(new(attempt), 0, 0, default)]);
}
