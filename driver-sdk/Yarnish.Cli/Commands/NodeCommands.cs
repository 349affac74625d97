using System.CommandLine;
using System.Globalization;

namespace Yarnish.Cli.Commands;

/// <summary><c>yarnish node list</c>.</summary>
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
        return command;
    }
}
