using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;

namespace Yarnish.Hosting;

/// <summary>W3C trace context as the one string that messages and environments carry (<c>traceparent</c>); empty means not traced.</summary>
public static class TraceContext
{
    /// <summary>The context of an activity as text; empty when there is none or it is not recorded, so that nothing below it is either.</summary>
    /// <param name="activity">The activity; null is allowed.</param>
    public static string Format(Activity? activity) =>
        activity is { IsAllDataRequested: true, ActivityTraceFlags: ActivityTraceFlags.Recorded } ? Format(activity.Context) : "";

    /// <summary>The context as text.</summary>
    /// <param name="context">A context; the default one gives empty text.</param>
    public static string Format(ActivityContext context) => context == default
        ? ""
        : $"00-{context.TraceId.ToHexString()}-{context.SpanId.ToHexString()}-{((context.TraceFlags & ActivityTraceFlags.Recorded) != 0 ? "01" : "00")}";

    /// <summary>Reads the text. False when it is empty or not a trace context: then nothing is traced, and nothing else is wrong.</summary>
    /// <param name="traceParent">The text; null is allowed.</param>
    /// <param name="context">The context, marked as remote.</param>
    public static bool TryParse([NotNullWhen(true)] string? traceParent, out ActivityContext context)
    {
        context = default;
        return !string.IsNullOrEmpty(traceParent) && ActivityContext.TryParse(traceParent, traceState: null, isRemote: true, out context) && context != default;
    }

    /// <summary>Starts an activity under the context in the text. Null when the text is empty, since a span without its parent helps nobody, or nobody listens.</summary>
    /// <param name="source">The source.</param>
    /// <param name="name">Low in cardinality: never an id.</param>
    /// <param name="traceParent">The parent; null is allowed.</param>
    /// <param name="kind">Internal unless a message or request starts it.</param>
    /// <param name="links">Other spans this one follows from.</param>
    public static Activity? StartUnder(
        this ActivitySource source, string name, string? traceParent, ActivityKind kind = ActivityKind.Internal, IEnumerable<ActivityLink>? links = null)
    {
        ArgumentNullException.ThrowIfNull(source);
        return TryParse(traceParent, out var parent) ? source.StartActivity(name, kind, parent, tags: null, links) : null;
    }
}
