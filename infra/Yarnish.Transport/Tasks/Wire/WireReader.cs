using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;
using Newtonsoft.Json;
using Yarnish.Protocol;

namespace Yarnish.Transport;

/// <summary>
/// Reads what <see cref="WireWriter"/> writes. Everything that is not such a message ends in one <see cref="WireFormatException"/>; names it does not know are skipped. What it
/// returns owns its bytes. One thread at a time.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "Holds memory only; there is nothing to close.")]
internal sealed class WireReader
{
    /// <summary>How many inner exceptions travel.</summary>
    public const int MaximumErrorDepth = 8;

    private const int KeptCharacters = 1 << 20;

    private readonly CharSource source = new();
    private ReadOnlyMemory<byte> attachments;
    private int attachmentsRead;

    /// <exception cref="WireFormatException">The bytes are not a message of a driver.</exception>
    public DriverMessage ReadDriver(ReadOnlySpan<byte> body, ApplicationId application) => Read(body, application, static (reader, json) => reader.Driver(json));

    /// <exception cref="WireFormatException">The bytes are not a message of an executor.</exception>
    public ExecutorMessage ReadExecutor(ReadOnlySpan<byte> body, ApplicationId application) => Read(body, application, static (reader, json) => reader.Executor(json));

    private string? app;
    private ApplicationId known;

    private T Read<T>(ReadOnlySpan<byte> body, ApplicationId application, Func<WireReader, JsonTextReader, T> read)
    {
        var end = body.IndexOf((byte)'\n');
        if (end < 0)
        {
            throw new WireFormatException($"{body.Length:N0} bytes without a line feed are not a message.");
        }
        try
        {
            source.Fill(body[..end]);
            attachments = end + 1 == body.Length ? default : body[(end + 1)..].ToArray();
            attachmentsRead = 0;
            app = null;
            known = application;
            using var json = new JsonTextReader(source)
            {
                CloseInput = false,
                DateParseHandling = DateParseHandling.None,
                FloatParseHandling = FloatParseHandling.Double,
                MaxDepth = 32,
                PropertyNameTable = WireNames.Table,
                ArrayPool = CharPool.Instance,
                Culture = CultureInfo.InvariantCulture,
            };
            var message = read(this, json);
            if (app != application.Value)
            {
                throw new WireFormatException($"It belongs to application '{app}', not to '{application}'.");
            }
            return attachmentsRead == attachments.Length
                ? message
                : throw new WireFormatException($"{attachments.Length - attachmentsRead:N0} bytes at its end belong to nothing.");
        }
        catch (Exception error) when (error is not (WireFormatException or OutOfMemoryException))
        {
            throw new WireFormatException($"Not a message: {error.Message}", error);
        }
        finally
        {
            attachments = default;
            source.Release(KeptCharacters);
        }
    }

    private DriverMessage Driver(JsonTextReader json)
    {
        string? type = null, code = null, block = null, trace = "", reason = "";
        int driverEpoch = 0, stage = 0, stageAttempt = 0, shuffle = 0, epoch = 0, round = 0;
        List<string> messages = [];
        long settled = 0;
        ReadOnlyMemory<byte> content = default;
        List<TaskAssignment>? tasks = null;
        IReadOnlyList<TaskAttemptId> attempts = [];
        List<ShuffleInput>? inputs = null;
        List<AttemptLink> links = [];
        List<ShuffleId>? dropped = null;
        List<int> collections = [], broadcasts = [];
        List<PartitionAt> partitions = [], elsewhere = [];
        Expect(json, JsonToken.StartObject);
        while (Property(json) is { } name)
        {
            switch (name)
            {
                case "type":
                    type = Text(json);
                    break;
                case "app":
                    app = Text(json);
                    break;
                case "driverEpoch":
                    driverEpoch = Integer(json);
                    break;
                case "stage":
                    stage = Integer(json);
                    break;
                case "stageAttempt":
                    stageAttempt = Integer(json);
                    break;
                case "code":
                    code = Text(json);
                    break;
                case "trace":
                    trace = Text(json);
                    break;
                case "links":
                    links = Links(json);
                    break;
                case "settledUpTo":
                    settled = Long(json);
                    break;
                case "reason":
                    reason = Text(json);
                    break;
                case "shuffle":
                    shuffle = Integer(json);
                    break;
                case "epoch":
                    epoch = Integer(json);
                    break;
                case "bytes":
                    content = Attachment(Integer(json));
                    break;
                case "attempts":
                    attempts = Attempts(json);
                    break;
                case "collections":
                    collections = Integers(json);
                    break;
                case "broadcasts":
                    broadcasts = Integers(json);
                    break;
                case "block":
                    block = Text(json);
                    break;
                case "round":
                    round = Integer(json);
                    break;
                case "messages":
                    messages = Texts(json);
                    break;
                case "shuffles" when type == "drop-blocks":
                    dropped = [.. Integers(json).Select(static value => new ShuffleId(value))];
                    break;
                case "shuffles":
                    inputs = ShuffleInputs(json);
                    break;
                case "tasks":
                    tasks = Tasks(json);
                    break;
                case "partitions":
                    partitions = Places(json);
                    break;
                case "elsewhere":
                    elsewhere = Places(json);
                    break;
                default:
                    json.Skip();
                    break;
            }
        }
        End(json);
        return type switch
        {
            "task-batch" => new TaskBatch(known, driverEpoch, new(stage), stageAttempt, Required(code, "code"), Required(tasks, "tasks"))
            {
                Shuffles = inputs ?? [],
                TraceParent = trace,
                Links = links,
                Elsewhere = elsewhere,
                SettledUpTo = settled,
            },
            "code-block" => new CodeBlock(known, Required(code, "code"), content),
            "cancel-tasks" => new CancelTasks(attempts, reason),
            "drop-blocks" => new DropBlocks(dropped ?? [], collections) { Broadcasts = broadcasts },
            "driver-alive" => new DriverAlive(driverEpoch),
            "say-hello" => new SayHello(driverEpoch),
            "shutdown-executor" => new ShutdownExecutor(reason),
            "locations-published" => new LocationsPublished(new(shuffle), epoch),
            "block-given" => new BlockGiven(Required(block, "block"), reason),
            "barrier-released" => new BarrierReleased(attempts, round, messages),
            "copy-partitions" => new CopyPartitions(partitions),
            "write-partitions" => WritePartitions.Instance,
            _ => throw new WireFormatException($"A driver sends no message of type '{type}'."),
        };
    }

    private ExecutorMessage Executor(JsonTextReader json)
    {
        string? type = null, executor = null, node = null, block = null;
        string url = "", host = "", reason = "", said = "";
        int epoch = 0, slots = 0, pid = 0, queued = 0, shuffle = 0, round = 0;
        long sequence = 0, memory = 0, attempt = 0;
        IReadOnlyList<TaskAttemptId> running = [], finished = [];
        List<TaskReport>? reports = null;
        List<CachedPartition> cached = [];
        List<PartitionAt> lost = [];
        var allWritten = false;
        Expect(json, JsonToken.StartObject);
        while (Property(json) is { } name)
        {
            switch (name)
            {
                case "type":
                    type = Text(json);
                    break;
                case "app":
                    app = Text(json);
                    break;
                case "executor":
                    executor = Text(json);
                    break;
                case "epoch":
                    epoch = Integer(json);
                    break;
                case "node":
                    node = Text(json);
                    break;
                case "url":
                    url = Text(json);
                    break;
                case "host":
                    host = Text(json);
                    break;
                case "reason":
                    reason = Text(json);
                    break;
                case "slots":
                    slots = Integer(json);
                    break;
                case "pid":
                    pid = Integer(json);
                    break;
                case "queued":
                    queued = Integer(json);
                    break;
                case "shuffle":
                    shuffle = Integer(json);
                    break;
                case "attempt":
                    attempt = Long(json);
                    break;
                case "round":
                    round = Integer(json);
                    break;
                case "message":
                    said = Text(json);
                    break;
                case "sequence":
                    sequence = Long(json);
                    break;
                case "memory":
                    memory = Long(json);
                    break;
                case "running":
                    running = Attempts(json);
                    break;
                case "finished":
                    finished = Attempts(json);
                    break;
                case "reports":
                    reports = Reports(json);
                    break;
                case "block":
                    block = Text(json);
                    break;
                case "cached":
                    cached = Cached(json);
                    break;
                case "lost":
                    lost = Places(json);
                    break;
                case "allWritten":
                    allWritten = Boolean(json);
                    break;
                default:
                    json.Skip();
                    break;
            }
        }
        End(json);
        var from = new ExecutorAddress(ExecutorId.Create(Required(executor, "executor")), epoch);
        return type switch
        {
            "task-reports" => new TaskReports(from, Required(reports, "reports")),
            "executor-beat" => new ExecutorBeat(from, sequence, running, queued, memory),
            "executor-hello" => new ExecutorHello(from, NodeId.Create(Required(node, "node")), url, slots, running, finished) { ProcessId = pid, Host = host },
            "locations-wanted" => new LocationsWanted(from, new(shuffle), checked((int)sequence)),
            "block-wanted" => new BlockWanted(from, Required(block, "block")),
            "barrier-arrived" => new BarrierArrived(from, new(attempt), round, said),
            "executor-goodbye" => new ExecutorGoodbye(from, reason),
            "partitions-held" => new PartitionsHeld(from, NodeId.Create(Required(node, "node")), cached) { Lost = lost, AllWritten = allWritten },
            _ => throw new WireFormatException($"An executor sends no message of type '{type}'."),
        };
    }

    private List<TaskAssignment> Tasks(JsonTextReader json)
    {
        var tasks = new List<TaskAssignment>(16);
        Expect(json, JsonToken.StartArray);
        while (Element(json, JsonToken.StartArray))
        {
            var attempt = new TaskAttemptId(Long(json));
            var partition = Integer(json);
            var number = 0;
            ReadOnlyMemory<byte> input = default;
            if (NextInteger(json, out var value))
            {
                number = checked((int)value);
                if (NextInteger(json, out value))
                {
                    input = Attachment(value);
                    EndArray(json);
                }
            }
            tasks.Add(new TaskAssignment(attempt, partition, number, input));
        }
        return tasks;
    }

    private static List<AttemptLink> Links(JsonTextReader json)
    {
        var links = new List<AttemptLink>();
        Expect(json, JsonToken.StartArray);
        while (Element(json, JsonToken.StartArray))
        {
            links.Add(new AttemptLink(new TaskAttemptId(Long(json)), Text(json)));
            EndArray(json);
        }
        return links;
    }

    private List<TaskReport> Reports(JsonTextReader json)
    {
        var reports = new List<TaskReport>(16);
        Expect(json, JsonToken.StartArray);
        while (Element(json, JsonToken.StartObject))
        {
            long? id = null;
            TaskEnd end = TaskSucceeded.Instance;
            var metrics = TaskMetrics.Empty;
            ReadOnlyMemory<byte> result = default;
            string? block = null;
            var trace = "";
            MapOutput? map = null;
            ImmutableSortedDictionary<int, ReadOnlyMemory<byte>>? accumulators = null;
            List<CachedPartition>? cached = null;
            while (Property(json) is { } name)
            {
                switch (name)
                {
                    case "id":
                        id = Long(json);
                        break;
                    case "end":
                        end = TaskEnd(json);
                        break;
                    case "trace":
                        trace = Text(json);
                        break;
                    case "metrics":
                        metrics = Metrics(json);
                        break;
                    case "result":
                        result = Attachment(Integer(json));
                        break;
                    case "block":
                        block = Text(json);
                        break;
                    case "map":
                        map = Map(json);
                        break;
                    case "accumulators":
                        accumulators = Accumulators(json);
                        break;
                    case "cached":
                        cached = Cached(json);
                        break;
                    default:
                        json.Skip();
                        break;
                }
            }
            reports.Add(new TaskReport(new(id ?? throw Missing("id")), end, metrics, result)
            {
                ResultBlock = block,
                MapOutput = map,
                Accumulators = accumulators,
                Cached = cached,
                TraceParent = trace,
            });
        }
        return reports;
    }

    private static TaskEnd TaskEnd(JsonTextReader json)
    {
        string? kind = null, node = null, code = null, executor = null, cause = null;
        string message = "", reason = "";
        int shuffle = 0, partition = 0;
        long attempt = 0;
        var byTask = false;
        RemoteError? error = null;
        Expect(json, JsonToken.StartObject);
        while (Property(json) is { } name)
        {
            switch (name)
            {
                case "kind":
                    kind = Text(json);
                    break;
                case "node":
                    node = Text(json);
                    break;
                case "code":
                    code = Text(json);
                    break;
                case "executor":
                    executor = Text(json);
                    break;
                case "cause":
                    cause = Text(json);
                    break;
                case "message":
                    message = Text(json);
                    break;
                case "reason":
                    reason = Text(json);
                    break;
                case "shuffle":
                    shuffle = Integer(json);
                    break;
                case "partition":
                    partition = Integer(json);
                    break;
                case "attempt":
                    attempt = Long(json);
                    break;
                case "byTask":
                    byTask = Boolean(json);
                    break;
                case "error":
                    error = Error(json, depth: 0);
                    break;
                default:
                    json.Skip();
                    break;
            }
        }
        return kind switch
        {
            "failed" => new TaskFailed(error ?? throw Missing("error")),
            "fetch-failed" => new FetchFailed(new(shuffle), partition, new(attempt), NodeId.Create(Required(node, "node")), message),
            "killed" => new TaskKilled(reason),
            "result-lost" => new TaskResultLost(message),
            "commit-denied" => TaskCommitDenied.Instance,
            "code-missing" => new TaskCodeMissing(Required(code, "code")),
            "executor-lost" => new TaskExecutorLost(
                ExecutorId.Create(Required(executor, "executor")), Enum.Parse<ContainerExitCause>(Required(cause, "cause")), byTask, message),
            "resubmitted" => TaskResubmitted.Instance,
            _ => throw new WireFormatException($"'{kind}' is no end of a task."),
        };
    }

    private static RemoteError Error(JsonTextReader json, int depth)
    {
        if (depth > MaximumErrorDepth)
        {
            throw new WireFormatException("Too many inner errors.");
        }
        string type = "", message = "", stack = "";
        RemoteError? inner = null;
        Expect(json, JsonToken.StartObject);
        while (Property(json) is { } name)
        {
            switch (name)
            {
                case "type":
                    type = Text(json);
                    break;
                case "message":
                    message = Text(json);
                    break;
                case "stack":
                    stack = Text(json);
                    break;
                case "inner":
                    inner = Error(json, depth + 1);
                    break;
                default:
                    json.Skip();
                    break;
            }
        }
        return new RemoteError(type, message, stack) { Inner = inner };
    }

    private static TaskMetrics Metrics(JsonTextReader json)
    {
        Span<long> values = stackalloc long[18];
        values.Clear();
        var count = 0;
        Expect(json, JsonToken.StartArray);
        while (NextInteger(json, out var value))
        {
            // A later version may know more counters.
            if (count < values.Length)
            {
                values[count++] = value;
            }
        }
        return new TaskMetrics
        {
            RunMicroseconds = values[0],
            QueueMicroseconds = values[1],
            ResultBytes = values[2],
            DeserializeMicroseconds = values[3],
            GarbageCollectionMicroseconds = values[4],
            InputRows = values[5],
            InputBytes = values[6],
            OutputRows = values[7],
            OutputBytes = values[8],
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
    }

    private MapOutput Map(JsonTextReader json)
    {
        int shuffle = 0, partition = 0;
        long attempt = 0;
        string? node = null;
        var url = "";
        ReadOnlyMemory<byte> sizes = default;
        Expect(json, JsonToken.StartObject);
        while (Property(json) is { } name)
        {
            switch (name)
            {
                case "shuffle":
                    shuffle = Integer(json);
                    break;
                case "partition":
                    partition = Integer(json);
                    break;
                case "attempt":
                    attempt = Long(json);
                    break;
                case "node":
                    node = Text(json);
                    break;
                case "url":
                    url = Text(json);
                    break;
                case "sizes":
                    sizes = Attachment(Integer(json));
                    break;
                default:
                    json.Skip();
                    break;
            }
        }
        return new MapOutput(new(shuffle), partition, new(attempt), NodeId.Create(Required(node, "node")), url, sizes);
    }

    private ImmutableSortedDictionary<int, ReadOnlyMemory<byte>> Accumulators(JsonTextReader json)
    {
        var accumulators = ImmutableSortedDictionary.CreateBuilder<int, ReadOnlyMemory<byte>>();
        Expect(json, JsonToken.StartArray);
        while (Element(json, JsonToken.StartArray))
        {
            var number = Integer(json);
            accumulators[number] = Attachment(Integer(json));
            EndArray(json);
        }
        return accumulators.ToImmutable();
    }

    private static List<CachedPartition> Cached(JsonTextReader json)
    {
        var cached = new List<CachedPartition>();
        Expect(json, JsonToken.StartArray);
        while (Element(json, JsonToken.StartArray))
        {
            var partition = new CachedPartition(Integer(json), Integer(json), Long(json), Long(json));
            if (NextInteger(json, out var replicate))
            {
                partition = partition with { Replicate = replicate != 0 };
                EndArray(json);
            }
            cached.Add(partition);
        }
        return cached;
    }

    private static List<PartitionAt> Places(JsonTextReader json)
    {
        var places = new List<PartitionAt>();
        Expect(json, JsonToken.StartArray);
        while (Element(json, JsonToken.StartArray))
        {
            places.Add(new PartitionAt(Integer(json), Integer(json), NodeId.Create(Text(json)), Text(json)));
            EndArray(json);
        }
        return places;
    }

    private static List<ShuffleInput> ShuffleInputs(JsonTextReader json)
    {
        var inputs = new List<ShuffleInput>();
        Expect(json, JsonToken.StartArray);
        while (Element(json, JsonToken.StartArray))
        {
            inputs.Add(new ShuffleInput(new(Integer(json)), Integer(json)));
            EndArray(json);
        }
        return inputs;
    }

    private static List<TaskAttemptId> Attempts(JsonTextReader json)
    {
        var attempts = new List<TaskAttemptId>();
        Expect(json, JsonToken.StartArray);
        while (NextInteger(json, out var value))
        {
            attempts.Add(new(value));
        }
        return attempts;
    }

    private static List<int> Integers(JsonTextReader json)
    {
        var integers = new List<int>();
        Expect(json, JsonToken.StartArray);
        while (NextInteger(json, out var value))
        {
            integers.Add(checked((int)value));
        }
        return integers;
    }

    private static List<string> Texts(JsonTextReader json)
    {
        var texts = new List<string>();
        Expect(json, JsonToken.StartArray);
        while (Element(json, JsonToken.String))
        {
            texts.Add((string)json.Value!);
        }
        return texts;
    }

    private ReadOnlyMemory<byte> Attachment(long length)
    {
        if (length < 0 || length > attachments.Length - attachmentsRead)
        {
            throw new WireFormatException($"It names {length:N0} attached bytes where {attachments.Length - attachmentsRead:N0} are left.");
        }
        var content = attachments.Slice(attachmentsRead, (int)length);
        attachmentsRead += (int)length;
        return content;
    }

    /// <summary>The next name of the object we are in; null at its end.</summary>
    private static string? Property(JsonTextReader json)
    {
        Advance(json);
        return json.TokenType switch
        {
            JsonToken.PropertyName => (string)json.Value!,
            JsonToken.EndObject => null,
            _ => throw Unexpected(json, "a name"),
        };
    }

    /// <summary>True at the next element of the array we are in; false at its end.</summary>
    private static bool Element(JsonTextReader json, JsonToken start)
    {
        Advance(json);
        return json.TokenType == start || (json.TokenType == JsonToken.EndArray ? false : throw Unexpected(json, start.ToString()));
    }

    private static bool NextInteger(JsonTextReader json, out long value)
    {
        Advance(json);
        if (json.TokenType == JsonToken.EndArray)
        {
            value = 0;
            return false;
        }
        value = json is { TokenType: JsonToken.Integer, Value: long number } ? number : throw Unexpected(json, "a whole number");
        return true;
    }

    private static bool Boolean(JsonTextReader json)
    {
        Advance(json);
        return json is { TokenType: JsonToken.Boolean, Value: bool value } ? value : throw Unexpected(json, "true or false");
    }

    private static long Long(JsonTextReader json)
    {
        Advance(json);
        return json is { TokenType: JsonToken.Integer, Value: long number } ? number : throw Unexpected(json, "a whole number");
    }

    private static int Integer(JsonTextReader json) => checked((int)Long(json));

    private static string Text(JsonTextReader json)
    {
        Expect(json, JsonToken.String);
        return (string)json.Value!;
    }

    private static void Expect(JsonTextReader json, JsonToken token)
    {
        Advance(json);
        if (json.TokenType != token)
        {
            throw Unexpected(json, token.ToString());
        }
    }

    private static void EndArray(JsonTextReader json) => Expect(json, JsonToken.EndArray);

    private static void Advance(JsonTextReader json)
    {
        if (!json.Read())
        {
            throw new WireFormatException("It ends in the middle.");
        }
    }

    private static void End(JsonTextReader json)
    {
        if (json.Read())
        {
            throw new WireFormatException("There is more than one value in its first line.");
        }
    }

    private static WireFormatException Unexpected(JsonTextReader json, string wanted) =>
        new($"{wanted} was expected at {json.Path}, position {json.LinePosition}, found {json.TokenType}.");

    private static WireFormatException Missing(string name) => new($"'{name}' is missing.");

    private static T Required<T>(T? value, string name)
        where T : class => value ?? throw Missing(name);

    /// <summary>The characters of one message, in a buffer that is kept.</summary>
    private sealed class CharSource : TextReader
    {
        private char[] buffer = new char[8 << 10];
        private int length;
        private int position;

        public void Fill(ReadOnlySpan<byte> utf8)
        {
            // One byte is at most one character.
            if (buffer.Length < utf8.Length)
            {
                buffer = new char[Math.Max(utf8.Length, buffer.Length * 2)];
            }
            length = Encoding.UTF8.GetChars(utf8, buffer);
            position = 0;
        }

        public void Release(int kept)
        {
            if (buffer.Length > kept)
            {
                buffer = new char[8 << 10];
            }
            length = position = 0;
        }

        public override int Peek() => position < length ? buffer[position] : -1;

        public override int Read() => position < length ? buffer[position++] : -1;

        public override int Read(char[] buffer, int index, int count)
        {
            count = Math.Min(count, length - position);
            this.buffer.AsSpan(position, count).CopyTo(buffer.AsSpan(index, count));
            position += count;
            return count;
        }
    }
}
