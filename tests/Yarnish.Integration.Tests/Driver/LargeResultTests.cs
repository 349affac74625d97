using System.Globalization;
using Xunit;
using Yarnish.Integration.Tests.Fixtures;

namespace Yarnish.Integration.Tests.Driver;

/// <summary>Results and jobs that are large in one way: bytes, or partitions.</summary>
[Trait("Category", "Processes")]
public sealed class LargeResultTests(LargeResultTests.Cluster fixture) : IClassFixture<LargeResultTests.Cluster>
{
    private const long Mebibyte = 1 << 20;

    private static string Program { get; } =
        Path.Combine(Repository.Root, "artifacts", "bin", "StreamedResult", new DirectoryInfo(AppContext.BaseDirectory).Name, "StreamedResult.dll");

    [Fact]
    public async Task One_gibibyte_streams_through_a_driver_of_300_mebibytes()
    {
        // Of 256 MiB each: neither the driver nor an executor may hold one.
        const string Partitions = "4";
        var (exitCode, output, error) = await Shell.RunAsync(
            "dotnet", [Program, "--address", fixture.Value.Address, "--executors", "2", "--executor-memory", "256m", "1024", Partitions],
            // The runtime refuses to grow its heap beyond this: a driver that wanted more would end.
            environment: ("DOTNET_GCHeapHardLimit", (128 * Mebibyte).ToString("x", CultureInfo.InvariantCulture)));

        Assert.True(exitCode == 0, error + fixture.Value.Logs());
        var figures = output.Split(' ').Select(figure => long.Parse(figure, CultureInfo.InvariantCulture)).ToArray();
        Assert.Equal([1024 * 1024, 1024 * Mebibyte], figures[..2]);
        Assert.InRange(figures[2], 1, 300 * Mebibyte);
        TestContext.Current.SendDiagnosticMessage("peak of the driver: {0} MiB", figures[2] / Mebibyte);
    }

    [Fact]
    public async Task A_hundred_thousand_partitions_are_counted()
    {
        await using var session = await YarnishSession.CreateBuilder().WithName("many partitions").WithAddress(fixture.Value.Address).WithExecutors(2).WithExecutorMemory(256 << 20)
            .WithProgress(ProgressStyle.None).ConnectAsync(TestContext.Current.CancellationToken);

        Assert.Equal(1_000_000, await session.Range(0, 1_000_000, 100_000).CountAsync(TestContext.Current.CancellationToken));
        Assert.True(session.Progress.TasksSucceeded >= 100_000);
    }

    /// <summary>One cluster for all tests of the class.</summary>
    public sealed class Cluster : IAsyncLifetime
    {
        internal TestCluster Value { get; private set; } = null!;

        public async ValueTask InitializeAsync() => Value = await TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes: 2);

        public ValueTask DisposeAsync() => Value.DisposeAsync();
    }
}
