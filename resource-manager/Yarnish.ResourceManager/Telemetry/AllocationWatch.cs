using System.Diagnostics;
using Yarnish.Protocol;
using Yarnish.Scheduling;

namespace Yarnish.ResourceManager.Telemetry;

/// <summary>
/// Follows each container from the wish for it to its running process: span <c>container.allocate</c> under the ask's (or else the application's) trace,
/// handed on in <see cref="LaunchContainer.TraceParent"/>, and the time that asks wait. Watches events and effects of the cluster core from outside;
/// owned by the shell's loop.
/// </summary>
internal sealed class AllocationWatch(ClusterInstruments instruments)
{
    /// <summary>Name of the activity source and of the meter.</summary>
    public const string SourceName = "Yarnish.ResourceManager";

    // Spans that may be open at a time; containers beyond it go untraced.
    private const int OpenSpans = 10_000;

    private static readonly ActivitySource Source = new(SourceName);

    private readonly Dictionary<ApplicationId, Application> _applications = [];
    private readonly Dictionary<ContainerId, (ApplicationId Application, Activity? Span)> _starting = [];

    /// <summary>An event is about to be applied.</summary>
    public void Before(ClusterEvent @event, DateTimeOffset now)
    {
        switch (@event)
        {
            case AsksUpdated { Message: var update } when _applications.TryGetValue(update.ApplicationId, out var application):
                application.Update(update, now);
                break;
            case ContainerBegan { Message: var began } when _starting.Remove(began.ContainerId, out var starting):
                if (starting.Span is { } span)
                {
                    span.SetTag("process.pid", began.ProcessId);
                    End(span, now);
                }
                break;
        }
    }

    /// <summary>An effect of it is about to be performed.</summary>
    /// <returns>The effect, or one that carries the trace on.</returns>
    public ClusterEffect After(ClusterEffect effect, DateTimeOffset now)
    {
        switch (effect)
        {
            case WriteJournal { Record: ApplicationAccepted accepted }:
                Know(accepted);
                return effect;
            case SendToNode { Message: LaunchContainer launch } send:
                return send with { Message = Launched(launch, send.NodeId, now) };
            case SendToApplication { Message: ContainersCompleted completed } send:
                foreach (var completion in completed.Completions)
                {
                    Completed(send.ApplicationId, completion, now);
                }
                return effect;
            case ApplicationClosed closed:
                _applications.Remove(closed.ApplicationId);
                Abandon(application => application == closed.ApplicationId, "application ended", now);
                return effect;
            default:
                return effect;
        }
    }

    /// <summary>An application that the journal remembers, or one accepted now.</summary>
    public void Know(ApplicationAccepted accepted)
    {
        if (_applications.TryGetValue(accepted.Registration.ApplicationId, out var known))
        {
            known.Queue = accepted.Queue.Value;
        }
        else
        {
            _applications[accepted.Registration.ApplicationId] = new Application(accepted.Registration.TraceParent) { Queue = accepted.Queue.Value };
        }
    }

    /// <summary>The shell ends: what is still open ends here, or it would never be exported.</summary>
    public void Close(DateTimeOffset now) => Abandon(static _ => true, "resource manager stopped", now);

    private void Abandon(Func<ApplicationId, bool> which, string why, DateTimeOffset now)
    {
        foreach (var (container, starting) in _starting)
        {
            if (which(starting.Application))
            {
                _starting.Remove(container);
                if (starting.Span is { } span)
                {
                    span.AddEvent(new ActivityEvent(why, now));
                    End(span, now);
                }
            }
        }
    }

    private LaunchContainer Launched(LaunchContainer launch, NodeId node, DateTimeOffset now)
    {
        Activity? span;
        if (_starting.TryGetValue(launch.ContainerId, out var starting))
        {
            span = starting.Span;
            // Sent again because the agent did not confirm: the same allocation still.
            span?.AddEvent(new ActivityEvent("launch repeated", now));
            return span is null ? launch : launch with { TraceParent = span.Id! };
        }
        var application = _applications.GetValueOrDefault(launch.ApplicationId);
        var since = application?.Waiting.GetValueOrDefault(launch.AskId)?.Since ?? now;
        instruments.Granted(now - since, application?.Queue ?? "");
        if (_starting.Count >= OpenSpans)
        {
            return launch;
        }
        span = null;
        var parent = launch.TraceParent.Length > 0 ? launch.TraceParent : application?.TraceParent ?? "";
        if (ActivityContext.TryParse(parent, null, isRemote: true, out var context))
        {
            span = Source.CreateActivity("container.allocate", ActivityKind.Internal, context);
        }
        _starting[launch.ContainerId] = (launch.ApplicationId, span);
        if (span is null)
        {
            return parent == launch.TraceParent ? launch : launch with { TraceParent = parent };
        }
        span.SetStartTime(since.UtcDateTime);
        span.Start();
        // The loop goes on to other containers: nothing else may become a child of this span by accident.
        Activity.Current = null;
        span.SetTag("yarnish.app", launch.ApplicationId.Value);
        span.SetTag("yarnish.container", launch.ContainerId.Value);
        span.SetTag("yarnish.ask", launch.AskId);
        span.SetTag("yarnish.node", node.Value);
        span.SetTag("yarnish.queue", application?.Queue);
        span.AddEvent(new ActivityEvent("granted", now));
        return launch with { TraceParent = span.Id! };
    }

    private void Completed(ApplicationId application, ContainerCompletion completion, DateTimeOffset now)
    {
        if (_applications.TryGetValue(application, out var known) && known.Waiting.TryGetValue(completion.AskId, out var ask))
        {
            // Whatever replaces it has been waited for since now.
            ask.Since = now;
        }
        if (_starting.Remove(completion.ContainerId, out var starting) && starting.Span is { } span)
        {
            span.SetTag("yarnish.exit.cause", completion.Exit.Cause.ToString());
            if (completion.Exit.Cause is not (ContainerExitCause.Completed or ContainerExitCause.Released or ContainerExitCause.ApplicationEnded))
            {
                span.SetStatus(ActivityStatusCode.Error, completion.Exit.Diagnostics);
            }
            End(span, now);
        }
    }

    private static void End(Activity span, DateTimeOffset now)
    {
        span.SetEndTime(now.UtcDateTime > span.StartTimeUtc ? now.UtcDateTime : span.StartTimeUtc.AddTicks(1));
        span.Stop();
        Activity.Current = null;
        span.Dispose();
    }

    private sealed class Application(string traceParent)
    {
        private long _sequence = -1;

        public string TraceParent { get; } = traceParent;

        public string Queue { get; set; } = "";

        public Dictionary<long, Ask> Waiting { get; private set; } = [];

        public void Update(UpdateAsks update, DateTimeOffset now)
        {
            if (update.Sequence < _sequence || update.Asks.IsDefault)
            {
                return;
            }
            _sequence = update.Sequence;
            var next = new Dictionary<long, Ask>(update.Asks.Length);
            foreach (var ask in update.Asks)
            {
                var known = Waiting.GetValueOrDefault(ask.AskId);
                if (known is null || ask.Desired > known.Desired)
                {
                    known = new Ask { Since = now };
                }
                known.Desired = ask.Desired;
                next[ask.AskId] = known;
            }
            Waiting = next;
        }
    }

    private sealed class Ask
    {
        public int Desired { get; set; }

        public DateTimeOffset Since { get; set; }
    }
}
