using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Mvc;
using Yarnish.Protocol;
using Yarnish.Queues;
using Yarnish.ResourceManager.Cluster;
using Yarnish.Scheduling;

namespace Yarnish.ResourceManager.Rest;

/// <summary>
/// <c>/api/v1</c>: queues, why an application waits, plans and suppositions, moving and draining. Plans run on a copy of the books, on the thread of the request,
/// two at a time: the scheduler only pays for the copy.
/// </summary>
internal static class QueueEndpoints
{
    private const int MaximumReason = 1_000;
    private const int MaximumPlanned = 100_000;
    private const int MaximumAddedNodes = 10_000;
    private const int ConcurrentSuppositions = 2;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    /// <summary>Maps the addresses.</summary>
    public static void MapQueues(this IEndpointRouteBuilder routes, ClusterStatus status, ResourceManagerOptions options)
    {
        var suppositions = new SemaphoreSlim(ConcurrentSuppositions);

        routes.MapGet("/queues", () => Describe(status, options))
            .WithName("getQueues").WithSummary("The queues in force: configuration, shares, usage and what waits in each.").Produces<ErrorInfo>(503);

        routes.MapPost("/queues/validate", async (HttpContext context, CancellationToken cancellation) => await CheckAsync(status, suppositions, await BodyAsync(context), cancellation))
            .WithName("validateQueues").WithSummary("Judges a queue file (YAML body) and says what it would change; changes nothing.")
            .Accepts<string>("application/yaml", "text/plain").Produces<QueueCheck>().Produces<ErrorInfo>(413).Produces<ErrorInfo>(503);

        routes.MapPut("/queues", async (HttpContext context, CancellationToken cancellation) => await ChangeAsync(status, options, await BodyAsync(context), cancellation))
            .WithName("putQueues").WithSummary("Puts a queue file (YAML body) into force, whole or not at all.")
            .Accepts<string>("application/yaml", "text/plain").Produces<QueueUpdate>().Produces<QueueRefusal>(400).Produces<ErrorInfo>(413).Produces<ErrorInfo>(503);

        routes.MapGet("/apps/{id}/why", (string id) => Why(ClusterEndpoints.Find(status, id)))
            .WithName("whyApp").WithSummary("Why each ask of an application waits, typed and as a sentence that says what would unblock it.")
            .Produces<ErrorInfo>(404).Produces<ErrorInfo>(409).Produces<ErrorInfo>(503);

        routes.MapPost("/apps/{id}/move", (string id, MoveRequest request, HttpContext context) => MoveAsync(status, id, request, context.RequestAborted))
            .WithName("moveApp").WithSummary("Moves an application to another leaf queue, or changes its priority.")
            .Produces<ApplicationInfo>().Produces<ErrorInfo>(400).Produces<ErrorInfo>(404).Produces<ErrorInfo>(409).Produces<ErrorInfo>(503);

        routes.MapPost("/nodes/{id}/drain", (string id, [FromBody] DrainRequest? request, HttpContext context) => DrainAsync(status, id, request, context))
            .WithName("drainNode").WithSummary("Nothing new on a node; what still runs at the deadline is stopped. Survives a restart.")
            .Produces<NodeInfo>().Produces<ErrorInfo>(400).Produces<ErrorInfo>(404).Produces<ErrorInfo>(503);

        routes.MapPost("/nodes/{id}/undrain", (string id, HttpContext context) => UndrainAsync(status, id, context.RequestAborted))
            .WithName("undrainNode").WithSummary("Takes a drain back.").Produces<NodeInfo>().Produces<ErrorInfo>(404).Produces<ErrorInfo>(503);

        routes.MapPost("/plan", (PlanRequest request, HttpContext context) => PlanAsync(status, suppositions, request, context.RequestAborted))
            .WithName("plan").WithSummary("Whether containers would be granted now, where, and if not, what would unblock them. Changes nothing.")
            .Produces<PlanAnswer>().Produces<ErrorInfo>(400).Produces<ErrorInfo>(503);

        routes.MapPost("/what-if", (WhatIfRequest request, HttpContext context) => WhatIfAsync(status, suppositions, request, context.RequestAborted))
            .WithName("whatIf").WithSummary("What would be granted with more nodes, other weights or without an application. Changes nothing.")
            .Produces<WhatIfAnswer>().Produces<ErrorInfo>(400).Produces<ErrorInfo>(404).Produces<ErrorInfo>(503);
    }

    private static QueuesInfo Describe(ClusterStatus status, ResourceManagerOptions options)
    {
        var snapshot = ClusterEndpoints.Snapshot(status);
        var queues = Shell(status).Queues;
        return new QueuesInfo
        {
            Version = queues.Version,
            Source = queues.Source,
            File = options.QueueFile,
            AppliedAt = queues.At,
            Problem = status.QueueFileProblem,
            Text = queues.Text,
            Queues = [.. snapshot.Queues.Select(queue => Describe(queue, Find(queues.Configuration.Root, queue.Name.Value)))],
        };
    }

    private static QueueDetails Describe(QueueInfo queue, QueueConfiguration? configured) => new()
    {
        Name = queue.Name,
        Leaf = queue.Leaf,
        State = Camel(queue.State),
        ConfiguredGuarantee = configured?.Guarantee?.ToString() ?? "",
        ConfiguredMaximum = configured?.Maximum?.ToString() ?? "",
        Guarantee = queue.Guarantee,
        Maximum = queue.Maximum,
        Allocated = queue.Allocated,
        UsedPercent = UsedPercent(queue.Allocated.GetValueOrDefault("") ?? Resources.Zero, queue.Guarantee.GetValueOrDefault("") ?? Resources.Zero),
        Applications = queue.Applications,
        ActiveApplications = queue.ActiveApplications,
        Outstanding = queue.Outstanding,
    };

    private static double? UsedPercent(Resources used, Resources guarantee)
    {
        var most = 0.0;
        foreach (var (amount, right) in new[] { (used.MemoryBytes, guarantee.MemoryBytes), (used.MilliCores, guarantee.MilliCores) }
            .Concat(used.Custom.Select(pair => (pair.Value, guarantee.Custom.GetValueOrDefault(pair.Key)))))
        {
            if (amount > 0 && right == 0)
            {
                return null;
            }
            most = amount > 0 ? Math.Max(most, 100.0 * amount / right) : most;
        }
        return Math.Round(most, 1);
    }

    private static QueueConfiguration? Find(QueueConfiguration root, string path)
    {
        var queue = root;
        foreach (var part in path.Split('.').Skip(1))
        {
            if (queue.Queues.FirstOrDefault(child => child.Name == part) is not { } next)
            {
                // Made from a template, or the implied root.default.
                return queue.Template;
            }
            queue = next;
        }
        return queue;
    }

    private static async Task<QueueCheck> CheckAsync(ClusterStatus status, SemaphoreSlim suppositions, string text, CancellationToken cancellation)
    {
        var read = QueueFileReader.Read(text);
        if (read.Configuration is not { } configuration)
        {
            return new QueueCheck(false, read.Errors, []);
        }
        var errors = await OnBooksAsync(status, suppositions, books => books.Check(configuration), cancellation);
        return errors.IsEmpty
            ? new QueueCheck(true, [], QueueDifference.Between(Shell(status).Queues.Configuration, configuration))
            : new QueueCheck(false, [.. errors.Select(read.Locate)], []);
    }

    private static async Task<IResult> ChangeAsync(ClusterStatus status, ResourceManagerOptions options, string text, CancellationToken cancellation)
    {
        var read = QueueFileReader.Read(text);
        if (read.Configuration is not { } configuration)
        {
            return Refuse(read.Errors, "invalid");
        }
        var shell = Shell(status);
        var before = shell.Queues.Configuration;
        var fileWins = options.QueueFile.Length > 0;
        var errors = await ConfirmAsync(shell.TryChangeQueues(new QueuesInForce("api", text, read), keep: !fileWins), "The change of the queues", cancellation);
        if (!errors.IsEmpty)
        {
            return Refuse([.. errors.Select(read.Locate)], "in-use");
        }
        var lasts = fileWins
            ? $"Until {options.QueueFile} changes or the resource manager starts again: the file wins. Write it there too."
            : "Kept in the journal, over restarts.";
        return Results.Json(new QueueUpdate(shell.Queues.Version, QueueDifference.Between(before, configuration), lasts), ProtocolJson.Options);
    }

    private static IResult Refuse(ImmutableArray<QueueFileError> errors, string code) => Results.Json(
        new QueueRefusal($"The queues are refused and nothing was changed:{Environment.NewLine}{QueueFileResult.Describe(errors)}", code, errors),
        ProtocolJson.Options, statusCode: StatusCodes.Status400BadRequest);

    /// <summary>The answer of <c>/apps/{id}/why</c>.</summary>
    internal static ApplicationWhy Why(ApplicationSnapshot application)
    {
        var info = application.Info;
        return new ApplicationWhy(info.Id, info.Name, info.State, info.Queue, application.Asks.Sum(ask => ask.Outstanding),
            [.. application.Asks.Select(ask => new AskWhy(
                ask.AskId, ask.Resources, ask.Desired, ask.Live, ask.Outstanding,
                info.Waiting.Any(waiting => waiting.AskId == ask.AskId && waiting.Impossible), ask.Sentence, Causes(ask.Reasons)))]);
    }

    private static ImmutableArray<WaitingCause> Causes(ImmutableArray<WaitingReason> reasons) =>
        [.. reasons.Select(reason => new WaitingCause(Camel(reason.Kind), reason.Count, reason.Subject, reason.Need, reason.Have, reason.Limit, reason.Text))];

    private static async Task<ApplicationInfo> MoveAsync(ClusterStatus status, string id, MoveRequest request, CancellationToken cancellation)
    {
        var application = ClusterEndpoints.Find(status, id).Info;
        if (application.FinishedAt is not null)
        {
            throw RestException.Invalid($"Application {application.Id} is over and cannot be moved.");
        }
        if (request is { Queue: null, Priority: null })
        {
            throw RestException.Invalid("Say where to: {\"queue\": \"root.other\"}, a priority, or both.");
        }
        QueueName? queue = null;
        if (request.Queue is { } name)
        {
            var found = ClusterEndpoints.Snapshot(status).Queues.FirstOrDefault(one => one.Name.Value == name)
                ?? throw RestException.Invalid($"There is no queue '{name}': GET /api/v1/queues lists them.");
            if (!found.Leaf || found.State != QueueState.Running)
            {
                throw RestException.Invalid(found.Leaf ? $"Queue '{name}' is {Camel(found.State)} and takes no applications." : $"'{name}' has queues below it: applications live in leaves only.");
            }
            queue = found.Name;
        }
        await ConfirmAsync(Shell(status).TryPost(new ApplicationMoved(application.Id, queue, request.Priority)), $"The move of {application.Id}", cancellation);
        return ClusterEndpoints.Snapshot(status).FindApplication(application.Id)?.Info ?? application;
    }

    private static async Task<NodeInfo> DrainAsync(ClusterStatus status, string id, DrainRequest? request, HttpContext context)
    {
        var node = FindNode(status, id);
        if (request?.Reason is { Length: > MaximumReason })
        {
            throw RestException.Invalid($"The reason has {request.Reason.Length} characters: at most {MaximumReason} are kept.");
        }
        if (request?.DeadlineSeconds is { } seconds && !(seconds >= 0 && seconds <= 31_536_000))
        {
            throw RestException.Invalid($"A deadline of {seconds.ToString(CultureInfo.InvariantCulture)} s is not possible: 0 to 31536000, or none to wait for ever.");
        }
        var deadline = request?.DeadlineSeconds is { } after ? ClusterEndpoints.Snapshot(status).At.AddSeconds(after) : (DateTimeOffset?)null;
        var reason = $"Drained by an operator from {context.Connection.RemoteIpAddress}" + (string.IsNullOrWhiteSpace(request?.Reason) ? "." : $": {request.Reason}");
        await ConfirmAsync(Shell(status).TryPost(new NodeDrainRequested(node.Id, deadline, reason)), $"The drain of {node.Id}", context.RequestAborted);
        return FindNode(status, id);
    }

    private static async Task<NodeInfo> UndrainAsync(ClusterStatus status, string id, CancellationToken cancellation)
    {
        var node = FindNode(status, id);
        await ConfirmAsync(Shell(status).TryPost(new NodeDrainCancelled(node.Id)), $"The end of the drain of {node.Id}", cancellation);
        return FindNode(status, id);
    }

    private static NodeInfo FindNode(ClusterStatus status, string id) =>
        ClusterEndpoints.Snapshot(status).Nodes.FirstOrDefault(node => node.Id.Value == id)
        ?? throw RestException.NotFound($"There is no node '{id}': GET /api/v1/nodes lists those of this cluster.");

    private static async Task<PlanAnswer> PlanAsync(ClusterStatus status, SemaphoreSlim suppositions, PlanRequest request, CancellationToken cancellation)
    {
        if (request.Resources is null)
        {
            throw RestException.Invalid("Say what each container needs: \"resources\": {\"memoryBytes\": …, \"milliCores\": …}.");
        }
        if (request.Count is < 1 or > MaximumPlanned)
        {
            throw RestException.Invalid($"A plan is for 1 to {MaximumPlanned} containers, not {request.Count}.");
        }
        var id = new ApplicationId("plan-" + Guid.NewGuid().ToString("N"));
        var hypothesis = new Hypothesis
        {
            Submit = new RegisterApplication(id, "plan", request.User ?? "", request.Queue ?? "") { Priority = request.Priority },
            Asks = [new Ask(1, request.Resources, request.Count, new LaunchSpecification("plan", [])) { Partition = request.Partition ?? "" }],
        };
        var outcome = await SupposeAsync(status, suppositions, _ => hypothesis, cancellation);
        var places = outcome.Grants.Where(grant => grant.ApplicationId == id).Select(grant => new PlannedPlace(grant.NodeId, grant.Containers)).ToImmutableArray();
        var granted = places.Sum(place => place.Containers);
        var waiting = outcome.Waiting.FirstOrDefault(wait => wait.ApplicationId == id);
        return new PlanAnswer(
            outcome.Refusal.Length == 0 && granted == request.Count, outcome.Refusal, granted, places,
            waiting is null ? null : new AskWhy(1, request.Resources, request.Count, granted, waiting.Waiting.Outstanding, waiting.Waiting.Impossible, waiting.Waiting.Reason, Causes(waiting.Reasons)),
            Preempted(outcome.Preempted.Where(victim => victim.For == id)));
    }

    private static async Task<WhatIfAnswer> WhatIfAsync(ClusterStatus status, SemaphoreSlim suppositions, WhatIfRequest request, CancellationToken cancellation)
    {
        if (request.AddNodes is < 0 or > MaximumAddedNodes)
        {
            throw RestException.Invalid($"{request.AddNodes} nodes cannot be supposed: 0 to {MaximumAddedNodes}.");
        }
        if (request.AddNodes > 0 && request.Node is null)
        {
            throw RestException.Invalid("Say what each new node offers: \"node\": {\"memoryBytes\": …, \"milliCores\": …}.");
        }
        var removed = request.RemoveNodes.IsDefault ? [] : request.RemoveNodes;
        foreach (var node in removed)
        {
            FindNode(status, node.Value);
        }
        var ended = (request.Kill.IsDefault ? [] : request.Kill).Select(id => ClusterEndpoints.Find(status, id).Info.Id).ToImmutableArray();
        ClusterConfiguration? queues = null;
        if (request.Queues is { Length: > 0 })
        {
            var read = QueueFileReader.Read(request.Queues);
            queues = read.Configuration ?? throw RestException.Invalid($"The supposed queues are wrong:{Environment.NewLine}{QueueFileResult.Describe(read.Errors)}");
        }
        var outcome = await SupposeAsync(status, suppositions, books => new Hypothesis
        {
            AddNodes = [.. Enumerable.Range(1, request.AddNodes).Select(number =>
                new RegisterNode(new NodeId(string.Create(CultureInfo.InvariantCulture, $"new-node-{number}")), 1, request.Node!, "", "") { Partition = request.Partition ?? "" })],
            RemoveNodes = removed,
            End = ended,
            Configuration = request.Weights is null or { IsEmpty: true } ? queues : Weighted(queues ?? books.Configuration, request.Weights),
        }, cancellation);
        return new WhatIfAnswer(
            outcome.Refusal,
            [.. outcome.Grants.Select(grant => new WhatIfGrant(grant.ApplicationId, grant.AskId, grant.NodeId, grant.Containers))],
            [.. outcome.Waiting.Select(wait => new WhatIfWait(wait.ApplicationId, wait.Waiting.AskId, wait.Waiting.Outstanding, wait.Waiting.Impossible, wait.Waiting.Reason))],
            Preempted(outcome.Preempted));
    }

    private static ImmutableArray<PlannedPreemption> Preempted(IEnumerable<PreemptionVictim> victims) =>
        [.. victims.Select(victim => new PlannedPreemption(victim.ContainerId, victim.Owner, victim.NodeId, victim.For, victim.Reason))];

    private static ClusterConfiguration Weighted(ClusterConfiguration configuration, ImmutableSortedDictionary<string, decimal> weights)
    {
        foreach (var (path, weight) in weights)
        {
            if (weight is < 0 or > 1_000_000)
            {
                throw RestException.Invalid($"{weight.ToString(CultureInfo.InvariantCulture)} is no weight of {path}: 0 to 1000000.");
            }
            var parts = path.Split('.');
            configuration = parts is ["root", _, ..]
                ? configuration with { Root = Weighted(configuration.Root, parts.AsSpan(1), path, weight) }
                : throw RestException.Invalid($"'{path}' is no path of a queue below root, such as root.production.");
        }
        return configuration;
    }

    private static QueueConfiguration Weighted(QueueConfiguration queue, ReadOnlySpan<string> parts, string path, decimal weight)
    {
        if (parts.IsEmpty)
        {
            return queue with { Guarantee = Share.Weight(weight) };
        }
        for (var i = 0; i < queue.Queues.Length; i++)
        {
            if (queue.Queues[i].Name == parts[0])
            {
                return queue with { Queues = queue.Queues.SetItem(i, Weighted(queue.Queues[i], parts[1..], path, weight)) };
            }
        }
        throw RestException.Invalid($"There is no queue '{path}' in the queue file: GET /api/v1/queues lists them.");
    }

    private static Task<HypothesisOutcome> SupposeAsync(
        ClusterStatus status, SemaphoreSlim suppositions, Func<ClusterBooks, Hypothesis> hypothesis, CancellationToken cancellation) =>
        OnBooksAsync(status, suppositions, books => books.WhatIf(hypothesis(books)), cancellation);

    private static async Task<T> OnBooksAsync<T>(ClusterStatus status, SemaphoreSlim suppositions, Func<ClusterBooks, T> question, CancellationToken cancellation)
    {
        if (!await suppositions.WaitAsync(Patience, cancellation))
        {
            throw RestException.Busy("Other plans are being worked out: try again in a moment.");
        }
        try
        {
            var books = await ConfirmAsync(Shell(status).TryCopyBooks(), "The copy of the books", cancellation);
            return await Task.Run(() => question(books), cancellation);
        }
        finally
        {
            suppositions.Release();
        }
    }

    private static ClusterShell Shell(ClusterStatus status)
    {
        ClusterEndpoints.Snapshot(status);
        return status.Shell ?? throw RestException.NotReady("The scheduler is being started again: try again in a moment.");
    }

    private static Task<bool> ConfirmAsync(Task? done, string what, CancellationToken cancellation) => ConfirmAsync(Valued(done), what, cancellation);

    private static async Task<T> ConfirmAsync<T>(Task<T>? done, string what, CancellationToken cancellation)
    {
        if (done is null)
        {
            throw RestException.Busy("The resource manager has more to do than it can take: try again in a moment.");
        }
        try
        {
            return await done.WaitAsync(Patience, cancellation);
        }
        catch (Exception error) when (error is TimeoutException or TaskCanceledException && !cancellation.IsCancellationRequested)
        {
            throw RestException.Busy($"{what} was not confirmed within {Patience.TotalSeconds} s: look at the state, and try again.");
        }
    }

    private static Task<bool>? Valued(Task? task)
    {
        return task is null ? null : WaitAsync(task);

        static async Task<bool> WaitAsync(Task task)
        {
            await task;
            return true;
        }
    }

    private static async Task<string> BodyAsync(HttpContext context)
    {
        if (context.Request.ContentLength > QueueFileReader.MaximumBytes)
        {
            throw TooLarge();
        }
        using var body = new MemoryStream();
        var buffer = new byte[16 << 10];
        for (int read; (read = await context.Request.Body.ReadAsync(buffer, context.RequestAborted)) > 0;)
        {
            body.Write(buffer, 0, read);
            if (body.Length > QueueFileReader.MaximumBytes)
            {
                throw TooLarge();
            }
        }
        try
        {
            return new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(body.GetBuffer().AsSpan(0, (int)body.Length)).TrimStart('\uFEFF');
        }
        catch (DecoderFallbackException)
        {
            throw RestException.Invalid("The body is not UTF-8 text.");
        }
    }

    private static RestException TooLarge() =>
        new(StatusCodes.Status413PayloadTooLarge, "too-large", $"line 1: A queue file has at most {QueueFileReader.MaximumBytes} bytes; this body has more, and nothing was changed.");

    private static string Camel(Enum value) => JsonNamingPolicy.CamelCase.ConvertName(value.ToString());
}
