using System.Globalization;
using Xunit;
using Yarnish.Dataflow;
using Yarnish.Protocol;

namespace Yarnish.Tests.Dataflow;

/// <summary>
/// A machine, its clock, and a fake back end: the test decides how every task ends. Remembers what the effects said; speaks of stages by number, executors by name.
/// </summary>
internal sealed class World
{
    private readonly Dictionary<string, (string Node, int Epoch, int Slots)> _executors = [];
    private readonly List<SentTask> _sent = [];
    private readonly HashSet<long> _reported = [];
    private readonly SortedSet<ShuffleId> _shuffles = [];
    private int _nextJob;

    public World(JobMachineOptions? options = null, params string[] executors)
    {
        Machine = new JobMachine(options ?? new JobMachineOptions());
        foreach (var executor in executors)
        {
            Join(executor);
        }
    }

    public JobMachine Machine { get; }

    public DateTimeOffset Now { get; private set; } = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    /// <summary>Effects of the last event.</summary>
    public List<JobEffect> Last { get; } = [];

    /// <summary>All effects.</summary>
    public List<JobEffect> All { get; } = [];

    public Dictionary<int, SortedDictionary<int, TaskReport>> Results { get; } = [];

    /// <summary>How jobs ended: null for success, else the failure, or the reason of the cancellation as text.</summary>
    public Dictionary<int, object?> Ended { get; } = [];

    /// <summary>Attempts in flight at executors that live, in the order of sending.</summary>
    public IReadOnlyList<SentTask> InFlight => _sent;

    /// <summary>Attempts told to stop.</summary>
    public HashSet<long> Stopped { get; } = [];

    public JobSnapshot Snapshot => Machine.Snapshot();

    // ── What happens.

    public World Join(string executor, int slots = 2, string node = "n1", long[]? running = null, long[]? finished = null, int? epoch = null)
    {
        var at = epoch ?? (_executors.TryGetValue(executor, out var known) ? known.Epoch + 1 : 1);
        _executors[executor] = (node, at, slots);
        return Apply(new ExecutorJoined(new ExecutorAddress(new ExecutorId(executor), at), new NodeId(node), slots, Ids(running), Ids(finished)));
    }

    /// <summary>An executor the test lets join by its own event.</summary>
    public void Know(string executor, string node, int epoch, int slots) => _executors[executor] = (node, epoch, slots);

    /// <summary>Whether it has joined on this or a later connection.</summary>
    public bool Knows(ExecutorAddress address) => _executors.TryGetValue(address.ExecutorId.Value, out var known) && known.Epoch >= address.Epoch;

    public int Submit(JobDefinition job)
    {
        var id = _nextJob++;
        Results[id] = [];
        Apply(new JobSubmitted(new JobId(id), job));
        return id;
    }

    public World Cancel(int job) => Apply(new JobCancelRequested(new JobId(job), "no longer needed"));

    public World Apply(JobEvent happened)
    {
        if (happened is JobSubmitted submitted)
        {
            _shuffles.UnionWith(submitted.Job.Stages.Where(stage => stage.Output is not null).Select(stage => stage.Output!.Value.Shuffle));
        }
        Last.Clear();
        Machine.Apply(happened, Now, Last);
        if (_sent.Count < 1000 && _shuffles.Count < 100)
        {
            Machine.AssertConsistent();
        }
        foreach (var effect in Last)
        {
            All.Add(effect);
            Note(effect);
        }
        return this;
    }

    /// <summary>Moves the clock, waking the machine whenever it wants to be woken.</summary>
    public World Advance(double seconds)
    {
        var end = Now + TimeSpan.FromSeconds(seconds);
        for (var wakes = 0; Machine.NextWake is { } wake && wake <= end; wakes++)
        {
            Assert.True(wakes < 100_000, "the machine wakes without end");
            Now = wake > Now ? wake : Now;
            Apply(TimePassed.Instance);
        }
        Now = end;
        return Apply(TimePassed.Instance);
    }

    /// <summary>Lets executors beat, so that nobody is given up, while time passes.</summary>
    public World AdvanceAlive(double seconds)
    {
        for (var left = seconds; left > 0; left -= 2)
        {
            Advance(Math.Min(2, left));
            foreach (var name in _executors.Keys.ToArray())
            {
                Beat(name);
            }
        }
        return this;
    }

    public World Beat(string executor) => Apply(new ExecutorAlive(Address(executor), Ids([.. On(executor).Select(task => task.Attempt)]), 0));

    /// <summary>An executor tells what it and its node hold of partitions now.</summary>
    public World Tell(string executor, params CachedPartition[] held) => Apply(new PartitionsTold(Address(executor), new NodeId(_executors[executor].Node), held));

    /// <summary>An executor that leaves has written everything.</summary>
    public World TellAllWritten(string executor, params CachedPartition[] held) =>
        Apply(new PartitionsTold(Address(executor), new NodeId(_executors[executor].Node), held) { AllWritten = true });

    public World Lose(string executor, ContainerExitCause cause = ContainerExitCause.Failed, long[]? running = null)
    {
        Apply(new ExecutorLost(new ExecutorId(executor), cause, "its process ended") { Running = running is null ? null : Ids(running) });
        Forget(executor);
        return this;
    }

    public World LoseNode(string node)
    {
        Apply(new NodeWasLost(new NodeId(node), "power"));
        foreach (var name in _executors.Where(pair => pair.Value.Node == node).Select(pair => pair.Key).ToArray())
        {
            Forget(name);
        }
        return this;
    }

    /// <summary>The first attempt in flight of a task succeeds.</summary>
    public World Succeed(int stage, params int[] partitions)
    {
        foreach (var partition in partitions)
        {
            Report(Find(stage, partition), TaskSucceeded.Instance);
        }
        return this;
    }

    /// <summary>Everything in flight of a stage succeeds, and what follows of it.</summary>
    public World SucceedAll(int stage)
    {
        while (_sent.Find(task => task.Stage == stage && !Stopped.Contains(task.Attempt)) is { } task)
        {
            Report(task, TaskSucceeded.Instance);
        }
        return this;
    }

    /// <summary>Everything succeeds, and what was stopped says so, until nothing is in flight.</summary>
    public World FinishAll()
    {
        while (_sent.Count > 0)
        {
            Report(_sent[0], Stopped.Contains(_sent[0].Attempt) ? new TaskKilled("stopped") : TaskSucceeded.Instance);
        }
        return this;
    }

    public World Fail(int stage, int partition, string message = "boom") => Report(Find(stage, partition), Boom(message));

    public static TaskFailed Boom(string message = "boom") => new(new RemoteError("System.InvalidOperationException", message, "   at User.Code()"));

    public World FetchFail(int stage, int partition, int shuffle, int map) => Report(Find(stage, partition), Missing(shuffle, map));

    /// <summary>A fetch failure that names the output the machine believes in.</summary>
    public FetchFailed Missing(int shuffle, int map)
    {
        var output = All.OfType<PublishLocations>().Last(published => published.ShuffleId.Value == shuffle).Outputs[map];
        return new FetchFailed(output.ShuffleId, map, output.AttemptId, output.NodeId, "connection refused");
    }

    public World Report(SentTask task, TaskEnd end, long runMicroseconds = 1000, long resultBytes = 0, bool block = false, CachedPartition[]? cached = null)
    {
        _sent.Remove(task);
        _reported.Add(task.Attempt);
        return Apply(new TasksEnded(task.To, [ReportOf(task, end, runMicroseconds, resultBytes, block, cached)]));
    }

    /// <summary>The report of an attempt, whether or not it is expected.</summary>
    public TaskReport ReportOf(SentTask task, TaskEnd end, long runMicroseconds = 1000, long resultBytes = 0, bool block = false, CachedPartition[]? cached = null) =>
        new(new TaskAttemptId(task.Attempt), end, new TaskMetrics { RunMicroseconds = runMicroseconds, ResultBytes = resultBytes }, default)
        {
            ResultBlock = block ? $"result-{task.Attempt}" : null,
            Cached = cached,
            MapOutput = end is TaskSucceeded && task.Definition.Output is { } output
                ? new MapOutput(output.Shuffle, task.Partition, new TaskAttemptId(task.Attempt), new NodeId(task.Node), "", new byte[] { 1 })
                : null,
        };

    /// <summary>A task of a barrier stage comes to a barrier.</summary>
    public World Meet(int stage, int partition, int round, string message = "") => Meet(Find(stage, partition), round, message);

    public World Meet(SentTask task, int round, string message = "") => Apply(new BarrierReached(Address(task.Executor), new TaskAttemptId(task.Attempt), round, message));

    // ── What is asked.

    public SentTask Find(int stage, int partition) =>
        _sent.Find(task => task.Stage == stage && task.Partition == partition && !Stopped.Contains(task.Attempt))
        ?? throw new InvalidOperationException($"Task {partition} of stage {stage} is not in flight. In flight: {string.Join(", ", _sent)}");

    /// <summary>Partitions in flight of a stage, of its latest attempt in flight.</summary>
    public int[] Running(int stage)
    {
        var tasks = _sent.FindAll(task => task.Stage == stage && !Stopped.Contains(task.Attempt));
        var latest = tasks.Count == 0 ? 0 : tasks.Max(task => task.StageAttempt);
        return [.. tasks.Where(task => task.StageAttempt == latest).Select(task => task.Partition).Order()];
    }

    public List<SentTask> On(string executor) => _sent.FindAll(task => task.To.ExecutorId.Value == executor);

    public ExecutorAddress Address(string executor) => new(new ExecutorId(executor), _executors[executor].Epoch);

    public int[] StagesStarted => [.. All.OfType<StageStarted>().Select(started => started.StageId.Value)];

    public int AttemptsOf(int stage) => All.OfType<StageStarted>().Count(started => started.StageId.Value == stage);

    public JobFailure FailureOf(int job) => Assert.IsType<JobFailure>(Ended[job]);

    public void AssertSucceeded(int job)
    {
        Assert.True(Ended.TryGetValue(job, out var end), $"job {job} runs. In flight: {string.Join(", ", _sent)}");
        Assert.Null(end);
    }

    public void AssertRuns(int job) => Assert.False(Ended.ContainsKey(job), $"job {job} ended: {(Ended.TryGetValue(job, out var end) ? end : "")}");

    /// <summary>Lets stopped attempts report, releases all shuffles, and sees that nothing is left.</summary>
    public void AssertEmpty()
    {
        FinishAll();
        foreach (var shuffle in _shuffles)
        {
            Apply(new ShuffleReleased(shuffle));
        }
        Machine.AssertEmpty();
    }

    private void Note(JobEffect effect)
    {
        switch (effect)
        {
            case SendTasks send:
                Assert.NotEmpty(send.Tasks);
                foreach (var task in send.Tasks)
                {
                    Assert.DoesNotContain(_sent, sent => sent.Attempt == task.AttemptId.Value);
                    Assert.DoesNotContain(task.AttemptId.Value, _reported);
                    _sent.Add(new SentTask(
                        task.AttemptId.Value, send.StageId.Value, send.StageAttempt, task.Partition, task.AttemptNumber, send.To,
                        _executors[send.To.ExecutorId.Value].Node, send.Stage));
                }
                break;
            case StopTasks stop:
                Stopped.UnionWith(stop.Attempts.Select(id => id.Value));
                break;
            case PartitionResult result:
                Assert.DoesNotContain(result.JobId.Value, Ended.Keys);
                Results.TryAdd(result.JobId.Value, []);
                Results[result.JobId.Value].Add(result.Partition, result.Report);
                break;
            case JobSucceeded succeeded:
                Ended.Add(succeeded.JobId.Value, null);
                break;
            case JobFailed failed:
                Ended.Add(failed.JobId.Value, failed.Failure);
                break;
            case JobCancelled cancelled:
                Ended.Add(cancelled.JobId.Value, cancelled.Reason);
                break;
            case ReleaseExecutor release:
                Forget(release.ExecutorId.Value);
                break;
        }
    }

    private void Forget(string executor)
    {
        _executors.Remove(executor);
        _sent.RemoveAll(task => task.To.ExecutorId.Value == executor);
    }

    private static TaskAttemptId[] Ids(long[]? ids) => [.. (ids ?? []).Select(id => new TaskAttemptId(id))];
}

/// <summary>An attempt that was sent.</summary>
internal sealed record SentTask(long Attempt, int Stage, int StageAttempt, int Partition, int Number, ExecutorAddress To, string Node, StageDefinition Definition)
{
    public string Executor => To.ExecutorId.Value;

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Stage}.{StageAttempt}:{Partition}#{Attempt}@{Executor}");
}
