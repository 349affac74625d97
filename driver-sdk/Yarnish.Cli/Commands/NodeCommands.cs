using System.CommandLine;
using System.Globalization;
using Yarnish.Protocol;

namespace Yarnish.Cli.Commands;

/// <summary><c>yarnish node list|drain|undrain</c>.</summary>
internal static class NodeCommands
{
    public static Command Create()
    {
        var command = new Command("node", "Nodes of the fleet.");
        var list = new Command("list", "All nodes, what they offer and what is granted on them.");
        list.SetAction((parsed, cancellation) => CommandRunner.RunAsync(parsed, async (client, json) =>
        {
            var nodes = await client.NodesAsync(cancellation).ConfigureAwait(false);
            if (json)
            {
                Output.PrintJson(nodes);
                return ExitCodes.Success;
            }
            Output.PrintTable(
                ["ID", "STATE", "HOST", "CONTAINERS", "ALLOCATED", "CAPACITY", "HEARTBEAT", "REASON"],
                nodes.OrderBy(node => node.Id).Select(node => new[]
                {
                    node.Id.Value, node.State, node.Host, node.Containers.ToString(CultureInfo.InvariantCulture), node.Allocated.ToString(), node.Capacity.ToString(),
                    Output.Duration(DateTimeOffset.UtcNow - node.LastHeartbeat) + " ago", node.Reason,
                }),
                "No nodes. Start agents, or a whole cluster on this machine with 'yarnish up'.");
            return ExitCodes.Success;
        }));
        command.Add(list);
        command.Add(Drain());
        command.Add(Undrain());
        return command;
    }

    private static Argument<string> Id() => new("id") { Description = "Id of the node." };

    private static Command Drain()
    {
        var id = Id();
        var reason = new Option<string?>("--reason", "-m") { Description = "Why, for people." };
        var deadline = new Option<double?>("--deadline") { Description = "After so many seconds what still runs is stopped. Default: it may run for ever." };
        var command = new Command("drain", "Grant nothing new on a node, and stop what still runs there at a deadline. Survives restarts.") { id, reason, deadline };
        command.SetAction((parsed, cancellation) => CommandRunner.RunAsync(parsed, async (client, json) =>
        {
            var node = await client.DrainAsync(parsed.GetRequiredValue(id), new DrainRequest(parsed.GetValue(reason), parsed.GetValue(deadline)), cancellation).ConfigureAwait(false);
            Print(node, json, $"{node.Id} drains; {node.Containers} containers still run there. 'yarnish node undrain {node.Id}' takes it back.");
            return ExitCodes.Success;
        }));
        return command;
    }

    private static Command Undrain()
    {
        var id = Id();
        var command = new Command("undrain", "Let a node take containers again.") { id };
        command.SetAction((parsed, cancellation) => CommandRunner.RunAsync(parsed, async (client, json) =>
        {
            var node = await client.UndrainAsync(parsed.GetRequiredValue(id), cancellation).ConfigureAwait(false);
            Print(node, json, $"{node.Id} is {node.State}.");
            return ExitCodes.Success;
        }));
        return command;
    }

    private static void Print(NodeInfo node, bool json, string text)
    {
        if (json)
        {
            Output.PrintJson(node);
        }
        else
        {
            Console.Out.WriteLine(text);
        }
    }
}
