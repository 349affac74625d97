using Yarnish.Jobs;
using Yarnish.Serialization;

namespace Yarnish.Lineage;

/// <summary>Where the user wrote a transformation or action.</summary>
internal static class SourceLocation
{
    /// <summary><c>Program.cs:12</c>; the file alone without its folders, which differ between machines.</summary>
    public static string Of(string file, int line) => line == 0 ? "unknown" : $"{file.AsSpan(file.LastIndexOfAny(['/', '\\']) + 1)}:{line}";

    /// <summary>Refuses, where it is written, a function that could not travel to an executor.</summary>
    public static void RequireTravels(IJobRunner runner, Delegate function, string operation, string callSite)
    {
        ArgumentNullException.ThrowIfNull(function);
        if (runner.ChecksClosures)
        {
            // A large one is told once per stage, when its program is serialized.
            _ = ClosureGuard.Check(function, operation, callSite);
        }
    }
}
