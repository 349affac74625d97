using System.Runtime.CompilerServices;
using Xunit;

namespace Yarnish.Tests.Transport;

/// <summary>
/// Files that hold what goes over the wire. A difference means that processes of two versions no longer understand each other: change the file only together with a thought
/// about that. <c>YARNISH_WRITE_GOLDEN=1</c> writes them anew.
/// </summary>
internal static class Golden
{
    public static void Check(string name, string actual)
    {
        var file = Path.Combine(Folder(), name);
        if (Environment.GetEnvironmentVariable("YARNISH_WRITE_GOLDEN") == "1")
        {
            File.WriteAllText(file, actual + "\n");
        }
        Assert.True(File.Exists(file), $"{name} is missing: run these tests once with YARNISH_WRITE_GOLDEN=1 and look at what it writes.");
        Assert.Equal(File.ReadAllText(file).TrimEnd(), actual);
    }

    public static string Read(string name) => File.ReadAllText(Path.Combine(Folder(), name)).TrimEnd();

    public static IEnumerable<string> Names(string pattern) => Directory.EnumerateFiles(Folder(), pattern).Select(path => Path.GetFileName(path)!);

    private static string Folder([CallerFilePath] string here = "") => Path.Combine(Path.GetDirectoryName(here)!, "Golden");
}
