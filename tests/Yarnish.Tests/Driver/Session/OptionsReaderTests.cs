using System.Collections;
using Xunit;
using Yarnish.Configuration;

namespace Yarnish.Tests.Driver.Session;

public sealed class OptionsReaderTests
{
    private static YarnishOptions Read(string[] arguments, Hashtable? environment = null, string[]? files = null) =>
        OptionsReader.Read(arguments, environment ?? [], files ?? [], out _);

    [Fact]
    public void Later_sources_win()
    {
        var file = Path.GetTempFileName();
        File.WriteAllText(file, """{ "Yarnish": { "Name": "file", "Queue": "file", "Address": "http://file:1", "ExecutorEnvironment": { "A": "1" } }, "Other": { "Name": "x" } }""");
        try
        {
            var options = Read(["--name", "arguments"], new Hashtable { ["Yarnish__Name"] = "environment", ["Yarnish__Queue"] = "environment" }, [file]);

            Assert.Equal("arguments", options.Name);
            Assert.Equal("environment", options.Queue);
            Assert.Equal("http://file:1", options.Address);
            Assert.Equal("1", options.ExecutorEnvironment["A"]);
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public void Both_forms_of_arguments_are_read_and_the_rest_is_the_programs_own()
    {
        var options = OptionsReader.Read(
            ["input.txt", "--Yarnish:Executors=2..5", "--executor-memory=512m", "--top", "3", "--isolated", "--quiet", "--", "--name", "mine"], new Hashtable(), [], out var remaining);

        Assert.Equal(new ExecutorRange(2, 5), options.Executors);
        Assert.Equal(512L << 20, options.ExecutorMemory);
        Assert.True(options.Isolated);
        Assert.Equal(ProgressStyle.None, options.Progress);
        Assert.Equal(["input.txt", "--top", "3", "--name", "mine"], remaining);
        Assert.Equal("", options.Name);
    }

    [Fact]
    public void Unknown_setting_is_refused_and_the_nearest_one_named()
    {
        var error = Assert.Throws<YarnishConnectException>(() => Read([], new Hashtable { ["Yarnish__Adress"] = "http://x" }));

        Assert.Contains("Yarnish:Adress", error.Message, StringComparison.Ordinal);
        Assert.Contains("environment variable Yarnish__Adress", error.Message, StringComparison.Ordinal);
        Assert.Contains("Yarnish:Address is similar", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--executors=many", "Yarnish:Executors")]
    [InlineData("--executors=5..2", "Yarnish:Executors")]
    [InlineData("--executors=0", "Yarnish:Executors")]
    [InlineData("--executor-memory=2x", "Yarnish:ExecutorMemory")]
    [InlineData("--executor-memory=99999999999t", "Yarnish:ExecutorMemory")]
    [InlineData("--parallelism=-1", "Yarnish:Parallelism")]
    [InlineData("--progress=loud", "Yarnish:Progress")]
    [InlineData("--Yarnish:Isolated=maybe", "Yarnish:Isolated")]
    public void Invalid_value_is_refused_with_its_key(string argument, string key)
    {
        var error = Assert.Throws<YarnishConnectException>(() => Read([argument]));
        Assert.Contains(key, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Argument_without_its_value_is_refused() =>
        Assert.Contains("--name has no value", Assert.Throws<YarnishConnectException>(() => Read(["--name"])).Message, StringComparison.Ordinal);

    [Fact]
    public void Settings_of_other_programs_of_the_cluster_may_stand_in_the_environment() =>
        Assert.Equal("", Read([], new Hashtable { ["Yarnish__RabbitMq"] = "amqp://x", ["Yarnish__Redis"] = "y" }).Address);

    [Fact]
    public void Broken_settings_file_is_named()
    {
        var file = Path.GetTempFileName();
        File.WriteAllText(file, "{ not json");
        try
        {
            Assert.Contains(file, Assert.Throws<YarnishConnectException>(() => Read([], files: [file])).Message, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Theory]
    [InlineData("512m", 512L << 20)]
    [InlineData("1.5GiB", 3L << 29)]
    [InlineData("1048576", 1L << 20)]
    [InlineData("2 kb", 2048L)]
    public void Sizes_take_units(string text, long bytes) => Assert.Equal(bytes, OptionsReader.ParseBytes(text));

    [Fact]
    public void Code_wins_over_arguments_and_is_checked()
    {
        var options = YarnishSession.CreateBuilder("--name", "arguments", "file").WithName("code").Build(out var remaining);
        Assert.Equal("code", options.Name);
        Assert.Equal(["file"], remaining);

        var error = Assert.Throws<YarnishConnectException>(() => YarnishSession.CreateBuilder().WithExecutors(3, 2).Build(out _));
        Assert.Contains("Yarnish:Executors", error.Message, StringComparison.Ordinal);
        Assert.Throws<YarnishConnectException>(() => YarnishSession.CreateBuilder().WithAddress("rm:8088").Build(out _));
    }
}
