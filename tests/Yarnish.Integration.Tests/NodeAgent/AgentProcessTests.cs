using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Threading.Channels;
using Xunit;
using Yarnish.Integration.Tests.Fixtures;
using Yarnish.NodeAgent.Http;
using Yarnish.NodeAgent.Processes;
using Yarnish.Protocol;
using Yarnish.Transport;

namespace Yarnish.Integration.Tests.NodeAgent;

/// <summary>The agent as a process of its own, under a real resource manager and broker; the test plays the driver.</summary>
[Trait("Category", "Processes")]
public sealed class AgentProcessTests
{
    private const string Secret = "agent-process-tests";

    [Fact]
    public async Task A_container_outlives_the_SIGKILL_of_its_agent_and_the_next_agent_reports_its_end()
    {
        await using var cluster = await TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes: 1, Secret);
        using var http = new HttpClient();
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", ClusterSecret.ApiToken(Secret));
        var connection = (await http.GetFromJsonAsync<ClusterConnection>($"{cluster.Address}/api/v1/cluster/connection", ProtocolJson.Options))!;
        var application = new ApplicationId("agent-test-" + Guid.NewGuid().ToString("n")[..8]);
        var messages = Channel.CreateUnbounded<ControlMessage>();
        await using var driver = new RabbitMqControlBus(connection.RabbitMq, connection.ClusterName, Secret, ControlAddress.Application(application));
        await driver.StartAsync(delivery => messages.Writer.WriteAsync(delivery.Message), CancellationToken.None);
        await driver.SendAsync(ControlAddress.ResourceManager, new RegisterApplication(application, "agent test", "tester", ""));
        await ExpectAsync<ApplicationRegistered>();
        await driver.SendAsync(ControlAddress.ResourceManager, new UpdateAsks(application, 1, [
            new Ask(1, Resources.Of(128, 0.1), 1, new LaunchSpecification("sh", ["-c", "echo hello; exec sleep 1000"])),
        ]));
        var grant = (await ExpectAsync<ContainersGranted>()).Grants.Single();
        var process = await ProcessIdAsync(grant.NodeUrl);
        var resident = (await http.GetFromJsonAsync<AgentInfo>($"{grant.NodeUrl}/api/v1/node", ProtocolJson.Options))!.ResidentBytes;
        Assert.InRange(resident, 1, 150L << 20);

        await cluster.KillAsync("node-1");
        Assert.True(GivenAgent.IsAlive(process));
        cluster.Start("node-1");

        await cluster.UntilAsync("the next agent adopted the container", async () =>
        {
            var url = (await cluster.GetAsync<NodeInfo[]>("nodes")).Single().Url;
            return url != grant.NodeUrl && await ProcessIdAsync(url) == process;
        });
        NativeMethods.Signal(process, NativeMethods.Terminate);
        var completion = (await ExpectAsync<ContainersCompleted>()).Completions.Single();
        Assert.Equal(grant.ContainerId, completion.ContainerId);
        Assert.Equal((ContainerExitCause.KilledBySignal, 143), (completion.Exit.Cause, completion.Exit.ExitCode));
        await driver.SendAsync(ControlAddress.ResourceManager, new FinishApplication(application, true, "", new ApplicationProgress()));

        async Task<T> ExpectAsync<T>()
            where T : ControlMessage
        {
            using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(60));
            while (true)
            {
                if (await messages.Reader.ReadAsync(patience.Token) is T found)
                {
                    return found;
                }
            }
        }

        async Task<int> ProcessIdAsync(string agent)
        {
            var id = 0;
            await cluster.UntilAsync($"{agent} runs the container", async () =>
            {
                var found = await http.GetFromJsonAsync<AgentContainers>($"{agent}/containers", ProtocolJson.Options);
                id = found!.Containers.FirstOrDefault(container => container.State == ContainerState.Running)?.ProcessId ?? 0;
                return id > 0;
            });
            return id;
        }
    }
}
