using System.Diagnostics;
using System.Net.Http.Json;
using Xunit;
using Yarnish.Integration.Tests.Fixtures;
using Yarnish.Protocol;
using Yarnish.Transport;

namespace Yarnish.Integration.Tests.ResourceManager;

/// <summary>The program with a real broker and Redis, a scripted agent and a scripted driver, and what operators fear.</summary>
[Trait("Category", "Processes")]
public sealed class FaultTests(PrivateServices services) : IClassFixture<PrivateServices>
{
    private static readonly ApplicationId App = new("app-1");
    private static readonly NodeId Node = new("n1");

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task An_ask_is_granted_and_its_launch_names_where_the_files_are()
    {
        await using var rm = await StartAsync();
        await using var agent = await AgentAsync(rm);
        await using var driver = await DriverAsync(rm);
        await driver.SendAsync(Asks(1, desired: 2));

        var granted = await GrantsAsync(driver, 2);
        var launches = new[] { await agent.NextAsync<LaunchContainer>(), await agent.NextAsync<LaunchContainer>() };

        Assert.Equal(granted.Select(grant => grant.ContainerId).Order(), launches.Select(launch => launch.ContainerId).Order());
        Assert.All(launches, launch => Assert.Equal([rm.Url], launch.BlobSources));
        Assert.Equal(2, (await rm.GetAsync<ContainerInfo[]>("/api/v1/apps/app/containers")).Length);
        Assert.Equal("running", Assert.Single(await rm.GetAsync<NodeInfo[]>("/api/v1/nodes")).State);
    }

    [Fact]
    public async Task From_ask_to_grant_takes_milliseconds_not_heartbeats()
    {
        await using var rm = await StartAsync();
        await using var agent = await AgentAsync(rm);
        await using var driver = await DriverAsync(rm);
        var milliseconds = new List<double>();
        for (var i = 1; i <= 30; i++)
        {
            var start = Stopwatch.GetTimestamp();
            await driver.SendAsync(new UpdateAsks(App, i, [new Ask(1, new Resources(1 << 20, 10), i, new LaunchSpecification("true", []))]));
            await driver.NextAsync<ContainersGranted>();
            milliseconds.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
        }
        milliseconds.Sort();
        TestContext.Current.SendDiagnosticMessage($"From ask to grant through RabbitMQ and the journal: median {milliseconds[15]:0.0} ms, slowest {milliseconds[^1]:0.0} ms.");
        Assert.True(milliseconds[15] < 250, $"The median of {milliseconds[15]:0} ms is that of a polling loop.");
    }

    [Fact]
    public async Task Killed_and_started_again_it_adopts_the_container_under_a_higher_epoch_and_grants_nothing_twice()
    {
        await using var rm = await StartAsync();
        await using var agent = await AgentAsync(rm);
        await using var driver = await DriverAsync(rm);
        await driver.SendAsync(Asks(1, desired: 1));
        var grant = Assert.Single(await GrantsAsync(driver, 1));
        await agent.NextAsync<LaunchContainer>();
        var epoch = (await rm.GetAsync<ClusterInfo>("/api/v1/cluster")).Epoch;

        await rm.KillAsync();
        await rm.StartAndWaitAsync();
        // Agent and driver do not know yet: they go on as before and are asked to introduce themselves.
        var running = Report(grant);
        await agent.SendAsync(Beat(2, running));
        Assert.Equal(epoch + 1, (await agent.NextAsync<ResyncNode>()).Epoch);
        await agent.SendAsync(Register(running));
        Assert.Equal(epoch + 1, (await agent.NextAsync<NodeRegistered>()).Epoch);
        await driver.SendAsync(new ApplicationHeartbeat(App, 2, new ApplicationProgress()));
        Assert.Equal(epoch + 1, (await driver.NextAsync<ResyncApplication>()).Epoch);
        await driver.SendAsync(new RegisterApplication(App, "job", "ann", ""));
        await driver.NextAsync<ApplicationRegistered>();
        await driver.SendAsync(Asks(2, desired: 1));

        await rm.UntilAsync(async () => (await rm.GetAsync<ClusterInfo>("/api/v1/cluster")).State == "active", "it has settled");
        for (var beat = 3; beat < 8; beat++)
        {
            await agent.SendAsync(Beat(beat, running));
            await driver.SendAsync(Asks(beat, desired: 1));
            await Task.Delay(200, Cancellation);
        }
        Assert.Equal(grant.ContainerId, Assert.Single(await rm.GetAsync<ContainerInfo[]>("/api/v1/apps/app-1/containers")).Id);
        Assert.DoesNotContain(agent.Drain(), message => message is LaunchContainer or StopContainer);

        // What is granted from now on carries the new epoch, so no id is ever given twice.
        await driver.SendAsync(Asks(20, desired: 2));
        Assert.Equal(epoch + 1, (await agent.NextAsync<LaunchContainer>()).ContainerId.Epoch);
    }

    [Fact]
    public async Task Redis_flushed_or_away_changes_nothing_and_the_journal_is_written_again()
    {
        await using var rm = await StartAsync();
        await using var agent = await AgentAsync(rm);
        await using var driver = await DriverAsync(rm);
        await services.FlushRedisAsync();
        await driver.SendAsync(Asks(1, desired: 1));
        var grant = Assert.Single(await GrantsAsync(driver, 1));

        await services.KillRedisAsync();
        await rm.UntilAsync(async () => !await rm.IsReadyAsync(), "readyz tells that Redis is away");
        await agent.SendAsync(Beat(2, Report(grant)));
        await driver.SendAsync(Asks(2, desired: 2));
        await agent.NextAsync<LaunchContainer>();
        await agent.NextAsync<LaunchContainer>();
        await services.StartRedisAsync();
        await services.FlushRedisAsync();
        await rm.UntilAsync(rm.IsReadyAsync, "Redis is used again");

        var epoch = (await rm.GetAsync<ClusterInfo>("/api/v1/cluster")).Epoch;
        await rm.KillAsync();
        await rm.StartAndWaitAsync();
        Assert.Equal(epoch + 1, (await rm.GetAsync<ClusterInfo>("/api/v1/cluster")).Epoch);
        Assert.Equal("app-1", Assert.Single(await rm.GetAsync<ApplicationInfo[]>("/api/v1/apps")).Id.Value);
    }

    [Fact]
    public async Task A_broker_that_goes_for_longer_than_a_node_may_be_silent_costs_no_node_and_no_container()
    {
        await using var rm = await StartAsync();
        await using var agent = await AgentAsync(rm);
        await using var driver = await DriverAsync(rm);
        await driver.SendAsync(Asks(1, desired: 1));
        var grant = Assert.Single(await GrantsAsync(driver, 1));
        await agent.SendAsync(Beat(2, Report(grant)));

        await services.KillRabbitMqAsync();
        await rm.UntilAsync(async () => !await rm.IsReadyAsync(), "readyz tells that the broker is away");
        await Task.Delay(TimeSpan.FromSeconds(18), Cancellation);   // nodes are lost after 15 s of silence
        Assert.Equal("running", Assert.Single(await rm.GetAsync<NodeInfo[]>("/api/v1/nodes")).State);
        await services.StartRabbitMqAsync();
        await rm.UntilAsync(rm.IsReadyAsync, "the broker is used again");
        await rm.UntilAsync(async () =>
        {
            await agent.TrySendAsync(Beat(3, Report(grant)));
            return Assert.Single(await rm.GetAsync<NodeInfo[]>("/api/v1/nodes")).State == "running";
        }, "the node is heard again");

        Assert.Equal(grant.ContainerId, Assert.Single(await rm.GetAsync<ContainerInfo[]>("/api/v1/apps/app-1/containers")).Id);
        Assert.DoesNotContain(driver.Drain(), message => message is ContainersCompleted);
    }

    [Fact]
    public async Task A_wrong_secret_is_refused_on_both_ways()
    {
        await using var rm = await StartAsync(("Secret", "a good secret"));
        using var client = new HttpClient();
        client.DefaultRequestHeaders.Authorization = new("Bearer", ClusterSecret.ApiToken("another secret"));
        var answer = await client.GetAsync(new Uri(rm.Url + "/api/v1/cluster/connection"), Cancellation);
        Assert.Equal(System.Net.HttpStatusCode.Unauthorized, answer.StatusCode);
        Assert.Equal("unauthorized", (await answer.Content.ReadFromJsonAsync<ErrorInfo>(ProtocolJson.Options, Cancellation))!.Code);

        await using var stranger = await BusPeer.StartAsync(new RabbitMqControlBus(services.RabbitMq, rm.ClusterName, "another secret", ControlAddress.Application(App)));
        await stranger.SendAsync(new RegisterApplication(App, "job", "eve", ""));
        Assert.NotEqual("", (await stranger.NextAsync<ControlRefused>()).Reason);
        Assert.Empty(await rm.GetAsync<ApplicationInfo[]>("/api/v1/apps"));

        await using var friend = await BusPeer.StartAsync(new RabbitMqControlBus(services.RabbitMq, rm.ClusterName, "a good secret", ControlAddress.Application(new ApplicationId("app-2"))));
        await friend.SendAsync(new RegisterApplication(new ApplicationId("app-2"), "job", "ann", ""));
        await friend.NextAsync<ApplicationRegistered>();
    }

    [Fact]
    public async Task A_second_resource_manager_of_the_same_cluster_ends_the_first()
    {
        await using var first = await StartAsync();
        await using var second = new ResourceManagerProcess(("RabbitMq", services.RabbitMq), ("Redis", services.Redis), ("ClusterName", first.ClusterName));
        await second.StartAndWaitAsync();

        Assert.Equal(3, await first.ExitAsync());
        Assert.Contains("took over", first.Output, StringComparison.Ordinal);
        Assert.True(await second.IsReadyAsync());
    }

    private async Task<ResourceManagerProcess> StartAsync(params (string, string)[] settings)
    {
        var rm = new ResourceManagerProcess([("RabbitMq", services.RabbitMq), ("Redis", services.Redis), .. settings]);
        await rm.StartAndWaitAsync();
        return rm;
    }

    private async Task<BusPeer> AgentAsync(ResourceManagerProcess rm)
    {
        var agent = await BusPeer.StartAsync(new RabbitMqControlBus(services.RabbitMq, rm.ClusterName, "", ControlAddress.Node(Node)));
        await agent.SendAsync(Register());
        await agent.NextAsync<NodeRegistered>();
        return agent;
    }

    private async Task<BusPeer> DriverAsync(ResourceManagerProcess rm)
    {
        var driver = await BusPeer.StartAsync(new RabbitMqControlBus(services.RabbitMq, rm.ClusterName, "", ControlAddress.Application(App)));
        await driver.SendAsync(new RegisterApplication(App, "job", "ann", ""));
        await driver.NextAsync<ApplicationRegistered>();
        return driver;
    }

    private static async Task<List<ContainerGrant>> GrantsAsync(BusPeer driver, int count)
    {
        var grants = new List<ContainerGrant>();
        while (grants.Count < count)
        {
            grants.AddRange((await driver.NextAsync<ContainersGranted>()).Grants);
        }
        return grants;
    }

    private static ContainerReport Report(ContainerGrant grant) => new(grant.ContainerId, App, grant.Resources, ContainerState.Running) { AskId = grant.AskId };

    private static RegisterNode Register(params ContainerReport[] containers) => new(Node, 1, Resources.Of(8192, 8), "http://127.0.0.1:9", "host") { Containers = [.. containers] };

    private static NodeHeartbeat Beat(long sequence, params ContainerReport[] containers) => new(Node, 1, sequence, [.. containers], true, "");

    private static UpdateAsks Asks(long sequence, int desired) => new(App, sequence, [new Ask(1, Resources.Of(1024, 1), desired, new LaunchSpecification("dotnet", ["x.dll"]))]);
}
