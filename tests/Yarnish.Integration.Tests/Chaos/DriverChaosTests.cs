using System.Diagnostics;
using Xunit;
using Yarnish.Integration.Tests.Fixtures;
using Yarnish.Protocol;

namespace Yarnish.Integration.Tests.Chaos;

/// <summary>A driver that is killed in the middle of its job: it can remove nothing, so others do, or time does.</summary>
[Trait("Category", "Processes")]
public sealed class DriverChaosTests
{
    private static string Pi { get; } = Path.Combine(Repository.Root, "artifacts", "bin", "Pi", new DirectoryInfo(AppContext.BaseDirectory).Name, "Pi.dll");

    [Fact]
    public async Task Driver_that_is_killed_leaves_nothing_that_does_not_go_by_itself()
    {
        await using var cluster = await TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes: 1);
        cluster.DriversMayLeaveWhatExpires = true;
        var start = new ProcessStartInfo("dotnet", [Pi, "100000", "1000000"]) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["Yarnish__Address"] = cluster.Address;
        start.Environment["Yarnish__Executors"] = "2";
        using var driver = Process.Start(start)!;
        var (output, error) = (driver.StandardOutput.ReadToEndAsync(), driver.StandardError.ReadToEndAsync());
        await cluster.UntilAsync("tasks of the driver have run", async () =>
            driver.HasExited || await cluster.GetAsync<ApplicationInfo[]>("apps") is [{ Containers: 2, Progress.TasksSucceeded: > 0 }]);
        Assert.False(driver.HasExited, await CaseOf(driver, output, error));

        driver.Kill();
        await driver.WaitForExitAsync();

        await cluster.UntilAsync("the application has failed", async () => (await cluster.NewestApplicationAsync()).State == "failed");
        await cluster.UntilAsync("no container is left", info => info.Containers == 0);
    }

    private static async Task<string> CaseOf(Process driver, Task<string> output, Task<string> error) => driver.HasExited ? $"The driver ended by itself: {await output}{await error}" : "";
}
