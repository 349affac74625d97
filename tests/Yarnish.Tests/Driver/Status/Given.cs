using System.Collections.Immutable;
using System.Globalization;
using Newtonsoft.Json;
using Yarnish.Dataflow;
using Yarnish.Protocol;
using Yarnish.Simulation.Jobs;
using Yarnish.Status;

namespace Yarnish.Tests.Driver.Status;

/// <summary>Events, the statuses they give, and everything a status shows as one text.</summary>
internal static class Given
{
    public static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    public static readonly ApplicationId Application = ApplicationId.Create("app-1");

    public static StatusEvent.ApplicationStarted Started => new(Start, Application, "test", "someone", "host/1", "1.0", "");

    public static StatusEvent.StageStarted Stage(int id, int tasks, int attempt = 0) => new(Start, new StageId(id), attempt, new JobId(0), $"Select at Program.cs:{id}", tasks, tasks);

    public static EndedTask Task(long attempt, int stage = 0, int partition = 0, TaskEndKind end = TaskEndKind.Succeeded, TaskMetrics? metrics = null, string error = "", int stageAttempt = 0) => new(
        new TaskAttemptId(attempt), new StageId(stage), stageAttempt, partition, 0, ExecutorId.Create("x-1"), (metrics?.RunMicroseconds ?? 0) + 100, end, end == TaskEndKind.Failed, error,
        metrics ?? TaskMetrics.Empty, null);

    public static ApplicationStatus Status(params IEnumerable<StatusEvent> events)
    {
        var status = new ApplicationStatus();
        status.Apply(Started);
        foreach (var happened in events)
        {
            status.Apply(happened);
        }
        return status;
    }

    public static string LineOf(StatusEvent happened)
    {
        using var text = new StringWriter(CultureInfo.InvariantCulture);
        using (var json = new JsonTextWriter(text))
        {
            EventLogFormat.Write(json, happened);
        }
        return text.ToString();
    }

    /// <summary>Every address of the API, followed to the last task list.</summary>
    public static string Everything(ApplicationStatus status)
    {
        var root = $"{StatusRoutes.Root}/{status.Id}";
        var paths = new List<string> { root, $"{root}/jobs", $"{root}/stages", $"{root}/executors", $"{root}/collections", $"{root}/environment", $"{root}/accumulators" };
        paths.AddRange(status.Jobs().Select(job => $"{root}/jobs/{job.Id}"));
        foreach (var stage in status.Stages())
        {
            paths.AddRange([$"{root}/stages/{stage.Id}", $"{root}/stages/{stage.Id}/{stage.Attempt}/taskSummary", $"{root}/stages/{stage.Id}/{stage.Attempt}/taskList"]);
        }
        return string.Join('\n', paths.Select(path =>
        {
            var (code, body) = StatusRoutes.Answer(status, path, name => name == "length" ? "1000" : null);
            return $"{path} {code} {System.Text.Json.JsonSerializer.Serialize(body, body.GetType(), ProtocolJson.Options)}";
        }));
    }

    /// <summary>What a status hears of a simulated run: the words that the driver loop adds are added.</summary>
    public static List<StatusEvent> EventsOf(ulong seed, int jobs = 6)
    {
        var events = new List<StatusEvent> { Started };
        var nodes = new Dictionary<ExecutorId, NodeId>();
        var outcome = JobWorld.Run(seed, jobs, watch: (told, now) =>
            {
                StatusEvent? happened = told switch
                {
                    ExecutorJoined joined => new StatusEvent.ExecutorAdded(now, joined.Address.ExecutorId, joined.NodeId, "host", 1, joined.Slots, ""),
                    JobSucceeded succeeded => new StatusEvent.JobEnded(now, succeeded.JobId, JobState.Succeeded, ""),
                    JobFailed failed => new StatusEvent.JobEnded(now, failed.JobId, JobState.Failed, failed.Failure.Message),
                    JobCancelled cancelled => new StatusEvent.JobEnded(now, cancelled.JobId, JobState.Cancelled, cancelled.Reason),
                    JobEvent change => StatusReport.Of(change, now),
                    JobEffect effect => StatusReport.Of(effect, now),
                    _ => null,
                };
                if (told is ExecutorJoined known)
                {
                    nodes[known.Address.ExecutorId] = known.NodeId;
                }
                else if (told is NodeWasLost lost)
                {
                    events.AddRange(nodes.Where(pair => pair.Value == lost.NodeId).Select(pair => new StatusEvent.ExecutorRemoved(now, pair.Key, ContainerExitCause.NodeLost, lost.Message)));
                }
                if (happened is not null)
                {
                    events.Add(happened);
                }
            });
        Xunit.Assert.Empty(outcome.Violations);
        events.Add(new StatusEvent.ApplicationEnded(events[^1].At, true, ""));
        return events;
    }

    /// <summary>One of each kind, with something in every member.</summary>
    public static ImmutableArray<StatusEvent> OneOfEach { get; } =
    [
        Started,
        new StatusEvent.EnvironmentKnown(Start, Map("framework", ".NET 10"), Map("Name", "a\"b\n")),
        new StatusEvent.ExecutorAdded(Start, ExecutorId.Create("x-1"), NodeId.Create("n-1"), "host", 7, 2, "http://n-1:1"),
        new StatusEvent.ExecutorRemoved(Start.AddTicks(1234567), ExecutorId.Create("x-1"), ContainerExitCause.OutOfMemory, "killed"),
        new StatusEvent.ExecutorExcluded(Start, ExecutorId.Create("x-1"), Start.AddHours(1)),
        new StatusEvent.NodeExcluded(Start, NodeId.Create("n-1"), Start.AddHours(1)),
        new StatusEvent.JobStarted(Start, new JobId(3), "CountAsync at Program.cs:1", "pool", [new PlannedStage(new StageId(1), "map", 4, [], 9), new PlannedStage(new StageId(2), "reduce", 2, [9], null)]),
        new StatusEvent.JobEnded(Start, new JobId(3), JobState.Failed, "why"),
        new StatusEvent.StageStarted(Start, new StageId(1), 2, new JobId(3), "map", 4, 8),
        new StatusEvent.StageEnded(Start, new StageId(1), 2, StageOutcome.Repeated, "lost"),
        new StatusEvent.TasksSent(Start, new StageId(1), 2, ExecutorId.Create("x-1"), [new TaskToSend(new TaskAttemptId(5), 1, 0), new TaskToSend(new TaskAttemptId(9), 3, 1, Speculative: true)]),
        new StatusEvent.TasksEnded(Start, [
            Task(5, 1, 1, metrics: new TaskMetrics { RunMicroseconds = 7, SpillBytes = 1L << 40 }) with { Cached = [new CachedPartition(4, 1, 100, 200)] },
            Task(6, 1, 2),
            Task(9, 1, 3, TaskEndKind.FetchFailed, error: "gone") with { ExecutorId = ExecutorId.Create("x-2"), Number = 1 },
            Task(10, 2, 3, TaskEndKind.ExecutorLost, error: "lost") with { CountsAsFailure = true }]),
        new StatusEvent.TasksCounted(Start, new StageId(1), 2, 1, 2, 3, 4),
        new StatusEvent.CollectionPersisted(Start, 4, "Select at Program.cs:1", "MemoryAndDisk", 8),
        new StatusEvent.CollectionUnpersisted(Start, 4),
        new StatusEvent.PartitionsHeld(Start, ExecutorId.Create("x-1"), [new CachedPartition(4, 1, 0, 100)]),
        new StatusEvent.AccumulatorChanged(Start, 1, "errors", "17"),
        new StatusEvent.EventsLost(Start, 12),
        new StatusEvent.ApplicationEnded(Start, false, "why"),
    ];

    private static ImmutableSortedDictionary<string, string> Map(string key, string value) => ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal).Add(key, value);
}
