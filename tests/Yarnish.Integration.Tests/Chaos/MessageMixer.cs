using System.Collections.Concurrent;
using RabbitMQ.Client;
using RabbitMQ.Client.Events;
using Yarnish.Protocol;
using Yarnish.Transport;

namespace Yarnish.Integration.Tests.Chaos;

/// <summary>
/// Sits in the broker between a driver and its executors and does what brokers may do, on purpose: reports reach the driver in another order and some of them twice, late; messages to executors
/// come again, late and out of order. Nothing is lost. From one seed, as far as the timing of real processes allows.
/// </summary>
internal sealed class MessageMixer : IAsyncDisposable
{
    private const string Mixed = "x-mixed";

    /// <summary>What is mixed with each other: that which comes within this time.</summary>
    private static readonly TimeSpan Round = TimeSpan.FromMilliseconds(15);

    private readonly ApplicationId application;
    private readonly IConnection connection;
    private readonly IChannel channel;
    private readonly Random random;
    private readonly CancellationTokenSource stopping = new();
    private readonly ConcurrentQueue<(string Exchange, string Key, BasicProperties Properties, byte[] Body, bool IsCopy)> waiting = [];
    private readonly HashSet<ExecutorAddress> known = [];
    private Task mixing = Task.CompletedTask;
    private int reordered;
    private int repeatedReports;
    private int repeatedTasks;

    private MessageMixer(ApplicationId application, IConnection connection, IChannel channel, int seed)
    {
        this.application = application;
        this.connection = connection;
        this.channel = channel;
        random = new Random(seed);
    }

    /// <summary>Messages that overtook another.</summary>
    public int Reordered => Volatile.Read(ref reordered);

    /// <summary>Messages of executors that the driver got twice.</summary>
    public int RepeatedReports => Volatile.Read(ref repeatedReports);

    /// <summary>Messages that executors got twice.</summary>
    public int RepeatedTasks => Volatile.Read(ref repeatedTasks);

    /// <summary>Begins to mix; call it before the first job.</summary>
    public static async Task<MessageMixer> StartAsync(string rabbitMq, ApplicationId application, int seed)
    {
        var connection = await new ConnectionFactory { Uri = new Uri(rabbitMq) }.CreateConnectionAsync();
        var mixer = new MessageMixer(application, connection, await connection.CreateChannelAsync(), seed);
        await mixer.DivertAsync();
        return mixer;
    }

    public async ValueTask DisposeAsync()
    {
        await stopping.CancelAsync();
        await mixing;
        await connection.CloseAsync();
        connection.Dispose();
        stopping.Dispose();
    }

    private async Task DivertAsync()
    {
        var exchange = TaskNames.Exchange(application);
        // Ours first: the exchange must never be without a queue for reports, nor without any, for then it deletes itself.
        var reports = (await channel.QueueDeclareAsync()).QueueName;
        await channel.QueueBindAsync(reports, exchange, TaskNames.ResultsKey);
        await channel.QueueUnbindAsync(TaskNames.Results(application), exchange, TaskNames.ResultsKey);
        var tasks = (await channel.QueueDeclareAsync()).QueueName;

        var ofReports = new AsyncEventingBasicConsumer(channel);
        ofReports.ReceivedAsync += async (_, delivery) =>
        {
            var body = delivery.Body.ToArray();
            var from = new WireReader().ReadExecutor(body, application).From;
            if (known.Add(from))
            {
                // Before the driver hears of this executor, so before its first task.
                await channel.QueueBindAsync(tasks, exchange, TaskNames.Key(from));
            }
            waiting.Enqueue(("", TaskNames.Results(application), new BasicProperties(delivery.BasicProperties), body, false));
        };
        var ofTasks = new AsyncEventingBasicConsumer(channel);
        ofTasks.ReceivedAsync += (_, delivery) =>
        {
            if (delivery.BasicProperties.Headers?.ContainsKey(Mixed) != true)
            {
                var properties = new BasicProperties(delivery.BasicProperties);
                properties.Headers = new Dictionary<string, object?>(properties.Headers ?? new Dictionary<string, object?>()) { [Mixed] = true };
                waiting.Enqueue((exchange, delivery.RoutingKey, properties, delivery.Body.ToArray(), true));
            }
            return Task.CompletedTask;
        };
        await channel.BasicConsumeAsync(reports, autoAck: true, ofReports);
        await channel.BasicConsumeAsync(tasks, autoAck: true, ofTasks);
        mixing = MixAsync();
    }

    private async Task MixAsync()
    {
        var later = new List<(int Round, string Exchange, string Key, BasicProperties Properties, byte[] Body)>();
        for (var round = 0; !stopping.IsCancellationRequested; round++)
        {
            await Task.Delay(Round, CancellationToken.None);
            var batch = new List<(string Exchange, string Key, BasicProperties Properties, byte[] Body)>();
            while (waiting.TryDequeue(out var next))
            {
                var message = (next.Exchange, next.Key, next.Properties, next.Body);
                if (!next.IsCopy)
                {
                    batch.Add(message);
                }
                if (next.IsCopy || random.Next(3) == 0)
                {
                    // Up to some seconds: after the attempt, the stage, or the job it is about.
                    later.Add((round + random.Next(200), next.Exchange, next.Key, next.Properties, next.Body));
                    Interlocked.Increment(ref next.IsCopy ? ref repeatedTasks : ref repeatedReports);
                }
            }
            if (batch.Count > 1)
            {
                random.Shuffle(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(batch));
                Interlocked.Add(ref reordered, batch.Count);
            }
            batch.AddRange(later.Where(copy => copy.Round <= round).Select(static copy => (copy.Exchange, copy.Key, copy.Properties, copy.Body)));
            later.RemoveAll(copy => copy.Round <= round);
            foreach (var (exchange, key, properties, body) in batch)
            {
                await channel.BasicPublishAsync(exchange, key, mandatory: false, properties, body);
            }
        }
    }
}
