using System.Collections.Immutable;
using System.Reflection;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using Yarnish.Protocol;
using Yarnish.Transport;
using Xunit;

namespace Yarnish.Tests.Transport;

/// <summary>The wire of the control plane: one golden file per message, and errors that are one kind.</summary>
public sealed class ControlJsonTests
{
    private static readonly ContainerId Container = new(2, 7);
    private static readonly Resources Some = new(1 << 30, 1500) { Custom = ImmutableSortedDictionary<string, long>.Empty.WithComparers(StringComparer.Ordinal).Add("gpu", 1) };
    private static readonly ContainerExit Exit = new(ContainerExitCause.OutOfMemory, 137, "used 2 GiB");

    private static readonly LaunchSpecification Launch = new("dotnet", ["exec", "App.dll"])
    {
        Environment = ImmutableSortedDictionary<string, string>.Empty.WithComparers(StringComparer.Ordinal).Add("A", "1"),
        Files = [new("lib/App.dll", new string('a', 64), 123, Executable: true)],
    };

    private static readonly ContainerReport Report = new(Container, new("app-1"), Some, ContainerState.Exited) { Exit = Exit, AskId = 3 };
    private static readonly ApplicationProgress Progress = new() { JobsRunning = 1, TasksSucceeded = 12, ShuffleBytesRead = 34, Activity = "stage 2" };

    private static readonly ControlMessage[] Samples =
    [
        new RegisterNode(new("n1"), 5, Some, "http://n1:8000", "n1")
        {
            Rack = "r1", Partition = "p", Attributes = ImmutableSortedDictionary<string, string>.Empty.WithComparers(StringComparer.Ordinal).Add("os", "linux"), Containers = [Report], Version = "0.1.0",
        },
        new NodeHeartbeat(new("n1"), 5, 9, [Report], Healthy: false, "disk full"),
        new ContainerStarted(new("n1"), 5, Container, 4711),
        new ContainerExited(new("n1"), 5, Container, Exit),
        new NodeRegistered(2, 1.5),
        new NodeRefused(2, "not this cluster"),
        new ResyncNode(2),
        new LaunchContainer(2, Container, new("app-1"), 3, Some, Launch, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01") { BlobSources = ["http://rm:8088"] },
        new StopContainer(2, Container, ContainerExitCause.Preempted, 5, "for root.prod"),
        new AcknowledgeExits(2, [Container]),
        new CleanApplication(2, new("app-1")),
        new RegisterApplication(new("app-1"), "word count", "ada", "root.default") { Groups = ["dev"], Priority = 1, Driver = "host:1", TraceParent = "00-a" },
        new ApplicationHeartbeat(new("app-1"), 4, Progress),
        new UpdateAsks(new("app-1"), 6,
        [
            new Ask(3, Some, 2, Launch)
            {
                Priority = 1, PreferredNodes = [new("n1")], PreferredRacks = ["r1"], RelaxLocality = false, Partition = "p", Tags = ["t"],
                Constraints = [new(PlacementKind.MaximumPerNode, "t", true) { Limit = 2, PerRack = true }], GangSeconds = 30, IsDriver = true, TraceParent = "00-b",
            },
        ])
        {
            Release = [Container], ExcludedNodes = [new("n2")], Held = [new(Container, 3, new("n1"))],
        },
        new FinishApplication(new("app-1"), true, "", Progress),
        new ApplicationRegistered(2, new("app-1"), "root.default"),
        new ApplicationRefused(2, new("app-1"), "queue is stopped"),
        new ResyncApplication(2),
        new ContainersGranted(2, [new(Container, 3, new("n1"), "http://n1:8000", Some)]),
        new ContainersCompleted(2, [new(Container, 3, new("n1"), Exit) { NodeLost = true }]),
        new AsksWaiting(2, [new(3, 2, true, "no node has 64 GiB")]),
        new NodesDraining(2, [new("n1"), new("n2")]),
        new KillApplication(2, "by ada"),
        new ControlRefused("other secret"),
    ];

    public static TheoryData<string> Names() => [.. Attributes().Select(attribute => (string)attribute.TypeDiscriminator!)];

    [Theory]
    [MemberData(nameof(Names))]
    public void Every_control_message_goes_over_the_wire_as_its_golden_file_says(string name)
    {
        var type = Attributes().Single(attribute => (string)attribute.TypeDiscriminator! == name).DerivedType;
        var sample = Assert.Single(Samples, message => message.GetType() == type);
        var json = JsonNode.Parse(ControlJson.Encode(sample))!.ToString();

        Golden.Check($"control-{name}.json", json);
        Assert.Equal(Shape.Of(sample), Shape.Of(ControlJson.Decode(Golden.Read($"control-{name}.json"))));
    }

    [Fact]
    public void No_golden_file_is_left_over() => Assert.Equal(
        Attributes().Select(attribute => $"control-{attribute.TypeDiscriminator}.json").Order(StringComparer.Ordinal), Golden.Names("control-*.json").Order(StringComparer.Ordinal));

    [Theory]
    [InlineData("")]
    [InlineData("null")]
    [InlineData("[]")]
    [InlineData("{}")]
    [InlineData("""{"$type":"no-such"}""")]
    [InlineData("""{"$type":"resync-node","epoch":"x"}""")]
    [InlineData("""{"$type":"container-started","nodeId":"a/b","incarnation":1,"containerId":"c-1-1","processId":1}""")]
    [InlineData("""{"$type":"container-started","nodeId":"n","incarnation":1,"containerId":"zzz","processId":1}""")]
    public void What_is_no_control_message_is_one_kind_of_error(string json) => Assert.Throws<FormatException>(() => ControlJson.Decode(json));

    [Fact]
    public void Members_of_a_later_version_are_skipped() =>
        Assert.Equal(new ResyncNode(4), ControlJson.Decode("""{"$type":"resync-node","epoch":4,"later":{"x":[1]}}"""));

    [Fact]
    public void A_signature_holds_for_one_sender_one_receiver_and_one_body()
    {
        var (node, rm) = (ControlAddress.Node(new("n")), ControlAddress.ResourceManager);
        var envelope = ControlEnvelope.Seal("secret", node, rm, "{}");

        Assert.True(envelope.IsAuthentic("secret", rm));
        Assert.False(envelope.IsAuthentic("other", rm));
        Assert.False(envelope.IsAuthentic("", rm));
        Assert.False(envelope.IsAuthentic("secret", node));
        Assert.False((envelope with { Body = "{ }" }).IsAuthentic("secret", rm));
        Assert.False((envelope with { From = "rm" }).IsAuthentic("secret", rm));
        Assert.False((envelope with { Signature = "" }).IsAuthentic("secret", rm));
        Assert.True(ControlEnvelope.Seal("", node, rm, "{}").IsAuthentic("", rm));
        Assert.False(envelope.IsAuthentic("", rm));
    }

    [Theory]
    [InlineData("rm")]
    [InlineData("node-worker-1.x")]
    [InlineData("driver-app-7f3a")]
    public void Addresses_are_read_as_they_are_written(string text)
    {
        Assert.True(ControlAddressText.TryParse(text, out var address));
        Assert.Equal(text, address.ToString());
    }

    [Theory]
    [InlineData("")]
    [InlineData(null)]
    [InlineData("node-")]
    [InlineData("node-a/b")]
    [InlineData("RM")]
    public void Other_addresses_are_refused(string? text) => Assert.False(ControlAddressText.TryParse(text, out _));

    private static IEnumerable<JsonDerivedTypeAttribute> Attributes() => typeof(ControlMessage).GetCustomAttributes<JsonDerivedTypeAttribute>();
}
