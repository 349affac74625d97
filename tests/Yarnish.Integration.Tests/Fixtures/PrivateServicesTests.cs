using System.Net.Sockets;
using RabbitMQ.Client;
using Xunit;

namespace Yarnish.Integration.Tests.Fixtures;

/// <summary>What the fault tests rely on: services that can be killed and come back where they were, and that leave nothing behind.</summary>
[Trait("Category", "Services")]
public sealed class PrivateServicesTests
{
    [Fact]
    public async Task A_killed_broker_comes_back_at_the_same_address_and_nothing_answers_after_down()
    {
        var services = new PrivateServices();
        await services.InitializeAsync();
        var endpoint = new ConnectionFactory { Uri = new Uri(services.RabbitMq) }.Endpoint;
        try
        {
            Assert.True(await AnswersAsync(endpoint));
            await services.KillRabbitMqAsync();
            Assert.False(await AnswersAsync(endpoint));
            await services.StartRabbitMqAsync();
            Assert.True(await AnswersAsync(endpoint));
        }
        finally
        {
            await services.DisposeAsync();
        }
        Assert.False(await AnswersAsync(endpoint));
    }

    private static async Task<bool> AnswersAsync(AmqpTcpEndpoint endpoint)
    {
        try
        {
            using var client = new TcpClient();
            await client.ConnectAsync(endpoint.HostName, endpoint.Port);
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }
}
