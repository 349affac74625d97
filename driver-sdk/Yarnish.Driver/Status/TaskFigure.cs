using Yarnish.Protocol;

namespace Yarnish.Status;

/// <summary>One figure of a task: its name in the API and in the event log, and how it is read. A test proves that none of <see cref="TaskMetrics"/> is missing.</summary>
/// <param name="Name">In camel case; ends in its unit.</param>
/// <param name="Read">Reads it.</param>
internal sealed record TaskFigure(string Name, Func<TaskMetrics, long> Read)
{
    /// <summary>From sending a task to its end, in the driver's eyes. Not of <see cref="TaskMetrics"/>.</summary>
    public const string Wall = "wallMicroseconds";

    /// <summary>What of that the executor does not account for: the way there and back. Not of <see cref="TaskMetrics"/>.</summary>
    public const string SchedulerDelay = "schedulerDelayMicroseconds";

    /// <summary>Those of <see cref="TaskMetrics"/>, in its order.</summary>
    public static readonly TaskFigure[] All =
    [
        new("runMicroseconds", static metrics => metrics.RunMicroseconds),
        new("queueMicroseconds", static metrics => metrics.QueueMicroseconds),
        new("deserializeMicroseconds", static metrics => metrics.DeserializeMicroseconds),
        new("garbageCollectionMicroseconds", static metrics => metrics.GarbageCollectionMicroseconds),
        new("inputRows", static metrics => metrics.InputRows),
        new("inputBytes", static metrics => metrics.InputBytes),
        new("outputRows", static metrics => metrics.OutputRows),
        new("outputBytes", static metrics => metrics.OutputBytes),
        new("resultBytes", static metrics => metrics.ResultBytes),
        new("shuffleWriteRows", static metrics => metrics.ShuffleWriteRows),
        new("shuffleWriteBytes", static metrics => metrics.ShuffleWriteBytes),
        new("shuffleWriteMicroseconds", static metrics => metrics.ShuffleWriteMicroseconds),
        new("shuffleReadRows", static metrics => metrics.ShuffleReadRows),
        new("shuffleReadLocalBytes", static metrics => metrics.ShuffleReadLocalBytes),
        new("shuffleReadRemoteBytes", static metrics => metrics.ShuffleReadRemoteBytes),
        new("shuffleFetchWaitMicroseconds", static metrics => metrics.ShuffleFetchWaitMicroseconds),
        new("spillBytes", static metrics => metrics.SpillBytes),
        new("skippedRows", static metrics => metrics.SkippedRows),
    ];

    /// <summary>The figures as metrics; same order as <see cref="All"/>.</summary>
    public static TaskMetrics ToMetrics(ReadOnlySpan<long> values) => new()
    {
        RunMicroseconds = values[0],
        QueueMicroseconds = values[1],
        DeserializeMicroseconds = values[2],
        GarbageCollectionMicroseconds = values[3],
        InputRows = values[4],
        InputBytes = values[5],
        OutputRows = values[6],
        OutputBytes = values[7],
        ResultBytes = values[8],
        ShuffleWriteRows = values[9],
        ShuffleWriteBytes = values[10],
        ShuffleWriteMicroseconds = values[11],
        ShuffleReadRows = values[12],
        ShuffleReadLocalBytes = values[13],
        ShuffleReadRemoteBytes = values[14],
        ShuffleFetchWaitMicroseconds = values[15],
        SpillBytes = values[16],
        SkippedRows = values[17],
    };

    /// <summary>Spent between driver and executor: what is left of the wall time when the executor's own times are taken off.</summary>
    public static long DelayOf(in EndedTask task) =>
        Math.Max(0, task.WallMicroseconds - task.Metrics.RunMicroseconds - task.Metrics.QueueMicroseconds - task.Metrics.DeserializeMicroseconds);
}
