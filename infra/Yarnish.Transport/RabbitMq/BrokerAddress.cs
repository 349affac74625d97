using System.Net.Sockets;
using RabbitMQ.Client;
using RabbitMQ.Client.Exceptions;

namespace Yarnish.Transport;

/// <summary>Where the broker is, and how its refusals read to people. Never shows the password.</summary>
internal sealed class BrokerAddress
{
    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(10);

    /// <param name="uri"><c>amqp[s]://user:password@host:port/vhost</c>.</param>
    /// <exception cref="BrokerUnreachableException">It is not such a URI.</exception>
    public BrokerAddress(string uri)
    {
        try
        {
            // The factory reads the URI: user, password, host, port, virtual host, TLS by the scheme.
            var probe = new ConnectionFactory { Uri = new Uri(uri) };
            (Uri, Host, Port, UserName, Password, VirtualHost, UseTls) =
                (new Uri(uri), probe.HostName, probe.Endpoint.Port, probe.UserName, probe.Password, probe.VirtualHost, probe.Ssl.Enabled);
        }
        catch (Exception error) when (error is UriFormatException or ArgumentException or FormatException)
        {
            throw new BrokerUnreachableException(
                "The RabbitMQ address is not an AMQP URI: it must read amqp://user:password@host:port/vhost (amqps for TLS). Check Yarnish__RabbitMq.", error);
        }
    }

    public Uri Uri { get; }

    public string Host { get; }

    public int Port { get; }

    public string UserName { get; }

    public string Password { get; }

    public string VirtualHost { get; }

    public bool UseTls { get; }

    public override string ToString() => $"{Host}:{Port}";

    /// <summary>One connection. Recovery is ours: the client's own hides losses that the driver must know of.</summary>
    /// <exception cref="BrokerUnreachableException">No connection.</exception>
    public async Task<IConnection> ConnectAsync(string clientName, CancellationToken cancellation)
    {
        var factory = new ConnectionFactory
        {
            Uri = Uri,
            AutomaticRecoveryEnabled = false,
            TopologyRecoveryEnabled = false,
            RequestedHeartbeat = TimeSpan.FromSeconds(10),
            RequestedConnectionTimeout = ConnectTimeout,
            HandshakeContinuationTimeout = ConnectTimeout,
            ContinuationTimeout = ConnectTimeout,
            ClientProvidedName = clientName,
        };
        // No token goes into the client: 7.2.2 may hang when it is cancelled in the middle (rabbitmq-dotnet-client#1936, fixed after it).
        var connecting = factory.CreateConnectionAsync(CancellationToken.None);
        try
        {
            return await connecting.WaitAsync(ConnectTimeout + TimeSpan.FromSeconds(5), cancellation).ConfigureAwait(false);
        }
        catch (Exception error)
        {
            _ = connecting.ContinueWith(
                static late =>
                {
                    if (late.IsCompletedSuccessfully)
                    {
                        late.Result.Dispose();
                    }
                    else
                    {
                        _ = late.Exception;
                    }
                },
                TaskScheduler.Default);
            if (error is OperationCanceledException && cancellation.IsCancellationRequested)
            {
                throw;
            }
            throw Explain(error);
        }
    }

    /// <summary>What, where, why and what to do.</summary>
    public BrokerUnreachableException Explain(Exception error)
    {
        var causes = Chain(error).ToArray();
        var (why, cure) = causes switch
        {
            _ when causes.OfType<AuthenticationFailureException>().Any() || causes.Any(cause => cause.Message.Contains("ACCESS_REFUSED", StringComparison.Ordinal))
                => ($"it refuses user '{UserName}'", "Check user and password in Yarnish__RabbitMq; 'guest' is accepted from the broker's own machine only."),
            _ when causes.Any(cause => cause.Message.Contains("vhost", StringComparison.OrdinalIgnoreCase))
                || causes.OfType<OperationInterruptedException>().Any(cause => cause.ShutdownReason?.ReplyCode == 530)
                => ($"the virtual host '{VirtualHost}' does not exist there, or user '{UserName}' may not use it", "Create it, or change the path in Yarnish__RabbitMq."),
            _ when causes.OfType<SocketException>().FirstOrDefault() is { } socket => socket.SocketErrorCode switch
            {
                SocketError.ConnectionRefused => ("nothing listens there", "Start RabbitMQ (for development: infra/services.sh up) or correct Yarnish__RabbitMq."),
                SocketError.HostNotFound or SocketError.TryAgain or SocketError.NoData => ("the host name is not known", "Correct the host in Yarnish__RabbitMq."),
                _ => (socket.Message.TrimEnd('.'), "Check that this machine can reach the broker's port."),
            },
            _ when causes.Any(static cause => cause is TimeoutException or OperationCanceledException) => ("it did not answer in time", "Check that this machine can reach the broker's port, and that the broker is not overloaded."),
            _ when causes.OfType<System.Security.Authentication.AuthenticationException>().FirstOrDefault() is { } tls
                => ($"TLS failed: {tls.Message.TrimEnd('.')}", "Check the broker's certificate, and that the scheme (amqp or amqps) fits the port."),
            _ => (causes[^1].Message.TrimEnd('.'), "See the broker's log."),
        };
        return new BrokerUnreachableException($"Cannot use RabbitMQ at {this}: {Masked(why)}. {cure}", error);
    }

    /// <summary>The text without the password, wherever a library may have put it.</summary>
    public string Masked(string text) => Password.Length < 4 ? text : text.Replace(Password, "***", StringComparison.Ordinal);

    private static IEnumerable<Exception> Chain(Exception error)
    {
        yield return error;
        var inner = error is AggregateException aggregate ? aggregate.InnerExceptions : error.InnerException is { } one ? [one] : (IEnumerable<Exception>)[];
        foreach (var cause in inner.SelectMany(Chain))
        {
            yield return cause;
        }
    }
}
