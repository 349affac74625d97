using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text;
using RabbitMQ.Client;

namespace Yarnish.Integration.Tests.Fixtures;

/// <summary>
/// Stands between a client and the broker: cuts connections at will, and writes down what the client asks for, so that a test can forbid it.
/// </summary>
internal sealed class AmqpProxy : IAsyncDisposable
{
    private readonly TcpListener listener = new(IPAddress.Loopback, 0);
    private readonly AmqpTcpEndpoint broker;
    private readonly ConcurrentDictionary<TcpClient, byte> open = [];
    private readonly ConcurrentDictionary<TcpClient, string> names = [];
    private readonly CancellationTokenSource stopping = new();
    private readonly Task accepting;

    public AmqpProxy(string rabbitMq)
    {
        var uri = new Uri(rabbitMq);
        broker = new ConnectionFactory { Uri = uri }.Endpoint;
        listener.Start();
        RabbitMq = new UriBuilder(uri) { Host = "127.0.0.1", Port = ((IPEndPoint)listener.LocalEndpoint).Port }.Uri.ToString();
        accepting = AcceptAsync();
    }

    /// <summary>AMQP URI of the proxy.</summary>
    public string RabbitMq { get; }

    /// <summary>Queues declared: name, durable, exclusive, auto-delete, and the raw arguments.</summary>
    public ConcurrentQueue<(string Queue, bool Durable, bool Exclusive, bool AutoDelete, string Arguments)> Declared { get; } = [];

    /// <summary>Qualities of service asked for: whether each was global, which newer brokers refuse.</summary>
    public ConcurrentQueue<bool> QosGlobal { get; } = [];

    /// <summary>Messages published: exchange, routing key, mandatory, length of the properties frame.</summary>
    public ConcurrentQueue<(string Exchange, string Key, bool Mandatory)> Published { get; } = [];

    /// <summary>Ends every connection at once, without a goodbye.</summary>
    public void Cut()
    {
        foreach (var client in open.Keys)
        {
            // Null when the connection has just ended by itself.
            client.Client?.Close(timeout: 0);
        }
    }

    /// <summary>The same for the connections of one kind of client.</summary>
    /// <param name="name">Part of the name that the client gives its connection, such as <c>yarnish/driver/</c>.</param>
    /// <returns>How many were cut.</returns>
    public int Cut(string name)
    {
        var cut = names.Where(pair => pair.Value.Contains(name, StringComparison.Ordinal)).ToArray();
        foreach (var (client, _) in cut)
        {
            client.Client?.Close(timeout: 0);
        }
        return cut.Length;
    }

    public async ValueTask DisposeAsync()
    {
        await stopping.CancelAsync();
        listener.Stop();
        Cut();
        await accepting;
        stopping.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                var client = await listener.AcceptTcpClientAsync(stopping.Token);
                _ = ServeAsync(client);
            }
        }
        catch (Exception error) when (error is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // Disposed.
        }
    }

    private async Task ServeAsync(TcpClient client)
    {
        using var server = new TcpClient();
        open[client] = 0;
        open[server] = 0;
        try
        {
            await server.ConnectAsync(broker.HostName, broker.Port);
            await Task.WhenAny(CopyAsync(client.GetStream(), server.GetStream(), new Frames(this, client)), CopyAsync(server.GetStream(), client.GetStream(), null));
        }
        catch (Exception error) when (error is SocketException or IOException or ObjectDisposedException or InvalidOperationException)
        {
            // One side is gone: so is the other.
        }
        finally
        {
            open.TryRemove(client, out _);
            open.TryRemove(server, out _);
            names.TryRemove(client, out _);
            client.Dispose();
        }
    }

    private static async Task CopyAsync(NetworkStream from, NetworkStream to, Frames? frames)
    {
        var buffer = new byte[64 << 10];
        int read;
        while ((read = await from.ReadAsync(buffer)) > 0)
        {
            frames?.Add(buffer.AsSpan(0, read));
            await to.WriteAsync(buffer.AsMemory(0, read));
        }
    }

    /// <summary>The client's half of one connection, cut into frames.</summary>
    private sealed class Frames(AmqpProxy proxy, TcpClient client)
    {
        private readonly List<byte> pending = [];
        private bool greeted;

        public void Add(ReadOnlySpan<byte> bytes)
        {
            pending.AddRange(bytes);
            if (!greeted && pending.Count >= 8)
            {
                pending.RemoveRange(0, 8);
                greeted = true;
            }
            while (greeted && pending.Count >= 7)
            {
                var head = System.Runtime.InteropServices.CollectionsMarshal.AsSpan(pending);
                var size = BinaryPrimitives.ReadInt32BigEndian(head[3..]);
                if (pending.Count < size + 8)
                {
                    return;
                }
                if (head[0] == 1)
                {
                    Method(head.Slice(7, size));
                }
                pending.RemoveRange(0, size + 8);
            }
        }

        private void Method(ReadOnlySpan<byte> method)
        {
            var arguments = method[4..];
            switch (BinaryPrimitives.ReadInt16BigEndian(method), BinaryPrimitives.ReadInt16BigEndian(method[2..]))
            {
                case (10, 11):
                    // Start-ok: the client's properties, its name among them.
                    proxy.names[client] = Encoding.Latin1.GetString(arguments);
                    break;
                case (50, 10):
                    arguments = arguments[2..];
                    var queue = ShortString(ref arguments);
                    var bits = arguments[0];
                    if ((bits & 1) == 0)
                    {
                        proxy.Declared.Enqueue((queue, (bits & 2) != 0, (bits & 4) != 0, (bits & 8) != 0, Encoding.Latin1.GetString(arguments[1..])));
                    }
                    break;
                case (60, 10):
                    proxy.QosGlobal.Enqueue((arguments[6] & 1) != 0);
                    break;
                case (60, 40):
                    arguments = arguments[2..];
                    proxy.Published.Enqueue((ShortString(ref arguments), ShortString(ref arguments), (arguments[0] & 1) != 0));
                    break;
            }
        }

        private static string ShortString(ref ReadOnlySpan<byte> bytes)
        {
            var text = Encoding.UTF8.GetString(bytes.Slice(1, bytes[0]));
            bytes = bytes[(1 + bytes[0])..];
            return text;
        }
    }
}
