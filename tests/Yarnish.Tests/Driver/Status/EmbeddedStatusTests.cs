using Xunit;
using Yarnish.Protocol;
using Yarnish.Status;

namespace Yarnish.Tests.Driver.Status;

/// <summary>What the driver loop of a real, embedded session tells its status, read back from its event log.</summary>
public sealed class EmbeddedStatusTests : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly string events = Directory.CreateTempSubdirectory("yarnish-status-").FullName;

    public void Dispose() => Directory.Delete(events, recursive: true);

    private async Task<ApplicationStatus> RunAsync(Func<YarnishSession, Task> program)
    {
        await using (var session = await YarnishSession.CreateBuilder().WithName("told").WithProgress(ProgressStyle.None)
            .Configure(options => (options.Address, options.EventLog, options.ExecutorCores) = ("", events, 2)).ConnectAsync(TestContext.Current.CancellationToken))
        {
            await program(session).WaitAsync(Patience);
        }
        var log = new EventLogReader(Directory.EnumerateDirectories(events).Single());
        var status = EventLogReader.Replay(log);
        Assert.Equal((0, ""), (log.Skipped, log.CutOff));
        Assert.Equal((0, 0), (status.ToDetail().EventsLost, status.ToDetail().TasksNotDetailed));
        return status;
    }

    [Fact]
    public async Task Jobs_stages_tasks_and_what_is_persisted_are_told_by_name()
    {
        var status = await RunAsync(async session =>
        {
            var squares = session.Range(0, 1000, 4).Select(static number => number * number).Persist();
            Assert.Equal(1000, await squares.CountAsync());
            Assert.Equal(6, (await squares.Select(static square => KeyValuePair.Create(square % 10, 1L)).ReduceByKey(static (left, right) => left + right, 3).CollectAsync()).Length);
        });

        var detail = status.ToDetail();
        Assert.Equal(("told", "succeeded", 2), (detail.Name, detail.State, detail.Jobs["succeeded"]));
        Assert.Equal((11, 0, 0), (detail.Tasks["succeeded"], detail.Tasks["failed"], detail.Tasks["running"]));
        var job = status.Jobs().First();
        Assert.StartsWith("CollectAsync at EmbeddedStatusTests.cs:", job.Name, StringComparison.Ordinal);
        Assert.Equal(["succeeded", "succeeded"], job.Stages.Select(stage => stage.State));
        // The edge between the two stages.
        Assert.Equal(job.Stages[0].Writes, job.Stages[1].Reads.Single());
        Assert.True(detail.Totals.ShuffleWriteBytes > 0);
        Assert.Equal(4, status.Stage(job.Stages[0].StageId.Value, 0)!.ToSummary().Tasks);

        var collection = Assert.Single(status.Collections());
        Assert.StartsWith("Select at EmbeddedStatusTests.cs:", collection.Name, StringComparison.Ordinal);
        Assert.Equal((4, 4), (collection.Partitions, collection.CachedPartitions));
        Assert.True(collection.MemoryBytes > 0);
        Assert.Equal(11, Assert.Single(status.Executors()).Succeeded);
    }

    [Fact]
    public async Task Failed_tries_are_told_with_their_error_and_a_verdict()
    {
        Fails = 2;
        var status = await RunAsync(async session => Assert.Equal(8, await session.Range(0, 8, 2).Select(static number => Sometimes(number)).CountAsync()));

        var stage = Assert.Single(status.Stages());
        Assert.Equal(("succeeded", 2, 2L), (stage.State, stage.Done, stage.Failed));
        Assert.Equal(StageVerdictKind.Retries, stage.Verdict.Kind);
        Assert.All(status.Stage(stage.Id.Value, 0)!.ToList("failed", 0, 10).Tasks, task => Assert.Equal("System.IO.IOException: not now", task.Error));
    }

    [Fact]
    public async Task Failed_job_has_its_message_and_so_has_the_application()
    {
        var status = await RunAsync(async session => await Assert.ThrowsAsync<YarnishJobException>(
            () => session.Range(0, 8, 1).Select(static number => number < 4 ? number : throw new FormatException("bad")).CountAsync()));

        var job = Assert.Single(status.Jobs());
        Assert.Equal(("failed", 4L), (job.State, job.TasksFailed));
        Assert.Contains("in:   the function of Select at EmbeddedStatusTests.cs:", job.Message, StringComparison.Ordinal);
        Assert.Equal(("failed", job.Message), (status.ToDetail().State, status.ToDetail().Message));
        Assert.Equal(StageVerdictKind.Failed, Assert.Single(status.Stages()).Verdict.Kind);
    }

    [Fact]
    public async Task Named_accumulators_are_told_with_their_last_value()
    {
        var status = await RunAsync(async session =>
        {
            var (rows, unnamed) = (session.Counter("rows seen"), session.Counter());
            for (var i = 0; i < 3; i++)
            {
                await session.Range(0, 100, 4).Select(number =>
                {
                    rows.Add(1);
                    unnamed.Add(1);
                    return number;
                }).CountAsync();
            }
            Assert.Equal(300, rows.Value);
        });

        Assert.Equal([("rows seen", "300")], status.Accumulators().Select(accumulator => (accumulator.Name, accumulator.Value)));
    }

    [Fact]
    public async Task Unpersisted_and_cancelled_are_told()
    {
        var status = await RunAsync(async session =>
        {
            var rows = session.Range(0, 8, 2).Persist();
            await rows.CountAsync();
            rows.Unpersist();
            using var cancel = new CancellationTokenSource();
            var job = session.Range(0, 2, 2).Select(static number => Wait(number)).CountAsync(cancellation: cancel.Token);
            await cancel.CancelAsync();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => job);
        });

        Assert.Empty(status.Collections());
        Assert.Equal(1, status.ToDetail().Jobs["cancelled"]);
        Assert.Equal(0, status.ToDetail().Tasks["running"]);
    }

    private static int Fails;

    private static int Sometimes(int number) => number % 4 == 0 && Interlocked.Decrement(ref Fails) >= 0 ? throw new IOException("not now") : number;

    private static int Wait(int number)
    {
        Thread.Sleep(100);
        return number;
    }
}
