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

    [Theory]
    [InlineData("https://127.0.0.1:0")]
    [InlineData("127.0.0.1:4040")]
    [InlineData("on")]
    public void Address_of_the_status_that_is_none_is_refused(string url) => Assert.Contains(
        "setting Yarnish:StatusUrl", Assert.Throws<YarnishConnectException>(() => OptionsReader.Validate(Read(["--Yarnish:StatusUrl", url]))).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("off")]
    [InlineData("http://127.0.0.1:0")]
    [InlineData("http://*:4040")]
    public void Address_of_the_status_is_taken(string url)
    {
        var options = Read(["--Yarnish:StatusUrl", url, "--Yarnish:EventLog=/var/log/yarnish"]);

        OptionsReader.Validate(options);
        Assert.Equal((url, "/var/log/yarnish"), (options.StatusUrl, options.EventLog));
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

    [Theory]
    [InlineData("--Yarnish:MaximumTaskFailures=256", "Yarnish:MaximumTaskFailures")]
    [InlineData("--Yarnish:SpeculationQuantile=0", "Yarnish:SpeculationQuantile")]
    [InlineData("--Yarnish:SpeculationQuantile=1.01", "Yarnish:SpeculationQuantile")]
    [InlineData("--Yarnish:SpeculationMultiplier=0.5", "Yarnish:SpeculationMultiplier")]
    [InlineData("--Yarnish:SpeculationMinimum=0", "Yarnish:SpeculationMinimum")]
    [InlineData("--Yarnish:ExclusionFailures=0", "Yarnish:ExclusionFailures")]
    [InlineData("--Yarnish:ExclusionTime=0", "Yarnish:ExclusionTime")]
    [InlineData("--Yarnish:NowhereToRunTimeout=0.5", "Yarnish:NowhereToRunTimeout")]
    [InlineData("--Yarnish:ExecutorBacklog=0", "Yarnish:ExecutorBacklog")]
    [InlineData("--Yarnish:ExecutorIdle=0.1", "Yarnish:ExecutorIdle")]
    [InlineData("--Yarnish:ExecutorCachedIdle=5", "Yarnish:ExecutorCachedIdle")]
    [InlineData("--Yarnish:Pools:reports:Weight=0", "Yarnish:Pools:reports:Weight")]
    [InlineData("--Yarnish:Pools:reports:MinimumShare=1000001", "Yarnish:Pools:reports:MinimumShare")]
    public void Value_that_cannot_be_is_refused_when_all_sources_were_read(string argument, string key)
    {
        var error = Assert.Throws<YarnishConnectException>(() => OptionsReader.Validate(Read([argument])));
        Assert.Contains($"setting {key} is", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Everything_about_jobs_can_be_set_by_keys()
    {
        var options = Read(
            [
                "--Yarnish:LocalityWait=1.5", "--Yarnish:Speculation=true", "--Yarnish:SpeculationQuantile=0.75", "--Yarnish:SpeculationMultiplier=1.5", "--Yarnish:SpeculationMinimum=0.2",
                "--Yarnish:Exclusion=false", "--Yarnish:ExclusionFailures=5", "--Yarnish:ExclusionTime=60", "--Yarnish:NowhereToRunTimeout=30",
                "--Yarnish:ExecutorBacklog=0.5", "--Yarnish:ExecutorIdle=20", "--Yarnish:ExecutorCachedIdle=90", "--Yarnish:Pools:reports:Weight=3",
            ],
            new Hashtable { ["Yarnish__Pools__reports__MinimumShare"] = "2", ["Yarnish__Pools__etl__Weight"] = "1" });
        OptionsReader.Validate(options);

        Assert.Equal((1.5, 0.2), (options.LocalityWait.TotalSeconds, options.SpeculationMinimum.TotalSeconds));
        Assert.Equal((true, 0.75, 1.5), (options.Speculation, options.SpeculationQuantile, options.SpeculationMultiplier));
        Assert.Equal((false, 5, 60, 30), (options.Exclusion, options.ExclusionFailures, options.ExclusionTime.TotalSeconds, options.NowhereToRunTimeout.TotalSeconds));
        Assert.Equal((0.5, 20, 90), (options.ExecutorBacklog.TotalSeconds, options.ExecutorIdle.TotalSeconds, options.ExecutorCachedIdle.TotalSeconds));
        Assert.Equal(["etl", "reports"], options.Pools.Keys);
        Assert.Equal(new PoolOptions { Weight = 3, MinimumShare = 2 }, options.Pools["reports"]);
    }

    [Fact]
    public void Unknown_setting_of_a_pool_is_refused() =>
        Assert.Contains("Pools:reports:Weight", Assert.Throws<YarnishConnectException>(() => Read(["--Yarnish:Pools:reports:Width=2"])).Message, StringComparison.Ordinal);

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
