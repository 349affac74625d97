using System.Net;
using System.Net.Http.Json;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;
using Yarnish.Blocks;
using Yarnish.NodeAgent.Http;
using Yarnish.NodeAgent.Node;
using Yarnish.Protocol;

namespace Yarnish.Integration.Tests.NodeAgent;

/// <summary>What an agent serves and to whom.</summary>
[Trait("Category", "Processes")]
public sealed class AgentHttpTests
{
    [Fact]
    public async Task Logs_keep_their_offsets_over_rotations_and_lose_nothing_that_is_kept()
    {
        await using var given = await GivenAgent.StartAsync(options => (options.LogFileBytes, options.LogFiles) = (128 * 1024, 100));
        // Two megabytes in pieces, while the agent rotates once a second.
        var id = await given.LaunchAsync(given.Shell("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); printf 'line %095d\\n' $i; done; sleep 2.5; echo end"));
        Assert.Equal(ContainerExitCause.Completed, (await given.ExitAsync(id)).Cause);

        var log = await given.LogAsync(id, "stdout");

        var lines = log.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal("end", lines[^1]);
        Assert.Equal(20001, lines.Length);
        Assert.All(lines[..^1].Index(), line => Assert.Equal($"line {line.Index + 1:D95}", line.Item));
        Assert.NotEmpty(Directory.GetFiles(Path.Combine(given.Directory, "logs", "app-1", id.Value), "stdout.*"));
        Assert.Equal($"line {10001:D95}\n", await given.LogAsync(id, "stdout", "?offset=1010000&limit=101"));
        Assert.Equal("end\n", await given.LogAsync(id, "stdout", "?offset=-4"));
    }

    [Fact]
    public async Task A_follower_sees_lines_as_they_come_and_the_end_when_the_container_ends()
    {
        await using var given = await GivenAgent.StartAsync();
        var gate = Path.Combine(given.Directory, "gate");
        var id = await given.LaunchAsync(given.Shell($"echo one; while [ ! -e {gate} ]; do sleep 0.02; done; echo two"));
        await given.StartedAsync(id);
        using var stream = new StreamReader(await given.Http.GetStreamAsync($"/containers/{id}/logs/stdout?follow=true"));

        Assert.Equal("one", await stream.ReadLineAsync());
        await File.WriteAllTextAsync(gate, "");
        Assert.Equal("two", await stream.ReadLineAsync());
        Assert.Null(await stream.ReadLineAsync());
    }

    [Fact]
    public async Task Everything_but_the_probes_wants_the_token()
    {
        await using var given = await GivenAgent.StartAsync();
        using var stranger = new HttpClient { BaseAddress = given.Http.BaseAddress };

        Assert.Equal("ok\n", await stranger.GetStringAsync("/livez"));
        Assert.Equal("ok\n", await stranger.GetStringAsync("/readyz"));
        foreach (var path in (string[])["/api/v1/node", "/containers", "/containers/c-1-1", "/containers/c-1-1/logs/stdout", $"/blobs/{new string('a', 64)}", $"/api/v1/blobs/{new string('a', 64)}"])
        {
            using var response = await stranger.GetAsync(path);
            Assert.Equal(HttpStatusCode.Unauthorized, response.StatusCode);
        }
        using var blocks = await stranger.PostAsync("/blocks/app-1/fetch", new ByteArrayContent([]));
        Assert.Equal(HttpStatusCode.Unauthorized, blocks.StatusCode);
    }

    [Fact]
    public async Task The_node_and_its_containers_are_told()
    {
        await using var given = await GivenAgent.StartAsync();
        var id = await given.LaunchAsync(given.Shell("sleep 1000"));
        var process = await given.StartedAsync(id);

        var node = await given.Http.GetFromJsonAsync<AgentInfo>("/api/v1/node", ProtocolJson.Options);
        var containers = await given.Http.GetFromJsonAsync<AgentContainers>("/containers", ProtocolJson.Options);

        Assert.Equal(("node-1", true, 1, Resources.Of(1024, 2), Resources.Of(256, 1)), (node!.Id.Value, node.Registered, node.Containers, node.Capacity, node.Allocated));
        Assert.Equal((id, process, ContainerState.Running), (containers!.Containers[0].Id, containers.Containers[0].ProcessId!.Value, containers.Containers[0].State));
    }

    [Theory]
    [InlineData("/containers/nonsense/logs/stdout", HttpStatusCode.BadRequest)]
    [InlineData("/containers/c-1-99/logs/stdout", HttpStatusCode.NotFound)]
    [InlineData("/containers/c-1-99/logs/passwd", HttpStatusCode.BadRequest)]
    [InlineData("/containers/c-1-99/logs/..%2f..%2flock", HttpStatusCode.BadRequest)]
    [InlineData("/containers/c-1-99", HttpStatusCode.NotFound)]
    [InlineData("/blobs/..%2f..%2flock", HttpStatusCode.BadRequest)]
    [InlineData("/blobs/ABC", HttpStatusCode.BadRequest)]
    public async Task What_is_not_there_or_makes_no_sense_is_answered_in_words(string path, HttpStatusCode status)
    {
        await using var given = await GivenAgent.StartAsync();

        using var response = await given.Http.GetAsync(path);

        Assert.Equal(status, response.StatusCode);
        Assert.NotEmpty((await response.Content.ReadFromJsonAsync<ErrorInfo>(ProtocolJson.Options))!.Error);
    }

    [Fact]
    public async Task Blocks_are_served_to_who_holds_the_token_of_their_application()
    {
        await using var given = await GivenAgent.StartAsync();
        await given.ExitAsync(await given.LaunchAsync(given.Shell("true")));
        using var reader = new HttpClient { BaseAddress = given.Http.BaseAddress };
        reader.DefaultRequestHeaders.Authorization = new("Bearer", ClusterSecret.ApplicationToken(GivenAgent.Secret, GivenAgent.Application));
        var body = new BlockFetchRequest([BlockFetchItem.Named(new BlockId("missing"))]).ToBytes();

        using var answer = await reader.PostAsync("/blocks/app-1/fetch", new ByteArrayContent(body));
        using var other = await reader.PostAsync("/blocks/app-2/fetch", new ByteArrayContent(body));
        using var rubbish = await reader.PostAsync("/blocks/app-1/fetch", new ByteArrayContent([1, 2, 3]));

        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        Assert.Equal(1, (await answer.Content.ReadAsByteArrayAsync())[0]);
        Assert.Equal(HttpStatusCode.Unauthorized, other.StatusCode);
        Assert.Equal(HttpStatusCode.BadRequest, rubbish.StatusCode);
    }

    [Fact]
    public async Task A_copy_of_a_block_is_taken_from_who_holds_the_token_of_its_application_and_served()
    {
        await using var given = await GivenAgent.StartAsync();
        await given.ExitAsync(await given.LaunchAsync(given.Shell("true")));
        var url = given.Http.BaseAddress!.ToString();
        var source = new BlockDirectory(Directory.CreateTempSubdirectory("yarnish-source-").FullName);
        var block = new BlockId("broadcast-1-0");
        // More than Kestrel takes without being told.
        var content = new byte[40_000_000];
        new Random(1).NextBytes(content);
        source.WriteNamed(block, content);
        using var client = new BlockClient(GivenAgent.Application, ClusterSecret.ApplicationToken(GivenAgent.Secret, GivenAgent.Application));
        using var stranger = new BlockClient(GivenAgent.Application, "no such token");
        using var other = new BlockClient(new ApplicationId("app-2"), ClusterSecret.ApplicationToken(GivenAgent.Secret, new ApplicationId("app-2")));

        await client.WriteAsync(url, source, block);

        Assert.Equal(content, await client.ReadAsync(url, block));
        await Assert.ThrowsAsync<HttpRequestException>(() => stranger.WriteAsync(url, source, block));
        Assert.Contains("404", (await Assert.ThrowsAsync<IOException>(() => other.WriteAsync(url, source, block))).Message, StringComparison.Ordinal);
        Assert.False(Directory.Exists(Path.Combine(given.Directory, "apps", "app-2")));
        source.DeleteAll();
    }

    [Theory]
    [InlineData("http://0.0.0.0:0")]
    [InlineData("http://*:0")]
    [InlineData("http://[::]:0")]
    public async Task Listening_beyond_loopback_without_a_secret_is_refused(string url)
    {
        var options = new NodeAgentOptions { NodeId = "n", DataDirectory = "/nonexistent", Urls = url };

        var error = await Assert.ThrowsAsync<AgentStartException>(() =>
            NodeAgentServer.StartAsync(options, _ => throw new InvalidOperationException(), NullLoggerFactory.Instance));

        Assert.Equal(AgentExitCode.Usage, error.ExitCode);
        Assert.Contains("Set Yarnish__Secret", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_wrong_secret_ends_the_agent_with_a_clear_error()
    {
        await using var given = await GivenAgent.StartAsync();
        var directory = Directory.CreateTempSubdirectory("yarnish-agent-").FullName;
        var options = new NodeAgentOptions { NodeId = "n", DataDirectory = directory, Secret = "wrong", Address = given.StoreUrl };

        await using var agent = await NodeAgentServer.StartAsync(options, _ => throw new InvalidOperationException(), NullLoggerFactory.Instance);

        Assert.Equal(AgentExitCode.NotPermitted, await agent.Ended.WaitAsync(TimeSpan.FromSeconds(20)));
        Assert.Contains("does not accept the cluster secret of this agent (it is another one). Set Yarnish__Secret", agent.EndReason, StringComparison.Ordinal);
    }
}
