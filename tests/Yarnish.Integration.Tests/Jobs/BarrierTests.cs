using System.Diagnostics;
using System.Globalization;
using Xunit;
using Yarnish.Integration.Tests.Fixtures;

namespace Yarnish.Integration.Tests.Jobs;

/// <summary>Tasks in several processes that wait for each other, over the task path.</summary>
[Trait("Category", "Processes")]
public sealed class BarrierTests(PrivateServices services) : IClassFixture<PrivateServices>
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(120);

    private static Task<YarnishSession> OpenAsync(TestCluster cluster, int executors = 2) => YarnishSession.CreateBuilder()
        .WithName("barrier").WithAddress(cluster.Address).WithExecutors(executors).WithExecutorCores(2).WithExecutorMemory(256 << 20).WithProgress(ProgressStyle.None)
        .ConnectAsync(TestContext.Current.CancellationToken);

    /// <summary>Ten rounds in which everybody adds up what all said; in round 5 the tasks wait for a file when there is one to wait for.</summary>
    private static Task<(int Process, int Sum)[]> RoundsAsync(YarnishSession session, string? gate) => session.Range(0, 4, 4).Barrier().MapPartitions((context, rows) =>
    {
        var sum = rows.Sum() + 1;
        for (var round = 0; round < 10; round++)
        {
            if (round == 5 && gate is not null)
            {
                File.WriteAllText(Path.Combine(gate, $"{context.Partition}-{context.Task.StageAttempt}"), Environment.ProcessId.ToString(CultureInfo.InvariantCulture));
                while (!File.Exists(Path.Combine(gate, "open")))
                {
                    context.Task.Cancellation.WaitHandle.WaitOne(20);
                    context.Task.Cancellation.ThrowIfCancellationRequested();
                }
            }
            sum = context.AllGather($"{sum}").Sum(static text => int.Parse(text, CultureInfo.InvariantCulture)) % 1009;
        }
        return new[] { (Environment.ProcessId, sum) };
    }).CollectAsync();

    private static int Expected()
    {
        int[] sums = [1, 2, 3, 4];
        for (var round = 0; round < 10; round++)
        {
            var next = sums.Sum() % 1009;
            sums = [next, next, next, next];
        }
        return sums[0];
    }

    [Fact]
    public async Task Tasks_of_two_processes_meet()
    {
        await using var cluster = await TestCluster.StartAsync(services.RabbitMq, services.Redis, nodes: 2);
        await using var session = await OpenAsync(cluster);

        var results = await RoundsAsync(session, null).WaitAsync(Patience);

        Assert.All(results, result => Assert.Equal(Expected(), result.Sum));
        Assert.Equal(2, results.Select(static result => result.Process).Distinct().Count());
    }

    [Fact]
    public async Task Participant_that_is_killed_in_the_middle_starts_all_again()
    {
        await using var cluster = await TestCluster.StartAsync(services.RabbitMq, services.Redis, nodes: 2);
        await using var session = await OpenAsync(cluster);
        var gate = Directory.CreateDirectory(Path.Combine(cluster.Directory, "gate")).FullName;
        var job = RoundsAsync(session, gate);
        await cluster.UntilAsync("all tasks are in the middle", () => Task.FromResult(Directory.GetFiles(gate, "*-0").Length == 4));

        using (var victim = Process.GetProcessById(int.Parse(File.ReadAllText(Path.Combine(gate, "2-0")), CultureInfo.InvariantCulture)))
        {
            victim.Kill();
        }
        await cluster.UntilAsync("all tasks run again", () => Task.FromResult(Directory.GetFiles(gate, "*-1").Length == 4));
        File.WriteAllText(Path.Combine(gate, "open"), "");

        Assert.All(await job.WaitAsync(Patience), result => Assert.Equal(Expected(), result.Sum));
        Assert.Empty(Directory.GetFiles(gate, "*-2"));
    }

    [Fact]
    public async Task Meeting_outlives_the_connections_it_goes_over()
    {
        await using var cluster = await TestCluster.StartAsync(services.RabbitMq, services.Redis, nodes: 2);
        await using var session = await OpenAsync(cluster);
        var gate = Directory.CreateDirectory(Path.Combine(cluster.Directory, "gate")).FullName;
        var job = RoundsAsync(session, gate);
        await cluster.UntilAsync("all tasks are in the middle", () => Task.FromResult(Directory.GetFiles(gate, "*-0").Length == 4));

        await services.KillRabbitMqAsync();
        File.WriteAllText(Path.Combine(gate, "open"), "");
        await services.StartRabbitMqAsync();

        Assert.All(await job.WaitAsync(Patience), result => Assert.Equal(Expected(), result.Sum));
        Assert.Empty(Directory.GetFiles(gate, "*-1"));
    }

    [Fact]
    public async Task Too_few_slots_are_told_at_once()
    {
        await using var cluster = await TestCluster.StartAsync(services.RabbitMq, services.Redis, nodes: 1);
        await using var session = await OpenAsync(cluster, executors: 1);

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => RoundsAsync(session, null).WaitAsync(TimeSpan.FromSeconds(20)));

        Assert.Contains("all its 4 tasks at the same time", error.Message, StringComparison.Ordinal);
        Assert.Contains("2 slots at most", error.Message, StringComparison.Ordinal);
    }
}
