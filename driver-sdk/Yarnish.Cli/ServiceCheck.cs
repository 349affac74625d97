using System.Net;
using System.Net.Sockets;
using StackExchange.Redis;

namespace Yarnish.Cli;

/// <summary>
/// Whether something listens where RabbitMQ and Redis should be: told before daemons are started that would wait for them. Whether it is RabbitMQ and lets us in, the daemons find out.
/// </summary>
internal static class ServiceCheck
{
    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(5);

    /// <exception cref="CommandException">An address makes no sense, or nothing answers there.</exception>
    public static async Task RequireAsync(string rabbitMq, string redis, CancellationToken cancellation)
    {
        await RequireAsync("RabbitMQ", "Yarnish__RabbitMq", Broker(rabbitMq), cancellation).ConfigureAwait(false);
        await RequireAsync("Redis", "Yarnish__Redis", Registry(redis), cancellation).ConfigureAwait(false);
    }

    private static EndPoint[] Broker(string uri) =>
        Uri.TryCreate(uri, UriKind.Absolute, out var parsed) && parsed is { Scheme: "amqp" or "amqps", Host.Length: > 0 }
            ? [new DnsEndPoint(parsed.Host, parsed.Port > 0 ? parsed.Port : parsed.Scheme == "amqps" ? 5671 : 5672)]
            : throw new CommandException(ExitCodes.Usage, "Yarnish__RabbitMq is no AMQP URI: it must read amqp://user:password@host:port/vhost (amqps for TLS).");

    private static EndPoint[] Registry(string configuration)
    {
        try
        {
            var options = ConfigurationOptions.Parse(configuration);
            options.SetDefaultPorts();
            // A sentinel or a Unix socket is more than a look at a port could tell.
            return options.ServiceName is { Length: > 0 } ? [] : [.. options.EndPoints.Where(static point => point is DnsEndPoint or IPEndPoint)];
        }
        catch (ArgumentException error)
        {
            throw new CommandException(ExitCodes.Usage, $"Yarnish__Redis is no configuration of StackExchange.Redis, such as host:6379: {error.Message}");
        }
    }

    private static async Task RequireAsync(string service, string variable, EndPoint[] points, CancellationToken cancellation)
    {
        var problem = "";
        foreach (var point in points)
        {
            using var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
            limit.CancelAfter(ConnectTimeout);
            try
            {
                await socket.ConnectAsync(point, limit.Token).ConfigureAwait(false);
                return;
            }
            catch (SocketException error)
            {
                problem = $"{service} does not answer at {Text(point)}: {error.Message.TrimEnd('.')}.";
            }
            catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
            {
                problem = $"{service} does not answer at {Text(point)} within {ConnectTimeout.TotalSeconds:0} s.";
            }
        }
        if (problem.Length > 0)
        {
            throw new CommandException(ExitCodes.Unreachable, $"{problem} Start it ('infra/services.sh up' does on this machine), or correct {variable}.");
        }
    }

    private static string Text(EndPoint point) => point is DnsEndPoint name ? $"{name.Host}:{name.Port}" : point.ToString()!;
}
