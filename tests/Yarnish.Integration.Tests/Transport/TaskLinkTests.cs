using RabbitMQ.Client;
using Yarnish.Integration.Tests.Fixtures;
using Yarnish.Protocol;
using Yarnish.Transport;
using Xunit;

namespace Yarnish.Integration.Tests.Transport;

/// <summary>The data path over a real broker, while nothing fails.</summary>
[Trait("Category", "Services")]
public sealed class TaskLinkTests : IAsyncLifetime
{
    private readonly ApplicationId application = Given.Application();
    private readonly ExecutorId executorId = new("c-1-1");
    private RabbitMqDriverLink driver = null!;
    private RabbitMqExecutorLink executor = null!;
    private ExecutorAddress address;

    public async ValueTask InitializeAsync()
    {
        driver = new RabbitMqDriverLink(SharedServices.RabbitMq, application);
        await driver.StartAsync(CancellationToken.None);
        executor = new RabbitMqExecutorLink(SharedServices.RabbitMq, application, executorId);
        await executor.StartAsync(CancellationToken.None);
        address = (await executor.Events.NextAsync<EpochStarted>()).Address;
    }

    public async ValueTask DisposeAsync()
    {
        await executor.DisposeAsync();
        await driver.DisposeAsync();
    }

    [Fact]
    public async Task Tasks_go_out_and_reports_come_back()
    {
        Assert.Equal(new ExecutorAddress(executorId, 1), address);

        Assert.True(await driver.SendAsync(address, Given.Batch(application, firstAttempt: 100)));
        var batch = Assert.IsType<TaskBatch>((await executor.Events.NextAsync<DriverMessageReceived>()).Message);
        Assert.Equal([100L, 101, 102, 103], batch.Tasks.Select(task => task.AttemptId.Value));
        Assert.All(batch.Tasks, task => Assert.Equal(3, task.Input.Length));

        Assert.True(await executor.SendAsync(Given.Reports(address, batch.Tasks.Select(task => task.AttemptId))));
        var reports = Assert.IsType<TaskReports>((await driver.Events.NextAsync<ExecutorMessageReceived>()).Message);
        Assert.Equal(address, reports.From);
        Assert.Equal([100L, 101, 102, 103], reports.Reports.Select(report => BitConverter.ToInt64(report.Result.Span)));
    }

    [Fact]
    public async Task A_thousand_batches_arrive_in_order_and_once()
    {
        const int batches = 3000;
        var received = Task.Run(async () =>
        {
            for (var i = 0; i < batches; i++)
            {
                var batch = (TaskBatch)(await executor.Events.NextAsync<DriverMessageReceived>()).Message;
                Assert.True(await executor.SendAsync(Given.Reports(address, batch.Tasks.Select(task => task.AttemptId))));
            }
        });
        var sent = Task.Run(async () =>
        {
            for (var i = 0; i < batches; i++)
            {
                Assert.True(await driver.SendAsync(address, Given.Batch(application, i * 4)));
            }
        });
        var results = new List<long>();
        while (results.Count < batches * 4)
        {
            results.AddRange(((TaskReports)(await driver.Events.NextAsync<ExecutorMessageReceived>()).Message).Reports.Select(report => report.AttemptId.Value));
        }
        await Task.WhenAll(received, sent);

        Assert.Equal(Enumerable.Range(0, batches * 4).Select(i => (long)i), results);
    }

    [Fact]
    public async Task A_broadcast_reaches_every_executor()
    {
        await using var second = new RabbitMqExecutorLink(SharedServices.RabbitMq, application, new ExecutorId("c-1-2"));
        await second.StartAsync(CancellationToken.None);
        await second.Events.NextAsync<EpochStarted>();

        Assert.True(await driver.BroadcastAsync(new CancelTasks([new(7)], "enough")));

        Assert.Equal("enough", ((CancelTasks)(await executor.Events.NextAsync<DriverMessageReceived>()).Message).Reason);
        Assert.Equal("enough", ((CancelTasks)(await second.Events.NextAsync<DriverMessageReceived>()).Message).Reason);
    }

    [Fact]
    public async Task A_batch_for_an_executor_that_is_gone_comes_back_with_its_attempts()
    {
        await executor.DisposeAsync();
        await using var broker = await Given.BrokerAsync();
        await Given.UntilAsync(async () => !await broker.HasQueueAsync($"y.{application}.t.c-1-1.1"), "the queue goes with its connection");

        Assert.True(await driver.SendAsync(address, Given.Batch(application, firstAttempt: 40)));

        var returned = await driver.Events.NextAsync<MessageReturned>();
        Assert.Equal(address, returned.To);
        Assert.Equal([40L, 41, 42, 43], returned.Attempts.Select(attempt => attempt.Value));
    }

    [Fact]
    public async Task A_batch_for_an_epoch_that_never_was_comes_back()
    {
        Assert.True(await driver.SendAsync(address with { Epoch = 9 }, Given.Batch(application, firstAttempt: 1)));

        Assert.Equal(9, (await driver.Events.NextAsync<MessageReturned>()).To.Epoch);
    }

    [Fact]
    public async Task A_report_that_finds_no_driver_is_not_confirmed()
    {
        await driver.DisposeAsync();

        Assert.False(await executor.SendAsync(Given.Reports(address, [new(1)])));
    }

    [Fact]
    public async Task Messages_above_eight_mebibytes_are_refused_with_the_cure_and_the_link_lives_on()
    {
        var error = await Assert.ThrowsAsync<MessageTooLargeException>(
            async () => await driver.SendAsync(address, Given.Batch(application, 1, tasks: 1, inputBytes: (8 << 20) + 1)));
        Assert.Contains("broadcast", error.Message, StringComparison.Ordinal);
        await Assert.ThrowsAsync<MessageTooLargeException>(
            async () => await executor.SendAsync(new TaskReports(address, [new(new(1), TaskSucceeded.Instance, TaskMetrics.Empty, new byte[(8 << 20) + 1])])));

        Assert.True(await driver.SendAsync(address, Given.Batch(application, 2, tasks: 1, inputBytes: 7 << 20)));
        var batch = (TaskBatch)(await executor.Events.NextAsync<DriverMessageReceived>()).Message;
        Assert.Equal(7 << 20, batch.Tasks[0].Input.Length);
        Assert.True(await executor.SendAsync(Given.Reports(address, [new(2)])));
    }

    [Fact]
    public async Task Rubbish_in_the_queues_is_dropped_and_counted_and_the_next_message_arrives()
    {
        await using var broker = await Given.BrokerAsync();
        await using var channel = await broker.CreateChannelAsync();
        byte[][] rubbish = [[], [0, 1, 2, 255], "{}\n"u8.ToArray(), """{"type":"task-reports","app":"other","executor":"e","epoch":1,"reports":[]}"""u8.ToArray()];
        foreach (var body in rubbish)
        {
            await channel.BasicPublishAsync($"y.{application}.x", "res", body);
            await channel.BasicPublishAsync($"y.{application}.x", "t.c-1-1.1", body);
        }
        // The same channel: what follows arrives after the rubbish.
        var beat = new WireWriter().Write(application, new ExecutorBeat(address, 5, [], 0, 1)).ToArray();
        await channel.BasicPublishAsync($"y.{application}.x", "res", beat);
        var alive = new WireWriter().Write(application, new DriverAlive(3)).ToArray();
        await channel.BasicPublishAsync($"y.{application}.x", "t.c-1-1.1", alive);

        Assert.Equal(5, ((ExecutorBeat)(await driver.Events.NextAsync<ExecutorMessageReceived>()).Message).Sequence);
        Assert.Equal(3, ((DriverAlive)(await executor.Events.NextAsync<DriverMessageReceived>()).Message).DriverEpoch);
        Assert.Equal(rubbish.Length, driver.DroppedMessages);
        Assert.Equal(rubbish.Length, executor.DroppedMessages);
    }

    [Fact]
    public async Task The_broker_holds_what_a_slow_driver_has_not_read()
    {
        const int messages = 1000;
        for (var i = 0; i < messages; i++)
        {
            Assert.True(await executor.SendAsync(new ExecutorBeat(address, i, [], 0, 0)));
        }

        // Nothing was read, so nothing is acknowledged: the driver holds the prefetch, the broker the rest.
        await Given.UntilAsync(() => Task.FromResult(driver.Events.Count == 300), "the prefetch arrives");
        await using var broker = await Given.BrokerAsync();
        await using var channel = await broker.CreateChannelAsync();
        Assert.Equal(messages - 300u, await channel.MessageCountAsync($"y.{application}.res"));

        for (var i = 0; i < messages; i++)
        {
            Assert.Equal(i, ((ExecutorBeat)(await driver.Events.NextAsync<ExecutorMessageReceived>()).Message).Sequence);
        }
    }

    [Fact]
    public async Task Nothing_is_left_in_the_broker_at_the_end()
    {
        await using var broker = await Given.BrokerAsync();
        Assert.True(await broker.HasQueueAsync($"y.{application}.res"));
        Assert.True(await broker.HasExchangeAsync($"y.{application}.x"));

        await driver.DisposeAsync();
        await executor.DisposeAsync();

        await Given.UntilAsync(
            async () => !await broker.HasQueueAsync($"y.{application}.res") && !await broker.HasQueueAsync($"y.{application}.t.c-1-1.1")
                && !await broker.HasExchangeAsync($"y.{application}.x"),
            "queues and exchange are gone");
    }
}
