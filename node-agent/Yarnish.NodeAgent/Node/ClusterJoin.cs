using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using Yarnish.Protocol;

namespace Yarnish.NodeAgent.Node;

/// <summary>Asks the resource manager how to join: the only setting an agent needs is its address, and the secret.</summary>
internal sealed class ClusterJoin(HttpClient http, NodeAgentOptions options, TimeProvider clock, ILogger<ClusterJoin> logger)
{
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan SayAgainAfter = TimeSpan.FromSeconds(30);

    /// <summary>Asks until there is an answer: an agent may well start before its resource manager.</summary>
    /// <exception cref="AgentStartException">The resource manager answered and does not accept the secret.</exception>
    public async Task<ClusterConnection> ConnectAsync(CancellationToken cancellation)
    {
        var address = $"{options.Address.TrimEnd('/')}/api/v1/cluster/connection";
        var pause = TimeSpan.FromMilliseconds(250);
        var said = DateTimeOffset.MinValue;
        while (true)
        {
            string problem;
            try
            {
                return await AskAsync(address, cancellation);
            }
            catch (Exception error) when (error is HttpRequestException or JsonException or TimeoutException)
            {
                problem = error.Message;
            }
            catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
            {
                problem = "it did not answer in time";
            }
            var now = clock.GetUtcNow();
            if (now - said >= SayAgainAfter)
            {
                said = now;
                logger.LogWarning(
                    "The resource manager at {Address} cannot be reached: {Problem} The agent keeps trying. Is it running, and is Yarnish__Address right?",
                    options.Address, problem.EndsWith('.') ? problem : problem + ".");
            }
            await Task.Delay(pause, clock, cancellation);
            pause = pause * 2 < LongestPause ? pause * 2 : LongestPause;
        }
    }

    private async Task<ClusterConnection> AskAsync(string address, CancellationToken cancellation)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, address);
        if (ClusterSecret.ApiToken(options.Secret) is { Length: > 0 } token)
        {
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
        }
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        patience.CancelAfter(TimeSpan.FromSeconds(10));
        using var response = await http.SendAsync(request, patience.Token);
        if (response.StatusCode is HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden)
        {
            throw new AgentStartException(
                AgentExitCode.NotPermitted,
                $"The resource manager at {options.Address} does not accept the cluster secret of this agent "
                + (options.Secret.Length == 0 ? "(none is set). " : "(it is another one). ")
                + "Set Yarnish__Secret to the secret the resource manager was started with.");
        }
        if (!response.IsSuccessStatusCode)
        {
            throw new HttpRequestException($"{address} answered {(int)response.StatusCode}: another program, or a resource manager that is not ready.");
        }
        var connection = await response.Content.ReadFromJsonAsync<ClusterConnection>(ProtocolJson.Options, patience.Token);
        return connection is { ClusterName.Length: > 0 } ? connection : throw new JsonException($"{address} did not answer with a cluster connection.");
    }
}
