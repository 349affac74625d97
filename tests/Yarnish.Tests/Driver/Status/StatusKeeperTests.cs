using Xunit;
using Yarnish.Dataflow;
using Yarnish.Protocol;
using Yarnish.Status;

namespace Yarnish.Tests.Driver.Status;

public sealed class StatusKeeperTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    [Fact]
    public async Task Answer_holds_everything_that_was_posted_before()
    {
        await using var keeper = new StatusKeeper(null, TimeProvider.System);
        keeper.Post(Given.Started);
        for (var i = 0; i < 500; i++)
        {
            keeper.Post(new StatusEvent.EventsLost(Given.Start, 1));
            if (i % 100 == 0)
            {
                Assert.Equal(i + 1, (await keeper.AskAsync(status => status.ToDetail(), TestContext.Current.CancellationToken).WaitAsync(Patience)).EventsLost);
            }
        }
    }

    [Fact]
    public async Task More_tasks_than_can_be_looked_at_are_counted_and_said_so()
    {
        var log = new HeldLog();
        var keeper = new StatusKeeper(log, TimeProvider.System);
        keeper.Post(Given.Started);
        keeper.Post(Given.Stage(0, 1_000_000));
        await log.Held.Task.WaitAsync(Patience);
        // Nobody folds now: 300,000 ends come, of which a third may wait.
        for (var i = 0; i < 300; i++)
        {
            keeper.Post(new StatusEvent.TasksEnded(Given.Start, [.. Enumerable.Range(i * 1000, 1000).Select(k => Given.Task(k, partition: k, end: k % 1000 == 0 ? TaskEndKind.Failed : TaskEndKind.Succeeded))]));
        }
        keeper.Post(new StatusEvent.StageEnded(Given.Start, default, 0, StageOutcome.Succeeded, ""));
        log.Go.SetResult();
        var detail = await keeper.AskAsync(status => status.ToDetail(), TestContext.Current.CancellationToken).WaitAsync(Patience);
        var stage = await keeper.AskAsync(status => status.Stages().Single(), TestContext.Current.CancellationToken).WaitAsync(Patience);
        await keeper.DisposeAsync();

        Assert.Equal((299_700, 300), (detail.Tasks["succeeded"], detail.Tasks["failed"]));
        Assert.Equal(200_000, detail.TasksNotDetailed);
        Assert.Equal(0, detail.EventsLost);
        Assert.Equal((299_700, 300, 200_000, "succeeded"), (stage.Succeeded, stage.Failed, stage.NotDetailed, stage.State));
        // The log tells the same, so a replay shows the same.
        Assert.Equal(detail.Tasks, Given.Status(log.Events).ToDetail().Tasks);
    }

    [Fact]
    public async Task Events_that_found_no_room_are_counted_as_lost()
    {
        var log = new HeldLog();
        await using var keeper = new StatusKeeper(log, TimeProvider.System);
        keeper.Post(Given.Started);
        keeper.Post(Given.Stage(0, 1));
        await log.Held.Task.WaitAsync(Patience);
        for (var i = 0; i < 70_000; i++)
        {
            keeper.Post(new StatusEvent.CollectionUnpersisted(Given.Start, i));
        }
        log.Go.SetResult();
        await keeper.AskAsync(status => 0, TestContext.Current.CancellationToken).WaitAsync(Patience);
        keeper.Post(new StatusEvent.CollectionUnpersisted(Given.Start, 0));

        Assert.Equal(70_000 - 65_536, (await keeper.AskAsync(status => status.ToDetail(), TestContext.Current.CancellationToken).WaitAsync(Patience)).EventsLost);
    }

    [Fact]
    public async Task Question_that_cannot_be_answered_fails_for_who_asked_and_nobody_else()
    {
        await using var keeper = new StatusKeeper(null, TimeProvider.System);

        await Assert.ThrowsAsync<InvalidOperationException>(() => keeper.AskAsync(status => status.ToDetail(), TestContext.Current.CancellationToken).WaitAsync(Patience));
        keeper.Post(Given.Started);
        Assert.Equal("test", (await keeper.AskAsync(status => status.ToDetail(), TestContext.Current.CancellationToken).WaitAsync(Patience)).Name);
    }

    [Fact]
    public async Task End_of_each_stage_is_told_with_its_verdict()
    {
        var told = new TaskCompletionSource<StageInfo>();
        await using var keeper = new StatusKeeper(null, TimeProvider.System, told.SetResult);
        keeper.Post(Given.Started);
        keeper.Post(Given.Stage(0, 1));
        keeper.Post(new StatusEvent.TasksEnded(Given.Start, [Given.Task(1)]));
        keeper.Post(new StatusEvent.StageEnded(Given.Start, default, 0, StageOutcome.Succeeded, ""));

        Assert.Equal(StageVerdictKind.Healthy, (await told.Task.WaitAsync(Patience)).Verdict.Kind);
    }

    /// <summary>Holds its keeper at the first stage until it may go on.</summary>
    private sealed class HeldLog : IStatusLog
    {
        public TaskCompletionSource Held { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public TaskCompletionSource Go { get; } = new();

        public List<StatusEvent> Events { get; } = [];

        public void Append(StatusEvent happened)
        {
            Events.Add(happened);
            if (happened is StatusEvent.StageStarted)
            {
                Held.SetResult();
                Assert.True(Go.Task.Wait(Patience));
            }
        }

        public void Tick(bool idle)
        {
        }

        public ValueTask DisposeAsync() => default;
    }
}
