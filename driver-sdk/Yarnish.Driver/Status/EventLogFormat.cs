using System.Collections.Immutable;
using System.Globalization;
using Newtonsoft.Json;
using Newtonsoft.Json.Linq;
using Yarnish.Dataflow;
using Yarnish.Protocol;

namespace Yarnish.Status;

/// <summary>
/// One line of JSON for each event. Task ends come by the batch, in columns: a column that is 0 everywhere is left out, one that is the same everywhere is one value, one that counts up
/// is <c>{"from": n}</c>; so a task that did nothing costs some 20 bytes. Readers skip events and members they do not know; a change that they could misread needs a new
/// <see cref="Version"/>.
/// </summary>
internal static class EventLogFormat
{
    /// <summary>Of the lines written; readers refuse higher ones.</summary>
    public const int Version = 1;

    /// <summary>Most tasks in one line.</summary>
    public const int MaximumTasks = 1024;

    /// <summary>Most characters in one line, when reading.</summary>
    public const int MaximumLine = 16 << 20;

    private static readonly string[] EndKinds = [.. Enum.GetNames<TaskEndKind>().Select(StatusStage.Camel)];

    private static readonly Read<EndedTask>[] FigureColumns = Array.ConvertAll<TaskFigure, Read<EndedTask>>(TaskFigure.All, static figure => (in EndedTask task) => figure.Read(task.Metrics));

    private delegate long Read<T>(in T item);

    /// <summary>The first line of every file.</summary>
    public static void WriteHeader(JsonTextWriter json, string application, int file)
    {
        json.WriteStartObject();
        Field(json, "event", "log");
        Field(json, "version", Version);
        Field(json, "application", application);
        Field(json, "file", file);
        json.WriteEndObject();
    }

    /// <summary>Writes one event as one object; a batch of more than <see cref="MaximumTasks"/> tasks must be cut before, see <see cref="Cut"/>.</summary>
    public static void Write(JsonTextWriter json, StatusEvent happened)
    {
        json.WriteStartObject();
        Field(json, "event", NameOf(happened));
        Field(json, "at", happened.At.UtcDateTime.ToString("O", CultureInfo.InvariantCulture));
        WriteMembers(json, happened);
        json.WriteEndObject();
    }

    /// <summary>Cuts a batch that is too long for a line.</summary>
    public static IEnumerable<StatusEvent> Cut(StatusEvent happened) => happened switch
    {
        StatusEvent.TasksEnded ended when ended.Tasks.Length > MaximumTasks => ended.Tasks.Chunk(MaximumTasks).Select(part => ended with { Tasks = part }),
        StatusEvent.TasksSent sent when sent.Tasks.Count > MaximumTasks => sent.Tasks.Chunk(MaximumTasks).Select(part => sent with { Tasks = part }),
        _ => [happened],
    };

    /// <summary>Reads a line; null when it is a header or an event that this version does not know.</summary>
    /// <exception cref="FormatException">It is no event.</exception>
    /// <exception cref="NotSupportedException">It is the header of a version that is too new.</exception>
    public static StatusEvent? Parse(string line)
    {
        try
        {
            using var text = new JsonTextReader(new StringReader(line)) { DateParseHandling = DateParseHandling.None, MaxDepth = 16 };
            return ReadMembers(JObject.Load(text));
        }
        catch (Exception error) when (error is JsonException or InvalidCastException or ArgumentException or OverflowException)
        {
            throw new FormatException($"The line is no event: {error.Message}", error);
        }
    }

    private static string NameOf(StatusEvent happened) => happened switch
    {
        StatusEvent.ApplicationStarted => "applicationStarted",
        StatusEvent.EnvironmentKnown => "environmentKnown",
        StatusEvent.ApplicationEnded => "applicationEnded",
        StatusEvent.ExecutorAdded => "executorAdded",
        StatusEvent.ExecutorRemoved => "executorRemoved",
        StatusEvent.ExecutorExcluded => "executorExcluded",
        StatusEvent.NodeExcluded => "nodeExcluded",
        StatusEvent.JobStarted => "jobStarted",
        StatusEvent.JobEnded => "jobEnded",
        StatusEvent.StageStarted => "stageStarted",
        StatusEvent.StageEnded => "stageEnded",
        StatusEvent.TasksSent => "tasksSent",
        StatusEvent.TasksEnded => "tasksEnded",
        StatusEvent.TasksCounted => "tasksCounted",
        StatusEvent.CollectionPersisted => "collectionPersisted",
        StatusEvent.CollectionUnpersisted => "collectionUnpersisted",
        StatusEvent.PartitionsHeld => "partitionsHeld",
        StatusEvent.AccumulatorChanged => "accumulatorChanged",
        StatusEvent.EventsLost => "eventsLost",
        _ => throw new ArgumentException($"{happened.GetType().Name} has no name in the log.", nameof(happened)),
    };

    private static void WriteMembers(JsonTextWriter json, StatusEvent happened)
    {
        switch (happened)
        {
            case StatusEvent.TasksEnded ended:
                WriteEnded(json, ended.Tasks);
                break;
            case StatusEvent.TasksSent sent:
                Field(json, "stage", sent.StageId.Value);
                Field(json, "stageAttempt", sent.StageAttempt);
                Field(json, "executor", sent.ExecutorId.Value);
                Field(json, "tasks", sent.Tasks.Count);
                var tasks = sent.Tasks as TaskToSend[] ?? [.. sent.Tasks];
                Column(json, "attempt", tasks, static (in TaskToSend task) => task.AttemptId.Value);
                Column(json, "partition", tasks, static (in TaskToSend task) => task.Partition);
                Column(json, "number", tasks, static (in TaskToSend task) => task.AttemptNumber);
                Column(json, "speculative", tasks, static (in TaskToSend task) => task.Speculative ? 1 : 0);
                break;
            case StatusEvent.ApplicationStarted application:
                Field(json, "id", application.Id.Value);
                Field(json, "name", application.Name);
                Field(json, "user", application.User);
                Field(json, "driver", application.Driver);
                Field(json, "version", application.Version);
                Field(json, "address", application.Address);
                break;
            case StatusEvent.EnvironmentKnown environment:
                Map(json, "runtime", environment.Runtime);
                Map(json, "settings", environment.Settings);
                break;
            case StatusEvent.ApplicationEnded application:
                Field(json, "succeeded", application.Succeeded);
                Field(json, "message", application.Message);
                break;
            case StatusEvent.ExecutorAdded executor:
                Field(json, "executor", executor.Id.Value);
                Field(json, "node", executor.NodeId.Value);
                Field(json, "host", executor.Host);
                Field(json, "processId", executor.ProcessId);
                Field(json, "slots", executor.Slots);
                Field(json, "nodeUrl", executor.NodeUrl);
                break;
            case StatusEvent.ExecutorRemoved executor:
                Field(json, "executor", executor.Id.Value);
                Field(json, "cause", StatusStage.Camel(executor.Cause.ToString()));
                Field(json, "message", executor.Message);
                break;
            case StatusEvent.ExecutorExcluded excluded:
                Field(json, "executor", excluded.Id.Value);
                Field(json, "until", excluded.Until.UtcDateTime.ToString("O", CultureInfo.InvariantCulture));
                break;
            case StatusEvent.NodeExcluded excluded:
                Field(json, "node", excluded.Id.Value);
                Field(json, "until", excluded.Until.UtcDateTime.ToString("O", CultureInfo.InvariantCulture));
                break;
            case StatusEvent.JobStarted job:
                Field(json, "job", job.Id.Value);
                Field(json, "name", job.Name);
                Field(json, "pool", job.Pool);
                json.WritePropertyName("stages");
                json.WriteStartArray();
                foreach (var stage in job.Stages)
                {
                    json.WriteStartObject();
                    Field(json, "stage", stage.Id.Value);
                    Field(json, "name", stage.Name);
                    Field(json, "tasks", stage.Tasks);
                    json.WritePropertyName("reads");
                    json.WriteStartArray();
                    foreach (var shuffle in stage.Reads)
                    {
                        json.WriteValue(shuffle);
                    }
                    json.WriteEndArray();
                    if (stage.Writes is { } writes)
                    {
                        Field(json, "writes", writes);
                    }
                    json.WriteEndObject();
                }
                json.WriteEndArray();
                break;
            case StatusEvent.JobEnded job:
                Field(json, "job", job.Id.Value);
                Field(json, "outcome", StatusStage.Camel(job.Outcome.ToString()));
                Field(json, "message", job.Message);
                break;
            case StatusEvent.StageStarted stage:
                Field(json, "stage", stage.Id.Value);
                Field(json, "stageAttempt", stage.Attempt);
                Field(json, "job", stage.JobId.Value);
                Field(json, "name", stage.Name);
                Field(json, "tasks", stage.Tasks);
                Field(json, "partitions", stage.Partitions);
                break;
            case StatusEvent.StageEnded stage:
                Field(json, "stage", stage.Id.Value);
                Field(json, "stageAttempt", stage.Attempt);
                Field(json, "outcome", StatusStage.Camel(stage.Outcome.ToString()));
                Field(json, "message", stage.Message);
                break;
            case StatusEvent.TasksCounted counted:
                Field(json, "stage", counted.StageId.Value);
                Field(json, "stageAttempt", counted.StageAttempt);
                Field(json, "succeeded", counted.Succeeded);
                Field(json, "failed", counted.Failed);
                Field(json, "stopped", counted.Stopped);
                Field(json, "lost", counted.Lost);
                break;
            case StatusEvent.CollectionPersisted collection:
                Field(json, "collection", collection.Id);
                Field(json, "name", collection.Name);
                Field(json, "level", collection.Level);
                Field(json, "partitions", collection.Partitions);
                break;
            case StatusEvent.CollectionUnpersisted collection:
                Field(json, "collection", collection.Id);
                break;
            case StatusEvent.PartitionsHeld told:
                Field(json, "executor", told.ExecutorId.Value);
                json.WritePropertyName("held");
                json.WriteStartArray();
                foreach (var held in told.Partitions)
                {
                    json.WriteStartArray();
                    json.WriteValue(held.Collection);
                    json.WriteValue(held.Partition);
                    json.WriteValue(held.MemoryBytes);
                    json.WriteValue(held.DiskBytes);
                    json.WriteEndArray();
                }
                json.WriteEndArray();
                break;
            case StatusEvent.AccumulatorChanged accumulator:
                Field(json, "accumulator", accumulator.Id);
                Field(json, "name", accumulator.Name);
                Field(json, "value", accumulator.Value);
                break;
            case StatusEvent.EventsLost lost:
                Field(json, "count", lost.Count);
                break;
        }
    }

    private static StatusEvent? ReadMembers(JObject line)
    {
        var name = Text(line, "event");
        if (name == "log")
        {
            return (int?)line["version"] is { } version && version > Version
                ? throw new NotSupportedException($"The log is of version {version}; this program reads up to {Version}: use the yarnish tool of the version that wrote it.")
                : null;
        }
        var at = Time(line, "at");
        return name switch
        {
            "tasksEnded" => new StatusEvent.TasksEnded(at, ReadEnded(line)),
            "tasksSent" => new StatusEvent.TasksSent(at, Stage(line), Number(line, "stageAttempt"), Executor(line), ReadSent(line)),
            "applicationStarted" => new StatusEvent.ApplicationStarted(
                at, ApplicationId.Create(Text(line, "id")), Text(line, "name"), Text(line, "user"), Text(line, "driver"), Text(line, "version"), Text(line, "address")),
            "environmentKnown" => new StatusEvent.EnvironmentKnown(at, Map(line, "runtime"), Map(line, "settings")),
            "applicationEnded" => new StatusEvent.ApplicationEnded(at, (bool?)line["succeeded"] ?? false, Text(line, "message")),
            "executorAdded" => new StatusEvent.ExecutorAdded(
                at, Executor(line), NodeId.Create(Text(line, "node")), Text(line, "host"), Number(line, "processId"), Number(line, "slots"), Text(line, "nodeUrl")),
            "executorRemoved" => new StatusEvent.ExecutorRemoved(at, Executor(line), Enumerated(line, "cause", ContainerExitCause.Unknown), Text(line, "message")),
            "executorExcluded" => new StatusEvent.ExecutorExcluded(at, Executor(line), Time(line, "until")),
            "nodeExcluded" => new StatusEvent.NodeExcluded(at, NodeId.Create(Text(line, "node")), Time(line, "until")),
            "jobStarted" => new StatusEvent.JobStarted(at, new JobId(Number(line, "job")), Text(line, "name"), Text(line, "pool"), [.. Items(line, "stages").OfType<JObject>().Select(ReadPlanned)]),
            "jobEnded" => new StatusEvent.JobEnded(at, new JobId(Number(line, "job")), Enumerated(line, "outcome", JobState.Failed), Text(line, "message")),
            "stageStarted" => new StatusEvent.StageStarted(
                at, Stage(line), Number(line, "stageAttempt"), new JobId(Number(line, "job")), Text(line, "name"), Number(line, "tasks"), Number(line, "partitions")),
            "stageEnded" => new StatusEvent.StageEnded(at, Stage(line), Number(line, "stageAttempt"), Enumerated(line, "outcome", StageOutcome.Cancelled), Text(line, "message")),
            "tasksCounted" => new StatusEvent.TasksCounted(
                at, Stage(line), Number(line, "stageAttempt"), Long(line, "succeeded"), Long(line, "failed"), Long(line, "stopped"), Long(line, "lost")),
            "collectionPersisted" => new StatusEvent.CollectionPersisted(at, Number(line, "collection"), Text(line, "name"), Text(line, "level"), Number(line, "partitions")),
            "collectionUnpersisted" => new StatusEvent.CollectionUnpersisted(at, Number(line, "collection")),
            "partitionsHeld" => new StatusEvent.PartitionsHeld(at, Executor(line), [.. Items(line, "held").Select(static item => item.Select(static value => (long)value).ToArray())
                .Where(static item => item.Length >= 4).Select(static item => new CachedPartition(checked((int)item[0]), checked((int)item[1]), item[2], item[3]))]),
            "accumulatorChanged" => new StatusEvent.AccumulatorChanged(at, Number(line, "accumulator"), Text(line, "name"), Text(line, "value")),
            "eventsLost" => new StatusEvent.EventsLost(at, Long(line, "count")),
            _ => null,
        };
    }

    private static PlannedStage ReadPlanned(JObject stage) => new(
        Stage(stage), Text(stage, "name"), Number(stage, "tasks"), [.. Items(stage, "reads").Select(static shuffle => (int)shuffle)], (int?)stage["writes"]);

    // ── Batches of tasks.

    private static void WriteEnded(JsonTextWriter json, EndedTask[] tasks)
    {
        Field(json, "tasks", tasks.Length);
        Column(json, "stage", tasks, static (in EndedTask task) => task.StageId.Value);
        Column(json, "stageAttempt", tasks, static (in EndedTask task) => task.StageAttempt);
        Column(json, "attempt", tasks, static (in EndedTask task) => task.Attempt.Value);
        Column(json, "partition", tasks, static (in EndedTask task) => task.Partition);
        Column(json, "number", tasks, static (in EndedTask task) => task.Number);
        Column(json, "executor", tasks, static task => task.ExecutorId.Value);
        Column(json, "end", tasks, static task => task.Kind == TaskEndKind.Succeeded ? "" : EndKinds[(int)task.Kind]);
        Column(json, "countsAsFailure", tasks, static (in EndedTask task) => task.CountsAsFailure ? 1 : 0);
        Column(json, "error", tasks, static task => task.Error);
        Column(json, TaskFigure.Wall, tasks, static (in EndedTask task) => task.WallMicroseconds);
        for (var i = 0; i < FigureColumns.Length; i++)
        {
            Column(json, TaskFigure.All[i].Name, tasks, FigureColumns[i]);
        }
        if (!Array.Exists(tasks, static task => task.Cached is { Count: > 0 }))
        {
            return;
        }
        json.WritePropertyName("cached");
        json.WriteStartArray();
        for (var i = 0; i < tasks.Length; i++)
        {
            foreach (var cached in tasks[i].Cached ?? [])
            {
                json.WriteStartArray();
                json.WriteValue(i);
                json.WriteValue(cached.Collection);
                json.WriteValue(cached.Partition);
                json.WriteValue(cached.MemoryBytes);
                json.WriteValue(cached.DiskBytes);
                json.WriteEndArray();
            }
        }
        json.WriteEndArray();
    }

    private static EndedTask[] ReadEnded(JObject line)
    {
        var count = Count(line);
        var (stage, stageAttempt, attempt, partition, number, wall, counts) = (
            Column(line, "stage", count), Column(line, "stageAttempt", count), Column(line, "attempt", count), Column(line, "partition", count), Column(line, "number", count),
            Column(line, TaskFigure.Wall, count), Column(line, "countsAsFailure", count));
        var (executor, end, error) = (Words(line, "executor", count), Words(line, "end", count), Words(line, "error", count));
        var figures = Array.ConvertAll(TaskFigure.All, figure => Column(line, figure.Name, count));
        var cached = Items(line, "cached").Select(static item => item.Select(static value => (long)value).ToArray()).Where(static item => item.Length >= 5)
            .ToLookup(static item => item[0], static item => new CachedPartition(checked((int)item[1]), checked((int)item[2]), item[3], item[4]));
        var executors = new Dictionary<string, ExecutorId>(StringComparer.Ordinal);
        var values = new long[figures.Length];
        var tasks = new EndedTask[count];
        for (var i = 0; i < count; i++)
        {
            for (var k = 0; k < values.Length; k++)
            {
                values[k] = figures[k][i];
            }
            if (!executors.TryGetValue(executor[i], out var id))
            {
                executors.Add(executor[i], id = ExecutorId.Create(executor[i]));
            }
            var kind = end[i].Length == 0 ? 0 : Array.IndexOf(EndKinds, end[i]);
            tasks[i] = new EndedTask(
                new TaskAttemptId(attempt[i]), new StageId(checked((int)stage[i])), checked((int)stageAttempt[i]), checked((int)partition[i]), checked((int)number[i]), id, wall[i],
                kind < 0 ? TaskEndKind.Failed : (TaskEndKind)kind, counts[i] != 0, error[i], TaskFigure.ToMetrics(values), cached.Contains(i) ? [.. cached[i]] : null);
        }
        return tasks;
    }

    private static TaskToSend[] ReadSent(JObject line)
    {
        var count = Count(line);
        var (attempt, partition, number, speculative) = (Column(line, "attempt", count), Column(line, "partition", count), Column(line, "number", count), Column(line, "speculative", count));
        var tasks = new TaskToSend[count];
        for (var i = 0; i < count; i++)
        {
            tasks[i] = new TaskToSend(new TaskAttemptId(attempt[i]), checked((int)partition[i]), checked((int)number[i]), speculative[i] != 0);
        }
        return tasks;
    }

    private static int Count(JObject line)
    {
        var count = Number(line, "tasks");
        return count is >= 0 and <= MaximumTasks ? count : throw new FormatException($"A line with {count} tasks; at most {MaximumTasks} are written in one.");
    }

    private static void Column<T>(JsonTextWriter json, string name, T[] items, Read<T> read)
    {
        var first = items.Length == 0 ? 0 : read(items[0]);
        var (same, counting) = (true, items.Length > 1);
        for (var i = 1; i < items.Length && (same || counting); i++)
        {
            var value = read(items[i]);
            same &= value == first;
            counting &= value == first + i;
        }
        if (same && first == 0)
        {
            return;
        }
        json.WritePropertyName(name);
        if (same)
        {
            json.WriteValue(first);
        }
        else if (counting)
        {
            json.WriteStartObject();
            Field(json, "from", first);
            json.WriteEndObject();
        }
        else
        {
            json.WriteStartArray();
            for (var i = 0; i < items.Length; i++)
            {
                json.WriteValue(read(items[i]));
            }
            json.WriteEndArray();
        }
    }

    private static void Column(JsonTextWriter json, string name, EndedTask[] tasks, Func<EndedTask, string> read)
    {
        var first = tasks.Length == 0 ? "" : read(tasks[0]);
        var same = true;
        for (var i = 1; i < tasks.Length && same; i++)
        {
            same = read(tasks[i]) == first;
        }
        if (same && first.Length == 0)
        {
            return;
        }
        json.WritePropertyName(name);
        if (same)
        {
            json.WriteValue(first);
            return;
        }
        json.WriteStartArray();
        foreach (var task in tasks)
        {
            json.WriteValue(read(task));
        }
        json.WriteEndArray();
    }

    private static long[] Column(JObject line, string name, int count)
    {
        var values = new long[count];
        switch (line[name])
        {
            case null:
                break;
            case JArray array when array.Count == count:
                for (var i = 0; i < count; i++)
                {
                    values[i] = (long)array[i];
                }
                break;
            case JObject counting:
                var from = Long(counting, "from");
                for (var i = 0; i < count; i++)
                {
                    values[i] = from + i;
                }
                break;
            case JValue value:
                Array.Fill(values, (long)value);
                break;
            default:
                throw new FormatException($"Column {name} does not have {count} values.");
        }
        return values;
    }

    private static string[] Words(JObject line, string name, int count) => line[name] switch
    {
        JArray array when array.Count == count => [.. array.Select(static value => (string?)value ?? "")],
        JArray => throw new FormatException($"Column {name} does not have {count} values."),
        var value => [.. Enumerable.Repeat((string?)value ?? "", count)],
    };

    // ── Members.

    private static void Field(JsonTextWriter json, string name, string value)
    {
        json.WritePropertyName(name);
        json.WriteValue(value);
    }

    private static void Field(JsonTextWriter json, string name, long value)
    {
        json.WritePropertyName(name);
        json.WriteValue(value);
    }

    private static void Field(JsonTextWriter json, string name, bool value)
    {
        json.WritePropertyName(name);
        json.WriteValue(value);
    }

    private static void Map(JsonTextWriter json, string name, ImmutableSortedDictionary<string, string> values)
    {
        json.WritePropertyName(name);
        json.WriteStartObject();
        foreach (var (key, value) in values)
        {
            Field(json, key, value);
        }
        json.WriteEndObject();
    }

    private static ImmutableSortedDictionary<string, string> Map(JObject line, string name)
    {
        var result = ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal);
        foreach (var (key, value) in line[name] as JObject ?? [])
        {
            result[key] = (string?)value ?? "";
        }
        return result.ToImmutable();
    }

    private static JArray Items(JObject line, string name) => line[name] as JArray ?? [];

    private static string Text(JObject line, string name) => (string?)line[name] ?? "";

    private static int Number(JObject line, string name) => (int?)line[name] ?? 0;

    private static long Long(JObject line, string name) => (long?)line[name] ?? 0;

    private static StageId Stage(JObject line) => new(Number(line, "stage"));

    private static ExecutorId Executor(JObject line) => ExecutorId.Create(Text(line, "executor"));

    private static DateTimeOffset Time(JObject line, string name) =>
        DateTimeOffset.Parse(Text(line, name), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal);

    private static T Enumerated<T>(JObject line, string name, T unknown)
        where T : struct, Enum => Enum.TryParse<T>(Text(line, name), ignoreCase: true, out var value) && Enum.IsDefined(value) ? value : unknown;
}
