using System.Buffers;
using System.Collections.Immutable;
using System.Security.Cryptography;

namespace Yarnish.ResourceManager.Blobs;

/// <summary>
/// The files of applications by content: a bounded directory where a blob's name is its SHA-256. Drivers upload what is missing, agents fetch it once
/// per node. What is written is verified before it gets its name, what is read is verified while it leaves: a blob that rotted on disk is removed, so
/// that the next <c>missing</c> question has it uploaded again. When the quota is full the least recently used blobs go that no live application
/// names and that nobody touched within the grace time.
/// </summary>
internal sealed class BlobStore
{
    private const int CopyBufferBytes = 128 << 10;
    private const long ReservationStep = 16 << 20;
    private const string IncomingFolder = "incoming";

    private readonly Lock _lock = new();
    private readonly Dictionary<string, Entry> _index = new(StringComparer.Ordinal);
    private readonly string _directory;
    private readonly BlobLimits _limits;
    private readonly TimeProvider _clock;
    private int _uploads;
    private long _storedBytes;
    private long _reservedBytes;
    private long _incoming;

    /// <summary>Opens the store and removes what a crash left half-written.</summary>
    /// <param name="directory">Made when missing.</param>
    /// <param name="limits">Bounds.</param>
    /// <param name="clock">Tells when a blob was used.</param>
    public BlobStore(string directory, BlobLimits limits, TimeProvider clock)
    {
        _directory = directory;
        _limits = limits;
        _clock = clock;
        var incoming = Path.Combine(directory, IncomingFolder);
        if (Directory.Exists(incoming))
        {
            Directory.Delete(incoming, recursive: true);
        }
        Directory.CreateDirectory(incoming);
        foreach (var file in new DirectoryInfo(directory).EnumerateFiles("*", SearchOption.AllDirectories))
        {
            if (IsHash(file.Name))
            {
                _index[file.Name] = new Entry(file.Length, new DateTimeOffset(file.LastWriteTimeUtc, TimeSpan.Zero));
                _storedBytes += file.Length;
            }
        }
    }

    /// <summary>Hashes that live applications name: never evicted. Set by the shell; empty by default.</summary>
    public IReadOnlySet<string> Referenced { get; set; } = ImmutableHashSet<string>.Empty;

    /// <summary>Bytes of all blobs.</summary>
    public long StoredBytes => Interlocked.Read(ref _storedBytes);

    /// <summary>How many blobs there are.</summary>
    public int Count
    {
        get
        {
            lock (_lock)
            {
                return _index.Count;
            }
        }
    }

    /// <summary>Whether this is a lower-case hexadecimal SHA-256: the only form accepted, so that no name can leave the directory.</summary>
    public static bool IsHash(string text) =>
        text.Length == 2 * SHA256.HashSizeInBytes && !text.AsSpan().ContainsAnyExcept(LowerHex);

    private static readonly SearchValues<char> LowerHex = SearchValues.Create("0123456789abcdef");

    /// <summary>Size of the blob, or null when it is not here. Marks it used.</summary>
    public long? Find(string hash)
    {
        lock (_lock)
        {
            return Touch(hash)?.Size;
        }
    }

    /// <summary>Those of <paramref name="hashes"/> that are not here, each once, in the order asked. Marks the others used.</summary>
    public ImmutableArray<string> Missing(IEnumerable<string> hashes)
    {
        lock (_lock)
        {
            return [.. hashes.Distinct(StringComparer.Ordinal).Where(hash => Touch(hash) is null)];
        }
    }

    /// <summary>Takes a blob: reads <paramref name="content"/> to its end, verifies it, and only then gives it its name.</summary>
    /// <param name="hash">The name: a valid hash.</param>
    /// <param name="content">The bytes.</param>
    /// <param name="length">How many there will be, when the sender said.</param>
    /// <param name="cancellation">The sender went away; nothing remains.</param>
    public async Task<BlobAnswer> AddAsync(string hash, Stream content, long? length, CancellationToken cancellation)
    {
        if (length > _limits.MaximumBlobBytes)
        {
            return TooLarge(hash);
        }
        if (Interlocked.Increment(ref _uploads) > _limits.ConcurrentUploads)
        {
            Interlocked.Decrement(ref _uploads);
            return new BlobAnswer(BlobOutcome.Busy, $"{_limits.ConcurrentUploads} uploads are under way already: send this one again in a moment.");
        }
        var reserved = 0L;
        var path = Path.Combine(_directory, IncomingFolder, $"{Interlocked.Increment(ref _incoming)}-{hash}");
        try
        {
            if (length is { } known && !Reserve(known, ref reserved))
            {
                return QuotaFull(hash);
            }
            using var sum = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            var buffer = ArrayPool<byte>.Shared.Rent(CopyBufferBytes);
            var size = 0L;
            try
            {
                await using var file = new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 0, FileOptions.Asynchronous);
                int count;
                while ((count = await content.ReadAsync(buffer, cancellation)) > 0)
                {
                    size += count;
                    if (size > _limits.MaximumBlobBytes)
                    {
                        return TooLarge(hash);
                    }
                    if (size > reserved && !Reserve(ReservationStep, ref reserved))
                    {
                        return QuotaFull(hash);
                    }
                    sum.AppendData(buffer, 0, count);
                    await file.WriteAsync(buffer.AsMemory(0, count), cancellation);
                }
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(buffer);
            }
            var actual = Convert.ToHexStringLower(sum.GetHashAndReset());
            if (actual != hash)
            {
                return new BlobAnswer(BlobOutcome.Corrupt,
                    $"The {size} bytes received for blob {hash} have the SHA-256 {actual}: they were damaged on the way or the name is wrong. Nothing was stored; send them again.");
            }
            return Publish(hash, path, size);
        }
        catch (IOException error) when (IsDiskFull(error))
        {
            return new BlobAnswer(BlobOutcome.DiskFull, $"The disk of the blob store {_directory} is full: blob {hash} was not stored. Free space or lower Yarnish__BlobQuotaBytes.");
        }
        finally
        {
            lock (_lock)
            {
                _reservedBytes -= reserved;
            }
            Delete(path);
            Interlocked.Decrement(ref _uploads);
        }
    }

    /// <summary>Opens a blob for reading, or null when it is not here. The stream stays readable when the blob is evicted meanwhile.</summary>
    public FileStream? Open(string hash)
    {
        lock (_lock)
        {
            if (Touch(hash) is null)
            {
                return null;
            }
        }
        try
        {
            return new FileStream(PathOf(hash), FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0, FileOptions.Asynchronous | FileOptions.SequentialScan);
        }
        catch (IOException)
        {
            // Removed behind our back, by an operator or a cleaner: forget it, so that the next question has it uploaded again.
            Remove(hash);
            return null;
        }
    }

    /// <summary>
    /// Copies an opened blob and verifies it on the way. The last piece is held back until the whole is known to be right, so a receiver that knows the
    /// length never takes a damaged copy for a complete one.
    /// </summary>
    /// <returns>False when the content does not fit its name: the blob is removed and the copy stays incomplete.</returns>
    public async Task<bool> CopyAsync(string hash, FileStream from, Stream to, CancellationToken cancellation)
    {
        using var sum = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var held = ArrayPool<byte>.Shared.Rent(CopyBufferBytes);
        var next = ArrayPool<byte>.Shared.Rent(CopyBufferBytes);
        try
        {
            var heldCount = 0;
            int count;
            while ((count = await from.ReadAsync(next, cancellation)) > 0)
            {
                sum.AppendData(next, 0, count);
                await to.WriteAsync(held.AsMemory(0, heldCount), cancellation);
                (held, next, heldCount) = (next, held, count);
            }
            if (Convert.ToHexStringLower(sum.GetHashAndReset()) != hash)
            {
                Remove(hash);
                return false;
            }
            await to.WriteAsync(held.AsMemory(0, heldCount), cancellation);
            return true;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(held);
            ArrayPool<byte>.Shared.Return(next);
        }
    }

    private BlobAnswer Publish(string hash, string path, long size)
    {
        var target = PathOf(hash);
        Directory.CreateDirectory(Path.GetDirectoryName(target)!);
        lock (_lock)
        {
            var known = _index.TryGetValue(hash, out var entry);
            File.Move(path, target, overwrite: true);
            _storedBytes += size - (known ? entry!.Size : 0);
            _index[hash] = new Entry(size, _clock.GetUtcNow());
            return new BlobAnswer(known ? BlobOutcome.Present : BlobOutcome.Stored, "");
        }
    }

    private Entry? Touch(string hash)
    {
        if (!_index.TryGetValue(hash, out var entry))
        {
            return null;
        }
        var now = _clock.GetUtcNow();
        if (now - entry.Used > TimeSpan.FromMinutes(1))
        {
            // The file's time carries the use over a restart; once a minute is precise enough.
            try
            {
                File.SetLastWriteTimeUtc(PathOf(hash), now.UtcDateTime);
            }
            catch (IOException)
            {
                return Forget(hash);
            }
        }
        return _index[hash] = entry with { Used = now };
    }

    private bool Reserve(long bytes, ref long reserved)
    {
        lock (_lock)
        {
            var over = _storedBytes + _reservedBytes + bytes - _limits.QuotaBytes;
            if (over > 0 && !Evict(over))
            {
                return false;
            }
            _reservedBytes += bytes;
            reserved += bytes;
            return true;
        }
    }

    private bool Evict(long bytes)
    {
        var referenced = Referenced;
        var before = _clock.GetUtcNow() - _limits.Grace;
        var candidates = _index.Where(pair => pair.Value.Used < before && !referenced.Contains(pair.Key)).OrderBy(pair => pair.Value.Used).ToList();
        if (candidates.Sum(pair => pair.Value.Size) < bytes)
        {
            return false;
        }
        foreach (var (hash, entry) in candidates)
        {
            if (bytes <= 0)
            {
                break;
            }
            Delete(PathOf(hash));
            Forget(hash);
            bytes -= entry.Size;
        }
        return true;
    }

    private void Remove(string hash)
    {
        lock (_lock)
        {
            Forget(hash);
            Delete(PathOf(hash));
        }
    }

    private Entry? Forget(string hash)
    {
        if (_index.Remove(hash, out var entry))
        {
            _storedBytes -= entry.Size;
        }
        return null;
    }

    private static void Delete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (DirectoryNotFoundException)
        {
            // An operator removed the folder: gone is what was wanted.
        }
    }

    private string PathOf(string hash) => Path.Combine(_directory, hash[..2], hash);

    private BlobAnswer TooLarge(string hash) => new(BlobOutcome.TooLarge,
        $"Blob {hash} is larger than {_limits.MaximumBlobBytes} bytes, the largest this cluster takes. Raise Yarnish__MaximumBlobBytes at the resource manager, or leave the file out of the application's output.");

    private BlobAnswer QuotaFull(string hash) => new(BlobOutcome.QuotaFull,
        $"There is no room for blob {hash}: the store holds {StoredBytes} of {_limits.QuotaBytes} bytes, and the rest belongs to live applications or was used within the last {_limits.Grace.TotalMinutes:0} minutes. Raise Yarnish__BlobQuotaBytes at the resource manager or end applications.");

    private static bool IsDiskFull(IOException error) => error.HResult is 28 or 122 or unchecked((int)0x80070070) or unchecked((int)0x80070027);

    private sealed record Entry(long Size, DateTimeOffset Used);
}

/// <summary>The bounds of a blob store.</summary>
/// <param name="QuotaBytes">Bytes of all blobs.</param>
/// <param name="MaximumBlobBytes">Bytes of one.</param>
/// <param name="ConcurrentUploads">Uploads at a time; more are told to come back.</param>
/// <param name="Grace">How long after its last use a blob is kept whatever the quota says.</param>
internal sealed record BlobLimits(long QuotaBytes, long MaximumBlobBytes, int ConcurrentUploads, TimeSpan Grace);

/// <summary>How an upload ended.</summary>
/// <param name="Outcome">For programs.</param>
/// <param name="Message">For people; empty when it was stored.</param>
internal readonly record struct BlobAnswer(BlobOutcome Outcome, string Message);

/// <summary>Ends of an upload.</summary>
internal enum BlobOutcome
{
    /// <summary>New here.</summary>
    Stored,

    /// <summary>Was here already; the same bytes were received again.</summary>
    Present,

    /// <summary>The bytes do not fit the name.</summary>
    Corrupt,

    /// <summary>Larger than one blob may be.</summary>
    TooLarge,

    /// <summary>The quota is used up by blobs that must stay.</summary>
    QuotaFull,

    /// <summary>The disk is full.</summary>
    DiskFull,

    /// <summary>Too many uploads at a time.</summary>
    Busy,
}
