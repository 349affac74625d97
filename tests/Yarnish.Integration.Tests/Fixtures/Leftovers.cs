using System.Diagnostics;
using System.Globalization;
using RabbitMQ.Client;
using RabbitMQ.Client.Exceptions;
using StackExchange.Redis;
using Yarnish.Jobs;
using Yarnish.Protocol;
using Yarnish.Transport;

namespace Yarnish.Integration.Tests.Fixtures;

/// <summary>
/// What applications that ended have left in the broker, in Redis, on the disks of the agents and among the processes of this machine: nothing. Every cluster of these tests asks when it is
/// disposed. Logs stay on purpose, and so do files in the agents' caches, which the next application uses.
/// </summary>
internal sealed class Leftovers(TestCluster cluster, string rabbitMq, string redis)
{
    /// <summary>
    /// Ending takes the agents a moment: containers get their time to stop, directories are deleted behind them. A driver that could not say that it ends is given up after 30 s without a heartbeat.
    /// </summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    static Leftovers() => LastFailure.Watch();

    /// <summary>Also what an application still holds that runs, whose driver nobody ended.</summary>
    /// <exception cref="InvalidOperationException">Something is left; the message says what.</exception>
    public async Task AssertNoneAsync()
    {
        var waited = Stopwatch.StartNew();
        while (true)
        {
            var found = await FindAsync();
            if (found.Count == 0)
            {
                return;
            }
            if (waited.Elapsed > Patience)
            {
                throw new InvalidOperationException(
                    $"{found.Count} things of applications are left after {Patience.TotalSeconds:0} s:{Environment.NewLine}  {string.Join(Environment.NewLine + "  ", found)}{Environment.NewLine}{cluster.Logs()}{LastFailure.Text}");
            }
            await Task.Delay(100);
        }
    }

    /// <summary>What the ended jobs of a session have left in its driver: nothing, once the collections that own shuffles are garbage.</summary>
    /// <exception cref="InvalidOperationException">Something is left; the message says what.</exception>
    public static async Task AssertNoneInDriverAsync(YarnishSession session)
    {
        var waited = Stopwatch.StartNew();
        while (true)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            var found = await ((JobRunner)session.Runner).LeftoversAsync();
            if (found.Count == 0)
            {
                return;
            }
            if (waited.Elapsed > Patience)
            {
                throw new InvalidOperationException($"The driver still holds after {Patience.TotalSeconds:0} s: {string.Join(", ", found)}.");
            }
            await Task.Delay(50);
        }
    }

    private async Task<List<string>> FindAsync()
    {
        var found = new List<string>();
        var applications = await cluster.GetAsync<ApplicationInfo[]>("apps");
        found.AddRange(applications.Where(static application => application.FinishedAt is null).Select(static application => $"{application.Id} is {application.State} still"));
        found.AddRange(applications.Where(static application => application.Containers > 0).Select(static application => $"{application.Id} has {application.Containers} containers"));
        foreach (var node in Directory.EnumerateDirectories(cluster.Directory, "node-*"))
        {
            found.AddRange(Existing(Path.Combine(node, "apps")).Concat(Existing(Path.Combine(node, "trash"))).Select(static path => $"the directory {path}"));
            found.AddRange(TestCluster.ProcessesBelow(node).Select(static id => string.Create(CultureInfo.InvariantCulture, $"process {id}: {CommandOf(id)}")));
        }
        if (applications.Length > 0)
        {
            await AddOfRedisAsync(applications, found);
            await AddOfBrokerAsync(applications, found);
        }
        return found;
    }

    private async Task AddOfRedisAsync(ApplicationInfo[] applications, List<string> found)
    {
        await using var connection = await ConnectionMultiplexer.ConnectAsync(redis);
        foreach (var server in connection.GetServers())
        {
            foreach (var application in applications)
            {
                await foreach (var key in server.KeysAsync(pattern: $"y:{{{application.Id}}}:*", pageSize: 1000))
                {
                    var expires = await connection.GetDatabase().KeyTimeToLiveAsync(key);
                    if (!cluster.DriversMayLeaveWhatExpires || expires is null)
                    {
                        found.Add($"key {key} in Redis, which {(expires is { } left ? string.Create(CultureInfo.InvariantCulture, $"expires in {left.TotalMinutes:0} min") : "never expires")}");
                    }
                }
            }
        }
    }

    private async Task AddOfBrokerAsync(ApplicationInfo[] applications, List<string> found)
    {
        await using var connection = await new ConnectionFactory { Uri = new Uri(rabbitMq) }.CreateConnectionAsync();
        foreach (var id in applications.Where(_ => !cluster.DriversMayLeaveWhatExpires).Select(static application => application.Id))
        {
            var control = ControlAddressText.Queue(cluster.Name, ControlAddress.Application(id));
            // The exchange deletes itself with the last queue bound to it: when it is gone, so is every queue of an executor.
            await AddAsync($"exchange {TaskNames.Exchange(id)}, so a queue of an executor or the driver", channel => channel.ExchangeDeclarePassiveAsync(TaskNames.Exchange(id)));
            await AddAsync($"queue {TaskNames.Results(id)}", channel => channel.QueueDeclarePassiveAsync(TaskNames.Results(id)));
            await AddAsync($"queue {control}", channel => channel.QueueDeclarePassiveAsync(control));
            await AddAsync($"exchange {control}", channel => channel.ExchangeDeclarePassiveAsync(control));
        }

        async Task AddAsync(string what, Func<IChannel, Task> look)
        {
            var channel = await connection.CreateChannelAsync();
            try
            {
                await look(channel);
                found.Add(what + " in the broker");
                await channel.CloseAsync();
            }
            catch (OperationInterruptedException error) when (error.ShutdownReason?.ReplyCode == 404)
            {
                // Gone; the channel is closed with the answer.
            }
        }
    }

    private static IEnumerable<string> Existing(string directory) => Directory.Exists(directory) ? Directory.EnumerateFileSystemEntries(directory) : [];

    private static string CommandOf(int id)
    {
        try
        {
            return File.ReadAllText($"/proc/{id.ToString(CultureInfo.InvariantCulture)}/cmdline").Replace('\0', ' ');
        }
        catch (IOException)
        {
            return "ended meanwhile";
        }
    }

    /// <summary>The assertion that a test failed on would be hidden by what a disposal throws after it: remembered to be told with it.</summary>
    private static class LastFailure
    {
        private static volatile Exception? last;

        public static void Watch() => AppDomain.CurrentDomain.FirstChanceException += static (_, thrown) =>
        {
            if (thrown.Exception is Xunit.Sdk.IAssertionException or TimeoutException)
            {
                last = thrown.Exception;
            }
        };

        public static string Text => last is { } error ? $"{Environment.NewLine}The last assertion that failed in this run, perhaps in this test: {error}" : "";
    }
}
