using System.Security.Cryptography;
using Yarnish.Protocol;

namespace Yarnish.NodeAgent.Files;

/// <summary>
/// The files of a node by SHA-256, shared by all its containers. What a container uses is never evicted; of the rest the longest unused goes first when
/// the bound is passed. A file is fetched once however many ask at the same time.
/// </summary>
/// <remarks>
/// A verified file carries a fixed modification time as a seal. Writing to it, also through a hard link in a container's directory, breaks the seal;
/// it is then hashed again before its next use, and dropped when it is not what its name says. So a warm launch hashes nothing and corruption never spreads.
/// </remarks>
internal sealed class BlobCache : IDisposable
{
    private static readonly DateTime Seal = new(2001, 1, 1, 0, 0, 0, DateTimeKind.Utc);

    private readonly string _directory;
    private readonly string _parts;
    private readonly long _maximumBytes;
    private readonly BlobFetcher _fetcher;
    private readonly ILogger<BlobCache> _logger;
    private readonly SemaphoreSlim _fetches;
    private readonly CancellationTokenSource _lifetime = new();
    private readonly Lock _gate = new();
    private readonly Dictionary<string, Entry> _entries = [];
    private readonly Dictionary<string, Task> _flights = [];
    private readonly Dictionary<ContainerId, HashSet<string>> _uses = [];
    private long _bytes;
    private long _uses_clock;
    private long _parts_made;
    private bool _saidOverfull;

    /// <summary>Opens the cache and takes stock of what is there.</summary>
    /// <param name="directory">Its directory.</param>
    /// <param name="maximumBytes">Bound on the files not in use.</param>
    /// <param name="parallelFetches">How many files are fetched at a time.</param>
    /// <param name="fetcher">Fetches what is missing.</param>
    /// <param name="logger">Where evictions and corruption are told.</param>
    public BlobCache(string directory, long maximumBytes, int parallelFetches, BlobFetcher fetcher, ILogger<BlobCache> logger)
    {
        _directory = directory;
        _parts = Path.Combine(directory, "part");
        _maximumBytes = maximumBytes;
        _fetches = new SemaphoreSlim(parallelFetches);
        _fetcher = fetcher;
        _logger = logger;
        if (Directory.Exists(_parts))
        {
            Directory.Delete(_parts, recursive: true);
        }
        Directory.CreateDirectory(_parts);
        // Access times were set at each use (see Use), so the order of use survives a restart.
        foreach (var file in new DirectoryInfo(directory).EnumerateFiles("*", SearchOption.AllDirectories).Where(file => Blob.IsHash(file.Name)).OrderBy(file => file.LastAccessTimeUtc))
        {
            _entries[file.Name] = new Entry(file.Length) { LastUse = ++_uses_clock };
            _bytes += file.Length;
        }
    }

    /// <summary>Bytes held.</summary>
    public long Bytes
    {
        get
        {
            lock (_gate)
            {
                return _bytes;
            }
        }
    }

    /// <summary>Files held.</summary>
    public int Count
    {
        get
        {
            lock (_gate)
            {
                return _entries.Count;
            }
        }
    }

    /// <summary>Files fetched since the start.</summary>
    public long Fetched { get; private set; }

    /// <summary>How many containers use a file, for tests.</summary>
    internal int UsesOf(string sha256)
    {
        lock (_gate)
        {
            return _entries.TryGetValue(sha256, out var entry) ? entry.Uses : 0;
        }
    }

    /// <summary>Makes sure that a file is in the cache, holds it for a container and returns its path.</summary>
    /// <param name="container">Who uses it, until <see cref="Release"/>.</param>
    /// <param name="sha256">Its hash.</param>
    /// <param name="size">Its size in bytes as announced.</param>
    /// <param name="sources">Where it may be fetched.</param>
    /// <param name="cancellation">Gives up waiting; a fetch that others wait for goes on.</param>
    /// <exception cref="BlobException">It cannot be had.</exception>
    public async Task<string> HoldAsync(ContainerId container, string sha256, long size, IReadOnlyList<string> sources, CancellationToken cancellation)
    {
        Hold(container, sha256);
        var path = PathOf(sha256);
        for (var attempt = 0; ; attempt++)
        {
            Task flight;
            var mine = false;
            lock (_gate)
            {
                if (!_flights.TryGetValue(sha256, out flight!))
                {
                    mine = true;
                    // The fetch is nobody's own: who waits for it may leave without harm to the others.
                    flight = Task.Run(() => EnsureAsync(sha256, size, sources), CancellationToken.None);
                    _flights.Add(sha256, flight);
                    _ = flight.ContinueWith(
                        done =>
                        {
                            _ = done.Exception;
                            lock (_gate)
                            {
                                _flights.Remove(sha256);
                            }
                        },
                        CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
                }
            }
            try
            {
                await flight.WaitAsync(cancellation);
                return path;
            }
            catch (BlobException) when (!mine && attempt == 0)
            {
                // Another launch, perhaps with other sources, failed: once more with ours.
            }
        }
    }

    /// <summary>Counts the files of an adopted container as used.</summary>
    public void Adopt(ContainerId container, IEnumerable<string> hashes)
    {
        foreach (var hash in hashes)
        {
            if (Blob.IsHash(hash))
            {
                Hold(container, hash);
            }
        }
    }

    /// <summary>A container is over: its files may be evicted, as far as nobody else uses them.</summary>
    public void Release(ContainerId container)
    {
        lock (_gate)
        {
            if (!_uses.Remove(container, out var hashes))
            {
                return;
            }
            foreach (var hash in hashes)
            {
                if (_entries.TryGetValue(hash, out var entry))
                {
                    entry.Uses--;
                }
            }
            Evict();
        }
    }

    /// <summary>Opens a file for a peer; null when it is not here or no longer sealed.</summary>
    public FileStream? OpenRead(string sha256)
    {
        if (!Blob.IsHash(sha256))
        {
            return null;
        }
        try
        {
            var path = PathOf(sha256);
            var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, bufferSize: 0);
            if (File.GetLastWriteTimeUtc(file.SafeFileHandle) == Seal)
            {
                return file;
            }
            file.Dispose();
        }
        catch (Exception error) when (error is FileNotFoundException or DirectoryNotFoundException)
        {
            // Not here.
        }
        return null;
    }

    /// <summary>Where a file is, or would be.</summary>
    public string PathOf(string sha256) => Path.Combine(_directory, sha256[..2], sha256);

    /// <inheritdoc/>
    public void Dispose()
    {
        _lifetime.Cancel();
        _lifetime.Dispose();
        _fetches.Dispose();
    }

    private void Hold(ContainerId container, string sha256)
    {
        lock (_gate)
        {
            if (!_uses.TryGetValue(container, out var hashes))
            {
                _uses.Add(container, hashes = []);
            }
            if (hashes.Add(sha256) && _entries.TryGetValue(sha256, out var entry))
            {
                entry.Uses++;
            }
        }
    }

    private async Task EnsureAsync(string sha256, long size, IReadOnlyList<string> sources)
    {
        var path = PathOf(sha256);
        if (IsIntact(path, sha256, size))
        {
            File.SetLastAccessTimeUtc(path, DateTime.UtcNow);
            Use(sha256, size);
            return;
        }
        await _fetches.WaitAsync(_lifetime.Token);
        var part = Path.Combine(_parts, $"{sha256}.{Interlocked.Increment(ref _parts_made)}");
        try
        {
            await _fetcher.FetchAsync(sha256, size, sources, part, _lifetime.Token);
            // Readable and executable, never writable: all names of the file share these bits.
            File.SetUnixFileMode(part, UnixFileMode.UserRead | UnixFileMode.GroupRead | UnixFileMode.OtherRead);
            File.SetLastWriteTimeUtc(part, Seal);
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.Move(part, path, overwrite: true);
            Use(sha256, size);
            Fetched++;
        }
        finally
        {
            File.Delete(part);
            _fetches.Release();
        }
    }

    private bool IsIntact(string path, string sha256, long size)
    {
        var file = new FileInfo(path);
        if (!file.Exists)
        {
            return false;
        }
        if (file.LastWriteTimeUtc == Seal && file.Length == size)
        {
            return true;
        }
        string found;
        using (var stream = file.OpenRead())
        {
            found = Convert.ToHexStringLower(SHA256.HashData(stream));
        }
        if (found == sha256 && file.Length == size)
        {
            File.SetLastWriteTimeUtc(path, Seal);
            return true;
        }
        if (found == sha256)
        {
            throw new BlobException($"File {sha256} has {file.Length} bytes, but the launch command announced {size}: the list of files does not fit its contents");
        }
        _logger.LogWarning("The cached file {Path} was changed and is no longer what its name says; it is dropped and fetched again.", path);
        file.Delete();
        lock (_gate)
        {
            if (_entries.Remove(sha256, out var entry))
            {
                _bytes -= entry.Size;
            }
        }
        return false;
    }

    private void Use(string sha256, long size)
    {
        lock (_gate)
        {
            if (!_entries.TryGetValue(sha256, out var entry))
            {
                _entries.Add(sha256, entry = new Entry(size) { Uses = _uses.Values.Count(hashes => hashes.Contains(sha256)) });
                _bytes += size;
            }
            entry.LastUse = ++_uses_clock;
            Evict();
        }
    }

    // Under the gate.
    private void Evict()
    {
        if (_bytes <= _maximumBytes)
        {
            return;
        }
        foreach (var (hash, entry) in _entries.Where(pair => pair.Value.Uses == 0 && !_flights.ContainsKey(pair.Key)).OrderBy(pair => pair.Value.LastUse).ToList())
        {
            if (_bytes <= _maximumBytes)
            {
                return;
            }
            File.Delete(PathOf(hash));
            _entries.Remove(hash);
            _bytes -= entry.Size;
            _logger.LogInformation("Evicted {Blob} ({Bytes} bytes) from the cache.", hash, entry.Size);
        }
        if (_bytes > _maximumBytes && !_saidOverfull)
        {
            _saidOverfull = true;
            _logger.LogWarning(
                "The file cache holds {Bytes} bytes, more than its bound of {Maximum} (CacheBytes), and all of it is in use by running containers.", _bytes, _maximumBytes);
        }
    }

    private sealed class Entry(long size)
    {
        public long Size { get; } = size;

        public int Uses { get; set; }

        public long LastUse { get; set; }
    }
}
