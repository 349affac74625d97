using System.CommandLine;
using System.CommandLine.Parsing;
using Yarnish.Cli;
using Yarnish.Cli.Commands;

var root = new RootCommand("Runs distributed .NET programs on a fleet, and shows what they do.")
{
    CommandRunner.Address,
    CommandRunner.Secret,
    CommandRunner.Json,
    UpCommand.Create(),
    RunCommand.Create(),
    ApplicationCommands.Create(),
    NodeCommands.Create(),
    QueueCommands.Create(),
    PlanCommands.Plan(),
    PlanCommands.WhatIf(),
    HistoryCommand.Create(),
};

var parsed = root.Parse(args);
if (parsed.Errors.Count > 0)
{
    foreach (var error in parsed.Errors)
    {
        Console.Error.WriteLine("error: " + error.Message);
    }
    var names = new List<string> { "--help" };
    for (SymbolResult? at = parsed.CommandResult; at is CommandResult { Command: not RootCommand } command; at = at.Parent)
    {
        names.Insert(0, command.Command.Name);
    }
    Console.Error.WriteLine($"See 'yarnish {string.Join(' ', names)}'.");
    return ExitCodes.Usage;
}
// Commands tidy up by themselves when they are interrupted; they get the time they need.
return await parsed.InvokeAsync(new InvocationConfiguration { ProcessTerminationTimeout = Timeout.InfiniteTimeSpan });
