using System.Collections.Immutable;
using System.CommandLine;
using System.Globalization;
using Yarnish.Protocol;

namespace Yarnish.Cli.Commands;

/// <summary><c>yarnish plan</c> and <c>yarnish what-if</c>: questions that change nothing.</summary>
internal static class PlanCommands
{
    public static Command Plan()
    {
        var memory = Amounts.Memory("--memory", "of each container");
        var cores = Amounts.Cores("--cores", "of each container");
        var custom = Amounts.Custom("--resource", "of each container");
        var count = new Option<int>("--count", "-n") { Description = "How many containers.", DefaultValueFactory = _ => 1 };
        var queue = new Option<string>("--queue") { Description = "The queue. Default: as the placement rules say.", DefaultValueFactory = _ => "" };
        var partition = new Option<string>("--partition") { Description = "Partition of nodes. Default: the default one.", DefaultValueFactory = _ => "" };
        var user = new Option<string>("--user") { Description = "Who would ask.", DefaultValueFactory = _ => Environment.UserName };
        var priority = new Option<int>("--priority") { Description = "Priority of the application." };
        var command = new Command("plan", "Would these containers be granted now, and where? If not: why, and what would unblock them. Exit code 3 when they would wait.")
        {
            memory, cores, custom, count, queue, partition, user, priority,
        };
        command.SetAction((parsed, cancellation) => CommandRunner.RunAsync(parsed, async (client, json) =>
        {
            var request = new PlanRequest(Amounts.Read(parsed, memory, cores, custom), parsed.GetValue(count))
            {
                Queue = parsed.GetValue(queue)!,
                Partition = parsed.GetValue(partition)!,
                User = parsed.GetValue(user)!,
                Priority = parsed.GetValue(priority),
            };
            var answer = await client.PlanAsync(request, cancellation).ConfigureAwait(false);
            if (json)
            {
                Output.PrintJson(answer);
            }
            else
            {
                Print(request, answer);
            }
            return answer.Fits ? ExitCodes.Success : ExitCodes.CannotBePlaced;
        }));
        return command;
    }

    public static Command WhatIf()
    {
        var add = new Option<int>("--add-nodes") { Description = "So many nodes join." };
        var memory = Amounts.Memory("--node-memory", "of each new node");
        var cores = Amounts.Cores("--node-cores", "of each new node");
        var custom = Amounts.Custom("--node-resource", "of each new node");
        var partition = new Option<string>("--node-partition") { Description = "Partition the new nodes join. Default: the default one.", DefaultValueFactory = _ => "" };
        var remove = new Option<string[]>("--remove-node") { Description = "This node is lost. May come several times." };
        var weight = new Option<string[]>("--weight") { Description = "A queue has another weight, such as root.a=3. May come several times." };
        var queues = new Option<string?>("--queues") { Description = "This queue file is in force." };
        var kill = new Option<string[]>("--kill") { Description = "This application ends. May come several times." };
        var command = new Command("what-if", "What would be granted, wait and be taken back if the cluster were different (or, with no option, as it is)? Nothing is changed.")
        {
            add, memory, cores, custom, partition, remove, weight, queues, kill,
        };
        command.SetAction((parsed, cancellation) => CommandRunner.RunAsync(parsed, async (client, json) =>
        {
            var request = new WhatIfRequest
            {
                AddNodes = parsed.GetValue(add),
                Node = parsed.GetValue(add) > 0 ? NewNode(Amounts.Read(parsed, memory, cores, custom)) : null,
                Partition = parsed.GetValue(partition)!,
                RemoveNodes = [.. (parsed.GetValue(remove) ?? []).Select(Node)],
                Weights = Weights(parsed.GetValue(weight) ?? []),
                Queues = parsed.GetValue(queues) is { } file ? QueueCommands.ReadGood(file) : "",
                Kill = [.. parsed.GetValue(kill) ?? []],
            };
            var answer = await client.WhatIfAsync(request, cancellation).ConfigureAwait(false);
            if (json)
            {
                Output.PrintJson(answer);
            }
            else if (answer.Refusal.Length == 0)
            {
                Print(answer);
            }
            return answer.Refusal.Length == 0 ? ExitCodes.Success : throw new CommandException(ExitCodes.Usage, $"That cannot be supposed: {answer.Refusal}");
        }));
        return command;
    }

    private static Resources NewNode(Resources node) => node is { MemoryBytes: > 0, MilliCores: > 0 }
        ? node
        : throw new CommandException(ExitCodes.Usage, "Say what each new node offers: --node-memory 64g --node-cores 16.");

    private static NodeId Node(string text)
    {
        try
        {
            return new NodeId(text);
        }
        catch (ArgumentException error)
        {
            throw new CommandException(ExitCodes.Usage, error.Message);
        }
    }

    private static ImmutableSortedDictionary<string, decimal> Weights(string[] texts)
    {
        var weights = ImmutableSortedDictionary.CreateBuilder<string, decimal>(StringComparer.Ordinal);
        foreach (var (queue, value) in Amounts.Pairs(texts, "--weight"))
        {
            weights[queue] = decimal.TryParse(value, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var number)
                ? number
                : throw new CommandException(ExitCodes.Usage, $"--weight {queue}={value}: '{value}' is not a number of 0 or more.");
        }
        return weights.ToImmutable();
    }

    private static void Print(PlanRequest request, PlanAnswer answer)
    {
        if (answer.Refusal.Length > 0)
        {
            Console.Out.WriteLine($"It would be refused: {answer.Refusal}");
            return;
        }
        Console.Out.WriteLine(answer.Fits
            ? $"It fits: {request.Count} x {request.Resources} would be granted at once."
            : $"It would wait: {answer.Granted} of {request.Count} x {request.Resources} would be granted at once.");
        foreach (var place in answer.Places)
        {
            Console.Out.WriteLine($"  {place.Containers} on {place.NodeId}");
        }
        if (answer.Waiting is { } waiting)
        {
            Console.Out.WriteLine(waiting.Sentence + (waiting.Impossible ? " Waiting longer does not help." : ""));
        }
        PrintPreempted(answer.Preempted);
    }

    private static void Print(WhatIfAnswer answer)
    {
        Console.Out.WriteLine(answer.Grants.IsEmpty ? "Nothing more would be granted at once." : "Granted at once:");
        foreach (var grant in answer.Grants)
        {
            Console.Out.WriteLine($"  {grant.Containers} on {grant.NodeId} for ask {grant.AskId} of {grant.ApplicationId}");
        }
        Console.Out.WriteLine(answer.Waiting.IsEmpty ? "Nothing would wait." : "Still waiting:");
        foreach (var wait in answer.Waiting)
        {
            Console.Out.WriteLine($"  ask {wait.AskId} of {wait.ApplicationId}: {wait.Sentence}{(wait.Impossible ? " Waiting longer does not help." : "")}");
        }
        PrintPreempted(answer.Preempted);
    }

    private static void PrintPreempted(ImmutableArray<PlannedPreemption> preempted)
    {
        foreach (var victim in preempted)
        {
            Console.Out.WriteLine($"  would stop {victim.ContainerId} of {victim.ApplicationId} on {victim.NodeId}: {victim.Reason}");
        }
    }
}
