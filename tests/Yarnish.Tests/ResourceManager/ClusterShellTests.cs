using System.Diagnostics;
using Xunit;
using Yarnish.Protocol;
using Yarnish.ResourceManager.Cluster;
using Yarnish.Scheduling;

namespace Yarnish.Tests.ResourceManager;

public sealed class ClusterShellTests : IAsyncLifetime
{
    private static readonly ControlAddress NodeAddress = ControlAddress.Node(new NodeId("n1"));
    private static readonly ControlAddress DriverAddress = ControlAddress.Application(new ApplicationId("app-1"));

    private readonly ShellHarness _harness = new();

    public async ValueTask InitializeAsync() => await _harness.StartAsync();

    public ValueTask DisposeAsync() => _harness.DisposeAsync();

    [Fact]
    public async Task An_ask_becomes_a_grant_for_the_driver_and_a_launch_for_the_agent()
    {
        await using var agent = await AgentAsync();
        await using var driver = await DriverAsync();
        await driver.SendAsync(ShellHarness.Asks("app-1", 1, desired: 2));

        var granted = await GrantsAsync(driver, 2);
        var launches = new[] { await agent.NextAsync<LaunchContainer>(), await agent.NextAsync<LaunchContainer>() };

        Assert.Equal(granted.Select(grant => grant.ContainerId).Order(), launches.Select(launch => launch.ContainerId).Order());
        Assert.All(launches, launch => Assert.Equal(["http://rm.test"], launch.BlobSources));
    }

    [Fact]
    public async Task The_journal_knows_an_application_before_its_driver_is_answered()
    {
        await using var driver = await _harness.JoinAsync(DriverAddress);
        await driver.SendAsync(ShellHarness.Application("app-1"));
        await driver.NextAsync<ApplicationRegistered>();

        Assert.Contains("app:app-1", _harness.Journal.Entries.Keys);
    }

    [Fact]
    public async Task With_the_journal_away_scheduling_goes_on()
    {
        _harness.Journal.Unreachable = true;
        await using var agent = await AgentAsync();
        await using var driver = await DriverAsync();
        await driver.SendAsync(ShellHarness.Asks("app-1", 1, desired: 1));

        await GrantsAsync(driver, 1);
        Assert.NotEqual("", _harness.Shell.JournalProblem);
    }

    [Fact]
    public async Task After_a_restart_the_epoch_grows_the_container_is_adopted_and_nothing_is_granted_twice()
    {
        ContainerGrant grant;
        await using (var agent = await AgentAsync())
        await using (var driver = await DriverAsync())
        {
            await driver.SendAsync(ShellHarness.Asks("app-1", 1, desired: 1));
            grant = Assert.Single(await GrantsAsync(driver, 1));
            await agent.NextAsync<LaunchContainer>();
        }
        await _harness.StopAsync();
        await _harness.StartAsync();
        Assert.Equal(2, _harness.Shell.Snapshot.Cluster.Epoch);

        var running = new ContainerReport(grant.ContainerId, new ApplicationId("app-1"), grant.Resources, ContainerState.Running) { AskId = 1 };
        await using var agentAgain = await _harness.JoinAsync(NodeAddress);
        await agentAgain.SendAsync(ShellHarness.Node("n1", 1, running));
        Assert.Equal(2, (await agentAgain.NextAsync<NodeRegistered>()).Epoch);
        await using var driverAgain = await _harness.JoinAsync(DriverAddress);
        await driverAgain.SendAsync(ShellHarness.Application("app-1"));
        Assert.Equal(2, (await driverAgain.NextAsync<ApplicationRegistered>()).Epoch);
        await driverAgain.SendAsync(ShellHarness.Asks("app-1", 2, desired: 1));
        await _harness.UntilAsync(snapshot => snapshot.FindApplication(new ApplicationId("app-1"))?.Info.Containers == 1);
        await PassAsync(seconds: 12);

        var application = _harness.Shell.Snapshot.FindApplication(new ApplicationId("app-1"))!;
        Assert.Equal(grant.ContainerId, Assert.Single(application.Containers).Id);
        Assert.DoesNotContain(agentAgain.Drain(), message => message is LaunchContainer);
    }

    [Fact]
    public async Task A_message_in_the_name_of_another_is_ignored()
    {
        await using var stranger = await _harness.JoinAsync(ControlAddress.Application(new ApplicationId("app-evil")));
        await stranger.SendAsync(ShellHarness.Application("app-1"));
        await stranger.SendAsync(ShellHarness.Application("app-evil"));
        await stranger.NextAsync<ApplicationRegistered>();

        Assert.Equal(["app-evil"], _harness.Shell.Snapshot.Applications.Select(application => application.Info.Id.Value));
    }

    [Fact]
    public async Task An_operator_kill_reaches_the_driver_and_is_durable_when_it_returns()
    {
        await using var driver = await DriverAsync();

        await _harness.Shell.TryPost(new ApplicationKilled(new ApplicationId("app-1"), "because"))!.WaitAsync(TimeSpan.FromSeconds(20), TestContext.Current.CancellationToken);

        Assert.Contains("end:app-1", _harness.Journal.Entries.Keys);
        Assert.Equal("killed", _harness.Shell.Snapshot.FindApplication(new ApplicationId("app-1"))!.Info.State);
        Assert.Contains("because", (await driver.NextAsync<KillApplication>()).Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Another_resource_manager_with_a_later_epoch_ends_this_one()
    {
        _harness.Journal.Depose();
        await using var driver = await _harness.JoinAsync(DriverAddress);
        await driver.SendAsync(ShellHarness.Application("app-1"));

        await Assert.ThrowsAsync<DeposedException>(() => _harness.Running.WaitAsync(TimeSpan.FromSeconds(20), TestContext.Current.CancellationToken));
        Assert.DoesNotContain(driver.Drain(), message => message is ApplicationRegistered);
    }

    [Fact]
    public async Task A_node_that_falls_silent_is_lost_by_the_clock()
    {
        await using var agent = await AgentAsync();
        await PassAsync(seconds: 20);

        await _harness.UntilAsync(snapshot => snapshot.FindNode(new NodeId("n1"))?.State == "lost");
    }

    [Fact]
    public async Task Blobs_that_a_live_application_names_are_kept_and_let_go_when_it_ends()
    {
        var hash = new string('a', 64);
        await using var driver = await DriverAsync();
        await driver.SendAsync(ShellHarness.Asks("app-1", 1, 1, "", hash, "../../etc/passwd"));
        await _harness.UntilAsync(snapshot => snapshot.Cluster.Outstanding == 1);
        Assert.Equal([hash], _harness.Blobs.Referenced);

        await driver.SendAsync(new FinishApplication(new ApplicationId("app-1"), true, "", new ApplicationProgress()));
        await _harness.UntilAsync(snapshot => snapshot.FindApplication(new ApplicationId("app-1"))?.Info.State == "succeeded" && _harness.Blobs.Referenced.Count == 0);
    }

    [Fact]
    public async Task A_burst_larger_than_the_inbox_loses_nothing()
    {
        await _harness.StopAsync();
        await _harness.StartAsync(inboxCapacity: 16);
        await using var driver = await DriverAsync();
        for (var i = 1; i <= 2000; i++)
        {
            await driver.SendAsync(new ApplicationHeartbeat(new ApplicationId("app-1"), i, new ApplicationProgress { TasksSucceeded = i }));
        }
        await _harness.UntilAsync(snapshot => snapshot.FindApplication(new ApplicationId("app-1"))?.Info.Progress.TasksSucceeded == 2000);
    }

    [Fact]
    public async Task The_allocation_is_a_span_from_the_wish_to_the_running_process_and_the_launch_is_below_it()
    {
        var spans = new List<Activity>();
        using var listener = new ActivityListener
        {
            ShouldListenTo = source => source.Name == "Yarnish.ResourceManager",
            Sample = (ref _) => ActivitySamplingResult.AllDataAndRecorded,
            ActivityStopped = activity =>
            {
                lock (spans)
                {
                    spans.Add(activity);
                }
            },
        };
        ActivitySource.AddActivityListener(listener);
        const string parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        await using var driver = await DriverAsync();
        await driver.SendAsync(ShellHarness.Asks("app-1", 1, 1, parent));
        await _harness.UntilAsync(snapshot => snapshot.Cluster.Outstanding == 1);
        await PassAsync(seconds: 1);
        await using var agent = await AgentAsync();
        var launch = await agent.NextAsync<LaunchContainer>();
        await agent.SendAsync(new ContainerStarted(new NodeId("n1"), 1, launch.ContainerId, 4711));
        await _harness.UntilAsync(_ =>
        {
            lock (spans)
            {
                return spans.Exists(activity => activity.TraceId.ToHexString() == "0af7651916cd43dd8448eb211c80319c");
            }
        });

        var span = spans.Single(activity => activity.TraceId.ToHexString() == "0af7651916cd43dd8448eb211c80319c");
        Assert.Equal("container.allocate", span.OperationName);
        Assert.Equal("b7ad6b7169203331", span.ParentSpanId.ToHexString());
        Assert.Equal(span.Id, launch.TraceParent);
        Assert.True(span.Duration >= TimeSpan.FromSeconds(1));
    }

    private async Task<Peer> AgentAsync()
    {
        var agent = await _harness.JoinAsync(NodeAddress);
        await agent.SendAsync(ShellHarness.Node("n1"));
        await agent.NextAsync<NodeRegistered>();
        return agent;
    }

    private async Task<Peer> DriverAsync()
    {
        var driver = await _harness.JoinAsync(DriverAddress);
        await driver.SendAsync(ShellHarness.Application("app-1"));
        await driver.NextAsync<ApplicationRegistered>();
        return driver;
    }

    private static async Task<List<ContainerGrant>> GrantsAsync(Peer driver, int count)
    {
        var grants = new List<ContainerGrant>();
        while (grants.Count < count)
        {
            grants.AddRange((await driver.NextAsync<ContainersGranted>()).Grants);
        }
        return grants;
    }

    private async Task PassAsync(int seconds)
    {
        for (var i = 0; i < seconds * 4; i++)
        {
            _harness.Clock.Advance(TimeSpan.FromMilliseconds(250));
            var at = _harness.Clock.GetUtcNow();
            await _harness.UntilAsync(snapshot => at - snapshot.At < TimeSpan.FromSeconds(1));
        }
    }
}
