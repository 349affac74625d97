using System.Collections.Immutable;
using System.Text;
using Yarnish.Protocol;
using Yarnish.Transport;
using Xunit;

namespace Yarnish.Tests.Transport;

/// <summary>The wire of the data path: one golden file per message; the second line of each holds the attachments in hexadecimal.</summary>
public sealed class WireGoldenTests
{
    private static readonly ApplicationId App = new("app-1");
    private static readonly ExecutorAddress From = new(new("c-2-7"), 3);

    private static readonly Dictionary<string, object> Samples = new()
    {
        ["task-batch"] = new TaskBatch(App, 1, new(2), 1, "5e3f", [new(new(17), 0, 0, default), new(new(18), 1, 2, default), new(new(19), 2, 0, new byte[] { 1, 2, 3 })])
        {
            Shuffles = [new(new(4), 2)], TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", SettledUpTo = 16, Elsewhere = [new(9, 1, new("n2"), "http://n2:8000")],
        },
        ["code-block"] = new CodeBlock(App, "5e3f", new byte[] { 0xca, 0xfe }),
        ["cancel-tasks"] = new CancelTasks([new(17), new(18)], "job was cancelled"),
        ["drop-blocks"] = new DropBlocks([new(4), new(5)], [9]) { Broadcasts = [3] },
        ["driver-alive"] = new DriverAlive(1),
        ["say-hello"] = new SayHello(1),
        ["shutdown-executor"] = new ShutdownExecutor("done"),
        ["block-given"] = new BlockGiven("broadcast-3-0", "Broadcast 3 was disposed."),
        ["copy-partitions"] = new CopyPartitions([new(9, 1, new("n1"), "http://n1:8000"), new(9, 2, new("n2"), "http://n2:8000")]),
        ["write-partitions"] = WritePartitions.Instance,
        ["partitions-held"] = new PartitionsHeld(From, new("n1"), [new(9, 1, 0, 500), new(9, 2, 0, 0) { Replicate = true }]) { Lost = [new(9, 2, new("n2"), "http://n2:8000")], AllWritten = true },
        ["locations-published"] = new LocationsPublished(new(4), 2),
        ["barrier-released"] = new BarrierReleased([new(17), new(18)], 3, ["a:1", "", "ü"]),
        ["barrier-arrived"] = new BarrierArrived(From, new(17), 3, "a:1"),
        ["executor-hello"] = new ExecutorHello(From, new("n1"), "http://n1:8000", 2, [new(17)], [new(15), new(16)]) { ProcessId = 4711, Host = "n1" },
        ["executor-beat"] = new ExecutorBeat(From, 12, [new(17)], 3, 123456),
        ["block-wanted"] = new BlockWanted(From, "broadcast-3-0"),
        ["locations-wanted"] = new LocationsWanted(From, new(4), 1),
        ["executor-goodbye"] = new ExecutorGoodbye(From, "idle"),
        ["task-reports"] = new TaskReports(From,
        [
            new(new(17), TaskSucceeded.Instance, new TaskMetrics { RunMicroseconds = 120, QueueMicroseconds = 3, ResultBytes = 2 }, new byte[] { 7, 8 }),
            new(new(18), TaskSucceeded.Instance, new TaskMetrics { RunMicroseconds = 1, SpillBytes = 2 }, default)
            {
                MapOutput = new(new(4), 1, new(18), new("n1"), "http://n1:8000", new byte[] { 0, 99 }),
                Accumulators = ImmutableSortedDictionary<int, ReadOnlyMemory<byte>>.Empty.Add(1, new byte[] { 5 }),
                Cached = [new(9, 1, 1000, 0)],
            },
            new(new(19), new TaskFailed(new("System.Exception", "boom", "at X") { Inner = new("System.IO.IOException", "disk", "") }), TaskMetrics.Empty, default),
            new(new(20), new FetchFailed(new(4), 1, new(18), new("n1"), "gone"), TaskMetrics.Empty, default),
            new(new(21), new TaskKilled("speculation"), TaskMetrics.Empty, default),
            new(new(22), new TaskResultLost("evicted"), TaskMetrics.Empty, default),
            new(new(23), TaskCommitDenied.Instance, TaskMetrics.Empty, default),
            new(new(24), new TaskCodeMissing("5e3f"), TaskMetrics.Empty, default),
            new(new(25), new TaskExecutorLost(new("c-2-7"), ContainerExitCause.OutOfMemory, true, "killed"), TaskMetrics.Empty, default),
            new(new(26), TaskResubmitted.Instance, TaskMetrics.Empty, default),
            new(new(27), TaskSucceeded.Instance, TaskMetrics.Empty, default) { ResultBlock = "result-27" },
        ]),
    };

    public static TheoryData<string> Names() => [.. Samples.Keys];

    [Theory]
    [MemberData(nameof(Names))]
    public void Every_task_message_goes_over_the_wire_as_its_golden_file_says(string name)
    {
        var message = Samples[name];
        var body = (message is DriverMessage driver ? new WireWriter().Write(App, driver) : new WireWriter().Write(App, (ExecutorMessage)message)).ToArray();
        var end = Array.IndexOf(body, (byte)'\n');

        Golden.Check($"task-{name}.txt", $"{Encoding.UTF8.GetString(body, 0, end)}\n{Convert.ToHexString(body, end + 1, body.Length - end - 1)}".TrimEnd());

        var lines = Golden.Read($"task-{name}.txt").Split('\n');
        byte[] bytes = [.. Encoding.UTF8.GetBytes(lines[0]), (byte)'\n', .. Convert.FromHexString(lines.ElementAtOrDefault(1) ?? "")];
        Assert.Equal(Shape.Of(message), Shape.Of(message is DriverMessage ? new WireReader().ReadDriver(bytes, App) : new WireReader().ReadExecutor(bytes, App)));
    }

    [Fact]
    public void Every_message_has_a_sample()
    {
        var types = typeof(DriverMessage).Assembly.GetTypes().Where(type => !type.IsAbstract && (type.IsSubclassOf(typeof(DriverMessage)) || type.IsSubclassOf(typeof(ExecutorMessage))));

        Assert.Equal(types.Select(type => type.Name).Order(StringComparer.Ordinal), Samples.Values.Select(sample => sample.GetType().Name).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Every_end_of_a_task_is_in_the_sample_of_reports()
    {
        var types = typeof(TaskEnd).Assembly.GetTypes().Where(type => type.IsSubclassOf(typeof(TaskEnd)));

        Assert.Equal(
            types.Select(type => type.Name).Order(StringComparer.Ordinal),
            ((TaskReports)Samples["task-reports"]).Reports.Select(report => report.End.GetType().Name).Distinct().Order(StringComparer.Ordinal));
    }
}
