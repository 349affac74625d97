using Yarnish.Integration.Tests.Fixtures;
using Yarnish.Protocol;
using Yarnish.Transport;
using Xunit;

namespace Yarnish.Integration.Tests.Transport;

/// <summary>
/// What RabbitMQ 4.3 refuses and 3.10 lets pass, and what would open a hole between applications: read from the wire, since a broker of today would not tell.
/// </summary>
[Trait("Category", "Services")]
public sealed class BrokerRulesTests
{
    [Fact]
    public async Task Nothing_we_say_to_the_broker_is_refused_by_a_newer_one_or_goes_around_our_exchanges()
    {
        await using var proxy = new AmqpProxy(SharedServices.RabbitMq);
        var application = Given.Application();
        var cluster = "t" + application.Value[^8..];
        await using (var driver = new RabbitMqDriverLink(proxy.RabbitMq, application))
        await using (var executor = new RabbitMqExecutorLink(proxy.RabbitMq, application, new ExecutorId("e")))
        await using (var rm = new RabbitMqControlBus(proxy.RabbitMq, cluster, "s", ControlAddress.ResourceManager))
        await using (var bus = new RabbitMqControlBus(proxy.RabbitMq, cluster, "s", ControlAddress.Application(application)))
        {
            await driver.StartAsync(CancellationToken.None);
            await executor.StartAsync(CancellationToken.None);
            var address = (await executor.Events.NextAsync<EpochStarted>()).Address;
            await driver.SendAsync(address, Given.Batch(application, 1));
            await driver.BroadcastAsync(new DriverAlive(1));
            await executor.SendAsync(Given.Reports(address, [new(1)]));
            await driver.Events.NextAsync<ExecutorMessageReceived>();
            await rm.StartAsync(_ => default, CancellationToken.None);
            await bus.StartAsync(_ => default, CancellationToken.None);
            Assert.True(await bus.SendAsync(ControlAddress.ResourceManager, new ApplicationHeartbeat(application, 1, new())));
            Assert.True(await rm.SendAsync(ControlAddress.Application(application), new ResyncApplication(1)));
        }

        // At least what the test itself asked for was seen; then the rules.
        Assert.Contains(proxy.Declared, queue => queue.Queue == $"y.{application}.t.e.1" && queue.Exclusive);
        Assert.Contains(proxy.Declared, queue => queue.Queue == $"yarnish.{cluster}.driver.{application}" && queue.Durable && !queue.Exclusive);
        Assert.Contains(proxy.Published, message => message == ($"y.{application}.x", "t.e.1", true));
        Assert.Contains(proxy.Published, message => message == ($"yarnish.{cluster}", "rm", true));
        Assert.NotEmpty(proxy.QosGlobal);

        Assert.DoesNotContain(proxy.Declared, queue => !queue.Durable && !queue.Exclusive);
        Assert.DoesNotContain(proxy.Declared, queue => queue.Arguments.Contains("x-queue-mode", StringComparison.Ordinal) || queue.Arguments.Contains("x-queue-version", StringComparison.Ordinal));
        Assert.DoesNotContain(true, proxy.QosGlobal);
        Assert.DoesNotContain(proxy.Published, message => message.Exchange.Length == 0);
        Assert.DoesNotContain(proxy.Declared, queue => !queue.Queue.StartsWith($"y.{application}.", StringComparison.Ordinal) && !queue.Queue.StartsWith($"yarnish.{cluster}.", StringComparison.Ordinal));
    }
}
