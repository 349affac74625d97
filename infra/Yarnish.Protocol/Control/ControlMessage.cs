using System.Text.Json.Serialization;

namespace Yarnish.Protocol;

/// <summary>
/// A message of the control plane, carried by the control bus between drivers, resource manager and node agents. Commands are imperative,
/// events past tense. Every message may arrive twice, late or out of order: each carries the sequence or incarnation that tells.
/// The JSON name of each type is frozen: golden files in the tests guard it.
/// </summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "$type")]
[JsonDerivedType(typeof(RegisterNode), "register-node")]
[JsonDerivedType(typeof(NodeHeartbeat), "node-heartbeat")]
[JsonDerivedType(typeof(ContainerStarted), "container-started")]
[JsonDerivedType(typeof(ContainerExited), "container-exited")]
[JsonDerivedType(typeof(NodeRegistered), "node-registered")]
[JsonDerivedType(typeof(NodeRefused), "node-refused")]
[JsonDerivedType(typeof(ResyncNode), "resync-node")]
[JsonDerivedType(typeof(LaunchContainer), "launch-container")]
[JsonDerivedType(typeof(StopContainer), "stop-container")]
[JsonDerivedType(typeof(AcknowledgeExits), "acknowledge-exits")]
[JsonDerivedType(typeof(CleanApplication), "clean-application")]
[JsonDerivedType(typeof(RegisterApplication), "register-application")]
[JsonDerivedType(typeof(ApplicationHeartbeat), "application-heartbeat")]
[JsonDerivedType(typeof(UpdateAsks), "update-asks")]
[JsonDerivedType(typeof(FinishApplication), "finish-application")]
[JsonDerivedType(typeof(ApplicationRegistered), "application-registered")]
[JsonDerivedType(typeof(ApplicationRefused), "application-refused")]
[JsonDerivedType(typeof(ResyncApplication), "resync-application")]
[JsonDerivedType(typeof(ContainersGranted), "containers-granted")]
[JsonDerivedType(typeof(ContainersCompleted), "containers-completed")]
[JsonDerivedType(typeof(AsksWaiting), "asks-waiting")]
[JsonDerivedType(typeof(NodesDraining), "nodes-draining")]
[JsonDerivedType(typeof(KillApplication), "kill-application")]
[JsonDerivedType(typeof(ControlRefused), "control-refused")]
public abstract record ControlMessage;

/// <summary>The receiver could not accept a message at all, such as one signed with another cluster secret. The only message accepted unsigned.</summary>
/// <param name="Reason">For people: what, why, what to do.</param>
public sealed record ControlRefused(string Reason) : ControlMessage;

/// <summary>Where a control message goes or comes from.</summary>
/// <param name="Role">Which kind of program.</param>
/// <param name="Id">Id of the node or application; empty for the resource manager.</param>
public readonly record struct ControlAddress(ControlRole Role, string Id)
{
    /// <summary>The active resource manager.</summary>
    public static ControlAddress ResourceManager { get; } = new(ControlRole.ResourceManager, "");

    /// <summary>The agent of a node.</summary>
    public static ControlAddress Node(NodeId node) => new(ControlRole.Node, node.Value);

    /// <summary>The driver of an application.</summary>
    public static ControlAddress Application(ApplicationId application) => new(ControlRole.Application, application.Value);

    /// <summary>The text form, such as <c>rm</c>, <c>node-worker1</c> or <c>app-7f3a</c>.</summary>
    public override string ToString() => Role switch
    {
        ControlRole.ResourceManager => "rm",
        ControlRole.Node => "node-" + Id,
        _ => "driver-" + Id,
    };
}

/// <summary>The kinds of programs on the control bus.</summary>
public enum ControlRole
{
    /// <summary>The resource manager.</summary>
    ResourceManager,

    /// <summary>A node agent.</summary>
    Node,

    /// <summary>A driver.</summary>
    Application,
}
