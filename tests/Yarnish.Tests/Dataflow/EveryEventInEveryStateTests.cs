using Xunit;
using Yarnish.Dataflow;
using Yarnish.Protocol;

namespace Yarnish.Tests.Dataflow;

/// <summary>
/// Every event, also late, stale and nonsensical ones, in every state a job can be in: nothing throws, nothing contradicts itself (see <c>AssertConsistent</c>, called
/// after each event), and whatever can still end well does.
/// </summary>
public sealed class EveryEventInEveryStateTests
{
    private static readonly RemoteError Error = new("System.Exception", "boom", "");

    /// <summary>Worlds with job 0 (map 0 → map 1 → result) in each state; what an event may need of the past is in them.</summary>
    private static readonly Dictionary<string, Func<World>> States = new()
    {
        ["nothing submitted"] = static () => Fleet(),
        ["no executors"] = static () => Submitted(new World()),
        ["first map running"] = static () => Submitted(Fleet()),
        ["first map half done"] = static () => Submitted(Fleet()).Succeed(0, 0),
        ["second map running"] = static () => Submitted(Fleet()).SucceedAll(0),
        ["second map repeating"] = static () => Repeating(),
        ["second map waiting"] = static () => Repeating().Advance(0.3),
        ["second map running again"] = static () => Repeating().Advance(0.3).SucceedAll(0),
        ["result running"] = static () => Submitted(Fleet()).SucceedAll(0).SucceedAll(1),
        ["result half done"] = static () => Submitted(Fleet()).SucceedAll(0).SucceedAll(1).Succeed(2, 0),
        ["result being fetched"] = static () => Fetching(),
        ["job succeeded"] = static () => Submitted(Fleet()).FinishAll(),
        ["job cancelled, tasks not stopped yet"] = static () => Submitted(Fleet()).Cancel(0),
        ["job failed"] = static () => Failed(),
        ["link interrupted"] = static () => Submitted(Fleet()).Apply(new LinkInterrupted("broker")),
        ["executor disconnected"] = static () => Disconnected(),
        ["executor lost"] = static () => Submitted(Fleet()).Lose("a"),
        ["node lost"] = static () => Submitted(Fleet()).SucceedAll(0).LoseNode("n1"),
        ["draining"] = static () => Submitted(Fleet()).Apply(new ExecutorDraining(new ExecutorId("a"))),
    };

    /// <summary>Events by name; the type each one exercises is proven below.</summary>
    private static readonly Dictionary<string, Func<World, JobEvent>> Events = new()
    {
        ["another job over the same shuffles"] = static _ => new JobSubmitted(new JobId(1000), Job()),
        ["a job said twice"] = static _ => new JobSubmitted(new JobId(0), Job()),
        ["cancel"] = static _ => new JobCancelRequested(new JobId(0), "why not"),
        ["cancel a stranger"] = static _ => new JobCancelRequested(new JobId(77), "?"),
        ["result handler failed"] = static _ => new ResultHandlerFailed(new JobId(0), 0, Error),
        ["result handler of a stranger"] = static _ => new ResultHandlerFailed(new JobId(77), 0, Error),
        ["result fetched"] = static world => new ResultFetched(AnyAttempt(world), new TaskReport(AnyAttempt(world), TaskSucceeded.Instance, TaskMetrics.Empty, default)),
        ["result lost"] = static world => new ResultLost(AnyAttempt(world), "gone"),
        ["new executor"] = static _ => new ExecutorJoined(new ExecutorAddress(new ExecutorId("z"), 1), new NodeId("n3"), 1, [], []),
        ["executor without slots"] = static _ => new ExecutorJoined(new ExecutorAddress(new ExecutorId("y"), 1), new NodeId("n3"), 0, [], []),
        ["known executor returns empty"] = static _ => new ExecutorJoined(new ExecutorAddress(new ExecutorId("a"), 9), new NodeId("n1"), 2, [], []),
        ["known executor returns with strangers"] = static _ =>
            new ExecutorJoined(new ExecutorAddress(new ExecutorId("a"), 9), new NodeId("n1"), 2, [new TaskAttemptId(9999)], [new TaskAttemptId(9998)]),
        ["hello of the past"] = static _ => new ExecutorJoined(new ExecutorAddress(new ExecutorId("a"), 0), new NodeId("n1"), 2, [], []),
        ["beat"] = static _ => new ExecutorAlive(new ExecutorAddress(new ExecutorId("a"), 1), [], 0),
        ["beat of a stranger"] = static _ => new ExecutorAlive(new ExecutorAddress(new ExecutorId("q"), 1), [], 0),
        ["beat of the future"] = static _ => new ExecutorAlive(new ExecutorAddress(new ExecutorId("a"), 9), [], 0),
        ["barrier reached"] = static _ => new BarrierReached(new ExecutorAddress(new ExecutorId("a"), 1), new TaskAttemptId(1), 0, ""),
        ["executor lost by itself"] = static _ => new ExecutorLost(new ExecutorId("a"), ContainerExitCause.Failed, "exit 1"),
        ["executor preempted"] = static _ => new ExecutorLost(new ExecutorId("b"), ContainerExitCause.Preempted, "taken"),
        ["stranger lost"] = static _ => new ExecutorLost(new ExecutorId("q"), ContainerExitCause.Failed, "?"),
        ["node lost"] = static _ => new NodeWasLost(new NodeId("n1"), "power"),
        ["strange node lost"] = static _ => new NodeWasLost(new NodeId("n77"), "power"),
        ["draining"] = static _ => new ExecutorDraining(new ExecutorId("b")),
        ["batch returned"] = static world => new BatchReturned(new ExecutorAddress(new ExecutorId("a"), 1), [.. AttemptsOn(world, "a")], QueueGone: true),
        ["batch not sent"] = static world => new BatchReturned(new ExecutorAddress(new ExecutorId("a"), 1), [.. AttemptsOn(world, "a")], QueueGone: false),
        ["batch of strangers returned"] = static _ => new BatchReturned(new ExecutorAddress(new ExecutorId("q"), 1), [new TaskAttemptId(9999)], QueueGone: true),
        ["success"] = static world => Report(world, TaskSucceeded.Instance),
        ["failure"] = static world => Report(world, World.Boom()),
        ["killed"] = static world => Report(world, new TaskKilled("?")),
        ["fetch failure"] = static world => Report(world, new FetchFailed(new ShuffleId(0), 0, new TaskAttemptId(1), new NodeId("n1"), "?")),
        ["fetch failure of a strange shuffle"] = static world => Report(world, new FetchFailed(new ShuffleId(55), 123, new TaskAttemptId(1), new NodeId("n1"), "?")),
        ["code missing"] = static world => Report(world, new TaskCodeMissing("abc")),
        ["commit denied"] = static world => Report(world, TaskCommitDenied.Instance),
        ["report of a stranger"] = static _ => new TasksEnded(
            new ExecutorAddress(new ExecutorId("q"), 1), [new TaskReport(new TaskAttemptId(9999), TaskSucceeded.Instance, TaskMetrics.Empty, default)]),
        ["no reports"] = static _ => new TasksEnded(new ExecutorAddress(new ExecutorId("a"), 1), []),
        ["link interrupted"] = static _ => new LinkInterrupted("broker"),
        ["link restored"] = static _ => new LinkRestored(MessagesMayBeLost: true),
        ["unblocked"] = static _ => new LinkRestored(MessagesMayBeLost: false),
        ["locations missing"] = static _ => new LocationsMissing(new ExecutorAddress(new ExecutorId("a"), 1), new ShuffleId(0), 1),
        ["strange locations missing"] = static _ => new LocationsMissing(new ExecutorAddress(new ExecutorId("a"), 1), new ShuffleId(55), 1),
        ["shuffle released"] = static _ => new ShuffleReleased(new ShuffleId(0)),
        ["strange shuffle released"] = static _ => new ShuffleReleased(new ShuffleId(55)),
        ["unpersisted"] = static _ => new CollectionUnpersisted(1),
        ["evicted"] = static _ => new PartitionsTold(new ExecutorAddress(new ExecutorId("a"), 1), new NodeId("n1"), [new CachedPartition(1, 0, 0, 0)]),
        ["partitions of a stranger"] = static _ => new PartitionsTold(new ExecutorAddress(new ExecutorId("q"), 1), new NodeId("n77"), [new CachedPartition(1, 0, 0, 7)])
        {
            Lost = [new PartitionAt(9, 9, new NodeId("n76"), "")], AllWritten = true,
        },
        ["node draining"] = static _ => new NodeDraining(new NodeId("n1"), true),
        ["strange node draining"] = static _ => new NodeDraining(new NodeId("n77"), true),
        ["node stays"] = static _ => new NodeDraining(new NodeId("n1"), false),
        ["time passed"] = static _ => TimePassed.Instance,
    };

    public static TheoryData<string> StateNames() => [.. States.Keys];

    [Theory]
    [MemberData(nameof(StateNames))]
    public void Every_event_is_taken_and_what_can_end_well_does(string state)
    {
        foreach (var (name, make) in Events)
        {
            foreach (var twice in new[] { false, true })
            {
                try
                {
                    var world = States[state]();
                    var happened = make(world);
                    Forget(world, happened);
                    world.Apply(happened);
                    if (twice)
                    {
                        world.Apply(happened);
                    }
                    EndsWell(world);
                }
                catch (Exception error)
                {
                    throw new InvalidOperationException($"'{name}'{(twice ? " twice" : "")} in state '{state}': {error.Message}", error);
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(StateNames))]
    public void Events_in_a_row_are_taken(string state)
    {
        // A fifth of all pairs, others in each state, keeps this within seconds.
        var pair = States.Keys.ToList().IndexOf(state);
        foreach (var (first, makeFirst) in Events)
        {
            foreach (var (second, makeSecond) in Events)
            {
                if (pair++ % 5 != 0)
                {
                    continue;
                }
                try
                {
                    var world = States[state]();
                    var one = makeFirst(world);
                    Forget(world, one);
                    world.Apply(one);
                    var two = makeSecond(world);
                    Forget(world, two);
                    world.Apply(two);
                    EndsWell(world);
                }
                catch (Exception error)
                {
                    throw new InvalidOperationException($"'{first}' then '{second}' in state '{state}': {error.Message}", error);
                }
            }
        }
    }

    [Fact]
    public void Every_type_of_event_is_among_them()
    {
        var world = Submitted(Fleet());
        var covered = Events.Values.Select(make => make(world).GetType()).ToHashSet();

        Assert.Empty(typeof(JobEvent).Assembly.GetTypes().Where(type => type.IsSubclassOf(typeof(JobEvent))).Except(covered));
    }

    [Fact]
    public void Every_type_of_event_and_effect_is_closed()
    {
        var open = typeof(JobEvent).Assembly.GetTypes().Where(type => (type.IsSubclassOf(typeof(JobEvent)) || type.IsSubclassOf(typeof(JobEffect))) && !type.IsSealed);

        Assert.Empty(open);
    }

    /// <summary>Jobs that still run succeed once the link works and there is a fresh executor; then nothing is left.</summary>
    private static void EndsWell(World world)
    {
        world.Apply(new LinkRestored(MessagesMayBeLost: false));
        world.Join("fresh", slots: 4, node: "fresh");
        for (var i = 0; i < 50 && world.Snapshot.Jobs.Any(static job => job.State == JobState.Running); i++)
        {
            foreach (var fetch in world.All.OfType<FetchResult>().ToArray())
            {
                world.Apply(new ResultFetched(fetch.Report.AttemptId, fetch.Report));
            }
            world.FinishAll().Advance(0.4);
        }
        Assert.DoesNotContain(world.Snapshot.Jobs, static job => job.State == JobState.Running);

        // Executors the test never answered for are given up; then even their attempts are gone.
        world.Advance(40);
        world.AssertEmpty();
    }

    private static JobDefinition Job() => Given.Job().Map(0, 2, persisted: [1]).Map(1, 2, [0]).Result(2, reads: 1);

    private static World Fleet() => new World().Join("a", node: "n1").Join("b", node: "n2");

    private static World Submitted(World world)
    {
        world.Submit(Job());
        return world;
    }

    private static World Repeating()
    {
        var world = Submitted(Fleet()).SucceedAll(0);
        return world.FetchFail(1, 0, 0, 0);
    }

    private static World Fetching()
    {
        var world = Submitted(Fleet()).SucceedAll(0).SucceedAll(1);
        return world.Report(world.Find(2, 0), TaskSucceeded.Instance, block: true);
    }

    private static World Failed()
    {
        var world = Submitted(Fleet());
        for (var i = 0; i < 4; i++)
        {
            world.Fail(0, 0);
        }
        return world;
    }

    private static World Disconnected()
    {
        var world = Submitted(Fleet());
        var returned = new BatchReturned(new ExecutorAddress(new ExecutorId("a"), 1), [.. AttemptsOn(world, "a")], QueueGone: true);
        Forget(world, returned);
        return world.Apply(returned);
    }

    private static TaskAttemptId[] AttemptsOn(World world, string executor) => [.. world.On(executor).Select(static task => new TaskAttemptId(task.Attempt))];

    private static TaskAttemptId AnyAttempt(World world) =>
        world.All.OfType<FetchResult>().LastOrDefault()?.Report.AttemptId ?? new TaskAttemptId(world.InFlight.Count > 0 ? world.InFlight[0].Attempt : 1);

    /// <summary>A report of the oldest attempt in flight; of an attempt that ended long ago when none is.</summary>
    private static TasksEnded Report(World world, TaskEnd end)
    {
        if (world.InFlight.Count > 0)
        {
            var task = world.InFlight[0];
            return new TasksEnded(task.To, [world.ReportOf(task, end)]);
        }
        return new TasksEnded(new ExecutorAddress(new ExecutorId("a"), 1), [new TaskReport(new TaskAttemptId(1), end, TaskMetrics.Empty, default)]);
    }

    /// <summary>What the fake back end must no longer answer for.</summary>
    private static void Forget(World world, JobEvent happened)
    {
        var sent = (List<SentTask>)world.InFlight;
        switch (happened)
        {
            case TasksEnded ended:
                sent.RemoveAll(task => ended.Reports.Any(report => report.AttemptId.Value == task.Attempt));
                break;
            case BatchReturned returned:
                sent.RemoveAll(task => task.To == returned.Address && returned.Attempts.Any(id => id.Value == task.Attempt));
                break;
            case ExecutorJoined joined when world.Knows(joined.Address):
                break;
            case ExecutorJoined { Address.Epoch: > 1 } joined:
                sent.RemoveAll(task => task.Executor == joined.Address.ExecutorId.Value);
                world.Know(joined.Address.ExecutorId.Value, joined.NodeId.Value, joined.Address.Epoch, joined.Slots);
                break;
            case ExecutorJoined joined:
                world.Know(joined.Address.ExecutorId.Value, joined.NodeId.Value, joined.Address.Epoch, joined.Slots);
                break;
            case ExecutorLost lost:
                sent.RemoveAll(task => task.Executor == lost.ExecutorId.Value);
                break;
            case NodeWasLost lost:
                sent.RemoveAll(task => task.Node == lost.NodeId.Value);
                break;
        }
    }
}
