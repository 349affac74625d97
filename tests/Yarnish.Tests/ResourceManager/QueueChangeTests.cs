using Xunit;
using Yarnish.Hosting;
using Yarnish.Protocol;
using Yarnish.Queues;
using Yarnish.ResourceManager.Cluster;
using Yarnish.Scheduling;

namespace Yarnish.Tests.ResourceManager;

/// <summary>New queues through the shell: whole or not at all, and remembered or not as asked.</summary>
public sealed class QueueChangeTests : IAsyncLifetime
{
    private const string Two = "root:\n  queues:\n    - name: default\n      guarantee: 1\n    - name: other\n      guarantee: 3\n";

    private readonly ShellHarness _harness = new();

    public async ValueTask InitializeAsync() => await _harness.StartAsync();

    public ValueTask DisposeAsync() => _harness.DisposeAsync();

    [Fact]
    public async Task Kept_queues_survive_a_restart()
    {
        Assert.Empty(await ChangeAsync(Two, keep: true));
        Assert.Equal(("api", 1), (_harness.Shell.Queues.Source, _harness.Shell.Queues.Version));

        await _harness.StopAsync();
        await _harness.StartAsync();

        Assert.Equal(("journal", Two), (_harness.Shell.Queues.Source, _harness.Shell.Queues.Text));
        Assert.Contains(_harness.Shell.Snapshot.Queues, queue => queue.Name.Value == "root.other");
    }

    [Fact]
    public async Task Queues_that_are_not_kept_end_with_the_resource_manager()
    {
        Assert.Empty(await ChangeAsync(Two, keep: false));
        await _harness.UntilAsync(snapshot => snapshot.Queues.Any(queue => queue.Name.Value == "root.other"));

        await _harness.StopAsync();
        await _harness.StartAsync();

        Assert.Equal("default", _harness.Shell.Queues.Source);
        Assert.DoesNotContain(_harness.Shell.Snapshot.Queues, queue => queue.Name.Value == "root.other");
    }

    [Fact]
    public async Task A_queue_that_holds_an_application_cannot_go_and_nothing_changes()
    {
        await using var driver = await _harness.JoinAsync(ControlAddress.Application(new ApplicationId("app-1")));
        await driver.SendAsync(ShellHarness.Application("app-1"));
        await driver.NextAsync<ApplicationRegistered>();
        var before = _harness.Shell.Queues;

        const string without = "root:\n  queues:\n    - name: other\n";
        var foreseen = (await _harness.Shell.TryCopyBooks()!).Check(QueueFileReader.Read(without).Configuration!);
        var error = Assert.Single(await ChangeAsync(without, keep: true));
        Assert.Equal(error, Assert.Single(foreseen));

        Assert.Contains("root.default holds 1 applications", error.Message, StringComparison.Ordinal);
        Assert.Same(before, _harness.Shell.Queues);
        Assert.DoesNotContain("queues", _harness.Journal.Entries.Keys);
        Assert.DoesNotContain(_harness.Shell.Snapshot.Queues, queue => queue.Name.Value == "root.other");
    }

    [Fact]
    public async Task Journaled_queues_that_cannot_be_read_leave_the_default_and_stop_nothing()
    {
        await _harness.StopAsync();
        await _harness.Journal.WriteAsync([new("queues", "root: [")], TestContext.Current.CancellationToken);

        await _harness.StartAsync();

        Assert.Equal("default", _harness.Shell.Queues.Source);
    }

    [Fact]
    public async Task Suppositions_run_on_a_copy_while_the_shell_goes_on()
    {
        await using var agent = await _harness.JoinAsync(ControlAddress.Node(new NodeId("n1")));
        await agent.SendAsync(ShellHarness.Node("n1"));
        await agent.NextAsync<NodeRegistered>();
        await using var driver = await _harness.JoinAsync(ControlAddress.Application(new ApplicationId("app-1")));
        await driver.SendAsync(ShellHarness.Application("app-1"));
        await driver.NextAsync<ApplicationRegistered>();
        await driver.SendAsync(ShellHarness.Asks("app-1", 1, desired: 10));
        await _harness.UntilAsync(snapshot => snapshot.FindApplication(new ApplicationId("app-1"))?.Info.Containers == 8);

        var books = await _harness.Shell.TryCopyBooks()!;
        await driver.SendAsync(new FinishApplication(new ApplicationId("app-1"), true, "", new ApplicationProgress()));
        await _harness.UntilAsync(snapshot => snapshot.Cluster.Outstanding == 0);
        var with = books.WhatIf(new Hypothesis { AddNodes = [ShellHarness.Node("n2")] });
        var without = books.WhatIf(new Hypothesis());

        Assert.Equal(new PlannedGrant(new ApplicationId("app-1"), 1, new NodeId("n2"), 2), Assert.Single(with.Grants));
        Assert.Empty(with.Waiting);
        Assert.Equal(2, Assert.Single(without.Waiting).Waiting.Outstanding);
    }

    [Fact]
    public void A_wrong_file_at_start_is_a_wrong_setting_with_line_and_key()
    {
        var path = Path.GetTempFileName();
        try
        {
            File.WriteAllText(path, "root:\n  queues:\n    - name: a\n      wight: 3\n");

            var error = Assert.Throws<ConfigurationException>(() => QueuesInForce.FromFile(path));

            Assert.Contains($"{path} (Yarnish__QueueFile)", error.Message, StringComparison.Ordinal);
            Assert.Contains("line 4, root.queues[0].wight: Unknown key", error.Message, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(path);
        }
    }

    private async Task<IReadOnlyCollection<ConfigurationError>> ChangeAsync(string text, bool keep) =>
        await _harness.Shell.TryChangeQueues(new QueuesInForce("api", text, QueueFileReader.Read(text)), keep)!.WaitAsync(TimeSpan.FromSeconds(20));
}
