using Yarnish.NodeAgent.Processes;
using Yarnish.Protocol;

namespace Yarnish.NodeAgent.Files;

/// <summary>Puts the files of a launch into a container's working directory: hard links into the cache, or copies where the file system cannot link.</summary>
internal sealed class FilePlacer(BlobCache cache)
{
    /// <summary>Most files of one container.</summary>
    public const int MaximumFiles = 20_000;

    /// <summary>Places all files under a fresh <paramref name="directory"/>.</summary>
    /// <exception cref="BlobException">A path or hash is not acceptable, or a file cannot be had.</exception>
    public async Task PlaceAsync(LaunchContainer launch, string directory, IReadOnlyList<string> sources, CancellationToken cancellation)
    {
        var files = launch.Launch.Files.IsDefault ? [] : launch.Launch.Files;
        Check(files);
        if (Directory.Exists(directory))
        {
            Directory.Delete(directory, recursive: true);
        }
        Directory.CreateDirectory(directory);
        foreach (var folder in files.Select(file => Path.GetDirectoryName(file.Path)).Where(folder => !string.IsNullOrEmpty(folder)).Distinct())
        {
            Directory.CreateDirectory(Path.Combine(directory, folder!));
        }
        // Each is quick when cached; the cache itself bounds how many are fetched at a time.
        await Parallel.ForEachAsync(files, new ParallelOptions { MaxDegreeOfParallelism = 8, CancellationToken = cancellation }, async (file, stop) =>
        {
            var cached = await cache.HoldAsync(launch.ContainerId, file.Sha256, file.Size, sources, stop);
            Place(cached, Path.Combine(directory, file.Path), file.Executable);
        });
    }

    /// <summary>Refuses what would leave the working directory or could not be a cache entry, before anything is touched.</summary>
    internal static void Check(IReadOnlyCollection<LaunchFile> files)
    {
        if (files.Count > MaximumFiles)
        {
            throw new BlobException($"The launch command lists {files.Count} files; the most is {MaximumFiles}. Pack them.");
        }
        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach (var file in files)
        {
            if (file is null || !Blob.IsHash(file.Sha256) || file.Size < 0)
            {
                throw new BlobException($"File '{file?.Path}' has no valid SHA-256 and size: 64 lower-case hexadecimal digits and bytes are wanted, found '{file?.Sha256}' and {file?.Size}.");
            }
            if (!IsInside(file.Path))
            {
                throw new BlobException($"File path '{file.Path}' is refused: it must be relative, with forward slashes, and stay in the working directory.");
            }
            if (!seen.Add(file.Path))
            {
                throw new BlobException($"File path '{file.Path}' is listed twice.");
            }
        }
    }

    private static bool IsInside(string? path) =>
        !string.IsNullOrEmpty(path)
        && path.Length <= 1024
        && !path.Contains('\\')
        && !path.Any(char.IsControl)
        && path.Split('/').All(part => part is not ("" or "." or ".."));

    private static void Place(string cached, string path, bool executable)
    {
        if (executable && !File.GetUnixFileMode(cached).HasFlag(UnixFileMode.UserExecute))
        {
            // The bits belong to the content, which all its names share: once somebody runs it, it is executable for all.
            File.SetUnixFileMode(cached, File.GetUnixFileMode(cached) | UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute);
        }
        var error = NativeMethods.HardLink(cached, path);
        if (error == 0)
        {
            return;
        }
        if (NativeMethods.IsTaken(error))
        {
            throw new BlobException($"'{path}' is both a file and a folder in the list of files.");
        }
        // Another device, too many links, or a file system without links.
        File.Copy(cached, path);
    }
}
