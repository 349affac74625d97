using System.Collections.Immutable;
using Yarnish.NodeAgent.Containers;
using Yarnish.Protocol;

namespace Yarnish.Tests.NodeAgent;

/// <summary>A container table with a clock of its own, and containers in any phase.</summary>
internal sealed class GivenTable
{
    public const int Epoch = 3;
    public static readonly ContainerId Id = new(Epoch, 1);
    public static readonly ApplicationId Application = new("app-1");
    public static readonly ProcessIdentity Process = new(4711, 100, 4710, 99);

    public GivenTable()
    {
        Table = new ContainerTable(new NodeIdentity(new NodeId("node-1"), 7, Resources.Of(4096, 4), "http://127.0.0.1:1", "localhost"));
        Apply(new BusConnected());
        Receive(new NodeRegistered(Epoch, 1));
    }

    public ContainerTable Table { get; }

    public DateTimeOffset Now { get; private set; } = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    public static LaunchContainer Launch(ContainerId? id = null, ApplicationId? application = null, int epoch = Epoch) => new(
        epoch, id ?? Id, application ?? Application, 5, Resources.Of(256, 1), new LaunchSpecification("true", []), "");

    public static StopContainer Stop(ContainerId? id = null, double grace = 10, ContainerExitCause cause = ContainerExitCause.Released, int epoch = Epoch) =>
        new(epoch, id ?? Id, cause, grace, "Nobody needs it.");

    public ImmutableArray<AgentEffect> Apply(AgentEvent happened) => Table.Apply(happened, Now);

    public ImmutableArray<AgentEffect> Receive(ControlMessage message) => Apply(new MessageReceived(message));

    public ImmutableArray<AgentEffect> After(TimeSpan time)
    {
        Now += time;
        return Apply(new Tick());
    }

    /// <summary>Brings the one container into a phase by the shortest way.</summary>
    public GivenTable In(ContainerPhase phase)
    {
        Receive(Launch());
        if (phase is ContainerPhase.Placing)
        {
            return this;
        }
        if (phase is ContainerPhase.PlacingCancelled)
        {
            Receive(Stop());
            return this;
        }
        Apply(new FilesPlaced(Id));
        if (phase is ContainerPhase.Starting)
        {
            return this;
        }
        if (phase is ContainerPhase.StartingCancelled)
        {
            Receive(Stop());
            return this;
        }
        Apply(new ProcessStarted(Id, Process));
        if (phase is ContainerPhase.Running)
        {
            return this;
        }
        if (phase is ContainerPhase.Stopping)
        {
            Receive(Stop());
            return this;
        }
        Apply(new ProcessExited(Id, new ProcessEnd(0, "")));
        return this;
    }

    public ContainerExit? Exit => Table.Snapshot().Containers.SingleOrDefault(view => view.Record.ContainerId == Id)?.Exit;
}

internal static class EffectAssertions
{
    public static T The<T>(this IEnumerable<AgentEffect> effects)
        where T : AgentEffect => Xunit.Assert.Single(effects.OfType<T>());

    public static T Sent<T>(this IEnumerable<AgentEffect> effects)
        where T : ControlMessage => Xunit.Assert.Single(effects.OfType<SendMessage>().Select(send => send.Message).OfType<T>());
}
