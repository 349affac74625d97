using System.Collections.Immutable;
using System.Text;
using CsCheck;
using Yarnish.Protocol;
using Yarnish.Transport;
using Xunit;

namespace Yarnish.Tests.Transport;

/// <summary>The laws of the data path's format: what is written is read, rubbish is one error.</summary>
public sealed class WireTests
{
    private static readonly ApplicationId App = new("app-1");

    private static readonly Gen<ReadOnlyMemory<byte>> Bytes = Gen.Byte.Array[0, 40].Select(array => (ReadOnlyMemory<byte>)array);
    private static readonly Gen<string> Id = Gen.Char["abcXYZ019._-"].Array[1, 12].Select(chars => "i" + new string(chars));

    // Any text people may write, but for lone surrogates, which UTF-8 cannot carry.
    private static readonly Gen<string> Text = Gen.OneOf(Gen.Char["\0\n\r\t\"\\/{}[]äöü€ \u2028\u2029"], Gen.Char['a', 'z']).Array[0, 20].Select(chars => new string(chars));

    private static readonly Gen<TaskAttemptId> Attempt = Gen.Long.Select(value => new TaskAttemptId(value));
    private static readonly Gen<IReadOnlyList<TaskAttemptId>> Attempts = Attempt.List[0, 5].Select(list => (IReadOnlyList<TaskAttemptId>)list);
    private static readonly Gen<ExecutorAddress> Address = Gen.Select(Id, Gen.Int[0, int.MaxValue], (id, epoch) => new ExecutorAddress(new(id), epoch));

    private static readonly Gen<IReadOnlyList<PartitionAt>> Places = Gen.Select(Gen.Int, Gen.Int, Id, Text, (collection, partition, node, url) => new PartitionAt(collection, partition, new(node), url))
        .List[0, 4].Select(list => (IReadOnlyList<PartitionAt>)list);

    private static readonly Gen<RemoteError> Error = Gen.Recursive<RemoteError>((depth, inner) => Gen.Select(
        Text, Text, Text, depth < 6 ? Gen.OneOf(Gen.Const((RemoteError?)null), inner.Select(error => (RemoteError?)error)) : Gen.Const((RemoteError?)null),
        (type, message, stack, cause) => new RemoteError(type, message, stack) { Inner = cause }));

    private static readonly Gen<TaskEnd> End = Gen.OneOf(
        Gen.Const<TaskEnd>(TaskSucceeded.Instance),
        Gen.Const<TaskEnd>(TaskCommitDenied.Instance),
        Gen.Const<TaskEnd>(TaskResubmitted.Instance),
        Error.Select(error => (TaskEnd)new TaskFailed(error)),
        Gen.Select(Gen.Int, Gen.Int, Attempt, Id, Text, (shuffle, map, attempt, node, text) => (TaskEnd)new FetchFailed(new(shuffle), map, attempt, new(node), text)),
        Text.Select(text => (TaskEnd)new TaskKilled(text)),
        Text.Select(text => (TaskEnd)new TaskResultLost(text)),
        Text.Select(text => (TaskEnd)new TaskCodeMissing(text)),
        Gen.Select(Id, Gen.Enum<ContainerExitCause>(), Gen.Bool, Text, (id, cause, by, text) => (TaskEnd)new TaskExecutorLost(new(id), cause, by, text)));

    private static readonly Gen<TaskMetrics> Metrics = Gen.OneOf(Gen.Const(0L), Gen.Long).Array[18].Select(v => new TaskMetrics
    {
        RunMicroseconds = v[0], QueueMicroseconds = v[1], DeserializeMicroseconds = v[2], GarbageCollectionMicroseconds = v[3], InputRows = v[4], InputBytes = v[5],
        OutputRows = v[6], OutputBytes = v[7], ResultBytes = v[8], ShuffleWriteRows = v[9], ShuffleWriteBytes = v[10], ShuffleWriteMicroseconds = v[11],
        ShuffleReadRows = v[12], ShuffleReadLocalBytes = v[13], ShuffleReadRemoteBytes = v[14], ShuffleFetchWaitMicroseconds = v[15], SpillBytes = v[16], SkippedRows = v[17],
    });

    private static readonly Gen<MapOutput?> Map = Gen.OneOf(
        Gen.Const((MapOutput?)null),
        Gen.Select(Gen.Int, Gen.Int, Attempt, Id, Text, Bytes, (shuffle, map, attempt, node, url, sizes) => (MapOutput?)new MapOutput(new(shuffle), map, attempt, new(node), url, sizes)));

    private static readonly Gen<TaskReport> Report = Gen.Select(
        Gen.Select(Attempt, End, Metrics, Bytes),
        Gen.Select(Gen.OneOf(Gen.Const((string?)null), Text.Select(text => (string?)text)), Map),
        Gen.Select(Gen.Int, Bytes).List[0, 3],
        Gen.Select(Gen.Int, Gen.Int, Gen.Long, Gen.Long).List[0, 3],
        (basics, places, accumulators, cached) => new TaskReport(basics.Item1, basics.Item2, basics.Item3, basics.Item4)
        {
            ResultBlock = places.Item1,
            MapOutput = places.Item2,
            Accumulators = accumulators.Count == 0 ? null : accumulators.DistinctBy(pair => pair.Item1).ToImmutableSortedDictionary(pair => pair.Item1, pair => pair.Item2),
            TraceParent = cached.Count % 2 == 0 ? "" : "00-a",
            Cached = cached.Count == 0 ? null : [.. cached.Select(one => new CachedPartition(one.Item1, one.Item2, one.Item3, one.Item4) { Replicate = one.Item2 % 2 == 0 })],
        });

    private static readonly Gen<ExecutorMessage> FromExecutor = Gen.OneOf(
        Gen.Select(Address, Report.List[0, 6], (from, reports) => (ExecutorMessage)new TaskReports(from, reports)),
        Gen.Select(Address, Gen.Long, Attempts, Gen.Int, Gen.Long, (from, sequence, running, queued, memory) => (ExecutorMessage)new ExecutorBeat(from, sequence, running, queued, memory)),
        Gen.Select(Gen.Select(Address, Id, Text, Gen.Int), Attempts, Attempts, Gen.Int, Text, (head, running, finished, pid, host) =>
            (ExecutorMessage)new ExecutorHello(head.Item1, new(head.Item2), head.Item3, head.Item4, running, finished) { ProcessId = pid, Host = host }),
        Gen.Select(Address, Gen.Int, Gen.Int, (from, shuffle, epoch) => (ExecutorMessage)new LocationsWanted(from, new(shuffle), epoch)),
        Gen.Select(Address, Id, (from, block) => (ExecutorMessage)new BlockWanted(from, block)),
        Gen.Select(Address, Id, Places, Gen.Bool, (from, node, places, written) => (ExecutorMessage)new PartitionsHeld(from, new(node), [.. places.Select(place => new CachedPartition(place.Collection, place.Partition, 1, 0))])
        {
            Lost = places,
            AllWritten = written,
        }),
        Gen.Select(Address, Text, (from, text) => (ExecutorMessage)new ExecutorGoodbye(from, text)));

    private static readonly Gen<TaskAssignment> Assignment = Gen.Select(Attempt, Gen.Int, Gen.Int, Bytes, (attempt, partition, number, input) => new TaskAssignment(attempt, partition, number, input));

    private static readonly Gen<DriverMessage> FromDriver = Gen.OneOf(
        Gen.Select(Gen.Select(Gen.Int, Gen.Int, Gen.Int, Text), Assignment.List[0, 8], Gen.Select(Gen.Int, Gen.Int).List[0, 3], Text, Gen.Long, Places, (head, tasks, shuffles, trace, settled, places) =>
            (DriverMessage)new TaskBatch(App, head.Item1, new(head.Item2), head.Item3, head.Item4, tasks)
            {
                Shuffles = [.. shuffles.Select(pair => new ShuffleInput(new(pair.Item1), pair.Item2))],
                TraceParent = trace,
                Links = [.. shuffles.Select(pair => new AttemptLink(new(pair.Item1), trace))],
                SettledUpTo = settled,
                Elsewhere = places,
            }),
        Places.Select(places => (DriverMessage)new CopyPartitions(places)),
        Gen.Const((DriverMessage)WritePartitions.Instance),
        Gen.Select(Text, Bytes, (hash, content) => (DriverMessage)new CodeBlock(App, hash, content)),
        Gen.Select(Attempts, Text, (attempts, text) => (DriverMessage)new CancelTasks(attempts, text)),
        Gen.Select(Gen.Int.List[0, 4], Gen.Int.List[0, 4], (shuffles, collections) => (DriverMessage)new DropBlocks([.. shuffles.Select(value => new ShuffleId(value))], collections) { Broadcasts = [.. collections.Skip(2)] }),
        Gen.Int.Select(epoch => (DriverMessage)new DriverAlive(epoch)),
        Gen.Int.Select(epoch => (DriverMessage)new SayHello(epoch)),
        Text.Select(text => (DriverMessage)new ShutdownExecutor(text)),
        Gen.Select(Id, Text, (block, problem) => (DriverMessage)new BlockGiven(block, problem)),
        Gen.Select(Gen.Int, Gen.Int, (shuffle, epoch) => (DriverMessage)new LocationsPublished(new(shuffle), epoch)));

    [Fact]
    public void Every_message_of_a_driver_is_read_as_it_was_written()
    {
        // One writer and one reader for all: their buffers carry nothing over.
        var (writer, reader) = (new WireWriter(), new WireReader());
        FromDriver.Sample(message => Assert.Equal(Shape.Of(message), Shape.Of(reader.ReadDriver(writer.Write(App, message).Span, App))), iter: 2000, threads: 1);
    }

    [Fact]
    public void Every_message_of_an_executor_is_read_as_it_was_written()
    {
        var (writer, reader) = (new WireWriter(), new WireReader());
        FromExecutor.Sample(message => Assert.Equal(Shape.Of(message), Shape.Of(reader.ReadExecutor(writer.Write(App, message).Span, App))), iter: 2000, threads: 1);
    }

    [Fact]
    public void The_first_line_is_json_without_line_feeds() => FromExecutor.Sample(
        message =>
        {
            var body = new WireWriter().Write(App, message).ToArray();
            using var json = System.Text.Json.JsonDocument.Parse(body.AsMemory(0, Array.IndexOf(body, (byte)'\n')));
            Assert.Equal(App.Value, json.RootElement.GetProperty("app").GetString());
        },
        iter: 300);

    [Fact]
    public void Corrupted_bytes_are_one_kind_of_error_or_another_message() => Gen.Select(FromExecutor, Gen.Int[0, 10_000], Gen.Byte, Gen.Int[0, 3]).Sample(
        (message, position, value, how) =>
        {
            var body = new WireWriter().Write(App, message).ToArray();
            body = how switch
            {
                0 => body[..(position % body.Length)],
                1 => [.. body, value],
                2 => [.. body[..(position % body.Length)], value, .. body[(position % body.Length)..]],
                _ => Changed(body, position % body.Length, value),
            };
            try
            {
                new WireReader().ReadExecutor(body, App);
            }
            catch (WireFormatException)
            {
                // The only way to fail.
            }
        },
        iter: 5000);

    [Fact]
    public void Random_bytes_are_one_kind_of_error() => Gen.Byte.Array[0, 200].Sample(
        body =>
        {
            Assert.Throws<WireFormatException>(() => new WireReader().ReadDriver(body, App));
            Assert.Throws<WireFormatException>(() => new WireReader().ReadExecutor(body, App));
        },
        iter: 2000);

    [Theory]
    [InlineData("""{"type":"task-batch","app":"other","code":"c","tasks":[]}""", "belongs to application 'other'")]
    [InlineData("""{"type":"task-batch","app":"app-1","tasks":[]}""", "'code' is missing")]
    [InlineData("""{"type":"task-batch","app":"app-1","code":"c","tasks":[[1,0,0,5]]}""", "names 5 attached bytes where 0 are left")]
    [InlineData("""{"type":"task-batch","app":"app-1","code":"c","tasks":[[1,0,0,-5]]}""", "names -5 attached bytes")]
    [InlineData("""{"type":"task-batch","app":"app-1","code":"c","tasks":[["x"]]}""", "a whole number was expected at tasks[0][0]")]
    [InlineData("""{"type":"task-batch","app":"app-1","code":"c","tasks":[[99999999999999999999,0]]}""", "a whole number was expected")]
    [InlineData("""{"type":"launch","app":"app-1"}""", "no message of type 'launch'")]
    [InlineData("""{"type":"driver-alive","app":"app-1","driverEpoch":4294967296}""", "overflow")]
    [InlineData("""{"type":"driver-alive","app":"app-1"} {}""", "Additional text")]
    [InlineData("""[1]""", "StartObject was expected")]
    public void What_is_wrong_is_told(string line, string expected)
    {
        var error = Assert.Throws<WireFormatException>(() => new WireReader().ReadDriver(Encoding.UTF8.GetBytes(line + "\n"), App));

        Assert.Contains(expected, error.Message, StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public void Deep_nesting_is_refused_not_followed() =>
        Assert.Throws<WireFormatException>(() => new WireReader().ReadDriver(Encoding.UTF8.GetBytes("{\"x\":" + new string('[', 100_000) + "\n"), App));

    [Fact]
    public void Names_of_a_later_version_are_skipped() => Assert.Equal(
        new DriverAlive(7),
        new WireReader().ReadDriver("""{"type":"driver-alive","app":"app-1","later":{"a":[1,{"b":null}]},"driverEpoch":7}"""u8.ToArray().Append((byte)'\n').ToArray(), App));

    [Fact]
    public void A_message_above_the_limit_is_refused_and_the_writer_goes_on()
    {
        var writer = new WireWriter(maximumBytes: 1000);
        var error = Assert.Throws<MessageTooLargeException>(() => writer.Write(App, new CodeBlock(App, "hash", new byte[1000])));

        Assert.Equal(1000, error.Limit);
        Assert.Contains("A CodeBlock of", error.Message, StringComparison.Ordinal);
        Assert.Equal(new DriverAlive(1), new WireReader().ReadDriver(writer.Write(App, new DriverAlive(1)).Span, App));
    }

    [Fact]
    public void Texts_of_user_errors_are_cut_before_they_make_a_report_too_large()
    {
        var error = new RemoteError("T", new string('m', 5 << 20), new string('s', 5 << 20)) { Inner = new RemoteError("T", new string('m', 5 << 20), "") };
        var body = new WireWriter().Write(App, new TaskReports(new(new("e"), 1), [new(new(1), new TaskFailed(error), TaskMetrics.Empty, default)]));

        Assert.InRange(body.Length, 1, 200_000);
        var read = (TaskFailed)((TaskReports)new WireReader().ReadExecutor(body.Span, App)).Reports[0].End;
        Assert.EndsWith("… (cut)", read.Error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_batch_of_small_tasks_costs_next_to_nothing_to_write_and_little_to_read()
    {
        const int rounds = 200, tasks = 16;
        var (writer, reader) = (new WireWriter(), new WireReader());
        var batch = new TaskBatch(App, 1, new(1), 0, new string('a', 64), [.. Enumerable.Range(0, tasks).Select(i => new TaskAssignment(new(1_000_000 + i), i, 0, default))]);
        var reports = new TaskReports(
            new(new("c-1-1"), 1),
            [.. Enumerable.Range(0, tasks).Select(i => new TaskReport(new(1_000_000 + i), TaskSucceeded.Instance, new TaskMetrics { RunMicroseconds = 1000 + i, QueueMicroseconds = 2000 + i, ResultBytes = 4 }, new byte[4]))]);
        var answer = new WireWriter().Write(App, reports).ToArray();
        Round();

        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < rounds; i++)
        {
            Round();
        }
        var perTask = (GC.GetAllocatedBytesForCurrentThread() - before) / (rounds * tasks);

        Assert.InRange(perTask, 0, 1000);

        void Round()
        {
            writer.Write(App, batch);
            reader.ReadExecutor(answer, App);
        }
    }

    private static byte[] Changed(byte[] body, int position, byte value)
    {
        body[position] = value;
        return body;
    }
}
