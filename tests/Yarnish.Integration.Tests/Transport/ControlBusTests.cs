using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;
using RabbitMQ.Client;
using Yarnish.Integration.Tests.Fixtures;
using Yarnish.Protocol;
using Yarnish.Transport;
using Xunit;

namespace Yarnish.Integration.Tests.Transport;

/// <summary>The control bus over a real broker.</summary>
[Trait("Category", "Services")]
public sealed class ControlBusTests(PrivateServices services) : IClassFixture<PrivateServices>
{
    private readonly string cluster = "t" + Guid.NewGuid().ToString("n")[..8];

    private static readonly ControlAddress Node = ControlAddress.Node(new NodeId("n1"));
    private static readonly ControlAddress App = ControlAddress.Application(new ApplicationId("a1"));

    [Fact]
    public async Task A_message_goes_there_and_an_answer_comes_back()
    {
        await using var rm = await StartAsync(ControlAddress.ResourceManager);
        await using var node = await StartAsync(Node);

        Assert.True(await node.Bus.SendAsync(ControlAddress.ResourceManager, new NodeHeartbeat(new("n1"), 1, 7, [], true, "")));
        var received = await rm.NextAsync();
        Assert.Equal(Node, received.From);
        Assert.Equal(7, Assert.IsType<NodeHeartbeat>(received.Message).Sequence);

        Assert.True(await rm.Bus.SendAsync(Node, new ResyncNode(3)));
        Assert.Equal(new ResyncNode(3), (await node.NextAsync()).Message);
        Assert.True(rm.Bus.Connected);
    }

    [Fact]
    public async Task What_is_sent_right_after_the_start_arrives()
    {
        await using var rm = await StartAsync(ControlAddress.ResourceManager);
        for (var i = 0; i < 200; i++)
        {
            Assert.True(await rm.Bus.SendAsync(ControlAddress.ResourceManager, new ResyncNode(i)));
        }
        for (var i = 0; i < 200; i++)
        {
            Assert.Equal(i, ((ResyncNode)(await rm.NextAsync()).Message).Epoch);
        }
    }

    [Fact]
    public async Task Messages_wait_in_the_queue_of_a_receiver_that_restarts()
    {
        await using var rm = await StartAsync(ControlAddress.ResourceManager);
        await using (await StartAsync(Node))
        {
        }

        Assert.True(await rm.Bus.SendAsync(Node, new ResyncNode(1)));

        await using var node = await StartAsync(Node);
        Assert.Equal(new ResyncNode(1), (await node.NextAsync()).Message);
    }

    [Fact]
    public async Task A_message_for_nobody_is_not_sent()
    {
        await using var rm = await StartAsync(ControlAddress.ResourceManager);

        Assert.False(await rm.Bus.SendAsync(ControlAddress.Node(new NodeId("never-was")), new ResyncNode(1)));
        Assert.True(await rm.Bus.SendAsync(ControlAddress.ResourceManager, new ResyncNode(2)));
    }

    [Fact]
    public async Task A_wrong_secret_is_refused_told_and_counted()
    {
        await using var rm = await StartAsync(ControlAddress.ResourceManager, secret: "right");
        await using var node = await StartAsync(Node, secret: "wrong");

        Assert.True(await node.Bus.SendAsync(ControlAddress.ResourceManager, new ResyncNode(1)));

        var refused = Assert.IsType<ControlRefused>((await node.NextAsync()).Message);
        Assert.Contains("Yarnish__Secret", refused.Reason, StringComparison.Ordinal);
        Assert.DoesNotContain("right", refused.Reason, StringComparison.Ordinal);
        Assert.Equal(1, rm.Bus.RefusedMessages);
        Assert.Equal(0, rm.Received.Reader.Count);
    }

    [Fact]
    public async Task A_receiver_that_throws_loses_only_that_message()
    {
        await using var rm = await StartAsync(ControlAddress.ResourceManager, before: delivery =>
        {
            if (delivery.Message is ResyncNode { Epoch: 1 })
            {
                throw new InvalidOperationException("broken");
            }
        });

        await rm.Bus.SendAsync(ControlAddress.ResourceManager, new ResyncNode(1));
        await rm.Bus.SendAsync(ControlAddress.ResourceManager, new ResyncNode(2));

        Assert.Equal(new ResyncNode(2), (await rm.NextAsync()).Message);
        Assert.Equal(1, rm.Bus.DroppedMessages);
    }

    [Fact]
    public async Task Rubbish_in_the_queue_is_dropped_and_leaves_no_queue_of_errors()
    {
        await using var rm = await StartAsync(ControlAddress.ResourceManager);
        await using var broker = await Given.BrokerAsync(services.RabbitMq);
        await using var channel = await broker.CreateChannelAsync();
        await channel.BasicPublishAsync($"yarnish.{cluster}", "rm", "{ this is no envelope"u8.ToArray());
        await channel.BasicPublishAsync($"yarnish.{cluster}", "rm", Array.Empty<byte>());

        await rm.Bus.SendAsync(ControlAddress.ResourceManager, new ResyncNode(2));

        Assert.Equal(new ResyncNode(2), (await rm.NextAsync()).Message);
        Assert.False(await broker.HasQueueAsync($"yarnish.{cluster}.rm_error"));
        Assert.False(await broker.HasQueueAsync($"yarnish.{cluster}.rm_skipped"));
    }

    [Fact]
    public async Task A_driver_leaves_nothing_behind_and_the_others_keep_their_queues()
    {
        await using var broker = await Given.BrokerAsync(services.RabbitMq);
        await using (await StartAsync(App))
        {
            Assert.True(await broker.HasQueueAsync($"yarnish.{cluster}.driver.a1"));
        }
        await using (await StartAsync(Node))
        {
        }

        Assert.False(await broker.HasQueueAsync($"yarnish.{cluster}.driver.a1"));
        Assert.False(await broker.HasExchangeAsync($"yarnish.{cluster}.driver.a1"));
        Assert.True(await broker.HasQueueAsync($"yarnish.{cluster}.node.n1"));
    }

    [Fact]
    public async Task The_bus_heals_after_the_broker_was_killed()
    {
        await using var rm = await StartAsync(ControlAddress.ResourceManager);
        await using var node = await StartAsync(Node);

        await services.KillRabbitMqAsync();
        await Given.UntilAsync(() => Task.FromResult(!rm.Bus.Connected), "the loss is noticed");
        await services.StartRabbitMqAsync();

        // As every protocol here does: again until it arrived.
        using var patience = new CancellationTokenSource(Given.Patience);
        var sending = Task.Run(async () =>
        {
            for (var i = 1; !patience.IsCancellationRequested; i++)
            {
                await node.Bus.SendAsync(ControlAddress.ResourceManager, new ResyncNode(i), CancellationToken.None);
                await Task.Delay(200, CancellationToken.None);
            }
        });
        Assert.IsType<ResyncNode>((await rm.NextAsync()).Message);
        await patience.CancelAsync();
        await sending;
        await Given.UntilAsync(() => Task.FromResult(rm.Bus.Connected && node.Bus.Connected), "both are connected");
    }

    [Fact]
    public async Task A_send_while_the_broker_is_away_gives_up_by_itself()
    {
        await using var rm = await StartAsync(ControlAddress.ResourceManager);
        await services.KillRabbitMqAsync();
        try
        {
            var begin = Stopwatch.GetTimestamp();
            Assert.False(await rm.Bus.SendAsync(ControlAddress.ResourceManager, new ResyncNode(1)));
            Assert.InRange(Stopwatch.GetElapsedTime(begin).TotalSeconds, 0, 30);
        }
        finally
        {
            await services.StartRabbitMqAsync();
        }
    }

    [Fact]
    public async Task A_broker_that_is_not_there_is_one_clear_error_without_the_password()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var port = ((IPEndPoint)listener.LocalEndpoint).Port;
        listener.Stop();

        await using var bus = new RabbitMqControlBus($"amqp://me:hidden-word@127.0.0.1:{port}", cluster, "", Node);
        var error = await Assert.ThrowsAsync<BrokerUnreachableException>(() => bus.StartAsync(_ => default, CancellationToken.None));

        Assert.Equal(
            $"Cannot use RabbitMQ at 127.0.0.1:{port}: nothing listens there. Start RabbitMQ (for development: infra/services.sh up) or correct Yarnish__RabbitMq.", error.Message);
        Assert.DoesNotContain("hidden-word", error.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_wrong_password_is_one_clear_error_without_it()
    {
        var endpoint = new ConnectionFactory { Uri = new Uri(services.RabbitMq) }.Endpoint;
        await using var bus = new RabbitMqControlBus($"amqp://yarnish:hidden-word@{endpoint.HostName}:{endpoint.Port}", cluster, "", Node);
        var error = await Assert.ThrowsAsync<BrokerUnreachableException>(() => bus.StartAsync(_ => default, CancellationToken.None));

        Assert.StartsWith($"Cannot use RabbitMQ at 127.0.0.1:{endpoint.Port}: it refuses user 'yarnish'.", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("hidden-word", error.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_missing_virtual_host_is_one_clear_error()
    {
        await using var bus = new RabbitMqControlBus(services.RabbitMq + "/nowhere", cluster, "", Node);
        var error = await Assert.ThrowsAsync<BrokerUnreachableException>(() => bus.StartAsync(_ => default, CancellationToken.None));

        Assert.Contains("the virtual host 'nowhere' does not exist there", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_address_that_is_no_amqp_uri_is_one_clear_error()
    {
        var error = Assert.Throws<BrokerUnreachableException>(() => new RabbitMqControlBus("localhost:5672", cluster, "", Node));

        Assert.Contains("amqp://user:password@host:port/vhost", error.Message, StringComparison.Ordinal);
    }

    private async Task<Participant> StartAsync(ControlAddress self, string secret = "secret", Action<ControlDelivery>? before = null)
    {
        var participant = new Participant(new RabbitMqControlBus(services.RabbitMq, cluster, secret, self));
        await participant.Bus.StartAsync(
            delivery =>
            {
                before?.Invoke(delivery);
                participant.Received.Writer.TryWrite(delivery);
                return default;
            },
            CancellationToken.None);
        return participant;
    }

    private sealed record Participant(RabbitMqControlBus Bus) : IAsyncDisposable
    {
        public Channel<ControlDelivery> Received { get; } = Channel.CreateUnbounded<ControlDelivery>();

        public async Task<ControlDelivery> NextAsync()
        {
            using var patience = new CancellationTokenSource(Given.Patience);
            return await Received.Reader.ReadAsync(patience.Token);
        }

        public ValueTask DisposeAsync() => Bus.DisposeAsync();
    }
}
