using Xunit;
using Yarnish.NodeAgent.Node;
using Yarnish.Protocol;

namespace Yarnish.Integration.Tests.NodeAgent;

/// <summary>An agent goes and another one comes on the same directory.</summary>
[Trait("Category", "Processes")]
public sealed class AdoptionTests
{
    [Fact]
    public async Task A_running_container_is_adopted_and_its_exit_seen_at_once()
    {
        await using var given = await GivenAgent.StartAsync();
        var gate = Path.Combine(given.Directory, "gate");
        var id = await given.LaunchAsync(given.Shell($"echo before; while [ ! -e {gate} ]; do sleep 0.02; done; echo after; exit 5"));
        var process = await given.StartedAsync(id);
        await given.KillAgentAsync();
        Assert.True(GivenAgent.IsAlive(process));

        await given.StartAgentAsync();

        var report = (await given.ExpectAsync<RegisterNode>(register => register.Containers.Length == 1)).Containers[0];
        Assert.Equal((id, ContainerState.Running, 1, Resources.Of(256, 1)), (report.ContainerId, report.State, report.AskId, report.Resources));
        await File.WriteAllTextAsync(gate, "");
        var exit = await given.ExitAsync(id);
        Assert.Equal((ContainerExitCause.Failed, 5), (exit.Cause, exit.ExitCode));
        Assert.Equal("before\nafter\n", await given.LogAsync(id, "stdout"));
    }

    [Fact]
    public async Task An_exit_while_no_agent_was_there_is_reported_with_its_code_and_cause()
    {
        await using var given = await GivenAgent.StartAsync();
        var gate = Path.Combine(given.Directory, "gate");
        var id = await given.LaunchAsync(given.Shell($"while [ ! -e {gate} ]; do sleep 0.02; done; echo alone >&2; exit 9"));
        var process = await given.StartedAsync(id);
        await given.KillAgentAsync();
        await File.WriteAllTextAsync(gate, "");
        await GivenAgent.EventuallyAsync(() => File.Exists(Path.Combine(given.Directory, "run", $"{id}.exited")), "the launcher wrote the code");

        await given.StartAgentAsync();

        var exit = await given.ExitAsync(id);
        Assert.Equal((ContainerExitCause.Failed, 9), (exit.Cause, exit.ExitCode));
        Assert.Contains("while no agent was there to see", exit.Diagnostics, StringComparison.Ordinal);
        Assert.EndsWith("alone", exit.Diagnostics, StringComparison.Ordinal);
        Assert.False(GivenAgent.IsAlive(process));
    }

    [Fact]
    public async Task A_container_whose_launcher_was_killed_too_ends_with_an_unknown_cause()
    {
        await using var given = await GivenAgent.StartAsync();
        var id = await given.LaunchAsync(given.Shell("sleep 1000"));
        var process = await given.StartedAsync(id);
        var launcher = given.Agent.Loop.Snapshot.Containers.Single().Process!.LauncherId;
        await given.KillAgentAsync();
        Yarnish.NodeAgent.Processes.NativeMethods.Signal(launcher, 9);
        Yarnish.NodeAgent.Processes.NativeMethods.Signal(process, 9);
        await GivenAgent.EventuallyAsync(() => !GivenAgent.IsAlive(process) && !GivenAgent.IsAlive(launcher), "both are gone");

        await given.StartAgentAsync();

        Assert.Equal((ContainerExitCause.Unknown, -1), ((await given.ExitAsync(id)).Cause, (await given.ExitAsync(id)).ExitCode));
    }

    [Fact]
    public async Task An_adopted_container_can_be_stopped()
    {
        await using var given = await GivenAgent.StartAsync();
        var id = await given.LaunchAsync(given.Shell("sleep 1000"));
        var process = await given.StartedAsync(id);
        await given.KillAgentAsync();
        await given.StartAgentAsync();

        await given.SendAsync(new StopContainer(1, id, ContainerExitCause.Released, 5, ""));

        Assert.Equal((ContainerExitCause.Released, 143), ((await given.ExitAsync(id)).Cause, (await given.ExitAsync(id)).ExitCode));
        Assert.False(GivenAgent.IsAlive(process));
    }

    [Fact]
    public async Task An_acknowledged_container_does_not_start_again_when_its_launch_comes_late_to_the_next_agent()
    {
        await using var given = await GivenAgent.StartAsync();
        var launch = given.Shell($"echo run >>{given.Directory}/count; exit 4");
        await given.SendAsync(launch);
        await given.ExitAsync(launch.ContainerId);
        await given.SendAsync(new AcknowledgeExits(1, [launch.ContainerId]));
        await GivenAgent.EventuallyAsync(() => given.Agent.Loop.Snapshot.Containers.Length == 0, "it is forgotten");
        await given.KillAgentAsync();
        await given.StartAgentAsync();

        await given.SendAsync(launch);

        var answer = await given.ExpectAsync<ContainerExited>(message => message.Incarnation == given.Agent.Identity.Incarnation);
        Assert.Equal((ContainerExitCause.Failed, 4), (answer.Exit.Cause, answer.Exit.ExitCode));
        Assert.Equal("run\n", await File.ReadAllTextAsync(Path.Combine(given.Directory, "count")));
    }

    [Fact]
    public async Task The_next_agent_refuses_a_resource_manager_that_the_last_one_knew_to_be_old()
    {
        await using var given = await GivenAgent.StartAsync();
        await given.SendAsync(new ResyncNode(7));
        await given.Agent.Loop.WaitAsync(snapshot => snapshot.Epoch == 7, CancellationToken.None);
        given.Epoch = 7;
        await given.KillAgentAsync();
        await given.StartAgentAsync();

        await given.SendAsync(given.Shell("true") with { Epoch = 6 });
        await given.SendAsync(new ResyncNode(7));

        await given.ExpectAsync<RegisterNode>(register => register.Incarnation == given.Agent.Identity.Incarnation);
        Assert.Empty(given.Agent.Loop.Snapshot.Containers);
    }

    [Fact]
    public async Task A_second_agent_on_the_same_directory_is_refused_in_words()
    {
        await using var given = await GivenAgent.StartAsync();

        var error = await Assert.ThrowsAsync<AgentStartException>(() => given.StartAgentAsync());

        Assert.Equal(AgentExitCode.Usage, error.ExitCode);
        Assert.Contains("is held by another node agent", error.Message, StringComparison.Ordinal);
    }
}
