using Yarnish.Protocol;

namespace Yarnish.ResourceManager.Cluster;

internal sealed partial class ClusterShell
{
    private static partial class Log
    {
        [LoggerMessage(100, LogLevel.Information, "Recovered as epoch {Epoch} from {Records} journal records.")]
        public static partial void Recovered(ILogger logger, int epoch, int records);

        [LoggerMessage(101, LogLevel.Warning, "Ignored {Message} from {From}: it is not for the resource manager, or its sender speaks for somebody else.")]
        public static partial void NotForUs(ILogger logger, string message, ControlAddress from);
    }
}
