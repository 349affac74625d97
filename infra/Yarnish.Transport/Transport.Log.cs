using Microsoft.Extensions.Logging;

namespace Yarnish.Transport;

internal static partial class TransportLog
{
    [LoggerMessage(1, LogLevel.Error, "A {Message} from {From} was dropped: its receiver threw.")]
    public static partial void ControlMessageFailed(this ILogger logger, string message, string from, Exception error);

    [LoggerMessage(2, LogLevel.Warning, "A control message that says it is from {From} was dropped: {Reason}")]
    public static partial void ControlMessageDropped(this ILogger logger, string from, string reason);

    [LoggerMessage(3, LogLevel.Warning, "A {Message} for {To} was not sent: {Reason}")]
    public static partial void ControlMessageNotSent(this ILogger logger, string message, string to, string reason);

    [LoggerMessage(10, LogLevel.Warning, "{Link}: {Reason}")]
    public static partial void LinkLost(this ILogger logger, string link, string reason);

    [LoggerMessage(11, LogLevel.Information, "{Link}: connected to RabbitMQ at {Broker}")]
    public static partial void LinkConnected(this ILogger logger, string link, string broker);

    [LoggerMessage(12, LogLevel.Warning, "{Link}: a message was dropped ({Total} so far): {Reason}")]
    public static partial void LinkMessageDropped(this ILogger logger, string link, long total, string reason);

    [LoggerMessage(13, LogLevel.Warning, "{Link}: RabbitMQ blocks publishers: {Reason}")]
    public static partial void LinkBlocked(this ILogger logger, string link, string reason);
}
