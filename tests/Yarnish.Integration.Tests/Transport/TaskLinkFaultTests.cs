using System.Net;
using System.Net.Sockets;
using RabbitMQ.Client;
using Yarnish.Integration.Tests.Fixtures;
using Yarnish.Protocol;
using Yarnish.Transport;
using Xunit;

namespace Yarnish.Integration.Tests.Transport;

/// <summary>The data path while the broker or the network fails.</summary>
[Trait("Category", "Services")]
public sealed class TaskLinkFaultTests(PrivateServices services) : IClassFixture<PrivateServices>, IAsyncLifetime
{
    private readonly ApplicationId application = Given.Application();
    private readonly ExecutorId executorId = new("c-1-1");
    private AmqpProxy driverProxy = null!;
    private AmqpProxy executorProxy = null!;
    private RabbitMqDriverLink driver = null!;
    private RabbitMqExecutorLink executor = null!;
    private ExecutorAddress address;

    public async ValueTask InitializeAsync()
    {
        (driverProxy, executorProxy) = (new AmqpProxy(services.RabbitMq), new AmqpProxy(services.RabbitMq));
        driver = new RabbitMqDriverLink(driverProxy.RabbitMq, application);
        await driver.StartAsync(CancellationToken.None);
        executor = new RabbitMqExecutorLink(executorProxy.RabbitMq, application, executorId);
        await executor.StartAsync(CancellationToken.None);
        address = (await executor.Events.NextAsync<EpochStarted>()).Address;
    }

    public async ValueTask DisposeAsync()
    {
        await executor.DisposeAsync();
        await driver.DisposeAsync();
        await driverProxy.DisposeAsync();
        await executorProxy.DisposeAsync();
    }

    [Fact]
    public async Task A_killed_broker_ends_the_epoch_and_the_next_one_works()
    {
        Assert.True(await driver.SendAsync(address, Given.Batch(application, 1)));
        await executor.Events.NextAsync<DriverMessageReceived>();

        await services.KillRabbitMqAsync();
        Assert.Contains("Lost RabbitMQ at 127.0.0.1:", (await driver.Events.NextAsync<LinkDown>()).Reason, StringComparison.Ordinal);
        await executor.Events.NextAsync<EpochEnded>();
        Assert.False(await driver.SendAsync(address, Given.Batch(application, 5)));
        Assert.False(await executor.SendAsync(Given.Reports(address, [new(1)])));
        await services.StartRabbitMqAsync();

        await driver.Events.NextAsync<LinkUp>();
        var next = (await executor.Events.NextAsync<EpochStarted>()).Address;
        Assert.Equal(address with { Epoch = 2 }, next);
        await WorksAsync(next);

        // The old epoch is nobody's any more.
        Assert.True(await driver.SendAsync(address, Given.Batch(application, firstAttempt: 60, tasks: 1)));
        Assert.Equal(address, (await driver.Events.NextAsync<MessageReturned>()).To);
    }

    [Fact]
    public async Task A_cut_executor_comes_back_under_a_new_epoch_and_its_driver_never_notices()
    {
        executorProxy.Cut();

        await executor.Events.NextAsync<EpochEnded>();
        var next = (await executor.Events.NextAsync<EpochStarted>()).Address;
        Assert.Equal(2, next.Epoch);
        await WorksAsync(next);
    }

    [Fact]
    public async Task What_a_cut_driver_had_not_read_is_delivered_again()
    {
        for (var i = 0; i < 5; i++)
        {
            Assert.True(await executor.SendAsync(Given.Reports(address, [new(i)])));
        }
        await Given.UntilAsync(() => Task.FromResult(driver.Events.Count == 5), "the reports arrive");
        driverProxy.Cut();

        // First what had arrived before the cut, then all of it again: the driver knows each attempt and takes it once.
        var before = await ReportsAsync(5);
        await driver.Events.NextAsync<LinkUp>();
        var after = await ReportsAsync(5);

        Assert.Equal([0L, 1, 2, 3, 4], before);
        Assert.Equal(before, after);
        await WorksAsync(address);
    }

    [Fact]
    public async Task Results_wait_for_a_driver_that_is_cut()
    {
        driverProxy.Cut();
        await driver.Events.NextAsync<LinkDown>();
        Assert.True(await executor.SendAsync(Given.Reports(address, [new(77)])));

        await driver.Events.NextAsync<LinkUp>();
        Assert.Equal([77L], await ReportsAsync(1));
    }

    [Fact]
    public async Task A_results_queue_deleted_by_somebody_is_declared_again()
    {
        await using var broker = await Given.BrokerAsync(services.RabbitMq);
        await using var channel = await broker.CreateChannelAsync();
        await channel.QueueDeleteAsync($"y.{application}.res");

        await driver.Events.NextAsync<LinkDown>();
        await driver.Events.NextAsync<LinkUp>();
        await WorksAsync(address);
    }

    [Fact]
    public async Task A_blocked_broker_is_told_apart_from_a_lost_one_and_what_was_sent_arrives_after()
    {
        await services.BlockRabbitMqAsync();
        try
        {
            Assert.True(await driver.SendAsync(address, Given.Batch(application, 1)));
            Assert.True((await driver.Events.NextAsync<LinkBlocked>()).Blocked);
        }
        finally
        {
            await services.UnblockRabbitMqAsync();
        }

        Assert.False((await driver.Events.NextAsync<LinkBlocked>()).Blocked);
        Assert.IsType<TaskBatch>((await executor.Events.NextAsync<DriverMessageReceived>()).Message);
    }

    [Fact]
    public async Task Disposing_while_the_broker_is_away_ends_soon_and_ends_the_events()
    {
        await services.KillRabbitMqAsync();
        try
        {
            await driver.Events.NextAsync<LinkDown>();
            await driver.DisposeAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(30));
            await executor.DisposeAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(30));
            while (driver.Events.TryRead(out _))
            {
                // What was left.
            }
            Assert.True(driver.Events.Completion.IsCompleted);
        }
        finally
        {
            await services.StartRabbitMqAsync();
        }
    }

    [Fact]
    public async Task A_driver_without_a_broker_is_one_clear_error_without_the_password()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var port = ((IPEndPoint)listener.LocalEndpoint).Port;
        listener.Stop();

        await using var link = new RabbitMqDriverLink($"amqp://me:hidden-word@127.0.0.1:{port}", application);
        var error = await Assert.ThrowsAsync<BrokerUnreachableException>(() => link.StartAsync(CancellationToken.None));

        Assert.Contains($"Cannot use RabbitMQ at 127.0.0.1:{port}: nothing listens there.", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("hidden-word", error.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_executor_waits_for_a_broker_that_comes_later()
    {
        await services.KillRabbitMqAsync();
        await using var late = new RabbitMqExecutorLink(services.RabbitMq, application, new ExecutorId("late"));
        await late.StartAsync(CancellationToken.None);
        await services.StartRabbitMqAsync();

        Assert.Equal(1, (await late.Events.NextAsync<EpochStarted>()).Address.Epoch);
    }

    private async Task WorksAsync(ExecutorAddress to)
    {
        Assert.True(await driver.SendAsync(to, Given.Batch(application, 500, tasks: 1)));
        Assert.Equal(500, ((TaskBatch)(await executor.Events.NextAsync<DriverMessageReceived>()).Message).Tasks[0].AttemptId.Value);
        Assert.True(await executor.SendAsync(Given.Reports(to, [new(500)])));
        Assert.Equal([500L], await ReportsAsync(1));
    }

    private async Task<List<long>> ReportsAsync(int count)
    {
        var attempts = new List<long>();
        while (attempts.Count < count)
        {
            if ((await driver.Events.NextAsync<ExecutorMessageReceived>()).Message is TaskReports reports)
            {
                attempts.AddRange(reports.Reports.Select(report => report.AttemptId.Value));
            }
        }
        return attempts;
    }
}
