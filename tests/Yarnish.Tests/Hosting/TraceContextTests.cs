using System.Diagnostics;
using Yarnish.Hosting;
using Xunit;

namespace Yarnish.Tests.Hosting;

public sealed class TraceContextTests
{
    private const string Parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    [Fact]
    public void What_is_formatted_parses_to_the_same_context()
    {
        Assert.True(TraceContext.TryParse(Parent, out var context));
        Assert.Equal(Parent, TraceContext.Format(context));
        Assert.True(context.IsRemote);
    }

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("00-zz")]
    [InlineData("00-00000000000000000000000000000000-0000000000000000-01")]
    public void Anything_else_means_not_traced(string? text)
    {
        Assert.False(TraceContext.TryParse(text, out _));
        using var source = new ActivitySource("Yarnish.Tests.TraceContext.None");
        Assert.Null(source.StartUnder("x", text));
    }

    [Fact]
    public void A_child_starts_under_the_context_in_the_text()
    {
        using var source = new ActivitySource("Yarnish.Tests.TraceContext");
        using var listener = new ActivityListener
        {
            ShouldListenTo = listened => ReferenceEquals(listened, source),
            Sample = static (ref _) => ActivitySamplingResult.AllDataAndRecorded,
        };
        ActivitySource.AddActivityListener(listener);

        using var child = source.StartUnder("work", Parent);

        Assert.Equal("b7ad6b7169203331", child!.ParentSpanId.ToHexString());
        Assert.Equal("0af7651916cd43dd8448eb211c80319c", child.TraceId.ToHexString());
        Assert.StartsWith("00-0af7651916cd43dd8448eb211c80319c-", TraceContext.Format(child), StringComparison.Ordinal);
    }

    [Fact]
    public void No_activity_is_empty_text() => Assert.Equal("", TraceContext.Format((Activity?)null));
}
