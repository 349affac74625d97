using System.Globalization;
using Yarnish.Protocol;

namespace Yarnish.Cli;

/// <summary>The status of an application in words and tables: what a running driver answers and what a log tells look the same.</summary>
internal static class StatusText
{
    /// <summary>Rows of a table; those that failed are always among them.</summary>
    private const int MaximumRows = 40;

    /// <summary>The whole application: counts, jobs, stages with their verdicts, executors that were lost, failures.</summary>
    /// <param name="detail">The application.</param>
    /// <param name="jobs">Its jobs, newest first.</param>
    /// <param name="stages">Its stage attempts, newest first.</param>
    /// <param name="executors">Its executors.</param>
    /// <param name="failures">Failed attempts by stage attempt.</param>
    public static void Print(
        ApplicationDetail detail, IReadOnlyList<JobInfo> jobs, IReadOnlyList<StageInfo> stages, IReadOnlyList<ExecutorInfo> executors, IReadOnlyList<(StageInfo Stage, TaskInfo Task)> failures)
    {
        Output.PrintFields(
            ("Id", detail.Id.Value),
            ("Name", detail.Name),
            ("User", detail.User),
            ("State", detail.State),
            ("Started", detail.StartedAt.ToLocalTime().ToString("yyyy-MM-dd HH:mm:ss zzz", CultureInfo.InvariantCulture)),
            ("Lasted", Output.Duration((detail.EndedAt ?? detail.LastEventAt) - detail.StartedAt)),
            ("Driver", detail.Driver),
            ("Executors", Counts(detail.Executors)),
            ("Jobs", Counts(detail.Jobs)),
            ("Stages", Counts(detail.Stages)),
            ("Tasks", Counts(detail.Tasks)),
            ("Shuffled", $"{Output.Bytes(detail.Totals.ShuffleWriteBytes)} written, {Output.Bytes(detail.Totals.ShuffleReadLocalBytes + detail.Totals.ShuffleReadRemoteBytes)} read"));
        if (detail.Message.Length > 0)
        {
            Console.Out.WriteLine($"Why:        {Output.Indent(detail.Message, 12)}");
        }
        if (detail.Forgotten > 0)
        {
            Console.Out.WriteLine($"Not shown:  {detail.Forgotten} jobs, stages and executors that ended earlier");
        }
        if (detail.TasksNotDetailed > 0 || detail.EventsLost > 0)
        {
            Console.Out.WriteLine($"Incomplete: {detail.TasksNotDetailed} tasks were only counted, {detail.EventsLost} events are missing");
        }
        Console.Out.WriteLine();
        Output.PrintTable(
            ["JOB", "STATE", "STAGES", "TASKS", "FAILED", "TIME", "NAME"],
            Newest(jobs, static job => job.State == "failed").Select(job => new[]
            {
                job.Id.ToString(), job.State, Text($"{job.Stages.Count(stage => stage.State != "skipped")} of {job.Stages.Length}"), Text($"{job.TasksDone} of {job.Tasks}"), Text($"{job.TasksFailed}"),
                Output.Duration((job.EndedAt ?? detail.LastEventAt) - job.StartedAt), job.Name,
            }),
            "No jobs.");
        TellRest(jobs.Count, "jobs");
        foreach (var job in jobs.Where(job => job.State == "failed" && job.Message.Length > 0 && job.Message != detail.Message).Take(5))
        {
            Console.Out.WriteLine($"  {Output.Indent(job.Message, 2)}");
        }
        Console.Out.WriteLine();
        PrintStages(stages, detail.LastEventAt);
        foreach (var executor in executors.Where(executor => executor.State is "lost" or "excluded").Take(20))
        {
            Console.Out.WriteLine($"executor {executor.Id} on {executor.NodeId} {executor.State}{(executor.Cause.Length > 0 ? $" ({executor.Cause})" : "")}: {Output.Indent(executor.Message, 2)}");
        }
        foreach (var (stage, task) in failures.Take(20))
        {
            Console.Out.WriteLine($"task {stage.Id}.{stage.Attempt} partition {task.Partition} attempt {task.Attempt} on {task.ExecutorId} {task.State}: {Output.Indent(task.Error, 2)}");
        }
    }

    /// <summary>A table of stage attempts, and below it what is to be said of those that are not healthy.</summary>
    public static void PrintStages(IReadOnlyList<StageInfo> stages, DateTimeOffset now)
    {
        Output.PrintTable(
            ["STAGE", "STATE", "TASKS", "RUNNING", "FAILED", "TIME", "VERDICT", "NAME"],
            Newest(stages, static stage => stage.State == "failed" || stage.Verdict.Kind is not (StageVerdictKind.Healthy or StageVerdictKind.TooEarly)).Select(stage => new[]
            {
                Text($"{stage.Id}.{stage.Attempt}"), stage.State, Text($"{stage.Done} of {stage.Tasks}"), Text($"{stage.Running}"), Text($"{stage.Failed}"),
                Output.Duration((stage.EndedAt ?? now) - stage.StartedAt), Word(stage.Verdict.Kind), stage.Name,
            }),
            "No stages.");
        TellRest(stages.Count, "stages");
        foreach (var stage in stages.Where(stage => stage.Verdict.Kind is not (StageVerdictKind.Healthy or StageVerdictKind.TooEarly)).Take(20))
        {
            Console.Out.WriteLine($"stage {stage.Id}.{stage.Attempt}: {stage.Verdict.Text}");
        }
    }

    /// <summary>One stage attempt: what is to be said of it, how its figures are spread, and the tasks that are remembered.</summary>
    public static void PrintStage(StageInfo stage, TaskSummary summary, TaskList tasks)
    {
        Console.Out.WriteLine(Text($"stage {stage.Id}.{stage.Attempt} {stage.Name}: {stage.State}, {stage.Done} of {stage.Tasks} tasks, {stage.Failed} failed, {stage.Speculative} speculative"));
        Console.Out.WriteLine(stage.Verdict.Text);
        if (stage.Message.Length > 0)
        {
            Console.Out.WriteLine(stage.Message);
        }
        Console.Out.WriteLine();
        Output.PrintTable(
            ["FIGURE", "MIN", "25 %", "MEDIAN", "75 %", "MAX", "SUM"],
            summary.Metrics.Select(metric => new[]
            {
                metric.Name, Figure(metric.Name, metric.Minimum), Figure(metric.Name, metric.LowerQuartile), Figure(metric.Name, metric.Median), Figure(metric.Name, metric.UpperQuartile),
                Figure(metric.Name, metric.Maximum), Figure(metric.Name, metric.Sum),
            }),
            "No task has succeeded yet.");
        Console.Out.WriteLine();
        Output.PrintTable(
            ["ATTEMPT", "PARTITION", "TRY", "EXECUTOR", "STATE", "WALL", "RUN", "ERROR"],
            tasks.Tasks.Select(task => new[]
            {
                task.AttemptId.ToString(), Text($"{task.Partition}"), Text($"{task.Attempt}"), task.ExecutorId.Value, task.State, Figure("Microseconds", task.WallMicroseconds),
                Figure("Microseconds", task.Metrics.RunMicroseconds), task.Error.ReplaceLineEndings(" "),
            }),
            "No tasks.");
        if (tasks.Total > tasks.Tasks.Length)
        {
            Console.Out.WriteLine(Text($"({tasks.Tasks.Length} of {tasks.Total}: those that run, the last that failed, the slowest and the latest)"));
        }
    }

    /// <summary>The name of a figure ends in its unit.</summary>
    private static string Figure(string name, long value) =>
        name.EndsWith("Bytes", StringComparison.Ordinal) ? Output.Bytes(value)
        : !name.EndsWith("Microseconds", StringComparison.Ordinal) ? Text($"{value}")
        : value switch
        {
            < 1000 => Text($"{value} µs"),
            < 1_000_000 => Text($"{value / 1000m:0.0} ms"),
            _ => Output.Duration(TimeSpan.FromMicroseconds(value)),
        };

    /// <summary>The newest, and of the older ones those that matter, in their order.</summary>
    private static IEnumerable<T> Newest<T>(IReadOnlyList<T> rows, Func<T, bool> matters)
    {
        var room = MaximumRows / 2;
        return rows.Count <= MaximumRows ? rows : rows.Where((row, i) => i < MaximumRows / 2 || (matters(row) && room-- > 0));
    }

    private static void TellRest(int count, string what)
    {
        if (count > MaximumRows)
        {
            Console.Out.WriteLine(Text($"(of {count} {what} the newest and those worth a look; --json prints all)"));
        }
    }

    private static string Word(StageVerdictKind kind) => Status.StageVerdicts.Name(kind);

    private static string Counts(IEnumerable<KeyValuePair<string, long>> counts) =>
        string.Join(", ", counts.Where(static count => count.Value > 0).Select(static count => Text($"{count.Value} {count.Key}"))) is { Length: > 0 } some ? some : "none";

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
