using Yarnish.Queues;

namespace Yarnish.ResourceManager.Cluster;

/// <summary>
/// Applies the queue file when it changes. It looks at the file instead of waiting to be told: that works over network file systems and for the links of a
/// Kubernetes ConfigMap. A file must look the same twice before it is read, so that one being written is left alone. A wrong file changes nothing.
/// </summary>
/// <param name="path">The file.</param>
/// <param name="applied">The text that is in force.</param>
/// <param name="status">The shell that runs, and where problems are shown.</param>
/// <param name="clock">Time between looks.</param>
/// <param name="logger">Told of every change.</param>
internal sealed partial class QueueFileWatch(string path, string applied, ClusterStatus status, TimeProvider clock, ILogger<QueueFileWatch> logger) : BackgroundService
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    private (long Length, DateTime Written) seen;
    private (long Length, DateTime Written) handled;
    private string lastText = applied;

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Interval, clock);
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken))
            {
                var stamp = Stamp();
                if (stamp != handled && stamp == seen && await ApplyAsync(stoppingToken))
                {
                    handled = stamp;
                }
                seen = stamp;
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
        }
    }

    // A file that is gone has a stamp of its own.
    private (long Length, DateTime Written) Stamp()
    {
        try
        {
            using var handle = File.OpenHandle(path);
            return (RandomAccess.GetLength(handle), File.GetLastWriteTimeUtc(handle));
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return (-1, default);
        }
    }

    // False: try again at the next look.
    private async Task<bool> ApplyAsync(CancellationToken cancellation)
    {
        var read = QueueFileReader.ReadFile(path, out var text);
        if (!read.Errors.IsEmpty)
        {
            Refuse(QueueFileResult.Describe(read.Errors));
            return true;
        }
        if (text == lastText && status.QueueFileProblem.Length == 0)
        {
            return true;
        }
        if (status.Shell?.TryChangeQueues(new QueuesInForce("file", text, read), keep: false) is not { } change)
        {
            return false;
        }
        try
        {
            var errors = await change.WaitAsync(Patience, clock, cancellation);
            if (!errors.IsEmpty)
            {
                Refuse(QueueFileResult.Describe(errors.Select(read.Locate)));
                // Applications may leave the queue that is in the way.
                return false;
            }
        }
        catch (Exception error) when (error is TimeoutException or TaskCanceledException && !cancellation.IsCancellationRequested)
        {
            return false;
        }
        lastText = text;
        status.QueueFileProblem = "";
        Log.Applied(logger, path, status.Shell?.Queues.Version ?? 0);
        return true;
    }

    private void Refuse(string problem)
    {
        if (status.QueueFileProblem != problem)
        {
            status.QueueFileProblem = problem;
            Log.Refused(logger, path, problem);
        }
    }

    private static partial class Log
    {
        [LoggerMessage(130, LogLevel.Information, "The queues of {Path} are in force, version {Version}.")]
        public static partial void Applied(ILogger logger, string path, int version);

        [LoggerMessage(131, LogLevel.Error, "The changed queue file {Path} is refused, the queues in force stay: {Problem}")]
        public static partial void Refused(ILogger logger, string path, string problem);
    }
}
