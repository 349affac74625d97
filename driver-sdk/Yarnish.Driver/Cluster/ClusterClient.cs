using System.Collections.Immutable;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using Yarnish.Protocol;

namespace Yarnish.Cluster;

/// <summary>The driver's side of the resource manager's REST interface: how to connect, and the blob store. Every failure says where and what to do.</summary>
internal sealed class ClusterClient : IDisposable
{
    /// <summary>Hashes asked for at once.</summary>
    private const int MaximumHashes = 10_000;

    /// <summary>Uploads at once: more would only share the same disk and wire.</summary>
    private const int Uploads = 4;

    /// <summary>A refused connection is tried again after these pauses: a resource manager that restarts is back within seconds.</summary>
    private static readonly TimeSpan[] Pauses = [TimeSpan.FromMilliseconds(200), TimeSpan.FromMilliseconds(600), TimeSpan.FromSeconds(1.2)];

    private static readonly TimeSpan ProbeTimeout = TimeSpan.FromSeconds(5);

    private readonly HttpClient http;
    private readonly string address;
    private readonly TimeProvider clock;

    public ClusterClient(string address, string secret, TimeProvider clock)
    {
        this.address = address.TrimEnd('/');
        this.clock = clock;
        http = new HttpClient(new SocketsHttpHandler { UseProxy = false, ConnectTimeout = TimeSpan.FromSeconds(5), PooledConnectionIdleTimeout = TimeSpan.FromSeconds(30) })
        {
            BaseAddress = new Uri(this.address + "/"),
            Timeout = Timeout.InfiniteTimeSpan,
        };
        if (ClusterSecret.ApiToken(secret) is { Length: > 0 } token)
        {
            http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", token);
        }
    }

    public void Dispose() => http.Dispose();

    /// <summary>Asks how to reach broker and registry.</summary>
    /// <exception cref="YarnishConnectException">No answer in time, or a refusal.</exception>
    public async Task<ClusterConnection> ConnectAsync(TimeSpan timeout, CancellationToken cancellation)
    {
        var what = $"The cluster at {address} cannot be reached.";
        using var limit = new CancellationTokenSource(timeout, clock);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellation);
        for (var attempt = 0; ; attempt++)
        {
            try
            {
                using var response = await http.GetAsync("api/v1/cluster/connection", both.Token).ConfigureAwait(false);
                await RequireSuccessAsync(response, what, both.Token).ConfigureAwait(false);
                return await response.Content.ReadFromJsonAsync<ClusterConnection>(ProtocolJson.Options, both.Token).ConfigureAwait(false)
                    ?? throw new System.Text.Json.JsonException("The answer is empty.");
            }
            catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
            {
                throw YarnishConnectException.Because(what, $"no answer within {timeout.TotalSeconds:0.#} s", "check that the resource manager runs and that a firewall lets this machine through");
            }
            catch (System.Text.Json.JsonException error)
            {
                throw YarnishConnectException.Because(what, "something that is not a resource manager of this version answered there", "check Yarnish:Address", error);
            }
            catch (HttpRequestException error) when (attempt < Pauses.Length)
            {
                _ = error;
                await Task.Delay(Pauses[attempt], clock, cancellation).ConfigureAwait(false);
            }
            catch (HttpRequestException error)
            {
                throw YarnishConnectException.Because(
                    what,
                    error.InnerException?.Message ?? error.Message,
                    "start the resource manager ('yarnish up'), or correct Yarnish:Address; without an address the program runs embedded",
                    error);
            }
        }
    }

    /// <summary>Whether the resource manager lives: null when it does, else why it seems not to.</summary>
    public async Task<string?> ProbeAsync(CancellationToken cancellation)
    {
        using var limit = new CancellationTokenSource(ProbeTimeout, clock);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellation);
        try
        {
            using var response = await http.GetAsync("livez", both.Token).ConfigureAwait(false);
            return response.IsSuccessStatusCode ? null : $"status {(int)response.StatusCode}";
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            return $"no answer within {ProbeTimeout.TotalSeconds:0} s";
        }
        catch (HttpRequestException error)
        {
            return error.InnerException?.Message ?? error.Message;
        }
    }

    /// <summary>Uploads what the cluster's blob store lacks of these files.</summary>
    /// <returns>How many blobs and bytes were sent.</returns>
    /// <exception cref="YarnishConnectException">The store refused, or the connection broke repeatedly.</exception>
    public async Task<(int Blobs, long Bytes)> UploadAsync(ApplicationFiles files, CancellationToken cancellation)
    {
        var what = $"The program's files cannot be uploaded to {address}.";
        var byHash = files.Files.DistinctBy(file => file.Sha256).ToDictionary(file => file.Sha256, StringComparer.Ordinal);
        var missing = new List<LaunchFile>();
        foreach (var hashes in byHash.Keys.Chunk(MaximumHashes))
        {
            var answer = await RetryAsync(what, async token =>
            {
                using var response = await http.PostAsJsonAsync("api/v1/blobs/missing", new BlobList([.. hashes]), ProtocolJson.Options, token).ConfigureAwait(false);
                await RequireSuccessAsync(response, what, token).ConfigureAwait(false);
                return await response.Content.ReadFromJsonAsync<BlobList>(ProtocolJson.Options, token).ConfigureAwait(false);
            }, cancellation).ConfigureAwait(false);
            missing.AddRange((answer?.Hashes ?? ImmutableArray<string>.Empty).Select(hash => byHash[hash]));
        }
        await Parallel.ForEachAsync(missing, new ParallelOptions { MaxDegreeOfParallelism = Uploads, CancellationToken = cancellation }, async (file, token) =>
        {
            await RetryAsync(what, async token =>
            {
                await using var content = new FileStream(files.PathOf(file), FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 0, FileOptions.SequentialScan);
                using var body = new StreamContent(content, 1 << 16);
                body.Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
                using var response = await http.PutAsync($"api/v1/blobs/{file.Sha256}", body, token).ConfigureAwait(false);
                await RequireSuccessAsync(response, $"{what} File {file.Path} was refused.", token).ConfigureAwait(false);
                return true;
            }, token).ConfigureAwait(false);
        }).ConfigureAwait(false);
        return (missing.Count, missing.Sum(file => file.Size));
    }

    private async Task<T> RetryAsync<T>(string what, Func<CancellationToken, Task<T>> request, CancellationToken cancellation)
    {
        for (var attempt = 0; ; attempt++)
        {
            try
            {
                return await request(cancellation).ConfigureAwait(false);
            }
            catch (Exception error) when (error is HttpRequestException or IOException && attempt < Pauses.Length)
            {
                await Task.Delay(Pauses[attempt], clock, cancellation).ConfigureAwait(false);
            }
            catch (Exception error) when (error is HttpRequestException or IOException)
            {
                throw YarnishConnectException.Because(what, error.InnerException?.Message ?? error.Message, "check that the resource manager runs and has space on its disk", error);
            }
        }
    }

    private async Task RequireSuccessAsync(HttpResponseMessage response, string what, CancellationToken cancellation)
    {
        if (response.IsSuccessStatusCode)
        {
            return;
        }
        if (response.StatusCode is HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden)
        {
            throw YarnishConnectException.Because(
                $"The cluster at {address} refuses this session.",
                http.DefaultRequestHeaders.Authorization is null ? "it has a secret, and the session gave none" : "the session's secret is not the cluster's",
                "set Yarnish:Secret (environment variable Yarnish__Secret) to the secret that the resource manager was started with",
                exitCode: 5);
        }
        throw YarnishConnectException.Because(what, await ReasonAsync(response, cancellation).ConfigureAwait(false), response.StatusCode == HttpStatusCode.NotFound
            ? "check Yarnish:Address: no resource manager of this version answers there"
            : "look into the resource manager's log");
    }

    private static async Task<string> ReasonAsync(HttpResponseMessage response, CancellationToken cancellation)
    {
        var status = $"status {(int)response.StatusCode}";
        try
        {
            var error = await response.Content.ReadFromJsonAsync<ErrorInfo>(ProtocolJson.Options, cancellation).ConfigureAwait(false);
            return error is { Error.Length: > 0 } ? $"{error.Error} ({status})" : status;
        }
        catch (Exception error) when (error is System.Text.Json.JsonException or HttpRequestException or IOException or NotSupportedException or InvalidOperationException)
        {
            return status;
        }
    }
}
