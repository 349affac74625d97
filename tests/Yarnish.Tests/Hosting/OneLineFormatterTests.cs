using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Yarnish.Hosting;
using Xunit;

namespace Yarnish.Tests.Hosting;

public sealed class OneLineFormatterTests
{
    [Fact]
    public void An_event_is_one_line_whatever_its_text() =>
        Assert.Matches(@"^\d\d:\d\d:\d\d\.\d{3} warn  Inbox: first second\n$", Written(LogLevel.Warning, "Yarnish.ResourceManager.Inbox", "first\nsecond", null));

    [Fact]
    public void An_exception_stands_below_indented()
    {
        var lines = Written(LogLevel.Error, "X", "failed", new InvalidOperationException("why")).TrimEnd().Split('\n');

        Assert.EndsWith("error X: failed", lines[0], StringComparison.Ordinal);
        Assert.All(lines.Skip(1), line => Assert.StartsWith("    ", line, StringComparison.Ordinal));
        Assert.Contains("why", lines[1], StringComparison.Ordinal);
    }

    private static string Written(LogLevel level, string category, string text, Exception? error)
    {
        using var writer = new StringWriter { NewLine = "\n" };
        new OneLineFormatter().Write(new LogEntry<string>(level, category, default, text, error, static (state, _) => state), null, writer);
        return writer.ToString();
    }
}
