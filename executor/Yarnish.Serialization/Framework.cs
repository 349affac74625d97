using System.Collections.Concurrent;
using System.Reflection;

namespace Yarnish.Serialization;

/// <summary>Tells the framework's assemblies from the application's: the framework's are on every node already and may differ in their patch level.</summary>
internal static class Framework
{
    private static readonly ConcurrentDictionary<Assembly, bool> Known = new();

    // …/shared, which holds Microsoft.NETCore.App/10.0.x; none when the application brings its own runtime.
    private static readonly string? Shared = SharedFolder();

    /// <summary>True when the type comes with the runtime.</summary>
    public static bool Owns(Type type) => Owns(type.Assembly);

    /// <summary>True when the assembly comes with the runtime.</summary>
    public static bool Owns(Assembly assembly) => Known.GetOrAdd(assembly, static assembly =>
        assembly.IsDynamic ? false
        : Shared is not null && assembly.Location.Length > 0 ? assembly.Location.StartsWith(Shared, StringComparison.Ordinal)
        : assembly.GetName().Name is { } name && (name is "System.Private.CoreLib" or "netstandard" or "mscorlib" or "System" || name.StartsWith("System.", StringComparison.Ordinal)));

    private static string? SharedFolder()
    {
        var core = typeof(object).Assembly.Location;
        var shared = core.Length == 0 ? null : Path.GetDirectoryName(Path.GetDirectoryName(Path.GetDirectoryName(core)));
        return shared is not null && Path.GetFileName(shared) == "shared" ? shared + Path.DirectorySeparatorChar : null;
    }
}
