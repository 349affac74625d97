using System.Security.Cryptography;
using System.Text;
using Xunit;
using Yarnish.ResourceManager.Blobs;

namespace Yarnish.Tests.ResourceManager;

public sealed class BlobStoreTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("yarnish-blobs-").FullName;
    private readonly TestClock _clock = new();

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public async Task What_was_stored_comes_back_byte_for_byte_also_after_a_restart()
    {
        var (hash, content) = Blob("hello");
        Assert.Equal(BlobOutcome.Stored, (await Add(Store(), hash, content)).Outcome);

        var reopened = Store();
        Assert.Equal(content.Length, reopened.Find(hash));
        Assert.Equal(content, await Read(reopened, hash));
        Assert.Equal(content.Length, reopened.StoredBytes);
    }

    [Fact]
    public async Task Bytes_that_do_not_fit_the_name_leave_nothing_behind()
    {
        var (hash, _) = Blob("hello");
        var store = Store();

        var answer = await Add(store, hash, Encoding.UTF8.GetBytes("hellO"));

        Assert.Equal(BlobOutcome.Corrupt, answer.Outcome);
        Assert.Contains(hash, answer.Message, StringComparison.Ordinal);
        Assert.Null(store.Find(hash));
        Assert.Empty(Directory.EnumerateFiles(_directory, "*", SearchOption.AllDirectories));
    }

    [Fact]
    public async Task A_sender_that_goes_away_leaves_nothing_behind()
    {
        var (hash, content) = Blob("hello");
        var store = Store();

        await Assert.ThrowsAsync<IOException>(() => store.AddAsync(hash, new BreakingStream(content, 3), content.Length, TestContext.Current.CancellationToken));

        Assert.Null(store.Find(hash));
        Assert.Empty(Directory.EnumerateFiles(_directory, "*", SearchOption.AllDirectories));
        Assert.Equal(BlobOutcome.Stored, (await Add(store, hash, content)).Outcome);
    }

    [Fact]
    public async Task Half_written_files_of_a_crash_are_removed_at_start()
    {
        Directory.CreateDirectory(Path.Combine(_directory, "incoming"));
        await File.WriteAllTextAsync(Path.Combine(_directory, "incoming", "1-" + Blob("x").Hash), "half", TestContext.Current.CancellationToken);

        Assert.Equal(0, Store().Count);
        Assert.Empty(Directory.EnumerateFiles(_directory, "*", SearchOption.AllDirectories));
    }

    [Fact]
    public async Task A_blob_that_rotted_on_disk_is_found_while_reading_and_asked_for_again()
    {
        var (hash, content) = Blob("hello");
        var store = Store();
        await Add(store, hash, content);
        await File.WriteAllTextAsync(Path.Combine(_directory, hash[..2], hash), "jello", TestContext.Current.CancellationToken);

        await using var file = store.Open(hash)!;
        var copy = new MemoryStream();
        Assert.False(await store.CopyAsync(hash, file, copy, TestContext.Current.CancellationToken));
        Assert.True(copy.Length < content.Length);
        Assert.Equal([hash], store.Missing([hash]));
    }

    [Fact]
    public async Task A_file_removed_by_an_operator_is_missing_not_an_error()
    {
        var (hash, content) = Blob("hello");
        var store = Store();
        await Add(store, hash, content);
        Directory.Delete(Path.Combine(_directory, hash[..2]), recursive: true);

        Assert.Null(store.Open(hash));
        Assert.Equal([hash], store.Missing([hash]));
        Assert.Equal(0, store.StoredBytes);
    }

    [Fact]
    public async Task A_full_store_drops_the_least_recently_used_blob_that_nobody_needs()
    {
        var store = Store(quota: 30);
        var (a, b, c, d) = (Blob("aaaaaaaaaa"), Blob("bbbbbbbbbb"), Blob("cccccccccc"), Blob("dddddddddd"));
        foreach (var (hash, content) in (IEnumerable<(string, byte[])>)[a, b, c])
        {
            await Add(store, hash, content);
            _clock.Advance(TimeSpan.FromSeconds(1));
        }
        store.Referenced = new HashSet<string> { a.Hash };
        _clock.Advance(TimeSpan.FromHours(1));

        Assert.Equal(BlobOutcome.Stored, (await Add(store, d.Hash, d.Content)).Outcome);

        Assert.Equal([b.Hash], store.Missing([a.Hash, b.Hash, c.Hash, d.Hash]));
        Assert.Equal(30, store.StoredBytes);
    }

    [Fact]
    public async Task A_full_store_of_needed_blobs_refuses_and_keeps_them()
    {
        var store = Store(quota: 20);
        var (a, b, c) = (Blob("aaaaaaaaaa"), Blob("bbbbbbbbbb"), Blob("cccccccccc"));
        await Add(store, a.Hash, a.Content);
        await Add(store, b.Hash, b.Content);
        store.Referenced = new HashSet<string> { a.Hash };

        Assert.Equal(BlobOutcome.QuotaFull, (await Add(store, c.Hash, c.Content)).Outcome);
        Assert.Equal([c.Hash], store.Missing([a.Hash, b.Hash, c.Hash]));
    }

    [Fact]
    public async Task Too_large_is_refused_with_and_without_a_declared_length()
    {
        var store = Store(maximum: 4);
        var (hash, content) = Blob("hello");

        Assert.Equal(BlobOutcome.TooLarge, (await Add(store, hash, content)).Outcome);
        Assert.Equal(BlobOutcome.TooLarge, (await store.AddAsync(hash, new MemoryStream(content), null, TestContext.Current.CancellationToken)).Outcome);
        Assert.Empty(Directory.EnumerateFiles(_directory, "*", SearchOption.AllDirectories));
    }

    [Fact]
    public async Task More_uploads_than_allowed_are_told_to_come_back()
    {
        var store = Store(uploads: 1);
        var gate = new GatedStream();
        var (hash, content) = Blob("hello");
        var first = store.AddAsync(hash, gate, null, TestContext.Current.CancellationToken);

        Assert.Equal(BlobOutcome.Busy, (await Add(store, hash, content)).Outcome);
        gate.End();
        Assert.Equal(BlobOutcome.Corrupt, (await first).Outcome);
        Assert.Equal(BlobOutcome.Stored, (await Add(store, hash, content)).Outcome);
    }

    [Fact]
    public async Task The_same_blob_sent_by_many_at_once_is_stored_once()
    {
        var store = Store(quota: 64 << 20, uploads: 64);
        var (hash, content) = Blob(new string('x', 300_000));

        var answers = await Task.WhenAll(Enumerable.Range(0, 16).Select(_ => Add(store, hash, content)));

        Assert.Equal(1, answers.Count(answer => answer.Outcome == BlobOutcome.Stored));
        Assert.Equal(15, answers.Count(answer => answer.Outcome == BlobOutcome.Present));
        Assert.Equal(content.Length, store.StoredBytes);
        Assert.Equal(content, await Read(store, hash));
    }

    [Theory]
    [InlineData("")]
    [InlineData("../../etc/passwd")]
    [InlineData("2CF24DBA5FB0A30E26E83B2AC5B9E29E1B161E5C1FA7425E73043362938B9824")]
    [InlineData("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b982")]
    public void Only_lower_case_sha256_is_a_name(string text) => Assert.False(BlobStore.IsHash(text));

    private BlobStore Store(long quota = 1 << 20, long maximum = 1 << 20, int uploads = 4) =>
        new(_directory, new BlobLimits(quota, maximum, uploads, TimeSpan.FromMinutes(10)), _clock);

    private static (string Hash, byte[] Content) Blob(string text)
    {
        var content = Encoding.UTF8.GetBytes(text);
        return (Convert.ToHexStringLower(SHA256.HashData(content)), content);
    }

    private static Task<BlobAnswer> Add(BlobStore store, string hash, byte[] content) =>
        store.AddAsync(hash, new MemoryStream(content), content.Length, TestContext.Current.CancellationToken);

    private static async Task<byte[]> Read(BlobStore store, string hash)
    {
        await using var file = store.Open(hash)!;
        var copy = new MemoryStream();
        Assert.True(await store.CopyAsync(hash, file, copy, TestContext.Current.CancellationToken));
        return copy.ToArray();
    }

    private sealed class BreakingStream(byte[] content, int after) : MemoryStream(content)
    {
        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            Position < after ? base.ReadAsync(buffer[..Math.Min(buffer.Length, after)], cancellationToken) : throw new IOException("The connection was reset.");
    }

    private sealed class GatedStream : MemoryStream
    {
        private readonly TaskCompletionSource _end = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public void End() => _end.SetResult();

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            await _end.Task;
            return 0;
        }
    }
}
