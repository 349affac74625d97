using System.Globalization;
using System.Runtime.CompilerServices;
using Xunit;
using Yarnish.Integration.Tests.Fixtures;
using Yarnish.Protocol;

namespace Yarnish.Integration.Tests.Jobs;

/// <summary>One partition of thousands kills whatever executor runs it, faster than any beat: it is found by what the executor had in hand.</summary>
[Trait("Category", "Processes")]
public sealed class PoisonTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(180);

    private static Task<YarnishSession> OpenAsync(TestCluster cluster, int cores = 2) => YarnishSession.CreateBuilder()
        .WithName("poison").WithAddress(cluster.Address).WithExecutors(1).WithExecutorCores(cores).WithExecutorMemory(512 << 20).WithProgress(ProgressStyle.None)
        .ConnectAsync(TestContext.Current.CancellationToken);

    private async Task FailsAsync(Func<int, int> poison, string cause, params string[] words)
    {
        await using var cluster = await TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes: 1);
        await using var session = await OpenAsync(cluster);

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => session.Range(0, 3000, 3000).Select(poison).CountAsync().WaitAsync(Patience));

        Assert.Contains("partition 1234 failed 4 times", error.Message, StringComparison.Ordinal);
        Assert.Contains(cause, error.Message, StringComparison.Ordinal);
        Assert.Contains("PoisonTests.cs:", error.Message, StringComparison.Ordinal);
        Assert.All(words, word => Assert.Contains(word, error.Message, StringComparison.Ordinal));
        var end = Assert.IsType<TaskExecutorLost>(error.LastEnd);
        Assert.True(end.CausedByTask);
        Assert.Equal(1234, error.Partition);
        Assert.Equal(4, session.Progress.ExecutorsLost);

        // The session goes on with other executors.
        Assert.Equal(10, await session.Range(0, 10, 5).CountAsync().WaitAsync(Patience));
    }

    [Fact]
    public Task Environment_exit() => FailsAsync(static row => row == 1234 ? Exit() : row, "Failed", "exit code 3");

    [Fact]
    public Task Fail_fast() => FailsAsync(
        static row =>
        {
            if (row == 1234)
            {
                Environment.FailFast("the poison works");
            }
            return row;
        },
        "KilledBySignal", "exit code 134", "SIGABRT", "the poison works");

    [Fact]
    public Task Stack_overflow() => FailsAsync(static row => row == 1234 ? Deeper(row) : row, "KilledBySignal", "exit code 134", "Stack overflow");

    [Fact]
    public Task Sigkill_from_outside() => FailsAsync(static row => row == 1234 ? KillOneself() : row, "KilledBySignal", "exit code 137", "SIGKILL");

    [Fact]
    public async Task Partition_that_succeeds_at_its_third_try_lets_the_job_succeed()
    {
        await using var cluster = await TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes: 1);
        await using var session = await OpenAsync(cluster);
        var tokens = Path.Combine(cluster.Directory, "tokens");
        Directory.CreateDirectory(tokens);
        File.WriteAllText(Path.Combine(tokens, "1"), "");
        File.WriteAllText(Path.Combine(tokens, "2"), "");

        var count = await session.Range(0, 2000, 2000).Select(row =>
        {
            if (row == 777)
            {
                foreach (var token in Directory.GetFiles(tokens))
                {
                    // Taken before the end, so it dies exactly as often as there are tokens.
                    File.Delete(token);
                    KillOneself();
                }
            }
            return row;
        }).CountAsync().WaitAsync(Patience);

        Assert.Equal(2000, count);
        Assert.Equal(2, session.Progress.ExecutorsLost);
        Assert.Empty(Directory.GetFiles(tokens));
    }

    private static int Exit()
    {
        Environment.Exit(3);
        return 0;
    }

    private static int KillOneself()
    {
        using var kill = System.Diagnostics.Process.Start("kill", ["-KILL", Environment.ProcessId.ToString(CultureInfo.InvariantCulture)]);
        Thread.Sleep(Timeout.Infinite);
        return 0;
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.NoOptimization)]
    private static int Deeper(int depth) => Deeper(depth + 1) + 1;
}
