using System.Collections.Immutable;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text.Json;
using Yarnish.Protocol;

namespace Yarnish.Cluster;

/// <summary>
/// The driver's own output folder, listed by content (design decision 3): the same files, placed into a container's directory, run the executor with the same code,
/// dependencies and native libraries as the driver.
/// </summary>
internal sealed class ApplicationFiles
{
    /// <summary>Most files an application may have.</summary>
    private const int MaximumFiles = 20_000;

    /// <summary>Most bytes they may have together.</summary>
    private const long MaximumBytes = 8L << 30;

    private const string ExecutorFile = "Yarnish.Executor.dll";

    private readonly string directory;

    private ApplicationFiles(string directory, string name, ImmutableArray<LaunchFile> files)
    {
        this.directory = directory;
        Name = name;
        Files = files;
    }

    /// <summary>Name of the entry assembly: its <c>.deps.json</c> and <c>.runtimeconfig.json</c> configure the executor too.</summary>
    public string Name { get; }

    /// <summary>All files, in ordinal order of their paths.</summary>
    public ImmutableArray<LaunchFile> Files { get; }

    /// <summary>Lists the running program.</summary>
    /// <exception cref="YarnishConnectException">It was published in a form that executors cannot start from.</exception>
    public static ApplicationFiles OfThisProgram(CancellationToken cancellation)
    {
        var entry = Assembly.GetEntryAssembly();
#pragma warning disable IL3000 // An empty location is exactly what is looked for: a single-file program has none.
        if (entry is null || entry.Location.Length == 0)
#pragma warning restore IL3000
        {
            throw Refuse("it is a single-file program: the files of its assemblies, which executors load, do not exist");
        }
        if (!RuntimeFeature.IsDynamicCodeSupported)
        {
            throw Refuse("it is built with the settings of ahead-of-time compilation (PublishAot): functions cannot travel", "remove PublishAot; a program of one file gets them unless it uses the package Yarnish or says '#:property PublishAot=false'");
        }
        return Of(AppContext.BaseDirectory, entry.GetName().Name!, HashCache.Open(HashCache.DefaultPath), cancellation);
    }

    /// <summary>Lists a folder.</summary>
    /// <param name="directory">The output folder.</param>
    /// <param name="name">Name of the entry assembly.</param>
    /// <param name="hashes">Remembers hashes of files that did not change; saved when done.</param>
    /// <param name="cancellation">Gives up.</param>
    /// <exception cref="YarnishConnectException">A file is missing or cannot be read, or the folder is absurdly large.</exception>
    public static ApplicationFiles Of(string directory, string name, HashCache hashes, CancellationToken cancellation)
    {
        directory = Path.GetFullPath(directory);
        foreach (var required in new[] { name + ".deps.json", name + ".runtimeconfig.json", ExecutorFile })
        {
            if (!File.Exists(Path.Combine(directory, required)))
            {
                throw Refuse($"its folder {directory} has no file {required}");
            }
        }
        RequireFrameworkDependent(Path.Combine(directory, name + ".runtimeconfig.json"));

        var files = ImmutableArray.CreateBuilder<LaunchFile>();
        long bytes = 0;
        try
        {
            foreach (var (path, file) in Walk(new DirectoryInfo(directory)))
            {
                cancellation.ThrowIfCancellationRequested();
                bytes += file.Length;
                if (files.Count == MaximumFiles || bytes > MaximumBytes)
                {
                    throw YarnishConnectException.Because(
                        $"The program's folder {directory} is too large to send to executors.",
                        $"it has more than {(files.Count == MaximumFiles ? $"{MaximumFiles} files" : $"{MaximumBytes >> 30} GiB")}",
                        "build the program into a folder of its own, and keep data elsewhere");
                }
                var executable = !OperatingSystem.IsWindows() && (file.UnixFileMode & UnixFileMode.UserExecute) != 0 && file.Extension is not ".dll";
                files.Add(new LaunchFile(Path.GetRelativePath(directory, path).Replace(Path.DirectorySeparatorChar, '/'), hashes.Of(file), file.Length, executable));
            }
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw YarnishConnectException.Because($"The program's folder {directory} cannot be read; executors need its files.", error.Message, "make the file readable, or build into another folder", error);
        }
        hashes.Save();
        files.Sort(static (left, right) => string.CompareOrdinal(left.Path, right.Path));
        return new ApplicationFiles(directory, name, files.ToImmutable());
    }

    /// <summary>Where a listed file is here.</summary>
    public string PathOf(LaunchFile file) => Path.Combine(directory, file.Path.Replace('/', Path.DirectorySeparatorChar));

    /// <summary>The command that starts the executor in a container's directory.</summary>
    public LaunchSpecification ToLaunch(ImmutableSortedDictionary<string, string> environment) =>
        new("dotnet", ["exec", "--depsfile", Name + ".deps.json", "--runtimeconfig", Name + ".runtimeconfig.json", ExecutorFile])
        {
            Environment = environment,
            Files = Files,
        };

    /// <summary>All files but those no executor needs: hidden ones and logs. Links to files count with the content they lead to; links to folders are not followed.</summary>
    private static IEnumerable<(string Path, FileInfo Content)> Walk(DirectoryInfo root)
    {
        var directories = new Stack<DirectoryInfo>();
        directories.Push(root);
        while (directories.TryPop(out var directory))
        {
            foreach (var entry in directory.EnumerateFileSystemInfos())
            {
                if (entry.Name.StartsWith('.') || entry.Extension is ".log" or ".pid" or ".sock")
                {
                    continue;
                }
                switch (entry)
                {
                    case DirectoryInfo { LinkTarget: null } child:
                        directories.Push(child);
                        break;
                    case FileInfo { LinkTarget: null } file:
                        yield return (file.FullName, file);
                        break;
                    case FileInfo link when link.ResolveLinkTarget(returnFinalTarget: true) is FileInfo { Exists: true } target:
                        yield return (link.FullName, target);
                        break;
                }
            }
        }
    }

    private static void RequireFrameworkDependent(string runtimeConfig)
    {
        try
        {
            using var json = JsonDocument.Parse(File.ReadAllBytes(runtimeConfig));
            if (json.RootElement.TryGetProperty("runtimeOptions", out var options) && options.TryGetProperty("includedFrameworks", out _))
            {
                throw Refuse("it is self-contained: its copy of the runtime cannot start another program");
            }
        }
        catch (Exception error) when (error is JsonException or IOException or UnauthorizedAccessException)
        {
            throw YarnishConnectException.Because($"{runtimeConfig} cannot be read; executors start from it.", error.Message, "build the program again", error);
        }
    }

    private static YarnishConnectException Refuse(string why, string? cure = null) => YarnishConnectException.Because(
        "This program cannot run on a cluster.",
        why,
        cure ?? "run it with 'dotnet run' or from the output of 'dotnet build' or of 'dotnet publish' without PublishSingleFile, PublishTrimmed, PublishAot and SelfContained");
}
