using System.Runtime.CompilerServices;
using System.Text;
using CsCheck;
using Xunit;
using Yarnish.Protocol;
using Yarnish.Queues;
using Yarnish.Scheduling;

namespace Yarnish.Tests.Queues;

public sealed class QueueFileTests
{
    [Fact]
    public void The_example_of_the_documentation_is_read_whole()
    {
        var configuration = Good(Example());

        var (production, research) = (configuration.Root.Queues[0], configuration.Root.Queues[1]);
        Assert.Equal(["production", "research", "default"], configuration.Root.Queues.Select(queue => queue.Name));
        Assert.Equal((Share.Percent(60), Share.Percent(90), 10, false, 20), (production.Guarantee, production.Maximum, production.Priority, production.Preemptible, production.MaximumDriverPercent));
        Assert.Equal(Share.Weight(3), production.Queues[0].Guarantee);
        Assert.Equal((ApplicationOrder.Fifo, 4, TimeSpan.FromHours(12)), (production.Queues[1].Order, production.Queues[1].MaximumActiveApplications, production.Queues[1].MaximumLifetime));
        Assert.Equal(new Resources(32L << 30, 8000) { Custom = Resources.Zero.Custom.Add("gpu", 2) }, research.MaximumContainer);
        Assert.Equal(Share.Percent(90), research.Partitions["gpu"].Guarantee);
        Assert.Equal(3, research.Limits.Length);
        Assert.Equal(["ann", "bob"], research.Limits[1].Users);
        Assert.Equal(20, research.Template!.MaximumApplications);
        Assert.Equal([PlacementAction.Reject, PlacementAction.Provided, PlacementAction.User, PlacementAction.Fixed], configuration.Rules.Select(rule => rule.Action));
        Assert.True(configuration.Rules[2].Create);
        Assert.Equal(new PartitionConfiguration("gpu", true), Assert.Single(configuration.Partitions));
        Assert.Equal(new PreemptionConfiguration(), configuration.Preemption);
        // Whoever reads the example as a whole list of keys is right: each key of the code stands in it.
        _ = new ClusterMachine(new ClusterSettings(), configuration);
    }

    [Fact]
    public void The_example_names_every_key_of_the_configuration()
    {
        var example = Example();
        foreach (var type in new[] { typeof(ClusterConfiguration), typeof(QueueConfiguration), typeof(QueueLimit), typeof(PlacementRule), typeof(PartitionConfiguration), typeof(PreemptionConfiguration) })
        {
            foreach (var property in type.GetProperties().Where(property => property.CanWrite))
            {
                var key = char.ToLowerInvariant(property.Name[0]) + property.Name[1..];
                Assert.Contains(key + ":", example, StringComparison.Ordinal);
            }
        }
    }

    [Theory]
    [InlineData("root:\n  queues:\n    - name: a\n      guarante: 3\n", 4, "root.queues[0].guarante", "did you mean 'guarantee'")]
    [InlineData("root:\n  queues: []\npreempt: true\n", 3, "preempt", "Unknown key")]
    [InlineData("root: &r\n  queues:\n    - *r\n", 1, "root", "anchor")]
    [InlineData("root:\n  queues:\n    - *r\n", 3, "root.queues[0]", "alias")]
    [InlineData("root:\n  queues:\n    - name: a\n      <<: {state: stopped}\n", 4, "root.queues[0].<<", "Merge keys")]
    [InlineData("root:\n  queues: !!set {a}\n", 2, "root.queues", "tag")]
    [InlineData("root:\n  queues:\n    - {name: a, guarantee: 60%}\n    - {name: b, guarantee: 50%}\n", 4, "root.queues[1].guarantee", "110 %")]
    [InlineData("root:\n  queues:\n    - name: a\n      guarantee: 60%\n      maximum: 50%\n", 5, "root.queues[0].maximum", "below the guarantee")]
    [InlineData("root:\n  queues:\n    - name: a\n      guarantee: {memory: 8g}\n      maximum: {memory: 4g}\n", 5, "root.queues[0].maximum", "below its guarantee")]
    [InlineData("root:\n  queues:\n    - name: a\n    - name: b\n    - name: a\n", 5, "root.queues[2].name", "second queue 'a'")]
    [InlineData("root:\n  queues:\n    - name: a\n      state: running\n      state: stopped\n", 5, "root.queues[0].state", "second time")]
    [InlineData("root:\n  queues:\n    - {name: a, guarantee: 60%}\n    - {name: b, guarantee: 3}\n", 4, "root.queues[1].guarantee", "different ways")]
    [InlineData("root:\n  queues:\n    - state: stopped\n", 3, "root.queues[0].name", "needs a name")]
    [InlineData("root:\n  queues:\n    - name: a b\n", 3, "root.queues[0].name", "not a queue name")]
    [InlineData("root:\n  queues:\n    - name: a\n      maximum: 3\n", 4, "root.queues[0].maximum", "A maximum is")]
    [InlineData("root:\n  queues:\n    - name: a\n      maximum: {memory: 8}\n", 4, "root.queues[0].maximum.memory", "512m")]
    [InlineData("root:\n  queues:\n    - name: a\n      priority: high\n", 4, "root.queues[0].priority", "whole number")]
    [InlineData("root:\n  queues:\n    - name: a\n      order: 1\n", 4, "root.queues[0].order", "fair, fifo, priority")]
    [InlineData("root:\n  queues:\n    a: {}\n", 3, "root.queues", "list")]
    [InlineData("root:\n  queues:\n    - name: a\nrules:\n  - action: fixed\n    queue: root.b\n", 6, "rules[0].queue", "no queue 'root.b'")]
    [InlineData("root:\n  queues:\n    - name: a\nrules:\n  - queue: root.b\n", 5, "rules[0].action", "needs an action")]
    [InlineData("root:\n  queues: []\npreemption:\n  delay: 30\n", 4, "preemption.delay", "30s")]
    [InlineData("root:\n  queues: []\n---\nroot:\n", 3, "", "second document")]
    [InlineData("root: [\n", 1, "", "not YAML")]
    [InlineData("", 1, "", "empty")]
    [InlineData("just text\n", 1, "", "expected here")]
    public void What_is_wrong_is_refused_with_line_and_key(string text, int line, string key, string words)
    {
        var result = QueueFileReader.Read(text);

        Assert.Null(result.Configuration);
        var error = result.Errors[0];
        Assert.Contains(words, error.Message, StringComparison.Ordinal);
        Assert.Equal(key, error.Key);
        // A broken end is found where the text ends.
        Assert.InRange(error.Line, line, words == "not YAML" ? line + 1 : line);
    }

    [Fact]
    public void All_errors_are_told_at_once_in_the_order_of_the_text()
    {
        var result = QueueFileReader.Read("root:\n  queues:\n    - name: a\n      state: gone\n    - name: b\n      limits: 3\n      odd: 1\n");

        Assert.Equal([4, 6, 7], result.Errors.Select(error => error.Line));
    }

    [Fact]
    public void Deep_nesting_is_refused_before_it_is_followed()
    {
        var flow = QueueFileReader.Read("root: " + new string('[', 5_000));
        var text = new StringBuilder("root:\n");
        for (var depth = 1; depth < 18; depth++)
        {
            var indent = new string(' ', (depth * 4) - 2);
            text.Append(indent).Append("queues:\n").Append(indent).Append("  - name: q\n");
        }
        var queues = QueueFileReader.Read(text.ToString());

        Assert.Contains("nested deeper", Assert.Single(flow.Errors).Message, StringComparison.Ordinal);
        Assert.Contains("16 levels", Assert.Single(queues.Errors).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Ten_megabytes_are_refused_by_size()
    {
        var path = Path.GetTempFileName();
        try
        {
            using (var file = File.OpenWrite(path))
            {
                file.SetLength(10 << 20);
            }
            var before = GC.GetAllocatedBytesForCurrentThread();
            var result = QueueFileReader.ReadFile(path, out var text);

            Assert.Contains("10485760 bytes", Assert.Single(result.Errors).Message, StringComparison.Ordinal);
            Assert.Equal("", text);
            Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1 << 20);
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public void A_file_that_is_missing_or_no_text_is_an_error_and_no_exception()
    {
        var path = Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(path, [0xFF, 0xFE, 0xFD]);
            Assert.Contains("UTF-8", Assert.Single(QueueFileReader.ReadFile(path, out _).Errors).Message, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(path);
        }
        Assert.Contains("cannot be read", Assert.Single(QueueFileReader.ReadFile(path, out _).Errors).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_difference_names_each_key_that_changes()
    {
        var before = Good("root:\n  queues:\n    - {name: a, guarantee: 1}\n    - {name: b}\n");
        var after = Good("root:\n  queues:\n    - {name: a, guarantee: 3}\n    - {name: c, state: draining}\nnodeOrder: pack\n");

        Assert.Equal(
            [
                new("nodeOrder", "spread", "pack"), new("root.a guarantee", "weight 1", "weight 3"), new("root.b", "leaf", null),
                new("root.c", null, "leaf"), new("root.c state", null, "draining"),
            ],
            QueueDifference.Between(before, after));
        Assert.Empty(QueueDifference.Between(after, after));
    }

    [Theory]
    [InlineData("512m", 512L << 20)]
    [InlineData("1.5 GiB", 3L << 29)]
    [InlineData("0", 0L)]
    public void Memory_is_read(string text, long bytes)
    {
        Assert.True(QueueFileReader.TryReadMemory(text, out var read));
        Assert.Equal(bytes, read);
    }

    [Theory]
    [InlineData("8")]
    [InlineData("-1g")]
    [InlineData("99999999999p")]
    [InlineData("g")]
    public void Memory_without_a_unit_or_sense_is_not(string text) => Assert.False(QueueFileReader.TryReadMemory(text, out _));

    [Fact]
    public void Any_damage_to_a_file_is_an_error_or_a_configuration_that_works_and_never_an_exception()
    {
        var example = Example();
        string[] pieces = ["{", "}", "[", "]", ": ", "- ", "&a ", "*a", "!t ", "|\n", "\"", "'", "%", "\n", "\t", "9999999999999999999", "-1", "\0", "\uFFFE", "? ", "---\n", "...\n", "<<: ", "~", "#", "root:\n"];
        Gen.Select(Gen.Int[0, example.Length - 1], Gen.Int[0, 40], Gen.Int[0, pieces.Length - 1]).Array[1, 6].Sample(damages =>
        {
            var text = new StringBuilder(example);
            foreach (var (at, cut, piece) in damages)
            {
                var from = Math.Min(at, text.Length);
                text.Remove(from, Math.Min(cut, text.Length - from)).Insert(from, pieces[piece]);
            }

            var result = QueueFileReader.Read(text.ToString());

            Assert.Equal(result.Errors.IsEmpty, result.Configuration is not null);
            Assert.All(result.Errors, error => Assert.InRange(error.Line, 1, text.ToString().Count(c => c is '\n') + 2));
            if (result.Configuration is { } configuration)
            {
                _ = new ClusterMachine(new ClusterSettings(), configuration);
                Assert.Empty(QueueDifference.Between(configuration, configuration));
            }
        }, iter: 3_000);
    }

    private static ClusterConfiguration Good(string text)
    {
        var result = QueueFileReader.Read(text);
        Assert.True(result.Errors.IsEmpty, QueueFileResult.Describe(result.Errors));
        return result.Configuration!;
    }

    private static string Example([CallerFilePath] string here = "")
    {
        var page = File.ReadAllText(Path.GetFullPath(Path.Combine(Path.GetDirectoryName(here)!, "..", "..", "..", "docs", "queues.md"))).ReplaceLineEndings("\n");
        var start = page.IndexOf("```yaml\n", StringComparison.Ordinal) + 8;
        return page[start..page.IndexOf("```", start, StringComparison.Ordinal)];
    }
}
