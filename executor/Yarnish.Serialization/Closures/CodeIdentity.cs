using System.Collections.Concurrent;
using System.Reflection;
using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using System.Security.Cryptography;

namespace Yarnish.Serialization;

/// <summary>Which file a loaded assembly came from: method tokens mean the same only in the very same file.</summary>
internal sealed record CodeIdentity(string Name, Guid Mvid, string Sha256)
{
    // Assemblies that functions came from live as long as the process: collectible ones are refused before.
    private static readonly ConcurrentDictionary<Assembly, CodeIdentity> Cache = new();

    /// <summary>The identity of a loaded assembly.</summary>
    /// <exception cref="ClosureException">Its file is gone, or is not the one that was loaded.</exception>
    public static CodeIdentity Of(Assembly assembly) => Cache.GetOrAdd(assembly, static assembly =>
    {
        var name = assembly.GetName().Name!;
        byte[] file;
        try
        {
            file = File.ReadAllBytes(assembly.Location);
        }
        catch (IOException error)
        {
            throw new ClosureException($"The file of {name} cannot be read, so that executors could not be given the same code: {error.Message}", error);
        }

        using var image = new PEReader([.. file]);
        var metadata = image.GetMetadataReader();
        var onDisk = metadata.GetGuid(metadata.GetModuleDefinition().Mvid);
        var loaded = assembly.ManifestModule.ModuleVersionId;
        if (onDisk != loaded)
        {
            throw new ClosureException(
                $"{assembly.Location} was built again while the program runs: this process runs MVID {loaded:D}, the file has {onDisk:D}, and executors would be given the file. Start the program again.");
        }

        return new(name, loaded, Convert.ToHexStringLower(SHA256.HashData(file)));
    });
}
