using System.Collections.Immutable;
using System.Globalization;
using Yarnish.Protocol;

namespace Yarnish.Status;

/// <summary>
/// What is to be said of a stage, from its figures alone: one line with numbers and what to do. The thresholds are where a person who reads the percentile table would frown; a stage
/// that took less than a second in all is never worth advice on speed.
/// </summary>
internal static class StageVerdicts
{
    private const long Second = 1_000_000;
    private const long Megabyte = 1 << 20;

    /// <summary>The slowest task is told when it took so many times the median.</summary>
    private const int SkewRatio = 3;

    /// <summary>Bytes of one task are told when they are so many times the median.</summary>
    private const int ImbalanceRatio = 5;

    /// <summary>Judges.</summary>
    public static StageVerdict Of(Question stage)
    {
        if (stage.State == "failed")
        {
            return new(StageVerdictKind.Failed, $"failed: {FirstLine(stage.Message)}");
        }
        var findings = Findings(stage).Take(4).ToList();
        if (findings.Count > 0)
        {
            var (first, others) = (findings[0], findings.Skip(1).Select(static finding => Name(finding.Kind)));
            return findings.Count == 1 ? first : first with { Text = $"{first.Text} (also: {string.Join(", ", others)})" };
        }
        return stage.Succeeded == 0
            ? new(StageVerdictKind.TooEarly, "too early to tell")
            : new(StageVerdictKind.Healthy, Text($"healthy: {stage.Succeeded} tasks, median {Time(stage.Of("runMicroseconds").Median)}, slowest {Time(stage.Of("runMicroseconds").Maximum)}"));
    }

    /// <summary>How a kind is called in a sentence.</summary>
    public static string Name(StageVerdictKind kind) => kind switch
    {
        StageVerdictKind.TooEarly => "too early to tell",
        StageVerdictKind.GarbageCollection => "garbage collection",
        StageVerdictKind.FetchWait => "fetch wait",
        StageVerdictKind.TinyTasks => "tiny tasks",
        StageVerdictKind.SchedulerDelay => "scheduler delay",
        StageVerdictKind.InputImbalance => "input imbalance",
        StageVerdictKind.MalformedRows => "malformed rows",
        _ => StatusStage.Camel(kind.ToString()),
    };

    private static IEnumerable<StageVerdict> Findings(Question stage)
    {
        var run = stage.Of("runMicroseconds");
        var heaviest = Heaviest(stage);
        if (stage.Of("skippedRows") is { Sum: > 0 } skipped)
        {
            // What is missing from the answer comes before what makes it slow.
            yield return new(StageVerdictKind.MalformedRows, Text($"malformed rows: {skipped.Sum} were left out, {stage.Of("inputRows").Sum} were read: the executors' log has the first of each file, and MalformedRows.Fail stops at it"));
        }
        if (stage.Succeeded >= 4 && run.Maximum >= SkewRatio * run.Median && run.Maximum - run.Median >= Second)
        {
            var times = Ratio(run.Maximum, run.Median);
            var who = $"partition {stage.SlowestPartition}{(stage.SlowestExecutor is { } executor ? $" on {executor}" : "")}";
            yield return new(StageVerdictKind.Skew, heaviest is { } bytes && bytes.Maximum >= SkewRatio * Math.Max(1, bytes.Median)
                ? Text($"skew: {who} took {Time(run.Maximum)}, {times} × the median {Time(run.Median)}, with {Bytes(bytes.Maximum)} against {Bytes(bytes.Median)}: few keys hold most rows; combine before the shuffle (ReduceByKey, CountBy), split the heavy keys, or use more partitions")
                : Text($"skew: {who} took {Time(run.Maximum)}, {times} × the median {Time(run.Median)}, with no more data than the others: look at its executor and node, and at what the function does with its rows"));
        }
        var spill = stage.Of("spillBytes");
        if (spill.Sum >= 16 * Megabyte)
        {
            yield return new(StageVerdictKind.Spill, Text($"spill: {Bytes(spill.Sum)} went to disk because memory was short, {Bytes(spill.Maximum)} in one task: more partitions (they get smaller), or more Yarnish:ExecutorMemory"));
        }
        var collection = stage.Of("garbageCollectionMicroseconds");
        if (collection.Sum >= Second && collection.Sum * 100 >= run.Sum * 15)
        {
            yield return new(StageVerdictKind.GarbageCollection, Text($"garbage collection: {Percent(collection.Sum, run.Sum)} of the run time ({Time(collection.Sum)}): allocate less per row, keep fewer rows in memory, or give executors more Yarnish:ExecutorMemory"));
        }
        var fetch = stage.Of("shuffleFetchWaitMicroseconds");
        if (fetch.Sum >= Second && fetch.Sum * 100 >= run.Sum * 30)
        {
            yield return new(StageVerdictKind.FetchWait, Text($"fetch wait: tasks waited {Percent(fetch.Sum, run.Sum)} of their time for {Bytes(stage.Of("shuffleReadLocalBytes").Sum + stage.Of("shuffleReadRemoteBytes").Sum)} of shuffle blocks: shuffle less (combine or filter before), or look at disks and network of the nodes"));
        }
        if (stage.Failed > 0)
        {
            yield return new(StageVerdictKind.Retries, Text($"retries: {stage.Failed} task {(stage.Failed == 1 ? "attempt" : "attempts")} failed and ran again: {FirstLine(stage.LastError)}"));
        }
        if (stage.Lasted.Ticks >= TimeSpan.TicksPerSecond)
        {
            if (stage.Succeeded >= 200 && run.Median < 10_000)
            {
                yield return new(StageVerdictKind.TinyTasks, Text($"tiny tasks: {stage.Succeeded} tasks of {Time(run.Median)} each: fewer partitions (minPartitions, Coalesce, Yarnish:Parallelism) do the same work with less to send"));
            }
            else
            {
                var (delay, wall) = (stage.Of(TaskFigure.SchedulerDelay), stage.Of(TaskFigure.Wall));
                if (delay.Sum >= Second && delay.Sum * 100 >= wall.Sum * 30)
                {
                    yield return new(StageVerdictKind.SchedulerDelay, Text($"scheduler delay: {Percent(delay.Sum, wall.Sum)} of the tasks' time passed between driver and executor, {Time(delay.Median)} for most: look whether driver or broker are short of processor, or results are large ({Bytes(stage.Of("resultBytes").Sum)})"));
                }
            }
        }
        if (stage.Succeeded >= 4 && heaviest is { } uneven && uneven.Maximum >= 64 * Megabyte && uneven.Maximum >= ImbalanceRatio * Math.Max(1, uneven.Median)
            && run.Maximum < SkewRatio * Math.Max(1, run.Median))
        {
            yield return new(StageVerdictKind.InputImbalance, Text($"input imbalance: one task handled {Bytes(uneven.Maximum)}, the median is {Bytes(uneven.Median)} ({Words(uneven.Name)}): it costs no time yet; with more data it will"));
        }
    }

    /// <summary>The most uneven of the figures that tell how much a task had to do.</summary>
    private static MetricSpread? Heaviest(Question stage)
    {
        MetricSpread? worst = null;
        foreach (var name in new[] { "shuffleReadLocalBytes", "shuffleReadRemoteBytes", "inputBytes", "shuffleWriteBytes" })
        {
            var spread = stage.Of(name);
            // Products, not quotients: no division by zero and no rounding.
            if (spread.Maximum >= Megabyte && (worst is null || (decimal)spread.Maximum * Math.Max(1, worst.Median) > (decimal)worst.Maximum * Math.Max(1, spread.Median)))
            {
                worst = spread;
            }
        }
        return worst;
    }

    private static string FirstLine(string text)
    {
        var end = text.AsSpan().IndexOfAny('\r', '\n');
        var line = end < 0 ? text : text[..end];
        return line.Length <= 200 ? line : line[..200] + "…";
    }

    private static string Words(string name) => name switch
    {
        "shuffleReadLocalBytes" or "shuffleReadRemoteBytes" => "read from a shuffle",
        "inputBytes" => "read from a source",
        _ => "written to a shuffle",
    };

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    private static string Percent(long part, long whole) => Text($"{(whole == 0 ? 100 : Math.Min(100, (decimal)part * 100 / whole)):0} %");

    private static string Ratio(long value, long of) => Text($"{(decimal)value / Math.Max(1, of):0.#}");

    private static string Time(long microseconds) => microseconds switch
    {
        < 1000 => Text($"{microseconds} µs"),
        < Second => Text($"{microseconds / 1000m:0.#} ms"),
        < 60 * Second => Text($"{microseconds / (decimal)Second:0.#} s"),
        _ => Text($"{microseconds / (60m * Second):0.#} min"),
    };

    private static string Bytes(long bytes) => bytes switch
    {
        < 1 << 10 => Text($"{bytes} B"),
        < 1 << 20 => Text($"{bytes / 1024m:0.#} KiB"),
        < 1 << 30 => Text($"{bytes / 1048576m:0.#} MiB"),
        _ => Text($"{bytes / 1073741824m:0.#} GiB"),
    };

    /// <summary>What a verdict is made from.</summary>
    internal sealed record Question
    {
        /// <summary>State of the stage attempt.</summary>
        public string State { get; init; } = "running";

        /// <summary>Why it did not succeed.</summary>
        public string Message { get; init; } = "";

        /// <summary>From its start to its end, or to the last end of a task.</summary>
        public TimeSpan Lasted { get; init; }

        /// <summary>Task attempts that succeeded.</summary>
        public long Succeeded { get; init; }

        /// <summary>Task attempts that failed.</summary>
        public long Failed { get; init; }

        /// <summary>Why the last one failed.</summary>
        public string LastError { get; init; } = "";

        /// <summary>Where the slowest ran.</summary>
        public ExecutorId? SlowestExecutor { get; init; }

        /// <summary>Its partition.</summary>
        public int SlowestPartition { get; init; }

        /// <summary>How the figures are spread.</summary>
        public ImmutableArray<MetricSpread> Spreads { get; init; } = [];

        /// <summary>One of them; all 0 when it is not there.</summary>
        public MetricSpread Of(string name) => Spreads.FirstOrDefault(spread => spread.Name == name) ?? new MetricSpread(name, 0, 0, 0, 0, 0, 0);
    }
}
