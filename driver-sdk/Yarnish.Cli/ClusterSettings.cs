namespace Yarnish.Cli;

/// <summary>Where the cluster is: from the options, else the environment, else what <c>yarnish up</c> wrote in this folder or one above it, else this machine.</summary>
internal sealed record ClusterSettings(string Address, string Secret)
{
    public const string DefaultAddress = "http://127.0.0.1:8088";

    /// <summary>Written by <c>yarnish up</c>, removed when it ends.</summary>
    public static readonly string ClusterFile = Path.Combine(".run", "cluster.env");

    /// <summary>Written by <c>infra/services.sh up</c>.</summary>
    public static readonly string ServicesFile = Path.Combine(".run", "services.env");

    public static ClusterSettings Resolve(string? address, string? secret)
    {
        var written = ReadAbove(ClusterFile);
        return new ClusterSettings(
            (address ?? Variable("Yarnish__Address") ?? written.GetValueOrDefault("Yarnish__Address") ?? DefaultAddress).TrimEnd('/'),
            secret ?? Variable("Yarnish__Secret") ?? written.GetValueOrDefault("Yarnish__Secret") ?? "");
    }

    /// <summary>The <c>NAME=value</c> lines of a file in this folder or the nearest one above that has it; empty when none has.</summary>
    public static Dictionary<string, string> ReadAbove(string relativePath)
    {
        for (var folder = new DirectoryInfo(Directory.GetCurrentDirectory()); folder is not null; folder = folder.Parent)
        {
            var path = Path.Combine(folder.FullName, relativePath);
            if (File.Exists(path))
            {
                return File.ReadLines(path)
                    .Select(line => line.Split('=', 2))
                    .Where(pair => pair.Length == 2 && !pair[0].StartsWith('#'))
                    .ToDictionary(pair => pair[0].Trim(), pair => pair[1].Trim(), StringComparer.Ordinal);
            }
        }
        return [];
    }

    public static string? Variable(string name) => Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null;
}
