using System.CommandLine;
using System.Globalization;
using Yarnish.Status;

namespace Yarnish.Cli.Commands;

/// <summary><c>yarnish history</c>: applications that are over, from their event logs.</summary>
internal static class HistoryCommand
{
    public static Command Create()
    {
        var log = new Argument<string?>("log")
        {
            Description = "An application's id, or the beginning of it; or the directory or file of its log. Left out: what logs there are.",
            Arity = ArgumentArity.ZeroOrOne,
        };
        var directory = new Option<string>("--directory", "-d") { Description = "Where the logs are.", DefaultValueFactory = _ => EventLogs.DefaultDirectory };
        var serve = new Option<string?>("--serve")
        {
            Description = "Serve the status API of the driver from the log, at this URL; without one at a free port on loopback. Until Ctrl-C.",
            Arity = ArgumentArity.ZeroOrOne,
        };
        var stage = new Option<string?>("--stage") { Description = "One stage in detail: its number, or number.attempt; percentiles of its tasks, and those remembered one by one." };
        var command = new Command("history", "What an application did, from its event log: also of a driver that was killed.") { log, directory, stage, serve };
        command.SetAction((parsed, cancellation) => CommandRunner.GuardAsync(async () =>
        {
            var json = parsed.GetValue(CommandRunner.Json);
            var common = parsed.GetValue(directory)!;
            if (parsed.GetValue(log) is not { Length: > 0 } name)
            {
                List(common, json);
                return ExitCodes.Success;
            }
            var (reader, status) = Open(Find(common, name));
            if (parsed.GetResult(serve) is { Implicit: false })
            {
                await ServeAsync(status, parsed.GetValue(serve) ?? "http://127.0.0.1:0", cancellation).ConfigureAwait(false);
                return ExitCodes.Success;
            }
            if (parsed.GetValue(stage) is { Length: > 0 } wanted)
            {
                PrintStage(status, wanted, json);
                return ExitCodes.Success;
            }
            Print(reader, status, json);
            return ExitCodes.Success;
        }));
        return command;
    }

    private static void PrintStage(ApplicationStatus status, string wanted, bool json)
    {
        var parts = wanted.Split('.');
        if (parts.Length > 2 || !int.TryParse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            || !int.TryParse(parts.Length == 2 ? parts[1] : "0", NumberStyles.None, CultureInfo.InvariantCulture, out var attempt))
        {
            throw new CommandException(ExitCodes.Usage, $"'{wanted}' is no stage: write its number, such as 3, or number.attempt, such as 3.1.");
        }
        var attempts = status.Stages(number).Select(static stage => stage.Attempt).ToList();
        if (attempts.Count == 0 || (parts.Length == 2 && !attempts.Contains(attempt)))
        {
            throw new CommandException(ExitCodes.NotFound, $"The log knows no stage {wanted}, or it ended so long ago that only the totals remember it.");
        }
        // The last attempt when nobody says.
        var stage = status.Stage(number, parts.Length == 2 ? attempt : attempts[0])!;
        var (info, summary, tasks) = (stage.ToInfo(), stage.ToSummary(), stage.ToList(null, 0, 1000));
        if (json)
        {
            Output.PrintJson(new { Stage = info, Summary = summary, Tasks = tasks });
            return;
        }
        StatusText.PrintStage(info, summary, tasks);
    }

    private static void List(string common, bool json)
    {
        var logs = EventLogs.Below(common).Select(static log => new { Id = Path.GetFileName(log.Path), log.WrittenAt, log.Bytes, log.Path }).ToArray();
        if (json)
        {
            Output.PrintJson(logs);
            return;
        }
        Output.PrintTable(
            ["ID", "WRITTEN", "SIZE", "LOG"],
            logs.Select(log => new[] { log.Id, log.WrittenAt.ToLocalTime().ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture), Output.Bytes(log.Bytes), log.Path }),
            $"No event logs in {common}. Programs on a cluster write them unless Yarnish:EventLog is 'off'.");
    }

    /// <summary>The path itself, or the one log of that name or beginning.</summary>
    private static string Find(string common, string name)
    {
        if (Directory.Exists(name) || File.Exists(name))
        {
            return name;
        }
        var fitting = EventLogs.Below(common).Where(log => Path.GetFileName(log.Path).StartsWith(name, StringComparison.Ordinal)).ToList();
        return fitting.FirstOrDefault(log => Path.GetFileName(log.Path) == name).Path ?? fitting.Count switch
        {
            1 => fitting[0].Path,
            0 => throw new CommandException(ExitCodes.NotFound, $"There is no event log '{name}': neither a file or directory of that name, nor an application in {common}. 'yarnish history' lists what is there; --directory names another place."),
            _ => throw new CommandException(ExitCodes.NotFound, $"'{name}' fits {fitting.Count} logs in {common}: {string.Join(", ", fitting.Take(5).Select(log => Path.GetFileName(log.Path)))}. Write more of the id."),
        };
    }

    private static (EventLogReader Reader, ApplicationStatus Status) Open(string path)
    {
        try
        {
            var reader = new EventLogReader(path);
            return (reader, EventLogReader.Replay(reader));
        }
        catch (FileNotFoundException error)
        {
            throw new CommandException(ExitCodes.NotFound, $"{error.Message} A log is a directory with files events-*{EventLogs.Extension}, or one of them.");
        }
        catch (Exception error) when (error is InvalidDataException or IOException or UnauthorizedAccessException)
        {
            throw new CommandException(ExitCodes.Usage, $"The event log cannot be read: {error.Message}");
        }
    }

    private static void Print(EventLogReader reader, ApplicationStatus status, bool json)
    {
        var detail = status.ToDetail();
        var (jobs, stages, executors) = (status.Jobs().ToArray(), status.Stages().ToArray(), status.Executors().ToArray());
        if (json)
        {
            Output.PrintJson(new { Application = detail, Jobs = jobs, Stages = stages, Executors = executors, Collections = status.Collections().ToArray(), reader.CutOff });
            return;
        }
        var failures = stages.SelectMany(stage => status.Stage(stage.Id.Value, stage.Attempt)!.ToList(null, 0, 1000).Tasks
            .Where(static task => task.Error.Length > 0 && task.State is not "stopped").Select(task => (stage, task))).ToList();
        StatusText.Print(detail, jobs, stages, executors, failures);
        if (detail.EndedAt is null)
        {
            Console.Out.WriteLine($"The log has no end: the driver still runs, or it was killed. Above is how things stood {Output.Duration(DateTimeOffset.UtcNow - detail.LastEventAt)} ago.");
        }
        if (reader.CutOff.Length > 0)
        {
            Console.Out.WriteLine($"The log is damaged or cut off: {reader.CutOff}.");
        }
        if (reader.Skipped > 0)
        {
            Console.Out.WriteLine($"{reader.Skipped} lines are no events that this version of yarnish knows.");
        }
    }

    private static async Task ServeAsync(ApplicationStatus status, string url, CancellationToken cancellation)
    {
        StatusServer server;
        var gate = new Lock();
        try
        {
            server = StatusServer.Start(url, [], (read, _) =>
            {
                lock (gate)
                {
                    return Task.FromResult(read(status));
                }
            });
        }
        catch (Exception error) when (error is ArgumentException or System.Net.HttpListenerException or System.Net.Sockets.SocketException)
        {
            throw new CommandException(ExitCodes.Usage, $"The log cannot be served at '{url}': {error.Message}");
        }
        await using (server.ConfigureAwait(false))
        {
            Console.Out.WriteLine($"{server.Url}{StatusRoutes.Root}/{status.Id}");
            await Task.Delay(Timeout.Infinite, cancellation).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }
}
