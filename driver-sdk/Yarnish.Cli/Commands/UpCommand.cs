using System.CommandLine;
using System.Globalization;

namespace Yarnish.Cli.Commands;

/// <summary><c>yarnish up</c>: a resource manager and agents as processes on this machine, until Ctrl-C.</summary>
internal static class UpCommand
{
    public static Command Create()
    {
        var nodes = new Option<int>("--nodes") { Description = "How many node agents.", DefaultValueFactory = _ => 1 };
        var port = new Option<int>("--port") { Description = "Port of the resource manager on 127.0.0.1.", DefaultValueFactory = _ => 8088 };
        var cores = new Option<double?>("--node-cores") { Description = "Cores that each node offers. Default: those of this machine." };
        var memory = new Option<long?>("--node-memory") { Description = "Memory that each node offers, in MiB. Default: that of this machine, shared among the nodes." };
        var data = new Option<string>("--data") { Description = "Where the daemons keep their files and logs.", DefaultValueFactory = _ => Path.Combine(".run", "cluster") };
        var queues = new Option<string?>("--queues") { Description = "Queue file (YAML, docs/queues.md); watched, so an edit takes force by itself." };
        var command = new Command("up", "Runs a whole cluster on this machine until Ctrl-C. Needs RabbitMQ and Redis: infra/services.sh up.") { nodes, port, cores, memory, data, queues };
        command.SetAction((parsed, cancellation) => CommandRunner.GuardAsync(async () =>
        {
            var count = parsed.GetValue(nodes);
            if (count is < 1 or > 100)
            {
                throw new CommandException(ExitCodes.Usage, $"--nodes {count} is not possible: 1 to 100.");
            }
            if (parsed.GetValue(port) is < 1 or > 65535)
            {
                throw new CommandException(ExitCodes.Usage, $"--port {parsed.GetValue(port)} is not possible: 1 to 65535.");
            }
            var options = new LocalClusterOptions
            {
                Nodes = count,
                Port = parsed.GetValue(port),
                DataDirectory = Path.GetFullPath(parsed.GetValue(data)!),
                MilliCores = parsed.GetValue(cores) is { } given ? (long)(given * 1000) : null,
                MemoryBytes = parsed.GetValue(memory) is { } mebibytes ? mebibytes << 20 : GC.GetGCMemoryInfo().TotalAvailableMemoryBytes * 8 / 10 / count,
                QueueFile = parsed.GetValue(queues) is { } file ? Checked(file) : null,
                Secret = CommandRunner.Settings(parsed).Secret,
            };
            await using var cluster = new LocalCluster(options, Console.Error.WriteLine);
            await cluster.StartAsync(cancellation).ConfigureAwait(false);
            if (parsed.GetValue(CommandRunner.Json))
            {
                Output.PrintJson(new { address = cluster.Address, nodes = count, data = options.DataDirectory });
            }
            else
            {
                Console.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"The cluster is up: {cluster.Address}, {count} {(count == 1 ? "node" : "nodes")}. Ctrl-C stops it."));
                Console.Out.WriteLine("Try:  yarnish run driver-sdk/examples/WordCount    yarnish app list    yarnish node list");
            }
            return await cluster.WaitAsync(cancellation).ConfigureAwait(false);
        }));
        return command;
    }

    private static string Checked(string file)
    {
        QueueCommands.ReadGood(file);
        return Path.GetFullPath(file);
    }
}
