using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using RabbitMQ.Client;
using Yarnish.Transport;

namespace Yarnish.Benchmarks;

/// <summary>
/// The baseline of task throughput: what RabbitMQ itself carries when every task is one message of 512 bytes and every result one of 64, between this process and
/// child processes, over the same kind of queues, connections, confirms and acknowledgements as our links use, with up to 2,048 tasks under way per child.
/// </summary>
internal static class RawMessages
{
    /// <summary>First argument that makes the program an echoing child: <c>raw-echo URI EXCHANGE KEY</c>.</summary>
    public const string EchoMode = "raw-echo";

    private const int TaskBytes = 512;
    private const int ResultBytes = 64;
    private const int Window = 2048;
    private const ushort Prefetch = 300;
    private const string ResultsKey = "res";

    /// <summary>Tasks per second, each one message out and one back.</summary>
    /// <param name="amqpUri">The broker.</param>
    /// <param name="executors">Child processes.</param>
    /// <param name="messages">Tasks measured; a tenth more goes before to warm up.</param>
    /// <param name="cancellation">Gives up.</param>
    public static async Task<double> RunAsync(string amqpUri, int executors, int messages, CancellationToken cancellation)
    {
        var exchange = $"y.raw-{Guid.NewGuid():n}.x";
        await using var end = await End.OpenAsync(amqpUri, exchange, "", ResultsKey);
        var children = Enumerable.Range(0, executors).Select(i => StartChild(amqpUri, exchange, Key(i))).ToArray();
        try
        {
            var driver = new Driver(end, executors);
            await end.ConsumeAsync(driver.Receive);
            await driver.Ready.WaitAsync(TimeSpan.FromSeconds(60), cancellation);
            await driver.RunAsync(Math.Max(messages / 10, 1000), cancellation);
            var begin = Stopwatch.GetTimestamp();
            await driver.RunAsync(messages, cancellation);
            return messages / Stopwatch.GetElapsedTime(begin).TotalSeconds;
        }
        finally
        {
            foreach (var child in children)
            {
                child.StandardInput.Close();
                if (!child.WaitForExit(5000))
                {
                    child.Kill(entireProcessTree: true);
                }
                child.Dispose();
            }
        }
    }

    /// <summary>The child: answers each message until its standard input ends.</summary>
    /// <param name="args">URI, exchange, key.</param>
    public static async Task<int> EchoAsync(string[] args)
    {
        var (uri, exchange, key) = (args[0], args[1], args[2]);
        await using var end = await End.OpenAsync(uri, exchange, key, key);
        var result = new byte[ResultBytes];
        var executor = int.Parse(key.AsSpan(2), CultureInfo.InvariantCulture);
        var results = new CachedString(ResultsKey);
        await end.ConsumeAsync(async body =>
        {
            body.Span[..8].CopyTo(result);
            BinaryPrimitives.WriteInt32LittleEndian(result.AsSpan(8), executor);
            await end.PublishAsync(results, result);
        });
        BinaryPrimitives.WriteInt64LittleEndian(result, -1);
        BinaryPrimitives.WriteInt32LittleEndian(result.AsSpan(8), executor);
        await end.PublishAsync(results, result);
        await Console.In.ReadToEndAsync();
        return 0;
    }

    private static string Key(int executor) => string.Create(CultureInfo.InvariantCulture, $"t.{executor}");

    private static Process StartChild(string uri, string exchange, string key)
    {
        var program = Environment.ProcessPath!;
        // Under `dotnet X.dll` the process is dotnet itself.
        string[] prefix = Path.GetFileNameWithoutExtension(program) == "dotnet" ? ["exec", typeof(RawMessages).Assembly.Location] : [];
        return Process.Start(new ProcessStartInfo(program, [.. prefix, EchoMode, uri, exchange, key]) { RedirectStandardInput = true })!;
    }

    private sealed class Driver(End end, int executors)
    {
        private readonly SemaphoreSlim[] windows = [.. Enumerable.Range(0, executors).Select(_ => new SemaphoreSlim(Window, Window))];
        private readonly TaskCompletionSource ready = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly CachedString[] keys = [.. Enumerable.Range(0, executors).Select(i => new CachedString(Key(i)))];
        private TaskCompletionSource done = new();
        private int missing = executors;
        private int left;

        public Task Ready => ready.Task;

        public async Task RunAsync(int messages, CancellationToken cancellation)
        {
            left = messages;
            done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            var task = new byte[TaskBytes];
            for (var i = 0; i < messages; i++)
            {
                var executor = i % keys.Length;
                await windows[executor].WaitAsync(cancellation);
                BinaryPrimitives.WriteInt64LittleEndian(task, i);
                await end.PublishAsync(keys[executor], task);
            }
            await done.Task.WaitAsync(TimeSpan.FromMinutes(5), cancellation);
        }

        public ValueTask Receive(ReadOnlyMemory<byte> body)
        {
            if (BinaryPrimitives.ReadInt64LittleEndian(body.Span) < 0)
            {
                if (--missing == 0)
                {
                    ready.SetResult();
                }
                return default;
            }
            windows[BinaryPrimitives.ReadInt32LittleEndian(body.Span[8..])].Release();
            if (--left == 0)
            {
                done.SetResult();
            }
            return default;
        }
    }

    /// <summary>One end: two connections, an exclusive queue, confirms counted by our own window.</summary>
    private sealed class End : IAsyncDisposable
    {
        private readonly ConfirmWindow window = new(1024, 64 << 20, static (_, _) => { }, static _ => { });
        private readonly BasicProperties properties = new() { Type = "y.raw.1", DeliveryMode = DeliveryModes.Transient };
        private readonly CachedString exchange;
        private readonly string queue;
        private readonly IConnection[] connections;
        private readonly IChannel publishing;
        private readonly IChannel consuming;

        private End(string exchange, string queue, IConnection[] connections, IChannel publishing, IChannel consuming) =>
            (this.exchange, this.queue, this.connections, this.publishing, this.consuming) = (new CachedString(exchange), queue, connections, publishing, consuming);

        public static async Task<End> OpenAsync(string uri, string exchange, string suffix, string key)
        {
            var factory = new ConnectionFactory { Uri = new Uri(uri), AutomaticRecoveryEnabled = false };
            IConnection[] connections = [await factory.CreateConnectionAsync(), await factory.CreateConnectionAsync()];
            var publishing = await connections[0].CreateChannelAsync(new CreateChannelOptions(true, false, null, 1));
            var consuming = await connections[1].CreateChannelAsync(new CreateChannelOptions(false, false, null, 1));
            await consuming.ExchangeDeclareAsync(exchange, ExchangeType.Direct, durable: false, autoDelete: true);
            var queue = $"{exchange}.{key}{suffix}";
            await consuming.QueueDeclareAsync(queue, durable: false, exclusive: true, autoDelete: false);
            await consuming.QueueBindAsync(queue, exchange, key);
            await consuming.BasicQosAsync(0, Prefetch, global: false);
            var end = new End(exchange, queue, connections, publishing, consuming);
            publishing.BasicAcksAsync += (_, acks) =>
            {
                end.window.Settle(acks.DeliveryTag, acks.Multiple, taken: true);
                return Task.CompletedTask;
            };
            publishing.BasicReturnAsync += (_, returned) => throw new InvalidOperationException($"{returned.RoutingKey} has no queue.");
            return end;
        }

        public Task<string> ConsumeAsync(Func<ReadOnlyMemory<byte>, ValueTask> receive) => consuming.BasicConsumeAsync(queue, autoAck: false, new Consumer(consuming, receive));

        public async ValueTask PublishAsync(CachedString key, ReadOnlyMemory<byte> body)
        {
            if (!await window.WaitForRoomAsync(body.Length))
            {
                throw new InvalidOperationException("The connection is gone.");
            }
            window.Add(body.Length, null);
            await publishing.BasicPublishAsync(exchange, key, mandatory: true, properties, body);
        }

        public async ValueTask DisposeAsync()
        {
            foreach (var connection in connections)
            {
                await connection.CloseAsync(TimeSpan.FromSeconds(5));
                await connection.DisposeAsync();
            }
        }
    }

    private sealed class Consumer(IChannel channel, Func<ReadOnlyMemory<byte>, ValueTask> receive) : AsyncDefaultBasicConsumer(channel)
    {
        private int unacknowledged;

        public override async Task HandleBasicDeliverAsync(
            string consumerTag, ulong deliveryTag, bool redelivered, string exchange, string routingKey, IReadOnlyBasicProperties properties, ReadOnlyMemory<byte> body,
            CancellationToken cancellationToken = default)
        {
            await receive(body);
            if (++unacknowledged >= Prefetch / 4)
            {
                unacknowledged = 0;
                await Channel.BasicAckAsync(deliveryTag, multiple: true, CancellationToken.None);
            }
        }
    }
}
