using System.Threading.Channels;
using RabbitMQ.Client;
using Yarnish.Integration.Tests.Fixtures;
using Yarnish.Protocol;
using Yarnish.Transport;

namespace Yarnish.Integration.Tests.Transport;

/// <summary>Links, messages and a look into the broker, for the tests of this room.</summary>
internal static class Given
{
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    public static ApplicationId Application() => new("test-" + Guid.NewGuid().ToString("n")[..10]);

    public static TaskBatch Batch(ApplicationId application, long firstAttempt, int tasks = 4, int inputBytes = 3) => new(
        application, 1, new StageId(2), 0, new string('a', 64),
        [.. Enumerable.Range(0, tasks).Select(i => new TaskAssignment(new(firstAttempt + i), i, 0, new byte[inputBytes]))]);

    public static TaskReports Reports(ExecutorAddress from, params IEnumerable<TaskAttemptId> attempts) =>
        new(from, [.. attempts.Select(attempt => new TaskReport(attempt, TaskSucceeded.Instance, TaskMetrics.Empty, BitConverter.GetBytes(attempt.Value)))]);

    /// <summary>The next event of a kind; others before it are passed over.</summary>
    public static async Task<T> NextAsync<T>(this ChannelReader<DriverLinkEvent> events)
        where T : DriverLinkEvent
    {
        using var patience = new CancellationTokenSource(Patience);
        while (true)
        {
            if (await events.ReadAsync(patience.Token) is T found)
            {
                return found;
            }
        }
    }

    /// <inheritdoc cref="NextAsync{T}(ChannelReader{DriverLinkEvent})"/>
    public static async Task<T> NextAsync<T>(this ChannelReader<ExecutorLinkEvent> events)
        where T : ExecutorLinkEvent
    {
        using var patience = new CancellationTokenSource(Patience);
        while (true)
        {
            if (await events.ReadAsync(patience.Token) is T found)
            {
                return found;
            }
        }
    }

    /// <summary>Waits until something holds that only polling shows, such as a queue of the broker being gone.</summary>
    public static async Task UntilAsync(Func<Task<bool>> holds, string what)
    {
        var deadline = TimeProvider.System.GetTimestamp();
        while (!await holds())
        {
            if (TimeProvider.System.GetElapsedTime(deadline) > Patience)
            {
                throw new TimeoutException($"Not within {Patience.TotalSeconds} s: {what}");
            }
            await Task.Delay(50);
        }
    }

    public static Task<IConnection> BrokerAsync(string? uri = null) => new ConnectionFactory { Uri = new Uri(uri ?? SharedServices.RabbitMq) }.CreateConnectionAsync();

    /// <summary>Whether a queue exists.</summary>
    public static async Task<bool> HasQueueAsync(this IConnection broker, string queue)
    {
        try
        {
            await using var channel = await broker.CreateChannelAsync();
            await channel.QueueDeclarePassiveAsync(queue);
            return true;
        }
        catch (RabbitMQ.Client.Exceptions.OperationInterruptedException error) when (error.ShutdownReason?.ReplyCode is 404)
        {
            return false;
        }
        catch (RabbitMQ.Client.Exceptions.OperationInterruptedException error) when (error.ShutdownReason?.ReplyCode is 405)
        {
            return true;   // locked: exclusive to another connection
        }
    }

    /// <summary>Whether an exchange exists.</summary>
    public static async Task<bool> HasExchangeAsync(this IConnection broker, string exchange)
    {
        try
        {
            await using var channel = await broker.CreateChannelAsync();
            await channel.ExchangeDeclarePassiveAsync(exchange);
            return true;
        }
        catch (RabbitMQ.Client.Exceptions.OperationInterruptedException)
        {
            return false;
        }
    }
}
