using System.Collections.Immutable;
using System.Globalization;
using Yarnish.Protocol;

namespace Yarnish.Status;

/// <summary>Which address shows what of a status; the same for a driver that runs and for a log. Pure: a path and a query in, a record out.</summary>
internal static class StatusRoutes
{
    /// <summary>Where every address begins.</summary>
    public const string Root = "/api/v1/applications";

    /// <summary>Jobs, stages, executors or tasks in one answer when nobody says, and at most.</summary>
    private const int DefaultLength = 100;
    private const int MaximumLength = 1000;

    private const string Known =
        "jobs, jobs/{id}, stages, stages/{id}, stages/{id}/{attempt}, stages/{id}/{attempt}/taskSummary, stages/{id}/{attempt}/taskList, executors, collections, environment, accumulators";

    /// <summary>The answer to a request: a status code and a record, an <see cref="ErrorInfo"/> when it is not 200.</summary>
    /// <param name="status">The status.</param>
    /// <param name="path">The path, decoded, without the query.</param>
    /// <param name="query">A value of the query by its name; null when it is not there.</param>
    public static (int Code, object Body) Answer(ApplicationStatus status, string path, Func<string, string?> query)
    {
        if (status.Id is not { } id)
        {
            return (503, new ErrorInfo("Nothing is known of the application yet; try again in a moment.", "not-ready"));
        }
        if (!path.StartsWith(Root, StringComparison.Ordinal) || (path.Length > Root.Length && path[Root.Length] != '/'))
        {
            return NotFound($"Nothing is at {Shown(path)}; this is the driver of an application: see {Root}.");
        }
        var parts = path[Root.Length..].Split('/', StringSplitOptions.RemoveEmptyEntries);
        if (parts.Length == 0)
        {
            return (200, new[] { status.ToDetail() });
        }
        if (parts[0] != id.Value)
        {
            return NotFound($"This is the driver of {id}, not of {Shown(parts[0])}.");
        }
        try
        {
            return parts[1..] switch
            {
                [] => (200, status.ToDetail()),
                ["jobs"] => (200, Page(status.Jobs(), query, static job => job.State)),
                ["jobs", var job] when Number(job) is { } number => Found(status.Job(number), $"job {number}", "jobs"),
                ["stages"] => (200, Page(status.Stages(), query, static stage => stage.State)),
                ["stages", var stage] when Number(stage) is { } number => Found(Some(status.Stages(number)), $"stage {number}", "stages"),
                ["stages", var stage, var attempt] when (Number(stage), Number(attempt)) is ({ } number, { } tries) =>
                    Found(status.Stage(number, tries)?.ToInfo(), $"attempt {tries} of stage {number}", "stages"),
                ["stages", var stage, var attempt, "taskSummary"] when (Number(stage), Number(attempt)) is ({ } number, { } tries) =>
                    Found(status.Stage(number, tries)?.ToSummary(), $"attempt {tries} of stage {number}", "stages"),
                ["stages", var stage, var attempt, "taskList"] when (Number(stage), Number(attempt)) is ({ } number, { } tries) =>
                    Found(status.Stage(number, tries)?.ToList(query("state"), Offset(query), Length(query)), $"attempt {tries} of stage {number}", "stages"),
                ["executors"] => (200, Page(status.Executors(), query, static executor => executor.State)),
                ["collections"] => (200, Page(status.Collections(), query, null)),
                ["environment"] => (200, status.Environment),
                ["accumulators"] => (200, Page(status.Accumulators(), query, null)),
                _ => NotFound($"Nothing is at {Shown(path)}; below {Root}/{id} are {Known}."),
            };
        }
        catch (FormatException error)
        {
            return (400, new ErrorInfo(error.Message, "invalid"));
        }
    }

    private static (int, object) NotFound(string error) => (404, new ErrorInfo(error, "not-found"));

    private static (int, object) Found(object? record, string what, string list) =>
        record is not null ? (200, record) : NotFound($"There is no {what}, or it ended so long ago that only the totals remember it: see {list}.");

    private static ImmutableArray<StageInfo>? Some(IEnumerable<StageInfo> stages) => stages.ToImmutableArray() is { Length: > 0 } some ? some : null;

    private static T[] Page<T>(IEnumerable<T> items, Func<string, string?> query, Func<T, string>? state)
    {
        if (query("state") is { Length: > 0 } wanted && state is not null)
        {
            items = items.Where(item => state(item) == wanted);
        }
        return [.. items.Skip(Offset(query)).Take(Length(query))];
    }

    private static int Offset(Func<string, string?> query) => Bounded(query, "offset", 0, int.MaxValue);

    private static int Length(Func<string, string?> query) => Bounded(query, "length", DefaultLength, MaximumLength);

    private static int Bounded(Func<string, string?> query, string name, int otherwise, int most) => query(name) switch
    {
        null or "" => otherwise,
        var text => int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var value) && value <= most
            ? value
            : throw new FormatException($"'{name}={Shown(text)}' must be a whole number from 0 to {most}."),
    };

    // The parser takes zero bytes at the end for nothing.
    private static int? Number(string text) => !text.Contains('\0', StringComparison.Ordinal) && int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : null;

    private static string Shown(string text) => text.Length <= 200 ? text : text[..200] + "…";
}
