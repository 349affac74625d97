using System.Globalization;

namespace Yarnish.Status;

/// <summary>Where event logs are: a directory for each application, named after it, below a common one that is kept within bounds.</summary>
internal static class EventLogs
{
    /// <summary>Ending of every file.</summary>
    public const string Extension = ".jsonl.zst";

    /// <summary>Applications kept, and bytes of all of them together; the oldest go first.</summary>
    private const int MaximumApplications = 200;
    private const long MaximumBytes = 4L << 30;

    /// <summary>A log that was written so recently may still be written.</summary>
    private static readonly TimeSpan Untouched = TimeSpan.FromHours(1);

    /// <summary>The common directory when nobody says: <c>~/.yarnish/events</c>.</summary>
    public static string DefaultDirectory => Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".yarnish", "events");

    /// <summary><c>events-000001.jsonl.zst</c>.</summary>
    public static string FileName(int number) => string.Create(CultureInfo.InvariantCulture, $"events-{number:000000}{Extension}");

    /// <summary>Where the log of an application is.</summary>
    public static string DirectoryOf(string common, ApplicationId application) => Path.Combine(common, application.Value);

    /// <summary>The files of a log in their order: those of a directory, or the one file.</summary>
    public static IReadOnlyList<string> FilesOf(string path) => Directory.Exists(path)
        ? [.. Directory.EnumerateFiles(path, "events-*" + Extension).Order(StringComparer.Ordinal)]
        : File.Exists(path) ? [path] : [];

    /// <summary>The logs below a common directory, the newest first.</summary>
    public static IReadOnlyList<(string Path, DateTimeOffset WrittenAt, long Bytes)> Below(string common)
    {
        if (!Directory.Exists(common))
        {
            return [];
        }
        var logs = new List<(string, DateTimeOffset, long)>();
        foreach (var directory in Directory.EnumerateDirectories(common))
        {
            try
            {
                var files = new DirectoryInfo(directory).GetFiles("events-*" + Extension);
                if (files.Length > 0)
                {
                    logs.Add((directory, files.Max(static file => file.LastWriteTimeUtc), files.Sum(static file => file.Length)));
                }
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                // Removed meanwhile, or not ours.
            }
        }
        return [.. logs.OrderByDescending(static log => log.Item2).ThenBy(static log => log.Item1, StringComparer.Ordinal)];
    }

    /// <summary>Removes the oldest logs beyond the bounds. What cannot be removed stays.</summary>
    /// <param name="common">The common directory.</param>
    /// <param name="now">The time.</param>
    /// <param name="maximumApplications">Logs to keep.</param>
    /// <param name="maximumBytes">Bytes to keep.</param>
    public static void Prune(string common, DateTimeOffset now, int maximumApplications = MaximumApplications, long maximumBytes = MaximumBytes)
    {
        var (kept, bytes) = (0, 0L);
        foreach (var log in Below(common))
        {
            if ((kept < maximumApplications && bytes + log.Bytes <= maximumBytes) || now - log.WrittenAt < Untouched)
            {
                kept++;
                bytes += log.Bytes;
                continue;
            }
            try
            {
                foreach (var file in FilesOf(log.Path))
                {
                    File.Delete(file);
                }
                // Only when nothing else is in it.
                Directory.Delete(log.Path);
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                // Somebody else's, or with more in it than a log.
            }
        }
    }
}
