using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;

namespace Yarnish.NodeAgent.Files;

/// <summary>Fetches one file by hash from the first source that has it, and verifies it while it streams to disk.</summary>
internal sealed class BlobFetcher(HttpClient http, string token, TimeProvider clock, ILogger<BlobFetcher> logger)
{
    /// <summary>How often the whole list of sources is tried.</summary>
    public const int Rounds = 3;

    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(250);

    // A source that sends nothing for so long has gone; a big file on a slow line may take as long as it likes.
    private static readonly TimeSpan Silence = TimeSpan.FromSeconds(30);

    /// <summary>Writes the file to <paramref name="path"/>, which must not exist.</summary>
    /// <param name="sha256">Its hash.</param>
    /// <param name="size">Its size in bytes as announced.</param>
    /// <param name="sources">Base URLs in order of preference.</param>
    /// <param name="path">Where to.</param>
    /// <param name="cancellation">Gives up.</param>
    /// <exception cref="BlobException">No source gave the right content.</exception>
    public async Task FetchAsync(string sha256, long size, IReadOnlyList<string> sources, string path, CancellationToken cancellation)
    {
        var failures = new List<string>();
        for (var round = 0; round < Rounds; round++)
        {
            if (round > 0)
            {
                await Task.Delay(FirstPause * (1 << (round - 1)), clock, cancellation);
            }
            failures.Clear();
            var passing = false;
            foreach (var source in sources)
            {
                try
                {
                    await FetchFromAsync(Address(source, sha256), sha256, size, path, cancellation);
                    return;
                }
                catch (BlobException error)
                {
                    failures.Add(error.Message);
                }
                catch (Exception error) when (error is HttpRequestException or HttpIOException or TimeoutException)
                {
                    passing = true;
                    failures.Add($"{Address(source, sha256)}: {error.Message}");
                }
                logger.LogDebug("Fetching {Blob} failed: {Failure}", sha256, failures[^1]);
            }
            if (!passing)
            {
                break;
            }
        }
        throw new BlobException(failures.Count == 0
            ? $"File {sha256} is not in the cache of this node and the launch command names no source for it. Upload it to the resource manager first."
            : $"File {sha256} could not be fetched: {string.Join("; ", failures)}.");
    }

    /// <summary>Where a source has a file. A base URL of a resource manager or an agent is enough; a longer path is taken as the folder of files.</summary>
    internal static string Address(string source, string sha256)
    {
        var trimmed = source.TrimEnd('/');
        return Uri.TryCreate(trimmed, UriKind.Absolute, out var uri) && uri.AbsolutePath.Length > 1 ? $"{trimmed}/{sha256}" : $"{trimmed}/api/v1/blobs/{sha256}";
    }

    private async Task FetchFromAsync(string address, string sha256, long size, string path, CancellationToken cancellation)
    {
        if (!Uri.TryCreate(address, UriKind.Absolute, out var uri) || uri.Scheme is not ("http" or "https"))
        {
            throw new BlobException($"'{address}' is not an http address");
        }
        using var silence = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        try
        {
            silence.CancelAfter(Silence);
            using var request = new HttpRequestMessage(HttpMethod.Get, uri);
            if (token.Length > 0)
            {
                request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
            }
            using var response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, silence.Token);
            if (!response.IsSuccessStatusCode)
            {
                var answer = $"{address} answered {(int)response.StatusCode}";
                throw response.StatusCode switch
                {
                    HttpStatusCode.NotFound => new BlobException($"{answer}: it does not have the file"),
                    HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden => new BlobException($"{answer}: the cluster secret of this agent is not accepted there"),
                    >= HttpStatusCode.InternalServerError or HttpStatusCode.TooManyRequests => new HttpRequestException($"it answered {(int)response.StatusCode}"),
                    _ => new BlobException(answer),
                };
            }
            await using var body = await response.Content.ReadAsStreamAsync(silence.Token);
            await SaveAsync(body, address, sha256, size, path, silence);
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            throw new TimeoutException($"it sent nothing for {Silence.TotalSeconds:0} s");
        }
    }

    private static async Task SaveAsync(Stream body, string address, string sha256, long size, string path, CancellationTokenSource silence)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var buffer = new byte[128 * 1024];
        var total = 0L;
        await using var file = new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0);
        while (true)
        {
            var read = await body.ReadAsync(buffer, silence.Token);
            silence.CancelAfter(Silence);
            if (read == 0)
            {
                break;
            }
            total += read;
            if (total > size)
            {
                throw new BlobException($"{address} sent more than the {size} bytes announced");
            }
            hash.AppendData(buffer, 0, read);
            await file.WriteAsync(buffer.AsMemory(0, read), silence.Token);
        }
        var found = Convert.ToHexStringLower(hash.GetHashAndReset());
        if (found != sha256)
        {
            throw new BlobException($"{address} sent {total} bytes with SHA-256 {found} instead of {sha256} ({size} bytes): the copy there is corrupt, or was cut on the way");
        }
    }
}
