using System.Globalization;
using System.Security.Cryptography;

namespace Yarnish.Cluster;

/// <summary>
/// Remembers the SHA-256 of files by path, size and time of last change, over runs of all programs of a user, so that a start does not read a hundred megabytes again.
/// A damaged, missing or unwritable cache only costs time.
/// </summary>
internal sealed class HashCache
{
    private const int MaximumEntries = 50_000;

    /// <summary>A file changed within this time of being hashed may change again without a new time stamp: its hash is not kept (git calls such entries racy).</summary>
    private static readonly TimeSpan Settled = TimeSpan.FromSeconds(2);

    private readonly string path;
    private readonly Dictionary<string, Entry> entries;
    private bool changed;

    private HashCache(string path, Dictionary<string, Entry> entries)
    {
        this.path = path;
        this.entries = entries;
    }

    /// <summary>In the user's cache folder; readable by the user alone.</summary>
    public static string DefaultPath => Path.Combine(
        Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } folder ? folder
            : Environment.GetFolderPath(Environment.SpecialFolder.UserProfile) is { Length: > 0 } home ? Path.Combine(home, ".cache") : Path.GetTempPath(),
        "yarnish",
        "file-hashes");

    /// <summary>Reads the cache at a path; an unreadable one is empty.</summary>
    public static HashCache Open(string path)
    {
        var entries = new Dictionary<string, Entry>(StringComparer.Ordinal);
        try
        {
            if (File.Exists(path))
            {
                foreach (var line in File.ReadLines(path).Take(MaximumEntries))
                {
                    var parts = line.Split(' ', 4);
                    if (parts.Length == 4 && parts[0].Length == 64 && parts[0].All(char.IsAsciiHexDigitLower)
                        && long.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out var size)
                        && long.TryParse(parts[2], NumberStyles.None, CultureInfo.InvariantCulture, out var ticks))
                    {
                        entries[parts[3]] = new Entry(parts[0], size, ticks);
                    }
                }
            }
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            entries.Clear();
        }
        return new HashCache(path, entries);
    }

    /// <summary>The lower-case hexadecimal SHA-256 of a file's content.</summary>
    public string Of(FileInfo file)
    {
        var ticks = file.LastWriteTimeUtc.Ticks;
        if (entries.TryGetValue(file.FullName, out var known) && known.Size == file.Length && known.Ticks == ticks)
        {
            return known.Sha256;
        }
        using var content = file.Open(new FileStreamOptions { Options = FileOptions.SequentialScan, BufferSize = 0, Share = FileShare.ReadWrite | FileShare.Delete });
        var sha256 = Convert.ToHexStringLower(SHA256.HashData(content));
        if (DateTime.UtcNow - file.LastWriteTimeUtc > Settled && !file.FullName.Contains('\n', StringComparison.Ordinal))
        {
            entries[file.FullName] = new Entry(sha256, file.Length, ticks);
            changed = true;
        }
        return sha256;
    }

    /// <summary>Writes the cache when it changed; failing to is no error.</summary>
    public void Save()
    {
        if (!changed)
        {
            return;
        }
        var temporary = $"{path}.{Environment.ProcessId}";
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            var options = new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write };
            if (!OperatingSystem.IsWindows())
            {
                options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
            }
            using (var writer = new StreamWriter(temporary, options))
            {
                // Newest paths last; a cache that grew too large forgets what was there first.
                foreach (var (file, entry) in entries.Skip(Math.Max(0, entries.Count - MaximumEntries)))
                {
                    writer.Write(string.Create(CultureInfo.InvariantCulture, $"{entry.Sha256} {entry.Size} {entry.Ticks} {file}\n"));
                }
            }
            File.Move(temporary, path, overwrite: true);
            changed = false;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            TryDelete(temporary);
        }
    }

    private static void TryDelete(string file)
    {
        try
        {
            File.Delete(file);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // A leftover of a few kilobytes in a cache folder harms nobody.
        }
    }

    private readonly record struct Entry(string Sha256, long Size, long Ticks);
}
