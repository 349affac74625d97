namespace Yarnish.Embedded;

/// <summary>
/// A block directory for the life of one embedded session. A lock file that only its owner can hold tells the directories of living processes from those that a crash has left behind; the
/// latter are removed when the next session takes one.
/// </summary>
internal sealed class BlockDirectoryLease : IDisposable
{
    private const string LockFile = ".lock";

    private readonly FileStream held;

    private BlockDirectoryLease(string path, FileStream held)
    {
        Path = path;
        this.held = held;
    }

    /// <summary>The directory.</summary>
    public string Path { get; }

    /// <summary>Takes a new directory under a parent, and cleans up there in the background.</summary>
    /// <param name="parent">Null for <c>yarnish-USER</c> in the temporary folder.</param>
    public static BlockDirectoryLease Take(string? parent = null)
    {
        parent ??= System.IO.Path.Combine(System.IO.Path.GetTempPath(), "yarnish-" + Environment.UserName);
        CreatePrivate(parent);
        var path = System.IO.Path.Combine(parent, $"embedded-{Environment.ProcessId}-{Guid.NewGuid():N}");
        CreatePrivate(path);
        var held = new FileStream(System.IO.Path.Combine(path, LockFile), FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None);
        var lease = new BlockDirectoryLease(path, held);
        _ = Task.Run(() => RemoveStale(parent));
        return lease;
    }

    /// <summary>Removes the directory.</summary>
    public void Dispose()
    {
        held.Dispose();
        Remove(Path);
    }

    /// <summary>Removes the directories whose owners are gone.</summary>
    internal static void RemoveStale(string parent)
    {
        try
        {
            foreach (var directory in Directory.EnumerateDirectories(parent, "embedded-*"))
            {
                var file = System.IO.Path.Combine(directory, LockFile);
                try
                {
                    if (!File.Exists(file))
                    {
                        // Just being made, or half removed: by its age one can tell.
                        if (DateTime.UtcNow - Directory.GetLastWriteTimeUtc(directory) < TimeSpan.FromMinutes(10))
                        {
                            continue;
                        }
                    }
                    else
                    {
                        using var taken = new FileStream(file, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
                    }
                    Remove(directory);
                }
                catch (Exception error) when (error is IOException or UnauthorizedAccessException)
                {
                    // Its owner lives.
                }
            }
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // Cleaning up after others is a courtesy.
        }
    }

    private static void CreatePrivate(string path)
    {
        if (OperatingSystem.IsWindows())
        {
            Directory.CreateDirectory(path);
        }
        else
        {
            Directory.CreateDirectory(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }
    }

    private static void Remove(string path)
    {
        try
        {
            Directory.Delete(path, recursive: true);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // What stays is removed by a later session.
        }
    }
}
