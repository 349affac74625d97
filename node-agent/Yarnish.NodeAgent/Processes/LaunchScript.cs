using System.Security.Cryptography;
using System.Text;

namespace Yarnish.NodeAgent.Processes;

/// <summary>
/// Puts <c>launch.sh</c> where launchers can run it. A shell reads its script while it runs, so a script that is in use must never change: the file
/// carries the hash of its text in its name, and an agent of another version brings a file of its own.
/// </summary>
internal static class LaunchScript
{
    /// <summary>Writes the script under <paramref name="directory"/> and returns its path.</summary>
    public static string Install(string directory)
    {
        using var resource = typeof(LaunchScript).Assembly.GetManifestResourceStream("launch.sh")
            ?? throw new InvalidOperationException("The resource launch.sh is missing from the node agent's assembly.");
        using var reader = new StreamReader(resource);
        var text = reader.ReadToEnd();
        var hash = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));
        var path = Path.Combine(directory, $"launch-{hash[..16]}.sh");
        if (!File.Exists(path) || File.ReadAllText(path) != text)
        {
            var part = path + ".part";
            File.WriteAllText(part, text);
            File.Move(part, path, overwrite: true);
        }
        return path;
    }
}
