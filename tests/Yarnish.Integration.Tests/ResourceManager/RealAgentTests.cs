using System.Net.Http.Json;
using System.Security.Cryptography;
using Xunit;
using Yarnish.Integration.Tests.Fixtures;
using Yarnish.Protocol;
using Yarnish.Transport;

namespace Yarnish.Integration.Tests.ResourceManager;

/// <summary>Resource manager and agent as they are shipped, with a scripted driver that runs plain commands: no executor is needed for a container.</summary>
[Trait("Category", "Processes")]
public sealed class RealAgentTests
{
    private const string Secret = "a good secret";

    private static readonly ApplicationId App = new("app-commands");

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_command_runs_with_a_file_from_the_blob_store_and_its_end_is_told()
    {
        await using var cluster = await TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes: 1, Secret);
        using var http = new HttpClient { BaseAddress = new Uri(cluster.Address) };
        http.DefaultRequestHeaders.Authorization = new("Bearer", ClusterSecret.ApiToken(Secret));
        var content = "forty-two"u8.ToArray();
        var hash = Convert.ToHexStringLower(SHA256.HashData(content));
        using var stored = await http.PutAsync(new Uri("/api/v1/blobs/" + hash, UriKind.Relative), new ByteArrayContent(content), Cancellation);
        stored.EnsureSuccessStatusCode();
        var connection = await cluster.GetAsync<ClusterConnection>("cluster/connection");
        await using var driver = await BusPeer.StartAsync(new RabbitMqControlBus(connection.RabbitMq, connection.ClusterName, Secret, ControlAddress.Application(App)));
        await driver.SendAsync(new RegisterApplication(App, "commands", "ann", ""));
        await driver.NextAsync<ApplicationRegistered>();

        await driver.SendAsync(new UpdateAsks(App, 1,
        [
            new Ask(1, Resources.Of(64, 0.5), 1, new LaunchSpecification("/bin/sh", ["-c", "test \"$(cat data/answer.txt)\" = forty-two && exit 7"])
            {
                Files = [new LaunchFile("data/answer.txt", hash, content.Length)],
            }),
        ]));
        var grant = Assert.Single((await driver.NextAsync<ContainersGranted>()).Grants);
        var completion = Assert.Single((await driver.NextAsync<ContainersCompleted>()).Completions);

        Assert.Equal(grant.ContainerId, completion.ContainerId);
        Assert.Equal((ContainerExitCause.Failed, 7), (completion.Exit.Cause, completion.Exit.ExitCode));
        var shown = (await cluster.GetAsync<ContainerInfo[]>("apps/app-commands/containers")).Single(container => container.Id == grant.ContainerId);
        Assert.Equal(7, shown.Exit!.ExitCode);
        await driver.SendAsync(new FinishApplication(App, true, "", new ApplicationProgress()));
    }

    [Fact]
    public async Task A_running_container_outlives_the_resource_manager_and_a_kill_by_the_operator_ends_it()
    {
        await using var cluster = await TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes: 1, Secret);
        using var http = new HttpClient { BaseAddress = new Uri(cluster.Address) };
        http.DefaultRequestHeaders.Authorization = new("Bearer", ClusterSecret.ApiToken(Secret));
        var connection = await cluster.GetAsync<ClusterConnection>("cluster/connection");
        await using var driver = await BusPeer.StartAsync(new RabbitMqControlBus(connection.RabbitMq, connection.ClusterName, Secret, ControlAddress.Application(App)));
        await driver.SendAsync(new RegisterApplication(App, "commands", "ann", ""));
        await driver.NextAsync<ApplicationRegistered>();
        var asks = new UpdateAsks(App, 1, [new Ask(1, Resources.Of(64, 0.5), 1, new LaunchSpecification("/bin/sleep", ["600"]))]);
        await driver.SendAsync(asks);
        var grant = Assert.Single((await driver.NextAsync<ContainersGranted>()).Grants);
        await cluster.UntilAsync("the container runs", async () => (await ContainersAsync(cluster)) is [{ State: ContainerState.Running }]);

        await cluster.KillAsync("resource-manager");
        cluster.Start("resource-manager");
        Assert.True((await driver.NextAsync<ResyncApplication>()).Epoch > connection.Epoch);
        await driver.SendAsync(new RegisterApplication(App, "commands", "ann", ""));
        await driver.NextAsync<ApplicationRegistered>();
        await driver.SendAsync(asks with { Sequence = 2 });
        await cluster.UntilAsync("the container is adopted", async () => (await ContainersAsync(cluster)) is [{ State: ContainerState.Running } only] && only.Id == grant.ContainerId);

        using var killed = await http.PostAsJsonAsync("/api/v1/apps/app-comm/kill", new KillRequest("enough"), Cancellation);
        killed.EnsureSuccessStatusCode();
        await driver.NextAsync<KillApplication>();
        await cluster.UntilAsync("nothing runs any more", info => info.Containers == 0);
    }

    private static Task<ContainerInfo[]> ContainersAsync(TestCluster cluster) => cluster.GetAsync<ContainerInfo[]>("apps/app-commands/containers");
}
