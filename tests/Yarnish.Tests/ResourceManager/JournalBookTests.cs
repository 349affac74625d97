using System.Collections.Immutable;
using System.Text.Json;
using Xunit;
using Yarnish.Protocol;
using Yarnish.ResourceManager.Cluster;
using Yarnish.ResourceManager.Journal;
using Yarnish.Scheduling;

namespace Yarnish.Tests.ResourceManager;

public sealed class JournalBookTests
{
    private static readonly DateTimeOffset At = new(2030, 1, 1, 0, 0, 0, TimeSpan.Zero);

    [Fact]
    public void What_is_written_comes_back_in_the_order_it_was_written()
    {
        JournalRecord[] records = [Known("n9"), Accepted("b"), Known("n1"), Accepted("a"), Over("b"), new NodeDraining(new NodeId("n1"), true, At, "disk swap")];
        var entries = Write(new JournalBook(10), records);

        var read = new JournalBook(10).Read(entries);

        Assert.Equal(records.Select(Shape), read.Select(Shape));
    }

    [Fact]
    public void Ended_drains_and_forgotten_nodes_leave_no_trace()
    {
        var entries = Write(new JournalBook(10),
            Known("n1"), new NodeDraining(new NodeId("n1"), true, null, ""), new NodeDraining(new NodeId("n1"), false, null, ""),
            Known("n2"), new NodeDraining(new NodeId("n2"), true, null, ""), new NodeForgotten(new NodeId("n2")));

        Assert.Equal(["node:n1"], entries.Keys);
    }

    [Fact]
    public void Only_the_latest_ended_applications_are_kept_also_over_restarts()
    {
        var entries = Write(new JournalBook(2), Accepted("a"), Over("a"), Accepted("b"), Over("b"), Accepted("live"));
        var book = new JournalBook(2);
        book.Read(entries);

        entries = Apply(entries, [.. book.Write(Accepted("c")), .. book.Write(Over("c"))]);

        Assert.Equal(["app:b", "app:c", "app:live", "end:b", "end:c"], entries.Keys);
    }

    [Fact]
    public void An_entry_that_is_not_ours_is_named()
    {
        var entries = ImmutableSortedDictionary<string, string>.Empty.Add("app:x", "{\"n\":1,\"r\":{\"$type\":\"from-the-future\"}}");

        Assert.Contains("app:x", Assert.Throws<JsonException>(() => new JournalBook(1).Read(entries)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Every_record_can_be_kept()
    {
        var kinds = typeof(JournalRecord).Assembly.GetTypes().Where(type => type.IsSubclassOf(typeof(JournalRecord)) && !type.IsAbstract).Select(type => type.Name).ToHashSet();

        Assert.Equal(["ApplicationAccepted", "ApplicationOver", "NodeDraining", "NodeForgotten", "NodeKnown"], kinds.Order(StringComparer.Ordinal));
    }

    private static string Shape(JournalRecord record) => JsonSerializer.Serialize(record, ProtocolJson.Options);

    private static NodeKnown Known(string id) => new(new NodeId(id));

    private static ApplicationAccepted Accepted(string id) => new(new RegisterApplication(new ApplicationId(id), "job", "ann", ""), new QueueName("root.default"), At);

    private static ApplicationOver Over(string id) => new(new ApplicationId(id), ApplicationState.Succeeded, "", new ApplicationProgress(), At);

    private static ImmutableSortedDictionary<string, string> Write(JournalBook book, params JournalRecord[] records) =>
        Apply(ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal), [.. records.SelectMany(book.Write)]);

    private static ImmutableSortedDictionary<string, string> Apply(ImmutableSortedDictionary<string, string> entries, IEnumerable<JournalChange> changes)
    {
        foreach (var (key, value) in changes)
        {
            entries = value is null ? entries.Remove(key) : entries.SetItem(key, value);
        }
        return entries;
    }
}
