using Xunit;
using Yarnish.NodeAgent.Containers;
using Yarnish.Protocol;

namespace Yarnish.Tests.NodeAgent;

/// <summary>What an agent decides, rule by rule.</summary>
public sealed class ContainerTableTests
{
    private readonly GivenTable given = new();

    [Fact]
    public void A_launch_is_written_down_before_its_files_are_placed_then_started_then_reported()
    {
        var effects = given.Receive(GivenTable.Launch());
        Assert.Collection(effects, effect => Assert.IsType<SaveRecord>(effect), effect => Assert.IsType<PlaceFiles>(effect));
        Assert.Equal(GivenTable.Id, given.Apply(new FilesPlaced(GivenTable.Id)).The<StartProcess>().Launch.ContainerId);

        var started = given.Apply(new ProcessStarted(GivenTable.Id, GivenTable.Process)).Sent<ContainerStarted>();

        Assert.Equal((GivenTable.Id, GivenTable.Process.ProcessId, 7), (started.ContainerId, started.ProcessId, started.Incarnation));
    }

    [Fact]
    public void A_launch_that_comes_again_starts_nothing_and_is_answered_with_what_is_known()
    {
        given.In(ContainerPhase.Running);

        var again = given.Receive(GivenTable.Launch());

        Assert.Equal(GivenTable.Process.ProcessId, again.Sent<ContainerStarted>().ProcessId);
        Assert.Empty(again.OfType<PlaceFiles>());

        given.Apply(new ProcessExited(GivenTable.Id, new ProcessEnd(3, "")));
        Assert.Equal(3, given.Receive(GivenTable.Launch()).Sent<ContainerExited>().Exit.ExitCode);

        given.Receive(new AcknowledgeExits(GivenTable.Epoch, [GivenTable.Id]));
        var late = given.Receive(GivenTable.Launch());
        Assert.Equal(ContainerExitCause.Failed, late.Sent<ContainerExited>().Exit.Cause);
        Assert.Empty(late.OfType<PlaceFiles>());
    }

    [Fact]
    public void A_stop_that_overtakes_its_launch_wins()
    {
        Assert.Equal(ContainerExitCause.Released, given.Receive(GivenTable.Stop()).Sent<ContainerExited>().Exit.Cause);

        var launch = given.Receive(GivenTable.Launch());

        Assert.Equal(ContainerExitCause.Released, launch.Sent<ContainerExited>().Exit.Cause);
        Assert.Empty(launch.OfType<PlaceFiles>());
    }

    [Fact]
    public void A_stop_terminates_then_kills_after_the_grace_time_and_again_while_the_process_stays()
    {
        given.In(ContainerPhase.Running);
        Assert.False(given.Receive(GivenTable.Stop(grace: 10)).The<SignalProcess>().Kill);

        Assert.Empty(given.After(TimeSpan.FromSeconds(9.9)).OfType<SignalProcess>());
        Assert.True(given.After(TimeSpan.FromSeconds(0.2)).The<SignalProcess>().Kill);
        Assert.True(given.After(TimeSpan.FromSeconds(6)).The<SignalProcess>().Kill);

        given.Apply(new ProcessExited(GivenTable.Id, new ProcessEnd(137, "bye")));
        Assert.Equal((ContainerExitCause.Released, 137), (given.Exit!.Cause, given.Exit.ExitCode));
        Assert.Contains("Nobody needs it. It was ended by SIGKILL.", given.Exit.Diagnostics, StringComparison.Ordinal);
        Assert.EndsWith("bye", given.Exit.Diagnostics, StringComparison.Ordinal);
    }

    [Fact]
    public void A_stop_without_grace_kills_at_once()
    {
        given.In(ContainerPhase.Running);

        Assert.True(given.Receive(GivenTable.Stop(grace: 0)).The<SignalProcess>().Kill);
    }

    [Theory]
    [InlineData(double.NaN)]
    [InlineData(-5)]
    [InlineData(double.NegativeInfinity)]
    public void A_grace_time_that_makes_no_sense_is_none(double grace)
    {
        given.In(ContainerPhase.Running);

        Assert.True(given.Receive(GivenTable.Stop(grace: grace)).The<SignalProcess>().Kill);
    }

    [Fact]
    public void The_first_cause_stands_and_a_shorter_grace_is_obeyed()
    {
        given.In(ContainerPhase.Running);
        given.Receive(GivenTable.Stop(grace: 100));

        given.Receive(GivenTable.Stop(grace: 1, cause: ContainerExitCause.Preempted));

        Assert.True(given.After(TimeSpan.FromSeconds(1)).The<SignalProcess>().Kill);
        given.Apply(new ProcessExited(GivenTable.Id, new ProcessEnd(137, "")));
        Assert.Equal(ContainerExitCause.Released, given.Exit!.Cause);
    }

    [Fact]
    public void A_container_stopped_while_its_process_starts_is_signalled_once_that_is_seen()
    {
        given.In(ContainerPhase.StartingCancelled);

        var effects = given.Apply(new ProcessStarted(GivenTable.Id, GivenTable.Process));

        Assert.False(effects.The<SignalProcess>().Kill);
        Assert.Equal(ContainerPhase.Stopping, given.Table.PhaseOf(GivenTable.Id));
    }

    [Fact]
    public void A_container_stopped_while_its_files_are_placed_never_starts()
    {
        given.In(ContainerPhase.Placing);
        Assert.Equal(GivenTable.Id, given.Receive(GivenTable.Stop()).The<CancelPlacing>().ContainerId);

        var effects = given.Apply(new FilesPlaced(GivenTable.Id));

        Assert.Empty(effects.OfType<StartProcess>());
        Assert.Equal(ContainerExitCause.Released, effects.Sent<ContainerExited>().Exit.Cause);
    }

    [Theory]
    [InlineData(0, ContainerExitCause.Completed)]
    [InlineData(1, ContainerExitCause.Failed)]
    [InlineData(128, ContainerExitCause.Failed)]
    [InlineData(137, ContainerExitCause.KilledBySignal)]
    [InlineData(255, ContainerExitCause.Failed)]
    public void An_exit_code_has_one_cause(int code, ContainerExitCause cause)
    {
        given.In(ContainerPhase.Running);

        given.Apply(new ProcessExited(GivenTable.Id, new ProcessEnd(code, "")));

        Assert.Equal((cause, code), (given.Exit!.Cause, given.Exit.ExitCode));
    }

    [Fact]
    public void A_process_that_vanished_has_no_known_cause()
    {
        given.In(ContainerPhase.Running);

        given.Apply(new ProcessExited(GivenTable.Id, new ProcessEnd(null, "")));

        Assert.Equal((ContainerExitCause.Unknown, -1), (given.Exit!.Cause, given.Exit.ExitCode));
    }

    [Fact]
    public void A_failure_on_a_full_disk_is_the_disks()
    {
        given.In(ContainerPhase.Running);

        given.Apply(new ProcessExited(GivenTable.Id, new ProcessEnd(1, "No space left on device") { DiskFull = true }));

        Assert.Equal(ContainerExitCause.DiskFull, given.Exit!.Cause);
    }

    [Fact]
    public void Memory_over_the_grant_kills_at_once_and_says_used_granted_and_what_to_set()
    {
        given.In(ContainerPhase.Running);

        Assert.True(given.Apply(new MemoryExceeded(GivenTable.Id, 300L << 20)).The<SignalProcess>().Kill);

        given.Apply(new ProcessExited(GivenTable.Id, new ProcessEnd(137, "")));
        Assert.Equal(ContainerExitCause.OutOfMemory, given.Exit!.Cause);
        Assert.Contains("It used 300 MiB of memory and was granted 256 MiB: ask for at least 384 MiB", given.Exit.Diagnostics, StringComparison.Ordinal);
    }

    [Fact]
    public void Exits_are_repeated_in_heartbeats_until_acknowledged()
    {
        given.In(ContainerPhase.Exited);
        Assert.NotNull(Assert.Single(given.After(TimeSpan.FromSeconds(1)).Sent<NodeHeartbeat>().Containers).Exit);
        Assert.NotNull(Assert.Single(given.After(TimeSpan.FromSeconds(1)).Sent<NodeHeartbeat>().Containers).Exit);

        var forget = given.Receive(new AcknowledgeExits(GivenTable.Epoch, [GivenTable.Id, new ContainerId(9, 9)])).The<ForgetContainer>();

        Assert.Equal(GivenTable.Id, forget.ContainerId);
        Assert.Empty(given.After(TimeSpan.FromSeconds(1)).Sent<NodeHeartbeat>().Containers);
    }

    [Fact]
    public void Heartbeats_come_every_second_with_a_growing_sequence()
    {
        var first = given.After(TimeSpan.FromSeconds(1)).Sent<NodeHeartbeat>();
        Assert.Empty(given.After(TimeSpan.FromSeconds(0.5)));
        var second = given.After(TimeSpan.FromSeconds(0.5)).Sent<NodeHeartbeat>();

        Assert.Equal(first.Sequence + 1, second.Sequence);
    }

    [Fact]
    public void Registration_is_repeated_until_answered()
    {
        var table = new ContainerTable(new NodeIdentity(new NodeId("n"), 1, Resources.Zero, "", ""));
        var now = DateTimeOffset.UnixEpoch;
        Assert.Empty(table.Apply(new Tick(), now));
        table.Apply(new BusConnected(), now).Sent<RegisterNode>();

        table.Apply(new Tick(), table.NextDeadline).Sent<RegisterNode>();
        table.Apply(new MessageReceived(new NodeRegistered(1, 1)), table.NextDeadline).Sent<NodeHeartbeat>();

        Assert.True(table.Snapshot().Registered);
        table.Apply(new Tick(), table.NextDeadline).Sent<NodeHeartbeat>();
    }

    [Fact]
    public void A_resource_manager_that_lost_its_memory_gets_everything_again()
    {
        given.In(ContainerPhase.Running);

        var report = Assert.Single(given.Receive(new ResyncNode(GivenTable.Epoch + 1)).Sent<RegisterNode>().Containers);

        Assert.Equal((GivenTable.Id, GivenTable.Application, 5, ContainerState.Running), (report.ContainerId, report.ApplicationId, report.AskId, report.State));
    }

    [Fact]
    public void A_resource_manager_of_a_lower_epoch_commands_nothing()
    {
        given.In(ContainerPhase.Running);
        Assert.Equal(9, given.Apply(new EpochSeen(9)).The<SaveEpoch>().Epoch);

        ControlMessage[] late =
        [
            GivenTable.Stop(), GivenTable.Launch(new ContainerId(3, 2)), new CleanApplication(8, GivenTable.Application), new AcknowledgeExits(8, [GivenTable.Id]),
            new ResyncNode(8), new NodeRefused(8, "no"), new NodeRegistered(8, 1),
        ];

        Assert.All(late, message => Assert.Contains("no longer active", Assert.IsType<Ignored>(Assert.Single(given.Receive(message))).Reason, StringComparison.Ordinal));
        Assert.Equal(ContainerPhase.Running, given.Table.PhaseOf(GivenTable.Id));
    }

    [Fact]
    public void An_unsigned_refusal_can_do_no_harm()
    {
        given.In(ContainerPhase.Running);

        Assert.IsType<Ignored>(Assert.Single(given.Receive(new ControlRefused("signed with another secret"))));
        Assert.True(given.Table.Snapshot().Registered);
    }

    [Fact]
    public void Cleaning_stops_what_runs_and_removes_the_directory_only_when_all_is_over()
    {
        given.In(ContainerPhase.Running);
        var other = new ContainerId(3, 2);
        given.Receive(GivenTable.Launch(other, new ApplicationId("app-2")));

        var clean = given.Receive(new CleanApplication(GivenTable.Epoch, GivenTable.Application));
        Assert.Equal(GivenTable.Application, clean.The<MarkApplicationEnded>().ApplicationId);
        Assert.False(clean.The<SignalProcess>().Kill);
        Assert.Empty(clean.OfType<RemoveApplication>());

        var end = given.Apply(new ProcessExited(GivenTable.Id, new ProcessEnd(143, "")));

        Assert.Equal(GivenTable.Application, end.The<RemoveApplication>().ApplicationId);
        Assert.Equal(ContainerExitCause.ApplicationEnded, given.Exit!.Cause);
        Assert.Equal(ContainerPhase.Placing, given.Table.PhaseOf(other));
    }

    [Fact]
    public void Reports_name_the_applications_whose_directories_are_here_until_they_are_to_be_removed()
    {
        var found = new ApplicationId("app-found");
        given.Apply(new ApplicationFound(found));
        var registration = given.Apply(new BusConnected()).Sent<RegisterNode>();
        Assert.Equal([found], registration.Applications);

        given.Receive(GivenTable.Launch());
        Assert.Equal([GivenTable.Application, found], given.Receive(new ResyncNode(GivenTable.Epoch)).Sent<RegisterNode>().Applications!.Value.Order());

        given.Receive(new CleanApplication(GivenTable.Epoch, GivenTable.Application));
        Assert.Equal([found], given.Receive(new ResyncNode(GivenTable.Epoch)).Sent<RegisterNode>().Applications);
        given.Receive(new CleanApplication(GivenTable.Epoch, found));
        Assert.Null(given.Receive(new ResyncNode(GivenTable.Epoch)).Sent<RegisterNode>().Applications);
    }

    [Fact]
    public void An_application_that_is_over_launches_nothing()
    {
        Assert.Equal(GivenTable.Application, given.Receive(new CleanApplication(GivenTable.Epoch, GivenTable.Application)).The<RemoveApplication>().ApplicationId);

        var launch = given.Receive(GivenTable.Launch());

        Assert.Equal(ContainerExitCause.ApplicationEnded, launch.Sent<ContainerExited>().Exit.Cause);
        Assert.Empty(launch.OfType<PlaceFiles>());
    }

    [Fact]
    public void An_adopted_container_runs_on_and_one_that_was_being_stopped_is_stopped()
    {
        var record = new ContainerRecord(GivenTable.Id, GivenTable.Application, 5, Resources.Of(256, 1));
        given.Apply(new ContainerFound(record, GivenTable.Process, null));
        Assert.Equal(ContainerPhase.Running, given.Table.PhaseOf(GivenTable.Id));

        var stopped = record with { ContainerId = new ContainerId(3, 2), StopCause = ContainerExitCause.Preempted };
        Assert.False(given.Apply(new ContainerFound(stopped, GivenTable.Process, null)).The<SignalProcess>().Kill);
    }

    [Fact]
    public void An_exit_while_the_agent_was_away_keeps_the_cause_that_was_decided_before()
    {
        var record = new ContainerRecord(GivenTable.Id, GivenTable.Application, 5, Resources.Of(256, 1)) { StopCause = ContainerExitCause.Preempted, StopReason = "For root.prod." };

        given.Apply(new ContainerFound(record, null, new ProcessEnd(143, "")));

        Assert.Equal((ContainerExitCause.Preempted, 143), (given.Exit!.Cause, given.Exit.ExitCode));
    }

    [Fact]
    public void A_launch_cut_off_by_a_restart_of_the_agent_fails_after_a_short_wait_for_its_launcher()
    {
        var record = new ContainerRecord(GivenTable.Id, GivenTable.Application, 5, Resources.Of(256, 1));
        given.Apply(new ContainerFound(record, null, null));
        Assert.Null(given.Exit);

        given.After(TimeSpan.FromSeconds(3));

        Assert.Equal(ContainerExitCause.LaunchFailed, given.Exit!.Cause);
        Assert.True(given.Apply(new ProcessStarted(GivenTable.Id, GivenTable.Process)).The<SignalProcess>().Kill);
    }

    [Fact]
    public void A_shutdown_leaves_containers_running_unless_told_otherwise()
    {
        given.In(ContainerPhase.Running);

        var effects = given.Apply(new ShutdownRequested(StopContainers: false, TimeSpan.FromSeconds(5)));

        Assert.IsType<ShutdownComplete>(Assert.Single(effects));
    }

    [Fact]
    public void A_shutdown_that_stops_containers_is_complete_when_the_last_is_over_and_launches_nothing_meanwhile()
    {
        given.In(ContainerPhase.Running);
        Assert.Empty(given.Apply(new ShutdownRequested(StopContainers: true, TimeSpan.FromSeconds(5))).OfType<ShutdownComplete>());
        Assert.Equal(ContainerExitCause.StoppedByOperator, given.Receive(GivenTable.Launch(new ContainerId(3, 2))).Sent<ContainerExited>().Exit.Cause);

        given.Apply(new ProcessExited(GivenTable.Id, new ProcessEnd(143, ""))).The<ShutdownComplete>();

        Assert.Equal(ContainerExitCause.StoppedByOperator, given.Exit!.Cause);
    }

    [Fact]
    public void A_heartbeat_with_many_exits_stays_small()
    {
        var tail = new string('x', 3000);
        for (var sequence = 1; sequence <= 500; sequence++)
        {
            var id = new ContainerId(3, sequence);
            given.Receive(GivenTable.Launch(id));
            given.Apply(new FilesFailed(id, ContainerExitCause.LocalizationFailed, tail));
        }

        var heartbeat = given.After(TimeSpan.FromSeconds(1)).Sent<NodeHeartbeat>();

        Assert.Equal(500, heartbeat.Containers.Length);
        Assert.True(heartbeat.Containers.Sum(container => container.Exit!.Diagnostics.Length) < 200_000);
    }

    [Fact]
    public void A_table_that_is_full_refuses_in_words()
    {
        for (var sequence = 1; sequence <= ContainerTable.MaximumLive; sequence++)
        {
            given.Receive(GivenTable.Launch(new ContainerId(3, sequence)));
        }

        var exit = given.Receive(GivenTable.Launch(new ContainerId(3, 5000))).Sent<ContainerExited>().Exit;

        Assert.Equal(ContainerExitCause.LaunchFailed, exit.Cause);
    }

    [Fact]
    public void A_launch_that_lacks_parts_fails_in_words()
    {
        var exit = given.Receive(GivenTable.Launch() with { Launch = null! }).Sent<ContainerExited>().Exit;

        Assert.Equal(ContainerExitCause.LaunchFailed, exit.Cause);
    }

    [Fact]
    public void What_is_remembered_of_the_past_is_bounded()
    {
        for (var sequence = 1; sequence <= 3 * ContainerTable.MaximumFormer; sequence++)
        {
            given.Receive(GivenTable.Stop(new ContainerId(3, sequence)));
            given.Receive(new CleanApplication(GivenTable.Epoch, new ApplicationId($"app-{sequence}")));
        }

        // The oldest is forgotten, the newest is not.
        Assert.NotEmpty(given.Receive(GivenTable.Launch(new ContainerId(3, 1))).OfType<PlaceFiles>());
        Assert.Empty(given.Receive(GivenTable.Launch(new ContainerId(3, 3 * ContainerTable.MaximumFormer))).OfType<PlaceFiles>());
    }
}
