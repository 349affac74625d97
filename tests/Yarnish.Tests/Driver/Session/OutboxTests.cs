using System.Threading.Channels;
using Xunit;
using Yarnish.Jobs;
using Yarnish.Protocol;
using Yarnish.Transport;

namespace Yarnish.Tests.Driver.Session;

public sealed class OutboxTests
{
    private static readonly ExecutorAddress To = new(new ExecutorId("e"), 1);

    [Fact]
    public void Messages_leave_in_order_also_when_the_link_makes_them_wait()
    {
        var link = new ScriptedLink();
        var outbox = new Outbox(link);

        outbox.Send(To, new DriverAlive(1));
        link.Full = true;
        outbox.Send(To, new DriverAlive(2));
        outbox.Send(To, new DriverAlive(3));
        Assert.Equal([1, 2], link.Sent);
        Assert.NotNull(outbox.Pending);

        outbox.Continue();
        Assert.Equal([1, 2], link.Sent);

        link.Full = false;
        link.Release(true);
        outbox.Continue();
        Assert.Equal([1, 2, 3], link.Sent);
        Assert.Null(outbox.Pending);
    }

    [Fact]
    public void Fence_holds_back_what_comes_later_until_its_work_is_done()
    {
        var link = new ScriptedLink();
        var outbox = new Outbox(link);
        var work = new TaskCompletionSource();

        outbox.Fence(work.Task, (To, new DriverAlive(1)));
        outbox.Send(To, new DriverAlive(2));
        Assert.Empty(link.Sent);

        work.SetException(new IOException("registry"));
        outbox.Continue();
        Assert.Equal([1, 2], link.Sent);
    }

    [Fact]
    public void Work_that_is_done_already_holds_nothing_back()
    {
        var link = new ScriptedLink();
        var outbox = new Outbox(link);

        outbox.Fence(Task.CompletedTask, null);
        outbox.Send(To, new DriverAlive(1));

        Assert.Equal([1], link.Sent);
    }

    [Fact]
    public void Batch_that_the_link_refuses_comes_back()
    {
        var link = new ScriptedLink { Down = true };
        var outbox = new Outbox(link);
        var batch = new TaskBatch(new ApplicationId("a"), 1, new StageId(0), 0, "code", []);

        outbox.Send(To, new DriverAlive(1));
        outbox.Send(To, batch);

        Assert.True(outbox.TryTakeUnsent(out var to, out var unsent));
        Assert.Equal((To, batch), (to, unsent));
        Assert.False(outbox.TryTakeUnsent(out _, out _));
    }

    private sealed class ScriptedLink : IDriverLink
    {
        private readonly Queue<TaskCompletionSource<bool>> held = new();

        public List<int> Sent { get; } = [];

        public bool Full { get; set; }

        public bool Down { get; set; }

        public ChannelReader<DriverLinkEvent> Events => throw new NotSupportedException();

        public void Release(bool sent) => held.Dequeue().SetResult(sent);

        public Task StartAsync(CancellationToken cancellation) => Task.CompletedTask;

        public ValueTask<bool> SendAsync(ExecutorAddress to, DriverMessage message)
        {
            if (Down)
            {
                return new(false);
            }
            Sent.Add(((DriverAlive)message).DriverEpoch);
            if (!Full)
            {
                return new(true);
            }
            var wait = new TaskCompletionSource<bool>();
            held.Enqueue(wait);
            return new(wait.Task);
        }

        public ValueTask<bool> BroadcastAsync(DriverMessage message) => SendAsync(To, message);

        public ValueTask DisposeAsync() => default;
    }
}
