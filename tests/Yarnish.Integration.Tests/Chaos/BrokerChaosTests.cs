using Xunit;
using Yarnish.Integration.Tests.Fixtures;
using Yarnish.Status;

namespace Yarnish.Integration.Tests.Chaos;

/// <summary>The broker does the worst that brokers do in the middle of jobs: it falls silent, restarts, loses the driver's connection, delivers twice and out of order.</summary>
[Trait("Category", "Processes")]
public sealed class BrokerChaosTests(PrivateServices services) : IClassFixture<PrivateServices>
{
    [Fact]
    public Task Broker_that_is_paused_and_resumed_costs_nothing() => NothingRunsTwiceAsync(async (_, field) =>
    {
        await services.PauseRabbitMqAsync();
        try
        {
            // Tasks end while nobody can be told; long enough for beats to be missed, not for heartbeats of AMQP to give up everywhere.
            field.Open();
            await Task.Delay(TimeSpan.FromSeconds(6));
        }
        finally
        {
            await services.ResumeRabbitMqAsync();
        }
    });

    [Fact]
    public Task Broker_that_is_restarted_costs_nothing() => NothingRunsTwiceAsync(async (_, field) =>
    {
        await services.RestartRabbitMqAsync();
        field.Open();
    });

    [Fact]
    public Task Redis_that_is_restarted_costs_nothing() => NothingRunsTwiceAsync(async (_, field) =>
    {
        await services.RestartRedisAsync();
        field.Open();
    });

    [Fact]
    public async Task Connection_of_the_driver_that_is_cut_again_and_again_costs_nothing()
    {
        await using var proxy = new AmqpProxy(services.RabbitMq);
        await NothingRunsTwiceAsync(async (cluster, field) =>
        {
            for (var i = 0; i < 5; i++)
            {
                await cluster.UntilAsync("the driver is connected", () => Task.FromResult(proxy.Cut("yarnish/driver/") > 0));
                if (i == 2)
                {
                    field.Open();
                }
            }
        }, proxy.RabbitMq);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task Messages_that_come_twice_late_and_out_of_order_change_nothing(int seed)
    {
        await using var cluster = await TestCluster.StartAsync(services.RabbitMq, services.Redis, nodes: 2);
        await using (var session = await SmallJob.OpenAsync(cluster))
        {
            await using var mixer = await MessageMixer.StartAsync(services.RabbitMq, session.ApplicationId, seed);
            for (var i = 0; i < 5; i++)
            {
                using var field = new Field();
                await SmallJob.AssertRightAsync(SmallJob.RunAsync(session, field), cluster);
                Assert.Equal(SmallJob.Maps + SmallJob.Reduces, field.Runs.Length);
            }
            Assert.True(mixer.Reordered > 0 && mixer.RepeatedReports > 0 && mixer.RepeatedTasks > 0, $"{mixer.Reordered} reordered, {mixer.RepeatedReports} reports and {mixer.RepeatedTasks} tasks repeated: nothing was tried");
            Assert.Equal(0, session.Progress.JobsFailed);
            Assert.Equal(0, session.Progress.ExecutorsLost);
            await Leftovers.AssertNoneInDriverAsync(session);
        }
    }

    /// <summary>Runs a job whose map tasks wait at the gate, does the harm, and wants the right answer without a task that ran twice: what was lost was messages, not work.</summary>
    /// <param name="harm">Does it, and opens the gate.</param>
    /// <param name="rabbitMq">Where the cluster finds its broker; null: where it is.</param>
    private async Task NothingRunsTwiceAsync(Func<TestCluster, Field, Task> harm, string? rabbitMq = null)
    {
        await using var cluster = await TestCluster.StartAsync(rabbitMq ?? services.RabbitMq, services.Redis, nodes: 2);
        using var field = new Field();
        await using var session = await SmallJob.OpenAsync(cluster);
        var job = SmallJob.RunAsync(session, field, map: static (path, _) => Field.Wait(path));
        await cluster.UntilAsync("tasks wait on two executors", () => Task.FromResult(job.IsCompleted || field.Waiting.Length == 2));

        await harm(cluster, field);

        await SmallJob.AssertRightAsync(job, cluster);
        if (session.Progress.ExecutorsLost > 0)
        {
            // The log is at most a second behind; what the driver thought is half of the story.
            await Task.Delay(TimeSpan.FromSeconds(2));
            var log = new EventLogReader(Path.Combine(cluster.Directory, "events", session.ApplicationId.Value));
            Assert.Fail($"Executors were lost with the messages: {string.Join("; ", log.Read().OfType<StatusEvent.ExecutorRemoved>())}{Environment.NewLine}{cluster.Logs()}");
        }
        ExecutorChaosTests.AssertOnlyLostWorkRanAgain(field, lost: 0);
        await Leftovers.AssertNoneInDriverAsync(session);
    }
}
