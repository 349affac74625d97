using System.Collections.Immutable;
using System.CommandLine;
using System.Globalization;
using Yarnish.Protocol;
using Yarnish.Queues;

namespace Yarnish.Cli.Commands;

/// <summary><c>yarnish queue validate|diff|show|reload</c>.</summary>
internal static class QueueCommands
{
    public static Command Create()
    {
        var command = new Command("queue", "Queues: check a queue file, show what is in force, put another into force.");
        command.Add(Validate());
        command.Add(Diff());
        command.Add(Show());
        command.Add(Reload());
        return command;
    }

    /// <summary>The text of a queue file that has no errors of its own.</summary>
    public static string ReadGood(string path)
    {
        var read = QueueFileReader.ReadFile(path, out var text);
        return read.Errors.IsEmpty ? text : throw new CommandException(ExitCodes.Usage, $"{path} is not a good queue file:{Environment.NewLine}{Describe(path, read.Errors)}");
    }

    private static string Describe(string path, IEnumerable<QueueFileError> errors) => string.Join(Environment.NewLine, errors.Select(error => $"{path}: {error}"));

    private static Argument<string> FileArgument() => new("file") { Description = "The queue file (YAML)." };

    private static Command Validate()
    {
        var file = FileArgument();
        var command = new Command("validate", "Check a queue file without a cluster: line and key of every error, exit code 2 when there is one.") { file };
        command.SetAction((parsed, _) => CommandRunner.GuardAsync(() =>
        {
            var path = parsed.GetRequiredValue(file);
            var read = QueueFileReader.ReadFile(path, out string _);
            if (parsed.GetValue(CommandRunner.Json))
            {
                Output.PrintJson(new QueueCheck(read.Errors.IsEmpty, read.Errors, []));
            }
            else if (read.Errors.IsEmpty)
            {
                Console.Out.WriteLine($"{path} is good.");
            }
            else
            {
                Console.Error.WriteLine(Describe(path, read.Errors));
            }
            return Task.FromResult(read.Errors.IsEmpty ? ExitCodes.Success : ExitCodes.Usage);
        }));
        return command;
    }

    private static Command Diff()
    {
        var file = FileArgument();
        var command = new Command("diff", "What a queue file would change on the cluster. Exit code 0: nothing, 1: something, 2: the file is wrong.") { file };
        command.SetAction((parsed, cancellation) => CommandRunner.RunAsync(parsed, async (client, json) =>
        {
            var path = parsed.GetRequiredValue(file);
            var check = await client.ValidateQueuesAsync(ReadGood(path), cancellation).ConfigureAwait(false);
            if (json)
            {
                Output.PrintJson(check);
            }
            else if (!check.Valid)
            {
                Console.Error.WriteLine(Describe(path, check.Errors));
            }
            else
            {
                PrintChanges(check.Changes, "No difference.");
            }
            return !check.Valid ? ExitCodes.Usage : check.Changes.IsEmpty ? ExitCodes.Success : ExitCodes.ApplicationFailed;
        }));
        return command;
    }

    private static Command Show()
    {
        var queue = new Argument<string?>("queue") { Description = "Only this queue and those below, such as root.production.", Arity = ArgumentArity.ZeroOrOne };
        var command = new Command("show", "The queues in force: shares, usage and what waits in each.") { queue };
        command.SetAction((parsed, cancellation) => CommandRunner.RunAsync(parsed, async (client, json) =>
        {
            var info = await client.QueuesAsync(cancellation).ConfigureAwait(false);
            if (parsed.GetValue(queue) is { } name)
            {
                info = info with { Queues = [.. info.Queues.Where(one => one.Name.Value == name || one.Name.Value.StartsWith(name + ".", StringComparison.Ordinal))] };
                if (info.Queues.IsEmpty)
                {
                    throw new CommandException(ExitCodes.NotFound, $"There is no queue '{name}'. 'yarnish queue show' lists them.");
                }
            }
            if (json)
            {
                Output.PrintJson(info);
                return ExitCodes.Success;
            }
            Output.PrintTable(
                ["QUEUE", "STATE", "SHARE", "GUARANTEE", "MAXIMUM", "ALLOCATED", "USED", "APPS", "WAITING"],
                info.Queues.Select(one => new[]
                {
                    one.Name.Value, one.State, one.ConfiguredGuarantee, Default(one.Guarantee), one.ConfiguredMaximum, Default(one.Allocated),
                    one.UsedPercent is { } used ? used.ToString("0.#", CultureInfo.InvariantCulture) + " %" : "no right",
                    string.Create(CultureInfo.InvariantCulture, $"{one.ActiveApplications}/{one.Applications}"), one.Outstanding.ToString(CultureInfo.InvariantCulture),
                }),
                "No queues.");
            Console.Out.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"Version {info.Version}, from {(info.Source == "file" ? info.File : info.Source)}, since {info.AppliedAt:u}."));
            if (info.Problem.Length > 0)
            {
                Console.Out.WriteLine($"The file {info.File} is wrong as it is now, the queues above stay:{Environment.NewLine}{info.Problem}");
            }
            return ExitCodes.Success;
        }));
        return command;
    }

    private static Command Reload()
    {
        var file = FileArgument();
        var command = new Command("reload", "Put a queue file into force, whole or not at all.") { file };
        command.SetAction((parsed, cancellation) => CommandRunner.RunAsync(parsed, async (client, json) =>
        {
            var update = await client.PutQueuesAsync(ReadGood(parsed.GetRequiredValue(file)), cancellation).ConfigureAwait(false);
            if (json)
            {
                Output.PrintJson(update);
                return ExitCodes.Success;
            }
            PrintChanges(update.Changes, "Nothing differs from what was in force.");
            Console.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"In force as version {update.Version}. {update.Lasts}"));
            return ExitCodes.Success;
        }));
        return command;
    }

    private static string Default(ImmutableSortedDictionary<string, Resources> partitions) => partitions.TryGetValue("", out var resources) ? resources.ToString() : "";

    private static void PrintChanges(IEnumerable<QueueChange> changes, string whenEmpty)
    {
        var any = false;
        foreach (var (key, before, after) in changes)
        {
            any = true;
            Console.Out.WriteLine((before, after) switch
            {
                (null, _) => $"+ {key}: {after}",
                (_, null) => $"- {key}: {before}",
                _ => $"~ {key}: {before} -> {after}",
            });
        }
        if (!any)
        {
            Console.Out.WriteLine(whenEmpty);
        }
    }
}
