using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using Yarnish.Protocol;

namespace Yarnish.Cli;

/// <summary>Talks to the resource manager's REST interface, and turns every failure into one message and exit code.</summary>
internal sealed class ClusterClient : IDisposable
{
    private readonly ClusterSettings settings;
    private readonly HttpClient http;
    private readonly HttpClient drivers = new() { MaxResponseContentBufferSize = 16 << 20 };

    public ClusterClient(ClusterSettings settings)
    {
        this.settings = settings;
        if (!Uri.TryCreate(settings.Address + "/", UriKind.Absolute, out var address) || address.Scheme is not ("http" or "https"))
        {
            throw new CommandException(ExitCodes.Usage, $"'{settings.Address}' is not the address of a resource manager. It must be a URL such as {ClusterSettings.DefaultAddress}.");
        }
        http = new HttpClient { BaseAddress = address, Timeout = TimeSpan.FromSeconds(30) };
        if (ClusterSecret.ApiToken(settings.Secret) is { Length: > 0 } token)
        {
            http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", token);
        }
    }

    public Task<ClusterInfo> ClusterAsync(CancellationToken cancellation) => GetAsync<ClusterInfo>("api/v1/cluster", cancellation);

    public Task<NodeInfo[]> NodesAsync(CancellationToken cancellation) => GetAsync<NodeInfo[]>("api/v1/nodes", cancellation);

    public Task<ApplicationInfo[]> ApplicationsAsync(CancellationToken cancellation) => GetAsync<ApplicationInfo[]>("api/v1/apps", cancellation);

    public Task<ApplicationInfo> ApplicationAsync(string id, CancellationToken cancellation) => GetAsync<ApplicationInfo>($"api/v1/apps/{Uri.EscapeDataString(id)}", cancellation);

    public Task<ContainerInfo[]> ContainersAsync(string application, CancellationToken cancellation) =>
        GetAsync<ContainerInfo[]>($"api/v1/apps/{Uri.EscapeDataString(application)}/containers", cancellation);

    public async Task KillAsync(string application, string reason, CancellationToken cancellation)
    {
        using var response = await SendAsync(
            () => http.PostAsJsonAsync($"api/v1/apps/{Uri.EscapeDataString(application)}/kill", new KillRequest(reason), ProtocolJson.Options, cancellation), cancellation).ConfigureAwait(false);
    }

    public Task<ApplicationWhy> WhyAsync(string application, CancellationToken cancellation) =>
        GetAsync<ApplicationWhy>($"api/v1/apps/{Uri.EscapeDataString(application)}/why", cancellation);

    public Task<ApplicationInfo> MoveAsync(string application, MoveRequest request, CancellationToken cancellation) =>
        SendAsync<ApplicationInfo>(HttpMethod.Post, $"api/v1/apps/{Uri.EscapeDataString(application)}/move", JsonContent.Create(request, options: ProtocolJson.Options), cancellation);

    public Task<NodeInfo> DrainAsync(string node, DrainRequest request, CancellationToken cancellation) =>
        SendAsync<NodeInfo>(HttpMethod.Post, $"api/v1/nodes/{Uri.EscapeDataString(node)}/drain", JsonContent.Create(request, options: ProtocolJson.Options), cancellation);

    public Task<NodeInfo> UndrainAsync(string node, CancellationToken cancellation) =>
        SendAsync<NodeInfo>(HttpMethod.Post, $"api/v1/nodes/{Uri.EscapeDataString(node)}/undrain", null, cancellation);

    public Task<QueuesInfo> QueuesAsync(CancellationToken cancellation) => GetAsync<QueuesInfo>("api/v1/queues", cancellation);

    public Task<QueueCheck> ValidateQueuesAsync(string text, CancellationToken cancellation) =>
        SendAsync<QueueCheck>(HttpMethod.Post, "api/v1/queues/validate", Yaml(text), cancellation);

    public Task<QueueUpdate> PutQueuesAsync(string text, CancellationToken cancellation) => SendAsync<QueueUpdate>(HttpMethod.Put, "api/v1/queues", Yaml(text), cancellation);

    public Task<PlanAnswer> PlanAsync(PlanRequest request, CancellationToken cancellation) =>
        SendAsync<PlanAnswer>(HttpMethod.Post, "api/v1/plan", JsonContent.Create(request, options: ProtocolJson.Options), cancellation);

    public Task<WhatIfAnswer> WhatIfAsync(WhatIfRequest request, CancellationToken cancellation) =>
        SendAsync<WhatIfAnswer>(HttpMethod.Post, "api/v1/what-if", JsonContent.Create(request, options: ProtocolJson.Options), cancellation);

    /// <summary>Copies a log of a container to the output; with <paramref name="follow"/> until the container ends or the user stops.</summary>
    public async Task<bool> CopyLogAsync(ContainerInfo container, string stream, bool follow, Stream output, CancellationToken cancellation)
    {
        var url = $"{container.NodeUrl.TrimEnd('/')}/containers/{container.Id}/logs/{stream}?follow={(follow ? "true" : "false")}";
        using var request = new HttpRequestMessage(HttpMethod.Get, url);
        request.Headers.Authorization = http.DefaultRequestHeaders.Authorization;
        try
        {
            using var response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellation).ConfigureAwait(false);
            if (!response.IsSuccessStatusCode)
            {
                return false;
            }
            await response.Content.CopyToAsync(output, cancellation).ConfigureAwait(false);
            return true;
        }
        catch (HttpRequestException)
        {
            return false;
        }
    }

    /// <summary>Asks the driver of an application for a part of its status; null when it cannot be reached from here, or does not serve it.</summary>
    public async Task<T?> DriverStatusAsync<T>(ApplicationInfo application, string part, CancellationToken cancellation)
        where T : class
    {
        if (!Uri.TryCreate(application.StatusUrl, UriKind.Absolute, out var url) || url.Scheme is not ("http" or "https"))
        {
            return null;
        }
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limit.CancelAfter(TimeSpan.FromSeconds(5));
        try
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(url, $"/api/v1/applications/{Uri.EscapeDataString(application.Id.Value)}{part}"));
            // The token of this application alone: its driver is a program of anybody's, and must not learn that of the cluster.
            if (ClusterSecret.ApplicationToken(settings.Secret, application.Id) is { Length: > 0 } token)
            {
                request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
            }
            using var response = await drivers.SendAsync(request, limit.Token).ConfigureAwait(false);
            return response.IsSuccessStatusCode ? await response.Content.ReadFromJsonAsync<T>(ProtocolJson.Options, limit.Token).ConfigureAwait(false) : null;
        }
        catch (Exception error) when (error is HttpRequestException or JsonException || (error is OperationCanceledException && !cancellation.IsCancellationRequested))
        {
            return null;
        }
    }

    /// <summary>Why the resource manager is not ready, in its own words; empty when it is, or does not say.</summary>
    public async Task<string> NotReadyAsync(CancellationToken cancellation)
    {
        try
        {
            using var response = await http.GetAsync("readyz", cancellation).ConfigureAwait(false);
            return response.IsSuccessStatusCode ? "" : await ReadErrorAsync(response, cancellation).ConfigureAwait(false);
        }
        catch (HttpRequestException)
        {
            return "";
        }
    }

    public void Dispose()
    {
        http.Dispose();
        drivers.Dispose();
    }

    private static StringContent Yaml(string text) => new(text, System.Text.Encoding.UTF8, "application/yaml");

    private Task<T> GetAsync<T>(string path, CancellationToken cancellation) => SendAsync<T>(HttpMethod.Get, path, null, cancellation);

    private async Task<T> SendAsync<T>(HttpMethod method, string path, HttpContent? body, CancellationToken cancellation)
    {
        using var request = new HttpRequestMessage(method, path) { Content = body };
        using var response = await SendAsync(() => http.SendAsync(request, cancellation), cancellation).ConfigureAwait(false);
        try
        {
            return await response.Content.ReadFromJsonAsync<T>(ProtocolJson.Options, cancellation).ConfigureAwait(false) ?? throw new JsonException("the answer is empty");
        }
        catch (JsonException error)
        {
            throw new CommandException(ExitCodes.Unreachable, $"{settings.Address} answers, but not as a Yarnish resource manager: {error.Message} Check the address and the versions.");
        }
    }

    private async Task<HttpResponseMessage> SendAsync(Func<Task<HttpResponseMessage>> send, CancellationToken cancellation)
    {
        HttpResponseMessage response;
        try
        {
            response = await send().ConfigureAwait(false);
        }
        catch (HttpRequestException error)
        {
            throw new CommandException(
                ExitCodes.Unreachable, $"No resource manager answers at {settings.Address}: {error.Message.TrimEnd('.')}. Start one with 'yarnish up', or name another with --address or Yarnish__Address.");
        }
        catch (TaskCanceledException) when (!cancellation.IsCancellationRequested)
        {
            throw new CommandException(ExitCodes.Timeout, $"The resource manager at {settings.Address} did not answer within {http.Timeout.TotalSeconds:0} s.");
        }
        if (response.IsSuccessStatusCode)
        {
            return response;
        }
        using (response)
        {
            var detail = await ReadErrorAsync(response, cancellation).ConfigureAwait(false);
            throw response.StatusCode switch
            {
                HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden => new CommandException(
                    ExitCodes.NoPermission, $"The resource manager at {settings.Address} refuses the request: {detail} Set the cluster's secret in Yarnish__Secret."),
                HttpStatusCode.NotFound => new CommandException(ExitCodes.NotFound, detail.Replace("GET /api/v1/apps lists", "'yarnish app list' shows", StringComparison.Ordinal)),
                HttpStatusCode.Conflict => new CommandException(ExitCodes.NotFound, detail),
                HttpStatusCode.BadRequest or HttpStatusCode.RequestEntityTooLarge => new CommandException(ExitCodes.Usage, detail),
                _ => new CommandException(ExitCodes.Unreachable, $"The resource manager at {settings.Address} answered {(int)response.StatusCode}: {detail}"),
            };
        }
    }

    private static async Task<string> ReadErrorAsync(HttpResponseMessage response, CancellationToken cancellation)
    {
        try
        {
            var error = await response.Content.ReadFromJsonAsync<ErrorInfo>(ProtocolJson.Options, cancellation).ConfigureAwait(false);
            return error?.Error ?? response.ReasonPhrase ?? "";
        }
        catch (JsonException)
        {
            return response.ReasonPhrase ?? "";
        }
    }
}
