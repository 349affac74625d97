using System.Runtime.InteropServices;
using Xunit;
using Yarnish.Integration.Tests.Fixtures;
using Yarnish.Protocol;

namespace Yarnish.Integration.Tests.EndToEnd;

/// <summary>The example everybody runs first, held against what the shell's own tools count.</summary>
[Trait("Category", "Processes")]
public sealed class WordCountTests
{
    private static string Program { get; } =
        Path.Combine(Repository.Root, "artifacts", "bin", "WordCount", new DirectoryInfo(AppContext.BaseDirectory).Name, "WordCount.dll");

    private static string Documentation { get; } =
        Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "..", "..", "..", "packs", "*", "*", "ref", "*", "*.xml"));

    [Fact]
    public async Task Embedded_it_prints_what_the_shell_counts()
    {
        var (exitCode, output, error) = await Shell.RunAsync("dotnet", [Program]);

        Assert.True(exitCode == 0, error);
        Assert.Equal(await ShellCountAsync(), output);
    }

    [Fact]
    public async Task On_two_agents_it_prints_the_same_and_the_tool_tells_what_it_did()
    {
        await using var cluster = await TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes: 2);

        var (exitCode, output, error) = await Shell.RunAsync("dotnet", [TestCluster.ToolPath, "--address", cluster.Address, "run", Program, "--executors", "2"]);

        Assert.True(exitCode == 0, error + cluster.Logs());
        Assert.Equal(await ShellCountAsync(), output);
        var application = await cluster.NewestApplicationAsync();
        Assert.Equal("succeeded", application.State);
        Assert.Equal(2, application.Progress.ExecutorsSeen);
        Assert.True(application.Progress.TasksSucceeded > 2);
        Assert.True(application.Progress.ShuffleBytesWritten > 0);

        var containers = await cluster.GetAsync<ContainerInfo[]>($"apps/{application.Id}/containers");
        Assert.Equal(2, containers.Select(container => container.NodeId).Distinct().Count());

        var (showCode, shown, _) = await Shell.RunAsync("dotnet", [TestCluster.ToolPath, "--address", cluster.Address, "app", "show", application.Id.Value[..8]]);
        Assert.Equal(0, showCode);
        Assert.Contains("2 seen", shown, StringComparison.Ordinal);
        Assert.Contains($"{application.Progress.TasksSucceeded} succeeded", shown, StringComparison.Ordinal);
        Assert.Contains("written", shown, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_path_that_names_nothing_is_one_clear_error()
    {
        var (exitCode, output, error) = await Shell.RunAsync("dotnet", [Program, "/absent/*.txt"]);

        Assert.Equal(1, exitCode);
        Assert.Equal("", output);
        Assert.Contains("'/absent/*.txt' names no file", error, StringComparison.Ordinal);
    }

    /// <summary>The ten commonest, counted by the tools of the shell, ties by word.</summary>
    private static async Task<string> ShellCountAsync()
    {
        var (exitCode, output, error) = await Shell.RunAsync("sh", ["-c", $"export LC_ALL=C; cat {Documentation} | tr -cs A-Za-z '\\n' | tr A-Z a-z | sort | uniq -c | awk '$2 != \"\" {{ print $2 \"\\t\" $1 }}' | sort -t \"$(printf '\\t')\" -k2,2nr -k1,1 | head -n 10"]);
        Assert.True(exitCode == 0, error);
        return output;
    }
}
