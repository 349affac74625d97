using System.Collections.Frozen;
using Yarnish.Protocol;
using Yarnish.ResourceManager.Blobs;

namespace Yarnish.ResourceManager.Cluster;

/// <summary>Which blobs the asks of live applications name. Owned by the shell's loop; <see cref="All"/> is an immutable set for the blob store.</summary>
internal sealed class BlobReferences
{
    private const int FilesPerApplication = 100_000;

    private readonly Dictionary<ApplicationId, HashSet<string>> _byApplication = [];

    /// <summary>Every referenced hash.</summary>
    public FrozenSet<string> All { get; private set; } = [];

    /// <summary>The application's asks are these now.</summary>
    /// <returns>Whether <see cref="All"/> changed.</returns>
    public bool Update(UpdateAsks asks)
    {
        if (asks.Asks.IsDefaultOrEmpty)
        {
            // Asks come and go within the life of an application; its files stay until it ends.
            return false;
        }
        var known = _byApplication.GetValueOrDefault(asks.ApplicationId);
        var added = false;
        foreach (var ask in asks.Asks)
        {
            foreach (var file in ask.Launch.Files.IsDefault ? [] : ask.Launch.Files)
            {
                known ??= new HashSet<string>(StringComparer.Ordinal);
                added |= known.Count < FilesPerApplication && BlobStore.IsHash(file.Sha256) && known.Add(file.Sha256);
            }
        }
        if (added)
        {
            _byApplication[asks.ApplicationId] = known!;
            Rebuild();
        }
        return added;
    }

    /// <summary>The application is over.</summary>
    /// <returns>Whether <see cref="All"/> changed.</returns>
    public bool Remove(ApplicationId application)
    {
        if (!_byApplication.Remove(application))
        {
            return false;
        }
        Rebuild();
        return true;
    }

    private void Rebuild() => All = _byApplication.Values.SelectMany(hashes => hashes).ToFrozenSet(StringComparer.Ordinal);
}
