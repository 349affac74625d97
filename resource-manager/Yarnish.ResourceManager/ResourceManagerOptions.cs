using System.Net;

namespace Yarnish.ResourceManager;

/// <summary>
/// The settings of the resource manager: section <c>Yarnish</c> of the configuration, such as the environment variable <c>Yarnish__RabbitMq</c>.
/// Checked at start; a key that nobody knows is refused.
/// </summary>
public sealed class ResourceManagerOptions
{
    /// <summary>Name of the configuration section.</summary>
    public const string Section = "Yarnish";

    /// <summary>Name of the cluster: part of every queue name and journal key. 1 to 64 characters of <c>A-Z a-z 0-9 . _ -</c>; default <c>yarnish</c>.</summary>
    public string ClusterName { get; set; } = "yarnish";

    /// <summary>AMQP URI of the broker; default <c>amqp://guest:guest@127.0.0.1:5672/</c>.</summary>
    public string RabbitMq { get; set; } = "amqp://guest:guest@127.0.0.1:5672/";

    /// <summary>StackExchange.Redis configuration of the journal and of the block registry; default <c>127.0.0.1:6379</c>.</summary>
    public string Redis { get; set; } = "127.0.0.1:6379";

    /// <summary>What the HTTP server binds, separated by semicolons; default <c>http://127.0.0.1:8088</c>. Port 0 takes a free one. Anything but loopback needs <see cref="Secret"/>.</summary>
    public string Urls { get; set; } = "http://127.0.0.1:8088";

    /// <summary>The base URL under which agents and drivers reach this resource manager; default: the first bound URL, with the host name in place of a wildcard.</summary>
    public string AdvertisedUrl { get; set; } = "";

    /// <summary>The secret of the cluster: signs control messages and opens the REST interface. Empty (the default) is accepted on loopback only. At least 8 characters.</summary>
    public string Secret { get; set; } = "";

    /// <summary>Where blobs and the epoch are kept; default <c>yarnish/resource-manager</c> in the user's local application data.</summary>
    public string DataDirectory { get; set; } =
        Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData, Environment.SpecialFolderOption.DoNotVerify), "yarnish", "resource-manager");

    /// <summary>The queue file (YAML, docs/queues.md); read at start and whenever it changes. Empty (the default): the queues that <c>PUT /api/v1/queues</c> wrote into the journal, else one, <c>root.default</c>.</summary>
    public string QueueFile { get; set; } = "";

    /// <summary>Bytes that the blob store may hold; default 20 GiB, at least <see cref="MaximumBlobBytes"/>.</summary>
    public long BlobQuotaBytes { get; set; } = 20L << 30;

    /// <summary>Largest blob, in bytes; default 4 GiB.</summary>
    public long MaximumBlobBytes { get; set; } = 4L << 30;

    /// <summary>How long after its last use a blob stays whatever the quota says; default 10 minutes.</summary>
    public TimeSpan BlobGrace { get; set; } = TimeSpan.FromMinutes(10);

    /// <summary>Uploads of blobs at a time; more are answered <c>busy</c>. Default 16.</summary>
    public int ConcurrentUploads { get; set; } = 16;

    /// <summary>Messages that may wait for the scheduler before senders are held back; default 4,096.</summary>
    public int InboxCapacity { get; set; } = 4096;

    /// <summary>How often the scheduler looks at its deadlines; default 250 ms.</summary>
    public TimeSpan TickInterval { get; set; } = TimeSpan.FromMilliseconds(250);

    /// <summary>Whether <see cref="Urls"/> names loopback addresses only.</summary>
    internal bool IsLoopbackOnly => BoundAddresses().All(IsLoopback);

    /// <summary>Everything that is wrong with these settings, one sentence each; empty when nothing is.</summary>
    internal IEnumerable<string> Problems()
    {
        if (ClusterName.Length is 0 or > 64 || ClusterName.Any(c => !char.IsAsciiLetterOrDigit(c) && c is not ('.' or '_' or '-')))
        {
            yield return $"{Key(nameof(ClusterName))} is '{ClusterName}': it must have 1 to 64 characters of A-Z a-z 0-9 . _ -.";
        }
        if (!Uri.TryCreate(RabbitMq, UriKind.Absolute, out var broker) || broker.Scheme is not ("amqp" or "amqps"))
        {
            yield return $"{Key(nameof(RabbitMq))} is not an AMQP URI: write it as amqp://user:password@host:5672/vhost (or amqps://…).";
        }
        if (string.IsNullOrWhiteSpace(Redis))
        {
            yield return $"{Key(nameof(Redis))} is empty: write it as host:6379,password=….";
        }
        if (Secret.Length is > 0 and < 8)
        {
            yield return $"{Key(nameof(Secret))} has {Secret.Length} characters: at least 8 are needed, 32 random ones are good.";
        }
        var addresses = BoundAddresses();
        if (addresses.Count == 0)
        {
            yield return $"{Key(nameof(Urls))} is empty: write it as http://127.0.0.1:8088.";
        }
        foreach (var address in addresses)
        {
            // Wildcards are no URIs; their form is checked with a name in their place.
            var plain = address.Replace("://*", "://wildcard", StringComparison.Ordinal).Replace("://+", "://wildcard", StringComparison.Ordinal);
            if (!Uri.TryCreate(plain, UriKind.Absolute, out var uri) || uri.Scheme is not ("http" or "https"))
            {
                yield return $"{Key(nameof(Urls))} holds '{address}', which is not an HTTP URL: write it as http://127.0.0.1:8088.";
            }
            else if (Secret.Length == 0 && !IsLoopback(address))
            {
                yield return $"{Key(nameof(Urls))} binds {address}, which other machines can reach, but {Key(nameof(Secret))} is empty: everyone there could run programs on this cluster. "
                    + $"Set {Key(nameof(Secret))} to the same random text at the resource manager, agents and drivers, or bind http://127.0.0.1:8088.";
            }
        }
        if (AdvertisedUrl.Length > 0 && (!Uri.TryCreate(AdvertisedUrl, UriKind.Absolute, out var advertised) || advertised.Scheme is not ("http" or "https")))
        {
            yield return $"{Key(nameof(AdvertisedUrl))} is '{AdvertisedUrl}', which is not an HTTP URL.";
        }
        if (string.IsNullOrWhiteSpace(DataDirectory))
        {
            yield return $"{Key(nameof(DataDirectory))} is empty: name a directory that this user may write.";
        }
        if (MaximumBlobBytes < 1)
        {
            yield return $"{Key(nameof(MaximumBlobBytes))} is {MaximumBlobBytes}: it must be at least 1.";
        }
        if (BlobQuotaBytes < MaximumBlobBytes)
        {
            yield return $"{Key(nameof(BlobQuotaBytes))} is {BlobQuotaBytes}: it must be at least {Key(nameof(MaximumBlobBytes))}, which is {MaximumBlobBytes}.";
        }
        if (BlobGrace < TimeSpan.Zero)
        {
            yield return $"{Key(nameof(BlobGrace))} is {BlobGrace}: it must not be negative.";
        }
        if (ConcurrentUploads is < 1 or > 1024)
        {
            yield return $"{Key(nameof(ConcurrentUploads))} is {ConcurrentUploads}: it must be 1 to 1024.";
        }
        if (InboxCapacity is < 16 or > 1_000_000)
        {
            yield return $"{Key(nameof(InboxCapacity))} is {InboxCapacity}: it must be 16 to 1000000.";
        }
        if (TickInterval < TimeSpan.FromMilliseconds(10) || TickInterval > TimeSpan.FromSeconds(5))
        {
            yield return $"{Key(nameof(TickInterval))} is {TickInterval}: it must be 10 ms to 5 s.";
        }
    }

    private List<string> BoundAddresses() => [.. Urls.Split(';', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)];

    private static bool IsLoopback(string url)
    {
        if (!Uri.TryCreate(url, UriKind.Absolute, out var uri))
        {
            return false;
        }
        return uri.Host.Equals("localhost", StringComparison.OrdinalIgnoreCase)
            || (IPAddress.TryParse(uri.Host.Trim('[', ']'), out var address) && IPAddress.IsLoopback(address));
    }

    private static string Key(string name) => $"{Section}__{name}";
}
