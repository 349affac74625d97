using System.CommandLine;
using System.Globalization;
using Yarnish.Protocol;
using Yarnish.Status;

namespace Yarnish.Cli.Commands;

/// <summary><c>yarnish app list|show|why|move|kill|logs</c>.</summary>
internal static class ApplicationCommands
{
    public static Command Create()
    {
        var command = new Command("app", "Applications: list, show, explain, move, kill, read logs.");
        command.Add(List());
        command.Add(Show());
        command.Add(Why());
        command.Add(Move());
        command.Add(Kill());
        command.Add(Logs());
        return command;
    }

    private static Argument<string> Id() => new("id") { Description = "Id of the application, or the beginning of it." };

    private static Command List()
    {
        var command = new Command("list", "All applications the resource manager remembers, the newest first.");
        command.SetAction((parsed, cancellation) => CommandRunner.RunAsync(parsed, async (client, json) =>
        {
            var applications = await client.ApplicationsAsync(cancellation).ConfigureAwait(false);
            if (json)
            {
                Output.PrintJson(applications);
                return ExitCodes.Success;
            }
            Output.PrintTable(
                ["ID", "NAME", "USER", "QUEUE", "STATE", "CONTAINERS", "TASKS", "AGE"],
                applications.OrderByDescending(application => application.StartedAt).Select(application => new[]
                {
                    application.Id.Value, application.Name, application.User, application.Queue.Value, application.State,
                    application.Containers.ToString(CultureInfo.InvariantCulture), application.Progress.TasksSucceeded.ToString(CultureInfo.InvariantCulture), Age(application),
                }),
                "No applications. Start one with 'yarnish run PROJECT'.");
            return ExitCodes.Success;
        }));
        return command;
    }

    private static Command Show()
    {
        var id = Id();
        var command = new Command("show", "One application: what it did, what it holds, why it waits.") { id };
        command.SetAction((parsed, cancellation) => CommandRunner.RunAsync(parsed, async (client, json) =>
        {
            var application = await client.ApplicationAsync(parsed.GetRequiredValue(id), cancellation).ConfigureAwait(false);
            if (json)
            {
                Output.PrintJson(application);
                return ExitCodes.Success;
            }
            var progress = application.Progress;
            Output.PrintFields(
                ("Id", application.Id.Value),
                ("Name", application.Name),
                ("User", application.User),
                ("Queue", application.Queue.Value),
                ("State", application.State + (application.Diagnostics.Length > 0 ? $": {application.Diagnostics}" : "")),
                ("Age", Age(application)),
                ("Driver", application.Driver),
                ("Containers", $"{application.Containers} ({application.Allocated})"),
                ("Executors", $"{progress.Executors} alive, {progress.ExecutorsSeen} seen, {progress.ExecutorsLost} lost"),
                ("Jobs", $"{progress.JobsRunning} running, {progress.JobsSucceeded} succeeded, {progress.JobsFailed} failed"),
                ("Stages", $"{progress.StagesCompleted} completed"),
                ("Tasks", $"{progress.TasksSucceeded} succeeded, {progress.TasksFailed} failed, {progress.TasksRunning} running, {progress.TasksPending} pending"),
                ("Shuffled", $"{Output.Bytes(progress.ShuffleBytesWritten)} written, {Output.Bytes(progress.ShuffleBytesRead)} read"));
            if (progress.Activity.Length > 0)
            {
                Console.Out.WriteLine($"Now:        {progress.Activity}");
            }
            foreach (var waiting in application.Waiting)
            {
                Console.Out.WriteLine($"Waiting:    {waiting.Outstanding} containers of ask {waiting.AskId}: {waiting.Reason}");
            }
            await PrintDriverStatusAsync(client, application, cancellation).ConfigureAwait(false);
            return ExitCodes.Success;
        }));
        return command;
    }

    /// <summary>What the driver says of itself while it runs; where to look when it is over.</summary>
    private static async Task PrintDriverStatusAsync(ClusterClient client, ApplicationInfo application, CancellationToken cancellation)
    {
        if (application.StatusUrl.Length > 0)
        {
            Console.Out.WriteLine($"Status:     {application.StatusUrl}/api/v1/applications/{application.Id}");
            if (await client.DriverStatusAsync<StageInfo[]>(application, "/stages?length=20", cancellation).ConfigureAwait(false) is { } stages)
            {
                Console.Out.WriteLine();
                StatusText.PrintStages(stages, DateTimeOffset.UtcNow);
            }
            else
            {
                Console.Out.WriteLine("            (not reachable from here: ask on the driver's machine, or let it listen elsewhere with Yarnish:StatusUrl)");
            }
        }
        else if (Directory.Exists(EventLogs.DirectoryOf(EventLogs.DefaultDirectory, application.Id)))
        {
            Console.Out.WriteLine($"History:    yarnish history {application.Id}");
        }
    }

    private static Command Why()
    {
        var id = Id();
        var command = new Command("why", "Why an application waits: one sentence for each ask, with numbers and what would unblock it.") { id };
        command.SetAction((parsed, cancellation) => CommandRunner.RunAsync(parsed, async (client, json) =>
        {
            var why = await client.WhyAsync(parsed.GetRequiredValue(id), cancellation).ConfigureAwait(false);
            if (json)
            {
                Output.PrintJson(why);
                return ExitCodes.Success;
            }
            PrintWhy(why, Console.Out);
            return ExitCodes.Success;
        }));
        return command;
    }

    /// <summary>What <c>yarnish app why</c> prints for people.</summary>
    internal static void PrintWhy(ApplicationWhy why, TextWriter output)
    {
        output.WriteLine(why.Outstanding == 0
            ? $"{why.Id} ({why.Name}) is {why.State} in {why.Queue} and waits for nothing."
            : string.Create(CultureInfo.InvariantCulture, $"{why.Id} ({why.Name}) is {why.State} in {why.Queue} and waits for {why.Outstanding} {(why.Outstanding == 1 ? "container" : "containers")}:"));
        foreach (var ask in why.Asks.Where(ask => ask.Outstanding > 0))
        {
            output.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"  ask {ask.AskId} ({ask.Live} of {ask.Desired} live): {ask.Sentence}{(ask.Impossible ? " Waiting longer does not help." : "")}"));
        }
    }

    private static Command Move()
    {
        var id = Id();
        var queue = new Option<string?>("--queue") { Description = "The leaf queue to move to." };
        var priority = new Option<int?>("--priority") { Description = "The new priority." };
        var command = new Command("move", "Move an application to another queue, or change its priority.") { id, queue, priority };
        command.SetAction((parsed, cancellation) => CommandRunner.RunAsync(parsed, async (client, json) =>
        {
            var application = await client.MoveAsync(parsed.GetRequiredValue(id), new MoveRequest(parsed.GetValue(queue), parsed.GetValue(priority)), cancellation).ConfigureAwait(false);
            if (json)
            {
                Output.PrintJson(application);
            }
            else
            {
                Console.Out.WriteLine($"{application.Id} ({application.Name}) is in {application.Queue}.");
            }
            return ExitCodes.Success;
        }));
        return command;
    }

    private static Command Kill()
    {
        var id = Id();
        var reason = new Option<string>("--reason", "-m") { Description = "Why, for its owner.", DefaultValueFactory = _ => "" };
        var command = new Command("kill", "End an application and everything it runs.") { id, reason };
        command.SetAction((parsed, cancellation) => CommandRunner.RunAsync(parsed, async (client, json) =>
        {
            var application = await client.ApplicationAsync(parsed.GetRequiredValue(id), cancellation).ConfigureAwait(false);
            var text = parsed.GetValue(reason) is { Length: > 0 } given ? given : $"{Environment.UserName} used 'yarnish app kill'";
            await client.KillAsync(application.Id.Value, text, cancellation).ConfigureAwait(false);
            if (json)
            {
                Output.PrintJson(await client.ApplicationAsync(application.Id.Value, cancellation).ConfigureAwait(false));
            }
            else
            {
                Console.Out.WriteLine($"{application.Id} ({application.Name}) is being killed.");
            }
            return ExitCodes.Success;
        }));
        return command;
    }

    private static Command Logs()
    {
        var id = Id();
        var follow = new Option<bool>("--follow", "-f") { Description = "Keep reading until the containers end." };
        var container = new Option<string?>("--container") { Description = "Only this container." };
        var stream = new Option<string>("--stream") { Description = "stdout, stderr or both.", DefaultValueFactory = _ => "both" };
        stream.AcceptOnlyFromAmong("stdout", "stderr", "both");
        var command = new Command("logs", "What the containers of an application wrote, read from their nodes.") { id, follow, container, stream };
        command.SetAction((parsed, cancellation) => CommandRunner.RunAsync(parsed, async (client, json) =>
        {
            var application = await client.ApplicationAsync(parsed.GetRequiredValue(id), cancellation).ConfigureAwait(false);
            var containers = await client.ContainersAsync(application.Id.Value, cancellation).ConfigureAwait(false);
            if (parsed.GetValue(container) is { } wanted)
            {
                containers = [.. containers.Where(one => one.Id.Value == wanted)];
                if (containers.Length == 0)
                {
                    throw new CommandException(ExitCodes.NotFound, $"Application {application.Id} has no container '{wanted}'.");
                }
            }
            if (json)
            {
                Output.PrintJson(containers);
                return ExitCodes.Success;
            }
            var choice = parsed.GetValue(stream);
            string[] streams = choice == "both" ? ["stdout", "stderr"] : [choice!];
            return parsed.GetValue(follow)
                ? await FollowAsync(client, containers, streams, cancellation).ConfigureAwait(false)
                : await PrintAsync(client, containers, streams, cancellation).ConfigureAwait(false);
        }));
        return command;
    }

    private static async Task<int> PrintAsync(ClusterClient client, ContainerInfo[] containers, string[] streams, CancellationToken cancellation)
    {
        using var output = Console.OpenStandardOutput();
        foreach (var container in containers.OrderBy(container => container.Id))
        {
            foreach (var stream in streams)
            {
                Console.Out.WriteLine($"==> {container.Id} on {container.NodeId}, {stream} <==");
                await Console.Out.FlushAsync(cancellation).ConfigureAwait(false);
                if (!await client.CopyLogAsync(container, stream, follow: false, output, cancellation).ConfigureAwait(false))
                {
                    Console.Out.WriteLine($"(not available: {container.NodeId} does not answer or has removed it)");
                }
            }
        }
        return ExitCodes.Success;
    }

    // Each line is printed whole and says where it comes from.
    private static async Task<int> FollowAsync(ClusterClient client, ContainerInfo[] containers, string[] streams, CancellationToken cancellation)
    {
        var gate = new Lock();
        await Task.WhenAll(containers.SelectMany(container => streams.Select(async stream =>
        {
            using var lines = new LineStream(line =>
            {
                lock (gate)
                {
                    Console.Out.WriteLine($"{container.Id} {line}");
                }
            });
            await client.CopyLogAsync(container, stream, follow: true, lines, cancellation).ConfigureAwait(false);
        }))).ConfigureAwait(false);
        return ExitCodes.Success;
    }

    private static string Age(ApplicationInfo application) => Output.Duration((application.FinishedAt ?? DateTimeOffset.UtcNow) - application.StartedAt);
}
