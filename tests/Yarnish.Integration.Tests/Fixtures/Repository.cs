using System.Runtime.CompilerServices;

namespace Yarnish.Integration.Tests.Fixtures;

/// <summary>Where this checkout is.</summary>
internal static class Repository
{
    public static string Root { get; } = Find();

    private static string Find([CallerFilePath] string here = "") =>
        Path.GetFullPath(Path.Combine(Path.GetDirectoryName(here)!, "..", "..", ".."));
}
