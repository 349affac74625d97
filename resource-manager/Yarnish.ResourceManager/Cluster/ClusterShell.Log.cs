using Yarnish.Protocol;

namespace Yarnish.ResourceManager.Cluster;

internal sealed partial class ClusterShell
{
    internal static partial class Log
    {
        [LoggerMessage(100, LogLevel.Information, "Recovered as epoch {Epoch} from {Records} journal records.")]
        public static partial void Recovered(ILogger logger, int epoch, int records);

        [LoggerMessage(101, LogLevel.Warning, "Ignored {Message} from {From}: it is not for the resource manager, or its sender speaks for somebody else.")]
        public static partial void NotForUs(ILogger logger, string message, ControlAddress from);

        [LoggerMessage(106, LogLevel.Error, "The queues in the journal cannot be used; there is one queue, root.default, until somebody puts others: {Problem}")]
        public static partial void JournaledQueuesRefused(ILogger logger, string problem);
    }
}
