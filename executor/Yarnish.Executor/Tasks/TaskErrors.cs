using System.Diagnostics;
using System.Reflection;
using System.Text;
using Yarnish.Protocol;

namespace Yarnish.Executor;

/// <summary>Describes what a task threw, for people who did not write Yarnish: their own frames first, ours below a line.</summary>
internal static class TaskErrors
{
    private const int LongestText = 16 * 1024;

    private static readonly HashSet<string> OwnAssemblies =
    [
        "Yarnish.Executor", "Yarnish.Driver", "Yarnish.Blocks", "Yarnish.Serialization", "Yarnish.Transport", "Yarnish.Dataflow", "Yarnish.Sql",
    ];

    /// <summary>The description: wrappers that add nothing are taken off, texts are bounded.</summary>
    public static RemoteError Describe(Exception error) => Describe(error, 0);

    /// <summary>The first exception of a type among an exception and all it wraps; null when there is none.</summary>
    public static T? Find<T>(Exception? error)
        where T : Exception => error switch
        {
            null => null,
            T found => found,
            AggregateException many => many.InnerExceptions.Select(Find<T>).FirstOrDefault(static found => found is not null),
            _ => Find<T>(error.InnerException),
        };

    private static RemoteError Describe(Exception error, int depth)
    {
        while (error is TargetInvocationException or TypeInitializationException or AggregateException { InnerExceptions.Count: 1 } && error.InnerException is { } wrapped)
        {
            error = wrapped;
        }
        string message;
        try
        {
            message = error.Message;
        }
        catch (Exception inner)
        {
            message = $"(its Message threw {inner.GetType().Name})";
        }
        return new RemoteError(error.GetType().FullName ?? error.GetType().Name, Bounded(message), Bounded(Stack(error)))
        {
            Inner = error.InnerException is { } cause && depth < 8 ? Describe(cause, depth + 1) : null,
        };
    }

    private static string Stack(Exception error)
    {
        var theirs = new StringBuilder();
        var ours = new StringBuilder();
        foreach (var frame in new StackTrace(error, fNeedFileInfo: true).GetFrames())
        {
            var own = frame.GetMethod()?.Module.Assembly.GetName().Name is { } assembly && OwnAssemblies.Contains(assembly);
            (own ? ours : theirs).Append(new StackTrace(frame).ToString().TrimEnd()).Append('\n');
        }
        if (theirs.Length > 0 && ours.Length > 0)
        {
            theirs.Append("   --- inside Yarnish ---\n");
        }
        return theirs.Append(ours).ToString().TrimEnd();
    }

    private static string Bounded(string? text) =>
        text is null ? "" : text.Length <= LongestText ? text : string.Concat(text.AsSpan(0, LongestText), $"… ({text.Length} characters)");
}
