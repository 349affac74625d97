using System.Security.Cryptography;
using Xunit;
using Yarnish.Cluster;

namespace Yarnish.Tests.Driver.Session;

public sealed class ApplicationFilesTests : IDisposable
{
    private readonly string directory = Directory.CreateTempSubdirectory("yarnish-files-").FullName;

    public void Dispose() => Directory.Delete(directory, recursive: true);

    private void Write(string path, string content)
    {
        var file = Path.Combine(directory, path);
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        File.WriteAllText(file, content);
    }

    private ApplicationFiles List()
    {
        var root = Path.Combine(directory, "app");
        return ApplicationFiles.Of(root, "App", HashCache.Open(Path.Combine(directory, "cache", "hashes")), CancellationToken.None);
    }

    private void WriteApplication()
    {
        Write("app/App.dll", "app");
        Write("app/App.deps.json", "{}");
        Write("app/App.runtimeconfig.json", """{ "runtimeOptions": { "tfm": "net10.0", "framework": { "name": "Microsoft.NETCore.App", "version": "10.0.0" } } }""");
        Write("app/Yarnish.Executor.dll", "executor");
    }

    [Fact]
    public void Lists_every_file_with_its_hash_native_libraries_included()
    {
        WriteApplication();
        Write("app/runtimes/linux-x64/native/lib.so", "native");
        Write("app/run.log", "not needed");
        Write("app/.hidden/x", "not needed");

        var files = List();

        Assert.Equal(["App.deps.json", "App.dll", "App.runtimeconfig.json", "Yarnish.Executor.dll", "runtimes/linux-x64/native/lib.so"], files.Files.Select(file => file.Path));
        Assert.All(files.Files, file =>
        {
            var content = File.ReadAllBytes(files.PathOf(file));
            Assert.Equal(content.Length, file.Size);
            Assert.Equal(Convert.ToHexStringLower(SHA256.HashData(content)), file.Sha256);
        });
    }

    [Fact]
    public void Launch_runs_the_executor_with_the_applications_own_configuration()
    {
        WriteApplication();

        var launch = List().ToLaunch(System.Collections.Immutable.ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal).Add("A", "b"));

        Assert.Equal("dotnet", launch.Command);
        Assert.Equal(["exec", "--depsfile", "App.deps.json", "--runtimeconfig", "App.runtimeconfig.json", "Yarnish.Executor.dll"], launch.Arguments);
        Assert.Equal("b", launch.Environment["A"]);
        Assert.Equal(4, launch.Files.Length);
    }

    [Fact]
    public void Program_without_the_executor_beside_it_is_refused()
    {
        WriteApplication();
        File.Delete(Path.Combine(directory, "app", "Yarnish.Executor.dll"));

        var error = Assert.Throws<YarnishConnectException>(List);
        Assert.Contains("Yarnish.Executor.dll", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Self_contained_program_is_refused()
    {
        WriteApplication();
        Write("app/App.runtimeconfig.json", """{ "runtimeOptions": { "includedFrameworks": [ { "name": "Microsoft.NETCore.App", "version": "10.0.0" } ] } }""");

        Assert.Contains("self-contained", Assert.Throws<YarnishConnectException>(List).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Linked_file_counts_with_the_content_it_leads_to()
    {
        WriteApplication();
        Write("elsewhere/data.bin", "the content");
        File.CreateSymbolicLink(Path.Combine(directory, "app", "data.bin"), Path.Combine(directory, "elsewhere", "data.bin"));

        var file = Assert.Single(List().Files, file => file.Path == "data.bin");

        Assert.Equal("the content".Length, file.Size);
        Assert.Equal(Convert.ToHexStringLower(SHA256.HashData("the content"u8)), file.Sha256);
    }

    [Fact]
    public void Hash_is_remembered_until_the_file_changes()
    {
        WriteApplication();
        var old = DateTime.UtcNow - TimeSpan.FromHours(1);
        var file = Path.Combine(directory, "app", "App.dll");
        File.SetLastWriteTimeUtc(file, old);
        var before = List().Files.Single(entry => entry.Path == "App.dll").Sha256;

        // Same size and time, other content: only the memory can give the old hash.
        File.WriteAllText(file, "APP");
        File.SetLastWriteTimeUtc(file, old);
        Assert.Equal(before, List().Files.Single(entry => entry.Path == "App.dll").Sha256);

        File.SetLastWriteTimeUtc(file, old + TimeSpan.FromSeconds(1));
        Assert.Equal(Convert.ToHexStringLower(SHA256.HashData("APP"u8)), List().Files.Single(entry => entry.Path == "App.dll").Sha256);
    }

    [Fact]
    public void File_that_was_just_written_is_hashed_again()
    {
        WriteApplication();
        var file = Path.Combine(directory, "app", "App.dll");
        var time = File.GetLastWriteTimeUtc(file);
        List();

        File.WriteAllText(file, "APP");
        File.SetLastWriteTimeUtc(file, time);

        Assert.Equal(Convert.ToHexStringLower(SHA256.HashData("APP"u8)), List().Files.Single(entry => entry.Path == "App.dll").Sha256);
    }

    [Fact]
    public void Damaged_memory_only_costs_time()
    {
        WriteApplication();
        Write("cache/hashes", "garbage\n0123 x y z\n");

        Assert.Equal(4, List().Files.Length);
    }
}
