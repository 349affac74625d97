using Xunit;
using Yarnish.NodeAgent.Node;
using Yarnish.Protocol;

namespace Yarnish.Integration.Tests.NodeAgent;

/// <summary>Containers as real processes, from launch to exit. No broker: the control bus is in memory.</summary>
[Trait("Category", "Processes")]
public sealed class ContainerProcessTests
{
    [Theory]
    [InlineData("exit 0", ContainerExitCause.Completed, 0)]
    [InlineData("exit 7", ContainerExitCause.Failed, 7)]
    [InlineData("kill -SEGV $$", ContainerExitCause.KilledBySignal, 139)]
    public async Task An_exit_is_reported_with_its_code_and_its_one_cause(string script, ContainerExitCause cause, int code)
    {
        await using var given = await GivenAgent.StartAsync();

        var exit = await given.ExitAsync(await given.LaunchAsync(given.Shell($"echo out; echo problem >&2; {script}")));

        Assert.Equal((cause, code), (exit.Cause, exit.ExitCode));
        Assert.EndsWith("stderr ends with:\nproblem", exit.Diagnostics, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_container_gets_its_environment_and_nothing_of_the_agents_own()
    {
        Environment.SetEnvironmentVariable("Yarnish__Secret", "the-cluster-secret");
        await using var given = await GivenAgent.StartAsync();
        Environment.SetEnvironmentVariable("Yarnish__Secret", null);
        var launch = given.Command("env");
        launch = launch with { Launch = launch.Launch with { Environment = launch.Launch.Environment.Add("GREETING", "it's \"quoted\"; $HOME\nand two lines") } };

        var id = await given.LaunchAsync(launch);
        Assert.Equal(ContainerExitCause.Completed, (await given.ExitAsync(id)).Cause);

        var environment = await given.LogAsync(id, "stdout");
        Assert.Contains($"YARNISH_CONTAINER_ID={id}\n", environment, StringComparison.Ordinal);
        Assert.Contains($"YARNISH_NODE_URL={given.Agent.Identity.Url}\n", environment, StringComparison.Ordinal);
        Assert.Contains($"YARNISH_BLOCK_DIRECTORY={Path.Combine(given.Directory, "apps", "app-1", "blocks")}\n", environment, StringComparison.Ordinal);
        Assert.Contains($"YARNISH_MEMORY_BYTES={256 << 20}\n", environment, StringComparison.Ordinal);
        Assert.Contains("GREETING=it's \"quoted\"; $HOME\nand two lines\n", environment, StringComparison.Ordinal);
        Assert.DoesNotContain("the-cluster-secret", environment, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_a_container_had_in_hand_at_its_end_is_handed_on()
    {
        await using var given = await GivenAgent.StartAsync();

        var noted = await given.ExitAsync(await given.LaunchAsync(given.Shell(@"printf 'YARNPM01\021\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\005\001\000\000\000\000\000\000' > $YARNISH_POST_MORTEM; kill -KILL $$")));
        var none = await given.ExitAsync(await given.LaunchAsync(given.Shell("kill -KILL $$")));
        var rubbish = await given.ExitAsync(await given.LaunchAsync(given.Shell("head -c 100000 /dev/urandom > $YARNISH_POST_MORTEM; exit 1")));

        Assert.Equal((ContainerExitCause.KilledBySignal, 137, "17 261"), (noted.Cause, noted.ExitCode, noted.InHand));
        Assert.Null(none.InHand);
        Assert.Null(rubbish.InHand);
    }

    [Fact]
    public async Task A_container_that_ends_on_SIGTERM_is_not_killed()
    {
        await using var given = await GivenAgent.StartAsync();
        var id = await given.LaunchAsync(given.Shell("trap 'echo closing; exit 0' TERM; echo ready; while :; do sleep 0.02; done"));
        await GivenAgent.EventuallyAsync(() => File.Exists(Log(given, id)) && File.ReadAllText(Log(given, id)) == "ready\n", "the trap is set");

        await given.SendAsync(new StopContainer(1, id, ContainerExitCause.Released, 20, "Idle."));

        var exit = await given.ExitAsync(id);
        Assert.Equal((ContainerExitCause.Released, 0), (exit.Cause, exit.ExitCode));
        Assert.Equal("ready\nclosing\n", await given.LogAsync(id, "stdout"));
    }

    [Fact]
    public async Task A_container_that_ignores_SIGTERM_is_killed_with_its_children_after_the_grace_time()
    {
        await using var given = await GivenAgent.StartAsync();
        var id = await given.LaunchAsync(given.Shell("trap '' TERM; sleep 1000 & echo $!; while :; do sleep 1; done"));
        await given.StartedAsync(id);
        await GivenAgent.EventuallyAsync(() => File.Exists(Log(given, id)) && File.ReadAllText(Log(given, id)).EndsWith('\n'), "the child started");
        var child = int.Parse(File.ReadAllText(Log(given, id)));

        await given.SendAsync(new StopContainer(1, id, ContainerExitCause.Preempted, 0.3, "For another queue."));

        var exit = await given.ExitAsync(id);
        Assert.Equal((ContainerExitCause.Preempted, 137), (exit.Cause, exit.ExitCode));
        await GivenAgent.EventuallyAsync(() => !GivenAgent.IsAlive(child), "the child is gone");
    }

    [Fact]
    public async Task What_a_process_leaves_behind_ends_with_it_also_in_a_session_of_its_own()
    {
        await using var given = await GivenAgent.StartAsync();
        var id = await given.LaunchAsync(given.Shell("sleep 1000 & echo $!; setsid sleep 1000 & sleep 0.1; echo $!"));
        Assert.Equal(ContainerExitCause.Completed, (await given.ExitAsync(id)).Cause);

        var left = (await given.LogAsync(id, "stdout")).Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(int.Parse).ToArray();

        Assert.Equal(2, left.Length);
        await GivenAgent.EventuallyAsync(() => !left.Any(GivenAgent.IsAlive), "both are gone");
    }

    [Fact]
    public async Task Container_of_another_cluster_that_bears_the_same_id_is_left_alone()
    {
        await using var given = await GivenAgent.StartAsync();
        // The first container of each agent has the same id here.
        await using var other = await GivenAgent.StartAsync();
        var theirs = await other.LaunchAsync(other.Shell("echo $$; sleep 1000"));
        await GivenAgent.EventuallyAsync(() => File.Exists(Log(other, theirs)) && File.ReadAllText(Log(other, theirs)).EndsWith('\n'), "the other started");
        var ours = await given.LaunchAsync(given.Shell("true"));
        Assert.Equal(theirs, ours);

        await given.ExitAsync(ours);
        await given.LogAsync(ours, "stdout");

        Assert.True(GivenAgent.IsAlive(int.Parse(File.ReadAllText(Log(other, theirs)))), "the agent killed what belongs to another");
    }

    [Fact]
    public async Task A_command_that_is_not_there_fails_in_words()
    {
        await using var given = await GivenAgent.StartAsync();

        var plain = await given.ExitAsync(await given.LaunchAsync(given.Command("no-such-program")));
        var path = await given.ExitAsync(await given.LaunchAsync(given.Command("./missing/program")));

        Assert.Equal((ContainerExitCause.LaunchFailed, -1), (plain.Cause, plain.ExitCode));
        Assert.Contains("'no-such-program' is neither on PATH", plain.Diagnostics, StringComparison.Ordinal);
        Assert.Equal(ContainerExitCause.LaunchFailed, path.Cause);
        Assert.Contains("'./missing/program' does not exist on this node", path.Diagnostics, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_environment_that_a_shell_would_drop_is_refused()
    {
        await using var given = await GivenAgent.StartAsync();
        var launch = given.Command("env");
        launch = launch with { Launch = launch.Launch with { Environment = launch.Launch.Environment.Add("Logging:Level", "Debug") } };

        var exit = await given.ExitAsync(await given.LaunchAsync(launch));

        Assert.Equal(ContainerExitCause.LaunchFailed, exit.Cause);
        Assert.Contains("'Logging:Level' is refused", exit.Diagnostics, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_container_over_its_grant_is_killed_with_numbers()
    {
        await using var given = await GivenAgent.StartAsync();
        // A shell variable of 64 MiB in a container of 16.
        var launch = given.Shell("x=$(head -c 67108864 /dev/zero | tr '\\0' x); sleep 1000") with { Resources = Resources.Of(16, 1) };

        var exit = await given.ExitAsync(await given.LaunchAsync(launch));

        Assert.Equal(ContainerExitCause.OutOfMemory, exit.Cause);
        Assert.Matches("It used \\d+ MiB of memory and was granted 16 MiB: ask for at least \\d+ MiB", exit.Diagnostics);
    }

    [Fact]
    public async Task A_launch_that_comes_twice_runs_once()
    {
        await using var given = await GivenAgent.StartAsync();
        var launch = given.Shell($"echo once >>{given.Directory}/count; sleep 1000");
        await given.SendAsync(launch);
        var process = await given.StartedAsync(launch.ContainerId);

        await given.SendAsync(launch);
        await given.SendAsync(launch);
        await given.ExpectAsync<NodeHeartbeat>(heartbeat => heartbeat.Containers.Any(report => report.State == ContainerState.Running));

        Assert.True(GivenAgent.IsAlive(process));
        Assert.Equal("once\n", await File.ReadAllTextAsync(Path.Combine(given.Directory, "count")));
    }

    [Fact]
    public async Task The_end_of_an_application_stops_its_containers_and_removes_all_but_their_logs()
    {
        await using var given = await GivenAgent.StartAsync();
        var id = await given.LaunchAsync(given.Shell("echo block >$YARNISH_BLOCK_DIRECTORY/block; echo done; sleep 1000"));
        await GivenAgent.EventuallyAsync(() => File.Exists(Log(given, id)) && File.ReadAllText(Log(given, id)) == "done\n", "the block is written");

        await given.SendAsync(new CleanApplication(1, GivenAgent.Application));

        Assert.Equal(ContainerExitCause.ApplicationEnded, (await given.ExitAsync(id)).Cause);
        await GivenAgent.EventuallyAsync(() => !Directory.Exists(Path.Combine(given.Directory, "apps", "app-1")), "its directory is gone");
        await given.SendAsync(new AcknowledgeExits(1, [id]));
        await GivenAgent.EventuallyAsync(() => given.Agent.Loop.Snapshot.Containers.Length == 0, "it is forgotten");
        Assert.Equal("done\n", await given.LogAsync(id, "stdout"));
    }

    [Fact]
    public async Task Blocks_outlive_the_container_that_wrote_them()
    {
        await using var given = await GivenAgent.StartAsync();
        var id = await given.LaunchAsync(given.Shell("echo block >$YARNISH_BLOCK_DIRECTORY/block; echo spill >spill"));
        await given.ExitAsync(id);

        await GivenAgent.EventuallyAsync(() => !Directory.Exists(given.Work(id)), "its working directory is gone");
        Assert.Equal("block\n", await File.ReadAllTextAsync(Path.Combine(given.Directory, "apps", "app-1", "blocks", "block")));
    }

    [Fact]
    public async Task An_agent_told_so_takes_its_containers_along()
    {
        await using var given = await GivenAgent.StartAsync(options => options.StopContainersOnExit = true);
        var id = await given.LaunchAsync(given.Shell("sleep 1000"));
        var process = await given.StartedAsync(id);

        Assert.Equal(AgentExitCode.Success, await given.Agent.StopAsync());

        Assert.False(GivenAgent.IsAlive(process));
        Assert.Equal(ContainerExitCause.StoppedByOperator, (await given.ExitAsync(id)).Cause);
    }

    [Fact]
    public async Task A_warm_launch_is_quick()
    {
        await using var given = await GivenAgent.StartAsync();
        var file = given.File("data", new string('x', 1_000_000));
        await given.ExitAsync(await given.LaunchAsync(With(given.Shell("true"), file)));
        var times = new List<double>();
        for (var i = 0; i < 10; i++)
        {
            var launch = With(given.Shell("true"), file);
            var clock = System.Diagnostics.Stopwatch.StartNew();
            await given.LaunchAsync(launch);
            await given.ExitAsync(launch.ContainerId);
            times.Add(clock.Elapsed.TotalMilliseconds);
        }
        times.Sort();
        TestContext.Current.TestOutputHelper?.WriteLine($"launch to exit reported: median {times[5]:0.0} ms, worst {times[^1]:0.0} ms");
        // Far above what it takes (some milliseconds), far below any polling: the watch on the records is what tells.
        Assert.True(times[5] < 250, $"The median of launch to exit is {times[5]:0} ms.");
    }

    private static string Log(GivenAgent given, ContainerId id) => Path.Combine(given.Directory, "logs", "app-1", id.Value, "stdout");

    private static LaunchContainer With(LaunchContainer launch, params LaunchFile[] files) => launch with { Launch = launch.Launch with { Files = [.. files] } };
}
