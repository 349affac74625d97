using System.Collections.Immutable;
using CsCheck;
using Xunit;
using Yarnish.NodeAgent.Containers;
using Yarnish.Protocol;

namespace Yarnish.Tests.NodeAgent;

/// <summary>Laws that hold for every event in every phase and in every order.</summary>
public sealed class ContainerTableLawTests
{
    /// <summary>Every kind of event, with the phase it leaves a container in: the whole table of decisions. A dash is "not in the table".</summary>
    //                                                   Placing             PlacingCancelled    Starting             StartingCancelled    Running              Stopping    Exited
    private static readonly (AgentEvent Event, string[] Next)[] Decisions =
    [
        (new MessageReceived(GivenTable.Launch()),      ["Placing",          "PlacingCancelled", "Starting",          "StartingCancelled", "Running",           "Stopping", "Exited"]),
        (new MessageReceived(GivenTable.Stop()),        ["PlacingCancelled", "PlacingCancelled", "StartingCancelled", "StartingCancelled", "Stopping",          "Stopping", "Exited"]),
        (new MessageReceived(new CleanApplication(GivenTable.Epoch, GivenTable.Application)),
                                                        ["PlacingCancelled", "PlacingCancelled", "StartingCancelled", "StartingCancelled", "Stopping",          "Stopping", "Exited"]),
        (new MessageReceived(new CleanApplication(GivenTable.Epoch, new ApplicationId("another"))),
                                                        ["Placing",          "PlacingCancelled", "Starting",          "StartingCancelled", "Running",           "Stopping", "Exited"]),
        (new MessageReceived(new AcknowledgeExits(GivenTable.Epoch, [GivenTable.Id])),
                                                        ["Placing",          "PlacingCancelled", "Starting",          "StartingCancelled", "Running",           "Stopping", "-"]),
        (new MessageReceived(new AcknowledgeExits(GivenTable.Epoch, default)),
                                                        ["Placing",          "PlacingCancelled", "Starting",          "StartingCancelled", "Running",           "Stopping", "Exited"]),
        (new MessageReceived(new NodeRegistered(GivenTable.Epoch, double.NaN)),
                                                        ["Placing",          "PlacingCancelled", "Starting",          "StartingCancelled", "Running",           "Stopping", "Exited"]),
        (new MessageReceived(new NodeRefused(GivenTable.Epoch, "no")),
                                                        ["Placing",          "PlacingCancelled", "Starting",          "StartingCancelled", "Running",           "Stopping", "Exited"]),
        (new MessageReceived(new ResyncNode(GivenTable.Epoch + 1)),
                                                        ["Placing",          "PlacingCancelled", "Starting",          "StartingCancelled", "Running",           "Stopping", "Exited"]),
        (new MessageReceived(new ControlRefused("")),   ["Placing",          "PlacingCancelled", "Starting",          "StartingCancelled", "Running",           "Stopping", "Exited"]),
        (new MessageReceived(new KillApplication(GivenTable.Epoch, "")),
                                                        ["Placing",          "PlacingCancelled", "Starting",          "StartingCancelled", "Running",           "Stopping", "Exited"]),
        (new EpochSeen(GivenTable.Epoch + 1),           ["Placing",          "PlacingCancelled", "Starting",          "StartingCancelled", "Running",           "Stopping", "Exited"]),
        (new EpochSeen(0),                              ["Placing",          "PlacingCancelled", "Starting",          "StartingCancelled", "Running",           "Stopping", "Exited"]),
        (new BusConnected(),                            ["Placing",          "PlacingCancelled", "Starting",          "StartingCancelled", "Running",           "Stopping", "Exited"]),
        (new ContainerFound(Record(), null, new ProcessEnd(0, "")),
                                                        ["Placing",          "PlacingCancelled", "Starting",          "StartingCancelled", "Running",           "Stopping", "Exited"]),
        (new FormerContainerFound(GivenTable.Id, new ContainerExit(ContainerExitCause.Completed, 0, "")),
                                                        ["Placing",          "PlacingCancelled", "Starting",          "StartingCancelled", "Running",           "Stopping", "Exited"]),
        (new ApplicationFound(new ApplicationId("another")),
                                                        ["Placing",          "PlacingCancelled", "Starting",          "StartingCancelled", "Running",           "Stopping", "Exited"]),
        (new EndedApplicationFound(new ApplicationId("another")),
                                                        ["Placing",          "PlacingCancelled", "Starting",          "StartingCancelled", "Running",           "Stopping", "Exited"]),
        (new FilesPlaced(GivenTable.Id),                ["Starting",         "Exited",           "Starting",          "StartingCancelled", "Running",           "Stopping", "Exited"]),
        (new FilesFailed(GivenTable.Id, ContainerExitCause.LocalizationFailed, ""),
                                                        ["Exited",           "Exited",           "Starting",          "StartingCancelled", "Running",           "Stopping", "Exited"]),
        (new ProcessStarted(GivenTable.Id, GivenTable.Process),
                                                        ["Placing",          "PlacingCancelled", "Running",           "Stopping",          "Running",           "Stopping", "Exited"]),
        (new ProcessNotStarted(GivenTable.Id, ContainerExitCause.LaunchFailed, ""),
                                                        ["Placing",          "PlacingCancelled", "Exited",            "Exited",            "Running",           "Stopping", "Exited"]),
        (new ProcessExited(GivenTable.Id, new ProcessEnd(1, "")),
                                                        ["Placing",          "PlacingCancelled", "Exited",            "Exited",            "Exited",            "Exited",   "Exited"]),
        (new MemoryExceeded(GivenTable.Id, 1L << 40),   ["Placing",          "PlacingCancelled", "Starting",          "StartingCancelled", "Stopping",          "Stopping", "Exited"]),
        (new HealthChanged(false, "full"),              ["Placing",          "PlacingCancelled", "Starting",          "StartingCancelled", "Running",           "Stopping", "Exited"]),
        (new Tick(),                                    ["Placing",          "PlacingCancelled", "Starting",          "StartingCancelled", "Running",           "Stopping", "Exited"]),
        (new ShutdownRequested(true, TimeSpan.Zero),    ["PlacingCancelled", "PlacingCancelled", "StartingCancelled", "StartingCancelled", "Stopping",          "Stopping", "Exited"]),
        (new ShutdownRequested(false, TimeSpan.Zero),   ["Placing",          "PlacingCancelled", "Starting",          "StartingCancelled", "Running",           "Stopping", "Exited"]),
    ];

    [Fact]
    public void Every_event_is_decided_in_every_phase()
    {
        foreach (var (happened, next) in Decisions)
        {
            foreach (var phase in Enum.GetValues<ContainerPhase>())
            {
                var given = new GivenTable().In(phase);
                Assert.Equal(phase, given.Table.PhaseOf(GivenTable.Id));

                var effects = given.Apply(happened);

                var after = given.Table.PhaseOf(GivenTable.Id)?.ToString() ?? "-";
                Assert.True(next[(int)phase] == after, $"{happened} in {phase} leads to {after}, not {next[(int)phase]}.");
                // Who leaves the table's phases lets go of its files, once.
                Assert.Equal(phase != ContainerPhase.Exited && after == "Exited" ? 1 : 0, effects.OfType<ReleaseFiles>().Count());
            }
        }
    }

    [Fact]
    public void No_kind_of_event_or_message_is_missing_from_the_decisions()
    {
        var kinds = typeof(AgentEvent).Assembly.GetTypes().Where(type => type.IsSubclassOf(typeof(AgentEvent)));
        Assert.Empty(kinds.Except(Decisions.Select(decision => decision.Event.GetType())));

        Type[] messages = [typeof(NodeRegistered), typeof(NodeRefused), typeof(ResyncNode), typeof(LaunchContainer), typeof(StopContainer), typeof(AcknowledgeExits), typeof(CleanApplication), typeof(ControlRefused)];
        Assert.Empty(messages.Except(Decisions.Select(decision => decision.Event).OfType<MessageReceived>().Select(received => received.Message.GetType())));
    }

    [Fact]
    public void An_event_for_a_container_that_is_not_there_does_nothing_but_end_strange_processes()
    {
        foreach (var (happened, _) in Decisions.Where(decision => decision.Event is FilesPlaced or FilesFailed or ProcessStarted or ProcessNotStarted or ProcessExited or MemoryExceeded))
        {
            var given = new GivenTable();

            var effects = given.Apply(happened);

            Assert.Null(given.Table.PhaseOf(GivenTable.Id));
            Assert.All(effects, effect => Assert.True(effect is Ignored or SignalProcess { Kill: true }));
            Assert.Equal(happened is ProcessStarted, effects.OfType<SignalProcess>().Any());
        }
    }

    // A world that lies, repeats itself and forgets: any events for three containers of two applications, in any order, with time passing.
    private static readonly Gen<AgentEvent> AnyEvent =
        Gen.Select(Gen.Int[1, 3], Gen.Int[0, 17], Gen.Int[0, 2]).Select((container, kind, variant) =>
        {
            var id = new ContainerId(GivenTable.Epoch, container);
            var application = new ApplicationId($"app-{container % 2}");
            return (AgentEvent)(kind switch
            {
                0 or 1 => new MessageReceived(GivenTable.Launch(id, application)),
                2 => new MessageReceived(GivenTable.Stop(id, grace: variant * 3)),
                3 => new MessageReceived(new AcknowledgeExits(GivenTable.Epoch, [id])),
                4 => new MessageReceived(new CleanApplication(GivenTable.Epoch, application)),
                5 => new MessageReceived(new ResyncNode(GivenTable.Epoch)),
                6 => new MessageReceived(new NodeRegistered(GivenTable.Epoch, 1)),
                7 or 8 => new FilesPlaced(id),
                9 => new FilesFailed(id, ContainerExitCause.LocalizationFailed, "gone"),
                10 or 11 => new ProcessStarted(id, new ProcessIdentity(1000 + container + 10 * (variant / 2), 5, 999, 5)),
                12 => new ProcessNotStarted(id, ContainerExitCause.LaunchFailed, "no"),
                13 or 14 => new ProcessExited(id, new ProcessEnd(variant == 0 ? null : variant - 1, "")),
                15 => new MemoryExceeded(id, 1 << 30),
                16 => new ContainerFound(new ContainerRecord(id, application, 1, Resources.Zero), variant == 0 ? null : new ProcessIdentity(1000 + container, 5, 999, 5), null),
                _ => new Tick(),
            });
        });

    [Fact]
    public void Whatever_happens_an_exit_is_decided_once_a_step_is_never_taken_back_and_nothing_starts_twice() =>
        Gen.Select(AnyEvent, Gen.Int[0, 4]).List[0, 60].Sample(steps =>
        {
            var given = new GivenTable();
            var exits = new Dictionary<ContainerId, ContainerExit>();
            var states = new Dictionary<ContainerId, ContainerState>();
            var starts = new HashSet<ContainerId>();
            var removed = new HashSet<ApplicationId>();
            foreach (var (happened, seconds) in steps)
            {
                var effects = given.After(TimeSpan.FromSeconds(seconds)).AddRange(given.Apply(happened));
                foreach (var effect in effects)
                {
                    switch (effect)
                    {
                        case StartProcess start:
                            Assert.True(starts.Add(start.Launch.ContainerId), "started twice");
                            Assert.DoesNotContain(start.Launch.ApplicationId, removed);
                            break;
                        case SendMessage { Message: ContainerExited exited }:
                            // The same answer each time; only the diagnostics are dropped once it is acknowledged.
                            Assert.True(exits.TryAdd(exited.ContainerId, exited.Exit) || exits[exited.ContainerId] with { Diagnostics = "" } == exited.Exit with { Diagnostics = "" });
                            break;
                        case RemoveApplication remove:
                            removed.Add(remove.ApplicationId);
                            Assert.DoesNotContain(
                                given.Table.Snapshot().Containers, view => view.Record.ApplicationId == remove.ApplicationId && view.State != ContainerState.Exited);
                            break;
                        default:
                            break;
                    }
                }
                foreach (var view in given.Table.Snapshot().Containers)
                {
                    Assert.True(states.GetValueOrDefault(view.Record.ContainerId) <= view.State, "a step was taken back");
                    states[view.Record.ContainerId] = view.State;
                    Assert.Equal(view.State == ContainerState.Exited, view.Exit is not null);
                }
            }
        });

    [Fact]
    public void Once_told_to_stop_every_container_ends_when_its_processes_obey_kills() =>
        Gen.Select(AnyEvent, Gen.Int[0, 4]).List[0, 40].Sample(steps =>
        {
            var given = new GivenTable();
            foreach (var (happened, seconds) in steps)
            {
                given.After(TimeSpan.FromSeconds(seconds));
                given.Apply(happened);
            }
            var pending = new Queue<AgentEffect>(given.Apply(new ShutdownRequested(true, TimeSpan.FromSeconds(5))));
            var complete = pending.OfType<ShutdownComplete>().Any();
            for (var second = 0; second < 120 && !complete; second++)
            {
                // Placing always answers, and a killed process ends: that is all the world owes.
                foreach (var view in given.Table.Snapshot().Containers)
                {
                    if (given.Table.PhaseOf(view.Record.ContainerId) is ContainerPhase.PlacingCancelled)
                    {
                        complete |= given.Apply(new FilesFailed(view.Record.ContainerId, ContainerExitCause.LocalizationFailed, "")).OfType<ShutdownComplete>().Any();
                    }
                }
                foreach (var signal in given.After(TimeSpan.FromSeconds(1)).OfType<SignalProcess>().Where(signal => signal.Kill).ToList())
                {
                    complete |= given.Apply(new ProcessExited(signal.ContainerId, new ProcessEnd(137, ""))).OfType<ShutdownComplete>().Any();
                }
                complete |= given.Table.Snapshot().Containers.All(view => view.State == ContainerState.Exited);
            }
            Assert.True(complete);
        });

    private static ContainerRecord Record() => new(GivenTable.Id, GivenTable.Application, 5, Resources.Zero);
}
