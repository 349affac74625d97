using System.Text.Json;
using System.Text.Json.Serialization;
using Yarnish.NodeAgent.Containers;
using Yarnish.Protocol;
using Yarnish.Scheduling;

namespace Yarnish.Simulation;

/// <summary>Everything that happens in a run, one JSON object a line, for <c>log.html</c>.</summary>
internal sealed class EventLog(TextWriter writer)
{
    private static readonly JsonSerializerOptions Options = new(JsonSerializerDefaults.Web) { DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull };

    // "at" is the virtual second; "kind" is deed, cluster, order, send, lost, agent, effect or violation; the others name what it is about, where it is about something.
    private sealed record Line(double At, string Kind, string Text, string? Node, string? Application, IReadOnlyList<string>? Containers);

    /// <summary>The first line: what the run was.</summary>
    public void Begin(Scenario scenario, PlantedBug bug) => writer.WriteLine(JsonSerializer.Serialize(
        new { seed = scenario.Seed, bug = bug == PlantedBug.None ? null : bug.ToString(), nodes = scenario.Nodes.Select(static node => node.ToString()), faultsEnd = Scenario.FaultsEnd }, Options));

    public void Write(double at, string kind, string text, object? subject = null, string? node = null, string? application = null)
    {
        var (itsNode, itsApplication, containers) = Subject(subject);
        writer.WriteLine(JsonSerializer.Serialize(new Line(Math.Round(at, 4), kind, text, node ?? itsNode, application ?? itsApplication, containers), Options));
    }

    public void WriteMessage(double at, string kind, string who, bool up, ControlMessage message, string text)
    {
        var name = who[(who.IndexOf(' ', StringComparison.Ordinal) + 1)..];
        var isNode = who.StartsWith("node", StringComparison.Ordinal);
        Write(at, kind, (up ? $"{name} → manager: " : $"manager → {name}: ") + $"{message.GetType().Name}: {text}", message, isNode ? name : null, isNode ? null : name);
    }

    private static (string? Node, string? Application, IReadOnlyList<string>? Containers) Subject(object? subject) => subject switch
    {
        NodeRegistering e => Subject(e.Message),
        ContainerBegan e => Subject(e.Message),
        ContainerEnded e => Subject(e.Message),
        AsksUpdated e => Subject(e.Message),
        ApplicationRegistering e => Subject(e.Message),
        ApplicationFinished e => Subject(e.Message),
        ApplicationKilled e => (null, e.ApplicationId.Value, null),
        NodeDrainRequested e => (e.NodeId.Value, null, null),
        NodeDrainCancelled e => (e.NodeId.Value, null, null),
        RegisterNode m => (m.NodeId.Value, null, Ids(m.Containers.Select(static report => report.ContainerId))),
        NodeHeartbeat m => (m.NodeId.Value, null, Ids(m.Containers.Select(static report => report.ContainerId))),
        ContainerStarted m => (m.NodeId.Value, null, Ids([m.ContainerId])),
        ContainerExited m => (m.NodeId.Value, null, Ids([m.ContainerId])),
        LaunchContainer m => (null, m.ApplicationId.Value, Ids([m.ContainerId])),
        StopContainer m => (null, null, Ids([m.ContainerId])),
        AcknowledgeExits m => (null, null, Ids(m.Containers)),
        CleanApplication m => (null, m.ApplicationId.Value, null),
        RegisterApplication m => (null, m.ApplicationId.Value, null),
        FinishApplication m => (null, m.ApplicationId.Value, null),
        UpdateAsks m => (null, m.ApplicationId.Value, Ids(m.Release.Concat((m.Held ?? []).Select(static held => held.ContainerId)))),
        ContainersGranted m => (null, null, Ids(m.Grants.Select(static grant => grant.ContainerId))),
        ContainersCompleted m => (null, null, Ids(m.Completions.Select(static completion => completion.ContainerId))),
        ContainerFound e => (null, e.Record.ApplicationId.Value, Ids([e.Record.ContainerId])),
        FormerContainerFound e => (null, null, Ids([e.ContainerId])),
        ApplicationFound e => (null, e.ApplicationId.Value, null),
        EndedApplicationFound e => (null, e.ApplicationId.Value, null),
        FilesPlaced e => (null, null, Ids([e.ContainerId])),
        FilesFailed e => (null, null, Ids([e.ContainerId])),
        ProcessStarted e => (null, null, Ids([e.ContainerId])),
        ProcessNotStarted e => (null, null, Ids([e.ContainerId])),
        ProcessExited e => (null, null, Ids([e.ContainerId])),
        MemoryExceeded e => (null, null, Ids([e.ContainerId])),
        SaveRecord e => (null, e.Record.ApplicationId.Value, Ids([e.Record.ContainerId])),
        ForgetContainer e => (null, null, Ids([e.ContainerId])),
        PlaceFiles e => Subject(e.Launch),
        StartProcess e => Subject(e.Launch),
        CancelPlacing e => (null, null, Ids([e.ContainerId])),
        SignalProcess e => (null, null, Ids([e.ContainerId])),
        ReleaseFiles e => (null, e.ApplicationId.Value, Ids([e.ContainerId])),
        MarkApplicationEnded e => (null, e.ApplicationId.Value, null),
        RemoveApplication e => (null, e.ApplicationId.Value, null),
        _ => (null, null, null),
    };

    private static List<string> Ids(IEnumerable<ContainerId> ids) => [.. ids.Select(static id => id.ToString())];
}
