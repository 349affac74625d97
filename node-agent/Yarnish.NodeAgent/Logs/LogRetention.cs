using Yarnish.NodeAgent.Node;
using Yarnish.Protocol;

namespace Yarnish.NodeAgent.Logs;

/// <summary>Removes the logs of ended containers: those past their time, then the oldest until the rest is within its bound.</summary>
internal static class LogRetention
{
    /// <summary>Applies the rule once and returns how many directories went.</summary>
    public static int Apply(DataDirectory directory, IReadOnlySet<ContainerId> live, TimeSpan retention, long maximumBytes, DateTimeOffset now)
    {
        var removed = 0;
        var ended = new DirectoryInfo(directory.Logs).EnumerateDirectories()
            .SelectMany(application => application.EnumerateDirectories())
            .Where(container => !live.Any(id => id.Value == container.Name))
            .Select(container => (Path: container.FullName, Files: container.GetFiles()))
            .Select(logs => (logs.Path, Bytes: logs.Files.Sum(file => file.Length), Written: logs.Files.Select(file => file.LastWriteTimeUtc).DefaultIfEmpty(DateTime.MinValue).Max()))
            .OrderByDescending(logs => logs.Written)
            .ToList();
        var kept = 0L;
        foreach (var (path, bytes, written) in ended)
        {
            kept += bytes;
            if (now.UtcDateTime - written > retention || kept > maximumBytes)
            {
                directory.Discard(path);
                removed++;
            }
        }
        foreach (var application in Directory.EnumerateDirectories(directory.Logs))
        {
            if (!Directory.EnumerateFileSystemEntries(application).Any())
            {
                Directory.Delete(application);
            }
        }
        return removed;
    }
}
