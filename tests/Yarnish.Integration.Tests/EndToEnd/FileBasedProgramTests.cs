using Xunit;
using Yarnish.Integration.Tests.Fixtures;

namespace Yarnish.Integration.Tests.EndToEnd;

/// <summary>
/// A program of one file, as its user would write and run it: the package in a folder that serves as feed, five lines, <c>dotnet run app.cs</c>. Caches of the machine are used for what other
/// people wrote and never for Yarnish: packages and outputs of these tests live in a folder of their own.
/// </summary>
[Trait("Category", "Processes")]
public sealed class FileBasedProgramTests : IAsyncLifetime
{
    private const string Version = "0.0.0-test";

    /// <summary>What the program prints: the sum of 0, 3, 6, …, 2997.</summary>
    private const string Sum = "1498500";

    private readonly string directory = Directory.CreateTempSubdirectory("yarnish-file-").FullName;

    private string Feed => Path.Combine(directory, "feed");

    /// <summary>Packs what was built with these tests.</summary>
    public async ValueTask InitializeAsync()
    {
        Directory.CreateDirectory(Path.Combine(directory, "data"));
        var configuration = new DirectoryInfo(AppContext.BaseDirectory).Name;
        var (exitCode, output, error) = await Shell.RunAsync("dotnet",
            ["pack", Path.Combine(Repository.Root, "driver-sdk", "Yarnish"), "--no-build", "-c", configuration, "-o", Feed, $"-p:Version={Version}", "-nologo", "-v", "quiet"]);
        Assert.True(exitCode == 0, output + error);

        var (_, packages, _) = await Shell.RunAsync("dotnet", ["nuget", "locals", "global-packages", "--list", "--force-english-output"]);
        await File.WriteAllTextAsync(Path.Combine(directory, "nuget.config"), $"""
            <configuration>
              <config><add key="globalPackagesFolder" value="{Path.Combine(directory, "packages")}" /></config>
              <packageSources><add key="test" value="{Feed}" /></packageSources>
              <fallbackPackageFolders><add key="machine" value="{packages.Split(':', 2)[1].Trim()}" /></fallbackPackageFolders>
            </configuration>
            """);
    }

    public ValueTask DisposeAsync()
    {
        Directory.Delete(directory, recursive: true);
        return default;
    }

    [Fact]
    public async Task Five_lines_run_embedded_and_on_the_cluster_and_only_what_changed_travels_again()
    {
        var app = Path.Combine(directory, "app.cs");
        await File.WriteAllTextAsync(app, $$"""
            #:package Yarnish@{{Version}}
            await using var session = await Yarnish.YarnishSession.CreateBuilder(args).ConnectAsync();
            var factor = 3;
            var numbers = session.Range(0, 1_000).Select(number => (Value: number * factor, Process: Environment.ProcessId));
            Console.WriteLine($"{(await numbers.CollectAsync()).Sum(row => row.Value)} here: {(await numbers.FirstAsync()).Process == Environment.ProcessId}");
            """);

        var (exitCode, output, error) = await RunAsync(app);
        Assert.True(exitCode == 0, output + error);
        Assert.Equal($"{Sum} here: True", output.Trim());

        await using var cluster = await TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes: 1);
        (exitCode, output, error) = await RunAsync(app, cluster);
        Assert.True(exitCode == 0, output + error + cluster.Logs());
        Assert.Equal($"{Sum} here: False", output.Trim());
        Assert.Contains("uploaded ", error, StringComparison.Ordinal);
        var first = Blobs(cluster);
        Assert.True(first.Length > 30, $"{first.Length} files travelled");

        // The same bits again: nothing travels.
        (exitCode, output, error) = await RunAsync(app, cluster);
        Assert.True(exitCode == 0, output + error + cluster.Logs());
        Assert.Equal($"{Sum} here: False", output.Trim());
        Assert.DoesNotContain("uploaded ", error, StringComparison.Ordinal);
        Assert.Equal(first, Blobs(cluster));

        // Another number: the program's own files, and none of those it uses.
        await File.WriteAllTextAsync(app, (await File.ReadAllTextAsync(app)).Replace("factor = 3", "factor = 5", StringComparison.Ordinal));
        (exitCode, output, error) = await RunAsync(app, cluster);
        Assert.True(exitCode == 0, output + error + cluster.Logs());
        Assert.Equal("2497500 here: False", output.Trim());
        Assert.InRange(Blobs(cluster).Except(first).Count(), 1, 4);

        // The tool builds what it is given and runs it.
        (exitCode, output, error) = await Shell.RunAsync("dotnet", [TestCluster.ToolPath, "--address", cluster.Address, "run", app], directory, NoSharedOutput);
        Assert.True(exitCode == 0, output + error + cluster.Logs());
        Assert.Equal("2497500 here: False", output.Trim());
    }

    [Fact]
    public async Task File_that_names_the_project_runs_on_the_cluster_too()
    {
        var example = Path.Combine(Repository.Root, "driver-sdk", "examples", "Sum.cs");
        await using var cluster = await TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes: 1);

        var (exitCode, output, error) = await RunAsync(example, cluster);

        Assert.True(exitCode == 0, output + error + cluster.Logs());
        Assert.Equal(Sum, output.Trim());
        Assert.Equal("succeeded", (await cluster.NewestApplicationAsync()).State);
    }

    [Fact]
    public async Task Program_whose_code_would_be_compiled_ahead_of_time_or_trimmed_is_one_clear_error_and_one_in_a_single_file_is_warned()
    {
        await File.WriteAllTextAsync(Path.Combine(directory, "App.csproj"), $"""
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup><TargetFramework>net10.0</TargetFramework><OutputType>Exe</OutputType><ImplicitUsings>enable</ImplicitUsings></PropertyGroup>
              <ItemGroup><PackageReference Include="Yarnish" Version="{Version}" /></ItemGroup>
            </Project>
            """);
        await File.WriteAllTextAsync(Path.Combine(directory, "Program.cs"), "this is never compiled");

        foreach (var setting in new[] { "PublishAot", "PublishTrimmed" })
        {
            var (exitCode, output, _) = await BuildAsync($"-p:{setting}=true");
            Assert.Equal(1, exitCode);
            Assert.Contains($"error YRN0010: App uses Yarnish and sets {setting}", output, StringComparison.Ordinal);
            Assert.DoesNotContain("error CS", output, StringComparison.Ordinal);
        }

        // The analyzers come with the package.
        await File.WriteAllTextAsync(Path.Combine(directory, "Program.cs"),
            "await using var session = await Yarnish.YarnishSession.CreateBuilder(args).ConnectAsync(); Stream s = Stream.Null; await session.Range(0, 3).Select(n => s.Length).CollectAsync();");
        var (failed, marked, _) = await BuildAsync();
        Assert.Equal(1, failed);
        Assert.Contains("error YRN0003", marked, StringComparison.Ordinal);

        await File.WriteAllTextAsync(Path.Combine(directory, "Program.cs"),
            "await using var session = await Yarnish.YarnishSession.CreateBuilder(args).ConnectAsync(); await session.Range(0, 3).CollectAsync();");
        var (built, warned, _) = await BuildAsync("-p:PublishSingleFile=true");
        Assert.True(built == 0, warned);
        Assert.Contains("warning YRN0010", warned, StringComparison.Ordinal);
        var outputs = Path.Combine(directory, "bin", "Debug", "net10.0");
        Assert.True(File.Exists(Path.Combine(outputs, "Yarnish.Executor.dll")));
        Assert.Contains("\"System.Threading.ThreadPool.UnfairSemaphoreSpinLimit\": 0", await File.ReadAllTextAsync(Path.Combine(outputs, "App.runtimeconfig.json")), StringComparison.Ordinal);
    }

    private Task<(int ExitCode, string Output, string Error)> BuildAsync(params string[] arguments) =>
        Shell.RunAsync("dotnet", ["build", "App.csproj", "-nologo", "-v", "quiet", .. arguments], directory, NoSharedOutput);

    private Task<(int ExitCode, string Output, string Error)> RunAsync(string file, TestCluster? cluster = null) =>
        Shell.RunAsync("dotnet", ["run", file], directory, NoSharedOutput, ("Yarnish__Address", cluster?.Address));

    /// <summary>Where the SDK builds programs of one file, below its user's data.</summary>
    private (string Name, string? Value) NoSharedOutput => ("XDG_DATA_HOME", Path.Combine(directory, "data"));

    private static string[] Blobs(TestCluster cluster) =>
        [.. Directory.EnumerateFiles(Path.Combine(cluster.Directory, "resource-manager"), "*", SearchOption.AllDirectories)
            .Where(static file => Path.GetFileName(file) is { Length: 64 } name && name.All(char.IsAsciiHexDigitLower)).Order(StringComparer.Ordinal)];
}
