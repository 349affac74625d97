using Xunit;
using Yarnish.Status;

namespace Yarnish.Tests.Driver.Status;

public sealed class RedactionTests
{
    [Theory]
    [InlineData("Secret", "abc", "(hidden)")]
    [InlineData("Secret", "", "")]
    [InlineData("DB_PASSWORD", "abc", "(hidden)")]
    [InlineData("AWS_ACCESS_KEY", "abc", "(hidden)")]
    [InlineData("github-token", "abc", "(hidden)")]
    [InlineData("ConnectionString", "Server=x", "(hidden)")]
    [InlineData("Address", "http://rm:8088", "http://rm:8088")]
    [InlineData("Url", "amqp://user:pw@host/", "amqp://(hidden)@host/")]
    [InlineData("Db", "Server=x;Password=abc;Timeout=3", "Server=x;Password=(hidden);Timeout=3")]
    [InlineData("Url", "https://host/?api_key=abc&x=1", "https://host/?api_key=(hidden)&x=1")]
    public void Secrets_are_hidden_by_name_and_by_form(string name, string value, string shown) => Assert.Equal(shown, Redaction.Of(name, value));

    [Fact]
    public void Argument_after_a_secret_option_is_hidden() =>
        Assert.Equal("app.dll --password (hidden) --name x --token=(hidden)", Redaction.OfArguments(["app.dll", "--password", "abc", "--name", "x", "--token=abc"]));

    [Fact]
    public void Settings_of_a_session_hide_its_secret_and_those_of_its_executors()
    {
        var settings = YarnishSession.SettingsOf(new YarnishOptions
        {
            Secret = "abc",
            ExecutorEnvironment = System.Collections.Immutable.ImmutableSortedDictionary<string, string>.Empty.Add("DB_PASSWORD", "abc").Add("MODE", "fast"),
        });

        Assert.Equal(("(hidden)", "(hidden)", "fast", "1..16"), (settings["Secret"], settings["ExecutorEnvironment:DB_PASSWORD"], settings["ExecutorEnvironment:MODE"], settings["Executors"]));
        Assert.DoesNotContain(settings.Values, value => value.Contains("abc", StringComparison.Ordinal));
    }
}
