using System.CommandLine;
using System.CommandLine.Parsing;
using System.Diagnostics;

namespace Yarnish.Cli.Commands;

/// <summary><c>yarnish run PROJECT|FILE|DLL [-- args]</c>: the driver runs here, its executors on the cluster.</summary>
internal static class RunCommand
{
    public static Command Create()
    {
        var program = new Argument<string>("program") { Description = "A project (folder or .csproj) or a program of one file (.cs), which is built first, or the .dll of a built program." };
        var arguments = new Argument<string[]>("arguments") { Description = "What the program gets; write -- before them.", Arity = ArgumentArity.ZeroOrMore };
        var name = new Option<string?>("--name") { Description = "Name of the application." };
        var queue = new Option<string?>("--queue") { Description = "Queue of capacity to ask from." };
        var executors = new Option<string?>("--executors") { Description = "How many executors: a number, or a range such as 1..8." };
        var cores = new Option<int?>("--cores") { Description = "Slots of each executor." };
        var memory = new Option<string?>("--memory") { Description = "Memory of each executor, with a unit: 512m, 2g." };
        var settings = new Option<string[]>("--conf") { Description = "Any further setting of the program, as Key=Value.", AllowMultipleArgumentsPerToken = false };
        var command = new Command("run", "Runs a program on the cluster: its driver here, its executors there. Exits with the program's code.") { program, arguments, name, queue, executors, cores, memory, settings };
        command.SetAction((parsed, cancellation) => CommandRunner.GuardAsync(async () =>
        {
            RequireKnownOptions(parsed);
            var cluster = CommandRunner.Settings(parsed);
            // A cluster that does not answer is told before anything is built.
            using (var client = new ClusterClient(cluster))
            {
                await client.ClusterAsync(cancellation).ConfigureAwait(false);
            }
            var variables = new Dictionary<string, string?>
            {
                ["Yarnish__Address"] = cluster.Address,
                ["Yarnish__Secret"] = cluster.Secret,
            };
            Set("Name", parsed.GetValue(name));
            Set("Queue", parsed.GetValue(queue));
            Set("ExecutorCores", parsed.GetValue(cores)?.ToString(System.Globalization.CultureInfo.InvariantCulture));
            Set("ExecutorMemory", parsed.GetValue(memory));
            Set("Executors", parsed.GetValue(executors));
            foreach (var setting in parsed.GetValue(settings) ?? [])
            {
                if (setting.Split('=', 2) is not [{ Length: > 0 } key, var value])
                {
                    throw new CommandException(ExitCodes.Usage, $"--conf '{setting}' is not of the form Key=Value.");
                }
                Set(key.Replace(".", "__", StringComparison.Ordinal).Replace(":", "__", StringComparison.Ordinal), value);
            }

            var path = await ProgramPathAsync(parsed.GetRequiredValue(program), cancellation).ConfigureAwait(false);
            return await ExecuteAsync(path, parsed.GetValue(arguments) ?? [], variables, cancellation).ConfigureAwait(false);

            void Set(string key, string? value)
            {
                if (value is not null)
                {
                    variables["Yarnish__" + key] = value;
                }
            }
        }));
        return command;
    }

    // An option of ours with a letter wrong must not become an argument of the program.
    private static void RequireKnownOptions(ParseResult parsed)
    {
        var unknown = parsed.Tokens
            .TakeWhile(static token => token.Type != TokenType.DoubleDash)
            .FirstOrDefault(static token => token.Type == TokenType.Argument && token.Value.Length > 1 && token.Value[0] == '-');
        if (unknown is not null)
        {
            throw new CommandException(ExitCodes.Usage, $"'yarnish run' has no option '{unknown.Value}': see 'yarnish run --help'. Write -- before arguments of the program.");
        }
    }

    /// <summary>The .dll to run; a project is built in Release first.</summary>
    private static async Task<string> ProgramPathAsync(string program, CancellationToken cancellation)
    {
        if (program.EndsWith(".dll", StringComparison.OrdinalIgnoreCase))
        {
            return File.Exists(program)
                ? Path.GetFullPath(program)
                : throw new CommandException(ExitCodes.Usage, $"There is no program '{program}' (looked from {Directory.GetCurrentDirectory()}).");
        }
        if (!Directory.Exists(program) && !File.Exists(program))
        {
            throw new CommandException(ExitCodes.Usage, $"There is no project '{program}' (looked from {Directory.GetCurrentDirectory()}). Name a project folder, a .csproj, a .cs file that is a program, or a built .dll.");
        }
        // Without a target, asking for a property would only evaluate the project.
        var (exitCode, output) = await CaptureAsync(["build", program, "-c", "Release", "-nologo", "-v", "quiet", "-getProperty:TargetPath", "-target:Build"], cancellation).ConfigureAwait(false);
        var target = output.Trim();
        return exitCode == 0 && File.Exists(target)
            ? target
            : throw new CommandException(ExitCodes.Usage, $"'{program}' cannot be built:{Environment.NewLine}{output.TrimEnd()}");
    }

    private static async Task<(int ExitCode, string Output)> CaptureAsync(string[] arguments, CancellationToken cancellation)
    {
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true };
        foreach (var argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }
        using var process = Process.Start(start)!;
        var output = await process.StandardOutput.ReadToEndAsync(cancellation).ConfigureAwait(false);
        await process.WaitForExitAsync(cancellation).ConfigureAwait(false);
        return (process.ExitCode, output);
    }

    private static async Task<int> ExecuteAsync(string path, string[] arguments, Dictionary<string, string?> variables, CancellationToken cancellation)
    {
        var start = new ProcessStartInfo("dotnet");
        start.ArgumentList.Add(path);
        foreach (var argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }
        foreach (var (name, value) in variables)
        {
            start.Environment[name] = value;
        }
        using var process = Process.Start(start)!;
        try
        {
            await process.WaitForExitAsync(cancellation).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            // Ctrl-C reaches the whole terminal group: the program got it too and ends its application in good order (its session lets a SIGTERM after that pass). A bare SIGTERM did not.
            await ProcessSignals.TerminateAsync(process, TimeSpan.FromSeconds(30)).ConfigureAwait(false);
            return ExitCodes.Interrupted;
        }
        return process.ExitCode;
    }
}
